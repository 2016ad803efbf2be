//! What must hold for any bytes; shared by the fuzz targets and by the replay of their corpus.
#![allow(clippy::expect_used, reason = "a check that fails panics")]

use usher_control_plane::dns::{Answer, Asked, Malformed, ResponseCode, View, answer, read, write};

/// What is answered can be written and read again, is about the question, and is short enough for a datagram; what is
/// said to no question is no longer than that was, but for the 11 bytes of EDNS.
pub(crate) fn dns(bytes: &[u8]) {
    match read(bytes) {
        Err(Malformed::Unanswered) => {}
        Err(Malformed::Answered(message)) => {
            let said = write(&message, u16::MAX).expect("it can be written");
            assert!(said.len() <= bytes.len() + 11);
            assert!(matches!(read(&said), Err(Malformed::Unanswered)));
        }
        Ok(request) => {
            let (name, record_type) = (request.query.name(), request.query.query_type());
            let asked = Asked::of(name);
            let said: Answer = answer(name, record_type, &asked, &View::default());
            assert!(said.answers.iter().all(|record| record.name == *name));
            let mut message = request.response(match said.exists {
                true => ResponseCode::NoError,
                false => ResponseCode::NXDomain,
            });
            message.answers = said.answers;
            message.authorities = said.authorities;
            let most = request.datagram_max();
            let said = write(&message, most).expect("it can be written");
            assert!(said.len() <= usize::from(most));
        }
    }
}
