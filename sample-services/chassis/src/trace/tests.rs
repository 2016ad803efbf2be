//! Facts about trace propagation.

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("header value"),
            )
        })
        .collect()
}

#[test]
fn a_callers_trace_is_continued_by_a_span_of_our_own() {
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let incoming = headers(&[
        ("traceparent", parent.as_str()),
        ("tracestate", "a=1"),
        ("x-request-id", "request-7"),
    ]);
    let mut outgoing = HeaderMap::new();
    TraceContext::continue_from(&incoming).write(&mut outgoing);
    let written = outgoing[TRACEPARENT].to_str().expect("text");
    assert!(
        written.starts_with(&format!("00-{TRACE}-")) && written.ends_with("-00"),
        "{written}"
    );
    assert!(!written.contains("00f067aa0ba902b7"), "{written}");
    assert_eq!(outgoing[TRACESTATE], "a=1");
    assert_eq!(outgoing[REQUEST_ID], "request-7");
}

#[test]
fn a_malformed_traceparent_begins_a_new_trace() {
    for wrong in [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf9-00f067aa0ba902b7-01",
    ] {
        assert!(
            parse_traceparent(&wrong.parse().expect("value")).is_none(),
            "{wrong}"
        );
        let context = TraceContext::continue_from(&headers(&[("tracestate", "a=1")]));
        assert!(context.state.is_none());
    }
}

#[tokio::test]
async fn spawned_work_belongs_to_the_request_it_was_begun_for() {
    let context = TraceContext::begin();
    let seen = scope(context.clone(), async { spawn(async { current() }).await }).await;
    assert_eq!(seen.expect("joined"), context);
}
