//! Requests at fixed times, whether or not the earlier ones were answered.
//!
//! Latency counts from the time at which a request was due, not from when it was sent: a stall of the proxy delays
//! the requests behind it, and users would feel that too (coordinated omission is what hides it in a closed loop).

use std::{
    os::fd::{AsFd as _, AsRawFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::{io::unix::AsyncFd, net::TcpStream, task::JoinSet, time::Instant};

use crate::kept::Kept;

/// Requests under way at a time. At 1,000 a second this is a stall of a second: then the run says so.
const IN_FLIGHT_MAX: usize = 1_000;

/// What came of the requests.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// From due to answered, ascending.
    pub(crate) latencies: Vec<Duration>,
    /// Not answered with 200, or not even sent because too many were under way.
    pub(crate) errors: u64,
}

/// Sends `rate` requests a second to `entry` for that long, and waits for the answers.
pub(crate) async fn run(entry: &str, rate: u32, length: Duration) -> Result<Answers> {
    ensure!(
        rate > 0,
        "a rate of 0 is no load; allowed: 1 and more requests a second"
    );
    let timer = Timer::new()?;
    let idle = Arc::new(Mutex::new(Vec::new()));
    let mut under_way = JoinSet::new();
    let mut answers = Answers::default();
    let mut pacer = Pacer::new(rate, length, Instant::now());
    loop {
        match pacer.next(Instant::now()) {
            Due::Now(due) if under_way.len() < IN_FLIGHT_MAX => {
                under_way.spawn(request(entry.to_owned(), idle.clone(), due));
            }
            Due::Now(_) => answers.errors += 1,
            Due::In(wait) => timer.wait(wait).await?,
            Due::Over => break,
        }
        while let Some(answered) = under_way.try_join_next() {
            answers.add(answered?);
        }
    }
    while let Some(answered) = under_way.join_next().await {
        answers.add(answered?);
    }
    answers.latencies.sort_unstable();
    Ok(answers)
}

impl Answers {
    fn add(&mut self, answered: Result<Duration>) {
        match answered {
            Ok(latency) => self.latencies.push(latency),
            Err(_) => self.errors += 1,
        }
    }
}

type Idle = Mutex<Vec<Kept<TcpStream>>>;

/// On a connection that waits, or on a new one, as any client with a pool does.
async fn request(entry: String, idle: Arc<Idle>, due: Instant) -> Result<Duration> {
    let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut kept = match waiting {
        Some(kept) => kept,
        None => {
            let stream = TcpStream::connect(&entry).await?;
            stream.set_nodelay(true)?;
            Kept::new(stream)
        }
    };
    let status = kept.get().await?;
    let latency = due.elapsed();
    idle.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(kept);
    ensure!(status == 200, "status {status}");
    Ok(latency)
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// A request that was due then.
    Now(Instant),
    /// Nothing before that has passed.
    In(Duration),
    /// No more requests.
    Over,
}

/// When each request is due. Pure: time is an argument.
#[derive(Debug)]
struct Pacer {
    start: Instant,
    rate: u32,
    next: u64,
    count: u64,
}

impl Pacer {
    /// The first request is due at `start`.
    fn new(rate: u32, length: Duration, start: Instant) -> Self {
        let count = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            start,
            rate,
            next: 0,
            count: count.saturating_mul(u64::from(rate)) / 1000,
        }
    }

    /// Each request is given out once; those that are late keep the time at which they were due.
    fn next(&mut self, now: Instant) -> Due {
        if self.next >= self.count {
            return Due::Over;
        }
        // From the start each time: the interval rounded to nanoseconds would add up.
        let nanos = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate);
        let due = self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if due > now {
            return Due::In(due - now);
        }
        self.next += 1;
        Due::Now(due)
    }
}

/// A timer of the kernel: tokio's own rounds up to milliseconds, which is more than what is measured.
struct Timer(AsyncFd<Descriptor>);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    fn new() -> Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for descriptors that others could close; this one is our own"
        )]
        let registered = AsyncFd::new(Descriptor(timer))?;
        Ok(Self(registered))
    }

    async fn wait(&self, length: Duration) -> Result<()> {
        let expiration = Expiration::OneShot(length.into());
        let timer = &self.0.get_ref().0;
        timer.set(expiration, TimerSetTimeFlags::empty())?;
        // Its expirations are not read: setting it again takes them back.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Due, Pacer};

    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn requests_are_due_evenly_and_then_over() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1_000, 3 * MILLI, start);
        assert_eq!(pacer.next(Instant::now()), Due::Now(start));
        assert_eq!(pacer.next(Instant::now()), Due::In(MILLI));
        advance(MILLI).await;
        assert_eq!(pacer.next(Instant::now()), Due::Now(start + MILLI));
        advance(MILLI).await;
        assert_eq!(pacer.next(Instant::now()), Due::Now(start + 2 * MILLI));
        assert_eq!(pacer.next(Instant::now()), Due::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stall_each_late_request_keeps_its_own_time() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1_000, Duration::from_secs(1), start);
        advance(5 * MILLI).await;
        for number in 0..=5 {
            assert_eq!(pacer.next(Instant::now()), Due::Now(start + number * MILLI));
        }
        assert_eq!(pacer.next(Instant::now()), Due::In(MILLI));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_divides_no_second_does_not_drift() {
        let start = Instant::now();
        let mut pacer = Pacer::new(3, Duration::from_secs(1_000), start);
        advance(Duration::from_secs(999)).await;
        let mut last = start;
        let mut count = 0;
        while let Due::Now(due) = pacer.next(Instant::now()) {
            (last, count) = (due, count + 1);
        }
        assert_eq!((last, count), (start + Duration::from_secs(999), 2_998));
    }
}
