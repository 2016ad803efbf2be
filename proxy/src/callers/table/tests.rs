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

#[derive(Debug, Clone, Copy)]
enum Step {
    Open(u8),
    Close(u8),
    Refuse(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let address = 0..5_u8;
    prop_oneof![
        address.clone().prop_map(Step::Open),
        address.clone().prop_map(Step::Close),
        address.prop_map(Step::Refuse),
    ]
}

proptest! {
    #[test]
    fn a_table_says_what_has_happened(steps in prop::collection::vec((any_step(), 0..40_000_u64), 0..40)) {
        let (mut table, mut now) = (Table::default(), 0);
        let mut history: Vec<(Step, u64)> = Vec::new();
        for (step, pause) in steps {
            now += pause;
            history.push((step, now));
            match step {
                Step::Open(one) => table.opened(who(one), at(now)),
                Step::Close(one) => table.closed(who(one), at(now)),
                Step::Refuse(one) => table.refused(who(one), at(now)),
            }
        }
        let list = table.list();
        let seen = merged([list.as_slice()].into_iter(), at(now));
        for one in 0..5_u8 {
            let of: Vec<(Step, u64)> = history
                .iter()
                .filter(|(step, _)| matches!(step, Step::Open(n) | Step::Close(n) | Step::Refuse(n) if *n == one))
                .copied()
                // What happens to somebody who has never called is nothing.
                .skip_while(|(step, _)| !matches!(step, Step::Open(_)))
                .collect();
            let opened: Vec<u64> = of.iter().filter(|(step, _)| matches!(step, Step::Open(_))).map(|(_, at)| *at).collect();
            let found = seen.iter().find(|seen| seen.who == who(one));
            let open = of.iter().fold(0_u32, |open, (step, _)| match step {
                Step::Open(_) => open + 1,
                Step::Close(_) => open.saturating_sub(1),
                Step::Refuse(_) => open,
            });
            let last = of.iter().rev().find(|(step, _)| !matches!(step, Step::Refuse(_)));
            let last = if open > 0 { Some(now) } else { last.map(|(_, at)| *at) };
            let remembered = last.filter(|last| now - last < FORGOTTEN_AFTER.as_secs());
            prop_assert_eq!(found.map(|seen| seen.last), remembered.map(at));
            if let Some(found) = found {
                prop_assert_eq!(found.first, at(opened[0]));
                prop_assert_eq!(found.connections, opened.len() as u64);
                let refused = of.iter().rev().find(|(step, _)| matches!(step, Step::Refuse(_)));
                prop_assert_eq!(found.refused, refused.map(|(_, then)| at(*then)));
            }
        }
        prop_assert!(seen.is_sorted_by(|a, b| a.last >= b.last));
    }

    #[test]
    fn workers_together_say_what_one_would(steps in prop::collection::vec((0..5_u8, 0..3_usize, 0..1_000_u64), 0..40)) {
        let mut one = Table::default();
        let mut several = [Table::default(), Table::default(), Table::default()];
        let mut now = 0;
        for (caller, worker, pause) in steps {
            now += pause;
            for table in [&mut one, &mut several[worker]] {
                table.opened(who(caller), at(now));
                table.refused(who(caller), at(now));
                table.closed(who(caller), at(now));
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
        table.closed(numbered(number), at(u64::from(number)));
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
    table.closed(who(1), at(1));
    assert!(!table.take_changed(), "nobody has called");
    table.opened(who(1), at(1));
    assert!(table.take_changed());
    assert!(!table.take_changed());
}
