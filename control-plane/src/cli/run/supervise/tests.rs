//! Which commands want a terminal.

use super::*;

#[test]
fn a_shell_is_interactive_without_a_script_or_a_command() {
    let interactive = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        is_interactive_shell(&words)
    };
    for yes in [&["bash"][..], &["/bin/zsh", "-l"], &["sh", "--login"]] {
        assert!(interactive(yes), "{yes:?}");
    }
    for no in [
        &["python3"][..],
        &["sh", "-c", "echo"],
        &["bash", "run.sh"],
        &[],
    ] {
        assert!(!interactive(no), "{no:?}");
    }
}
