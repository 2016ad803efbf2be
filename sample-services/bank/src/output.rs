//! Standard output, for a launcher that outlives whoever reads it.
//!
//! Why not `println!`: it panics when the reader has gone (`bank | head`), and a bank that panics can't close
//! in order.

use std::io::{Write as _, stdout};

/// Writes one line (or several); what nobody can read is lost.
pub(crate) fn line(text: &str) {
    let mut out = stdout().lock();
    // Nobody looks any more: the bank goes on.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
