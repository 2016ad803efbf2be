//! Delivers events to their consumers, each independently, at least once.
//!
//! A consumer that is away is tried again with growing, jittered pauses and costs the others nothing;
//! an event that it refuses as malformed is set aside for a while and holds up no other.

use std::time::Duration;

use bank_chassis::client::{Answer, CallError, HttpClient};
use bank_chassis::clock;
use bank_chassis::group_commit::WriteError;
use bank_chassis::settings::BaseUrl;
use bank_chassis::shutdown::Shutdown;
use futures_util::future::join_all;
use http::StatusCode;
use tracing::{error, info, warn};

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

/// Looks for due letters at least this often: refused ones become due by time alone.
const IDLE: Duration = Duration::from_secs(5);

/// An event on its way to one consumer.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) sequence: i64,
    pub(crate) event_id: String,
    pub(crate) body: String,
    pub(crate) refusals: u32,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Accepted,
    /// The consumer says that this letter is malformed.
    Refused,
    /// The consumer is away or too busy.
    Away,
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
        let mut pause = Duration::ZERO;
        while !shutdown.is_requested() {
            news.mark_unchanged();
            let wait = match self.round().await {
                Round::Idle => IDLE,
                Round::Progress => Duration::ZERO,
                Round::Away => {
                    pause = (pause * 2).clamp(BACKOFF.0, BACKOFF.1);
                    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
                }
            };
            if wait < IDLE {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.clone().requested() => {}
                }
            } else {
                pause = Duration::ZERO;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = news.changed() => {}
                    () = shutdown.clone().requested() => {}
                }
            }
        }
    }

    async fn round(&self) -> Round {
        let letters = match self.store.due(self.consumer, READ_MAX).await {
            Ok(letters) if letters.is_empty() => return Round::Idle,
            Ok(letters) => letters,
            Err(error) => {
                error!(consumer = self.consumer, %error, "the outbox can't be read");
                return Round::Away;
            }
        };
        for some in letters.chunks(AT_ONCE) {
            let deliveries = join_all(some.iter().map(|letter| self.deliver(letter))).await;
            let away = deliveries.contains(&Delivery::Away);
            if let Err(error) = self.record(some, &deliveries).await {
                // They are delivered again: at least once is what consumers are told.
                error!(
                    error = &error as &dyn std::error::Error,
                    "deliveries were not recorded"
                );
                return Round::Away;
            }
            if away {
                return Round::Away;
            }
        }
        Round::Progress
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

    async fn record(&self, letters: &[Letter], deliveries: &[Delivery]) -> Result<(), WriteError> {
        let with = |wanted: Delivery| {
            let pairs = letters.iter().zip(deliveries);
            pairs
                .filter(move |(_, delivery)| **delivery == wanted)
                .map(|(letter, _)| letter)
        };
        let accepted: Vec<i64> = with(Delivery::Accepted)
            .map(|letter| letter.sequence)
            .collect();
        if !accepted.is_empty() {
            self.store.change(Change::Delivered(accepted)).await?;
        }
        for letter in with(Delivery::Refused) {
            // 1 s, 2 s, 4 s … 17 min.
            let pause = 1_000_i64 << letter.refusals.min(10);
            let next_attempt_at = clock::now_millis() + pause;
            let change = Change::Refused {
                sequence: letter.sequence,
                next_attempt_at,
            };
            self.store.change(change).await?;
        }
        Ok(())
    }
}

enum Round {
    /// Nothing was due.
    Idle,
    Progress,
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
            Delivery::Away
        }
        Err(error) => {
            info!(
                consumer,
                event,
                error = &error as &dyn std::error::Error,
                "a consumer is away"
            );
            Delivery::Away
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
