//! Where the roots have to be written, for all that may be known of a cluster.

use kube::api::ObjectMeta;

use super::*;

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

fn map(namespace: &str, roots: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), roots.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn names(known: &Known) -> Vec<String> {
    known.lacking("roots").into_iter().collect()
}

fn listed() -> Known {
    let mut known = Known::default();
    known.namespace(Event::Init);
    for name in ["bank", "shop", "kube-system"] {
        known.namespace(Event::InitApply(namespace(name)));
    }
    known.namespace(Event::InitDone);
    assert_eq!(names(&known), [""; 0], "the other list is not read yet");
    known.map(Event::Init);
    known.map(Event::InitApply(map("shop", "roots")));
    known.map(Event::InitDone);
    known
}

#[test]
fn every_namespace_gets_them_but_those_that_run_the_cluster() {
    let mut known = listed();
    assert_eq!(names(&known), ["bank"]);
    known.map(Event::Apply(map("bank", "roots")));
    assert_eq!(names(&known), [""; 0]);
    assert_eq!(known.lacking("newer roots").len(), 2);
}

#[test]
fn what_is_changed_or_deleted_is_written_again_and_what_ends_is_left_alone() {
    let mut known = listed();
    known.map(Event::Apply(map("bank", "somebody else's")));
    known.map(Event::Delete(map("shop", "roots")));
    assert_eq!(names(&known), ["bank", "shop"]);
    let ending = json!({"metadata": {"name": "bank", "deletionTimestamp": "2026-11-30T00:00:00Z"}});
    let ending = serde_json::from_value(ending).expect("a namespace");
    known.namespace(Event::Apply(ending));
    known.namespace(Event::Delete(namespace("shop")));
    assert_eq!(names(&known), [""; 0]);
}

#[test]
fn a_list_that_is_read_anew_counts_when_it_is_whole() {
    let mut known = listed();
    known.map(Event::Apply(map("bank", "roots")));
    known.map(Event::Init);
    assert_eq!(names(&known), [""; 0], "what is known still holds");
    known.map(Event::InitApply(map("bank", "roots")));
    known.map(Event::InitDone);
    assert_eq!(names(&known), ["shop"], "it went while nobody listened");
}
