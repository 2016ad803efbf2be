//! What a configuration's `caBundle` should be, and the patch that makes it so. Pure.
//!
//! It is level-triggered: asked of whatever is there, whoever has put it there. Of several control planes one may know newer roots than
//! the others, for a few seconds; so the version of the roots is written beside them, and who has an older one leaves them alone.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The version of the mesh's roots that a configuration's bundles are of.
pub(super) const VERSION: &str = "usher.dev/trust-version";

/// The mesh's roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Of the set.
    pub(super) version: u64,
    /// In PEM, the active one first.
    pub(super) roots: String,
}

/// The JSON Patch that gives each webhook of a configuration the bundle; `None`: they have it. It changes nothing else, and nothing
/// at all if the configuration is not what it was when it was read.
pub(super) fn patch(configuration: &Value, bundle: &Bundle) -> Option<Vec<Value>> {
    let webhooks = configuration.get("webhooks")?.as_array()?;
    let written = written_version(configuration);
    if written.is_some_and(|written| written > bundle.version)
        && webhooks.iter().all(|webhook| trusts(webhook, bundle))
    {
        return None;
    }
    let encoded = STANDARD.encode(&bundle.roots);
    let stale = webhooks.iter().enumerate().filter(|(_, webhook)| {
        webhook.get("clientConfig").is_some_and(Value::is_object)
            && of(webhook) != Some(encoded.as_str())
    });
    let mut operations: Vec<Value> = stale
        .flat_map(|(index, webhook)| {
            let at = format!("/webhooks/{index}");
            // That it is the one meant, wherever it has moved to.
            let is_it =
                json!({"op": "test", "path": format!("{at}/name"), "value": webhook.get("name")});
            let path = format!("{at}/clientConfig/caBundle");
            [is_it, json!({"op": "add", "path": path, "value": encoded})]
        })
        .collect();
    if operations.is_empty() && written == Some(bundle.version) {
        return None;
    }
    if let Some(version) = configuration.pointer("/metadata/resourceVersion") {
        let unchanged =
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        operations.insert(0, unchanged);
    }
    operations.push(annotate(configuration, bundle.version));
    Some(operations)
}

fn annotate(configuration: &Value, version: u64) -> Value {
    let version = version.to_string();
    match configuration.pointer("/metadata/annotations") {
        Some(Value::Object(_)) => {
            let path = format!("/metadata/annotations/{}", VERSION.replace('/', "~1"));
            json!({"op": "add", "path": path, "value": version})
        }
        _ => json!({"op": "add", "path": "/metadata/annotations", "value": {VERSION: version}}),
    }
}

fn written_version(configuration: &Value) -> Option<u64> {
    let annotations = configuration.pointer("/metadata/annotations")?;
    annotations.get(VERSION)?.as_str()?.parse().ok()
}

fn of(webhook: &Value) -> Option<&str> {
    webhook.pointer("/clientConfig/caBundle")?.as_str()
}

/// Whether a bundle of others has the root that we sign under.
fn trusts(webhook: &Value, bundle: &Bundle) -> bool {
    let end = "-----END CERTIFICATE-----\n";
    let active = bundle.roots.split_inclusive(end).next().unwrap_or_default();
    let decoded = of(webhook).and_then(|text| STANDARD.decode(text).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    !active.is_empty() && decoded.is_some_and(|roots| roots.contains(active))
}

#[cfg(test)]
mod tests;
