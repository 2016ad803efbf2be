//! What is called inside TLS that sidecars open has no name that leads around it.

use std::sync::Arc;

use usher_config::model::BackendTls;

use super::*;

fn partners() -> View {
    let mut view = account();
    let service = view.service.as_mut().expect("a service");
    service.ports = vec![port("api", 443), port("plain", 80)];
    service.ports[0].tls = Some(Arc::new(BackendTls::Refused("why".to_owned())));
    service.instances = vec![
        instance("ip-10-9-0-7-8443-443", "10.9.0.7:8443", 1),
        instance("ip-10-9-0-7-8080-80", "10.9.0.7:8080", 1),
    ];
    for (instance, port) in service.instances.iter_mut().zip([443_u16, 80]) {
        instance.address_is_own = false;
        instance.ports = vec![port.to_string().parse().expect("a port")];
    }
    view
}

/// Port and target of each.
fn services(answer: &Answer) -> Vec<String> {
    let services = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(format!("{} {}", srv.port, srv.target)),
            _ => None,
        });
    services.collect()
}

#[test]
fn it_is_found_at_the_services_own_address_and_no_other() {
    let view = partners();
    let answer = ask("_api._tcp.account.bank.mesh.", RecordType::SRV, &view);
    assert_eq!(services(&answer), ["443 account.bank.mesh."]);
    assert_eq!(
        addresses(&answer.additionals),
        ["240.240.0.9".parse::<IpAddr>().expect("valid")]
    );
    let own = ask(
        "ip-10-9-0-7-8443-443.account.bank.mesh.",
        RecordType::A,
        &view,
    );
    assert!(own.exists && own.answers.is_empty());
    // A port without TLS is called where it is, and only there.
    let answer = ask("_plain._tcp.account.bank.mesh.", RecordType::SRV, &view);
    assert_eq!(
        services(&answer),
        ["8080 ip-10-9-0-7-8080-80.account.bank.mesh."]
    );
    let mut down = partners();
    down.service.as_mut().expect("a service").instances[0].healthy = false;
    let answer = ask("_api._tcp.account.bank.mesh.", RecordType::SRV, &down);
    assert_eq!(services(&answer), [""; 0]);
}
