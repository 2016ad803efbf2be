//! Who is remembered, and for how long.

use proptest::prelude::*;

use super::*;

fn who(last_octet: u8) -> Who {
    Who {
        address: [10, 0, 0, last_octet].into(),
        port: None,
    }
}

fn at(seconds: u64) -> Tick {
    Tick::from_millis(seconds * 1_000)
}

/// Of a connection that is open, by its number among them.
#[derive(Debug, Clone, Copy)]
enum Step {
    Open(u8),
    Close(u8),
    Decide(u8, Fate),
}

fn any_step() -> impl Strategy<Value = Step> {
    let one = 0..5_u8;
    let fate = prop_oneof![Just(Fate::LetIn), Just(Fate::Refused)];
    prop_oneof![
        one.clone().prop_map(Step::Open),
        one.clone().prop_map(Step::Close),
        (one, fate).prop_map(|(one, fate)| Step::Decide(one, fate)),
    ]
}

/// A connection as it was: its caller, what became of it and when, when it ended.
#[derive(Debug)]
struct Made {
    who: u8,
    begun: u64,
    fates: Vec<(Fate, u64)>,
    ended: Option<u64>,
}

impl Made {
    fn fate(&self) -> Fate {
        self.fates.last().map_or(Fate::Undecided, |(fate, _)| *fate)
    }

    fn last(&self, now: u64) -> u64 {
        self.ended.unwrap_or(now)
    }

    fn refused(&self) -> Option<u64> {
        let refused = self
            .fates
            .iter()
            .rev()
            .find(|(fate, _)| *fate == Fate::Refused);
        refused.map(|(_, at)| *at)
    }

    /// Until when it was let in last.
    fn let_in(&self, now: u64) -> Option<u64> {
        let last = self
            .fates
            .iter()
            .rposition(|(fate, _)| *fate == Fate::LetIn)?;
        let until = self.fates.get(last + 1).map(|(_, at)| *at);
        Some(until.unwrap_or(self.last(now)))
    }
}

proptest! {
    #[test]
    fn a_table_says_what_has_happened(steps in prop::collection::vec((any_step(), 0..40_000_u64), 0..40)) {
        let (mut table, mut now) = (Table::default(), 0);
        let mut all: Vec<Made> = Vec::new();
        for (step, pause) in steps {
            now += pause;
            let mut open: Vec<&mut Made> = all.iter_mut().filter(|one| one.ended.is_none()).collect();
            match step {
                Step::Open(one) => {
                    table.opened(who(one), at(now));
                    all.push(Made { who: one, begun: now, fates: Vec::new(), ended: None });
                }
                Step::Close(number) => if let Some(one) = open.get_mut(usize::from(number)) {
                    table.closed(who(one.who), one.fate(), at(now));
                    one.ended = Some(now);
                }
                Step::Decide(number, fate) => if let Some(one) = open.get_mut(usize::from(number)) {
                    table.decided(who(one.who), (one.fate(), fate), at(now));
                    one.fates.push((fate, now));
                }
            }
        }
        let list = table.list();
        let seen = merged([list.as_slice()].into_iter(), at(now));
        for one in 0..5_u8 {
            let of: Vec<&Made> = all.iter().filter(|made| made.who == one).collect();
            let found = seen.iter().find(|seen| seen.who == who(one));
            let last = of.iter().map(|made| made.last(now).max(made.begun)).max();
            let remembered = last.filter(|last| now - last < FORGOTTEN_AFTER.as_secs());
            prop_assert_eq!(found.map(|seen| seen.last), remembered.map(at));
            if let Some(found) = found {
                prop_assert_eq!(found.first, at(of[0].begun));
                prop_assert_eq!(found.connections, of.len() as u64);
                prop_assert_eq!(found.refused, of.iter().filter_map(|made| made.refused()).max().map(at));
                prop_assert_eq!(found.let_in, of.iter().filter_map(|made| made.let_in(now)).max().map(at));
            }
        }
        prop_assert!(seen.is_sorted_by(|a, b| a.last >= b.last));
    }

    #[test]
    fn workers_together_say_what_one_would(steps in prop::collection::vec((0..5_u8, 0..3_usize, 0..1_000_u64, any::<bool>()), 0..40)) {
        let mut one = Table::default();
        let mut several = [Table::default(), Table::default(), Table::default()];
        let mut now = 0;
        for (caller, worker, pause, is_let_in) in steps {
            now += pause;
            let fate = if is_let_in { Fate::LetIn } else { Fate::Refused };
            for table in [&mut one, &mut several[worker]] {
                table.opened(who(caller), at(now));
                table.decided(who(caller), (Fate::Undecided, fate), at(now));
                table.closed(who(caller), fate, at(now));
            }
        }
        let lists: Vec<_> = several.iter().map(Table::list).collect();
        let list = one.list();
        prop_assert_eq!(
            merged(lists.iter().map(Vec::as_slice), at(now)),
            merged([list.as_slice()].into_iter(), at(now))
        );
    }
}

#[test]
fn a_table_is_bounded_and_forgets_who_is_connected_last() {
    let mut table = Table::default();
    let numbered = |number: u32| Who {
        address: std::net::Ipv4Addr::from(number).into(),
        port: None,
    };
    table.opened(numbered(0), at(0));
    for number in 1..3_000_u32 {
        table.opened(numbered(number), at(u64::from(number)));
        table.closed(numbered(number), Fate::Undecided, at(u64::from(number)));
    }
    let list = table.list();
    assert_eq!(list.len(), CALLERS_MAX);
    assert!(list.iter().any(|(who, _)| *who == numbered(0)), "connected");
    assert!(
        list.iter()
            .all(|(_, call)| call.open > 0 || call.last > at(2_000))
    );
}

#[test]
fn only_news_is_shown() {
    let mut table = Table::default();
    assert!(!table.take_changed());
    table.closed(who(1), Fate::Undecided, at(1));
    assert!(!table.take_changed(), "nobody has called");
    table.opened(who(1), at(1));
    assert!(table.take_changed());
    assert!(!table.take_changed());
}
