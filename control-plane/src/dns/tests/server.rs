//! The shell on real sockets: what does not fit a datagram comes over TCP, nobody holds a connection for nothing, or all of
//! them, and strangers are told nothing.

use std::{net::IpAddr, path::Path, sync::Arc};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name as DnsName, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::watch,
};
use usher_config::parse::parse_files;

use super::super::{
    Dns, Forwarder, Resolvers, Source,
    message::write,
    server::{CONNECTIONS, Next, Zone},
};
use crate::{
    registry::{MemoryStore, instances::Instance},
    state::State,
    telemetry::metrics::Metrics,
};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: { name: account, namespace: bank }
spec: { selector: { app: account }, ports: [{ name: http, port: 80 }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: account, namespace: bank, labels: { app: account } }
spec: { serviceAccount: account }
";

/// A mesh whose one service has 120 instances.
async fn many_instances() -> State {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    state.apply(parsed, Path::new("")).await.expect("good");
    for number in 0_u16..120 {
        let instance = Instance {
            address: ([10, 0, 0, 1], 1000 + number).into(),
            address_is_own: false,
            healthy: true,
            health_reason: String::new(),
            zone: String::new(),
            identity: "spiffe://usher.local/ns/bank/sa/account"
                .parse()
                .expect("valid"),
            revision: 0,
            callers: Default::default(),
        };
        let name = format!("bank/account/i{number}").parse().expect("valid");
        state.register(&name, instance).expect("room");
    }
    let mut snapshots = state.snapshots();
    let all_told = snapshots.wait_for(|snapshot| {
        let set = snapshot.endpoints.get("bank/account");
        set.is_some_and(|set| set.len() == 120)
    });
    drop(all_told.await.expect("published"));
    state
}

/// That mesh, and where its names are answered while the sender lives.
async fn mesh() -> (std::net::SocketAddr, watch::Sender<bool>) {
    let state = many_instances().await;
    let any = "127.0.0.1:0".parse().expect("valid");
    let dns = Dns::bind(any, &Source::Nobody).await.expect("free");
    let address = dns.address();
    let metrics = Metrics::new().expect("unique names");
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(dns.serve(state, Arc::clone(&metrics.dns), stopping));
    (address, stop)
}

fn question() -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = DnsName::from_ascii("_http._tcp.account.bank.mesh.").expect("valid");
    message.add_query(Query::query(name, RecordType::SRV));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    message.to_vec().expect("valid")
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_comes_over_tcp() {
    let (address, _stop) = mesh().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("free");
    socket.send_to(&question(), address).await.expect("sent");
    let mut buffer = [0; 4096];
    let (length, _) = socket.recv_from(&mut buffer).await.expect("answered");
    assert!(length <= 1232, "{length}");
    let cut = Message::from_vec(&buffer[..length]).expect("valid");
    assert!(cut.metadata.truncation && cut.answers.is_empty());

    let mut stream = TcpStream::connect(address).await.expect("answers");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let question = question();
        let length = u16::try_from(question.len()).expect("short");
        stream.write_u16(length).await.expect("sent");
        stream.write_all(&question).await.expect("sent");
        let length = stream.read_u16().await.expect("answered");
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.expect("whole");
        let answer = Message::from_vec(&answer).expect("valid");
        assert_eq!(answer.answers.len(), 100, "as many as one answer has");
        seen.extend(answer.answers.iter().map(ToString::to_string));
    }
    assert_eq!(seen.len(), 120, "in turns, all of them");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let (address, _stop) = mesh().await;
    let began = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(address).await.expect("answers");
    // Half a length, and then nothing.
    silent.write_all(&[0]).await.expect("sent");
    assert_eq!(silent.read(&mut [0; 1]).await.expect("closed"), 0);
    assert!(began.elapsed() >= std::time::Duration::from_secs(10));
}

/// What is told to who asks a zone with that mesh and one resolver from there, over UDP.
fn said(zone: &Zone, from: &str) -> Option<(ResponseCode, usize)> {
    match zone.next(&question(), from.parse().expect("valid")) {
        Next::Say(message, most) => {
            let bytes = write(&message, most).expect("fits");
            Some((message.metadata.response_code, bytes.len()))
        }
        Next::Nothing | Next::Ask(..) => None,
    }
}

#[tokio::test]
async fn strangers_learn_nothing_and_get_no_more_bytes_than_they_sent() {
    let source = Source::Named(vec!["127.0.0.1:1".parse().expect("valid")]);
    let own = "127.0.0.1:15053".parse().expect("valid");
    let forwarder = Arc::new(Forwarder::new(Resolvers::new(&source, own)));
    let metrics = Metrics::new().expect("unique names");
    let zone = Zone::new(many_instances().await, forwarder, Arc::clone(&metrics.dns));
    for stranger in ["192.0.2.1", "2001:db8::1", "::ffff:198.51.100.7"] {
        let (code, length) = said(&zone, stranger).expect("an answer");
        assert_eq!(code, ResponseCode::Refused, "{stranger}");
        assert!(length <= question().len(), "{length} to {stranger}");
        let from: IpAddr = stranger.parse().expect("valid");
        assert!(zone.admit(from).is_none(), "a connection from {stranger}");
    }
    for near in ["127.0.0.1", "10.0.0.1", "fd00::1"] {
        let (code, _) = said(&zone, near).expect("an answer");
        assert_eq!(code, ResponseCode::NoError, "{near}");
        assert!(zone.admit(near.parse().expect("valid")).is_some(), "{near}");
    }
}

#[tokio::test]
async fn no_machine_has_all_connections() {
    let (address, _stop) = mesh().await;
    let mut open = Vec::new();
    let here = CONNECTIONS.all - CONNECTIONS.reserve;
    for _ in 0..here {
        let mut stream = TcpStream::connect(address).await.expect("answers");
        // It is served, and not only in the kernel's queue.
        assert!(asked(&mut stream).await.is_ok());
        open.push(stream);
    }
    let mut more = TcpStream::connect(address)
        .await
        .expect("the kernel takes it");
    assert!(asked(&mut more).await.is_err(), "closed at once");
    open.clear();
    while asked(&mut more).await.is_err() {
        more = TcpStream::connect(address).await.expect("answers");
    }
}

/// Whether a question is answered.
async fn asked(stream: &mut TcpStream) -> std::io::Result<()> {
    let question = question();
    let length = u16::try_from(question.len()).expect("short");
    stream.write_u16(length).await?;
    stream.write_all(&question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map(drop)
}

#[tokio::test]
async fn one_machine_has_a_share_of_connections_and_of_questions_to_others() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("free");
    let source = Source::Named(vec![silent.local_addr().expect("bound")]);
    let own = "127.0.0.1:15053".parse().expect("valid");
    let forwarder = Arc::new(Forwarder::new(Resolvers::new(&source, own)));
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let metrics = Metrics::new().expect("unique names");
    let zone = Zone::new(state, forwarder, Arc::clone(&metrics.dns));
    let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let open: Vec<_> = (0..100).filter_map(|_| zone.admit(one)).collect();
    assert_eq!(open.len(), CONNECTIONS.each);
    assert!(zone.admit(other).is_some());
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = DnsName::from_ascii("www.example.").expect("valid");
    message.add_query(Query::query(name, RecordType::A));
    let question = message.to_vec().expect("valid");
    let ask = |from| match zone.next(&question, from) {
        Next::Ask(_, _, waiting) => Some(waiting),
        Next::Nothing | Next::Say(..) => None,
    };
    let waiting: Vec<_> = (0..100).filter_map(|_| ask(one)).collect();
    assert_eq!(waiting.len(), 64);
    assert!(ask(other).is_some());
    drop(waiting);
    assert!(ask(one).is_some(), "there is room again");
}

#[tokio::test]
async fn names_of_addresses_of_the_mesh_are_told_and_others_may_know_the_rest() {
    let state = State::new(Box::new(MemoryStore::default())).expect("empty");
    let parsed = parse_files(&[("mesh.yaml".into(), MESH.to_owned())]);
    state.apply(parsed, Path::new("")).await.expect("good");
    let mut snapshots = state.snapshots();
    let told = snapshots.wait_for(|snapshot| !snapshot.configured.virtual_addresses.is_empty());
    drop(told.await.expect("published"));
    let addresses = state.services()[0].virtual_addresses.clone();
    let IpAddr::V4(address) = addresses[0] else {
        panic!("{addresses:?}")
    };
    let [a, b, c, d] = address.octets();
    let ours = format!("{d}.{c}.{b}.{a}.in-addr.arpa.");
    let source = Source::Named(vec!["127.0.0.1:1".parse().expect("valid")]);
    let own = "127.0.0.1:15053".parse().expect("valid");
    let forwarder = Arc::new(Forwarder::new(Resolvers::new(&source, own)));
    let metrics = Metrics::new().expect("unique names");
    let zone = Zone::new(state, forwarder, Arc::clone(&metrics.dns));
    let next = |name: &str, record_type| {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let name = DnsName::from_ascii(name).expect("valid");
        message.add_query(Query::query(name, record_type));
        let question = message.to_vec().expect("valid");
        zone.next(&question, [10, 0, 0, 1].into())
    };
    let Next::Say(answer, _) = next(&ours, RecordType::PTR) else {
        panic!("not answered")
    };
    assert!(answer.metadata.authoritative);
    let said = answer.answers[0].to_string();
    assert!(said.ends_with("PTR account.bank.mesh."), "{said}");
    // Of its own block the mesh knows all that there is to know, and says so itself.
    let free = (1..255).find(|other| *other != d).expect("one of two");
    let free = format!("{free}.{c}.{b}.{a}.in-addr.arpa.");
    for (name, record_type, code) in [
        (&free, RecordType::PTR, ResponseCode::NXDomain),
        (&free, RecordType::A, ResponseCode::NXDomain),
        (&ours, RecordType::TXT, ResponseCode::NoError),
    ] {
        let Next::Say(answer, _) = next(name, record_type) else {
            panic!("{name} {record_type}: others are asked");
        };
        assert!(answer.metadata.authoritative && answer.answers.is_empty());
        assert_eq!(answer.metadata.response_code, code, "{name} {record_type}");
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    }
    for (name, record_type) in [
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR),
        ("1.0.0.127.in-addr.arpa.", RecordType::PTR),
    ] {
        let next = next(name, record_type);
        assert!(matches!(next, Next::Ask(..)), "{name} {record_type}");
    }
}
