//! Who belongs to the bank: every workload, how many of it, what it needs from its environment.
//!
//! The services know nothing of the mesh: they read `HOST`, `PORT`, a database and their peers' URLs, and
//! send calls to where `http_proxy` points. All of these come from here or from `usher run`.

use std::path::Path;

use crate::programs::Program;

/// The namespace of everything in the bank.
pub(crate) const NAMESPACE: &str = "bank";

/// One workload: a program that runs behind a sidecar.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// The name in the mesh: of the service, the workload and its service account.
    pub(crate) service: &'static str,
    pub(crate) program: Program,
    pub(crate) replicas: u32,
    /// Whether it listens: then it gets a port, and is ready once it accepts connections there.
    pub(crate) serves: bool,
    /// Whether it stores; replicas share the file.
    pub(crate) stores: bool,
    /// Names and values of its environment, beside what all get.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Later waves are stopped first: whoever calls ends before whom it calls.
    pub(crate) wave: Wave,
}

/// The order in which the bank closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wave {
    /// Those that only answer.
    Leaves,
    /// Those that answer by asking others.
    Middle,
    /// Those that only ask.
    Callers,
}

impl Workload {
    fn new(program: Program, wave: Wave) -> Self {
        let only_calls = wave == Wave::Callers;
        let service = program.name();
        Self {
            service,
            program,
            replicas: 1,
            serves: !only_calls,
            stores: !only_calls,
            environment: vec![],
            wave,
        }
    }

    /// The name of one instance, for people: `account-1`.
    pub(crate) fn instance(&self, replica: u32) -> String {
        format!("{}-{replica}", self.service)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }
}

/// The bank as `bank run` starts it, without its load.
pub(crate) fn services() -> Vec<Workload> {
    let leaf = |program| Workload::new(program, Wave::Leaves);
    vec![
        Workload {
            replicas: 2,
            ..leaf(Program::Account)
        },
        leaf(Program::FraudDetection),
        leaf(Program::FraudRules),
        leaf(Program::CustomerProfile),
        leaf(Program::Notification),
        leaf(Program::Reporting),
        Workload::new(Program::Transaction, Wave::Middle)
            .with("ACCOUNT_URL", "http://account.bank:50051")
            .with("FRAUD_URL", "http://fraud-detection.bank:50052")
            .with("NOTIFICATION_URL", "http://notification.bank")
            .with("REPORTING_URL", "http://reporting.bank"),
    ]
}

/// The load: opens accounts and makes `rate` payments a second.
pub(crate) fn teller(rate: u32) -> Workload {
    Workload::new(Program::Teller, Wave::Callers)
        .with("ACCOUNT_URL", "http://account.bank:50051")
        .with("TRANSACTION_URL", "http://transaction.bank")
        .with("CUSTOMER_URL", "http://customer-profile.bank")
        .with("TELLER_RATE", rate.to_string())
}

/// A program of drill `retry-safety`, under any name; its executions are noted in `file`.
pub(crate) fn flaky(service: &'static str, program: Program, file: &Path) -> Workload {
    let leaf = Workload::new(program, Wave::Leaves);
    Workload {
        service,
        stores: false,
        ..leaf
    }
    .with("EXECUTIONS", file.to_string_lossy())
}

/// Knows nobody, and nobody wants to know him: a valid identity that is on no list.
pub(crate) fn stranger() -> Workload {
    Workload::new(Program::Stranger, Wave::Callers)
}

/// Lends its sidecar to the launcher, which reads the books through it.
pub(crate) fn auditor() -> Workload {
    Workload::new(Program::Auditor, Wave::Callers)
}

#[cfg(test)]
mod tests;
