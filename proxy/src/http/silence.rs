//! An exchange whose response has not begun, bounded by silence. It may have no deadline (gRPC has one only if its caller or
//! its route sets it), and then nothing else would ever end it: its places would be held for as long as a caller likes.
//!
//! Once the response has begun, [`super::watched`] sees to the same.

use std::{pin::Pin, time::Duration};

use tokio::time::timeout;

use crate::error::ProxyError;

use super::Replay;

/// `exchange`'s result, unless no byte of `request` comes from its caller for `idle` meanwhile. Looks once per `idle`, so
/// that silence lasts up to twice as long.
///
/// # Errors
/// [`ProxyError::StreamIdle`], or the exchange's own.
pub async fn unless_idle<T>(
    mut exchange: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    idle: Option<Duration>,
    request: Option<&Replay>,
) -> Result<T, ProxyError> {
    let Some(limit) = idle else {
        return exchange.await;
    };
    let passed = || request.map_or(0, Replay::bytes_passed);
    loop {
        let before = passed();
        match timeout(limit, exchange.as_mut()).await {
            Ok(result) => return result,
            Err(_) if passed() == before => return Err(ProxyError::StreamIdle { limit }),
            Err(_) => {}
        }
    }
}

/// `idle`, where it can end an exchange before its time is over does: one timer is enough.
pub fn within(idle: Option<Duration>, time: Option<Duration>) -> Option<Duration> {
    idle.filter(|idle| time.is_none_or(|time| *idle < time))
}
