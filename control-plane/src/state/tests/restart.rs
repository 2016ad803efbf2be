//! What a restart must not open or end.

use super::*;

/// What a mesh has from the end of its first start on.
fn bundle() -> TrustBundle {
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
