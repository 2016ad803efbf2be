//! The command line is understood with and without a verb.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn run_is_what_happens_without_a_verb() {
    let arguments = Arguments::try_parse_from(["bank", "--for", "1m30s", "--rate", "5"]).unwrap();
    assert!(arguments.verb.is_none());
    assert_eq!(arguments.run.duration, Some(Duration::from_secs(90)));
    assert_eq!(arguments.run.rate, 5);
}

#[test]
fn no_time_at_all_is_a_usage_mistake() {
    let error = Arguments::try_parse_from(["bank", "--for", "0s"]).unwrap_err();
    assert!(error.to_string().contains("such as 30s"), "{error}");
}

#[test]
fn a_drill_needs_a_known_name() {
    assert!(Arguments::try_parse_from(["bank", "drill", "all", "--json"]).is_ok());
    assert!(Arguments::try_parse_from(["bank", "drill", "fraud-down", "payment"]).is_ok());
    for (wrong, nearest) in [
        ("fraud-dwn", "fraud-down"),
        ("stranger", "strangers"),
        ("pay", "payment"),
    ] {
        let error = Arguments::try_parse_from(["bank", "drill", wrong]).unwrap_err();
        let tip = format!("a similar value exists: '{nearest}'");
        assert!(error.to_string().contains(&tip), "{error}");
    }
}

#[test]
fn help_has_examples_and_a_drill_without_a_name_is_helped() {
    for arguments in [
        &["bank", "--help"][..],
        &["bank", "drill", "--help"],
        &["bank", "drill"],
    ] {
        let help = Arguments::try_parse_from(arguments)
            .unwrap_err()
            .to_string();
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.contains("drill all --json"), "{help}");
    }
}
