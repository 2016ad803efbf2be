//! `PlaintextCallers`: what a sidecar says of who calls it without the mesh's TLS.

use std::{net::IpAddr, time::Duration};

use crate::model::{PlaintextCaller, PlaintextCallers};

use super::{
    DecodeError,
    scalar::{Decoded, port},
    v1,
};

impl From<&PlaintextCallers> for v1::PlaintextCallers {
    fn from(callers: &PlaintextCallers) -> Self {
        let told = callers.0.iter().take(PlaintextCallers::MAX);
        Self {
            callers: told.map(encode_caller).collect(),
        }
    }
}

fn encode_caller(caller: &PlaintextCaller) -> v1::PlaintextCaller {
    v1::PlaintextCaller {
        address: caller.address.to_string(),
        port: caller.port.map_or(0, |port| port.get().into()),
        first_seen_ago_s: caller.first_seen.as_secs(),
        last_seen_ago_s: caller.last_seen.as_secs(),
        refused_ago_s: caller.refused.map(|ago| ago.as_secs()),
        let_in_ago_s: caller.let_in.map(|ago| ago.as_secs()),
    }
}

impl TryFrom<v1::PlaintextCallers> for PlaintextCallers {
    type Error = DecodeError;
    fn try_from(message: v1::PlaintextCallers) -> Decoded<Self> {
        let count = message.callers.len();
        if count > Self::MAX {
            let error = DecodeError::at("callers", count, "at most 50 of them");
            return Err(error.within("PlaintextCallers"));
        }
        let callers = message.callers.iter().enumerate();
        let callers = callers
            .map(|(index, one)| decode_caller(one).map_err(|e| e.under_index("callers", index)));
        let callers: Decoded<Vec<_>> = callers.collect();
        callers.map(Self).map_err(|e| e.within("PlaintextCallers"))
    }
}

fn decode_caller(message: &v1::PlaintextCaller) -> Decoded<PlaintextCaller> {
    let address = message.address.parse::<IpAddr>();
    let address =
        address.map_err(|_| DecodeError::at("address", &message.address, "an IP address"))?;
    Ok(PlaintextCaller {
        address,
        port: match message.port {
            0 => None,
            number => Some(port("port", number)?),
        },
        first_seen: Duration::from_secs(message.first_seen_ago_s),
        last_seen: Duration::from_secs(message.last_seen_ago_s),
        refused: message.refused_ago_s.map(Duration::from_secs),
        let_in: message.let_in_ago_s.map(Duration::from_secs),
    })
}
