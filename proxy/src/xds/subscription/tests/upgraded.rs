//! A program that finds what another one wrote down.

use prost::Message as _;
use usher_config::wire::discovery::DeltaDiscoveryResponse;

use super::{
    super::super::last_known_good::{decode, encode},
    *,
};

#[test]
fn what_a_program_of_another_protocol_wrote_serves_and_is_asked_for_anew() {
    let mut rig = Rig::new();
    rig.connect();
    rig.server.services.insert("n/s2".into(), 5);
    rig.ask(&name(2));
    rig.settle();
    let mut file = DeltaDiscoveryResponse::decode(&*encode(&rig.subscription)).unwrap();
    // Of before it was written down which protocol it was.
    file.system_version_info.clear();
    let bytes = file.encode_to_vec();
    let mut restarted = Subscription::new("n/own".parse().unwrap(), "i", []);
    let change = decode(&bytes, &mut restarted, rig.now).unwrap();
    let mut applied = Applied::default();
    applied.apply(change);
    assert_eq!(applied.services, rig.applied.services);
    for request in restarted.opened(rig.now) {
        for (name, version) in &request.initial_resource_versions {
            assert_eq!(version, "", "{name}: whoever has it sends it all the same");
        }
    }
}
