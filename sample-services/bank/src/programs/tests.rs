//! The executable knows itself by any of its names.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

#[test]
fn a_link_s_name_selects_the_program_and_keeps_all_arguments() {
    let arguments = words("/tmp/bank/bin/usher serve --config x");
    assert_eq!(
        Program::select(&arguments),
        Some((Program::Usher, arguments))
    );
}

#[test]
fn the_first_argument_selects_the_program_and_becomes_its_name() {
    let selected = Program::select(&words("target/release/bank usher-proxy --service a"));
    assert_eq!(
        selected,
        Some((Program::UsherProxy, words("usher-proxy --service a")))
    );
}

#[test]
fn anything_else_is_for_the_launcher() {
    for line in [
        "bank",
        "bank run --for 10s",
        "bank drill payment",
        "./bank --data usher.d",
    ] {
        assert_eq!(Program::select(&words(line)), None, "{line}");
    }
}

#[test]
fn every_program_has_a_name_of_its_own() {
    for program in Program::ALL {
        let selected = Program::select(&[OsString::from(program.name())]);
        assert_eq!(selected.map(|(program, _)| program), Some(program));
    }
}
