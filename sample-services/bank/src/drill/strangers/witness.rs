//! Proof of a refusal: the counters of the mesh that moved while a stranger tried.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    bank::Bank,
    drill::{load::PATIENCE, story::Story},
    metrics::Metrics,
};

/// Where a refusal is counted: metric, label, and what its value contains then.
const REFUSALS: [(&str, &str, &str); 5] = [
    ("usher_requests_total", "flag", "AZ"),
    ("usher_tls_handshakes_total", "outcome", "failed"),
    ("usher_tls_handshakes_total", "outcome", "refused"),
    ("usher_tls_handshakes_total", "outcome", "not_mesh"),
    ("usher_registry_refusals_total", "reason", "identity"),
];

/// Who sees the attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Witness {
    /// The sidecars of a service's instances, whichever was asked.
    SidecarsOf(&'static str),
    ControlPlane,
}

/// An attempt that began: what the witness had counted before.
#[derive(Debug)]
pub(super) struct Attempt {
    name: &'static str,
    witness: Witness,
    before: Counters,
}

type Counters = BTreeMap<String, f64>;

impl Attempt {
    /// # Errors
    /// When the witness does not answer.
    pub(super) async fn begin(
        story: &Story,
        name: &'static str,
        witness: Witness,
    ) -> anyhow::Result<Self> {
        let before = witness.counters(&story.bank).await?;
        Ok(Self {
            name,
            witness,
            before,
        })
    }

    /// Waits until a counter moved (it may do so after the stranger had its answer), and notes which.
    ///
    /// # Errors
    /// When none does, or the witness does not answer.
    pub(super) async fn was_refused(
        self,
        story: &mut Story,
        answer: impl Into<Value>,
    ) -> anyhow::Result<()> {
        let (witness, before) = (self.witness, self.before);
        let mut counted = Counters::new();
        let moved = async |bank: &mut Bank| {
            counted = since(&before, witness.counters(bank).await?);
            Ok(!counted.is_empty())
        };
        let what = format!("a counter shows the attempt {}", self.name);
        let waited = story.until(&what, PATIENCE, moved).await;
        story.saw(
            self.name,
            json!({ "answer": answer.into(), "counted": counted }),
        );
        waited.map(|_| ())
    }
}

impl Witness {
    async fn counters(self, bank: &Bank) -> anyhow::Result<Counters> {
        match self {
            Self::ControlPlane => Ok(refusals(&bank.control_plane.metrics().await?)),
            Self::SidecarsOf(service) => {
                let mut all = Counters::new();
                let instances = bank.instances().iter();
                for instance in instances.filter(|instance| instance.service() == service) {
                    for (series, count) in refusals(&instance.metrics().await?) {
                        *all.entry(series).or_default() += count;
                    }
                }
                Ok(all)
            }
        }
    }
}

/// All series that count refusals of callers.
fn refusals(metrics: &Metrics) -> Counters {
    let series = REFUSALS
        .iter()
        .flat_map(|(name, label, part)| metrics.series(name, label, part));
    series
        .filter(|(series, _)| !series.contains("direction=outbound"))
        .collect()
}

/// What grew, and by how much.
fn since(before: &Counters, now: Counters) -> Counters {
    let grown = now.into_iter().map(|(series, count)| {
        let earlier = before.get(&series).copied().unwrap_or_default();
        (series, count - earlier)
    });
    grown.filter(|(_, grown)| *grown > 0.0).collect()
}

#[cfg(test)]
mod tests;
