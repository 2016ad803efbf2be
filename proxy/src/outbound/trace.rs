//! Which request, which trace.

use crate::{
    telemetry::trace_context::{Caller, TraceContext, ensure_request_id},
    worker::{Record, Worker},
};

/// Request id and trace. Of a stranger's words only the trace id counts, so that a trace may begin in a browser.
pub(super) fn trace(
    worker: &Worker,
    headers: &mut http::HeaderMap,
    caller: Caller,
    record: &mut Record,
) {
    record.request_id = Some(ensure_request_id(headers, caller, worker.random()));
    let percent = || sample_percent(worker);
    let context = match (TraceContext::of(headers), caller) {
        (None, _) => TraceContext::start(percent(), worker.random()),
        (Some(parent), Caller::Trusted) => parent.child(worker.random()),
        (Some(parent), Caller::Untrusted) => parent
            .child(worker.random())
            .sampled_anew(percent(), worker.random()),
    };
    if caller == Caller::Untrusted {
        TraceContext::remove_b3(headers);
    }
    context.write(headers);
    record.trace_id = Some(context.trace_id);
}

fn sample_percent(worker: &Worker) -> u8 {
    worker
        .snapshot()
        .inbound()
        .map_or(0, |policy| policy.telemetry.trace_sample.get())
}
