//! A bounded table of callers. Pure: `now` is an argument.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use usher_config::value::Port;

use crate::clock::Tick;

/// Addresses of callers that a worker knows at once, for each port; who called longest ago is forgotten for one more. Far above
/// what calls one instance, and at 80 bytes each nothing that a stranger with many addresses could fill the memory with.
pub const CALLERS_MAX: usize = 1_000;

/// How long a caller is remembered after its last connection has ended. A day, so that what runs every night is still
/// listed when somebody looks in the morning.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A caller, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// Where its connection comes from.
    pub address: IpAddr,
    /// What it called: the service's port; `None`: none of them.
    pub port: Option<Port>,
}

/// Its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The first one's beginning.
    pub first: Tick,
    /// The last one's beginning or end.
    pub last: Tick,
    /// When one was refused last for want of mutual TLS.
    pub refused: Option<Tick>,
    /// When one was let in last, or ended that had been.
    pub let_in: Option<Tick>,
    /// How many.
    pub connections: u64,
    /// How many of them are open. Who is connected calls now.
    pub open: u32,
    /// How many of these are let in.
    pub inside: u32,
}

impl Call {
    fn last(&self, now: Tick) -> Tick {
        if self.open > 0 { now } else { self.last }
    }

    fn let_in(&self, now: Tick) -> Option<Tick> {
        if self.inside > 0 {
            Some(now)
        } else {
            self.let_in
        }
    }
}

/// What all workers together have seen of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub who: Who,
    /// The first connection.
    pub first: Tick,
    /// The last one; now, while one is open.
    pub last: Tick,
    /// The last that was refused for want of mutual TLS; `None`: none.
    pub refused: Option<Tick>,
    /// The last that was let in; now, while one is; `None`: none.
    pub let_in: Option<Tick>,
    /// How many.
    pub connections: u64,
}

impl Seen {
    /// Whether refusing it would change something for it: it was let in, and not refused since.
    pub fn is_let_in(&self) -> bool {
        let since = |let_in: Tick| self.refused.is_none_or(|refused| let_in > refused);
        self.let_in.is_some_and(since)
    }
}

/// What became of a connection without the mesh's TLS, as of its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fate {
    /// It has asked for nothing yet.
    #[default]
    Undecided,
    /// Served, as far as mutual TLS goes.
    LetIn,
    /// For want of mutual TLS.
    Refused,
}

/// One worker's callers.
#[derive(Debug, Default)]
pub(super) struct Table {
    calls: HashMap<Who, Call>,
    changed: bool,
}

impl Table {
    /// A connection begins.
    pub(super) fn opened(&mut self, who: Who, now: Tick) {
        if self.calls.len() >= CALLERS_MAX && !self.calls.contains_key(&who) {
            self.forget_one();
        }
        let call = self.calls.entry(who).or_insert(Call {
            first: now,
            last: now,
            refused: None,
            let_in: None,
            connections: 0,
            open: 0,
            inside: 0,
        });
        call.last = now;
        call.connections = call.connections.saturating_add(1);
        call.open = call.open.saturating_add(1);
        self.changed = true;
    }

    /// One ends. Its caller may have been forgotten meanwhile.
    pub(super) fn closed(&mut self, who: Who, fate: Fate, now: Tick) {
        if let Some(call) = self.calls.get_mut(&who) {
            call.last = now;
            call.open = call.open.saturating_sub(1);
            if fate == Fate::LetIn {
                call.inside = call.inside.saturating_sub(1);
                call.let_in = Some(now);
            }
            self.changed = true;
        }
    }

    /// What becomes of one of its connections, and became of it before.
    pub(super) fn decided(&mut self, who: Who, (before, fate): (Fate, Fate), now: Tick) {
        let Some(call) = self.calls.get_mut(&who) else {
            return;
        };
        match fate {
            Fate::LetIn if before != Fate::LetIn => {
                call.inside = call.inside.saturating_add(1);
                call.let_in = Some(now);
            }
            Fate::Refused => {
                if before == Fate::LetIn {
                    call.inside = call.inside.saturating_sub(1);
                    call.let_in = Some(now);
                }
                call.refused = Some(now);
            }
            Fate::LetIn | Fate::Undecided => return,
        }
        self.changed = true;
    }

    /// Whether something has changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<(Who, Call)> {
        self.calls.iter().map(|(who, call)| (*who, *call)).collect()
    }

    /// Who is connected is forgotten last.
    fn forget_one(&mut self) {
        let calls = self.calls.iter();
        let oldest = calls.min_by_key(|(who, call)| (call.open > 0, call.last, **who));
        if let Some(who) = oldest.map(|(who, _)| *who) {
            self.calls.remove(&who);
        }
    }
}

/// What the lists of several workers say together at `now`, who was last seen first; who was not for
/// [`FORGOTTEN_AFTER`] is left out.
pub fn merged<'a>(lists: impl Iterator<Item = &'a [(Who, Call)]>, now: Tick) -> Vec<Seen> {
    let mut all: BTreeMap<Who, Seen> = BTreeMap::new();
    for (who, call) in lists.flatten() {
        let last = call.last(now);
        if now.since(last) >= FORGOTTEN_AFTER {
            continue;
        }
        let known = all.entry(*who).or_insert(Seen {
            who: *who,
            first: call.first,
            last,
            refused: None,
            let_in: None,
            connections: 0,
        });
        known.first = known.first.min(call.first);
        known.last = known.last.max(last);
        known.refused = known.refused.max(call.refused);
        known.let_in = known.let_in.max(call.let_in(now));
        known.connections = known.connections.saturating_add(call.connections);
    }
    let mut all: Vec<Seen> = all.into_values().collect();
    all.sort_by_key(|seen| (Reverse(seen.last), seen.who));
    all
}

#[cfg(test)]
mod tests;
