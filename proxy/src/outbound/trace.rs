//! Which request, which trace.

use crate::{
    telemetry::trace_context::{Caller, TraceContext, ensure_request_id},
    worker::{Record, Worker},
};

/// Request id and trace: the caller's where its words count, else new ones.
pub(super) fn trace(
    worker: &Worker,
    headers: &mut http::HeaderMap,
    caller: Caller,
    record: &mut Record,
) {
    record.request_id = Some(ensure_request_id(headers, caller, worker.random()));
    let context = TraceContext::of(headers).map_or_else(
        || TraceContext::start(sample_percent(worker), worker.random()),
        |parent| parent.child(worker.random()),
    );
    context.write(headers);
    record.trace_id = Some(context.trace_id);
}

fn sample_percent(worker: &Worker) -> u8 {
    worker
        .snapshot()
        .inbound()
        .map_or(0, |policy| policy.telemetry.trace_sample.get())
}
