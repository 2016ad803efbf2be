//! What people see while the bank is open: one screen on a terminal, lines elsewhere.

mod arrange;
mod blocks;
mod line;
mod paint;
mod processes;
mod render;
mod tries;
mod view;
mod watch;

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::{Duration, Instant},
};

use self::{
    paint::Paint,
    render::{Size, introduction, screen, status_line},
};
pub(crate) use self::{view::View, watch::Watch};
use crate::output;

/// How often a line is written where nothing can be redrawn: a log should stay readable.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Of a terminal that does not tell its size.
const USUAL: Size = Size {
    width: 80,
    height: 24,
};

/// Standard output, as a terminal or not.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    paint: Paint,
    drawn: bool,
    introduced: bool,
    line_due: Instant,
}

impl Screen {
    pub(crate) fn on_standard_output() -> Self {
        let is_terminal = stdout().is_terminal();
        // `NO_COLOR`, `CLICOLOR` and dumb terminals are known to anstream.
        let choice = anstream::AutoStream::choice(&stdout());
        let paint = Paint::new(is_terminal && choice != anstream::ColorChoice::Never);
        Self {
            is_terminal,
            paint,
            drawn: false,
            introduced: false,
            line_due: Instant::now(),
        }
    }

    /// Whether there is something to show now.
    pub(crate) fn is_due(&self) -> bool {
        self.is_terminal || Instant::now() >= self.line_due
    }

    /// Writes down what happened, where there is no screen to show it on.
    pub(crate) fn tell(&self, news: &[String]) {
        if !self.is_terminal {
            news.iter().for_each(|event| output::line(event));
        }
    }

    /// Draws over what was there, or writes one more line.
    pub(crate) fn show(&mut self, view: &View) {
        if !self.is_terminal {
            self.line_due = Instant::now() + LINE_EVERY;
            if !std::mem::replace(&mut self.introduced, true) {
                output::line(&introduction(view).join("\n"));
            }
            output::line(&status_line(view));
            return;
        }
        let size = terminal_size::terminal_size().map_or(USUAL, |(width, height)| Size {
            width: width.0.into(),
            height: height.0.into(),
        });
        let mut text = String::new();
        if !self.drawn {
            // The alternate screen, no cursor, no wrapping: long lines are cut, not folded over others.
            text.push_str("\x1b[?1049h\x1b[?25l\x1b[?7l");
            self.drawn = true;
        }
        text.push_str("\x1b[H");
        // Erased before it is written: after a line as wide as the terminal, its last character would go.
        let lines = screen(view, size, self.paint);
        let lines: Vec<_> = lines.iter().map(|line| format!("\x1b[K{line}")).collect();
        text.push_str(&lines.join("\r\n"));
        // The cursor may stand on the last character of a full screen: below it is nothing to erase.
        if lines.len() < size.height {
            text.push_str("\r\n\x1b[J");
        }
        let mut out = stdout().lock();
        // Nobody looks any more: the bank goes on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Gives the terminal back as it was.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut out = stdout().lock();
            let _ = out
                .write_all(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
                .and_then(|()| out.flush());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}
