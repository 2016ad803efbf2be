//! Whose mode waits: nothing that was closed is opened by it, and rules never wait.

use std::{fmt::Write as _, path::Path, time::SystemTime};

use proptest::prelude::*;
use usher_config::{
    model::{PathRule, Protocol},
    parse::parse_files,
};

use super::*;
use crate::{compile::compile, registry::store::Wait};

/// Mode, or nothing about it.
type Mode = Option<bool>;

/// Of a policy: its mode, whether it allows by default, and which of [`RULES`] it has.
type Policy = (Mode, bool, Vec<usize>);

/// As they stand in a policy.
const RULES: [&str; 5] = [
    "{to: {methods: [GET]}}",
    "{to: {paths: [\"/public/*\"]}}",
    "{from: {namespaces: [shop]}}",
    "{from: {serviceAccounts: [shop/web]}, to: {methods: [GET]}}",
    "{to: {ports: [90]}}",
];

/// What may be written: a Mesh (with its mode and its permission to loosen), policies, and the ports of both services.
#[derive(Debug, Clone)]
struct Written {
    mesh: Option<(Mode, bool)>,
    /// By target: the mesh, the namespace, the services `a` and `b`.
    policies: [Option<Policy>; 4],
    /// 80 alone, 80 and 90, 90 and 80, 80 as TCP.
    ports: u8,
}

fn any_written() -> impl Strategy<Value = Written> {
    let mode = || prop::option::of(any::<bool>());
    let rules = || prop::sample::subsequence(vec![0, 1, 2, 3, 4], 0..=3);
    let policy = || prop::option::weighted(0.6, (mode(), any::<bool>(), rules()));
    let mesh = prop::option::of((mode(), any::<bool>()));
    let policies = [policy(), policy(), policy(), policy()];
    let ports = prop_oneof![6 => Just(0), 1 => 1..4_u8];
    (mesh, policies, ports).prop_map(|(mesh, policies, ports)| Written {
        mesh,
        policies,
        ports,
    })
}

fn mtls(mode: Mode) -> String {
    let word = |strict| if strict { "Strict" } else { "Permissive" };
    mode.map_or_else(String::new, |strict| {
        format!("  mtls: {{mode: {}}}\n", word(strict))
    })
}

fn yaml(written: &Written) -> String {
    let mut text = String::new();
    let (http, admin) = ("{port: 80, name: http}", "{port: 90, name: admin}");
    let ports = match written.ports {
        0 => format!("[{http}]"),
        1 => format!("[{http}, {admin}]"),
        2 => format!("[{admin}, {http}]"),
        _ => "[{port: 80, name: http, appProtocol: tcp}]".to_owned(),
    };
    for name in ["a", "b"] {
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: bank}}\n\
             spec: {{selector: {{app: {name}}}, ports: {ports}}}\n---\n"
        );
    }
    if let Some((mode, loosening)) = written.mesh {
        let _ = write!(
            text,
            "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: mesh}}\n\
             spec:\n  allowLoosening: {loosening}\n{}---\n",
            mtls(mode)
        );
    }
    let targets = [
        ("usher-system", "{kind: Mesh, name: mesh}"),
        ("bank", "{kind: Namespace, name: bank}"),
        ("bank", "{kind: Service, name: a}"),
        ("bank", "{kind: Service, name: b}"),
    ];
    for (number, (policy, (namespace, target))) in written.policies.iter().zip(targets).enumerate()
    {
        if let Some((mode, allows, rules)) = policy {
            let action = if *allows { "Allow" } else { "Deny" };
            let rules: Vec<&str> = rules.iter().map(|number| RULES[*number]).collect();
            let _ = write!(
                text,
                "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p{number}, namespace: {namespace}}}\n\
                 spec:\n  targetRefs: [{target}]\n  defaultAction: {action}\n  rules: [{}]\n{}---\n",
                rules.join(", "),
                mtls(*mode)
            );
        }
    }
    text
}

fn after(world: &World, text: String, seconds: u64) -> World {
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let reading = world.read(&parsed, Path::new(""), at);
    assert!(reading.rejected.is_empty(), "{:?}", reading.rejected);
    reading.world
}

fn service(name: &str) -> ServiceName {
    format!("bank/{name}").parse().expect("valid")
}

fn both() -> BTreeSet<ServiceName> {
    [service("a"), service("b")].into()
}

/// What becomes of both from one configuration to another.
fn became(before: &World, next: &World) -> BTreeMap<ServiceName, LockOut> {
    lock_outs((&compile(before)).into(), next, &both())
}

/// What somebody without an identity asks for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// `None`: whichever is first.
    port: Option<u16>,
    /// `None`: bytes that are no HTTP.
    http: Option<(&'static str, &'static str)>,
}

fn all_asked() -> Vec<Asked> {
    let ports = [None, Some(80), Some(90)];
    let http =
        ["GET", "POST"].map(|method| ["/public/a", "/private"].map(|path| Some((method, path))));
    let http: Vec<_> = http.concat().into_iter().chain([None]).collect();
    let all = ports.into_iter();
    all.flat_map(|port| http.iter().map(move |http| Asked { port, http: *http }))
        .collect()
}

/// Whether he may.
fn may(inbound: &InboundPolicy, asked: Asked) -> bool {
    let first = inbound.ports.first().copied();
    let meant = match asked.port {
        None => first,
        Some(port) => inbound
            .ports
            .iter()
            .find(|(one, _)| one.get() == port)
            .copied(),
    };
    let Some((port, protocol)) = meant else {
        return false;
    };
    // A port that carries bytes takes all; one that may be HTTP takes what is HTTP.
    let is_taken =
        asked.http.is_some() || protocol == Protocol::Tcp || protocol == Protocol::Detect;
    let allows = |rule: &AccessRule| {
        let anybody = rule.principals.is_empty()
            && rule.namespaces.is_empty()
            && rule.service_accounts.is_empty()
            && (rule.ports.is_empty() || rule.ports.contains(&port));
        let by_http = match asked.http {
            Some((method, path)) => {
                let (methods, paths) = (&rule.methods, &rule.paths);
                (methods.is_empty() || methods.iter().any(|one| one.as_str() == method))
                    && (paths.is_empty() || paths.iter().any(|one: &PathRule| one.covers(path)))
            }
            None => rule.methods.is_empty() && rule.paths.is_empty(),
        };
        anybody && by_http
    };
    inbound.mtls == MtlsMode::Permissive
        && is_taken
        && inbound
            .access
            .iter()
            .all(|policy| !policy.deny_by_default || policy.rules.iter().any(allows))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn what_waits_opens_nothing_and_locks_nobody_out_by_the_mode(before in any_written(), next in any_written(), alike in any::<bool>()) {
        let next = if alike { with_modes_of(&before, &next) } else { next };
        let before = after(&World::default(), yaml(&before), 1);
        let mut next = after(&before, yaml(&next), 2);
        let found = became(&before, &next);
        let (was, written) = (compile(&before), compile(&next));
        let waits = found.iter().filter(|(_, one)| **one == LockOut::Waits);
        next.still_permissive = waits.map(|(service, _)| (service.clone(), Wait::Called)).collect();
        let is = compile(&next);
        let modes = |of: &Compiled, name: &ServiceName| of.inbound[name].mtls;
        for name in both() {
            let becomes_strict = modes(&was, &name) == MtlsMode::Permissive && modes(&written, &name) == MtlsMode::Strict;
            prop_assert!(becomes_strict || !found.contains_key(&name));
            if becomes_strict {
                prop_assert!(found.contains_key(&name), "whoever calls is said to be locked out, or it waits");
                for asked in all_asked() {
                    let (before, after) = (may(&was.inbound[&name], asked), may(&is.inbound[&name], asked));
                    prop_assert!(before || !after, "nothing is opened: {asked:?}");
                }
            }
            prop_assert!(!alike || found.get(&name) != Some(&LockOut::AtOnce), "the mode alone");
        }
        // What waits goes on waiting, and nothing waits for those of whom nobody speaks.
        prop_assert_eq!(became(&next, &next), found.iter().filter(|(_, one)| **one == LockOut::Waits).map(|(name, one)| (name.clone(), *one)).collect());
        prop_assert_eq!(lock_outs((&was).into(), &next, &BTreeSet::new()), BTreeMap::new());
    }
}

/// What is in `before`, with the modes of `next`.
fn with_modes_of(before: &Written, next: &Written) -> Written {
    let mut alike = before.clone();
    if let (Some((mode, _)), Some((wanted, _))) = (&mut alike.mesh, next.mesh) {
        *mode = wanted;
    }
    for (policy, wanted) in alike.policies.iter_mut().zip(&next.policies) {
        if let (Some((mode, ..)), Some((wanted, ..))) = (policy, wanted) {
            *mode = *wanted;
        }
    }
    alike
}

/// All is Permissive, and there is a policy for `a` with these rules.
fn permissive(rules: Option<(bool, &[usize])>) -> Written {
    let policy = rules.map(|(allows, rules)| (None, allows, rules.to_vec()));
    Written {
        mesh: Some((Some(false), true)),
        policies: [None, None, policy, None],
        ports: 0,
    }
}

fn strict(written: Written) -> Written {
    Written {
        mesh: Some((Some(true), true)),
        ..written
    }
}

fn of_a(before: &Written, next: &Written) -> Option<LockOut> {
    let before = after(&World::default(), yaml(before), 1);
    let next = after(&before, yaml(next), 2);
    became(&before, &next).get(&service("a")).copied()
}

#[test]
fn rules_never_wait_and_the_mode_does_where_they_open_nothing() {
    let open = permissive(None);
    let reading = permissive(Some((false, &[0])));
    let known = permissive(Some((false, &[2])));
    let all = permissive(Some((true, &[])));
    assert_eq!(of_a(&open, &strict(open.clone())), Some(LockOut::Waits));
    assert_eq!(of_a(&open, &strict(reading.clone())), Some(LockOut::Waits));
    assert_eq!(
        of_a(&reading, &strict(reading.clone())),
        Some(LockOut::Waits)
    );
    // Its rules refuse them, whatever the mode.
    assert_eq!(of_a(&open, &strict(known.clone())), Some(LockOut::Waits));
    // Each of them would be open to callers who were refused.
    assert_eq!(of_a(&reading, &strict(all.clone())), Some(LockOut::AtOnce));
    assert_eq!(of_a(&known, &strict(open.clone())), Some(LockOut::AtOnce));
    let wider = permissive(Some((false, &[0, 1])));
    assert_eq!(of_a(&reading, &strict(wider)), Some(LockOut::AtOnce));
    let second = Written {
        ports: 1,
        ..open.clone()
    };
    assert_eq!(of_a(&open, &strict(second.clone())), Some(LockOut::AtOnce));
    assert_eq!(of_a(&second, &strict(open)), Some(LockOut::Waits));
}

#[test]
fn a_policy_for_whom_is_known_holds_no_mode_back() {
    let reading = permissive(Some((false, &[0])));
    let more = permissive(Some((false, &[0, 2, 3])));
    assert_eq!(of_a(&reading, &strict(more)), Some(LockOut::Waits));
}

#[test]
fn tokens_that_are_not_asked_for_any_more_are_no_reason_to_wait() {
    let authentication = "apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {name: tokens, namespace: bank}\n\
         spec:\n  targetRefs: [{kind: Service, name: a}]\n  jwt:\n  - issuer: https://issuer.test\n    \
         audiences: [bank]\n    jwks:\n      inline: |\n        {\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \
         \"use\": \"sig\", \"alg\": \"ES256\", \"kid\": \"a\", \"x\": \"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\", \
         \"y\": \"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}\n";
    let open = yaml(&permissive(None));
    let before = after(&World::default(), format!("{open}{authentication}"), 1);
    let next = yaml(&strict(permissive(None)));
    let without = became(&before, &after(&before, next.clone(), 2));
    assert_eq!(without.get(&service("a")), Some(&LockOut::AtOnce));
    assert_eq!(without.get(&service("b")), Some(&LockOut::Waits));
    let with = became(
        &before,
        &after(&before, format!("{next}{authentication}"), 2),
    );
    assert_eq!(with.get(&service("a")), Some(&LockOut::Waits));
}

#[test]
fn what_was_closed_for_want_of_a_valid_policy_does_not_wait() {
    let text = yaml(&permissive(None));
    let broken = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: p2, namespace: bank}\n\
                  spec:\n  targetRefs: [{kind: Service, name: a}]\n  defaultAction: Perhaps\n";
    let parsed = parse_files(&[("mesh.yaml".into(), format!("{text}{broken}"))]);
    let before = World::default()
        .read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH)
        .world;
    assert_eq!(before.denied.len(), 1, "{:?}", before.denied);
    let mended = permissive(Some((true, &[])));
    let found = became(&before, &after(&before, yaml(&strict(mended)), 2));
    assert_eq!(found.get(&service("a")), Some(&LockOut::AtOnce));
}

#[test]
fn a_service_that_is_new_or_gone_waits_for_nobody() {
    let before = after(&World::default(), yaml(&permissive(None)), 1);
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: c, namespace: bank}\n\
         spec: {selector: {app: c}, ports: [{port: 80}]}\n";
    let next = after(&before, text.to_owned(), 2);
    let of = [service("a"), service("b"), service("c")];
    assert_eq!(
        lock_outs((&compile(&before)).into(), &next, &of),
        BTreeMap::new()
    );
}

#[test]
fn the_object_that_says_strict_is_named_and_else_the_service() {
    let mut written = permissive(None);
    let world = after(&World::default(), yaml(&strict(written.clone())), 1);
    let named = |world: &World| {
        let named = deciders(world, &both());
        named
            .into_values()
            .map(|key| key.to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(named(&world), ["Mesh default/mesh".to_owned()].into());
    written.mesh = None;
    written.policies[2] = Some((Some(true), true, Vec::new()));
    let world = after(&World::default(), yaml(&written), 1);
    assert_eq!(
        named(&world),
        [
            "AccessPolicy bank/p2".to_owned(),
            "Service bank/b".to_owned()
        ]
        .into()
    );
}

#[test]
fn another_first_port_another_protocol_and_another_workload_are_no_reason_to_wait() {
    let ports = |ports| Written {
        ports,
        ..permissive(None)
    };
    // What the application listens on stands for the first one.
    assert_eq!(of_a(&ports(1), &strict(ports(2))), Some(LockOut::AtOnce));
    assert_eq!(of_a(&ports(0), &strict(ports(3))), Some(LockOut::AtOnce));
    assert_eq!(of_a(&ports(1), &strict(ports(0))), Some(LockOut::Waits));

    let workload = |account: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: Workload\nmetadata: {{name: a, namespace: bank, labels: {{app: a}}}}\n\
             spec: {{serviceAccount: {account}}}\n"
        )
    };
    let of = |account| {
        let open = yaml(&permissive(None));
        let before = after(&World::default(), format!("{open}{}", workload("one")), 1);
        let next = yaml(&strict(permissive(None)));
        became(
            &before,
            &after(&before, format!("{next}{}", workload(account)), 2),
        )
    };
    assert_eq!(of("one").get(&service("a")), Some(&LockOut::Waits));
    assert_eq!(of("other").get(&service("a")), Some(&LockOut::AtOnce));
}

#[test]
fn a_header_that_nobody_takes_away_any_more_is_no_reason_to_wait() {
    let issuer = |header: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{name: tokens, namespace: bank}}\n\
             spec:\n  targetRefs: [{{kind: Service, name: b}}]\n  jwt:\n  - issuer: https://issuer.test\n    audiences: [bank]\n    \
             jwks: {{uri: \"https://issuer.test/keys\"}}\n    claimsToHeaders: [{{claim: sub, header: {header}}}]\n"
        )
    };
    let open = yaml(&permissive(None));
    let before = after(&World::default(), format!("{open}{}", issuer("x-user")), 1);
    let next = yaml(&strict(permissive(None)));
    let with = |more: String| {
        let found = became(&before, &after(&before, format!("{next}{more}"), 2));
        found.get(&service("a")).copied()
    };
    assert_eq!(with(issuer("x-user")), Some(LockOut::Waits));
    assert_eq!(with(issuer("x-other")), Some(LockOut::AtOnce));
    assert_eq!(with(String::new()), Some(LockOut::AtOnce));
}

#[test]
fn a_policy_that_lets_no_stranger_in_ends_no_wait() {
    let mut next = after(&World::default(), yaml(&permissive(None)), 1);
    let before = next.clone();
    next = after(&before, yaml(&strict(permissive(None))), 2);
    next.still_permissive = both()
        .into_iter()
        .map(|name| (name, Wait::Called))
        .collect();
    let broken = "apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {name: typo, namespace: bank}\n\
                  spec:\n  targetRefs: [{kind: Service, name: b}]\n  mode: Requird\n";
    let text = format!(
        "{}{}",
        yaml(&strict(permissive(Some((false, &[2]))))),
        broken
    );
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let later = next
        .read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH)
        .world;
    let found = became(&next, &later);
    assert_eq!(
        found.get(&service("a")),
        Some(&LockOut::Waits),
        "rules refuse them"
    );
}

#[test]
fn only_what_is_there_and_strict_is_written_strict() {
    let world = after(&World::default(), yaml(&strict(permissive(None))), 1);
    let asked = [service("a"), service("gone")].into();
    assert_eq!(written_strict(&world, &asked), [service("a")].into());
    let world = after(&World::default(), yaml(&permissive(None)), 1);
    assert_eq!(written_strict(&world, &asked), BTreeSet::new());
}
