//! Of a pod, what concerns a mesh: whether it has our sidecar, as whom it runs, where it is, and whether it ends. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;
use usher_config::value::Name;

use super::text::{address, is_written, labels, list, text};

/// The sidecar's container, and what it is told, as `usher inject` writes it.
const CONTAINER: &str = "usher-proxy";
const SERVICE: &str = "USHER_PROXY_SERVICE";
const APPLICATION_PORT: &str = "USHER_PROXY_APPLICATION_PORT";

/// A pod. Of one without a sidecar only that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    /// It has our sidecar.
    pub(crate) is_meshed: bool,
    /// As whom it runs.
    pub(crate) account: Name,
    /// The service as which its sidecar answers.
    pub(crate) service: Name,
    /// Its sidecar takes calls.
    pub(crate) serves: bool,
    /// `None`: it has none yet.
    pub(crate) address: Option<IpAddr>,
    /// It was asked to end.
    pub(crate) ends: bool,
    /// What selectors look at.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Pod {
    /// Without a sidecar.
    fn plain() -> Option<Self> {
        let nobody: Name = "default".parse().ok()?;
        Some(Self {
            is_meshed: false,
            account: nobody.clone(),
            service: nobody,
            serves: false,
            address: None,
            ends: false,
            labels: BTreeMap::new(),
        })
    }

    /// `None`: it has ended, or what its sidecar was told makes no sense.
    pub(crate) fn of(pod: &Value) -> Option<Self> {
        if matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed")) {
            return None;
        }
        let containers = list(pod, "/spec/initContainers").iter();
        let mut containers = containers.chain(list(pod, "/spec/containers"));
        // In the network of its machine it has an address that is others', too; admission refuses it a sidecar.
        let is_elsewhere = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        let sidecar = containers.find(|one| text(one, "/name") == Some(CONTAINER));
        let Some(sidecar) = sidecar.filter(|_| !is_elsewhere) else {
            return Self::plain();
        };
        let told = |name: &str| {
            let mut all = list(sidecar, "/env").iter();
            let found = all.find(|one| text(one, "/name") == Some(name))?;
            text(found, "/value")
        };
        let account = text(pod, "/spec/serviceAccountName").filter(|name| !name.is_empty());
        Some(Self {
            is_meshed: true,
            account: account.unwrap_or("default").parse().ok()?,
            service: told(SERVICE)?.parse().ok()?,
            serves: told(APPLICATION_PORT).is_some(),
            address: text(pod, "/status/podIP").and_then(address),
            ends: is_written(pod, "/metadata/deletionTimestamp"),
            labels: labels(pod, "/metadata/labels"),
        })
    }
}
