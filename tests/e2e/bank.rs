//! The bank as somebody meets it who starts it without a terminal, twice, or where it can't write.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;
use usher_tests::{Process, binary, eventually_for, run};

/// Opening takes seconds, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A mistake in line 8, column 13, of a policy that never ran.
const ODD: &str = "\
apiVersion: usher.dev/v1alpha1
kind: TrafficPolicy
metadata:
  name: odd
  namespace: bank
spec:
  breaker:
    window: soon
";

/// Opens a bank there, with a home directory that nobody can write to.
fn open(data: &Path, log: &Path) -> Process {
    let mut command = Command::new(binary("bank"));
    command
        .args(["--rate", "5", "--data"])
        .arg(data)
        .env("HOME", "/dev/null");
    Process::start(command, log.to_owned())
}

async fn printed(bank: &mut Process, part: &str) -> String {
    eventually_for(PATIENCE, part, async || {
        assert!(bank.ended().is_none(), "{}", bank.printed());
        let text = bank.printed();
        text.contains(part).then_some(text)
    })
    .await
}

#[tokio::test]
async fn without_a_terminal_the_bank_says_who_runs_where_what_to_try_and_what_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    fs::create_dir_all(data.join("config")).unwrap();
    fs::write(data.join("config/odd.yaml"), ODD).unwrap();
    let mut bank = open(&data, &log);
    let text = printed(&mut bank, "payments/s").await;
    for part in [
        "fraud-detection-1",
        "try        kill -9 ",
        "edit ",
        "curl -x http://127.0.0.1:",
        "rejected: TrafficPolicy bank/odd at odd.yaml:8:13: spec.breaker.window: ",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }

    // The command to look with works as it is printed.
    let look = text.lines().find_map(|line| line.strip_prefix("look "));
    let words: Vec<_> = look.expect("where to look").split_whitespace().collect();
    let server = words.last().unwrap();
    assert!(server.starts_with("http://127.0.0.1:"), "{words:?}");
    assert!(!server.ends_with(":15010"), "usher's own port");
    let status = run(Path::new(words[0]), &words[1..]);
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    assert!(status.stdout.contains("odd.yaml:8:13"), "{}", status.stdout);

    let second = run(&binary("bank"), ["--data", data.to_str().unwrap()]);
    assert_eq!(second.code, Some(1));
    let by = format!("in use by another launcher (pid {})", bank.pid());
    assert!(second.stderr.contains(&by), "{}", second.stderr);

    fs::remove_file(data.join("config/odd.yaml")).unwrap();
    printed(
        &mut bank,
        "nothing in the configuration is refused any more",
    )
    .await;
    bank.signal(Signal::SIGINT);
    let status = bank.end(PATIENCE).await;
    assert!(status.success(), "{status}\n{}", bank.printed());
}

#[test]
fn without_a_temporary_directory_the_bank_says_how_to_get_one() {
    for verb in [&["run"][..], &["drill", "payment"]] {
        let output = Command::new(binary("bank"))
            .args(verb)
            .env("TMPDIR", "/dev/null")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("in /dev/null (set TMPDIR to "), "{said}");
    }
}
