//! What is read is what was sent, wherever the network cuts it; a line says it to a person.

use proptest::prelude::*;

use super::{
    events::{Event, Events},
    line, path,
};
use crate::{
    status::{Change, ChangeReport, EndpointReport},
    watch::Filter,
};

fn change(healthy: bool) -> ChangeReport {
    ChangeReport {
        change: Change::Changed,
        namespace: "bank".to_owned(),
        service: "account".to_owned(),
        ports: vec![],
        virtual_addresses: vec![],
        instance: Some(EndpointReport {
            instance: "a-1".to_owned(),
            address: "10.0.0.1:15006".parse().expect("valid"),
            healthy,
            health_reason: "503".to_owned(),
            zone: "west".to_owned(),
            revision: 3,
            listed: false,
        }),
    }
}

fn sent() -> (String, Vec<Event>) {
    let data = serde_json::to_string(&change(false)).expect("plain data");
    let text = format!(
        "event: change\ndata: {data}\n\n: alive\n\nevent: synced\ndata: {{}}\n\nevent: new\ndata: x\n\n\
         event: ended\r\ndata: {{\"reason\":\"the control plane stops\"}}\r\n\r\n"
    );
    let ended = Event::Ended("the control plane stops".to_owned());
    (
        text,
        vec![Event::Change(Box::new(change(false))), Event::Synced, ended],
    )
}

proptest! {
    #[test]
    fn events_are_read_wherever_they_are_cut(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let (text, expected) = sent();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let mut events = Events::default();
        let mut read = Vec::new();
        for pair in at.windows(2) {
            read.extend(events.take(&text.as_bytes()[pair[0]..pair[1]]).expect("events"));
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_are_events_or_a_mistake(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Events::default().take(&bytes);
    }
}

#[test]
fn what_never_ends_is_no_event() {
    let mut events = Events::default();
    assert!(events.take(b"data: ").expect("the beginning").is_empty());
    assert!(events.take(&vec![b'x'; 1 << 21]).is_err());
}

#[test]
fn a_line_says_when_what_and_how_it_is() {
    let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
    assert_eq!(
        plain(&line(&change(false), true, "now")),
        "now  changed  bank/account/a-1  10.0.0.1:15006  unhealthy: 503  zone west"
    );
    let service = ChangeReport {
        change: Change::Added,
        ports: vec![80, 81],
        virtual_addresses: vec!["240.240.0.1".parse().expect("valid")],
        instance: None,
        ..change(true)
    };
    assert_eq!(
        plain(&line(&service, false, "now")),
        "now  there    bank/account  240.240.0.1 :80 :81"
    );
}

#[test]
fn a_filter_is_written_so_that_it_is_read_as_meant() {
    let filter = Filter {
        namespace: Some("bank".to_owned()),
        service: None,
        zone: Some("a&b=c d".to_owned()),
        healthy: Some(false),
    };
    assert_eq!(
        path(&filter),
        "/v1/watch?namespace=bank&zone=a%26b%3Dc%20d&healthy=false"
    );
    assert_eq!(path(&Filter::default()), "/v1/watch?");
}
