//! What changes is told, and a goodbye lasts as long as its place.

use super::*;

fn name(text: &str) -> InstanceName {
    text.parse().expect("valid")
}

fn place(ready: bool) -> Place {
    Place {
        address: "10.0.0.1:15006".parse().expect("valid"),
        ready,
        zone: String::new(),
        who: Who::Sidecar {
            account: "account".parse().expect("valid"),
        },
    }
}

fn moved(all: &[(&str, bool)]) -> Moved {
    let mut moved = Moved {
        namespaces: ["bank".parse().expect("valid")].into(),
        ..Moved::default()
    };
    for (instance, ready) in all {
        let InstanceName { service, instance } = name(instance);
        let places = moved.places.entry(service).or_default();
        places.insert(instance, place(*ready));
    }
    moved
}

#[test]
fn only_what_changes_is_told() {
    let mut places = Places::default();
    let put = places.put(moved(&[("bank/account/a", true), ("bank/ledger/b", true)]));
    assert_eq!((put.changed.len(), put.gone.len()), (2, 0));
    let put = places.put(moved(&[("bank/account/a", true), ("bank/ledger/b", true)]));
    assert_eq!(put, Put::default());
    let put = places.put(moved(&[("bank/account/a", false), ("bank/ledger/b", true)]));
    assert_eq!(
        put.changed
            .into_iter()
            .map(|one| one.to_string())
            .collect::<Vec<_>>(),
        ["bank/account"]
    );
    let put = places.put(moved(&[("bank/account/a", false)]));
    assert_eq!(put.gone, [name("bank/ledger/b")]);
    assert!(places.of(&name("bank/ledger/b").service).is_none());
    // Of another namespace nothing is said.
    let other = Moved {
        namespaces: ["shop".parse().expect("valid")].into(),
        ..Moved::default()
    };
    assert_eq!(places.put(other), Put::default());
    assert!(places.of(&name("bank/account/a").service).is_some());
}

#[test]
fn an_account_that_becomes_pods_alone_changes_the_services_of_its_namespace() {
    let mut places = Places::default();
    places.put(moved(&[("bank/account/a", true)]));
    let mut with_account = moved(&[("bank/account/a", true)]);
    let account = (
        "bank".parse().expect("valid"),
        "account".parse().expect("valid"),
    );
    with_account.accounts.insert(account);
    assert_eq!(places.put(with_account).changed.len(), 1);
    let identity = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert!(places.is_of_pods(&identity));
}

#[test]
fn a_goodbye_lasts_until_its_sidecar_comes_back_or_its_place_goes() {
    let mut places = Places::default();
    let instance = name("bank/account/a");
    places.left(&instance);
    assert!(
        !places.has_left(&instance),
        "nobody is there: nothing is kept"
    );
    places.put(moved(&[("bank/account/a", true)]));
    places.left(&instance);
    assert!(places.has_left(&instance));
    places.put(moved(&[("bank/account/a", false)]));
    assert!(
        places.has_left(&instance),
        "what the cluster says of it is old"
    );
    places.came(&instance);
    assert!(!places.has_left(&instance));
    places.left(&instance);
    places.put(moved(&[]));
    assert!(!places.has_left(&instance));
}

#[test]
fn the_next_pod_of_a_name_does_not_leave_because_its_predecessor_has_to() {
    let mut places = Places::default();
    let old = "10.0.0.1".parse().expect("valid");
    let new = "10.0.0.2".parse().expect("valid");
    let pod: Name = "account-0".parse().expect("valid");
    let mut ending = moved(&[]);
    let namespace = "bank".parse().expect("valid");
    let pods = [(pod.clone(), old)].into();
    ending.ending.insert(namespace, pods);
    places.put(ending);
    let identity = "spiffe://usher.local/ns/bank/sa/account"
        .parse()
        .expect("valid");
    assert!(places.ends(&identity, (&pod, old)));
    assert!(!places.ends(&identity, (&pod, new)));
}
