//! One of several, and another one when it is silent.

use super::*;

fn lease(holder: &str, version: u32) -> Lease {
    Lease {
        metadata: ObjectMeta {
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            ..LeaseSpec::default()
        }),
    }
}

#[test]
fn it_is_taken_where_it_is_nobodys_or_ours_or_of_somebody_who_is_silent() {
    let start = Instant::now();
    let mut seen = Seen::default();
    assert!(seen.may_take("us", None, start));
    assert!(seen.may_take("us", Some(&lease("us", 1)), start));
    assert!(seen.may_take("us", Some(&lease("", 2)), start));
    let mut seen = Seen::default();
    assert!(
        !seen.may_take("us", Some(&lease("them", 1)), start),
        "it may have been renewed this moment"
    );
    assert!(!seen.may_take("us", Some(&lease("them", 1)), start + HELD));
    assert!(
        !seen.may_take("us", Some(&lease("them", 2)), start + HELD * 2),
        "it was renewed"
    );
    assert!(seen.may_take("us", Some(&lease("them", 2)), start + HELD * 4));
}

#[test]
fn a_holder_stops_to_believe_it_before_another_may_take_it() {
    assert!(RENEW * 2 <= BELIEVED && BELIEVED + RENEW <= HELD);
}
