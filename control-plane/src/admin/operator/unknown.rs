//! Words for names that the configuration does not have: what is near, what else there is.
//!
//! Pure. A first-time user most often has a letter or the namespace wrong, so that is said first.

use usher_config::{
    parse::nearest,
    value::{Name, ServiceName},
};

/// How many names are listed at most: a mesh of thousands must not fill the terminal.
const LISTED_MAX: usize = 10;

/// Every service, or workload that only calls, with the accounts that may be it.
type Known = [(ServiceName, Vec<Name>)];

/// Why nobody may run `service`, and what to do.
pub(super) fn service(known: &Known, service: &ServiceName) -> String {
    let write = format!(
        "write a Workload in the namespace {}, with the service account to run as and the labels that the Service \
         selects (or of this name, if it only calls others)",
        service.namespace
    );
    if known.iter().any(|(name, _)| name == service) {
        return format!(
            "nobody may run {service}: no Workload is selected by this Service; {write}"
        );
    }
    let elsewhere = known.iter().filter(|(name, _)| name.name == service.name);
    let elsewhere: Vec<&str> = elsewhere.map(|(name, _)| name.namespace.as_str()).collect();
    if !elsewhere.is_empty() {
        return format!(
            "there is no service {} in the namespace {}, but in {}: say --namespace",
            service.name,
            service.namespace,
            listed(service.namespace.as_str(), elsewhere)
        );
    }
    let here: Vec<&str> = known
        .iter()
        .filter(|(name, _)| name.namespace == service.namespace)
        .map(|(name, _)| name.name.as_str())
        .collect();
    if here.is_empty() {
        let (namespaces, found) = (namespaces(known), &service.namespace);
        return format!(
            "there is nothing in the namespace {found}; known namespaces: {}{}; or {write}",
            listed(found.as_str(), namespaces.clone()),
            meant(found.as_str(), &namespaces)
        );
    }
    format!(
        "there is no service {service}{}; known in {}: {}; or {write}",
        meant(service.name.as_str(), &here),
        service.namespace,
        listed(service.name.as_str(), here),
    )
}

/// `None`: some Workload of the namespace has that account.
pub(super) fn account(known: &Known, namespace: &Name, account: &Name) -> Option<String> {
    let here = known
        .iter()
        .filter(|(name, _)| name.namespace == *namespace);
    let mut here: Vec<&str> = here
        .flat_map(|(_, accounts)| accounts.iter().map(Name::as_str))
        .collect();
    here.sort_unstable();
    here.dedup();
    if here.contains(&account.as_str()) {
        return None;
    }
    let consequence = "the token is good, but its holder may not run as any service until one has";
    if here.is_empty() {
        let namespaces = namespaces(known);
        return Some(format!(
            "no Workload is in the namespace {namespace}{}; known namespaces: {}; {consequence}",
            meant(namespace.as_str(), &namespaces),
            listed(namespace.as_str(), namespaces),
        ));
    }
    Some(format!(
        "no Workload in {namespace} has the service account {account}{}; known: {}; {consequence}",
        meant(account.as_str(), &here),
        listed(account.as_str(), here),
    ))
}

fn namespaces(known: &Known) -> Vec<&str> {
    let mut all: Vec<&str> = known
        .iter()
        .map(|(name, _)| name.namespace.as_str())
        .collect();
    all.dedup();
    all
}

fn meant(found: &str, words: &[&str]) -> String {
    let word = nearest(found, words.iter().copied());
    word.map(|word| format!(" (did you mean {word}?)"))
        .unwrap_or_default()
}

/// The nearest first, the others by name.
fn listed(found: &str, mut words: Vec<&str>) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    if let Some(word) = nearest(found, words.iter().copied()) {
        words.sort_by_key(|other| *other != word);
    }
    let more = words.len().saturating_sub(LISTED_MAX);
    words.truncate(LISTED_MAX);
    let text = words.join(", ");
    if more == 0 {
        text
    } else {
        format!("{text} and {more} more")
    }
}

#[cfg(test)]
mod tests;
