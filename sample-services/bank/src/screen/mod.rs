//! What people see while the bank is open: one screen on a terminal, a status line elsewhere.

mod paint;
mod render;
mod view;
mod watch;

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::{Duration, Instant},
};

use self::{
    paint::Paint,
    render::{screen, status_line},
};
pub(crate) use self::{view::View, watch::Watch};

/// How often a line is written where nothing can be redrawn: a log should stay readable.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Standard output, as a terminal or not.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    paint: Paint,
    drawn: bool,
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
            line_due: Instant::now() + LINE_EVERY,
        }
    }

    /// Whether there is something to show now.
    pub(crate) fn is_due(&self) -> bool {
        self.is_terminal || Instant::now() >= self.line_due
    }

    /// Writes down what happened, where there is no screen to show it on.
    pub(crate) fn tell(&self, news: &[String]) {
        if !self.is_terminal {
            news.iter().for_each(|event| println!("{event}"));
        }
    }

    /// Draws over what was there, or writes one more line.
    pub(crate) fn show(&mut self, view: &View) {
        if !self.is_terminal {
            self.line_due = Instant::now() + LINE_EVERY;
            println!("{}", status_line(view));
            return;
        }
        let height =
            terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| height.0.into());
        let mut text = String::new();
        if !self.drawn {
            // The alternate screen, no cursor, no wrapping: long lines are cut, not folded over others.
            text.push_str("\x1b[?1049h\x1b[?25l\x1b[?7l");
            self.drawn = true;
        }
        text.push_str("\x1b[H");
        let lines = screen(view, self.paint);
        let shown = lines.len().min(height.saturating_sub(1));
        for line in lines.iter().take(shown) {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        let mut out = stdout().lock();
        // Nobody looks any more: the bank goes on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Gives the terminal back as it was.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.drawn) {
            print!("\x1b[?7h\x1b[?25h\x1b[?1049l");
            let _ = stdout().flush();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}
