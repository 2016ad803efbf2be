//! A new root signs in the old one's place, while everything breaks: a rotation is begun at any control plane at any time, and
//! brought to its end once all are well. What was acknowledged of it must be there; traffic must not notice.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, time::timeout};
use usher_tests::binary;

use super::{stage::Door, writers::Shared};

/// How long a command may take that is answered by a control plane that may be broken.
const BEGIN_MAX: Duration = Duration::from_secs(5);

/// How long all may take to follow a rotation: a sidecar takes its certificate within thirty seconds of being told.
const FOLLOW: &str = "4m";
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// What a control plane says of a root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Root {
    sha256: String,
    phase: String,
}

#[derive(Debug, serde::Deserialize)]
struct Report {
    roots: Vec<Root>,
}

/// `usher ca …` at this control plane: what it prints to each, and whether it ended well.
async fn ca(door: &Door, words: &[&str], limit: Duration) -> Result<(bool, String, String)> {
    let mut command = Command::new(binary("usher"));
    command.arg("ca").args(words).arg("--data").arg(&door.data);
    command.kill_on_drop(true);
    let ended = timeout(limit, command.output()).await;
    let ended = ended.with_context(|| format!("usher ca {words:?} does not end"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let is_well = ended.status.success();
    Ok((is_well, text(ended.stdout), text(ended.stderr)))
}

/// Asks for another root, which may be refused or not answered.
pub(super) async fn begin(shared: &Shared, number: usize) {
    let Some(door) = shared.doors.get(number) else {
        return;
    };
    let asked = ca(door, &["rotate", "--timeout", "1s"], BEGIN_MAX).await;
    // `root 3f9c made; its key is in …`: said once it is in the store.
    let made = asked.ok().and_then(|(_, _, said)| {
        let line = said.lines().find(|line| line.contains(" made; "))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    });
    shared.ledger().rotation(made);
}

async fn roots(door: &Door) -> Result<Vec<Root>> {
    let (is_well, shown, said) = ca(door, &["status", "--json"], COMMAND_MAX).await?;
    ensure!(is_well, "usher ca status: {said}");
    let report: Report = serde_json::from_str(&shown)?;
    Ok(report.roots)
}

/// Everything is well: all show the same roots, every one that was acknowledged is among them; one that waits is made to sign,
/// and those before it go. Returns what is wrong.
pub(super) async fn finish(shared: &Shared, limit: Duration) -> Result<()> {
    let until = Instant::now() + limit;
    let door = shared.doors.first().context("no control plane")?;
    let all = agreed(shared, until).await?;
    let acknowledged = shared.ledger().roots();
    for made in &acknowledged {
        ensure!(
            all.iter().any(|root| root.sha256.starts_with(made)),
            "root {made} was acknowledged, and there are only {all:?}"
        );
    }
    if all.iter().any(|root| root.phase == "Adding") {
        let (is_well, _, said) = ca(door, &["rotate", "--timeout", FOLLOW], COMMAND_MAX).await?;
        ensure!(is_well, "usher ca rotate: {said}");
    }
    for root in agreed(shared, until).await? {
        if root.phase == "Retiring" {
            let words = ["retire", root.sha256.as_str(), "--force"];
            let (is_well, _, said) = ca(door, &words, COMMAND_MAX).await?;
            ensure!(is_well, "usher ca retire: {said}");
        }
    }
    let left = agreed(shared, until).await?;
    ensure!(left.len() == 1, "after the old ones were retired: {left:?}");
    shared.ledger().rotated(!acknowledged.is_empty());
    Ok(())
}

/// What all control planes show alike.
async fn agreed(shared: &Shared, until: Instant) -> Result<Vec<Root>> {
    loop {
        let mut shown = Vec::new();
        for door in &shared.doors {
            shown.push(roots(door).await?);
        }
        shown.dedup();
        if let [all] = shown.as_slice() {
            return Ok(all.clone());
        }
        ensure!(
            Instant::now() < until,
            "control planes show different roots: {shown:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
