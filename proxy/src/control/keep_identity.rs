//! The SVID's life: kept, attested, renewed in time, and rebuilt whenever the trust bundle changes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use usher_config::{
    model::TrustBundle,
    value::{Name, SpiffeId},
};

use super::{exit::Exit, standing::Standing};
use crate::{
    bootstrap::{Bootstrap, TokenFiles},
    control_plane::ControlPlane,
    identity::{AttestError, Keeper, Last, Proof, Svid, Token, attest, is_short, proof, renew},
    state_dir::StateDir,
    telemetry::metrics::{Metrics, Outcomes},
    tls::Material,
};

/// The wall clock may jump (suspend, NTP): a long wait is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The shard of metrics that is no worker's.
const CONTROL: usize = usize::MAX;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How old `usher_svid_expiry_timestamp_seconds` may be.
const EXPIRY_EVERY: Duration = Duration::from_secs(5);

/// The SVID of an earlier run, or a new one; waits for the control plane as long as it takes.
///
/// # Errors
/// [`Exit::IdentityRefused`] when the control plane says no, or there is nothing to ask it with.
pub(super) async fn first_svid(
    directory: &StateDir,
    control_plane: &ControlPlane,
    bootstrap: &Bootstrap,
    standing: &Standing,
) -> Result<Svid, Exit> {
    if let Some(svid) = kept_svid(directory, bootstrap, standing) {
        info!(spiffe_id = %svid.leaf.spiffe_id, "identity kept from an earlier run");
        standing.tell(|facts| facts.identity_kept = true);
        return Ok(svid);
    }
    let (files, mut failures) = (bootstrap.token_files(), 0_u32);
    loop {
        match attest(control_plane, &files).await {
            Ok(svid) => {
                must_be_meant(&svid.leaf.spiffe_id, bootstrap).map_err(Exit::IdentityRefused)?;
                info!(spiffe_id = %svid.leaf.spiffe_id, "identity attested");
                return Ok(svid);
            }
            Err(error) if error.is_final() => return Err(Exit::IdentityRefused(error)),
            Err(error) => {
                control_plane.passed_over();
                let full = BACKOFF_MIN
                    .saturating_mul(1 << failures.min(16))
                    .min(BACKOFF_MAX);
                let wait = full.mul_f64(0.5 + fastrand::f64() / 2.0);
                failures = failures.saturating_add(1);
                warn!(error = chain(&error), retry_after = ?wait, "no identity yet");
                let reason = match &error {
                    AttestError::Connect(_) | AttestError::Call(_) => control_plane.explain(&error),
                    _ => chain(&error),
                };
                standing.tell(|facts| facts.waiting_for = Some(reason));
                sleep(wait).await;
            }
        }
    }
}

/// The SVID of an earlier run, if it is one that this start asks for.
fn kept_svid(directory: &StateDir, bootstrap: &Bootstrap, standing: &Standing) -> Option<Svid> {
    let svid = match Svid::load(directory, SystemTime::now()) {
        Ok(svid) => svid?,
        Err(error) => {
            warn!(
                error = chain(&error),
                "kept identity is unusable and ignored"
            );
            return None;
        }
    };
    let spiffe_id = &svid.leaf.spiffe_id;
    if !is_meant(spiffe_id, bootstrap) {
        warn!(
            %spiffe_id,
            namespace = %bootstrap.service.namespace,
            service_account = bootstrap.service_account.as_ref().map(Name::as_str),
            "kept identity is of another namespace or service account and ignored"
        );
        return None;
    }
    // Whoever gives a token of another mesh has moved this instance there, and would wonder for hours why it stays.
    let files = bootstrap.token_files();
    let token = Token::read(&files).ok();
    if let (Some(token_file), Some(token)) = (&files.token, token)
        && !token.roots().iter().any(|root| svid.is_under(root))
    {
        warn!(%spiffe_id, "kept identity is of another mesh than the token and ignored");
        let notice = format!(
            "{spiffe_id}, kept in {}, is of another mesh than the token in {}: the token counts, and neither that \
             identity nor the configuration kept with it is used",
            bootstrap.state_dir.display(),
            token_file.display()
        );
        standing.tell(|facts| facts.notices.push(notice));
        return None;
    }
    Some(svid)
}

/// Whether a kept identity is the one that this start asks for.
fn is_meant(kept: &SpiffeId, bootstrap: &Bootstrap) -> bool {
    let account = bootstrap.service_account.as_ref();
    kept.namespace == bootstrap.service.namespace
        && account.is_none_or(|account| *account == kept.service_account)
}

/// An identity of another account would work as that one, and be thrown away at each start.
fn must_be_meant(attested: &SpiffeId, bootstrap: &Bootstrap) -> Result<(), AttestError> {
    match &bootstrap.service_account {
        Some(account) if !is_meant(attested, bootstrap) => Err(AttestError::OtherAccount {
            path: bootstrap.token_file.clone().unwrap_or_default(),
            found: Box::new(attested.clone()),
            namespace: bootstrap.service.namespace.clone(),
            account: account.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Never returns: renews at half life, follows the trust bundle.
pub(super) async fn keep(
    mut keeper: Keeper,
    control_plane: ControlPlane,
    files: TokenFiles,
    mut trust: watch::Receiver<Option<TrustBundle>>,
    renewals: Outcomes,
) {
    let (mut last, mut chance) = (Last::None, fastrand::f64());
    loop {
        last = last.known_at(SystemTime::now());
        let due = keeper.due(last, chance);
        let wait = due
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .min(LOOK_AGAIN);
        if !wait.is_zero() {
            tokio::select! {
                () = sleep(wait) => {}
                Ok(()) = trust.changed() => follow(&mut keeper, &mut trust),
            }
            continue;
        }
        let line = match proof(keeper.leaf(), SystemTime::now()) {
            Proof::Svid => Some(control_plane.line(keeper.material())),
            Proof::Token => None,
        };
        let svid = match &line {
            Some(line) => renew(line.channel()).await,
            None => attest(&control_plane, &files).await,
        };
        let replaced = svid.and_then(|svid| keeper.replace_svid(svid).map_err(AttestError::Svid));
        chance = fastrand::f64();
        let now = SystemTime::now();
        let ends_in = keeper.leaf().not_after.duration_since(now);
        let ends_in = ends_in.unwrap_or_default();
        last = match replaced {
            Ok(()) if is_short(keeper.leaf(), now) => {
                renewals.add(CONTROL, "short");
                warn!(
                    ?ends_in,
                    "a renewed identity is nearly over again: the mesh's root is, or this clock and the control plane's differ"
                );
                Last::Renewed { at: now }
            }
            Ok(()) => {
                renewals.add(CONTROL, "renewed");
                Last::Renewed { at: now }
            }
            Err(problem) => {
                match &line {
                    Some(line) => control_plane.elsewhere(line),
                    None => control_plane.passed_over(),
                }
                renewals.add(CONTROL, "failed");
                error!(
                    error = chain(&problem),
                    ?ends_in,
                    "identity could not be renewed"
                );
                last.failed(now)
            }
        };
    }
}

fn follow(keeper: &mut Keeper, trust: &mut watch::Receiver<Option<TrustBundle>>) {
    let bundle = trust.borrow_and_update().clone();
    if let Some(Err(error)) = bundle.map(|bundle| keeper.replace_bundle(bundle)) {
        error!(
            error = chain(&error),
            "trust bundle is unusable; the last good one stays"
        );
    }
}

/// An error and its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Shows when the SVID ends. Never returns.
pub(super) async fn watch_expiry(metrics: Metrics, material: Arc<ArcSwap<Material>>) {
    let expiry = metrics.svid_expiry();
    let mut ticks = tokio::time::interval(EXPIRY_EVERY);
    loop {
        ticks.tick().await;
        let ends = material
            .load()
            .leaf
            .not_after
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        expiry.set(i64::try_from(ends.as_secs()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
