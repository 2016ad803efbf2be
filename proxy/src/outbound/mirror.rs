//! Mirrors: copies of a request to other services, beside the request and never in its way.

use std::rc::Rc;

use tokio::task::spawn_local;
use usher_config::model;

use crate::{
    http::{Body, Tee, upgrade::Offer},
    random,
    upstream::{
        call::Outgoing,
        mirror::{Copy, MIRRORS_MAX, mirror},
    },
    worker::Worker,
};

use super::{Routed, discover};

/// Starts the copies that are due. The body that comes back is the original's, which feeds those of the copies.
pub(super) fn start(worker: &Rc<Worker>, routed: &Routed, original: &Outgoing, body: Body) -> Body {
    // A copy of an offer to leave HTTP would open a stream that leads nowhere.
    if original.head.extensions.get::<Offer>().is_some() {
        return body;
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
        let count = move |worker: &Worker, outcome| {
            if let Some(counter) = &counter {
                counter.add(worker.index, outcome);
            }
        };
        let Some(place) = worker.mirrors.enter(MIRRORS_MAX) else {
            count(worker, "overflow");
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
        let (worker, target) = (worker.clone(), wanted.target.clone());
        spawn_local(async move {
            let outcome = match discover::by_name(&worker, &target.service).await {
                Ok(service) => mirror(&worker, service, target.port, copy).await,
                Err(_) => "no_service",
            };
            count(&worker, outcome);
        });
    }
    match tee {
        Some(tee) => Body::Tee(Box::new(tee)),
        None => body.unwrap_or_default(),
    }
}

fn is_due(mirror: &model::Mirror, random: u64) -> bool {
    random::below(random, mirror.denominator.into()) < u64::from(mirror.numerator)
}
