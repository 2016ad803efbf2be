//! Pool: a peer that closes idle connections early is learned from, and forgiven.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use http::{Request, Response};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_local,
    time::{Instant, advance},
};

use super::patience::{IDLE_MAX, Learned, bound};
use super::*;
use crate::{
    http::{Body, headers::KeepAlive},
    tcp::Stream,
    upstream::handshake_http1,
};

const SECOND: Duration = Duration::from_secs(1);
const KEY: Key = Key {
    endpoint: 1,
    port: 80,
    upgrades: false,
};

/// Answers one request per connection and closes under the next one.
async fn hasty_peer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn_local(async move {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
                let _ = stream.read(&mut head).await;
            });
        }
    });
    address
}

async fn dial(pool: &Pool, address: SocketAddr) -> Http1 {
    let stream = Stream::Plain(TcpStream::connect(address).await.unwrap());
    let home = Rc::downgrade(&pool.http1(KEY));
    handshake_http1(stream, address, home, ()).await.unwrap()
}

async fn ask(connection: Http1) -> Result<Response<Body>, ProxyError> {
    let request = Request::get("/").header("host", "a").body(Body::Empty);
    connection.exchange(request.unwrap()).await
}

/// A free connection, once its last exchange is off its hands.
async fn idle(pool: &Pool) -> Http1 {
    loop {
        if let Some(connection) = pool.idle_http1(KEY) {
            return connection;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_close_under_a_request_teaches_the_connections_after_it() {
    let address = hasty_peer().await;
    let pool = Pool::default();
    ask(dial(&pool, address).await).await.unwrap();
    advance(2 * SECOND).await;
    let raced = ask(idle(&pool).await).await.unwrap_err();
    assert!(matches!(raced, ProxyError::IdleRace { .. }), "{raced}");
    ask(dial(&pool, address).await).await.unwrap();
    drop(idle(&pool).await);
    ask(dial(&pool, address).await).await.unwrap();
    // Within the three seconds that others get, beyond the one that this peer gets now.
    advance(SECOND + SECOND / 10).await;
    assert!(pool.idle_http1(KEY).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_is_forgotten_step_by_step() {
    let now = Instant::now();
    let learned = Some(Learned::from_race(SECOND, None, now));
    let at = |seconds| bound(KeepAlive::Unsaid, learned, now + seconds * SECOND);
    assert_eq!(at(0), SECOND / 2);
    assert_eq!(at(59), SECOND / 2);
    assert_eq!(at(60), SECOND);
    assert_eq!(at(600), IDLE_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_promises_counts_less_a_margin_and_up_to_a_minute() {
    let now = Instant::now();
    for (promised, kept_ms) in [(0, 0), (1, 500), (5, 4_500), (3600, 60_000)] {
        let keep = KeepAlive::For(promised * SECOND);
        assert_eq!(bound(keep, None, now), Duration::from_millis(kept_ms));
    }
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_a_connection_that_another_dials_holds_no_place() {
    let hops = Rc::new(Hops::default());
    let dials = hops.clone();
    spawn_local(async move { dials.take(std::future::pending).await.is_ok() });
    tokio::task::yield_now().await;
    let place = Rc::new(());
    let (waits, held) = (hops.clone(), place.clone());
    let dial = move || {
        drop(held);
        std::future::pending()
    };
    spawn_local(async move { waits.take(dial).await.is_ok() });
    tokio::task::yield_now().await;
    assert_eq!(Rc::strong_count(&place), 1);
}

#[tokio::test(flavor = "local")]
async fn a_dial_that_panics_keeps_nobody_else_from_dialling() {
    let hops = Rc::new(Hops::default());
    let refusal = || ProxyError::UpstreamProtocol {
        endpoint: ([127, 0, 0, 1], 1).into(),
    };
    let panics = hops.clone().take(|| async move {
        assert!(std::hint::black_box(false), "on purpose");
        Err(refusal())
    });
    assert!(matches!(panics.await, Err(ProxyError::Internal { .. })));
    let next = hops.take(|| async move { Err(refusal()) }).await;
    assert!(matches!(next, Err(ProxyError::UpstreamProtocol { .. })));
}

proptest! {
    /// No promise outlives a race, and races only ever make the bound smaller.
    #[test]
    fn a_race_is_never_repeated_at_the_same_age(
        idled in prop::collection::vec(20u64..60_000, 1..20),
        promised in prop::option::of(0u64..120),
    ) {
        let keep = promised.map_or(KeepAlive::Unsaid, |seconds| KeepAlive::For(Duration::from_secs(seconds)));
        let now = Instant::now();
        let learned = Cell::new(None);
        let mut least = bound(keep, None, now);
        for idled in idled.into_iter().map(Duration::from_millis) {
            learned.set(Some(Learned::from_race(idled, learned.get(), now)));
            let allowed = bound(keep, learned.get(), now);
            prop_assert!(allowed <= least && allowed < idled);
            least = allowed;
        }
    }
}
