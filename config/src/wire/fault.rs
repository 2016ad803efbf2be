//! `Fault`.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::{
    model::{Fault, FaultAnswer},
    value::Percent,
};

use super::{
    DecodeError,
    route::{decode_named_match, named_match},
    scalar::{Decoded, list, millis, percent, to_millis},
    v1,
};

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        use v1::fault::Answer;
        let since_1970 = fault.expires_at.duration_since(SystemTime::UNIX_EPOCH);
        let (delay_percent, delay) = fault.delay.unwrap_or((Percent::NONE, Duration::ZERO));
        Self {
            name: fault.name.to_string(),
            expires_unix_ms: u64::try_from(since_1970.unwrap_or_default().as_millis())
                .unwrap_or(u64::MAX),
            headers: fault
                .headers
                .iter()
                .map(|(name, matches)| named_match(name.as_str(), matches))
                .collect(),
            delay_percent: delay_percent.get().into(),
            delay_ms: to_millis(delay),
            abort_percent: fault.abort.map_or(0, |(percent, _)| percent.get().into()),
            answer: fault.abort.map(|(_, answer)| match answer {
                FaultAnswer::Status(status) => Answer::Status(status.as_u16().into()),
                FaultAnswer::GrpcStatus(code) => Answer::GrpcStatus(code.into()),
            }),
        }
    }
}

pub(super) fn decode_fault(message: v1::Fault) -> Decoded<Fault> {
    let delay_percent = percent("delay_percent", message.delay_percent)?;
    let delay = millis("delay_ms", message.delay_ms)?;
    let abort_percent = percent("abort_percent", message.abort_percent)?;
    let expires = Duration::from_millis(message.expires_unix_ms);
    let expires_at = SystemTime::UNIX_EPOCH.checked_add(expires).ok_or_else(|| {
        DecodeError::at(
            "expires_unix_ms",
            message.expires_unix_ms,
            "a moment in time",
        )
    })?;
    Ok(Fault {
        name: message.name.into(),
        expires_at,
        headers: list("headers", message.headers, decode_named_match)?,
        delay: (!delay.is_zero()).then_some((delay_percent, delay)),
        abort: match message.answer {
            Some(answer) => Some((abort_percent, decode_answer(&answer)?)),
            None => None,
        },
    })
}

fn decode_answer(answer: &v1::fault::Answer) -> Decoded<FaultAnswer> {
    match *answer {
        v1::fault::Answer::Status(number) => u16::try_from(number)
            .ok()
            .filter(|number| (400..=599).contains(number))
            .and_then(|number| StatusCode::from_u16(number).ok())
            .map(FaultAnswer::Status)
            .ok_or_else(|| DecodeError::at("status", number, "a status from 400 to 599")),
        v1::fault::Answer::GrpcStatus(code) => u8::try_from(code)
            .ok()
            .filter(|code| (1..=16).contains(code))
            .map(FaultAnswer::GrpcStatus)
            .ok_or_else(|| DecodeError::at("grpc_status", code, "a gRPC status from 1 to 16")),
    }
}
