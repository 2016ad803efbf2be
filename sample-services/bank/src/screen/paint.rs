//! Colour, where there is any: meaning never depends on it.

use anstyle::{AnsiColor, Style};

/// What a word is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Dim,
    Good,
    Degraded,
    Bad,
}

/// Whether colour may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    has_colour: bool,
}

impl Paint {
    pub(super) fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    pub(super) fn word(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.has_colour => return text.to_owned(),
            Tone::Title => Style::new().bold(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Degraded => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}
