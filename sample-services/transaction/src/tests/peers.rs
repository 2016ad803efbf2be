//! Peers that do and answer what the test plans, on loopback, and remember what they were asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bank_chassis::grpc;
use bank_chassis::problem::Problem;
use bank_chassis::proto::account::account_server::{Account, AccountServer};
use bank_chassis::proto::account::{
    AccountState, BalanceRequest, ListTotalsRequest, ListTotalsResponse, MoveRequest, MoveResponse,
    OpenRequest,
};
use bank_chassis::proto::fraud::fraud_server::{Fraud, FraudServer};
use bank_chassis::proto::fraud::{AssessRequest, AssessResponse, Decision};
use bank_chassis::rest::{self, Listener};
use bank_chassis::settings::{BaseUrl, Setting};
use bank_chassis::shutdown::{Shutdown, Trigger};
use http::StatusCode;
use serde_json::Value;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What a peer does when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// Done, but the caller is told that nobody knows.
    DoneUnanswered,
    /// Done, and the answer never comes.
    DoneAndSilent,
    /// Not done, and never will be.
    Refuse,
    /// Not done.
    Unavailable,
}

#[derive(Debug, Default)]
struct Memory {
    plans: HashMap<String, Reply>,
    asked: HashMap<String, usize>,
    booked: BTreeSet<String>,
    events: Vec<Value>,
}

type Shared = Arc<Mutex<Memory>>;

pub(crate) struct Peers {
    pub(crate) grpc: BaseUrl,
    pub(crate) rest: BaseUrl,
    memory: Shared,
    _stop: Trigger,
}

impl Peers {
    pub(crate) async fn start() -> Self {
        let memory = Shared::default();
        let (stop, shutdown) = Shutdown::by_hand();
        let (listener, grpc_url) = bind().await;
        let fake = Fake(Arc::clone(&memory));
        let routes =
            Routes::new(AccountServer::new(fake.clone())).add_service(FraudServer::new(fake));
        tokio::spawn(grpc::serve(listener, "fakes", routes, shutdown.clone()));
        let (listener, rest_url) = bind().await;
        let routes = Router::new()
            .route("/v1/events", post(take))
            .with_state(Arc::clone(&memory));
        tokio::spawn(rest::serve(listener, routes, shutdown));
        Self {
            grpc: grpc_url,
            rest: rest_url,
            memory,
            _stop: stop,
        }
    }

    /// From now on `step` (assess, debit, credit, refund, event, event/PAYMENT) is answered so.
    pub(crate) fn plan(&self, step: &str, reply: Reply) {
        self.memory
            .lock()
            .expect("memory")
            .plans
            .insert(step.into(), reply);
    }

    /// Operation ids that took effect, sorted.
    pub(crate) fn booked(&self) -> Vec<String> {
        self.memory
            .lock()
            .expect("memory")
            .booked
            .iter()
            .cloned()
            .collect()
    }

    pub(crate) fn asked(&self, step: &str) -> usize {
        self.memory
            .lock()
            .expect("memory")
            .asked
            .get(step)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.memory.lock().expect("memory").events.clone()
    }
}

async fn bind() -> (Listener, BaseUrl) {
    let listener = Listener::bind("127.0.0.1:0".parse().expect("address"))
        .await
        .expect("bound");
    let url = format!("http://{}", listener.address().expect("address"));
    (listener, BaseUrl::parse(&url).expect("url"))
}

#[derive(Debug, Clone)]
struct Fake(Shared);

impl Fake {
    /// Carries out the plan for `step`, of which `done` is the effect.
    async fn act(&self, step: &str, done: impl FnOnce(&mut Memory)) -> Result<(), Status> {
        let plan = {
            let mut memory = self.0.lock().expect("memory");
            *memory.asked.entry(step.into()).or_default() += 1;
            let plan = memory.plans.get(step).copied().unwrap_or(Reply::Done);
            if !matches!(plan, Reply::Refuse | Reply::Unavailable) {
                done(&mut memory);
            }
            plan
        };
        match plan {
            Reply::Done => Ok(()),
            Reply::DoneUnanswered | Reply::Unavailable => Err(Status::unavailable("planned")),
            Reply::DoneAndSilent => std::future::pending().await,
            Reply::Refuse => Err(Status::failed_precondition("insufficient-funds: planned")),
        }
    }

    async fn book(&self, request: MoveRequest) -> Result<Response<MoveResponse>, Status> {
        let step = request
            .operation_id
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let operation = request.operation_id.clone();
        self.act(&step, |memory| {
            memory.booked.insert(operation);
        })
        .await?;
        Ok(Response::new(MoveResponse {
            customer_id: format!("owner-of-{}", request.account_id),
            account_id: request.account_id,
            balance_cents: 0,
            replayed: false,
        }))
    }
}

#[tonic::async_trait]
impl Account for Fake {
    async fn open(&self, _request: Request<OpenRequest>) -> Result<Response<AccountState>, Status> {
        Err(Status::unimplemented("not asked by transaction"))
    }

    async fn balance(
        &self,
        _request: Request<BalanceRequest>,
    ) -> Result<Response<AccountState>, Status> {
        Err(Status::unimplemented("not asked by transaction"))
    }

    async fn debit(&self, request: Request<MoveRequest>) -> Result<Response<MoveResponse>, Status> {
        self.book(request.into_inner()).await
    }

    async fn credit(
        &self,
        request: Request<MoveRequest>,
    ) -> Result<Response<MoveResponse>, Status> {
        self.book(request.into_inner()).await
    }

    async fn list_totals(
        &self,
        _request: Request<ListTotalsRequest>,
    ) -> Result<Response<ListTotalsResponse>, Status> {
        Err(Status::unimplemented("not asked by transaction"))
    }
}

#[tonic::async_trait]
impl Fraud for Fake {
    async fn assess(
        &self,
        _request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let refuse =
            self.0.lock().expect("memory").plans.get("assess").copied() == Some(Reply::Refuse);
        if !refuse {
            self.act("assess", |_| {}).await?;
        }
        let decision = if refuse {
            Decision::Decline
        } else {
            Decision::Approve
        };
        Ok(Response::new(AssessResponse {
            decision: decision.into(),
            score: 0.5,
            reasons: Vec::new(),
            engine: "fake".into(),
        }))
    }
}

async fn take(State(memory): State<Shared>, body: axum::body::Bytes) -> Result<(), Problem> {
    let mut memory = memory.lock().expect("memory");
    if memory.plans.get("event") == Some(&Reply::Unavailable) {
        return Err(Problem::unavailable("planned"));
    }
    let event: Value = serde_json::from_slice(&body).expect("JSON");
    let alone = format!("event/{}", event["paymentId"].as_str().expect("text"));
    if memory.plans.get(&alone) == Some(&Reply::Unavailable) {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Err(Problem::new(status, "planned for this one"));
    }
    memory.events.push(event);
    Ok(())
}
