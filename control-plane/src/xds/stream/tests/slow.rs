//! Somebody who does not read, or does not answer, costs a bounded number of batches and nobody else's time.

use super::*;
use crate::xds::acknowledgement::BATCHES_MAX;

fn port(number: u16) -> String {
    OBJECTS.replace("8080", &number.to_string())
}

/// The revision that a batch ends with.
fn revision(batch: &[DeltaDiscoveryResponse]) -> u64 {
    let last = batch.last().expect("its end");
    last.system_version_info.parse().expect("a number")
}

#[tokio::test]
async fn one_that_answers_nothing_is_owed_a_few_batches_and_delays_nobody() {
    let (state, channel) = serve().await;
    let mut slow = Proxy::connect(channel.clone()).await;
    let mut quick = Proxy::connect(channel).await;
    for proxy in [&slow, &quick] {
        proxy.subscribe(Topic::Service, "bank/account").await;
    }
    // The closing revision is asked for before the subscription: there may be a batch without it.
    for round in 0..40_u16 {
        apply(&state, &port(9000 + round)).await;
        let newest = state.snapshots().borrow().revision().number;
        loop {
            let batch = quick.batch().await;
            quick.answer(&batch, None).await;
            if revision(&batch) == newest {
                break;
            }
        }
    }
    let newest = state.snapshots().borrow().revision().number;
    let mut owed = Vec::new();
    for _ in 0..BATCHES_MAX {
        owed.push(slow.batch().await);
    }
    let more = timeout(Duration::from_millis(200), slow.responses.next()).await;
    assert!(more.is_err(), "nothing more is kept for it");
    assert!(revision(owed.last().expect("some")) < newest);
    for batch in &owed {
        slow.answer(batch, None).await;
    }
    let rest = slow.batch().await;
    assert_eq!(revision(&rest), newest, "all that it missed at once");
    slow.answer(&rest, None).await;
    eventually(|| {
        let proxies = state.status().proxies;
        proxies.len() == 2 && proxies.iter().all(|proxy| proxy.up_to_date)
    })
    .await;
}
