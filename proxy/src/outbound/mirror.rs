//! Mirrors: copies of a request to other services, beside the request and never in its way.

use std::rc::Rc;

use tokio::task::spawn_local;
use usher_config::model::{self, ServiceTarget};

use crate::{
    http::{Body, Tee, upgrade::Offer},
    random,
    telemetry::metrics::Outcomes,
    upstream::{
        call::Outgoing,
        mirror::{Copy, MIRRORS_MAX, mirror},
    },
    worker::Worker,
};

use super::{Routed, discover};

/// Copies that are due, of a request that has no leave to go yet. Dropped: there will be none.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<Due>);

#[derive(Debug)]
struct Due {
    copy: Copy,
    target: ServiceTarget,
    counter: Option<Outcomes>,
}

/// Makes the copies that are due. The body that comes back is the original's, which feeds those of the copies.
pub(super) fn prepare(
    worker: &Rc<Worker>,
    routed: &Routed,
    original: &Outgoing,
    body: Body,
) -> (Body, Copies) {
    let mut copies = Copies::default();
    // A copy of an offer to leave HTTP would open a stream that leads nowhere.
    if original.head.extensions.get::<Offer>().is_some() {
        return (body, copies);
    }
    let mut tee: Option<Tee> = None;
    let mut body = Some(body);
    for wanted in routed.filters.mirrors() {
        if !is_due(wanted, worker.random()) {
            continue;
        }
        let counter = routed
            .plan
            .treatment
            .mirrored(&wanted.target.service)
            .cloned();
        let Some(place) = worker.mirrors.enter(MIRRORS_MAX) else {
            count(worker, counter.as_ref(), "overflow");
            continue;
        };
        let copied = match &body {
            Some(whole) if http_body::Body::is_end_stream(whole) => None,
            _ => {
                let tee = tee.get_or_insert_with(|| Tee::new(body.take().unwrap_or_default()));
                let (copy, watch) = tee.copy();
                Some((Body::Copy(copy), watch))
            }
        };
        let copy = Copy {
            head: original.head.clone(),
            body: copied,
            traits: original.traits,
            deadline: original.deadline,
            place,
        };
        let target = wanted.target.clone();
        copies.0.push(Due {
            copy,
            target,
            counter,
        });
    }
    let body = match tee {
        Some(tee) => Body::Tee(Box::new(tee)),
        None => body.unwrap_or_default(),
    };
    (body, copies)
}

impl Copies {
    /// Sends them, beside the original and never in its way.
    pub(super) fn send(self, worker: &Rc<Worker>) {
        for Due {
            copy,
            target,
            counter,
        } in self.0
        {
            let worker = worker.clone();
            spawn_local(async move {
                let outcome = match discover::by_name(&worker, &target.service).await {
                    Ok(service) => mirror(&worker, service, target.port, copy).await,
                    Err(_) => "no_service",
                };
                count(&worker, counter.as_ref(), outcome);
            });
        }
    }
}

fn count(worker: &Worker, counter: Option<&Outcomes>, outcome: &'static str) {
    if let Some(counter) = counter {
        counter.add(worker.index, outcome);
    }
}

fn is_due(mirror: &model::Mirror, random: u64) -> bool {
    random::below(random, mirror.denominator.into()) < u64::from(mirror.numerator)
}
