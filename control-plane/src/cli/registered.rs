//! Which services and instances a person means, checked against what there is: an empty table would hide a slip.

use std::collections::BTreeSet;

use clap::Args;
use usher_config::parse::nearest;

use super::{Failure, exit};
use crate::{status::ServiceReport, watch::Filter};

/// How many names are listed at most.
const LISTED_MAX: usize = 10;

/// What is wanted.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Wanted {
    /// Only this service: `NAME`, or `NAMESPACE/NAME`
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    narrowed: Narrowed,
}

/// Where, and how they are.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Narrowed {
    /// Only this namespace
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
    /// Only instances in this zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only instances that are well
    #[arg(long, conflicts_with = "unhealthy")]
    healthy: bool,
    /// Only instances that are not
    #[arg(long)]
    unhealthy: bool,
}

impl Wanted {
    /// All of one: `NAME`, or `NAMESPACE/NAME`.
    pub(super) fn service(service: String) -> Self {
        Self {
            service: Some(service),
            narrowed: Narrowed::default(),
        }
    }

    /// The filter that is meant, if all that it names is there.
    ///
    /// # Errors
    /// Something is not.
    pub(super) fn filter(&self, services: &[ServiceReport]) -> Result<Filter, Failure> {
        let (of_service, name) = match self.service.as_deref().map(|text| text.split_once('/')) {
            Some(Some((namespace, name))) => (Some(namespace), Some(name)),
            Some(None) => (None, self.service.as_deref()),
            None => (None, None),
        };
        let narrowed = &self.narrowed;
        let namespace = match (of_service, narrowed.namespace.as_deref()) {
            (Some(one), Some(other)) if one != other => {
                let message =
                    format!("SERVICE names the namespace {one}, --namespace {other}: say one");
                return Err(Failure::new(exit::USAGE, message));
            }
            (one, other) => one.or(other),
        };
        let filter = narrowed.in_namespace(namespace, services)?;
        let here =
            |service: &&ServiceReport| namespace.is_none_or(|here| service.namespace == here);
        let here: Vec<&ServiceReport> = services.iter().filter(here).collect();
        if let Some(name) = name {
            known_service(services, &here, name)?;
        }
        Ok(Filter {
            service: name.map(str::to_owned),
            ..filter
        })
    }
}

impl Narrowed {
    /// The filter that is meant, if all that it names is there.
    ///
    /// # Errors
    /// Something is not.
    pub(super) fn filter(&self, services: &[ServiceReport]) -> Result<Filter, Failure> {
        self.in_namespace(self.namespace.as_deref(), services)
    }

    fn in_namespace(
        &self,
        namespace: Option<&str>,
        services: &[ServiceReport],
    ) -> Result<Filter, Failure> {
        if let Some(namespace) = namespace {
            known_namespace(services, namespace)?;
        }
        if let Some(zone) = &self.zone {
            known_zone(services, zone)?;
        }
        Ok(Filter {
            namespace: namespace.map(str::to_owned),
            service: None,
            zone: self.zone.clone(),
            healthy: (self.healthy || self.unhealthy).then_some(self.healthy),
        })
    }
}

/// A namespace that nothing is in is most likely misspelt.
///
/// # Errors
/// Nothing is in it.
fn known_namespace(services: &[ServiceReport], namespace: &str) -> Result<(), Failure> {
    let known: BTreeSet<&str> = services.iter().map(|one| one.namespace.as_str()).collect();
    if known.contains(namespace) {
        return Ok(());
    }
    let names = listed(&known);
    let message = format!(
        "--namespace: there is nothing in {namespace}, known namespaces: {names}{}",
        meant(namespace, &known)
    );
    Err(Failure::new(exit::USAGE, message))
}

fn known_service(
    all: &[ServiceReport],
    here: &[&ServiceReport],
    name: &str,
) -> Result<(), Failure> {
    match here.iter().find(|service| service.name == name) {
        Some(service) if service.only_calls => {
            let message = format!(
                "{}/{name} is a workload behind no Service: it only calls, and has no instances",
                service.namespace
            );
            return Err(Failure::new(exit::USAGE, message));
        }
        Some(_) => return Ok(()),
        None => {}
    }
    let elsewhere = all.iter().find(|service| service.name == name);
    if let Some(service) = elsewhere {
        let message = format!(
            "there is no service {name} here, but {}/{name}",
            service.namespace
        );
        return Err(Failure::new(exit::USAGE, message));
    }
    let callable = here.iter().filter(|service| !service.only_calls);
    let known: BTreeSet<&str> = callable.map(|service| service.name.as_str()).collect();
    let message = format!(
        "there is no service {name}, known services: {}{}",
        listed(&known),
        meant(name, &known)
    );
    Err(Failure::new(exit::USAGE, message))
}

fn known_zone(services: &[ServiceReport], zone: &str) -> Result<(), Failure> {
    let instances = services.iter().flat_map(|service| &service.endpoints);
    let zones = instances.map(|instance| instance.zone.as_str());
    let known: BTreeSet<&str> = zones.filter(|zone| !zone.is_empty()).collect();
    if known.contains(zone) {
        return Ok(());
    }
    let message = format!(
        "--zone: no instance is in {zone}, known zones: {}{}",
        listed(&known),
        meant(zone, &known)
    );
    Err(Failure::new(exit::USAGE, message))
}

fn meant(found: &str, known: &BTreeSet<&str>) -> String {
    let meant = nearest(found, known.iter().copied());
    meant.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn listed(known: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = known.iter().copied().take(LISTED_MAX).collect();
    match known.len() {
        0 => "none".to_owned(),
        all if all > LISTED_MAX => format!("{}, and {} more", shown.join(", "), all - LISTED_MAX),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests;
