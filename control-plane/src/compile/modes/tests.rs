//! Whose mode waits: nothing that was closed is opened by it, and rules never wait.

use std::{fmt::Write as _, path::Path, time::SystemTime};

use proptest::prelude::*;
use usher_config::{
    model::{PathRule, Protocol},
    parse::parse_files,
};

use super::*;
use crate::{compile::compile, registry::store::Wait};

mod cases;

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
