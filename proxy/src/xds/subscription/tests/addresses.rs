//! An address is asked for once, answered when what it means has arrived whole, and then dropped.

use usher_config::model::Revision;

use super::super::*;
use super::model::{content, endpoint, name, wire};
use usher_config::wire::{discovery::Resource, v1};

const ADDRESS: &str = "addr/240.240.0.7";

struct Rig {
    subscription: Subscription,
    now: Instant,
    nonce: u32,
}

impl Rig {
    fn new() -> Self {
        let subscription = Subscription::new("n/own".parse().unwrap(), "i", []);
        Self {
            subscription,
            now: Instant::now(),
            nonce: 0,
        }
    }

    fn synchronised() -> Self {
        let mut rig = Self::new();
        rig.subscription.opened(rig.now);
        rig.revision();
        rig
    }

    fn ask(&mut self) -> Result<Resolution, Vec<DeltaDiscoveryRequest>> {
        let address = ADDRESS.trim_start_matches("addr/").parse().unwrap();
        match self.subscription.ask_address(address, self.now) {
            Asked::Answered(resolution) => Ok(resolution),
            Asked::Waits(requests) => Err(requests),
        }
    }

    fn receive(&mut self, type_url: &str, resources: Vec<Resource>, removed: &[&str]) -> Effects {
        self.nonce += 1;
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            resources,
            removed_resources: removed.iter().map(ToString::to_string).collect(),
            nonce: self.nonce.to_string(),
            ..Default::default()
        };
        self.subscription.receive(response, self.now)
    }

    fn revision(&mut self) -> Effects {
        let revision = Revision {
            number: 1,
            digest: "d".repeat(64),
        };
        let closing = wire(type_url::REVISION, "mesh", 1, v1::Revision::from(&revision));
        self.receive(type_url::REVISION, vec![closing], &[])
    }
}

fn asked(requests: &[DeltaDiscoveryRequest]) -> Vec<&str> {
    let names = requests.iter().flat_map(|r| &r.resource_names_subscribe);
    names.map(String::as_str).collect()
}

fn dropped(effects: &Effects) -> Vec<&str> {
    let requests = effects.requests.iter();
    let names = requests.flat_map(|r| &r.resource_names_unsubscribe);
    names.map(String::as_str).collect()
}

fn meant() -> Resource {
    Resource {
        aliases: vec![ADDRESS.to_owned()],
        ..content("n/s2", 1)
    }
}

#[test]
fn an_address_is_found_when_its_service_is_there_with_its_endpoints() {
    let mut rig = Rig::synchronised();
    assert_eq!(asked(&rig.ask().unwrap_err()), [ADDRESS]);
    assert!(rig.ask().unwrap_err().is_empty(), "asked for once");
    let effects = rig.receive(type_url::SERVICE, vec![meant()], &[]);
    assert_eq!(asked(&effects.requests), ["n/s2/*", "n/s2"]);
    assert!(
        rig.revision().addresses.is_empty(),
        "it has no endpoints yet"
    );
    let instance = endpoint(2, 0, 1);
    let instance = wire(
        type_url::ENDPOINT,
        "n/s2/i0",
        1,
        v1::Endpoint::from(&instance),
    );
    rig.receive(type_url::ENDPOINT, vec![instance], &[]);
    rig.receive(type_url::SERVICE, vec![meant()], &[]);
    let effects = rig.revision();
    let address = "240.240.0.7".parse().unwrap();
    assert_eq!(effects.addresses, [(address, Resolution::Found)]);
    let change = effects.change.as_ref().unwrap();
    assert_eq!((change.services.len(), change.endpoints.len()), (1, 1));
    assert_eq!(dropped(&effects), [ADDRESS]);
    assert_eq!(rig.ask(), Ok(Resolution::Found));
    assert!(rig.subscription.known().services.contains_key(&name(2)));
}

#[test]
fn nobody_at_an_address_holds_for_five_seconds_and_for_longer_without_a_control_plane() {
    let mut rig = Rig::synchronised();
    rig.ask().unwrap_err();
    let effects = rig.receive(type_url::SERVICE, Vec::new(), &[ADDRESS]);
    assert_eq!(effects.addresses.len(), 1);
    assert_eq!(effects.addresses[0].1, Resolution::Unknown);
    assert_eq!(dropped(&effects), [ADDRESS]);
    assert_eq!(rig.ask(), Ok(Resolution::Unknown));
    rig.now += NEGATIVE_TTL;
    assert_eq!(asked(&rig.ask().unwrap_err()), [ADDRESS]);
    rig.receive(type_url::SERVICE, Vec::new(), &[ADDRESS]);
    rig.subscription.closed();
    rig.now += Duration::from_secs(3600);
    assert_eq!(rig.ask(), Ok(Resolution::Unknown));
}

#[test]
fn without_a_control_plane_only_the_first_questions_wait() {
    let mut rig = Rig::new();
    assert!(rig.ask().unwrap_err().is_empty());
    rig.now += Duration::from_secs(3);
    assert_eq!(rig.ask(), Ok(Resolution::TimedOut));
    let opened = rig.subscription.opened(rig.now);
    assert!(
        asked(&opened).contains(&ADDRESS),
        "what is open is asked again"
    );
    let effects = rig.receive(type_url::SERVICE, Vec::new(), &[ADDRESS]);
    assert_eq!(effects.addresses[0].1, Resolution::Unknown);
}

#[test]
fn what_cannot_be_used_of_somebody_does_not_make_them_nobody() {
    let mut rig = Rig::synchronised();
    rig.ask().unwrap_err();
    let mut unusable = meant();
    unusable.resource.as_mut().unwrap().value = b"of another version".to_vec();
    // Once by its address, and once more by the name that is then subscribed.
    for _ in 0..2 {
        rig.receive(type_url::SERVICE, vec![unusable.clone()], &[]);
    }
    let effects = rig.revision();
    let address = "240.240.0.7".parse().unwrap();
    assert_eq!(effects.addresses, [(address, Resolution::TimedOut)]);
    assert_eq!(dropped(&effects), [ADDRESS]);
    assert_eq!(asked(&rig.ask().unwrap_err()), [ADDRESS], "not remembered");
}

#[test]
fn who_was_found_and_is_gone_again_is_asked_for_again() {
    let mut rig = Rig::synchronised();
    rig.ask().unwrap_err();
    rig.receive(type_url::SERVICE, vec![meant()], &[]);
    rig.revision();
    let none: [&str; 0] = [];
    rig.receive(type_url::ENDPOINT, Vec::new(), &["n/s2/*"]);
    rig.receive(type_url::SERVICE, vec![meant()], &none);
    assert_eq!(rig.revision().addresses.len(), 1);
    assert_eq!(rig.ask(), Ok(Resolution::Found));
    rig.receive(type_url::SERVICE, Vec::new(), &["n/s2"]);
    rig.revision();
    assert_eq!(asked(&rig.ask().unwrap_err()), [ADDRESS]);
}

#[test]
fn services_that_idle_while_nobody_can_be_asked_are_kept() {
    let mut rig = Rig::synchronised();
    rig.subscription.ask(&name(2), rig.now);
    rig.receive(type_url::SERVICE, vec![content("n/s2", 1)], &[]);
    rig.revision();
    let is_known = |rig: &Rig| rig.subscription.known().services.contains_key(&name(2));
    let later = |rig: &mut Rig, seconds| {
        rig.now += Duration::from_secs(seconds);
        rig.subscription.tick(rig.now);
    };
    rig.subscription.closed();
    later(&mut rig, 11 * 60);
    assert!(is_known(&rig), "while there is no control plane");
    rig.subscription.opened(rig.now);
    later(&mut rig, 60);
    assert!(is_known(&rig), "before it has said everything");
    rig.revision();
    later(&mut rig, 9 * 60);
    assert!(is_known(&rig), "its time has begun again");
    later(&mut rig, 61);
    assert!(!is_known(&rig));
}

#[test]
fn who_is_outside_is_remembered_across_a_restart() {
    use crate::xds::last_known_good::{decode, encode};
    let mut rig = Rig::synchronised();
    rig.ask().unwrap_err();
    assert!(!rig.subscription.learnt_of_addresses());
    rig.receive(type_url::SERVICE, Vec::new(), &[ADDRESS]);
    assert!(rig.subscription.learnt_of_addresses());
    let mut restarted = Rig::new();
    decode(
        &encode(&rig.subscription),
        &mut restarted.subscription,
        rig.now,
    )
    .unwrap();
    assert_eq!(restarted.ask(), Ok(Resolution::Unknown));
    restarted.subscription.opened(restarted.now);
    restarted.revision();
    restarted.now += NEGATIVE_TTL;
    assert_eq!(asked(&restarted.ask().unwrap_err()), [ADDRESS]);
}
