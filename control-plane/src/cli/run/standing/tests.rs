//! What the user hears, and when.

use super::*;

fn standing(text: &str) -> Standing {
    serde_json::from_str(text).expect("a sidecar's words")
}

const SICK: &str =
    r#"{"health":{"health":"unhealthy","failure":"GET http://127.0.0.1:1/healthz → 404"}}"#;
const WELL: &str = r#"{"health":{"health":"healthy","failure":null}}"#;

#[test]
fn a_sick_application_is_told_once_after_five_seconds_and_again_when_well() {
    let (mut told, start) = (Told::of(Role::Sidecar, None), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(told.news(&standing(SICK), at(0)).is_empty());
    assert!(told.news(&standing(SICK), at(4)).is_empty());
    let news = told.news(&standing(SICK), at(5));
    let [News::Bad(text)] = news.as_slice() else {
        panic!("{news:?}");
    };
    assert!(
        text.contains("/healthz → 404") && text.contains("Workload.spec.healthCheck"),
        "{text}"
    );
    assert!(told.news(&standing(SICK), at(60)).is_empty());
    assert!(matches!(
        told.news(&standing(WELL), at(61))[..],
        [News::Good(_)]
    ));
    assert!(told.news(&standing(WELL), at(62)).is_empty());
    assert!(told.news(&standing(SICK), at(63)).is_empty());
    assert!(matches!(
        told.news(&standing(SICK), at(68))[..],
        [News::Bad(_)]
    ));
}

#[test]
fn notices_are_told_once_each() {
    let mut told = Told::of(Role::Sidecar, None);
    let one = standing(r#"{"notices":["a"]}"#);
    let two = standing(r#"{"notices":["a","b"]}"#);
    let now = Instant::now();
    assert_eq!(told.news(&one, now), [News::Bad("a".into())]);
    assert_eq!(told.news(&two, now), [News::Bad("b".into())]);
    assert!(told.news(&two, now).is_empty());
}

#[test]
fn a_sidecars_words_on_admission_are_understood() {
    let refused =
        standing(r#"{"admission":{"state":"refused","reason":"not you"},"revision":null}"#);
    assert_eq!(
        refused.admission,
        Some(Admission::Refused("not you".into()))
    );
    let pending = standing(r#"{"admission":{"state":"pending"},"revision":3}"#);
    assert_eq!(pending.admission, Some(Admission::Pending));
}

#[test]
fn who_had_the_port_before_the_command_is_not_called_the_application() {
    let mut told = Told::of(Role::Sidecar, None);
    told.port_is_taken("9111".parse().ok());
    let news = told.news(&standing(WELL), Instant::now());
    let [News::Good(text)] = news.as_slice() else {
        panic!("{news:?}");
    };
    assert!(
        text.contains("who has port 9111") && !text.contains("the application"),
        "{text}"
    );
}

#[test]
fn a_gateway_that_is_no_longer_admitted_is_called_one() {
    let mut told = Told::of(Role::Gateway, None);
    let refused = standing(r#"{"admission":{"state":"refused","reason":"gone"}}"#);
    assert_eq!(
        told.news(&refused, Instant::now()),
        [News::Bad(
            "the control plane no longer lets this gateway be its service: gone".into()
        )]
    );
}

#[test]
fn a_control_plane_that_does_not_answer_is_told_once_where_a_kept_configuration_hides_it() {
    let away =
        standing(r#"{"revision":3,"admission":{"state":"pending"},"waitingFor":"nobody at x"}"#);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut told = Told::of(Role::Sidecar, Some(SystemTime::UNIX_EPOCH));
    assert!(told.news(&away, at(0)).is_empty());
    assert!(told.news(&away, at(2)).is_empty());
    assert_eq!(
        told.news(&away, at(3)),
        [News::Bad(
            "nobody at x\n  until it answers the sidecar goes on with the configuration kept at 1970-01-01T00:00:00Z, and \
             hears of no change"
                .into()
        )]
    );
    assert!(told.news(&away, at(60)).is_empty());
    let there = standing(r#"{"revision":4,"admission":{"state":"admitted"}}"#);
    assert!(matches!(told.news(&there, at(61))[..], [News::Good(_)]));
    assert!(told.news(&there, at(62)).is_empty());
    // Without a kept configuration the wait for the first one was told already.
    let mut told = Told::of(Role::Sidecar, None);
    assert!(told.news(&away, at(0)).is_empty() && told.news(&away, at(9)).is_empty());
    // Nor with one that the sidecar could not use.
    let mut told = Told::of(Role::Sidecar, Some(SystemTime::UNIX_EPOCH));
    told.is_kept(None);
    assert!(told.news(&away, at(0)).is_empty() && told.news(&away, at(9)).is_empty());
}
