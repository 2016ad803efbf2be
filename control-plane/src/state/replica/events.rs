//! Events of a shared store go into the table, in their order, and others are told how far the proxies here are.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};
use tracing::{error, warn};
use usher_config::value::{InstanceName, ServiceName};

use crate::{
    registry::{
        instances::{Effect, LEASE},
        shared::{Batch, Event, Registration, Shared},
    },
    state::{Inner, Registry, State, departures::Departures, lock},
};

/// How long the proxies here are waited for, on behalf of an instance that has left elsewhere: as long as one may wait.
const DEPARTURE_MAX: Duration = Duration::from_secs(60);

/// For ever.
pub(super) async fn follow_instances(state: Weak<Inner>, mut events: mpsc::Receiver<Batch>) {
    while let Some(batch) = events.recv().await {
        let Some(state) = state.upgrade().map(State) else {
            return;
        };
        state.take_in(batch);
    }
}

/// Tells the other control planes how far the proxies here are, for ever: what has become true while one word was under
/// way is in the next one.
pub(super) async fn acknowledge(
    shared: Arc<dyn Shared>,
    mut departures: watch::Receiver<Departures>,
) {
    while departures.changed().await.is_ok() {
        let applied = departures.borrow_and_update().acknowledgement();
        if let Err(error) = shared.acknowledge(applied).await {
            // Who leaves meanwhile waits for the whole time it has.
            warn!(%error, "could not tell the other control planes how far the proxies here are");
        }
    }
}

impl State {
    /// Puts events into the table, in their order; then whoever waits for them may look.
    fn take_in(&self, batch: Batch) {
        let goes_back = batch.position < *self.0.position.borrow();
        let (is_list, is_set_back) = match batch.events.as_slice() {
            [Event::All(_) | Event::Missed(_)] => (true, goes_back),
            [Event::Anew(_)] => (true, true),
            _ => (false, false),
        };
        if is_set_back {
            error!("the store was set back: what it lacks is kept until its lease would end");
        }
        let mut heard = Heard::default();
        let mut registry = lock(&self.0.registry);
        for event in batch.events {
            registry.hear(event, (batch.position, is_set_back), &mut heard);
        }
        let Heard {
            departed,
            is_changed,
        } = heard;
        for (name, _) in &departed {
            self.withdraw(&mut registry, name);
            registry.dirty.insert(name.service.clone());
        }
        drop(registry);
        let generation = match is_changed || !departed.is_empty() {
            true => self.changed(),
            false => 0,
        };
        self.0.departures.send_if_modified(|departures| {
            if is_set_back {
                departures.set_back();
            }
            match is_list {
                true => departures.missed(batch.position, departed.len()),
                false => {
                    let positions = departed.iter().map(|(_, position)| *position);
                    departures.seen(batch.position, positions);
                }
            }
            // From now on others wait for us, who may not have been there for a while.
            is_list
        });
        self.0.position.send_replace(batch.position);
        let era = self.0.departures.borrow().era();
        for (name, position) in departed {
            let over = move |departures: &mut Departures| departures.applied(position, era);
            tokio::spawn(self.clone().see_off(name.service, generation, over));
        }
    }

    /// Tells the other control planes once no proxy here calls an instance that has left.
    async fn see_off(
        self,
        service: ServiceName,
        generation: u64,
        over: impl FnOnce(&mut Departures),
    ) {
        let deadline = Instant::now() + DEPARTURE_MAX;
        let service = service.to_string();
        let connected = &self.0.connected;
        connected.all_applied(&service, generation, deadline).await;
        self.0.departures.send_modify(over);
    }
}

/// What has come of events.
#[derive(Debug, Default)]
struct Heard {
    /// Who has gone, at which position.
    departed: Vec<(InstanceName, u64)>,
    /// Callers must be told of who is there.
    is_changed: bool,
}

impl Registry {
    fn hear(&mut self, event: Event, (position, is_set_back): (u64, bool), heard: &mut Heard) {
        let now = Instant::now();
        let is_missed = matches!(event, Event::Missed(_));
        match event {
            Event::Put(one) => heard.is_changed |= self.take_in(*one),
            Event::All(all) | Event::Anew(all) | Event::Missed(all) => {
                let kept: BTreeSet<&InstanceName> = all.iter().map(|one| &one.name).collect();
                if is_missed {
                    warn!(
                        "the store was out of reach for long: whose lease has ended is kept for another one"
                    );
                    // Those that have not ended yet may before their sidecars are back.
                    self.doubts_until = Some(now + LEASE);
                }
                if is_set_back || is_missed {
                    self.instances.doubt(&kept, now);
                }
                let gone = self.instances.keep_only(&kept);
                let gone = gone.into_iter().map(|name| (name, position));
                heard.departed.extend(gone);
                for one in all {
                    heard.is_changed |= self.take_in(one);
                }
            }
            Event::Lapsed(name, _) if self.doubts_until.is_some_and(|until| now < until) => {
                self.instances.doubt_one(&name, now);
            }
            Event::Gone(name, position) | Event::Lapsed(name, position) => {
                self.instances.evict(&name);
                heard.departed.push((name, position));
            }
        }
    }

    /// Whether callers must be told.
    fn take_in(&mut self, registration: Registration) -> bool {
        let name = registration.name.clone();
        self.withdrawn.remove(&name.to_string());
        let callers = registration.instance.callers.clone();
        self.callers
            .hear(&name.service, &callers, SystemTime::now());
        let is_changed = self.instances.put(registration) == Effect::Changed;
        if is_changed {
            self.dirty.insert(name.service);
        }
        is_changed
    }
}
