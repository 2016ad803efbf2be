//! Facts about what can't be finished or delivered now: it waits, is seen, and holds up no other.

use futures_util::StreamExt;
use futures_util::stream;

use super::*;

/// More than the resumer looks at in one round.
const MANY: usize = 260;

/// More than the relay delivers at once.
const BAD: usize = 12;

impl Service {
    async fn pay_many(&self, prefix: &str, count: usize) -> Vec<u16> {
        stream::iter(0..count)
            .map(|number| async move { self.pay(&format!("{prefix}{number}"), 100).await.0 })
            .buffer_unordered(32)
            .collect()
            .await
    }
}

#[tokio::test]
async fn events_that_make_a_consumer_fail_hold_up_no_others_and_are_never_lost() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    for number in 0..BAD {
        fakes.plan(&format!("event/bad{number}"), Reply::Unavailable);
    }
    assert_eq!(service.pay_many("bad", BAD).await, [201; BAD]);
    let mut good = 0;
    eventually(async || {
        assert_eq!(service.pay(&format!("good{good}"), 100).await.0, 201);
        good += 1;
        let (_, stats) = service.get("/v1/stats").await;
        let both = [
            &stats["outbox"]["notification"],
            &stats["outbox"]["reporting"],
        ];
        both.iter().all(|outbox| outbox["postponed"] == BAD)
    })
    .await;
    eventually(async || fakes.events().len() == 2 * good).await;
    let (_, stuck) = service.get("/v1/stuck").await;
    assert_eq!(stuck["payments"], json!([]));
    let listed = stuck["events"].as_array().expect("events");
    assert_eq!(listed.len(), 2 * BAD);
    assert!(
        listed
            .iter()
            .all(|event| event["failures"].as_u64() > Some(0))
    );
    for number in 0..BAD {
        fakes.plan(&format!("event/bad{number}"), Reply::Done);
    }
    eventually(async || fakes.events().len() == 2 * (good + BAD)).await;
    eventually(async || service.get("/v1/stuck").await.1["events"] == json!([])).await;
}

#[tokio::test]
async fn payments_that_a_person_must_look_at_are_listed_and_hold_up_no_others() {
    let (folder, fakes) = (tempfile::tempdir().expect("folder"), Fakes::start().await);
    let service = Service::start(&folder, &fakes).await;
    fakes.plan("credit", Reply::Refuse);
    fakes.plan("refund", Reply::Refuse);
    assert_eq!(service.pay_many("stuck", MANY).await, [202; MANY]);
    fakes.plan("credit", Reply::Unavailable);
    assert_eq!(service.pay("late", 100).await.0, 202);
    fakes.plan("credit", Reply::Done);
    service.wait_for_status("late", "completed").await;
    let (_, stats) = service.get("/v1/stats").await;
    assert_eq!(
        (&stats["stuck"], &stats["pending"]),
        (&json!(MANY), &json!(MANY))
    );
    let (_, stuck) = service.get("/v1/stuck").await;
    let first = &stuck["payments"][0];
    assert_eq!(
        (&first["step"], &first["trouble"]),
        (
            &json!("refunding"),
            &json!("the refund was refused: insufficient-funds")
        )
    );
    // They are tried on all the same, and leave the list when the refund is taken.
    fakes.plan("refund", Reply::Done);
    let id = first["id"].as_str().expect("text");
    service.wait_for_status(id, "refunded").await;
}
