//! A caller's connection, message by message.

use super::{
    chunked::{Chunked, Fed},
    head::{self, Framing, LINE_MAX, judge},
};
use crate::{error::Refusal, http::headers::HEADER_BUFFER};

/// What may happen with the bytes at hand. All but [`Verdict::Pass`] and [`Verdict::Skip`] are given again
/// if asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many are in order. Ask again about the rest.
    Pass(usize),
    /// So many say nothing (an empty line before a request, RFC 9112 §2.2) and go no further.
    Skip(usize),
    /// They decide nothing yet: keep them, and ask again when there are more.
    Hold,
    /// It is not known yet whether they are HTTP: say [`Scanner::upgraded`] or [`Scanner::not_upgraded`].
    Wait,
    /// No request begins here. Nothing after this is a request either.
    Refuse(Refusal),
    /// The body under way is malformed. Nothing after this belongs to anything.
    Broken,
}

/// See [`super`].
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Bytes of the head at hand that hold no end of it.
    searched: usize,
    /// The line of the head at hand has been judged.
    line_judged: bool,
    /// The empty line that may precede a request has been.
    skipped: bool,
    requests: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    Undecided,
    Opaque,
    Refused(Refusal),
    Broken,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Head,
            searched: 0,
            line_judged: false,
            skipped: false,
            requests: 0,
        }
    }
}

impl Scanner {
    /// Judges the bytes that follow those that passed.
    pub fn scan(&mut self, bytes: &[u8]) -> Verdict {
        match &mut self.state {
            State::Head => match self.head(bytes) {
                Ok(verdict) => verdict,
                Err(refusal) => {
                    self.state = State::Refused(refusal);
                    Verdict::Refuse(refusal)
                }
            },
            State::Length(left) => {
                let here = bytes.len();
                let step = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left = left.saturating_sub(u64::try_from(step).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.next();
                }
                Verdict::Pass(step)
            }
            State::Chunked(chunked) => match chunked.feed(bytes) {
                Ok(Fed::On) => Verdict::Pass(bytes.len()),
                Ok(Fed::Ended(step)) => {
                    self.next();
                    Verdict::Pass(step)
                }
                Err(_) => {
                    self.state = State::Broken;
                    Verdict::Broken
                }
            },
            State::Undecided => Verdict::Wait,
            State::Opaque => Verdict::Pass(bytes.len()),
            State::Refused(refusal) => Verdict::Refuse(*refusal),
            State::Broken => Verdict::Broken,
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        match bytes {
            [] => return Ok(Verdict::Hold),
            [b'\r'] if !self.skipped => return Ok(Verdict::Hold),
            [b'\r', b'\n', ..] if !self.skipped => {
                self.skipped = true;
                return Ok(Verdict::Skip(2));
            }
            // A complete line says what is wrong with it; this says so before a line's end comes, or never does.
            [first, ..] if !head::is_token(*first) => {
                return Err(if matches!(first, b' ' | b'\t') {
                    Refusal::Folded
                } else {
                    Refusal::RequestLine
                });
            }
            _ => {}
        }
        let Some(end) = head_end(bytes, self.searched) else {
            return self.incomplete(bytes);
        };
        let head = bytes.get(..end).unwrap_or_default();
        self.state = match judge(head)? {
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::Upgrade => State::Undecided,
        };
        self.requests += 1;
        (self.searched, self.line_judged, self.skipped) = (0, false, false);
        Ok(Verdict::Pass(end))
    }

    fn incomplete(&mut self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        if !self.line_judged {
            let unseen = bytes.get(self.searched..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = bytes.get(..self.searched + end).unwrap_or_default();
                let line = line.strip_suffix(b"\r").ok_or(Refusal::LineEnding)?;
                head::request_line(line)?;
                self.line_judged = true;
            } else if bytes.len() > LINE_MAX {
                return Err(Refusal::TargetTooLong);
            }
        }
        if bytes.len() > HEADER_BUFFER {
            return Err(Refusal::HeadTooLarge);
        }
        self.searched = bytes.len();
        Ok(Verdict::Hold)
    }

    fn next(&mut self) {
        self.state = State::Head;
    }

    /// The upgrade that the last request asked for has come about: whatever follows is not HTTP/1.
    pub fn upgraded(&mut self) {
        self.state = State::Opaque;
    }

    /// It has not: the next request follows.
    pub fn not_upgraded(&mut self) {
        if self.state == State::Undecided {
            self.next();
        }
    }

    /// Requests whose head passed.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether a body is under way.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Whether nothing will pass any more.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Refused(_) | State::Broken)
    }
}

/// Just after the empty line that ends a head, even where its line ends are wrong: that it ends is clear, and
/// [`judge`] refuses it. The first `searched` bytes are known to hold no end.
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    // An end that has begun in what was searched: at most CR LF CR.
    let mut at = searched.saturating_sub(3);
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}
