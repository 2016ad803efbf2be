//! Many streams at once: each gets its first snapshot in turn, and none holds up the others for long.

use super::*;
use crate::{telemetry::metrics::Metrics, xds::admission::Bounds};

/// One first snapshot at once, and one more in line.
fn narrow() -> (Door, Metrics) {
    let metrics = Metrics::new().expect("unique names");
    let bounds = Bounds {
        places: 1,
        wait_max: Duration::from_millis(2),
        away_max: Duration::from_secs(60),
    };
    (Door::with(bounds, 64, metrics.streams.clone()), metrics)
}

async fn first_batch(channel: Channel) -> (Proxy, Vec<DeltaDiscoveryResponse>) {
    let mut proxy = Proxy::connect(channel).await;
    proxy.subscribe(Topic::Service, "bank/account").await;
    let batch = proxy.batch().await;
    (proxy, batch)
}

#[tokio::test]
async fn the_next_first_snapshot_is_made_when_one_was_answered_or_is_not_answered_in_time() {
    let (door, metrics) = narrow();
    let (_state, channel) = serve_behind(door).await;
    let (first, batch) = first_batch(channel.clone()).await;
    let second = tokio::spawn(first_batch(channel.clone()));
    let waiting = |number| metrics.streams.waiting.get() == number;
    eventually(|| waiting(1)).await;

    let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
    let nothing = tokio_stream::pending::<DeltaDiscoveryRequest>();
    let refused = client.delta_aggregated_resources(nothing).await;
    let refused = refused.expect_err("the line is full");
    let after = refused.metadata().get(usher_config::wire::RETRY_PUSHBACK);
    assert!(after.is_some(), "{refused:?}");

    assert!(!second.is_finished());
    first.answer(&batch, None).await;
    let (_silent, batch) = second.await.expect("no panic");
    assert!(waiting(0) && !batch.is_empty());
    // The second answers nothing: the third waits for a while, and no longer.
    let third = timeout(PLACE_HELD_MAX * 3, first_batch(channel)).await;
    assert!(third.is_ok());
}

#[tokio::test]
async fn one_that_reads_nothing_and_is_sent_away_keeps_no_place() {
    let (door, metrics) = narrow();
    let (_state, endpoint) = serve_at(door).await;
    let deaf = endpoint.clone().initial_stream_window_size(0);
    let deaf = Proxy::connect(deaf.connect().await.expect("connected")).await;
    for topic in [Topic::Service, Topic::InboundPolicy] {
        deaf.subscribe(topic, "bank/account").await;
    }
    deaf.subscribe(Topic::Endpoint, "bank/account/*").await;
    let channel = endpoint.connect().await.expect("connected");
    let next = tokio::spawn(first_batch(channel));
    eventually(|| metrics.streams.waiting.get() == 1).await;
    let nonsense = DeltaDiscoveryRequest {
        type_url: "nothing that there is".into(),
        ..DeltaDiscoveryRequest::default()
    };
    deaf.requests.send(nonsense).await.expect("open");
    let next = timeout(FAREWELL_MAX, next).await;
    assert!(next.is_ok_and(|next| next.is_ok()), "its turn has come");
}
