//! The roster agrees with the mesh's configuration.

use super::*;

#[test]
fn every_workload_is_declared_in_the_mesh() {
    let declared = include_str!("../../mesh/workloads.yaml");
    for workload in services()
        .into_iter()
        .chain([teller(1), auditor(), stranger()])
    {
        let account = format!("  serviceAccount: {}\n", workload.service);
        assert!(
            declared.contains(&account),
            "{} is not in workloads.yaml",
            workload.service
        );
    }
}

#[test]
fn every_peer_is_a_service_of_the_mesh_on_that_port() {
    let services_yaml = include_str!("../../mesh/services.yaml");
    for workload in services().into_iter().chain([teller(1)]) {
        for (name, url) in workload
            .environment
            .iter()
            .filter(|(name, _)| name.ends_with("_URL"))
        {
            let authority = url.strip_prefix("http://").unwrap();
            let host = authority.split(':').next().unwrap();
            let service = host.strip_suffix(".bank").unwrap();
            assert!(
                services_yaml.contains(&format!("name: {service}\n")),
                "{name} names {service}"
            );
        }
    }
}

#[test]
fn a_later_value_replaces_an_earlier_one() {
    let teller = teller(5).with("TELLER_RATE", "7");
    let rates: Vec<_> = teller
        .environment
        .iter()
        .filter(|(name, _)| *name == "TELLER_RATE")
        .collect();
    assert_eq!(rates, [&("TELLER_RATE", "7".to_owned())]);
}

#[test]
fn the_mesh_s_configuration_has_no_mistakes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("mesh");
    let parsed = usher_config::parse::parse_directory(&directory).unwrap();
    let mistakes = parsed.mistakes.iter();
    let text: String = mistakes
        .map(|mistake| parsed.render(mistake, usher_config::parse::Colours::Plain))
        .collect();
    assert!(parsed.mistakes.is_empty(), "{text}");
    assert!(
        parsed.objects.len() > 20,
        "{} objects",
        parsed.objects.len()
    );
}
