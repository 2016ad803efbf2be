//! Documents that are for others: a directory of Kubernetes' objects has more than ours in it.
//!
//! They guard nobody, so they are passed over with a warning, where a document that may be a misspelt object of ours makes
//! its file one that cannot be read.

use crate::kind::{Choice as _, Kind};

use super::{
    super::place::Place,
    super::report::Report,
    super::report::nearest,
    config_map::{CA_CRT, has_certificates},
    kinds,
};

/// The API groups of our kinds, but the core group.
const OURS: [&str; 3] = ["usher.dev", "gateway.networking.k8s.io", "discovery.k8s.io"];

/// The group of `kustomization.yaml`, which says how the files beside it are put together.
const KUSTOMIZE: &str = "kustomize.config.k8s.io";

/// Reports a document that is surely none of ours, but kustomize's; whether it is one.
pub(super) fn is_foreign(place: &Place<'_>) -> bool {
    // A report of its own: whoever decodes what is ours asks again.
    let silent = Report::default();
    let written = |name| {
        let mut fields = place.silently(&silent).fields()?;
        let place = fields.at(name)?;
        place.text().map(str::to_owned)
    };
    let (Some(version), Some(kind)) = (written("apiVersion"), written("kind")) else {
        return false;
    };
    let is_data = version == "v1" && kind == Kind::ConfigMap.word();
    let is_data = is_data && !has_certificates(&place.silently(&silent));
    if !is_data && !is_others(&version, &kind) {
        return false;
    }
    // Nobody takes it for an object: it lies beside them, and is applied nowhere.
    if version
        .split_once('/')
        .is_some_and(|(group, _)| group == KUSTOMIZE)
    {
        return true;
    }
    let found = if is_data {
        format!("`{kind}` without the key `{CA_CRT}`, which is not for Usher and is passed over")
    } else {
        let [version, kind] = [&version, &kind].map(|text| super::super::tree::shorten(text));
        format!("`{kind}` of `{version}`, which is not for Usher and is passed over")
    };
    let place = place.fields().and_then(|mut fields| fields.at("kind"));
    place.is_some_and(|place| place.wrong::<()>(found, kinds()).is_none())
}

/// Whether an object is of a group that has none of our kinds, or of the core group and no `Service`; and its kind is not
/// nearly one of ours. A `Secret` is never passed over: it shall not lie there. Nor is a list, which may hold ours.
fn is_others(version: &str, kind: &str) -> bool {
    let is_well_formed = match version.split_once('/') {
        Some((group, version)) => !OURS.contains(&group) && is_group(group) && is_version(version),
        None => version == "v1",
    };
    let words = Kind::ALL.iter().map(|(word, _)| *word);
    is_well_formed
        && kind != "Secret"
        && !kind.ends_with("List")
        && kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && nearest(kind, words).is_none()
}

/// A group that is nearly ours is ours, misspelt.
fn is_group(group: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    group.split('.').all(is_label) && nearest(group, OURS.into_iter()).is_none()
}

/// `v1`, `v1beta2`.
fn is_version(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
