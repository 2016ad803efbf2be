//! What a failed attempt leaves behind for the next one, and what it says about whether there should be one.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use bytes::Bytes;
use usher_config::model::{Algorithm, TrafficPolicy};

use crate::telemetry::metrics::Direction;

use super::{
    application::Answer,
    harness::{self, Mesh},
};

#[test]
fn an_upload_that_was_refused_early_is_sent_whole_to_the_next() {
    let mesh = Mesh::start(TrafficPolicy::default());
    mesh.answer(Answer::BusyAtOnce);
    let body = vec![b'x'; 256 * 1024];
    let (first, rest) = body.split_at(1024);
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: account.bank\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut caller = mesh.connect(Direction::Outbound);
    caller.write_all(head.as_bytes()).unwrap();
    caller.write_all(first).unwrap();
    // The caller's sidecar has heard it: such a failure costs its endpoint more than any answer takes.
    let heard = || mesh.expected() > Duration::from_secs(1);
    harness::eventually(|| mesh.seen().len() == 1 && mesh.active().1 == 0 && heard());
    mesh.answer(Answer::Echo);
    // More than is kept for a repeat, and there before the second attempt.
    caller.write_all(rest).unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{:.200}", answer);
    assert_eq!(mesh.seen().last().unwrap().1.len(), body.len());
}

#[test]
fn an_endpoint_pays_for_no_time_that_was_lost_at_another() {
    // It takes connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut policy = TrafficPolicy::default();
    policy.load_balancer.algorithm = Algorithm::RoundRobin;
    policy.timeouts.connect = Duration::from_millis(500);
    let mesh = Mesh::start(policy.clone());
    mesh.answer(Answer::Grpc { code: 0 });
    mesh.grpc("account.bank", Bytes::new());
    mesh.beside(mute.local_addr().unwrap(), policy);
    // One of two turns is lost.
    for _ in 0..2 {
        let (_, _, trailers) = mesh.grpc("account.bank", Bytes::new());
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    }
    let expected = mesh.expected();
    assert!(expected < Duration::from_millis(500), "{expected:?}");
}

#[test]
fn a_pushback_in_trailers_is_heard() {
    let mut policy = TrafficPolicy::default();
    policy.retry.grpc_statuses = vec![14];
    policy.retry.idempotent_methods = vec!["bank.Account/Debit".into()];
    let mesh = Mesh::start(policy);
    mesh.answer(Answer::GrpcPushback);
    let (_, _, trailers) = mesh.grpc("account.bank", Bytes::from_static(b"ping"));
    assert_eq!(trailers.unwrap().get("grpc-status").unwrap(), "14");
    assert_eq!(mesh.seen().len(), 1);
}
