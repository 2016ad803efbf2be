//! The shell on real sockets: what does not fit a datagram comes over TCP, and nobody holds a connection for nothing.

use std::{path::Path, sync::Arc};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name as DnsName, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::watch,
};
use usher_config::parse::parse_files;

use super::super::{Dns, Source};
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

/// A mesh whose one service has 120 instances, and where its names are answered while the sender lives.
async fn mesh() -> (std::net::SocketAddr, watch::Sender<bool>) {
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
        };
        let name = format!("bank/account/i{number}").parse().expect("valid");
        state.register(&name, instance).expect("room");
    }
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
