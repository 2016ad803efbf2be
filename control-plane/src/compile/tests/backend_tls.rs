//! EndpointSlices and BackendTLSPolicies: where what has no sidecar is called, and inside which TLS.

use usher_config::{
    kind::{TargetKind, TargetRef},
    model::{AlternativeName, BackendTls, Roots},
};

use crate::registry::Denied;

use super::*;

const PARTNERS: &str = "apiVersion: v1
kind: Service
metadata: {name: partners, namespace: bank}
spec: {ports: [{name: api, port: 443, appProtocol: http}, {name: raw, port: 444, appProtocol: tcp}, {name: own, port: 445, appProtocol: https}]}
";

fn slice(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: bank, labels: {{kubernetes.io/service-name: partners}}}}\n{rest}"
    )
}

fn policy(name: &str, target: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         targetRefs: [{{group: '', kind: Service, {target}}}]\n  \
         validation: {{hostname: {name}.example, caCertificateRefs: [{{group: '', kind: ConfigMap, name: ca}}]}}\n"
    )
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let pem = params.self_signed(&key).expect("signed").pem();
    let pem = pem.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: bank}}\ndata:\n  ca.crt: |\n    {pem}\n"
    )
}

const TWO: &str = "addressType: IPv4
endpoints: [{addresses: [10.9.0.7], zone: z1}, {addresses: [10.9.0.8], conditions: {ready: false}}]
ports: [{name: api, port: 8443}, {name: raw, port: 8444}]
";

/// `address ports healthy meshed` of each.
fn endpoints(compiled: &Compiled) -> Vec<String> {
    let listed = compiled.listed.get(&named("bank/partners"));
    let all = listed.into_iter().flat_map(BTreeMap::values);
    all.map(|one| {
        let ports: Vec<_> = one.ports.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {} {}",
            one.address,
            ports.join(","),
            one.healthy,
            one.meshed
        )
    })
    .collect()
}

fn tls(compiled: &Compiled, port: u16) -> Option<&BackendTls> {
    let service = &compiled.services[&named("bank/partners")];
    service.port(port).expect("a port").tls.as_deref()
}

fn asked_for(compiled: &Compiled, port: u16) -> Option<&str> {
    match tls(compiled, port)? {
        BackendTls::Verified(tls) => Some(tls.hostname.as_str()),
        BackendTls::Refused(why) => Some(why),
    }
}

fn reasons(compiled: &Compiled, name: &str) -> Vec<Reason> {
    let about = compiled.findings.iter();
    let about = about.filter(|one| one.object.name.as_str() == name);
    about.map(|finding| finding.reason).collect()
}

#[test]
fn a_slice_is_where_a_service_without_a_selector_is_called() {
    let compiled = compile(&world(&[PARTNERS, &slice("one", TWO)]));
    assert_eq!(
        endpoints(&compiled),
        [
            "10.9.0.7:8443 443 true false",
            "10.9.0.7:8444 444 true false",
            "10.9.0.8:8443 443 false false",
            "10.9.0.8:8444 444 false false"
        ]
    );
    let first = &compiled.listed[&named("bank/partners")];
    let (name, endpoint) = first.first_key_value().expect("some");
    assert_eq!(
        (name.as_str(), endpoint.zone.as_str()),
        ("ip-10-9-0-7-8443-443", "z1")
    );
    // Where one slice takes over from another, both list it; a port that is nobody's is said.
    let further = "addressType: IPv4\nendpoints: [{addresses: [10.9.0.7]}]\nports: [{name: api, port: 8443}, {name: apis, port: 1}]\n";
    let compiled = compile(&world(&[
        PARTNERS,
        &slice("one", TWO),
        &slice("two", further),
    ]));
    assert_eq!(endpoints(&compiled).len(), 4);
    assert_eq!(reasons(&compiled, "two"), [Reason::RefNotResolved]);
}

#[test]
fn instances_that_register_themselves_have_no_place_in_a_slice() {
    let meshed = PARTNERS.replace("spec: {", "spec: {selector: {app: a}, ");
    let compiled = compile(&world(&[
        &meshed,
        WORKLOADS,
        &slice("one", TWO),
        &policy("tls", "name: partners"),
    ]));
    assert_eq!(endpoints(&compiled), [""; 0]);
    assert_eq!(reasons(&compiled, "one"), [Reason::NotEnforced]);
    assert_eq!(
        tls(&compiled, 443),
        None,
        "between sidecars the mesh's own is spoken"
    );
    assert!(reasons(&compiled, "tls").contains(&Reason::NotEnforced));
}

#[test]
fn a_policy_holds_for_all_ports_and_a_ports_own_goes_before_it() {
    let ca = authority();
    let (all, one) = (
        policy("all", "name: partners"),
        policy("one", "name: partners, sectionName: api"),
    );
    let compiled = compile(&world(&[PARTNERS, &slice("s", TWO), &ca, &all, &one]));
    assert_eq!(asked_for(&compiled, 443), Some("one.example"));
    assert_eq!(asked_for(&compiled, 444), Some("all.example"));
    assert_eq!(tls(&compiled, 445), None, "callers open it themselves");
    assert!(
        endpoints(&compiled).iter().all(|one| one.ends_with("true")),
        "no old proxy calls it in plaintext"
    );
    assert_eq!(reasons(&compiled, "all"), [], "it has ports enough");
    let own = policy("own", "name: partners, sectionName: own");
    let compiled = compile(&world(&[PARTNERS, &ca, &own]));
    assert_eq!(
        reasons(&compiled, "own"),
        [Reason::NotEnforced],
        "callers open it themselves"
    );
    let later = policy("later", "name: partners");
    let compiled = compile(&world(&[PARTNERS, &ca, &all, &later]));
    assert_eq!(asked_for(&compiled, 443), Some("all.example"));
    assert!(reasons(&compiled, "later").contains(&Reason::Conflicted));
}

#[test]
fn roots_that_are_not_there_let_nothing_be_sent() {
    let only = policy("only", "name: partners, sectionName: api");
    let compiled = compile(&world(&[PARTNERS, &only]));
    let Some(BackendTls::Refused(why)) = tls(&compiled, 443) else {
        panic!("{:?}", tls(&compiled, 443))
    };
    assert!(why.contains("no ConfigMap bank/ca"), "{why}");
    let both = [Reason::NoValidCaCertificate, Reason::RefNotResolved];
    assert_eq!(reasons(&compiled, "only"), both);
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: bank}\ndata: {ca.crt: \"-----BEGIN CERTIFICATE-----\\nMAIFAA==\\n-----END CERTIFICATE-----\"}\n";
    let compiled = compile(&world(&[PARTNERS, &only, broken]));
    assert!(
        matches!(tls(&compiled, 443), Some(BackendTls::Refused(why)) if why.contains("certificate 1"))
    );
    let web = only.replace(
        "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]",
        "wellKnownCACertificates: System, subjectAltNames: [{type: URI, uri: 'spiffe://x/y'}]",
    );
    let compiled = compile(&world(&[PARTNERS, &web]));
    let Some(BackendTls::Verified(tls)) = tls(&compiled, 443) else {
        panic!("{:?}", tls(&compiled, 443))
    };
    assert_eq!(tls.roots, Roots::Web);
    assert_eq!(tls.names, [AlternativeName::Uri("spiffe://x/y".to_owned())]);
    assert_eq!(reasons(&compiled, "only"), []);
}

#[test]
fn fewer_roots_than_were_meant_are_roots() {
    let two = policy("two", "name: partners").replace(
        "name: ca}]",
        "name: ca}, {group: '', kind: ConfigMap, name: gone}]",
    );
    let compiled = compile(&world(&[PARTNERS, &authority(), &two]));
    assert_eq!(asked_for(&compiled, 443), Some("two.example"));
    assert_eq!(reasons(&compiled, "two"), [Reason::RefNotResolved]);
}

#[test]
fn a_name_that_no_server_can_be_asked_for_is_said_and_nothing_is_sent() {
    let odd = policy("odd", "name: partners").replace("odd.example", "odd.123");
    let compiled = compile(&world(&[PARTNERS, &authority(), &odd]));
    assert!(
        matches!(tls(&compiled, 443), Some(BackendTls::Refused(why)) if why.contains("odd.123"))
    );
    assert_eq!(reasons(&compiled, "odd"), [Reason::NoValidCaCertificate]);
}

#[test]
fn a_port_that_is_not_there_was_meant_for_one_that_is() {
    let ca = authority();
    let for_api = policy("tls", "name: partners, sectionName: api");
    let renamed = PARTNERS.replace("name: api", "name: api2");
    let slice = slice("s", &TWO.replace("name: api", "name: api2"));
    let before = world(&[PARTNERS, &ca, &for_api]);
    let files = [renamed, slice, ca, for_api];
    let files = files.iter().zip(0..);
    let files: Vec<_> = files
        .map(|(text, number)| (format!("{number}.yaml").into(), text.clone()))
        .collect();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    let world = before
        .read(&parse_files(&files), Path::new(""), later)
        .world;
    let compiled = compile(&world);
    assert!(
        matches!(tls(&compiled, 443), Some(BackendTls::Refused(why)) if why.contains("port api"))
    );
    assert!(matches!(tls(&compiled, 444), Some(BackendTls::Refused(_))));
    assert!(endpoints(&compiled).iter().all(|one| one.ends_with("true")));
}

#[test]
fn two_ports_of_a_service_may_lead_to_one_place() {
    let one = "addressType: IPv4\nendpoints: [{addresses: [10.9.0.7]}]\nports: [{name: api, port: 8443}, {name: raw, port: 8443}]\n";
    let compiled = compile(&world(&[PARTNERS, &slice("one", one)]));
    assert_eq!(
        endpoints(&compiled),
        [
            "10.9.0.7:8443 443 true false",
            "10.9.0.7:8443 444 true false"
        ]
    );
}

#[test]
fn a_policy_that_never_was_valid_closes_what_it_was_meant_for() {
    let meant = |kind, name: &str, key: &str| {
        let mut world = world(&[PARTNERS, &slice("s", TWO)]);
        let target = TargetRef {
            kind,
            name: name.parse().expect("a name"),
            section_name: None,
        };
        let key = ObjectKey {
            kind: usher_config::kind::Kind::BackendTlsPolicy,
            namespace: key.parse().expect("a name"),
            name: "broken".parse().expect("a name"),
        };
        let denied = Denied {
            targets: vec![target],
            file: "a.yaml".to_owned(),
        };
        world.denied.insert(key, denied);
        compile(&world)
    };
    for compiled in [
        meant(TargetKind::Service, "partners", "bank"),
        meant(TargetKind::Namespace, "bank", "bank"),
    ] {
        assert!(matches!(tls(&compiled, 443), Some(BackendTls::Refused(_))));
        assert_eq!(reasons(&compiled, "broken"), [Reason::Denies]);
        // Nobody is kept from calling what it was not meant for.
        let access = &compiled.inbound[&named("bank/partners")].access;
        assert_eq!(access.len(), 0, "{access:?}");
    }
    let elsewhere = meant(TargetKind::Service, "partners", "other");
    assert_eq!(tls(&elsewhere, 443), None);
}
