//! Batches are cut where they grow large.

use super::*;

#[test]
fn a_large_part_is_cut_into_messages_that_receivers_take() {
    let body = bytes::Bytes::from(vec![0; 300_000]);
    let resource = crate::snapshot::Resource {
        version: "v".into(),
        body,
    };
    let resources = (0..10)
        .map(|number| (format!("bank/s{number}"), resource.clone()))
        .collect();
    let part = Part {
        topic: Topic::Service,
        resources,
        aliases: std::collections::BTreeMap::new(),
        removed: vec!["bank/gone".into()],
    };
    let cut = responses(part);
    assert_eq!(cut.len(), 4);
    let names: usize = cut.iter().map(|(_, response)| names(response).len()).sum();
    assert_eq!(names, 11);
}
