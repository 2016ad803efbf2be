//! Whatever operators do in whatever order, somebody signs, and nobody is cut off who is connected.

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn pin(number: u8) -> String {
    format!("{number:064x}").chars().rev().collect::<String>()
}

fn root(number: u8) -> Root {
    Root {
        pin: pin(number),
        certificate: vec![number],
        phase: Phase::Adding,
        since: NOW,
        crosses: Vec::new(),
    }
}

fn mesh() -> RootSet {
    RootSet::first(pin(0), vec![0], NOW)
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Activate(u8, usize),
    Retire(u8, Use, Force),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let used = (0_usize..2, 0_usize..2).prop_map(|(sidecars, control_planes)| Use {
        sidecars,
        control_planes,
        left: None,
    });
    let force = prop_oneof![
        Just(Force::Nobody),
        Just(Force::Absent),
        Just(Force::Everybody)
    ];
    prop_oneof![
        (0_u8..6).prop_map(Step::Add),
        (0_u8..6, 0_usize..2).prop_map(|(one, behind)| Step::Activate(one, behind)),
        (0_u8..6, used, force).prop_map(|(one, used, force)| Step::Retire(one, used, force)),
        (0_i64..40).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn exactly_one_root_signs_and_what_is_used_stays(steps in prop::collection::vec(step(), 0..60)) {
        let (mut roots, mut now) = (mesh(), NOW);
        for step in steps {
            let next = match step {
                Step::Add(one) => roots.add(root(one)),
                Step::Activate(one, behind) => {
                    let next = roots.activate(&pin(one), behind, now);
                    prop_assert!(next.is_err() || behind == 0, "somebody did not know it");
                    next
                }
                Step::Retire(one, used, force) => {
                    let next = roots.retire(&pin(one), used, (now, force));
                    if next.is_ok() {
                        let was = roots.get(&pin(one)).expect("was there");
                        prop_assert!(was.phase != Phase::Active);
                        prop_assert!(used.sidecars == 0 || force == Force::Everybody);
                        if force == Force::Nobody && was.phase == Phase::Retiring {
                            prop_assert!(now >= was.since + SVID_LIFETIME);
                            prop_assert_eq!(used.control_planes, 0);
                        }
                    }
                    next
                }
                Step::Pass(hours) => {
                    now += Duration::hours(hours);
                    continue;
                }
            };
            if let Ok(next) = next {
                prop_assert_eq!(next.version, roots.version + 1);
                roots = next;
            }
            let active = roots.roots.iter().filter(|root| root.phase == Phase::Active);
            prop_assert_eq!(active.count(), 1);
            prop_assert!(roots.roots.len() <= ROOTS_MAX);
            let bundle = roots.bundle(&"mesh.test".parse().expect("valid"));
            prop_assert_eq!(&bundle.roots[0], &roots.active().expect("one").certificate);
            prop_assert_eq!(bundle.roots.len(), roots.roots.len());
            let text = serde_json::to_vec(&roots).expect("written");
            prop_assert_eq!(&serde_json::from_slice::<RootSet>(&text).expect("read"), &roots);
        }
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let rotated = mesh().add(root(1)).expect("added");
    let words = |result: Result<RootSet, RootError>| result.expect_err("refused").to_string();
    let idle = Use::default();
    assert!(words(rotated.retire(&pin(0), idle, (NOW, Force::Absent))).contains("usher ca rotate"));
    assert!(words(rotated.activate(&pin(1), 3, NOW)).contains("3 of the connected"));
    assert!(words(rotated.activate("zz", 0, NOW)).contains("there are: "));
    let active = rotated.activate(&pin(1), 0, NOW).expect("active");
    let busy = Use {
        sidecars: 2,
        ..Use::default()
    };
    assert!(
        words(active.retire(&pin(0), busy, (NOW, Force::Absent))).contains("2 connected sidecars")
    );
    let early = words(active.retire(&pin(0), idle, (NOW, Force::Nobody)));
    assert!(
        early.contains("1970-01-02T00:05:00Z") && early.contains("--force"),
        "{early}"
    );
    assert!(active.retire(&pin(0), idle, (NOW, Force::Absent)).is_ok());
    assert!(
        active
            .retire(&pin(0), busy, (NOW, Force::Everybody))
            .is_ok()
    );
    let late = Use {
        left: Some(NOW + Duration::days(3)),
        ..idle
    };
    let day = |days| (NOW + Duration::days(days), Force::Nobody);
    assert!(
        active.retire(&pin(0), late, day(3)).is_err(),
        "signed under it until a moment ago"
    );
    assert!(active.retire(&pin(0), late, day(5)).is_ok());
}
