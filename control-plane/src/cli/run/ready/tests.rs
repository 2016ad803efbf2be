//! When a command may start.

use super::*;

fn standing(revision: Option<u64>, admission: Admission, waiting_for: Option<&str>) -> Standing {
    Standing {
        revision,
        admission: Some(admission),
        waiting_for: waiting_for.map(str::to_owned),
        ..Standing::default()
    }
}

#[test]
fn a_command_starts_with_a_configuration_and_an_admitted_identity() {
    let none = Duration::ZERO;
    let cases = [
        (standing(None, Admission::Admitted, None), Verdict::Wait),
        (standing(Some(0), Admission::Admitted, None), Verdict::Wait),
        (standing(Some(3), Admission::Pending, None), Verdict::Wait),
        (
            standing(Some(3), Admission::Admitted, None),
            Verdict::Ready(3),
        ),
        (
            standing(Some(3), Admission::Pending, Some("away")),
            Verdict::Ready(3),
        ),
        (
            standing(None, Admission::Refused("no".into()), None),
            Verdict::Refused("no".into()),
        ),
    ];
    for (standing, expected) in cases {
        assert_eq!(verdict(&standing, none), expected, "{standing:?}");
    }
    let checking = Standing {
        checking: true,
        ..standing(Some(3), Admission::Admitted, None)
    };
    assert_eq!(verdict(&checking, none), Verdict::Wait);
    assert_eq!(verdict(&checking, ANSWERS_WITHIN), Verdict::Ready(3));
    let silent = standing(Some(3), Admission::Pending, None);
    assert_eq!(verdict(&silent, ANSWERS_WITHIN), Verdict::Ready(3));
}

#[test]
fn what_follows_from_a_configuration_is_waited_for_from_when_there_is_one() {
    let begun = Instant::now();
    let mut start = Start::default();
    let nothing = standing(None, Admission::Pending, None);
    assert_eq!(start.verdict(&nothing, begun), Verdict::Wait);
    assert_eq!(start.extra(), Duration::ZERO);
    // The control plane was slow.
    let configured = begun + 3 * ANSWERS_WITHIN;
    let checking = Standing {
        checking: true,
        ..standing(Some(3), Admission::Admitted, None)
    };
    assert_eq!(start.verdict(&checking, configured), Verdict::Wait);
    let undecided = standing(Some(3), Admission::Pending, None);
    let later = configured + ANSWERS_WITHIN / 2;
    assert_eq!(start.verdict(&undecided, later), Verdict::Wait);
    assert_eq!(start.extra(), ANSWERS_WITHIN);
    let end = configured + ANSWERS_WITHIN;
    assert_eq!(start.verdict(&checking, end), Verdict::Ready(3));
}
