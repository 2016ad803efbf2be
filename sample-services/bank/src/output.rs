//! Standard output and error, for a launcher that may outlive whoever reads them.
//!
//! Why not `println!`: it panics when the reader has gone (`bank | head`), and a bank that panics can't close
//! in order. It is told here instead, and [`nobody_reads`] lets the launcher close.

use std::io::{ErrorKind, Result, Write, stderr, stdout};

use tokio::sync::Notify;

/// Standard output of this process lost its reader. Keeps one permit: whoever waits later hears of it too.
static READER_LEFT: Notify = Notify::const_new();

/// Writes one line (or several); what nobody can read is lost.
pub(crate) fn line(text: &str) {
    if has_lost_reader(&write_line(&mut stdout().lock(), text)) {
        READER_LEFT.notify_one();
    }
}

/// Writes one line to standard error, if somebody can read it.
pub(crate) fn trouble(text: &str) {
    let _ = write_line(&mut stderr().lock(), text);
}

/// Waits until a line could not be written because its reader has gone. For one waiter.
pub(crate) async fn nobody_reads() {
    READER_LEFT.notified().await;
}

fn write_line(out: &mut impl Write, text: &str) -> Result<()> {
    writeln!(out, "{text}").and_then(|()| out.flush())
}

/// Only a closed pipe is for ever: a full disk may have room again.
fn has_lost_reader(written: &Result<()>) -> bool {
    written
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
