//! What a restart must not open or end.

use super::*;

/// What a mesh has from the end of its first start on.
pub(super) fn bundle() -> TrustBundle {
    TrustBundle {
        trust_domain: TrustDomain::default(),
        version: 1,
        roots: vec![vec![1]],
    }
}

#[tokio::test]
async fn what_was_denied_stays_denied_through_a_restart_with_a_worse_mistake() {
    let (config, data) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let (config, data) = (config.path(), data.path());
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\n\
        metadata: {name: Account_Allow, namespace: bank}\n\
        spec: {targetRefs: [{kind: Service, name: account}]}\n";
    fs::write(config.join("service.yaml"), SERVICE).expect("written");
    fs::write(config.join("policy.yaml"), policy).expect("written");
    let is_closed = |state: &State| {
        let configuration = state.0.configuration.load();
        let access = &configuration.compiled.inbound[&name().service].access;
        access.iter().any(|policy| policy.invalid)
    };
    let first = State::open(config, data).await.expect("opens");
    assert!(is_closed(&first));
    first.set_trust_bundle(bundle()).await;
    fs::write(config.join("policy.yaml"), "{{{").expect("written");
    drop(first);
    let second = open_when_released(config, data).await;
    assert!(is_closed(&second));
}

#[tokio::test]
async fn a_first_start_with_a_guard_that_cannot_be_read_is_refused_and_a_later_one_goes_on() {
    let unguarded = [
        ("kind: AccessPolicy\nspec: {", "policy.yaml:2:"),
        ("- a list", "policy.yaml:1:"),
        (
            "apiVersion: usher.dev/v1alpha1\nkind: AcessPolicy\nmetadata: {name: a, namespace: bank}\nspec: {}\n",
            "did you mean `AccessPolicy`",
        ),
        (
            "apiVersion: usher.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: a, namespace: bank}\n\
             spec: {targetRefs: [{kind: Service, name: account}], limits: [{name: all, requests: -1, per: 1s}]}\n",
            "spec.limits[0].requests",
        ),
    ];
    for (text, place) in unguarded {
        let (config, data) = (
            tempfile::tempdir().expect("dir"),
            tempfile::tempdir().expect("dir"),
        );
        let (config, data) = (config.path(), data.path());
        fs::write(config.join("service.yaml"), SERVICE).expect("written");
        fs::write(config.join("policy.yaml"), text).expect("written");
        let refused = State::open(config, data).await.expect_err(text);
        assert!(refused.to_string().contains(place), "{refused}");
        assert!(refused.is_configuration());

        fs::remove_file(config.join("policy.yaml")).expect("removed");
        let first = open_when_released(config, data).await;
        assert_eq!(first.status().revision.number, 1);
        first.set_trust_bundle(bundle()).await;
        drop(first);
        fs::write(config.join("policy.yaml"), text).expect("written");
        let second = open_when_released(config, data).await;
        assert_eq!(second.status().services.len(), 1, "{text}");
        assert_eq!(second.status().rejected.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_refuses_a_first_start_and_keeps_no_later_one() {
    let (config, data) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let (config, data) = (config.path(), data.path());
    let (service, unreadable) = (config.join("service.yaml"), config.join("loop.yaml"));
    fs::write(&service, SERVICE).expect("written");
    // Whoever looks at it gets an error, root too.
    let break_it = || std::os::unix::fs::symlink("loop.yaml", &unreadable).expect("linked");
    break_it();
    let refused = State::open(config, data).await.expect_err("first");
    assert!(matches!(&refused, OpenError::Directory { .. }), "{refused}");
    fs::remove_file(&unreadable).expect("removed");
    // A folder that is not mounted may hold what guards the rest.
    let policies = config.join("policies");
    std::os::unix::fs::symlink("../not-mounted", &policies).expect("linked");
    let refused = loop {
        match State::open(config, data).await {
            Err(OpenError::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => break other.expect_err("first"),
        }
    };
    assert!(matches!(&refused, OpenError::Unread { .. }), "{refused}");
    assert!(refused.to_string().contains("policies:1:1"), "{refused}");
    fs::remove_file(&policies).expect("removed");
    let first = open_when_released(config, data).await;
    first.set_trust_bundle(bundle()).await;
    drop(first);

    break_it();
    fs::write(&service, SERVICE.replace("8080", "9090")).expect("written");
    let second = open_when_released(config, data).await;
    let status = second.status();
    assert_eq!((status.revision.number, status.services.len()), (1, 1));
    let [told] = &status.rejected[..] else {
        panic!("{:?}", status.rejected)
    };
    assert_eq!(told.object, config.display().to_string());
    assert!(told.last_good && told.mistakes[0].message.contains("cannot be read"));
    let following = tokio::spawn({
        let (second, config) = (second.clone(), config.to_owned());
        async move { second.run_directory(config).await }
    });
    fs::remove_file(&unreadable).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(20);
    while second.status().revision.number < 2 {
        assert!(Instant::now() < deadline, "{:?}", second.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(second.status().rejected.is_empty());
    following.abort();
    let _ = following.await;
    drop(second);

    fs::remove_dir_all(config).expect("removed");
    let third = open_when_released(config, data).await;
    assert_eq!(third.status().revision.number, 2);
    assert_eq!(third.status().rejected.len(), 1);
}

#[tokio::test]
async fn what_a_link_led_to_stays_until_the_link_is_mended_or_removed() {
    let (config, data) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let (config, data) = (config.path(), data.path());
    let (mesh, mounted) = (config.join("mesh"), config.join("mounted"));
    fs::create_dir(&mesh).expect("made");
    fs::create_dir(&mounted).expect("made");
    fs::write(mesh.join("service.yaml"), SERVICE).expect("written");
    fs::write(mounted.join("workload.yaml"), WORKLOAD).expect("written");
    let link = mesh.join("more");
    std::os::unix::fs::symlink("../mounted", &link).expect("linked");
    let first = open_when_released(&mesh, data).await;
    first.set_trust_bundle(bundle()).await;
    let declared = |state: &State| {
        state.declares(
            &"bank".parse().expect("valid"),
            &"account".parse().expect("valid"),
        )
    };
    assert!(declared(&first));
    drop(first);

    fs::rename(&mounted, config.join("away")).expect("moved");
    let second = open_when_released(&mesh, data).await;
    assert!(declared(&second));
    let told = second.status().rejected;
    assert!(
        told[0].mistakes[0].message.contains("leads nowhere"),
        "{told:?}"
    );
    let following = tokio::spawn({
        let (second, mesh) = (second.clone(), mesh.clone());
        async move { second.run_directory(mesh).await }
    });
    fs::remove_file(&link).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(20);
    while declared(&second) {
        assert!(Instant::now() < deadline, "{:?}", second.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(second.status().rejected.is_empty());
    following.abort();
}

#[tokio::test]
async fn a_mesh_without_a_directory_does_not_begin_without_its_guards() {
    let guard = |name: &str, kind: &str, rest: &str| {
        format!(
            "apiVersion: usher.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a, namespace: bank}}\n\
             spec: {{targetRefs: [{{kind: Service, name: {name}}}], {rest}}}\n"
        )
    };
    let (rules, limits) = (
        "rules: [{from: {serviceAccounts: [teller]}}]",
        "limits: [{name: all, requests: 1, per: 1s}]",
    );
    let whole = guard("account", "AccessPolicy", rules);
    let state = State::new(Box::new(crate::registry::MemoryStore::default())).expect("empty");
    for text in [
        "kind: AccessPolicy\nspec: {",
        "- a list",
        &guard("account", "AccessPolicy", "rules: 7"),
        &guard("account", "RateLimitPolicy", "limits: 7"),
        &guard("acount", "AccessPolicy", rules),
        &guard("acount", "RateLimitPolicy", limits),
        &whole,
    ] {
        let files = [
            ("a.yaml".into(), format!("{SERVICE}---\n{WORKLOAD}")),
            ("policy.yaml".into(), text.to_owned()),
        ];
        let parsed = usher_config::parse::parse_files(&files);
        let decided = state
            .apply_whole(parsed, &By::default())
            .await
            .expect("decided");
        if text == whole {
            assert!(matches!(decided, Decision::New(_)), "{decided:?}");
            continue;
        }
        let Decision::Refused(told) = decided else {
            panic!("{text}: {decided:?}")
        };
        assert!(
            told[0].mistakes[0].at.starts_with("policy.yaml:"),
            "{told:?}"
        );
        assert!(state.status().services.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn while_settling_no_account_ends_an_instance_that_may_be_anothers() {
    let state = configured().await;
    let generation = state.deregister(&name(), "from before", &identity());
    assert!(generation.is_ok(), "nobody else can have held it");
    let second = WORKLOAD
        .replace("name: account, namespace", "name: canary, namespace")
        .replace("serviceAccount: account", "serviceAccount: canary");
    let files = [
        ("a.yaml".into(), SERVICE.to_owned()),
        ("b.yaml".into(), WORKLOAD.to_owned()),
        ("c.yaml".into(), second),
    ];
    let parsed = usher_config::parse::parse_files(&files);
    state.apply(parsed, Path::new("")).await.expect("accepted");
    let canary = "spiffe://usher.local/ns/bank/sa/canary"
        .parse()
        .expect("valid");
    assert!(state.may_be(&canary, &name().service));
    assert!(state.deregister(&name(), "made up", &canary).is_err());
    let lease = state.register(&name(), instance()).expect("room");
    assert!(state.deregister(&name(), &lease, &canary).is_err());
    assert!(state.deregister(&name(), &lease, &identity()).is_ok());
}

#[tokio::test]
async fn after_a_start_that_was_refused_the_next_one_is_the_first_again() {
    let (config, data) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let (config, data) = (config.path(), data.path());
    fs::write(config.join("service.yaml"), SERVICE).expect("written");
    // Its configuration is stored; then, say, its certificate authority could not be opened.
    drop(State::open(config, data).await.expect("opens"));
    fs::write(config.join("policy.yaml"), "{{{").expect("written");
    let refused = loop {
        match State::open(config, data).await {
            Err(OpenError::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => break other.expect_err("refused"),
        }
    };
    assert!(refused.is_configuration(), "{refused}");
}
