//! Whether all is as it should be, once it may be: what was acknowledged is there, everybody has the same, and the proxies
//! have the newest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::timeout;
use usher_tests::{Client, binary};

use super::{
    ledger::Revision,
    sidecars::Sidecar,
    stage::{Door, Stage},
    writers::Shared,
};

/// How long everybody may take to have the newest: a proxy notices a control plane that is frozen after forty seconds, and
/// is sent on by each that is without its store after a minute.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(240);
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// A control plane's word, as JSON.
async fn ask(door: &Door, path: &str) -> Result<Value> {
    let client = Client::direct(&door.http);
    let answer = timeout(ANSWER_MAX, client.get(path)).await;
    let answer = answer.context("no answer")??;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(serde_json::from_slice(&answer.body)?)
}

fn revision_of(status: &Value) -> serde_json::Result<Revision> {
    let revision = status.get("revision").cloned();
    serde_json::from_value(revision.unwrap_or_default())
}

/// Remembers which revision each shows; who does not answer shows none.
pub(super) async fn glance(shared: &Shared) {
    for (number, door) in shared.doors.iter().enumerate() {
        if let Ok(status) = ask(door, "/v1/status").await
            && let Ok(revision) = revision_of(&status)
        {
            shared
                .ledger()
                .saw(&format!("control plane {number}"), &revision);
        }
    }
}

/// Looks until all is well, at these control planes; how long that took. Configuration must not be written meanwhile.
pub(super) async fn look(
    stage: &mut Stage,
    shared: &Shared,
    (planes, sidecars): (&[usize], &[Sidecar]),
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let wrong = match wrong(shared, planes, sidecars).await {
            Ok(wrong) if wrong.is_empty() => return Ok(began.elapsed()),
            Ok(wrong) => wrong.join("; "),
            Err(error) => format!("{error:#}"),
        };
        ensure!(began.elapsed() < LOOK_MAX, "after {LOOK_MAX:?}: {wrong}");
        stage.look_after();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn wrong(shared: &Shared, planes: &[usize], sidecars: &[Sidecar]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut newest: Option<Revision> = None;
    for number in planes {
        let door = shared.doors.get(*number).context("no such control plane")?;
        let who = format!("control plane {number}");
        let status = ask(door, "/v1/status").await.with_context(|| who.clone())?;
        if status.pointer("/store/reachable") != Some(&true.into()) {
            let store = status.get("store");
            wrong.push(format!("{who} does not reach its store: {store:?}"));
        }
        let revision = revision_of(&status)?;
        shared.ledger().saw(&who, &revision);
        if let Some(newest) = &newest
            && *newest != revision
        {
            wrong.push(format!("{who} has {revision:?}, another one {newest:?}"));
        }
        let acknowledged = shared.ledger().newest();
        if revision.number < acknowledged {
            let number = revision.number;
            wrong.push(format!(
                "{who} has revision {number}, acknowledged was {acknowledged}"
            ));
        }
        newest = Some(revision);
        let shown = instances(door).await.with_context(|| who.clone())?;
        let api = shown
            .iter()
            .filter(|(service, _, healthy)| service == "api" && *healthy);
        if api.count() != 2 {
            wrong.push(format!("{who} does not show two healthy instances of api"));
        }
        let names: Vec<String> = shown.into_iter().map(|(_, name, _)| name).collect();
        let wrongs = shared.ledger().wrong_instances(&names, Instant::now());
        wrong.extend(wrongs.into_iter().map(|what| format!("{who}: {what}")));
    }
    let newest = newest.context("nobody was asked")?.number;
    for sidecar in sidecars {
        sidecar.is_ready().await?;
        let revision = sidecar.revision().await?;
        if sidecar.name.starts_with("web") && revision != newest {
            let name = &sidecar.name;
            wrong.push(format!(
                "{name} runs revision {revision}, the newest is {newest}"
            ));
        }
    }
    Ok(wrong)
}

/// Service, name, and whether it is healthy.
async fn instances(door: &Door) -> Result<Vec<(String, String, bool)>> {
    let all = ask(door, "/v1/instances").await?;
    let all = all.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|one| {
            let healthy = one["healthy"] == true;
            (text(&one["service"]), text(&one["instance"]), healthy)
        })
        .collect())
}

/// The whole history, of one control plane.
pub(super) async fn read_history(shared: &Shared, number: usize) -> Result<()> {
    let door = shared.doors.get(number).context("no such control plane")?;
    let history = tokio::process::Command::new(binary("usher"))
        .args(["history", "--json", "--data"])
        .arg(&door.data)
        .output();
    let history = timeout(Duration::from_secs(30), history).await;
    let output = history.context("usher history does not end")??;
    ensure!(output.status.success(), "usher history: {output:?}");
    let history: Vec<Revision> = serde_json::from_slice(&output.stdout)?;
    let who = format!("control plane {number}");
    shared.ledger().check_history(&who, &history);
    Ok(())
}
