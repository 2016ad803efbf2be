//! Bytes ↔ questions and answers. Pure; every byte comes from strangers.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

/// Longest answer over UDP, whatever the asker would take: what passes any network in one piece (the DNS flag day's
/// number), and what a forged question can make us send to somebody else.
pub(super) const DATAGRAM_MAX: u16 = 1232;

/// What is taken over UDP from who does not say how much they take (RFC 1035 §4.2.1).
pub(super) const PLAIN_MAX: u16 = 512;

/// One question, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its header, which most of an answer's is.
    pub header: Metadata,
    /// What is asked.
    pub query: Query,
    /// The asker speaks EDNS: how much they take over UDP, and whether they want signatures.
    pub edns: Option<(u16, bool)>,
}

/// Not a question we answer with records.
#[derive(Debug, Clone, PartialEq)]
pub enum Malformed {
    /// An answer, or less than a header: answering it could make two servers talk for ever.
    Unanswered,
    /// This is all that is said to it.
    Answered(Box<Message>),
}

impl Request {
    /// An answer without any record yet.
    pub fn response(&self, code: ResponseCode) -> Message {
        let mut message = bare(&self.header, code);
        message.add_query(self.query.clone());
        if self.edns.is_some() {
            message.set_edns(own_edns(self.wants_signatures()));
        }
        message
    }

    /// How many bytes the answer may have over UDP.
    pub fn datagram_max(&self) -> u16 {
        self.edns.map_or(PLAIN_MAX, |(payload, _)| {
            payload.clamp(PLAIN_MAX, DATAGRAM_MAX)
        })
    }

    /// Whether the asker wants signatures as well.
    pub fn wants_signatures(&self) -> bool {
        self.edns.is_some_and(|(_, wanted)| wanted)
    }
}

/// Understands a message.
///
/// # Errors
/// [`Malformed`]; what is said then is never longer than what was received, but for 11 bytes of EDNS.
pub fn read(bytes: &[u8]) -> Result<Request, Malformed> {
    let header = Header::read(&mut BinDecoder::new(bytes)).map_err(|_| Malformed::Unanswered)?;
    let (header, counts) = (header.metadata, header.counts);
    if header.message_type != MessageType::Query {
        return Err(Malformed::Unanswered);
    }
    let only = |code| Malformed::Answered(Box::new(bare(&header, code)));
    if header.op_code != OpCode::Query {
        return Err(only(ResponseCode::NotImp));
    }
    // Before anything is read: what it would be read into is as long as it says.
    if counts.queries != 1 {
        return Err(only(ResponseCode::FormErr));
    }
    let message = Message::from_vec(bytes).map_err(|_| only(ResponseCode::FormErr))?;
    let mut queries = message.queries.into_iter();
    let query = queries.next().ok_or_else(|| only(ResponseCode::FormErr))?;
    let edns = message.edns.as_ref();
    let request = Request {
        header,
        query,
        edns: edns.map(|edns| (edns.max_payload(), edns.flags().dnssec_ok)),
    };
    if edns.is_some_and(|edns| edns.version() != 0) {
        let answer = request.response(ResponseCode::BADVERS);
        return Err(Malformed::Answered(Box::new(answer)));
    }
    match refusal(&request.query) {
        Some(code) => Err(Malformed::Answered(Box::new(request.response(code)))),
        None => Ok(request),
    }
}

/// What nobody is told: other classes (`version.bind`), whole zones, and "everything you know", by which an answer is
/// made as long as it gets (RFC 8482).
fn refusal(query: &Query) -> Option<ResponseCode> {
    let whole = [RecordType::ANY, RecordType::AXFR, RecordType::IXFR];
    let refused = query.query_class() != DNSClass::IN || whole.contains(&query.query_type());
    refused.then_some(ResponseCode::Refused)
}

/// An answer in bytes, at most `most` of them: where they are not enough, only the word to ask again over TCP. `None`:
/// it cannot be written at all.
pub fn write(message: &Message, most: u16) -> Option<Vec<u8>> {
    let whole = message.to_vec().ok()?;
    if whole.len() <= usize::from(most) {
        return Some(whole);
    }
    let cut = message.truncate().to_vec().ok()?;
    (cut.len() <= usize::from(most)).then_some(cut)
}

fn bare(header: &Metadata, code: ResponseCode) -> Message {
    let mut message = Message::response(header.id, header.op_code);
    message.metadata = Metadata::response_from_request(header);
    message.metadata.response_code = code;
    message
}

/// That signatures are wanted is said back (RFC 3225), whether there are any or not.
pub(super) fn own_edns(signatures: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_MAX);
    edns.set_dnssec_ok(signatures);
    edns
}
