//! The calls of a payment: to fraud and to account, and what their answers mean for it.

use std::time::Duration;

use bank_chassis::grpc;
use bank_chassis::proto::account::account_client::AccountClient;
use bank_chassis::proto::account::{MoveRequest, MoveResponse};
use bank_chassis::proto::fraud::fraud_client::FraudClient;
use bank_chassis::proto::fraud::{AssessRequest, AssessResponse};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::warn;

use crate::Settings;
use crate::payment::Payment;

/// How long fraud may think, all attempts on the way included.
const ASSESS_LIMIT: Duration = Duration::from_secs(3);

/// How long account may take, all attempts on the way included.
const MOVE_LIMIT: Duration = Duration::from_secs(4);

/// Which way money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Debit,
    Credit,
    /// A credit to the payer.
    Refund,
}

/// How account answered.
#[derive(Debug)]
pub(crate) enum Moved {
    Done(MoveResponse),
    /// Refused for good: this operation id will never be booked.
    Refused(String),
    /// No answer to build on: it may or may not have been booked.
    Unclear,
}

/// Channels to the peers; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    account: AccountClient<Channel>,
    fraud: FraudClient<Channel>,
}

impl Peers {
    pub(crate) fn new(settings: &Settings) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            account: AccountClient::new(grpc::channel(&settings.account, &settings.dialer)?),
            fraud: FraudClient::new(grpc::channel(&settings.fraud, &settings.dialer)?),
        })
    }

    /// `None` when there was no answer: nothing is charged then.
    pub(crate) async fn assess(&self, payment: &Payment) -> Option<AssessResponse> {
        let message = AssessRequest {
            payment_id: payment.id.clone(),
            from_account: payment.from.clone(),
            to_account: payment.to.clone(),
            amount_cents: payment.amount_cents,
            currency: payment.currency.clone(),
        };
        let request = grpc::request(message, &payment.id, ASSESS_LIMIT);
        match self.fraud.clone().assess(request).await {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                warn_about("fraud", "assess", &payment.id, &status);
                None
            }
        }
    }

    pub(crate) async fn move_money(&self, way: Move, payment: &Payment) -> Moved {
        let (step, account) = match way {
            Move::Debit => ("debit", &payment.from),
            Move::Credit => ("credit", &payment.to),
            Move::Refund => ("refund", &payment.from),
        };
        let operation_id = payment.operation(step);
        let message = MoveRequest {
            operation_id: operation_id.clone(),
            account_id: account.clone(),
            amount_cents: payment.amount_cents,
            currency: payment.currency.clone(),
            reference: payment.reference.clone(),
        };
        let request = grpc::request(message, &operation_id, MOVE_LIMIT);
        let mut client = self.account.clone();
        let answer = match way {
            Move::Debit => client.debit(request).await,
            Move::Credit | Move::Refund => client.credit(request).await,
        };
        match answer {
            Ok(answer) => Moved::Done(answer.into_inner()),
            Err(status) => {
                let refusal = refusal(&status);
                if refusal.as_deref() != Some("insufficient-funds") {
                    warn_about("account", step, &payment.id, &status);
                }
                refusal.map_or(Moved::Unclear, Moved::Refused)
            }
        }
    }
}

fn warn_about(peer: &str, call: &str, payment: &str, status: &Status) {
    warn!(peer, call, payment, code = ?status.code(), status = status.message(), "a call failed");
}

/// Why account refuses for good; `None` when it may be asked again.
///
/// Only what account itself says about the operation counts. Anything that something on the way
/// could have said (UNAVAILABLE, DEADLINE_EXCEEDED, PERMISSION_DENIED …) tells nothing about it.
fn refusal(status: &Status) -> Option<String> {
    match status.code() {
        Code::FailedPrecondition => {
            let word = status
                .message()
                .split_once(':')
                .map_or("refused", |(word, _)| word);
            Some(word.to_owned())
        }
        Code::NotFound => Some("account-unknown".to_owned()),
        Code::InvalidArgument => Some("invalid-operation".to_owned()),
        Code::AlreadyExists => Some("operation-conflict".to_owned()),
        _ => None,
    }
}
