//! Drives payments: one task each, however many callers ask for it, until it has ended or a peer is away.
//!
//! The task belongs to the payment, not to the request: a caller that hangs up stops nothing half-way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bank_chassis::clock;
use bank_chassis::proto::fraud::Decision;
use bank_chassis::shutdown::Shutdown;
use bank_chassis::trace;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::payment::{Payment, State};
use crate::peers::{Move, Moved, Peers};
use crate::store::{Change, Changed, Store, Wait};

/// Payments under way at once; more are refused before anything is stored.
pub(crate) const UNDER_WAY_MAX: u32 = 512;

/// Unfinished payments driven at once by the resumer, so that it leaves room for new ones.
const RESUMED_AT_ONCE: usize = 16;

/// Unfinished payments looked at in one round.
const ROUND_MAX: u32 = 256;

/// Pause between rounds; how long a payment waits is its own matter.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a payment waits that was driven in vain: first, and at the longest while nobody answers.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The longest wait of a payment that a person has to look at.
const WAIT_FOR_A_PERSON: Duration = Duration::from_mins(10);

/// How long a stopping desk waits for its payments: three calls at their limits.
const FINISH_LIMIT: Duration = Duration::from_secs(12);

/// Where a payment's callers wait: empty until its task is done.
type Outlook = watch::Receiver<Option<Payment>>;

/// Why a payment does not get on.
#[derive(Debug)]
enum Obstacle {
    /// A peer is away: that passes.
    NoAnswer,
    /// Account won't take back what it debited: a person has to look at it.
    RefundRefused(String),
}

impl Obstacle {
    /// How long to wait after `attempts` earlier ones; jittered, so that not all knock at once.
    fn wait(&self, attempts: u32) -> Duration {
        let longest = match self {
            Self::NoAnswer => WAIT.1,
            Self::RefundRefused(_) => WAIT_FOR_A_PERSON,
        };
        let wait = WAIT.0.saturating_mul(1 << attempts.min(16)).min(longest);
        wait.mul_f64(0.75 + fastrand::f64() / 2.0)
    }

    /// What a person is told; empty when none needs to come.
    fn trouble(&self) -> String {
        match self {
            Self::NoAnswer => String::new(),
            Self::RefundRefused(reason) => format!("the refund was refused: {reason}"),
        }
    }
}

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
                State::Assessing => Ok(self.assess(&payment).await),
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
            let next = match next {
                Ok(next) => next,
                Err(obstacle) => {
                    self.wait(&payment, &obstacle).await;
                    return payment;
                }
            };
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

    async fn wait(&self, payment: &Payment, obstacle: &Obstacle) {
        let wait = obstacle.wait(payment.attempts).as_millis();
        let wait = Wait {
            payment: payment.id.clone(),
            state: payment.state,
            trouble: obstacle.trouble(),
            next_attempt_at: clock::now_millis()
                .saturating_add_unsigned(u64::try_from(wait).unwrap_or(u64::MAX)),
        };
        if let Err(error) = self.store.change(Change::Waits(wait)).await {
            // Then it is tried again at once: too early does no harm.
            error!(
                error = &error as &dyn std::error::Error,
                "a wait was not stored"
            );
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

    async fn debit(&self, payment: &Payment) -> Result<Payment, Obstacle> {
        match self.peers.move_money(Move::Debit, payment).await {
            Moved::Done(done) => {
                let from_customer = Some(done.customer_id);
                Ok(Payment {
                    from_customer,
                    ..payment.at(State::Crediting)
                })
            }
            Moved::Refused(reason) => Ok(payment.because(State::Declined, &reason)),
            Moved::Unclear => Err(Obstacle::NoAnswer),
        }
    }

    async fn credit(&self, payment: &Payment) -> Result<Payment, Obstacle> {
        match self.peers.move_money(Move::Credit, payment).await {
            Moved::Done(done) => {
                let to_customer = Some(done.customer_id);
                Ok(Payment {
                    to_customer,
                    ..payment.at(State::Completed)
                })
            }
            Moved::Refused(reason) => Ok(payment.because(State::Refunding, &reason)),
            Moved::Unclear => Err(Obstacle::NoAnswer),
        }
    }

    async fn refund(&self, payment: &Payment) -> Result<Payment, Obstacle> {
        match self.peers.move_money(Move::Refund, payment).await {
            Moved::Done(_) => Ok(payment.at(State::Refunded)),
            Moved::Refused(reason) => {
                // Can't be: the same account was debited before. The payment stays for a person to look at.
                error!(payment = payment.id, reason, "a refund was refused");
                Err(Obstacle::RefundRefused(reason))
            }
            Moved::Unclear => Err(Obstacle::NoAnswer),
        }
    }

    /// Drives what a crash or an absent peer has left unfinished, until `shutdown`.
    pub(crate) async fn resume(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            self.resume_round(&shutdown).await;
            // Jitter: several instances must not all knock at a peer that has just come back.
            let jittered = PAUSE.mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(jittered) => {}
                () = shutdown.clone().requested() => {}
            }
        }
    }

    async fn resume_round(self: &Arc<Self>, shutdown: &Shutdown) {
        // Those under way are among them, and must not take the places of those that are not.
        let pending = match self.store.pending(ROUND_MAX + UNDER_WAY_MAX).await {
            Ok(pending) => pending,
            Err(error) => {
                error!(%error, "unfinished payments can't be read");
                return;
            }
        };
        let left: Vec<Payment> = pending
            .into_iter()
            .filter(|payment| !self.is_under_way(&payment.id))
            .take(usize::try_from(ROUND_MAX).unwrap_or(usize::MAX))
            .collect();
        if !left.is_empty() {
            info!(payments = left.len(), "resuming unfinished payments");
        }
        stream::iter(left)
            .take_while(|_| std::future::ready(!shutdown.is_requested()))
            .map(|payment| self.process(payment))
            .buffer_unordered(RESUMED_AT_ONCE)
            .for_each(async |_| {})
            .await;
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
