//! Calls without a pause through the callers' sidecars, on a thread of its own. None may fail: nothing is done to the
//! applications.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Result;
use http::{HeaderMap, HeaderValue, Method};
use usher_tests::Client;

/// After each call: the machine is shared with fifteen processes.
const PAUSE: Duration = Duration::from_millis(10);
/// A call that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// What callers saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    answered: AtomicU64,
    slowest_micros: AtomicU64,
    failed: Mutex<Vec<String>>,
    stop: AtomicBool,
    number: AtomicU64,
}

impl Tally {
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_micros.load(Ordering::Relaxed))
    }

    /// Failures since it was last asked.
    pub(super) fn take_failed(&self) -> Vec<String> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut failed)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Until the tally is told to stop.
pub(super) fn start(outbound: Vec<String>, tally: Arc<Tally>) -> JoinHandle<Result<()>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut callers = tokio::task::JoinSet::new();
        for address in outbound {
            for method in [Method::GET, Method::POST] {
                let (client, tally) = (Client::through(&address), tally.clone());
                callers.spawn_on(call(client, method, tally), runtime.handle());
            }
        }
        runtime.block_on(callers.join_all());
        Ok(())
    })
}

async fn call(client: Client, method: Method, tally: Arc<Tally>) {
    while !tally.stop.load(Ordering::Relaxed) {
        let mut headers = HeaderMap::new();
        let number = tally.number.fetch_add(1, Ordering::Relaxed);
        headers.insert("x-number", HeaderValue::from(number));
        let began = Instant::now();
        let asked = client.send(method.clone(), "http://api/", headers, "a".into());
        let failed = match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ok(answer)) if answer.status == 200 => None,
            Ok(Ok(answer)) => Some(format!(
                "{} {}",
                answer.status,
                answer.header("x-usher-reason")
            )),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("no answer within {LIMIT:?}")),
        };
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tally.slowest_micros.fetch_max(took, Ordering::Relaxed);
        match failed {
            None => drop(tally.answered.fetch_add(1, Ordering::Relaxed)),
            Some(why) => {
                let mut failed = tally.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(format!("{method}: {why} after {} ms", took / 1_000));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
