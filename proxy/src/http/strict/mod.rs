//! HTTP/1 requests, strictly: which bytes of a caller's connection are one request, decided before hyper (or
//! anybody) reads them.
//!
//! Why an own scanner: hyper is a lenient reader, as most clients need it to be: it takes bare LF for a line's
//! end, lets `Transfer-Encoding` win over `Content-Length`, and white space stand after a chunk's size. Two
//! hops that are lenient in different ways disagree about where a request ends, and what one takes for a
//! body the other takes for the next request. So nothing reaches hyper that RFC 9112 does not allow in
//! exactly one reading. Refusing is always safe; the interpretation stays hyper's.
//!
//! Pure: bytes in, verdicts out, nothing allocated. [`Scanner`] follows a connection from message to message;
//! `serve::guarded` holds back what has no verdict yet.

mod chunked;
mod head;
mod scanner;

pub use head::{Framing, TARGET_MAX, judge};
pub use scanner::{Scanner, Verdict};

#[cfg(test)]
mod tests;
