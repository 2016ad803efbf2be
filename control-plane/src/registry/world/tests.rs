//! A bad edit never replaces good configuration.

use std::time::Duration;

use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: account, namespace: bank}\n\
    spec:\n  selector: {app: account}\n  ports: [{port: 8080}]\n";
const WORKLOAD: &str = "apiVersion: usher.dev/v1alpha1\nkind: Workload\n\
    metadata: {name: account, namespace: bank, labels: {app: account}}\nspec: {serviceAccount: account}\n";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn read(world: &World, files: &[(&str, &str)], seconds: u64) -> Reading {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| ((*name).into(), (*text).to_owned()))
        .collect();
    world.read(&parse_files(&files), Path::new(""), at(seconds))
}

fn names(world: &World) -> Vec<String> {
    world.objects.keys().map(ToString::to_string).collect()
}

fn good() -> World {
    let reading = read(
        &World::default(),
        &[("a.yaml", SERVICE), ("b.yaml", WORKLOAD)],
        1,
    );
    assert_eq!(reading.rejected, []);
    assert_eq!(
        names(&reading.world),
        ["Service bank/account", "Workload bank/account"]
    );
    reading.world
}

#[test]
fn an_object_that_is_written_twice_is_complained_of_once() {
    let broken = SERVICE.replace("8080", "808000");
    let twice = format!("{broken}---\n{broken}");
    let reading = read(&World::default(), &[("a.yaml", &twice)], 1);
    let [rejected] = &reading.rejected[..] else {
        panic!("{:?}", reading.rejected)
    };
    let mut said: Vec<_> = rejected
        .mistakes
        .iter()
        .map(|mistake| (&mistake.at, &mistake.message))
        .collect();
    let all = said.len();
    said.sort();
    said.dedup();
    assert_eq!(said.len(), all, "{:?}", rejected.mistakes);
}

#[test]
fn an_object_with_a_mistake_keeps_its_last_good_version_and_the_rest_flows() {
    let world = good();
    let broken = SERVICE.replace("8080", "808000");
    let changed = WORKLOAD.replace("serviceAccount: account", "serviceAccount: teller");
    let reading = read(&world, &[("a.yaml", &broken), ("b.yaml", &changed)], 2);
    let key = |world: &World, name| {
        world
            .objects
            .keys()
            .find(|key| key.to_string() == name)
            .cloned()
    };
    let service = key(&world, "Service bank/account").expect("there");
    assert_eq!(reading.world.objects[&service], world.objects[&service]);
    assert_eq!(
        reading
            .changed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["Workload bank/account"]
    );
    let [rejected] = &reading.rejected[..] else {
        panic!("{:?}", reading.rejected)
    };
    assert!(rejected.last_good);
    assert!(
        rejected.mistakes[0].at.starts_with("a.yaml:6:"),
        "{:?}",
        rejected.mistakes
    );
}

#[test]
fn a_file_that_is_no_yaml_keeps_its_objects_and_one_that_is_gone_deletes_them() {
    let world = good();
    let reading = read(&world, &[("a.yaml", "{{{"), ("b.yaml", WORKLOAD)], 2);
    assert_eq!(names(&reading.world), names(&world));
    assert_eq!(reading.changed, []);
    assert_eq!(reading.rejected[0].object, "a.yaml");
    let reading = read(&world, &[("b.yaml", WORKLOAD)], 2);
    assert_eq!(names(&reading.world), ["Workload bank/account"]);
}

#[test]
fn layout_and_comments_are_no_change() {
    let world = good();
    let reading = read(
        &world,
        &[("c.yaml", &format!("# hello\n{WORKLOAD}---\n{SERVICE}"))],
        2,
    );
    assert_eq!(reading.changed, []);
    assert_eq!(reading.world.digest(), world.digest());
}

#[test]
fn acceptance_is_dated_by_the_name_not_by_the_version() {
    let changed = SERVICE.replace("8080", "9090");
    let reading = read(&good(), &[("a.yaml", &changed)], 9);
    let accepted = reading.world.objects.values().next().expect("there");
    assert_eq!(accepted.accepted_at, at(1));
    assert_ne!(reading.world.digest(), good().digest());
}

#[test]
fn what_a_store_remembers_is_the_same_world() {
    let world = good();
    let stored = Stored {
        objects: world
            .objects
            .iter()
            .map(|(key, accepted)| (key.clone(), accepted.stored()))
            .collect(),
        addresses: world.addresses.clone(),
        deleted: world.deleted.clone(),
        ..Stored::default()
    };
    let (restored, unreadable) = World::restored(&stored);
    assert_eq!(unreadable, []);
    assert_eq!(restored, world);
}

#[test]
fn a_first_access_policy_that_is_invalid_denies_and_a_later_mistake_keeps_the_good_one() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\n\
        metadata: {name: account, namespace: bank}\nspec:\n  targetRefs: [{kind: Service, name: account}]\n  \
        rules: [{from: {serviceAccounts: [teller]}}]\n";
    let broken = policy.replace("rules:", "rulez:");
    let files = |policy| {
        [
            ("a.yaml", SERVICE),
            ("b.yaml", WORKLOAD),
            ("p.yaml", policy),
        ]
    };
    let first = read(&good(), &files(&broken), 2);
    assert_eq!(first.world.denied.len(), 1);
    assert!(!first.rejected[0].last_good);
    let worse = read(&first.world, &files("{{{"), 3);
    assert_eq!(
        worse.world.denied.len(),
        1,
        "a worse mistake does not open the door"
    );
    let fixed = read(&first.world, &files(policy), 4);
    assert!(fixed.world.denied.is_empty() && fixed.rejected.is_empty());
    let again = read(&fixed.world, &files(&broken), 5);
    assert!(
        again.world.denied.is_empty(),
        "the last good version is in force"
    );
    assert_eq!(again.changed, []);
}

#[test]
fn the_trust_domain_cannot_change_once_certificates_carry_it() {
    let world = World {
        fixed_domain: Some("one.test".parse().expect("valid")),
        ..World::default()
    };
    let mesh = |domain: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: mesh}}\nspec: {{trustDomain: {domain}}}\n"
        )
    };
    assert_eq!(
        read(&world, &[("m.yaml", &mesh("one.test"))], 1).rejected,
        []
    );
    let reading = read(&world, &[("m.yaml", &mesh("two.test"))], 1);
    assert_eq!(reading.rejected[0].mistakes[0].path, "spec.trustDomain");
    assert_eq!(reading.world.trust_domain().to_string(), "one.test");
}

#[test]
fn emptiness_is_an_accident_and_deletes_nothing() {
    let world = good();
    for files in [
        &[][..],
        &[("a.yaml", ""), ("b.yaml", WORKLOAD)],
        &[("a.yaml", "\n\n"), ("b.yaml", WORKLOAD)],
    ] {
        let reading = read(&world, files, 2);
        assert_eq!(reading.world.objects, world.objects, "{files:?}");
        assert_eq!(reading.rejected.len(), 1, "{files:?}");
        assert!(reading.rejected[0].last_good);
    }
    let deliberate = [("a.yaml", "# nothing here any more"), ("b.yaml", WORKLOAD)];
    let reading = read(&world, &deliberate, 2);
    assert_eq!(names(&reading.world), ["Workload bank/account"]);
    assert_eq!(reading.rejected, []);
}

#[test]
fn a_file_that_was_never_readable_has_no_last_good_version() {
    let world = good();
    let files = [
        ("a.yaml", SERVICE),
        ("b.yaml", WORKLOAD),
        ("c.yaml", "x: ["),
    ];
    let reading = read(&world, &files, 2);
    assert_eq!(reading.world.objects, world.objects);
    let [rejected] = &reading.rejected[..] else {
        panic!("{:?}", reading.rejected)
    };
    assert!(!rejected.last_good, "{rejected:?}");
}

#[test]
fn what_comes_beside_a_file_that_cannot_be_read_is_closed_until_it_can() {
    let world = good();
    let new = SERVICE.replace("name: account", "name: ledger");
    let unread = ("c.yaml", "kind: AcessPolicy\nspec: {");
    let before = [("a.yaml", SERVICE), ("b.yaml", WORKLOAD), unread];
    let same = read(&world, &before, 2).world;
    assert!(
        same.denied.is_empty(),
        "what ran goes on: {:?}",
        same.denied
    );
    let files = [before[0], before[1], before[2], ("d.yaml", &new)];
    let first = read(&world, &files, 2).world;
    let closed: Vec<_> = first.denied.values().flat_map(|one| &one.targets).collect();
    assert!(
        closed.iter().any(|one| one.name.as_str() == "ledger"),
        "{closed:?}"
    );
    assert_eq!(closed.len(), 1, "and nothing else: {closed:?}");
    let again = read(&first, &files, 3).world;
    assert_eq!(again.denied, first.denied, "still, now that it is known");
    let mended = read(&again, &[files[0], files[1], files[3]], 4).world;
    assert!(mended.denied.is_empty(), "{:?}", mended.denied);
}

#[test]
fn an_object_that_moves_into_an_unreadable_file_stays() {
    let world = good();
    let moved = format!("{SERVICE}  ports: [");
    let reading = read(&world, &[("c.yaml", &moved), ("b.yaml", WORKLOAD)], 2);
    assert_eq!(reading.world.objects, world.objects);
}

#[test]
fn an_edit_that_attaches_a_policy_to_nothing_keeps_the_policy_where_it_was() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: account, namespace: bank}\n\
        spec:\n  targetRefs: [{group: \"\", kind: Service, name: account}]\n  rules:\n  - from: {serviceAccounts: [teller]}\n";
    let files = |policy| {
        [
            ("a.yaml", SERVICE),
            ("b.yaml", WORKLOAD),
            ("c.yaml", policy),
        ]
    };
    let protected = read(&good(), &files(policy), 2).world;
    let slip = policy.replace("name: account}]", "name: acount}]");
    let reading = read(&protected, &files(&slip), 3);
    assert_eq!(reading.world, protected);
    assert_eq!(reading.changed, []);
    assert_eq!(reading.rejected.len(), 1, "{:?}", reading.rejected);
    // Not an edit: the service goes, and the policy waits for it as it was written.
    let without_service = [("b.yaml", WORKLOAD), ("c.yaml", policy)];
    let reading = read(&protected, &without_service, 4);
    assert_eq!(reading.rejected, []);
    assert_eq!(reading.world.objects.len(), 2);
}

const POLICY: &str = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\n\
    metadata: {name: account, namespace: bank}\nspec:\n  targetRefs: [{kind: Service, name: account}]\n  \
    rules: [{from: {serviceAccounts: [teller]}}]\n";

fn with_policy(policy: &str) -> [(&str, &str); 3] {
    [
        ("a.yaml", SERVICE),
        ("b.yaml", WORKLOAD),
        ("p.yaml", policy),
    ]
}

#[test]
fn a_first_access_policy_with_a_mistake_in_its_name_denies_until_it_is_mended() {
    for slip in ["Account_Allow", "", "[account]"] {
        let misnamed = POLICY.replace(
            "name: account, namespace",
            &format!("name: {slip}, namespace"),
        );
        let first = read(&good(), &with_policy(&misnamed), 2);
        let [denied] = &first.world.denied.values().collect::<Vec<_>>()[..] else {
            panic!("{slip}: {:?}", first.world.denied)
        };
        assert_eq!(denied.targets[0].name.as_str(), "account");
        let [rejected] = &first.rejected[..] else {
            panic!("{slip}: {:?}", first.rejected)
        };
        assert!(!rejected.last_good && rejected.object.starts_with("AccessPolicy bank/"));
        assert!(!rejected.object.contains("unnamed"), "{rejected:?}");
        let worse = read(&first.world, &with_policy("{{{"), 3);
        assert_eq!(worse.world.denied, first.world.denied);
        let mended = read(&worse.world, &with_policy(POLICY), 4);
        assert!(mended.world.denied.is_empty() && mended.rejected.is_empty());
    }
}

#[test]
fn a_slip_in_the_name_of_a_good_policy_keeps_that_policy_and_denies_nothing() {
    let protected = read(&good(), &with_policy(POLICY), 2).world;
    let misnamed = POLICY.replace("name: account, namespace", "name: Account, namespace");
    let reading = read(&protected, &with_policy(&misnamed), 3);
    assert_eq!(reading.world, protected);
    assert!(reading.rejected[0].last_good, "{:?}", reading.rejected);
    // Another policy beside it is no slip in this one's name.
    let other = misnamed.replace(
        "kind: Service, name: account",
        "kind: Namespace, name: bank",
    );
    let reading = read(&protected, &with_policy(&other), 3);
    assert_eq!(reading.world.objects, protected.objects);
    assert_eq!(reading.world.denied.len(), 1);
}

#[test]
fn all_that_several_broken_policies_of_one_name_were_meant_for_is_denied() {
    let broken = POLICY.replace("rules:", "rulez:");
    let other = broken.replace(
        "kind: Service, name: account",
        "kind: Namespace, name: bank",
    );
    let reading = read(&good(), &with_policy(&format!("{broken}---\n{other}")), 2);
    let denied = reading.world.denied.values().next().expect("denied");
    assert_eq!(denied.targets.len(), 2);
}

#[test]
fn a_second_document_of_a_name_changes_nothing_wherever_it_stands() {
    let before = read(&good(), &with_policy(POLICY), 2).world;
    let open = POLICY.replace("  rules:", "  defaultAction: Allow\n  rules:");
    assert_ne!(open, POLICY);
    for (first, second) in [(POLICY, &*open), (&open, POLICY)] {
        let mut files = with_policy(first).to_vec();
        files.push(("z.yaml", second));
        let reading = read(&before, &files, 3);
        assert_eq!(reading.changed, [], "{first}");
        assert!(reading.rejected[0].last_good && reading.world.denied.is_empty());
        let together = format!("{first}---\n{second}");
        assert_eq!(read(&before, &with_policy(&together), 3).changed, []);
    }
    let mended = read(&before, &with_policy(&open), 4);
    assert_eq!(mended.changed.len(), 1, "one document is an edit");
}

#[test]
fn of_two_access_policies_that_never_ran_neither_opens_what_the_other_closes() {
    let open = POLICY.replace("  rules:", "  defaultAction: Allow\n  rules:");
    let reading = read(&good(), &with_policy(&format!("{open}---\n{POLICY}")), 2);
    assert_eq!(reading.world.objects.len(), good().objects.len());
    assert_eq!(reading.world.denied.len(), 1);
    assert!(!reading.rejected[0].last_good);
}

#[test]
fn of_two_services_that_never_ran_the_first_runs() {
    let other = SERVICE.replace("8080", "9090");
    let twice = format!("{SERVICE}---\n{other}");
    let reading = read(
        &World::default(),
        &[("a.yaml", &twice), ("b.yaml", WORKLOAD)],
        1,
    );
    assert_eq!(names(&reading.world), names(&good()));
    assert_eq!(reading.rejected.len(), 1);
}
