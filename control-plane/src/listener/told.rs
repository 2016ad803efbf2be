//! What operators are told of crowds.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

/// How often the same warning is worth a line.
const REMIND: Duration = Duration::from_secs(60);

/// Tells operators, once each time, that connections are nearly as many as may be.
#[derive(Default)]
pub(super) struct Crowd {
    is_told: bool,
}

impl Crowd {
    pub(super) fn look(&mut self, open: usize, most: usize) {
        if open <= most / 2 {
            self.is_told = false;
        } else if open > most - most / 10 && !std::mem::replace(&mut self.is_told, true) {
            warn!(
                open,
                most,
                "connections of sidecars are nearly as many as may be, those beyond have to wait: raise the limit of \
                 descriptors (LimitNOFILE, ulimit -Hn) if it is what bounds them, or start another control plane"
            );
        }
    }
}

/// Tells operators, now and then, that one address wants more than it may have.
#[derive(Default)]
pub(super) struct Greedy(Mutex<Option<Instant>>);

impl Greedy {
    /// `from` has its share of `most` of these.
    pub(super) fn has_its_share(&self, from: IpAddr, most: usize, what: &str) {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| now.duration_since(told) < REMIND) {
            return;
        }
        *told = Some(now);
        warn!(
            %from,
            most,
            "this address has half of all {what} that there may be, and further ones are hung up on: if many sidecars share it \
             (NAT, a load balancer), start another control plane, or give them addresses of their own"
        );
    }
}
