//! One by one: what may change beside a mode that waits.

use super::*;

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
