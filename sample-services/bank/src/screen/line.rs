//! One line of the screen: measured and cut as text, coloured last, so that colour never counts as width.

use super::paint::{Paint, Tone};

/// Where the second column of a labelled line begins.
const LABEL: usize = 11;

/// Words, each with its tone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    pub(super) fn of(tone: Tone, text: &str) -> Self {
        Self::default().and(tone, text)
    }

    pub(super) fn plain(text: &str) -> Self {
        Self::of(Tone::Plain, text)
    }

    /// A line of a block: its name, or only the room for it.
    pub(super) fn labelled(label: &str) -> Self {
        Self::of(Tone::Title, &format!("{label:<LABEL$}"))
    }

    /// Adds words. What would move the cursor (a dead process' last words may hold anything) becomes a space.
    pub(super) fn and(mut self, tone: Tone, text: &str) -> Self {
        let harmless = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        self.0.push((tone, text.chars().map(harmless).collect()));
        self
    }

    /// In characters: all that we write are one column wide.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// At most `width` characters, the last one an ellipsis if there were more.
    pub(super) fn cut(mut self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut room = width.saturating_sub(1);
        for (_, text) in &mut self.0 {
            *text = text.chars().take(room).collect();
            room -= text.chars().count();
        }
        self.and(Tone::Plain, if width == 0 { "" } else { "…" })
    }

    pub(super) fn render(&self, paint: Paint) -> String {
        let words = self.0.iter().map(|(tone, text)| paint.word(*tone, text));
        words.collect()
    }
}

/// The first that fits, each less telling than the one before; else the last, cut.
pub(super) fn fitting(forms: impl IntoIterator<Item = Line>, width: usize) -> Line {
    let mut last = Line::default();
    for form in forms {
        if form.width() <= width {
            return form;
        }
        last = form;
    }
    last.cut(width)
}

/// A command that can be copied: too long a one continues on the next line as a shell reads it.
pub(super) fn command(label: &str, words: &[&str], width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::labelled(label);
    let mut is_first = true;
    for (index, word) in words.iter().enumerate() {
        let is_last = index + 1 == words.len();
        let space = usize::from(!is_first);
        // " \" must fit too, unless nothing follows.
        let needed = space + word.chars().count() + if is_last { 0 } else { 2 };
        if !is_first && line.width() + needed > width {
            lines.push(line.and(Tone::Plain, " \\"));
            line = Line::labelled("").and(Tone::Plain, "  ");
            is_first = true;
        }
        if !is_first {
            line = line.and(Tone::Plain, " ");
        }
        line = line.and(Tone::Plain, word);
        is_first = false;
    }
    lines.push(line);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

#[cfg(test)]
mod tests;
