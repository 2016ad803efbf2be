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

#[test]
fn checks_are_frequent_only_until_the_first_success_and_ever_less() {
    let second = Duration::from_secs(1);
    let starts: Vec<u128> = (1..=6)
        .map(|count| pause(second, Some(count)).as_millis())
        .collect();
    assert_eq!(starts, [100, 200, 400, 800, 1000, 1000]);
    assert_eq!(pause(second, None), second);
    let often = Duration::from_millis(1);
    assert_eq!(
        pause(often, Some(9)),
        INTERVAL_MIN,
        "never faster than that"
    );
}

#[test]
fn a_reason_is_news_once_and_stays_until_healthy() {
    let report = |health, failure: Option<&str>| Report {
        health,
        failure: failure.map(str::to_owned),
    };
    let mut known = Report::default();
    assert!(replace(&mut known, report(Health::Unhealthy, Some("a"))));
    assert!(!replace(&mut known, report(Health::Unhealthy, Some("b"))));
    assert_eq!(known.reason(), "b");
    assert!(!replace(&mut known, report(Health::Unhealthy, None)));
    assert_eq!(known.reason(), "b");
    assert!(replace(&mut known, report(Health::Healthy, None)));
    assert_eq!(known.reason(), "");
}

#[tokio::test]
async fn a_failing_check_says_what_it_asked_and_what_it_got() {
    let address = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let path = "/healthz".into();
    let check = HealthCheck {
        probe: HealthProbe::Http { path },
        ..HealthCheck::default()
    };
    let failure = outcome(address, &check).await.unwrap_err();
    assert_eq!(
        failure,
        format!("GET http://{address}/healthz → 404 Not Found")
    );
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let failure = outcome(nobody, &check).await.unwrap_err();
    assert!(
        failure.ends_with("→ connection refused: nothing listens there"),
        "{failure}"
    );
    let unimplemented = Status::unimplemented("");
    assert!(refusal(&unimplemented).starts_with("UNIMPLEMENTED"));
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
            outcome(answering(response).await, &check).await.is_ok(),
            expected == Outcome::Passed,
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(outcome(address, &HealthCheck::default()).await.is_ok());
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
        assert!(outcome(address, &check).await.is_err());
    }
}
