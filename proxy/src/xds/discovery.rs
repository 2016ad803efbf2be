//! The one place where a request waits for the control thread: the first dial of an unknown service.

use std::{net::IpAddr, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use usher_config::value::ServiceName;

/// The longest that a request waits for a service's first configuration.
pub const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(1);

/// Requests that wait at once, for all services together; more are told [`Resolution::TimedOut`] at once.
pub const WAITERS_MAX: usize = 1_000;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The snapshot now has the service.
    Found,
    /// The mesh has no such service. Remembered for 5 s.
    Unknown,
    /// No answer in time, none that can be used, or too many are waiting.
    TimedOut,
}

/// Asks the control thread for services. Cheap to clone; one per worker.
#[derive(Debug, Clone)]
pub struct Discovery {
    questions: mpsc::Sender<Question>,
}

/// What the snapshot lacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sought {
    /// A service.
    Service(ServiceName),
    /// Whoever is at an address: a service by its virtual one, or by that of an endpoint.
    Address(IpAddr),
}

/// A question on its way to the control thread.
#[derive(Debug)]
pub struct Question {
    /// What.
    pub sought: Sought,
    /// Dropped without an answer when nobody will ever know.
    pub answer: oneshot::Sender<Resolution>,
}

/// Both ends: for the request path, and for whoever answers.
pub fn discovery() -> (Discovery, mpsc::Receiver<Question>) {
    let (questions, receiver) = mpsc::channel(WAITERS_MAX);
    (Discovery { questions }, receiver)
}

impl Discovery {
    /// Asks for a service that the snapshot lacks. After [`Resolution::Found`], load the snapshot again.
    pub async fn resolve(&self, service: &ServiceName) -> Resolution {
        self.ask(Sought::Service(service.clone())).await
    }

    /// Asks who is at an address. After [`Resolution::Found`], load the snapshot again.
    pub async fn resolve_address(&self, address: IpAddr) -> Resolution {
        self.ask(Sought::Address(address)).await
    }

    async fn ask(&self, sought: Sought) -> Resolution {
        let (answer, resolution) = oneshot::channel();
        let question = Question { sought, answer };
        if self.questions.try_send(question).is_err() {
            return Resolution::TimedOut;
        }
        match timeout(DISCOVERY_TIMEOUT, resolution).await {
            Ok(Ok(resolution)) => resolution,
            Ok(Err(_)) | Err(_) => Resolution::TimedOut,
        }
    }
}
