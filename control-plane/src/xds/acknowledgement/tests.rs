//! A batch is applied when its closing is acknowledged and nothing in it was refused.

use super::*;

fn parts() -> Vec<(Topic, Vec<String>)> {
    vec![
        (Topic::Service, vec!["bank/a".into()]),
        (Topic::Endpoint, vec!["bank/a/1".into()]),
    ]
}

fn closing(generation: u64) -> Closing {
    Closing {
        generation,
        revision: 7,
    }
}

#[test]
fn a_batch_is_applied_with_its_closing() {
    let mut flight = Acknowledgements::default();
    let nonces = flight.sent(parts(), closing(3));
    assert_eq!(flight.accepted(&nonces.part(0)), Answer::Received);
    assert_eq!(
        flight.accepted(&nonces.closing()),
        Answer::Applied(closing(3))
    );
    assert!(flight.is_empty());
    assert_eq!(flight.accepted(&nonces.closing()), Answer::Stale);
}

#[test]
fn a_batch_with_a_refused_part_is_not_applied() {
    let mut flight = Acknowledgements::default();
    let nonces = flight.sent(parts(), closing(3));
    let [service, endpoint]: [_; 2] = parts().try_into().expect("two");
    let refused = Answer::Refused {
        revision: 7,
        culprits: vec![service],
        others: vec![endpoint],
    };
    assert_eq!(flight.refused(&nonces.part(0)), refused);
    assert_eq!(flight.accepted(&nonces.closing()), Answer::Received);
    assert!(flight.is_empty());
}

#[test]
fn refusing_the_closing_refuses_everything() {
    let mut flight = Acknowledgements::default();
    let nonces = flight.sent(parts(), closing(3));
    let refused = Answer::Refused {
        revision: 7,
        culprits: parts(),
        others: vec![],
    };
    assert_eq!(flight.refused(&nonces.closing()), refused);
    assert!(flight.is_empty());
}

#[test]
fn batches_in_flight_are_bounded_and_answers_to_nothing_are_stale() {
    let mut flight = Acknowledgements::default();
    let mut newest = None;
    while flight.has_room() {
        newest = Some(flight.sent(parts(), closing(1)));
    }
    for nonsense in ["", "x", "0", "0.x", "99.0", "99.end", "-1.end"] {
        assert_eq!(flight.accepted(nonsense), Answer::Stale, "{nonsense:?}");
    }
    let newest = newest.expect("sent").closing();
    assert_eq!(flight.accepted(&newest), Answer::Applied(closing(1)));
    assert!(
        flight.is_empty(),
        "an answer to the newest answers the older ones"
    );
}
