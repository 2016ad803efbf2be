//! Each drill of the bank holds its promise.

use anyhow::{Context as _, Result};
use usher_tests::{binary, run};

fn drill(name: &str) -> Result<()> {
    let output = run(&binary("bank"), ["drill", name, "--json"]);
    // Nothing but the document is on standard output.
    let report: serde_json::Value = serde_json::from_str(&output.stdout).with_context(|| {
        format!(
            "exit {:?}\n{}\n{}",
            output.code, output.stdout, output.stderr
        )
    })?;
    anyhow::ensure!(
        output.code == Some(0) && report["held"] == true && report["drills"][0]["name"] == name,
        "{report:#}\n{}",
        output.stderr
    );
    Ok(())
}

/// Also what people read: the story and its verdict on standard output, nothing on standard error.
#[test]
fn a_thousand_payments_sum_up() {
    let output = run(&binary("bank"), ["drill", "payment"]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.starts_with("payment: opening the bank\n"));
    let verdict = output.stdout.lines().last().unwrap_or_default();
    assert!(verdict.starts_with("payment: held after"), "{verdict}");
    assert_eq!(output.stderr, "");
}

macro_rules! drills {
    ($($function:ident => $name:literal),* $(,)?) => {
        $(#[test]
        fn $function() -> Result<()> {
            drill($name)
        })*
    };
}

drills! {
    payments_go_on_while_fraud_detection_is_dead => "fraud-down",
    payments_go_on_while_fraud_detection_is_slow => "fraud-slow",
    nothing_is_done_twice => "retry-safety",
    notifications_arrive_after_an_outage_once => "notification-down",
    payments_go_on_without_a_control_plane => "control-plane-down",
    strangers_are_refused_and_counted => "strangers",
    a_rolling_restart_fails_no_payment => "restart",
    a_crash_of_any_process_loses_no_acknowledged_payment => "crash",
}
