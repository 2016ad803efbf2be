//! Bytes from strangers: understood, refused or left alone, and never answered with more than they can have asked for.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name as DnsName, RData, Record, RecordType, rdata::A},
};
use proptest::prelude::*;

use super::super::{
    Malformed, Request,
    message::{DATAGRAM_MAX, read, write},
};

fn question(record_type: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = DnsName::from_ascii("account.bank.mesh.").expect("valid");
    message.add_query(Query::query(name, record_type));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("can be written")
}

fn understood(message: &Message) -> Request {
    read(&bytes(message)).expect("a question")
}

/// The code of what is said to it.
fn refused(message: &Message) -> (ResponseCode, Message) {
    match read(&bytes(message)) {
        Err(Malformed::Answered(answer)) => (answer.metadata.response_code, *answer),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_is_answered_under_its_id_with_its_own_words() {
    let request = understood(&question(RecordType::A));
    let answer = request.response(ResponseCode::NoError);
    let read = Message::from_vec(&bytes(&answer)).expect("valid");
    assert_eq!(read.metadata.id, 4711);
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert!(read.metadata.recursion_desired && read.edns.is_none());
    assert_eq!(read.queries, question(RecordType::A).queries);
}

#[test]
fn what_is_no_question_is_left_alone_or_told_why() {
    let mut answer = question(RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    assert_eq!(read(&bytes(&answer)), Err(Malformed::Unanswered));
    assert_eq!(read(&[0; 11]), Err(Malformed::Unanswered));
    let mut none = question(RecordType::A);
    none.queries.clear();
    assert_eq!(refused(&none).0, ResponseCode::FormErr);
    let mut two = question(RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(refused(&two).0, ResponseCode::FormErr);
    let mut update = question(RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(refused(&update).0, ResponseCode::NotImp);
    let mut broken = bytes(&question(RecordType::A));
    broken.truncate(20);
    match read(&broken) {
        Err(Malformed::Answered(said)) => {
            assert_eq!(said.metadata.response_code, ResponseCode::FormErr);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_at_once_and_other_classes_are_refused() {
    for record_type in [RecordType::ANY, RecordType::AXFR, RecordType::IXFR] {
        let (code, answer) = refused(&question(record_type));
        assert_eq!(code, ResponseCode::Refused, "{record_type}");
        assert_eq!(answer.answers.len(), 0);
    }
    let mut chaos = question(RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(refused(&chaos).0, ResponseCode::Refused);
}

#[test]
fn what_an_asker_takes_is_believed_within_bounds() {
    assert_eq!(understood(&question(RecordType::A)).datagram_max(), 512);
    for (said, taken) in [(0, 512), (800, 800), (1232, 1232), (65_535, DATAGRAM_MAX)] {
        let mut with_edns = question(RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(said);
        edns.set_dnssec_ok(said == 1232);
        with_edns.set_edns(edns);
        let request = understood(&with_edns);
        assert_eq!(request.datagram_max(), taken);
        let answer = request.response(ResponseCode::NoError);
        assert_eq!(
            answer.max_payload(),
            DATAGRAM_MAX,
            "EDNS is answered with EDNS"
        );
        let wanted = answer.edns.is_some_and(|edns| edns.flags().dnssec_ok);
        assert_eq!(wanted, said == 1232);
    }
    let mut newer = question(RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    let (code, answer) = refused(&newer);
    assert_eq!(code, ResponseCode::BADVERS);
    let read = Message::from_vec(&bytes(&answer)).expect("valid");
    // Of the two names of 16, hickory reads the other one.
    assert_eq!(u16::from(read.metadata.response_code), 16);
}

#[test]
fn what_does_not_fit_is_only_the_word_to_come_by_tcp() {
    let request = understood(&question(RecordType::A));
    let mut long = request.response(ResponseCode::NoError);
    for last in 0..100 {
        let at = RData::A(A::new(10, 0, 0, last));
        long.add_answer(Record::from_rdata(request.query.name().clone(), 5, at));
    }
    let cut = write(&long, request.datagram_max()).expect("fits");
    assert!(cut.len() <= 512);
    let cut = Message::from_vec(&cut).expect("valid");
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(cut.queries, long.queries);
    let whole = Message::from_vec(&write(&long, u16::MAX).expect("fits")).expect("valid");
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 100);
}

/// A question with some of its bytes changed, or anything at all.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = proptest::collection::vec(any::<u8>(), 0..600);
    let mutated = (
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<bool>(),
        0_usize..80,
    );
    let mutated = mutated.prop_map(|(changes, with_edns, more)| {
        let mut message = question(RecordType::SRV);
        if with_edns {
            message.set_edns(Edns::new());
        }
        let mut bytes = bytes(&message);
        bytes.extend(std::iter::repeat_n(0xc0, more));
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes
    });
    prop_oneof![any_bytes, mutated]
}

proptest! {
    /// No bytes make it panic, and whoever forges a sender's address gains nothing: what is said to what is no question
    /// is as short as that was, but for the 11 bytes that EDNS takes.
    #[test]
    fn any_bytes_are_understood_or_refused(bytes in messages()) {
        match read(&bytes) {
            Err(Malformed::Unanswered) => {}
            Err(Malformed::Answered(answer)) => {
                let said = write(&answer, 512).expect("short");
                prop_assert!(said.len() <= bytes.len() + 11, "{} for {}", said.len(), bytes.len());
                let read = Message::from_vec(&said).expect("valid");
                prop_assert_eq!(&read.metadata.id.to_be_bytes()[..], &bytes[..2]);
            }
            Ok(request) => {
                let answer = request.response(ResponseCode::NXDomain);
                let said = write(&answer, request.datagram_max()).expect("short");
                let read = Message::from_vec(&said).expect("valid");
                prop_assert_eq!(&read.queries[0], &request.query);
            }
        }
    }
}
