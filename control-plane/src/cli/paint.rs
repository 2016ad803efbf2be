//! Colours and columns; `anstream` takes the colours out when the output is not a terminal, or `NO_COLOR` is set.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// Something that is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// Something wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something beside the point.
pub(super) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEAD: Style = Style::new().bold();

/// A text in a style.
pub(super) fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// `error: `, in its colour.
pub(super) fn error_prefix() -> String {
    format!("{}: ", paint(BAD, "error"))
}

/// Rows in aligned columns, under a heading. Cells are plain text.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(heading.get(column).map(|cell| cell.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = paint(HEAD, line(&mut heading.iter().copied()));
    let body = rows
        .iter()
        .map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head)
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}
