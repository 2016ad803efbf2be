//! Metrics are read as Prometheus reads them.

use super::*;

const TEXT: &str = r#"# HELP usher_requests_total Requests.
# TYPE usher_requests_total counter
usher_requests_total{code="200",flag="",service="account.bank"} 12
usher_requests_total{code="403",flag="AZ",service="account.bank"} 3
usher_requests_total{code="503",flag="UF,BO",service="odd \"name\" \\ {}"} 1
up 1
"#;

#[test]
fn a_sum_is_over_the_samples_with_all_the_labels() {
    let metrics = Metrics::parse(TEXT);
    assert_eq!(metrics.sum("usher_requests_total", &[]), 16.0);
    assert_eq!(
        metrics.sum("usher_requests_total", &[("flag", "AZ"), ("code", "403")]),
        3.0
    );
    assert_eq!(
        metrics.sum("usher_requests_total", &[("flag", "AZ"), ("code", "200")]),
        0.0
    );
    assert_eq!(metrics.sum("up", &[]), 1.0);
}

#[test]
fn escapes_and_braces_in_values_are_understood() {
    let metrics = Metrics::parse(TEXT);
    assert_eq!(
        metrics.sum("usher_requests_total", &[("service", "odd \"name\" \\ {}")]),
        1.0
    );
}

#[test]
fn several_flags_in_one_label_are_each_found() {
    let metrics = Metrics::parse(TEXT);
    let found = metrics.series("usher_requests_total", "flag", "BO");
    let name = "usher_requests_total{code=503,flag=UF,BO,service=odd \"name\" \\ {}}";
    assert_eq!(found, [(name.to_owned(), 1.0)].into());
}

#[test]
fn nonsense_is_left_out() {
    assert_eq!(Metrics::parse("a{b=\"c\nd{} x\n\n{}"), Metrics::default());
}
