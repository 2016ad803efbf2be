//! What the teller is told by its environment.

use std::path::PathBuf;

use bank_chassis::dial::Dialer;
use bank_chassis::problem::Mistake;
use bank_chassis::settings::{BaseUrl, Cents, Currency, Environment, Id};

/// See the crate's table.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) account: BaseUrl,
    pub(crate) transaction: BaseUrl,
    pub(crate) customer: BaseUrl,
    pub(crate) dialer: Dialer,
    pub(crate) rate: u32,
    pub(crate) concurrency: u32,
    pub(crate) count: Option<u32>,
    pub(crate) customers: u32,
    pub(crate) opening_cents: i64,
    pub(crate) currency: String,
    pub(crate) run: String,
    pub(crate) stats: Option<PathBuf>,
}

impl Settings {
    /// `None` after noting what is wrong.
    pub(crate) fn read(environment: &mut Environment) -> Option<Self> {
        let account = environment.required::<BaseUrl>("ACCOUNT_URL");
        let transaction = environment.required::<BaseUrl>("TRANSACTION_URL");
        let customer = environment.required::<BaseUrl>("CUSTOMER_URL");
        let dialer = Dialer::from_environment(environment);
        let rate = environment.or::<u32>("TELLER_RATE", 50);
        let concurrency = environment.or::<u32>("TELLER_CONCURRENCY", 64);
        let count = environment.optional::<u32>("TELLER_COUNT");
        let customers = environment.or::<u32>("TELLER_CUSTOMERS", 100);
        let opening = environment.or("TELLER_OPENING_CENTS", Cents(1_000_000));
        let currency = environment.or("TELLER_CURRENCY", Currency("EUR".to_owned()));
        let run = environment.or("TELLER_RUN", Id("teller".to_owned()));
        let stats = environment.optional::<PathBuf>("TELLER_STATS");
        let customers = in_range(environment, "TELLER_CUSTOMERS", customers, 2..=10_000);
        let rate = in_range(environment, "TELLER_RATE", rate, 1..=100_000);
        let concurrency = in_range(environment, "TELLER_CONCURRENCY", concurrency, 1..=10_000);
        let run = run.map(|Id(run)| run);
        if let Some(long) = run.as_ref().filter(|run| run.len() > 20) {
            let mistake = Mistake::new("TELLER_RUN", long, "at most 20 characters");
            environment.note(mistake);
            return None;
        }
        Some(Self {
            account: account?,
            transaction: transaction?,
            customer: customer?,
            dialer: dialer?,
            rate: rate?,
            concurrency: concurrency?,
            count: count?,
            customers: customers?,
            opening_cents: opening?.0,
            currency: currency?.0,
            run: run?,
            stats: stats?,
        })
    }
}

fn in_range(
    environment: &mut Environment,
    name: &str,
    number: Option<u32>,
    range: std::ops::RangeInclusive<u32>,
) -> Option<u32> {
    let number = number?;
    if range.contains(&number) {
        return Some(number);
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    environment.note(Mistake::new(name, &number.to_string(), &allowed));
    None
}
