//! What people read who ask for help, or mistype.

use clap::CommandFactory as _;

use super::{super::Cli, *};

/// Of a command and all below it.
fn commands(command: Command) -> Vec<Command> {
    let below = command.get_subcommands().cloned().flat_map(commands);
    let below: Vec<Command> = below.collect();
    [vec![command], below].concat()
}

#[test]
fn examples_stand_in_the_help_as_they_were_written_however_narrow_the_terminal() {
    let all = commands(as_written(Cli::command().term_width(40)));
    let with_examples = all.iter().filter_map(|command| {
        let text = command.get_after_help()?.to_string();
        Some((command.clone(), text))
    });
    let with_examples: Vec<_> = with_examples.collect();
    assert!(with_examples.len() >= 8, "{}", with_examples.len());
    for (mut command, text) in with_examples {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            assert!(help.contains(&text), "{}: {help}", command.get_name());
            assert!(help.contains("Usage:"), "{help}");
        }
    }
}

#[test]
fn a_mistyped_verb_is_answered_with_the_one_that_was_meant() {
    let said = |arguments: &[&str]| {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let mut command = as_written(Cli::command());
        let mut error = command
            .try_get_matches_from_mut(&arguments)
            .expect_err("mistyped");
        suggest(&mut error, &command, &arguments);
        error.to_string()
    };
    for (arguments, meant) in [
        (&["usher", "rnu"][..], "'run'"),
        (&["usher", "stauts"], "'status'"),
        (&["usher", "token", "craete"], "'create'"),
    ] {
        let said = said(arguments);
        assert!(said.contains("similar") && said.contains(meant), "{said}");
    }
    let said = said(&["usher", "teid"]);
    assert!(!said.contains("tied"), "not for people: {said}");
}
