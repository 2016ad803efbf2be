//! What a restart must not open or end.

use super::*;

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
    fs::write(config.join("policy.yaml"), "{{{").expect("written");
    drop(first);
    let second = open_when_released(config, data).await;
    assert!(is_closed(&second));
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
