//! What a worker cannot be without, kept up even if it panics.
//!
//! A panic in a request ends that request: tokio catches it with its task. One in what accepts, sweeps or writes the
//! log, or in the thread itself, would leave a worker that looks alive and serves nobody; so these begin anew.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use tokio::{task::spawn_local, time::sleep};
use tracing::error;

/// Before it begins anew: what panics at once should not keep a core busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs what `make` makes until it returns. After each panic `panicked` hears of it, and it is made anew.
pub(super) async fn keep_up<F>(panicked: impl Fn(), mut make: impl FnMut() -> F)
where
    F: Future<Output = ()> + 'static,
{
    while let Err(ended) = spawn_local(make()).await {
        if !ended.is_panic() {
            return;
        }
        panicked();
        sleep(PAUSE).await;
    }
}

/// Runs a thread's `life` until it returns. After a panic everything that it had is gone, and it begins anew.
///
/// # Errors
/// What `life` says.
pub(super) fn live_on(worker: usize, mut life: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        // What the next life takes over are counters and channels: valid whatever happened to the last one.
        match catch_unwind(AssertUnwindSafe(&mut life)) {
            Ok(ended) => return ended,
            Err(_) => error!(
                worker,
                "a worker panicked, and with it all its connections; it begins anew"
            ),
        }
        thread::park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn what_panics_begins_anew_and_is_counted() {
        let (begun, panicked) = (Rc::new(Cell::new(0)), Cell::new(0));
        let make = || {
            let begun = begun.clone();
            async move {
                begun.set(begun.get() + 1);
                assert!(begun.get() > 2, "on purpose");
            }
        };
        keep_up(|| panicked.set(panicked.get() + 1), make).await;
        assert_eq!((begun.get(), panicked.get()), (3, 2));
    }

    #[test]
    fn a_thread_outlives_its_panics() {
        let mut lives = 0;
        let ended = live_on(0, || {
            lives += 1;
            assert!(lives > 2, "on purpose");
            Err(io::ErrorKind::Other.into())
        });
        assert!(ended.is_err(), "what it says in the end is passed on");
        assert_eq!(lives, 3);
    }
}
