//! Keeps the `caBundle` of our configurations in the API server what the mesh trusts.
//!
//! Every control plane does so, without a leader: each writes the same, and a write that crosses with another is refused (the
//! patch tests what it was made for) and thought over again. What is watched only says when to look: nothing is lost with an
//! event, and a look from time to time needs none.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{
    bundle::{Bundle, patch},
    objects::NAME,
};
use crate::{
    ca::Authority,
    telemetry::metrics::{AdmissionMetrics, BundleWrite},
};

/// How long a connection to the API server may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one turn may take: two reads and a write or two.
const TURN_MAX: Duration = Duration::from_secs(20);

/// From one look to the next, if nothing is heard.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Between two turns at least: who writes against us shall not cost more than that.
const REST: Duration = Duration::from_millis(200);

/// Writes that cross with others, one after the other, before we rest.
const ATTEMPTS: usize = 5;

/// After the first turn that fails, doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a turn was not to its end.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("{kind} {NAME}: the API server has not done what was asked")]
    Api {
        kind: &'static str,
        source: Box<Error>,
    },
    #[error("{kind} {NAME}: somebody else writes it all the time")]
    Contended { kind: &'static str },
    #[error("the API server has not answered within {TURN_MAX:?}")]
    Slow,
}

/// One for each control plane.
pub(super) struct Keeper {
    kinds: [(&'static str, Api<DynamicObject>); 2],
    authority: Arc<Authority>,
    metrics: Arc<AdmissionMetrics>,
}

impl Keeper {
    pub(super) fn new(
        client: Client,
        authority: Arc<Authority>,
        metrics: Arc<AdmissionMetrics>,
    ) -> Self {
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let api = |resource| Api::all_with(client.clone(), resource);
        Self {
            kinds: [
                ("MutatingWebhookConfiguration", api(&mutating)),
                ("ValidatingWebhookConfiguration", api(&validating)),
            ],
            authority,
            metrics,
        }
    }

    /// For ever.
    pub(super) async fn run(self) {
        let mut changes = self.authority.changes();
        let mut heard = self.heard();
        let mut pause = PAUSE_MIN;
        let mut is_failing = false;
        loop {
            let turn = timeout(TURN_MAX, self.turn()).await;
            let wait = match turn.unwrap_or(Err(TurnError::Slow)) {
                Ok(()) => {
                    (pause, is_failing) = (PAUSE_MIN, false);
                    LOOK_AGAIN
                }
                Err(error) => {
                    self.metrics.bundle(BundleWrite::Failed);
                    if !std::mem::replace(&mut is_failing, true) {
                        let error: &dyn std::error::Error = &error;
                        warn!(
                            error,
                            "the webhooks' caBundle is not kept: API servers may not believe this control plane; trying again"
                        );
                    }
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                    wait
                }
            };
            sleep(REST).await;
            // One look is for all that was heard before it.
            while heard.next().now_or_never().is_some() {}
            tokio::select! {
                // The authority lives as long as we do.
                _ = changes.changed() => {}
                _ = heard.next(), if !is_failing => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Whenever one of them changes, or nobody knows whether it did.
    fn heard(&self) -> stream::BoxStream<'static, ()> {
        let watched = self
            .kinds
            .iter()
            .map(|(_, api)| events(api.clone()).boxed());
        // Never ends: a watch begins again, with back-off.
        stream::select_all(watched).boxed()
    }

    async fn turn(&self) -> Result<(), TurnError> {
        let (version, roots) = self.authority.roots_pem();
        let bundle = Bundle { version, roots };
        for (kind, api) in &self.kinds {
            self.keep((*kind, api), &bundle).await?;
        }
        Ok(())
    }

    async fn keep(
        &self,
        (kind, api): (&'static str, &Api<DynamicObject>),
        bundle: &Bundle,
    ) -> Result<(), TurnError> {
        let failed = |source| TurnError::Api {
            kind,
            source: Box::new(source),
        };
        for _ in 0..ATTEMPTS {
            let Some(found) = api.get_opt(NAME).await.map_err(failed)? else {
                debug!(kind, name = NAME, "no such configuration: nothing to keep");
                return Ok(());
            };
            let found = serde_json::to_value(&found).unwrap_or_default();
            let Some(operations) = patch(&found, bundle) else {
                return Ok(());
            };
            match self.write(api, operations).await {
                Ok(()) => {
                    self.metrics.bundle(BundleWrite::Written);
                    let version = bundle.version;
                    info!(kind, name = NAME, version, "caBundle written");
                    return Ok(());
                }
                // Somebody else was faster: what he wrote is looked at.
                Err(Error::Api(status)) if matches!(status.code, 409 | 422) => {
                    self.metrics.bundle(BundleWrite::Crossed);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(TurnError::Contended { kind })
    }

    async fn write(&self, api: &Api<DynamicObject>, operations: Vec<Value>) -> Result<(), Error> {
        let operations = serde_json::from_value(Value::from(operations));
        let patch = Patch::Json::<()>(operations.map_err(Error::SerdeError)?);
        let params = PatchParams {
            field_manager: Some("usher-webhook".to_owned()),
            ..PatchParams::default()
        };
        api.patch(NAME, &params, &patch).await.map(drop)
    }
}

fn events(api: Api<DynamicObject>) -> impl Stream<Item = ()> + Send {
    let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let events = watcher(api, only).default_backoff();
    events.map(|event| {
        if let Err(error) = event {
            debug!(%error, "watch of the webhooks' configurations begins anew");
        }
    })
}
