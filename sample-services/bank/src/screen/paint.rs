//! Colour, where there is any: meaning never depends on it.

use anstyle::{AnsiColor, Style};

/// Whether colour may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    has_colour: bool,
}

impl Paint {
    pub(super) fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    pub(super) fn title(self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.styled(text, Style::new().dimmed())
    }

    pub(super) fn good(self, text: &str) -> String {
        self.styled(text, AnsiColor::Green.on_default())
    }

    pub(super) fn degraded(self, text: &str) -> String {
        self.styled(text, AnsiColor::Yellow.on_default())
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.styled(text, AnsiColor::Red.on_default().bold())
    }

    fn styled(self, text: &str, style: Style) -> String {
        if self.has_colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}
