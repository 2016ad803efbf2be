//! The wait between a started sidecar and a started command.
//!
//! A sidecar that has been in the mesh before serves from what it knew, so its command starts soon in any case: the mesh
//! being away is no reason for a service not to run. One that has never been in the mesh can do nothing for its command
//! until the control plane has answered: the command waits, the user hears for what, and after `--ready-timeout` that is
//! an error.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::{
    Failure, Run, exit,
    kept::{IDENTITY, Wanted, has_identity},
    permission::Permission,
    progress::Progress,
    sidecar::Sidecar,
    standing::{Admission, Standing},
    state_directory::StateDirectory,
};

/// How often the sidecar's progress is looked at.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long the command of a sidecar that knows the mesh waits for news of it.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a sidecar that has a configuration is given to hear whether it may run it, and whether its settings fit.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// When the user first hears of the wait, and how often from then on.
const FIRST_WORD: Duration = Duration::from_secs(1);
const NEXT_WORD: Duration = Duration::from_secs(5);

/// The sidecar's last known configuration, in its state directory.
const LAST_KNOWN_GOOD: &str = "last-known-good.pb";

/// Since when the sidecar knows what it knows, if it knows anything.
pub(super) fn last_known(state: &StateDirectory) -> Option<SystemTime> {
    let kept = std::fs::metadata(state.file(LAST_KNOWN_GOOD)).ok()?;
    kept.modified().ok()
}

/// Where a start stands. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not yet.
    Wait,
    /// The command may start, with this revision.
    Ready(u64),
    /// The identity may not be this service: why.
    Refused(String),
}

/// What a start has seen. Pure: the clock is an argument.
#[derive(Debug, Default)]
struct Start {
    /// When the sidecar first had a configuration. What follows from it is waited for from here: until there is one, a
    /// control plane that starts together with the command may have taken any time.
    configured_at: Option<Instant>,
}

impl Start {
    fn verdict(&mut self, standing: &Standing, now: Instant) -> Verdict {
        let is_configured = standing.revision.is_some_and(|number| number > 0);
        if is_configured && self.configured_at.is_none() {
            self.configured_at = Some(now);
        }
        let since = self
            .configured_at
            .map(|at| now.saturating_duration_since(at));
        verdict(standing, since.unwrap_or_default())
    }

    /// How much longer than the limit for a configuration the whole may take.
    fn extra(&self) -> Duration {
        self.configured_at
            .map_or(Duration::ZERO, |_| ANSWERS_WITHIN)
    }
}

/// `configured_for`: how long there has been a configuration.
fn verdict(standing: &Standing, configured_for: Duration) -> Verdict {
    if let Some(Admission::Refused(reason)) = &standing.admission {
        return Verdict::Refused(reason.clone());
    }
    let Some(revision) = standing.revision.filter(|number| *number > 0) else {
        return Verdict::Wait;
    };
    // A control plane that is away says nothing; what was known before still holds.
    let is_asking =
        standing.admission == Some(Admission::Pending) && standing.waiting_for.is_none();
    // A command that meets a listener of --tcp which leads nowhere should not be the first to hear of it.
    if (is_asking || standing.checking) && configured_for < ANSWERS_WITHIN {
        Verdict::Wait
    } else {
        Verdict::Ready(revision)
    }
}

/// Waits until the command may start; how the sidecar stands then.
pub(super) async fn wait(
    sidecar: &mut Sidecar,
    run: &Run,
    (state, permission): (&StateDirectory, &Permission),
    progress: Progress,
) -> Result<Standing, Failure> {
    progress.say(&sidecar.listening(&run.tcp).await?);
    // Without an identity, what it knew is of no use.
    let wanted = Wanted {
        namespace: &run.namespace,
        account: permission.account(run),
        token: Some(permission.file()),
    };
    let has_identity = has_identity(state, wanted);
    let started = Instant::now();
    let mut start = Start::default();
    let mut next_word = FIRST_WORD;
    loop {
        sidecar.must_run()?;
        let standing = sidecar.standing().await.unwrap_or_default();
        match start.verdict(&standing, Instant::now()) {
            Verdict::Ready(revision) => {
                let role = run.role();
                progress.say(&format!("{role} has configuration, revision {revision}"));
                return Ok(standing);
            }
            Verdict::Refused(reason) => {
                // Kept, it would be shown again by the next run, whatever its token says.
                let _ = std::fs::remove_file(state.file(IDENTITY));
                return Err(refused(run, &reason));
            }
            Verdict::Wait => {}
        }
        // Looked at each time: a sidecar that cannot use the file removes it.
        let is_known = has_identity && last_known(state).is_some();
        let limit = if is_known {
            KNOWN_TIMEOUT
        } else {
            run.ready_timeout
        };
        let waited = started.elapsed();
        let cause = standing
            .waiting_for
            .clone()
            .unwrap_or_else(|| format!("the first answer of {}", run.control_plane()));
        if waited >= limit + start.extra() {
            return if is_known {
                progress.warn(&format!(
                    "no configuration within {limit:?} ({cause}): {} starts, and calls to other services \
                     fail until the control plane answers",
                    run.role().subject()
                ));
                Ok(standing)
            } else {
                let failure = not_ready(run, limit, &cause);
                Err(sidecar.with_log(failure))
            };
        }
        if waited >= next_word {
            next_word = waited + NEXT_WORD;
            progress.warn(&format!("{} waits: {cause}", run.what()));
        }
        sleep(POLL_EVERY).await;
    }
}

fn not_ready(run: &Run, limit: Duration, cause: &str) -> Failure {
    let message = match run.gateway {
        Some(_) => format!("the gateway is not ready after {limit:?}: {cause}"),
        None => format!(
            "the sidecar is not ready after {limit:?}, the command was not started: {cause}"
        ),
    };
    Failure::new(exit::UNAVAILABLE, message)
        .advise("another control plane: --control-plane HOST:PORT")
        .advise("more patience: --ready-timeout DURATION")
}

fn refused(run: &Run, reason: &str) -> Failure {
    let message = format!(
        "this identity may not run as {}, {} was not started: {reason}",
        run.full_service(),
        run.role().subject()
    );
    if run.gateway.is_some() {
        return Failure::new(exit::UNAVAILABLE, message).advise(format!(
            "a gateway is run by the Workload of its name: is there a Workload {}, and is the token for its \
             serviceAccount?",
            run.full_service()
        ));
    }
    Failure::new(exit::UNAVAILABLE, message)
        .advise(format!(
            "a token for one of the service's accounts: usher token create --namespace {} --service-account SA",
            run.namespace
        ))
        .advise("or the service that this account runs: --service NAME --namespace NS; see usher services")
}

#[cfg(test)]
mod tests;
