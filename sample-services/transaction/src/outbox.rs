//! Delivers events to their consumers, each independently, at least once.
//!
//! A consumer that is away is tried again with growing, jittered pauses and costs the others nothing;
//! an event that it refuses as malformed, or fails at while it takes others, is set aside for a while,
//! longer each time, and holds up no other. None is ever given up.

mod doubts;

use std::time::Duration;

use bank_chassis::client::{Answer, CallError, HttpClient};
use bank_chassis::clock;
use bank_chassis::group_commit::WriteError;
use bank_chassis::settings::BaseUrl;
use bank_chassis::shutdown::Shutdown;
use futures_util::future::join_all;
use http::StatusCode;
use tracing::{error, info, warn};

use self::doubts::Doubts;
use crate::store::{Change, Store};

/// Consumer that tells customers.
pub(crate) const NOTIFICATION: &str = "notification";
/// Consumer that counts.
pub(crate) const REPORTING: &str = "reporting";
/// All consumers of payment events.
pub(crate) const CONSUMERS: [&str; 2] = [NOTIFICATION, REPORTING];

/// Letters read at once.
const READ_MAX: u32 = 64;

/// Deliveries at once to one consumer.
const AT_ONCE: usize = 8;

/// How long one delivery may take.
const DELIVERY_LIMIT: Duration = Duration::from_secs(5);

/// Pause after the first failure, and the longest pause.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Looks for due letters at least this often: those set aside become due by time alone.
const IDLE: Duration = Duration::from_secs(1);

/// An event on its way to one consumer.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) sequence: i64,
    pub(crate) event_id: String,
    pub(crate) body: String,
    pub(crate) refusals: u32,
    /// How often it was set aside because the consumer failed at it.
    pub(crate) failures: u32,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Accepted,
    /// The consumer says that this letter is malformed.
    Refused,
    /// The consumer is away or too busy, or can't take this letter.
    Failed,
}

/// Delivers to one consumer.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) consumer: &'static str,
    pub(crate) url: BaseUrl,
    pub(crate) client: HttpClient,
    pub(crate) store: Store,
}

impl Relay {
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut news = self.store.letters();
        let mut doubts = Doubts::default();
        let mut pause = Duration::ZERO;
        while !shutdown.is_requested() {
            news.mark_unchanged();
            let round = self.round(&mut doubts).await;
            let wait = match round {
                Round::Idle => IDLE,
                Round::Progress => Duration::ZERO,
                Round::Strained => BACKOFF.0,
                Round::Away => {
                    pause = (pause * 2).clamp(BACKOFF.0, BACKOFF.1);
                    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
                }
            };
            let is_idle = matches!(round, Round::Idle);
            if !matches!(round, Round::Away) {
                pause = Duration::ZERO;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = news.changed(), if is_idle => {}
                () = shutdown.clone().requested() => {}
            }
        }
    }

    async fn round(&self, doubts: &mut Doubts) -> Round {
        let letters = match self.due(doubts).await {
            Ok(letters) if letters.is_empty() => return Round::Idle,
            Ok(letters) => letters,
            Err(error) => {
                error!(consumer = self.consumer, %error, "the outbox can't be read");
                return Round::Away;
            }
        };
        let mut round = Round::Progress;
        for some in letters.chunks(AT_ONCE) {
            let deliveries = join_all(some.iter().map(|letter| self.deliver(letter))).await;
            match self.record(some, &deliveries, doubts).await {
                Ok(Round::Progress | Round::Idle) => {}
                Ok(Round::Strained) => round = Round::Strained,
                Ok(Round::Away) => return Round::Away,
                Err(error) => {
                    // They are delivered again: at least once is what consumers are told.
                    error!(
                        error = &error as &dyn std::error::Error,
                        "deliveries were not recorded"
                    );
                    return Round::Away;
                }
            }
        }
        round
    }

    async fn due(&self, doubts: &mut Doubts) -> sqlx::Result<Vec<Letter>> {
        let letters = self.store.due(self.consumer, doubts.after(), READ_MAX);
        let mut letters = letters.await?;
        if letters.is_empty() && doubts.begin_again() {
            letters = self.store.due(self.consumer, 0, READ_MAX).await?;
        }
        if doubts.is_silent()
            && let Some(newest) = self.store.newest(self.consumer).await?
            && letters
                .iter()
                .all(|letter| letter.sequence != newest.sequence)
        {
            doubts.probe(newest.sequence);
            letters.insert(0, newest);
        }
        Ok(letters)
    }

    async fn deliver(&self, letter: &Letter) -> Delivery {
        let url = self.url.join("/v1/events");
        let body = letter.body.clone();
        let answer = self
            .client
            .post(url, &letter.event_id, body, DELIVERY_LIMIT)
            .await;
        judge(self.consumer, letter, answer)
    }

    /// Stores how the deliveries ended, and tells from them how the consumer is.
    async fn record(
        &self,
        letters: &[Letter],
        deliveries: &[Delivery],
        doubts: &mut Doubts,
    ) -> Result<Round, WriteError> {
        let with = |wanted: Delivery| {
            let pairs = letters.iter().zip(deliveries);
            pairs
                .filter(move |(_, delivery)| **delivery == wanted)
                .map(|(letter, _)| letter)
        };
        let mut settled: Vec<i64> = with(Delivery::Accepted)
            .map(|letter| letter.sequence)
            .collect();
        if !settled.is_empty() {
            self.store
                .change(Change::Delivered(settled.clone()))
                .await?;
        }
        for letter in with(Delivery::Refused) {
            settled.push(letter.sequence);
            let change = Change::Refused {
                sequence: letter.sequence,
                next_attempt_at: later(letter.refusals),
            };
            self.store.change(change).await?;
        }
        // Whoever was set aside before says nothing about the consumer by failing again.
        let failed = with(Delivery::Failed).cloned();
        let (mut aside, failed): (Vec<_>, Vec<_>) = failed.partition(|letter| letter.failures > 0);
        let round = match (settled.is_empty(), failed.is_empty()) {
            (true, false) => {
                doubts.nobody_answered(failed);
                Round::Away
            }
            (true, true) => Round::Progress,
            (false, all_taken) => {
                aside.extend(doubts.answered(&settled, failed));
                if all_taken {
                    Round::Progress
                } else {
                    Round::Strained
                }
            }
        };
        for letter in aside {
            self.set_aside(&letter).await?;
        }
        Ok(round)
    }

    async fn set_aside(&self, letter: &Letter) -> Result<(), WriteError> {
        error!(
            consumer = self.consumer,
            event = letter.event_id,
            failures = letter.failures + 1,
            "an event is set aside: its consumer takes others, not this one"
        );
        let change = Change::Postponed {
            sequence: letter.sequence,
            next_attempt_at: later(letter.failures),
        };
        self.store.change(change).await.map(|_| ())
    }
}

/// When a letter that was set aside so often is due again: in 1 s, 2 s, 4 s … 17 min.
fn later(times: u32) -> i64 {
    clock::now_millis().saturating_add(1_000_i64 << times.min(10))
}

/// How the consumer was in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing was due.
    Idle,
    Progress,
    /// It took some letters and failed at others.
    Strained,
    /// It answered none.
    Away,
}

fn judge(consumer: &str, letter: &Letter, answer: Result<Answer, CallError>) -> Delivery {
    let event = &letter.event_id;
    match answer {
        Ok(answer) if answer.status.is_success() => Delivery::Accepted,
        Ok(answer) if is_refusal(answer.status) => {
            let body = String::from_utf8_lossy(&answer.body);
            error!(consumer, event, status = answer.status.as_u16(), %body, "an event was refused");
            Delivery::Refused
        }
        Ok(answer) => {
            warn!(
                consumer,
                event,
                status = answer.status.as_u16(),
                "a consumer is not available"
            );
            Delivery::Failed
        }
        Err(error) => {
            info!(
                consumer,
                event,
                error = &error as &dyn std::error::Error,
                "a consumer is away"
            );
            Delivery::Failed
        }
    }
}

/// Whether the status speaks about the letter; all others speak about the consumer or the way to it.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    )
}
