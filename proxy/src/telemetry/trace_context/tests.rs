//! A trace is kept if it is well-formed, else a new one begins.

use proptest::prelude::*;

use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn a_traceparent_is_kept_and_its_child_stays_in_the_trace() {
    let context = TraceContext::of(&headers(&[("traceparent", GOOD)])).unwrap();
    assert_eq!(context.traceparent(), GOOD);
    let child = context.child(5);
    assert_eq!((child.trace_id, child.sampled), (context.trace_id, true));
    assert_ne!(child.span_id, context.span_id);
}

#[test]
fn malformed_traceparents_are_not_repaired() {
    for text in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47-36-00f067aa0ba902b7-01",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
    let later = format!("01{}-more", &GOOD[2..]);
    assert!(
        parse(later.as_bytes()).is_some(),
        "later versions are read by their first four fields"
    );
}

#[test]
fn b3_is_read_where_there_is_no_traceparent() {
    let single = headers(&[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")]);
    let several = headers(&[
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("x-b3-spanid", "e457b5a2e4d86bd1"),
        ("x-b3-sampled", "1"),
    ]);
    let context = TraceContext::of(&single).unwrap();
    assert!(context.sampled);
    assert_eq!(TraceContext::of(&several), Some(context));
    assert_eq!(TraceContext::of(&headers(&[("b3", "0")])), None);
}

#[test]
fn vendor_state_does_not_outlive_its_trace() {
    let mut orphan = headers(&[("tracestate", "a=1")]);
    TraceContext::start(100, 1).write(&mut orphan);
    assert!(orphan.get(TRACESTATE).is_none());
    let mut kept = headers(&[("traceparent", GOOD), ("tracestate", "a=1")]);
    TraceContext::of(&kept).unwrap().child(1).write(&mut kept);
    assert_eq!(kept[TRACESTATE], "a=1");
}

#[test]
fn sampling_follows_the_percentage() {
    let sampled = (0..10_000)
        .filter(|n| TraceContext::start(10, random::split(*n).0).sampled)
        .count();
    assert!((900..1100).contains(&sampled), "{sampled}");
}

#[test]
fn a_stranger_says_which_trace_and_not_whether_it_is_paid_for() {
    let parent = parse(GOOD.as_bytes()).unwrap();
    assert!(parent.sampled, "the caller's wish");
    let sampled = (0..10_000)
        .map(|n| parent.sampled_anew(10, random::split(n).0))
        .inspect(|context| assert_eq!(context.trace_id, parent.trace_id))
        .filter(|context| context.sampled)
        .count();
    assert!((900..1100).contains(&sampled), "{sampled}");
    let mut b3 = headers(&[
        ("b3", "1"),
        ("x-b3-traceid", "1"),
        ("x-b3-flags", "1"),
        ("x-b3-parentspanid", "1"),
        ("traceparent", GOOD),
    ]);
    TraceContext::remove_b3(&mut b3);
    assert_eq!(b3, headers(&[("traceparent", GOOD)]));
}

#[test]
fn request_ids_are_kept_only_from_those_who_are_trusted_and_sane() {
    let sent = || headers(&[("x-request-id", "abc-17")]);
    assert_eq!(ensure_request_id(&mut sent(), Caller::Trusted, 1), "abc-17");
    let mut replaced = sent();
    let id = ensure_request_id(&mut replaced, Caller::Untrusted, 1);
    assert_eq!(replaced[REQUEST_ID], id);
    let text = id.to_str().unwrap();
    assert_eq!((text.len(), &text[14..15]), (36, "4"));
    let mut junk = headers(&[("x-request-id", "a b")]);
    assert_ne!(ensure_request_id(&mut junk, Caller::Trusted, 1), "a b");
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(random: u64, percent in 0..=100u8) {
        let context = TraceContext::start(percent, random);
        prop_assert_eq!(parse(context.traceparent().as_bytes()), Some(context));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        parse(&bytes);
        parse_b3(&bytes);
    }
}
