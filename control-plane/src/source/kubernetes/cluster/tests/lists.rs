//! Lists that break off, and kinds that are not there.

use super::*;

#[test]
fn a_list_that_breaks_off_takes_nothing_away() {
    let (mut cluster, mut heard) = whole(&bank());
    let before = heard.of("bank/account");
    for watched in Watched::all() {
        cluster.tell(watched, Told::Begins);
        heard.hear(&mut cluster);
    }
    cluster.put(Watched::Pods, &pod("account-1", "account", "10.0.0.1"));
    cluster.tell(Watched::Pods, Told::Begins);
    heard.hear(&mut cluster);
    assert_eq!(
        (heard.of("bank/account"), heard.configurations),
        (before, 1)
    );
    cluster.list(Watched::Pods, &[pod("account-1", "account", "10.0.0.1")]);
    cluster.list(
        Watched::Slices,
        &[slice("account", &[("account-1", "10.0.0.1")])],
    );
    heard.hear(&mut cluster);
    assert_eq!(
        heard.of("bank/account").into_keys().collect::<Vec<_>>(),
        ["account-1"]
    );
}

#[test]
fn a_kind_that_is_not_installed_is_no_reason_to_wait_and_its_objects_are_not_known_to_be_gone() {
    let (mut cluster, mut heard) = (Cluster::default(), Heard::default());
    for (watched, objects) in bank() {
        cluster.list(watched, &objects);
    }
    cluster.tell(Watched::Documents(Kind::HttpRoute), Told::IsUnknown);
    cluster.list_the_rest();
    assert!(cluster.places().is_some());
    let said = cluster.said().expect("all is told");
    assert_eq!(
        said.untold.into_iter().collect::<Vec<_>>(),
        [Kind::HttpRoute]
    );
    // It was installed, had something, and is not served for a while: what was told stays.
    let route = json!({
        "metadata": {"name": "account", "namespace": "bank"},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "account"}], "rules": [{}]},
    });
    cluster.list(Watched::Documents(Kind::HttpRoute), &[route]);
    heard.hear(&mut cluster);
    assert_eq!(heard.keys(Kind::HttpRoute), ["account"]);
    cluster.tell(Watched::Documents(Kind::HttpRoute), Told::IsUnknown);
    let said = cluster.said().expect("it is not known any more");
    assert!(said.untold.is_empty());
    let parsed = together(said.parts.iter().map(Arc::as_ref));
    assert!(
        parsed
            .objects
            .iter()
            .any(|one| one.object.kind() == Kind::HttpRoute)
    );
}
