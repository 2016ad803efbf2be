//! Others' names: who is believed, who is asked, and that nobody is asked for ever.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name as DnsName, RData, Record, RecordType, rdata::A},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use super::super::{
    Forwarder, Request, Resolvers, Source,
    forward::{FORWARDED, Unforwarded, is_near, relayed},
    is_own,
    message::read,
    resolvers::nameservers,
};
use crate::shares::Asker;

fn own() -> SocketAddr {
    "127.0.0.1:15053".parse().expect("valid")
}

fn forwarder(resolvers: &[SocketAddr]) -> Arc<Forwarder> {
    let source = Source::Named(resolvers.to_vec());
    Arc::new(Forwarder::new(Resolvers::new(&source, own())))
}

fn request(name: &str) -> Request {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = DnsName::from_ascii(name).expect("valid");
    message.add_query(Query::query(name, RecordType::A));
    read(&message.to_vec().expect("valid")).expect("a question")
}

fn answering(question: &Message, last: u8) -> Message {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.add_query(question.queries[0].clone());
    let name = question.queries[0].name().clone();
    answer.add_answer(Record::from_rdata(
        name,
        60,
        RData::A(A::new(192, 0, 2, last)),
    ));
    answer
}

/// A resolver on loopback that answers each question with these messages.
async fn resolver(
    answers: impl Fn(&Message, usize) -> Vec<Message> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("free");
    let address = socket.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).expect("valid");
            let number = count.fetch_add(1, Ordering::SeqCst);
            for answer in answers(&question, number) {
                let bytes = answer.to_vec().expect("valid");
                socket.send_to(&bytes, from).await.expect("sent");
            }
        }
    });
    (address, asked)
}

fn last_octet(message: &Message) -> u8 {
    match &message.answers[0].data {
        RData::A(at) => at.0.octets()[3],
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn only_the_answer_to_the_question_is_taken() {
    let (address, _) = resolver(|question, _| {
        let mut other_id = answering(question, 1);
        other_id.metadata.id = other_id.metadata.id.wrapping_add(1);
        let mut other_question = answering(question, 2);
        let other = DnsName::from_ascii("evil.example.").expect("valid");
        other_question.queries[0].set_name(other);
        let mut no_answer = answering(question, 3);
        no_answer.metadata.message_type = MessageType::Query;
        vec![other_id, other_question, no_answer, answering(question, 4)]
    })
    .await;
    let request = request("www.example.");
    let theirs = forwarder(&[address])
        .ask(&request, false, &Asker::Here)
        .await
        .expect("answered");
    assert_eq!(last_octet(&theirs), 4);
    let ours = relayed(&request, &theirs);
    assert_eq!(ours.metadata.id, 1, "the asker's, not the resolver's");
    assert!(ours.metadata.recursion_available && !ours.metadata.authoritative);
    assert!(ours.edns.is_none(), "who does not speak EDNS gets none");
}

#[tokio::test]
async fn an_id_is_never_the_askers_and_never_the_same() {
    let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let (address, _) = resolver(move |question, _| {
        seen.lock().expect("whole").push(question.metadata.id);
        vec![answering(question, 1)]
    })
    .await;
    let forwarder = forwarder(&[address]);
    for name in ["a.example.", "b.example.", "c.example.", "d.example."] {
        forwarder
            .ask(&request(name), false, &Asker::Here)
            .await
            .expect("answered");
    }
    let mut ids = ids.lock().expect("whole").clone();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() >= 3, "{ids:?}");
}

#[tokio::test]
async fn one_question_is_under_way_once() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (address, asked) = resolver(move |question, _| {
        held.recv_timeout(std::time::Duration::from_millis(200))
            .ok();
        vec![answering(question, 1)]
    })
    .await;
    let (forwarder, question) = (forwarder(&[address]), request("www.example."));
    let (one, two, three) = tokio::join!(
        forwarder.ask(&question, false, &Asker::Here),
        forwarder.ask(&question, false, &Asker::Here),
        forwarder.ask(&question, false, &Asker::Here),
    );
    drop(release);
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    forwarder
        .ask(&question, false, &Asker::Here)
        .await
        .expect("answered");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "nothing is kept");
}

#[tokio::test]
async fn a_resolver_in_trouble_is_not_the_last_word() {
    let (ill, _) = resolver(|question, _| {
        let mut answer = answering(question, 1);
        answer.answers.clear();
        answer.metadata.response_code = ResponseCode::ServFail;
        vec![answer]
    })
    .await;
    let (well, _) = resolver(|question, _| vec![answering(question, 2)]).await;
    let theirs = forwarder(&[ill, well])
        .ask(&request("www.example."), false, &Asker::Here)
        .await;
    assert_eq!(last_octet(&theirs.expect("answered")), 2);
    let nobody = forwarder(&[])
        .ask(&request("www.example."), false, &Asker::Here)
        .await;
    assert_eq!(nobody, Err(Unforwarded::Nobody));
}

#[tokio::test]
async fn who_comes_over_tcp_gets_what_only_tcp_carries() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("asked");
        let length = stream.read_u16().await.expect("a length");
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.expect("a question");
        let question = Message::from_vec(&bytes).expect("valid");
        let mut answer = answering(&question, 1);
        for last in 0..200 {
            answer.add_answer(answering(&question, last).answers.remove(0));
        }
        let bytes = answer.to_vec().expect("valid");
        let length = u16::try_from(bytes.len()).expect("fits");
        stream.write_u16(length).await.expect("sent");
        stream.write_all(&bytes).await.expect("sent");
    });
    let theirs = forwarder(&[address])
        .ask(&request("www.example."), true, &Asker::Here)
        .await;
    assert_eq!(theirs.expect("answered").answers.len(), 201);
}

#[tokio::test(start_paused = true)]
async fn silence_and_a_resolver_that_asks_us_end() {
    // It asks us the same instead of answering: that waits for the first, and both end.
    let (address, asked) = resolver(|_, _| Vec::new()).await;
    let forwarder = forwarder(&[address]);
    let question = request("www.example.");
    let (first, second) = tokio::join!(
        forwarder.ask(&question, false, &Asker::Here),
        forwarder.ask(&question, false, &Asker::Here)
    );
    assert_eq!(
        (first, second),
        (Err(Unforwarded::Silence), Err(Unforwarded::Silence))
    );
    assert!(
        asked.load(Ordering::SeqCst) <= 2,
        "two attempts, not two for each"
    );
}

#[tokio::test(start_paused = true)]
async fn so_many_are_under_way_and_no_more_for_one_machine_or_for_all() {
    let (address, _) = resolver(|_, _| Vec::new()).await;
    let forwarder = forwarder(&[address]);
    let ask = async |number: usize, asker: &Asker| {
        let question = request(&format!("n{number}.example."));
        forwarder.ask(&question, false, asker).await
    };
    let at = |last: u8| Asker::at([10, 0, 0, last].into());
    // Four machines that ask too much, in turns, and then those here.
    let mut askers: Vec<Asker> = (0_u8..4).flat_map(|last| vec![at(last); 65]).collect();
    askers.extend(vec![Asker::Here; 65]);
    let all = askers.iter().enumerate();
    let all = futures_util::future::join_all(all.map(|(number, asker)| ask(number, asker))).await;
    let served = |asker: &Asker| {
        let theirs = askers.iter().zip(&all).filter(|(one, _)| *one == asker);
        theirs
            .filter(|(_, said)| **said == Err(Unforwarded::Silence))
            .count()
    };
    assert_eq!([0, 1, 2, 3].map(|last| served(&at(last))), [64, 64, 64, 0]);
    assert_eq!(
        served(&Asker::Here),
        64,
        "what the network leaves to this machine"
    );
    let busy = |answer: &&Result<_, _>| matches!(answer, Err(Unforwarded::Busy));
    assert_eq!(
        all.iter().filter(busy).count(),
        askers.len() - FORWARDED.all
    );
    // All others have given up: there is room again.
    assert_eq!(ask(0, &at(3)).await, Err(Unforwarded::Silence));
}

#[test]
fn the_machines_resolvers_are_the_first_three() {
    let text = "# nameserver 192.0.2.1\nsearch example.com\nnameserver 192.0.2.2\n nameserver\t::1 # local\n\
                nameserver fe80::1%eth0\nnameserver 192.0.2.2\nnameserver nonsense\nnameserver\n\
                nameserver 192.0.2.3\nnameserver 192.0.2.4\n";
    let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["192.0.2.2", "::1", "192.0.2.3"]);
}

#[test]
fn nobody_asks_itself() {
    let at = |text: &str| -> SocketAddr { text.parse().expect("valid") };
    assert!(is_own(at("127.0.0.1:53"), at("127.0.0.1:53")));
    assert!(!is_own(at("127.0.0.1:53"), at("127.0.0.1:15053")));
    assert!(!is_own(at("127.0.0.53:53"), at("127.0.0.1:53")));
    assert!(
        is_own(at("127.0.0.53:53"), at("0.0.0.0:53")),
        "any address of this machine"
    );
}

#[test]
fn strangers_are_not_looked_things_up_for() {
    let near = [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ];
    for address in near {
        assert!(
            is_near(address.parse::<IpAddr>().expect("valid")),
            "{address}"
        );
    }
    for address in [
        "192.0.2.1",
        "100.128.0.1",
        "8.8.8.8",
        "2001:db8::1",
        "::ffff:192.0.2.1",
    ] {
        assert!(
            !is_near(address.parse::<IpAddr>().expect("valid")),
            "{address}"
        );
    }
}
