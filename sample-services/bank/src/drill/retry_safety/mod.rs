//! Drill `retry-safety`: services that fail *after* doing the work are not asked twice.
//!
//! Every request has an id, and the services note each execution in a file before they fail. What is not
//! provably repeatable (POST, any gRPC call) must be in the files exactly once, over all replicas and the
//! fallback. What says it may be repeated (GET, an idempotency key) shall be, and what provably reached
//! nobody shall find another replica, or the fallback. A key is known to the service that it was meant for and to
//! nobody else: the fallback never sees it.

mod calls;

use std::path::PathBuf;

use super::{load::auditing, story::Story};
use crate::{
    drill::retry_safety::calls::{Call, Protocol},
    flaky::{Ending, executions},
    programs::Program,
    roster::{auditor, flaky},
};

const CONFIGURATION: &str = include_str!("../../../mesh/retry-safety.yaml");
/// Requests of each kind.
const EACH: usize = 5;

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open(story).await?;
    for protocol in [Protocol::Rest, Protocol::Grpc] {
        for target in ["flaky", "guarded"] {
            failing_after_the_work(story, protocol, target).await?;
            repeated_because_allowed(story, protocol, target).await?;
        }
    }
    fallback_for_what_does_no_harm(story).await?;
    for protocol in [Protocol::Rest, Protocol::Grpc] {
        story.say(format!(
            "SIGKILL for one of two {}",
            protocol.service("flaky")
        ));
        story
            .bank
            .instance(&protocol.instance("flaky", 1))?
            .kill()
            .await?;
        reaches_somebody(story, protocol, "flaky", "other replica").await?;
        story.say(format!("SIGKILL for both {}", protocol.service("guarded")));
        story
            .bank
            .instance(&protocol.instance("guarded", 1))?
            .kill()
            .await?;
        story
            .bank
            .instance(&protocol.instance("guarded", 2))?
            .kill()
            .await?;
        reaches_somebody(story, protocol, "guarded", "fallback").await?;
    }
    Ok(())
}

async fn open(story: &mut Story) -> anyhow::Result<()> {
    story.say("opening a mesh of services that fail after doing the work");
    story
        .bank
        .layout
        .configure("retry-safety.yaml", CONFIGURATION)?;
    let voice = story.voice();
    story.bank.open_control_plane(&voice).await?;
    for (protocol, program) in [
        (Protocol::Rest, Program::FlakyRest),
        (Protocol::Grpc, Program::FlakyGrpc),
    ] {
        for (target, replicas) in [("flaky", 2), ("guarded", 2), ("spare", 1)] {
            let service = protocol.service(target);
            let file = executions_file(story, service);
            let mut workload = flaky(service, program, &file);
            workload.replicas = replicas;
            story.bank.employ(&workload)?;
        }
    }
    story.bank.employ(&auditor())?;
    story.bank.all_ready(&voice).await
}

/// POST and gRPC without a key: executed once, and the caller learns that it failed.
async fn failing_after_the_work(
    story: &mut Story,
    protocol: Protocol,
    target: &'static str,
) -> anyhow::Result<()> {
    for ending in protocol.failures() {
        let call = Call::new(protocol, target, ending);
        let mut answers = 0;
        let ids = call.ids(EACH);
        for id in &ids {
            answers += usize::from(call.send(&auditing(&mut story.bank)?, id).await?);
        }
        let counts = counts(story, protocol, target, &ids);
        let name = call.name();
        story.saw(&name, counts.clone());
        story.require(
            answers == 0,
            format!("{name}: the caller learns of every failure"),
        );
        story.require(
            counts.iter().all(|count| *count == 1),
            format!("{name}: each request is executed exactly once, but {counts:?}"),
        );
    }
    Ok(())
}

/// GET, or an idempotency key: the second attempt finds a service that has recovered.
async fn repeated_because_allowed(
    story: &mut Story,
    protocol: Protocol,
    target: &'static str,
) -> anyhow::Result<()> {
    for ending in protocol.passing_failures() {
        for call in Call::new(protocol, target, ending).repeatable() {
            let mut answers = 0;
            let ids = call.ids(EACH);
            for id in &ids {
                answers += usize::from(call.send(&auditing(&mut story.bank)?, id).await?);
            }
            let counts = counts(story, protocol, target, &ids);
            let name = call.name();
            story.saw(&name, counts.clone());
            story.require(
                answers == EACH,
                format!("{name}: every call succeeds at last, {answers} did"),
            );
            story.require(
                counts.iter().all(|count| *count == 2),
                format!("{name}: each request is executed twice, but {counts:?}"),
            );
        }
    }
    Ok(())
}

/// A GET that fails everywhere is answered by the fallback: it does no harm, whoever does it. A POST with a key is not: the
/// fallback does not know whether the key's work has been done.
async fn fallback_for_what_does_no_harm(story: &mut Story) -> anyhow::Result<()> {
    let call = Call::new(Protocol::Rest, "guarded", Ending::Failure("503"));
    for call in call.repeatable() {
        let ids = call.ids(1);
        for id in &ids {
            call.send(&auditing(&mut story.bank)?, id).await?;
        }
        let spare = executions(&executions_file(story, Protocol::Rest.service("spare")));
        let reached = ids.iter().filter(|id| spare.contains_key(*id)).count();
        let name = call.name();
        story.saw(&format!("{name} at the fallback"), reached);
        if call.does_no_harm() {
            story.require(
                reached == ids.len(),
                format!("{name}: the fallback is asked when all else failed"),
            );
        } else {
            story.require(
                reached == 0,
                format!("{name}: the fallback does nothing that may have been done"),
            );
        }
    }
    Ok(())
}

/// Requests that reached nobody find somebody: all succeed, each executed once.
async fn reaches_somebody(
    story: &mut Story,
    protocol: Protocol,
    target: &'static str,
    whom: &str,
) -> anyhow::Result<()> {
    let call = Call::new(protocol, target, Ending::Well);
    // A connection that broke when its other end was killed is found by the next call on it, and nobody can
    // know how far that one came. Calls that may be repeated find them all, in each of the sidecar's workers.
    for repeatable in call.clone().repeatable() {
        for id in repeatable.ids(2 * EACH) {
            repeatable.send(&auditing(&mut story.bank)?, &id).await?;
        }
    }
    let ids = call.ids(4 * EACH);
    let mut answers = 0;
    for id in &ids {
        answers += usize::from(call.send(&auditing(&mut story.bank)?, id).await?);
    }
    let counts = counts(story, protocol, target, &ids);
    let name = format!("{} reaching the {whom}", call.name());
    story.saw(&name, answers);
    story.require(
        answers == ids.len(),
        format!("{name}: all calls succeed, {answers} did"),
    );
    story.require(
        counts.iter().all(|count| *count == 1),
        format!("{name}: each request is executed exactly once, but {counts:?}"),
    );
    Ok(())
}

/// How often each request was executed, by its own service and the fallback together.
fn counts(story: &Story, protocol: Protocol, target: &'static str, ids: &[String]) -> Vec<usize> {
    let own = executions(&executions_file(story, protocol.service(target)));
    let spare = executions(&executions_file(story, protocol.service("spare")));
    let count = |id: &String| {
        let in_file = [&own, &spare].map(|file| file.get(id).copied().unwrap_or_default());
        in_file.into_iter().sum()
    };
    ids.iter().map(count).collect()
}

fn executions_file(story: &Story, service: &str) -> PathBuf {
    story
        .bank
        .layout
        .root()
        .join(format!("{service}.executions"))
}
