//! What stays while somebody cannot be read.

use std::time::SystemTime;

use usher_config::parse::parse_files;

use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\n\
    spec: {selector: {app: account}, ports: [{port: 8080}]}\n";

fn guard(kind: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: guard, namespace: bank}}\n\
         spec: {{targetRefs: [{{kind: Service, name: account}}], {rest}}}\n"
    )
}

fn read(world: &World, files: &[(&str, String)]) -> World {
    let files = files
        .iter()
        .map(|(name, text)| ((*name).into(), text.clone()));
    let files: Vec<(PathBuf, String)> = files.collect();
    let reading = world.read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH);
    reading.world
}

#[test]
fn a_guard_that_moves_from_a_readable_file_into_an_unreadable_one_stays() {
    let guards = [
        guard(
            "AccessPolicy",
            "rules: [{from: {serviceAccounts: [teller]}}]",
        ),
        guard(
            "AuthenticationPolicy",
            "jwt: [{issuer: 'https://a.test', audiences: [bank], jwks: {uri: 'https://a.test/keys'}}]",
        ),
        guard(
            "RateLimitPolicy",
            "limits: [{name: all, requests: 1, per: 1s}]",
        ),
    ];
    for guard in guards {
        let together = [("a.yaml", format!("{SERVICE}{guard}"))];
        let before = read(&World::default(), &together);
        assert_eq!(before.objects.len(), 2, "{guard}");
        let moved = format!("{guard}  limits: [");
        let moving = [("a.yaml", SERVICE.to_owned()), ("b.yaml", moved)];
        let unread = read(&before, &moving);
        assert_eq!(unread.objects, before.objects, "{guard}");
        let deleted = [("a.yaml", SERVICE.to_owned())];
        assert_eq!(read(&unread, &deleted).objects.len(), 1, "{guard}");
    }
}

#[test]
fn the_mesh_that_moves_from_a_readable_file_into_an_unreadable_one_stays() {
    let mesh = "---\napiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\n\
        spec: {outboundTraffic: RegistryOnly, virtualCidr: 240.9.0.0/16}\n";
    let before = read(&World::default(), &[("a.yaml", format!("{SERVICE}{mesh}"))]);
    assert!(before.mesh().is_some());
    let moved = format!("{mesh}  mtls: [");
    let moving = [("a.yaml", SERVICE.to_owned()), ("b.yaml", moved)];
    let unread = read(&before, &moving);
    assert_eq!(unread.objects, before.objects);
    assert_eq!(unread.addresses, before.addresses);
    let deleted = read(&unread, &moving[..1]);
    assert!(deleted.mesh().is_none());
}

#[test]
fn what_is_denied_stays_so_while_its_policy_may_be_in_an_unreadable_file() {
    let broken = guard("AccessPolicy", "rules: 7");
    let together = [("a.yaml", format!("{SERVICE}{broken}"))];
    let before = read(&World::default(), &together);
    assert_eq!(before.denied.len(), 1);
    let moving = [
        ("a.yaml", SERVICE.to_owned()),
        ("b.yaml", format!("{broken}  rules: [")),
    ];
    let unread = read(&before, &moving);
    assert_eq!(unread.denied, before.denied);
    let deleted = [("a.yaml", SERVICE.to_owned())];
    assert!(read(&unread, &deleted).denied.is_empty());
}

#[test]
fn a_new_route_for_connections_waits_beside_an_unreadable_file() {
    for (kind, version, hostnames) in [
        ("TCPRoute", "v1alpha2", ""),
        ("TLSRoute", "v1", "hostnames: [a.test], "),
    ] {
        let services = format!(
            "{}---\n{}",
            SERVICE.replace("port: 8080", "port: 8080, appProtocol: tcp"),
            SERVICE
                .replace("name: account", "name: ledger")
                .replace("port: 8080", "port: 8080, appProtocol: tcp")
        );
        let route = format!(
            "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: way, namespace: bank}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: account}}], {hostnames}\
             rules: [{{backendRefs: [{{name: ledger, port: 8080}}]}}]}}\n"
        );
        let before = read(&World::default(), &[("a.yaml", services.clone())]);
        assert_eq!(before.objects.len(), 2, "{kind}");
        let beside = [
            ("a.yaml", services),
            ("b.yaml", route),
            ("c.yaml", "{{{".to_owned()),
        ];
        let files = beside.clone().map(|(name, text)| (name.into(), text));
        let reading = before.read(&parse_files(&files), Path::new(""), SystemTime::UNIX_EPOCH);
        assert_eq!(reading.world.objects, before.objects, "{kind}");
        let mut said = reading.rejected.iter().flat_map(|one| &one.mistakes);
        assert!(
            said.any(|one| one.at == "b.yaml:1:1" && one.message.contains("c.yaml")),
            "{:?}",
            reading.rejected
        );
        let mended = read(&before, &beside[..2]);
        assert_eq!(mended.objects.len(), 3, "{kind}");
        let later = read(&mended, &beside);
        assert_eq!(later.objects, mended.objects, "{kind}: what ran goes on");
    }
}

#[test]
fn what_is_new_beside_an_emptied_file_is_closed_until_it_has_objects_again() {
    let broken = guard("AccessPolicy", "rules: 7");
    for (policy, of_file) in [
        (guard("AccessPolicy", "rules: []"), "objects"),
        (broken, "denied"),
    ] {
        let files = [("a.yaml", SERVICE.to_owned()), ("b.yaml", policy)];
        let before = read(&World::default(), &files);
        let ledger = SERVICE.replace("name: account", "name: ledger");
        let emptied = [
            files[0].clone(),
            ("b.yaml", String::new()),
            ("c.yaml", ledger),
        ];
        let beside = read(&before, &emptied);
        let is_closed = |world: &World| {
            let mut denied = world.denied.iter().filter(|(_, one)| one.file == "b.yaml");
            denied.any(|(_, one)| one.targets.iter().any(|to| to.name.as_str() == "ledger"))
        };
        assert!(is_closed(&beside), "{of_file}: {:?}", beside.denied);
        let again = read(&beside, &emptied);
        assert_eq!(again.denied, beside.denied, "{of_file}");
        let mended = read(
            &again,
            &[files[0].clone(), files[1].clone(), emptied[2].clone()],
        );
        assert!(!is_closed(&mended), "{of_file}: {:?}", mended.denied);
    }
}
