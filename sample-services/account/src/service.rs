//! The gRPC face of the ledger: requests are validated here, results become statuses here.

use bank_chassis::group_commit::Writer;
use bank_chassis::problem::{Mistake, invalid_argument};
use bank_chassis::proto::account::account_server::Account;
use bank_chassis::proto::account::{
    AccountState, BalanceRequest, ListTotalsRequest, ListTotalsResponse, MoveRequest, MoveResponse,
    OpenRequest,
};
use bank_chassis::rules;
use sqlx::SqlitePool;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::ledger::{self, Answer, Kind, Operation, Outcome, Record, SELECT_ACCOUNT};
use crate::totals;

#[derive(Debug)]
pub(crate) struct AccountService {
    writer: Writer<Operation>,
    readers: SqlitePool,
}

impl AccountService {
    pub(crate) fn new(writer: Writer<Operation>, readers: SqlitePool) -> Self {
        Self { writer, readers }
    }

    async fn record(&self, operation: Operation) -> Result<Record, Status> {
        debug!(operation = %operation.id, kind = ?operation.kind, "operation");
        let account_id = operation.account_id.clone();
        match self.writer.submit(operation).await? {
            Answer::Result(record) => status_of(record, &account_id),
            Answer::OtherArguments => Err(Status::already_exists(
                "operation_id: belongs to an operation with other arguments, allowed a new id",
            )),
        }
    }

    async fn move_money(&self, kind: Kind, request: MoveRequest) -> Result<MoveResponse, Status> {
        let operation = valid_move(kind, request)?;
        let account_id = operation.account_id.clone();
        let record = self.record(operation).await?;
        Ok(MoveResponse {
            account_id,
            customer_id: record.customer_id,
            balance_cents: record.balance_cents,
            replayed: record.replayed,
        })
    }

    async fn state(&self, account_id: String) -> Result<AccountState, Status> {
        let row = sqlx::query(SELECT_ACCOUNT)
            .bind(&account_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        let Some(row) = row else {
            return Err(unknown(&account_id));
        };
        let account = ledger::Account::from_row(&row).map_err(unavailable)?;
        Ok(AccountState {
            account_id,
            customer_id: account.customer_id,
            currency: account.currency,
            balance_cents: account.balance_cents,
            entries: account.entries,
        })
    }
}

#[tonic::async_trait]
impl Account for AccountService {
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<AccountState>, Status> {
        let operation = valid_open(request.into_inner())?;
        let account_id = operation.account_id.clone();
        self.record(operation).await?;
        self.state(account_id).await.map(Response::new)
    }

    async fn balance(
        &self,
        request: Request<BalanceRequest>,
    ) -> Result<Response<AccountState>, Status> {
        let account_id = request.into_inner().account_id;
        if !rules::is_id(&account_id) {
            return Err(invalid_argument(&[Mistake::new(
                "account_id",
                &account_id,
                rules::ID,
            )]));
        }
        self.state(account_id).await.map(Response::new)
    }

    async fn debit(&self, request: Request<MoveRequest>) -> Result<Response<MoveResponse>, Status> {
        self.move_money(Kind::Debit, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn credit(
        &self,
        request: Request<MoveRequest>,
    ) -> Result<Response<MoveResponse>, Status> {
        self.move_money(Kind::Credit, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_totals(
        &self,
        _request: Request<ListTotalsRequest>,
    ) -> Result<Response<ListTotalsResponse>, Status> {
        let totals = totals::read(&self.readers).await.map_err(unavailable)?;
        Ok(Response::new(ListTotalsResponse { totals }))
    }
}

fn status_of(record: Record, account_id: &str) -> Result<Record, Status> {
    match record.outcome {
        Outcome::Done => Ok(record),
        Outcome::Exists => Err(Status::already_exists(format!(
            "account_id: {account_id:?} was opened by another operation, allowed a new id"
        ))),
        Outcome::UnknownAccount => Err(unknown(account_id)),
        // Callers tell the two apart by the word before the colon.
        Outcome::WrongCurrency => Err(Status::failed_precondition(format!(
            "currency-mismatch: account {account_id:?} is kept in another currency"
        ))),
        Outcome::InsufficientFunds => Err(Status::failed_precondition(format!(
            "insufficient-funds: account {account_id:?} held {} cents",
            record.balance_cents
        ))),
    }
}

fn unknown(account_id: &str) -> Status {
    Status::not_found(format!("account_id: there is no account {account_id:?}"))
}

fn unavailable(error: sqlx::Error) -> Status {
    tracing::error!(%error, "the database failed");
    Status::unavailable("the database is not available")
}

/// Operation ids may be longer than others: `<payment>/debit`.
const OPERATION_ID: &str = "1 to 96 characters of A-Z a-z 0-9 . _ - /";

fn is_operation_id(text: &str) -> bool {
    (1..=96).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
}

fn valid_open(request: OpenRequest) -> Result<Operation, Status> {
    let mut mistakes = Vec::new();
    check(
        &mut mistakes,
        "operation_id",
        &request.operation_id,
        (OPERATION_ID, is_operation_id),
    );
    check(
        &mut mistakes,
        "account_id",
        &request.account_id,
        (rules::ID, rules::is_id),
    );
    check(
        &mut mistakes,
        "customer_id",
        &request.customer_id,
        (rules::ID, rules::is_id),
    );
    check(
        &mut mistakes,
        "currency",
        &request.currency,
        (rules::CURRENCY, rules::is_currency),
    );
    if request.account_id.starts_with(ledger::HOUSE_PREFIX) {
        let allowed = "an id that does not begin with house-, which is the bank's own";
        mistakes.push(Mistake::new("account_id", &request.account_id, allowed));
    }
    if request.opening_deposit_cents != 0 && !rules::is_cents(request.opening_deposit_cents) {
        let found = request.opening_deposit_cents.to_string();
        let allowed = format!("0 or {}", rules::CENTS);
        mistakes.push(Mistake::new("opening_deposit_cents", &found, &allowed));
    }
    if !mistakes.is_empty() {
        return Err(invalid_argument(&mistakes));
    }
    Ok(Operation {
        id: request.operation_id,
        kind: Kind::Open,
        account_id: request.account_id,
        customer_id: request.customer_id,
        amount_cents: request.opening_deposit_cents,
        currency: request.currency,
        reference: "opening deposit".to_owned(),
    })
}

fn valid_move(kind: Kind, request: MoveRequest) -> Result<Operation, Status> {
    let mut mistakes = Vec::new();
    check(
        &mut mistakes,
        "operation_id",
        &request.operation_id,
        (OPERATION_ID, is_operation_id),
    );
    check(
        &mut mistakes,
        "account_id",
        &request.account_id,
        (rules::ID, rules::is_id),
    );
    check(
        &mut mistakes,
        "currency",
        &request.currency,
        (rules::CURRENCY, rules::is_currency),
    );
    let text = (
        "at most 140 printable characters",
        rules::is_text as fn(&str) -> bool,
    );
    check(&mut mistakes, "reference", &request.reference, text);
    if !rules::is_cents(request.amount_cents) {
        let found = request.amount_cents.to_string();
        mistakes.push(Mistake::new("amount_cents", &found, rules::CENTS));
    }
    if !mistakes.is_empty() {
        return Err(invalid_argument(&mistakes));
    }
    Ok(Operation {
        id: request.operation_id,
        kind,
        account_id: request.account_id,
        customer_id: String::new(),
        amount_cents: request.amount_cents,
        currency: request.currency,
        reference: request.reference,
    })
}

type Rule = (&'static str, fn(&str) -> bool);

fn check(mistakes: &mut Vec<Mistake>, field: &str, found: &str, (allowed, is_right): Rule) {
    if !is_right(found) {
        mistakes.push(Mistake::new(field, found, allowed));
    }
}
