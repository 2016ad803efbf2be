//! Every control plane knows who calls in plaintext, whichever of them was told.

use std::time::SystemTime;

use super::*;
use crate::registry::callers::Caller;

fn callers(state: &State) -> Vec<String> {
    let callers = state.callers().into_iter();
    callers.map(|one| one.address.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn callers_are_known_to_all_and_to_who_starts_later() {
    let hub = Arc::new(Hub::default());
    let (one, _) = hub.join(0).await;
    let (other, _) = hub.join(1).await;
    one.apply(configuration(&[1]), Path::new(""))
        .await
        .expect("written");
    let lease = one.enter(&name(), instance()).await.expect("registered");
    assert_eq!(callers(&other), Vec::<String>::new());

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let told = [Caller {
        address: [192, 0, 2, 7].into(),
        port: 8080,
        first: now - 60,
        last: now - 30,
        refused: None,
        let_in: Some(now - 30),
    }]
    .into();
    let identity = instance().identity;
    let renewal = Renewal {
        lease: &lease,
        identity: &identity,
        healthy: true,
        health_reason: "",
        revision: 1,
        callers: Some(&told),
    };
    other.stay(&name(), &renewal).await.expect("renewed");
    for state in [&one, &other] {
        let heard = async {
            while callers(state).is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = timeout(Duration::from_secs(10), heard).await;
        assert!(heard.is_ok());
        assert_eq!(callers(state), ["192.0.2.7"]);
    }
    let (late, _) = hub.join(2).await;
    assert_eq!(callers(&late), ["192.0.2.7"]);

    // Another's word counts for nothing.
    let stranger = "spiffe://usher.local/ns/bank/sa/other".parse();
    let stranger = stranger.expect("valid");
    let forged = Renewal {
        identity: &stranger,
        callers: Some(&Default::default()),
        ..renewal
    };
    assert!(late.stay(&name(), &forged).await.is_err());

    // Who is gone has seen what he has seen.
    one.leave(&name(), &lease, &identity).await.expect("leaves");
    assert_eq!(callers(&late), ["192.0.2.7"]);
}
