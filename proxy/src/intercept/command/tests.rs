//! The command line: what is left out has its default, and what is wrong is refused with the reason.

use clap::CommandFactory as _;

use super::*;

fn settings(arguments: &[&str]) -> Result<Settings, String> {
    let all = [NAME, "install"].iter().chain(arguments);
    match Command::try_parse_from(all)
        .map_err(|error| error.to_string())?
        .verb
    {
        Verb::Install { rules, .. } => Settings::try_from(rules).map_err(|error| error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn examples_stand_in_the_help_as_they_were_written_however_narrow_the_terminal() {
    let help = Command::command().term_width(40).render_help().to_string();
    assert!(
        help.contains(AFTER_HELP) && help.contains("Usage:"),
        "{help}"
    );
}

#[test]
fn defaults_leave_the_sidecar_and_ssh_alone() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.exclude_uids, [1337]);
    assert_eq!(settings.mode, Inbound::Redirect);
    assert_eq!(settings.outbound.listener.get(), 15001);
    assert_eq!(settings.outbound.include_addresses, AddressSet::All);
    assert!(settings.inbound.exclude_ports.contains(22));
    assert!(settings.inbound.exclude_ports.contains(15020));
}

#[test]
fn more_exclusions_do_not_lock_anybody_out() {
    let more = settings(&["--exclude-inbound-ports", "9100"]).unwrap();
    let named = settings(&["--include-inbound-ports", "22,8080"]).unwrap();
    for port in [22, 9100, 15020] {
        assert!(more.inbound.exclude_ports.contains(port), "{port}");
    }
    assert!(
        !named.inbound.exclude_ports.contains(22),
        "asked for by its number"
    );
}

#[test]
fn mistakes_name_the_flag_and_what_is_allowed() {
    let said = settings(&["--exclude-outbound-cidrs", "10.0.0.1/8"]).unwrap_err();
    assert!(said.contains("--exclude-outbound-cidrs"), "{said}");
    assert!(said.contains("first address first"), "{said}");
    assert!(settings(&["--inbound", "magic"]).is_err());
    assert!(settings(&["--outbound-port", "0"]).is_err());
}

#[test]
fn both_ways_do_not_lead_to_one_port() {
    for arguments in [
        &["--outbound-port", "4000", "--inbound-port", "4000"][..],
        // The default of the other.
        &["--outbound-port", "15006"],
        &["--inbound-port", "15001", "--inbound", "tproxy"],
    ] {
        let said = settings(arguments).unwrap_err();
        assert!(
            said.contains("--outbound-port and --inbound-port are both"),
            "{said}"
        );
    }
    let off = ["--outbound-port", "15006", "--inbound", "off"];
    assert!(settings(&off).is_ok(), "nothing is handed to the other");
}

#[test]
fn of_a_control_group_only_its_own_calls_are_meant_whoever_makes_them() {
    let with = |more: &[&str]| settings(&[&["--only-cgroup", "a/b"], more].concat());
    let own = with(&["--outbound-port", "4000"]).unwrap();
    assert_eq!(own.mode, Inbound::Off);
    assert!(own.exclude_uids.is_empty(), "its sidecar is outside");
    assert_eq!(
        own,
        with(&["--inbound", "off", "--outbound-port", "4000"]).unwrap()
    );
    assert_eq!(
        (own.calls, with(&["--closed"]).unwrap().calls),
        (Calls::HandedOver, Calls::Refused)
    );
    let said = settings(&["--closed"]).unwrap_err();
    assert!(said.contains("--only-cgroup"), "{said}");
    assert_eq!(with(&["--exclude-uid", "7"]).unwrap().exclude_uids, [7]);
    let said = with(&["--inbound", "tproxy"]).unwrap_err();
    assert!(
        said.contains("--inbound tproxy and --only-cgroup"),
        "{said}"
    );
    let said = with(&["--exclude-inbound-ports", "22"]).unwrap_err();
    assert!(said.contains("--only-cgroup"), "{said}");
    assert!(
        settings(&["--only-cgroup", "/"])
            .unwrap_err()
            .contains("not the root of all")
    );
}
