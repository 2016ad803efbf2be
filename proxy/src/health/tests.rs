//! Health: thresholds in a row, and the three probes against real listeners.

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn check(failure_threshold: u32, success_threshold: u32) -> HealthCheck {
    HealthCheck {
        failure_threshold,
        success_threshold,
        ..HealthCheck::default()
    }
}

#[test]
fn an_application_is_unhealthy_until_it_has_passed_often_enough() {
    let (mut streak, check) = (Streak::default(), check(3, 2));
    assert_eq!(streak.observe(Outcome::Passed, &check), Health::Unhealthy);
    assert_eq!(streak.observe(Outcome::Failed, &check), Health::Unhealthy);
    assert_eq!(streak.observe(Outcome::Passed, &check), Health::Unhealthy);
    assert_eq!(streak.observe(Outcome::Passed, &check), Health::Healthy);
}

#[test]
fn one_success_forgives_the_failures_before_it() {
    let (mut streak, check) = (Streak::default(), check(2, 1));
    streak.observe(Outcome::Passed, &check);
    assert_eq!(streak.observe(Outcome::Failed, &check), Health::Healthy);
    assert_eq!(streak.observe(Outcome::Passed, &check), Health::Healthy);
    assert_eq!(streak.observe(Outcome::Failed, &check), Health::Healthy);
    assert_eq!(streak.observe(Outcome::Failed, &check), Health::Unhealthy);
}

proptest! {
    #[test]
    fn health_changes_exactly_after_a_whole_streak(
        outcomes in prop::collection::vec(any::<bool>(), 0..64),
        failures in 1..5_u32,
        successes in 1..5_u32,
    ) {
        let (mut streak, check) = (Streak::default(), check(failures, successes));
        let (mut health, mut run) = (Health::Unhealthy, 0);
        for passed in outcomes {
            let against = passed == (health == Health::Unhealthy);
            run = if against { run + 1 } else { 0 };
            if run == if passed { successes } else { failures } && against {
                run = 0;
                health = if passed { Health::Healthy } else { Health::Unhealthy };
            }
            let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
            prop_assert_eq!(streak.observe(outcome, &check), health);
        }
    }
}

async fn answering(response: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn http_is_well_from_200_to_399() {
    let probe = HealthProbe::Http {
        path: "/healthz".into(),
    };
    let check = HealthCheck {
        probe,
        ..HealthCheck::default()
    };
    for (response, expected) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Outcome::Passed,
        ),
        (
            "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
            Outcome::Passed,
        ),
        (
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            Outcome::Failed,
        ),
        ("nonsense", Outcome::Failed),
    ] {
        assert_eq!(
            outcome(answering(response).await, &check).await,
            expected,
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(
        outcome(address, &HealthCheck::default()).await,
        Outcome::Passed
    );
    drop(listener);
    for probe in [
        HealthProbe::Tcp,
        HealthProbe::Grpc {
            service: String::new(),
        },
    ] {
        let check = HealthCheck {
            probe,
            ..HealthCheck::default()
        };
        assert_eq!(outcome(address, &check).await, Outcome::Failed);
    }
}
