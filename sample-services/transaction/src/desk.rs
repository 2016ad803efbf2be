//! Drives payments: one task each, however many callers ask for it, until it has ended or a peer is away.
//!
//! The task belongs to the payment, not to the request: a caller that hangs up stops nothing half-way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bank_chassis::proto::fraud::Decision;
use bank_chassis::shutdown::Shutdown;
use bank_chassis::trace;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::payment::{Payment, State};
use crate::peers::{Move, Moved, Peers};
use crate::store::{Change, Changed, Store};

/// Payments under way at once; more are refused before anything is stored.
pub(crate) const UNDER_WAY_MAX: u32 = 512;

/// Unfinished payments driven at once by the resumer, so that it leaves room for new ones.
const RESUMED_AT_ONCE: usize = 16;

/// Unfinished payments looked at in one round.
const ROUND_MAX: u32 = 256;

/// Pause between rounds: short when all goes well, long while a peer is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How long a stopping desk waits for its payments: three calls at their limits.
const FINISH_LIMIT: Duration = Duration::from_secs(12);

/// Where a payment's callers wait: empty until its task is done.
type Outlook = watch::Receiver<Option<Payment>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    store: Store,
    peers: Peers,
    under_way: Mutex<HashMap<String, Outlook>>,
    pub(crate) places: Arc<Semaphore>,
}

impl Desk {
    pub(crate) fn new(store: Store, peers: Peers) -> Self {
        let places = Arc::new(Semaphore::new(usize::try_from(UNDER_WAY_MAX).unwrap_or(1)));
        Self {
            store,
            peers,
            under_way: Mutex::default(),
            places,
        }
    }

    /// Brings the payment as far as it gets now and returns it as it then is.
    pub(crate) async fn process(self: &Arc<Self>, payment: Payment) -> Payment {
        let mut result = self.join_or_start(&payment);
        match result.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(payment),
            // The task was aborted with the runtime; the stored state is what the resumer finds.
            Err(_) => payment,
        }
    }

    fn join_or_start(self: &Arc<Self>, payment: &Payment) -> Outlook {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = under_way.get(&payment.id) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(payment.id.clone(), receiver.clone());
        let (desk, payment) = (Arc::clone(self), payment.clone());
        trace::spawn(async move {
            let _leave = Leave {
                desk: &desk,
                id: payment.id.clone(),
            };
            // Closed when the service stops: the payment waits at its stored step.
            let Ok(_place) = desk.places.acquire().await else {
                return;
            };
            sender.send_replace(Some(desk.drive(payment).await));
        });
        receiver
    }

    async fn drive(&self, mut payment: Payment) -> Payment {
        loop {
            let next = match payment.state {
                State::Assessing => Some(self.assess(&payment).await),
                State::Debiting => self.debit(&payment).await,
                State::Crediting => self.credit(&payment).await,
                State::Refunding => self.refund(&payment).await,
                State::Completed | State::Declined | State::Failed | State::Refunded => {
                    info!(
                        payment = payment.id,
                        status = payment.state.status(),
                        "payment ended"
                    );
                    return payment;
                }
            };
            let Some(next) = next else { return payment };
            let change = Change::Step {
                from: payment.state,
                to: next.clone(),
            };
            payment = match self.store.change(change).await {
                Ok(Changed::Overtaken) => match self.store.payment(&payment.id).await {
                    Ok(Some(stored)) => stored,
                    Ok(None) | Err(_) => return payment,
                },
                Ok(_) => next,
                Err(error) => {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "a step was not stored"
                    );
                    return payment;
                }
            };
        }
    }

    async fn assess(&self, payment: &Payment) -> Payment {
        let Some(answer) = self.peers.assess(payment).await else {
            return payment.because(State::Failed, "fraud-unavailable");
        };
        let decision = answer.decision();
        let judged = Payment {
            engine: answer.engine,
            decision: decision.as_str_name().to_owned(),
            score: answer.score,
            ..payment.clone()
        };
        match decision {
            Decision::Approve | Decision::Review => judged.at(State::Debiting),
            Decision::Decline => judged.because(State::Declined, "fraud"),
            Decision::Unspecified => judged.because(State::Failed, "fraud-undecided"),
        }
    }

    async fn debit(&self, payment: &Payment) -> Option<Payment> {
        match self.peers.move_money(Move::Debit, payment).await {
            Moved::Done(done) => {
                let from_customer = Some(done.customer_id);
                Some(Payment {
                    from_customer,
                    ..payment.at(State::Crediting)
                })
            }
            Moved::Refused(reason) => Some(payment.because(State::Declined, &reason)),
            Moved::Unclear => None,
        }
    }

    async fn credit(&self, payment: &Payment) -> Option<Payment> {
        match self.peers.move_money(Move::Credit, payment).await {
            Moved::Done(done) => {
                let to_customer = Some(done.customer_id);
                Some(Payment {
                    to_customer,
                    ..payment.at(State::Completed)
                })
            }
            Moved::Refused(reason) => Some(payment.because(State::Refunding, &reason)),
            Moved::Unclear => None,
        }
    }

    async fn refund(&self, payment: &Payment) -> Option<Payment> {
        match self.peers.move_money(Move::Refund, payment).await {
            Moved::Done(_) => Some(payment.at(State::Refunded)),
            Moved::Refused(reason) => {
                // Can't be: the same account was debited before. The payment stays for a person to look at.
                error!(payment = payment.id, reason, "a refund was refused");
                None
            }
            Moved::Unclear => None,
        }
    }

    /// Drives what a crash or an absent peer has left unfinished, until `shutdown`.
    pub(crate) async fn resume(self: Arc<Self>, shutdown: Shutdown) {
        let mut pause = PAUSE.0;
        while !shutdown.is_requested() {
            let all_ended = self.resume_round(&shutdown).await;
            pause = if all_ended {
                PAUSE.0
            } else {
                PAUSE.1.min(pause * 2)
            };
            // Jitter: several instances must not all knock at a peer that has just come back.
            let jittered = pause.mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(jittered) => {}
                () = shutdown.clone().requested() => {}
            }
        }
    }

    async fn resume_round(self: &Arc<Self>, shutdown: &Shutdown) -> bool {
        let pending = match self.store.pending(ROUND_MAX).await {
            Ok(pending) => pending,
            Err(error) => {
                error!(%error, "unfinished payments can't be read");
                return false;
            }
        };
        let left: Vec<Payment> = pending
            .into_iter()
            .filter(|payment| !self.is_under_way(&payment.id))
            .collect();
        if !left.is_empty() {
            info!(payments = left.len(), "resuming unfinished payments");
        }
        stream::iter(left)
            .take_while(|_| std::future::ready(!shutdown.is_requested()))
            .map(|payment| self.process(payment))
            .buffer_unordered(RESUMED_AT_ONCE)
            .fold(true, async |all_ended, payment| {
                all_ended && payment.state.status() != "pending"
            })
            .await
    }

    fn is_under_way(&self, id: &str) -> bool {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(id)
    }

    /// Waits until no payment is under way and lets none begin.
    pub(crate) async fn finish(&self) {
        let all = self.places.acquire_many(UNDER_WAY_MAX);
        if tokio::time::timeout(FINISH_LIMIT, all).await.is_err() {
            warn!("payments are left for the next start");
        }
        self.places.close();
    }
}

/// Takes the payment off the desk, also when its task is aborted.
struct Leave<'a> {
    desk: &'a Desk,
    id: String,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut under_way = self
            .desk
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.id);
    }
}
