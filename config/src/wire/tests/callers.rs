//! Who calls without the mesh's TLS.

use super::*;

pub(super) fn caller(seconds: u64) -> PlaintextCaller {
    PlaintextCaller {
        address: "fd00::7".parse().expect("address"),
        port: Port::try_from(8080).ok(),
        first_seen: Duration::from_secs(seconds + 60),
        last_seen: Duration::from_secs(seconds),
        refused: None,
        let_in: None,
    }
}

proptest! {
    #[test]
    fn callers_survive_the_wire(
        ages in prop::collection::vec((any::<u32>(), any::<[u8; 4]>(), any::<u16>(), any::<bool>()), 0..PlaintextCallers::MAX)
    ) {
        let told = ages.into_iter().map(|(age, address, port, refused)| PlaintextCaller {
            address: address.into(),
            port: Port::try_from(u32::from(port)).ok(),
            refused: refused.then(|| Duration::from_secs(age.into())),
            let_in: (!refused).then(|| Duration::from_secs(age.into())),
            ..caller(age.into())
        });
        let told = PlaintextCallers(told.collect());
        prop_assert_eq!(PlaintextCallers::try_from(v1::PlaintextCallers::from(&told)), Ok(told));
    }

    #[test]
    fn no_bytes_break_decoding_callers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::PlaintextCallers::decode(bytes.as_slice()) {
            let _ = PlaintextCallers::try_from(message);
        }
    }
}

#[test]
fn more_callers_than_are_told_of_are_refused_and_not_sent() {
    let many = PlaintextCallers(vec![caller(1); PlaintextCallers::MAX + 1]);
    let mut message = v1::PlaintextCallers::from(&many);
    assert_eq!(message.callers.len(), PlaintextCallers::MAX);
    message.callers.extend(message.callers.first().cloned());
    let error = PlaintextCallers::try_from(message).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "PlaintextCallers: callers: found \"51\", allowed: at most 50 of them"
    );
}

#[test]
fn an_address_that_is_none_is_named() {
    let mut message = v1::PlaintextCallers::from(&PlaintextCallers(vec![caller(1)]));
    message.callers[0].address = "web.bank".to_owned();
    let error = PlaintextCallers::try_from(message).expect_err("a name");
    let expected =
        "PlaintextCallers: callers[0].address: found \"web.bank\", allowed: an IP address";
    assert_eq!(error.to_string(), expected);
}
