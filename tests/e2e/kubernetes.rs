//! The bank's own manifests, injected, in real pods: a bridge between them, and rules that an init container installed.

mod bank;

use std::{collections::BTreeSet, fs, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use usher_tests::{Node, Segment, Wiretap, eventually_for, node::for_podman};

use bank::{Bank, MESHED};

/// Debug programs, twenty containers, two cores.
const OPEN_WITHIN: Duration = Duration::from_secs(120);

/// What would be read on the wire if it were not encrypted: HTTP of either version, and what is in payments.
const PLAINTEXT: [&str; 5] = [
    "HTTP/1.1",
    "PRI * HTTP/2",
    "paymentId",
    "bank.account.v1",
    "amountCents",
];

#[tokio::test]
async fn the_bank_pays_in_pods_over_mutual_tls_and_one_that_ends_is_not_noticed() -> Result<()> {
    let Some(node) = Node::new().await? else {
        return Ok(());
    };
    let images = node.build(&[])?;
    let again = node.build(&["usher-init", "bank-teller"])?;
    for line in again.lines() {
        ensure!(
            images.contains(line),
            "another image of the same files: {line}\n{images}"
        );
    }
    let wire = node.wiretap()?;
    let bank = Bank::open(node).await?;
    let promised = promises(&bank, wire).await;
    if promised.is_err() {
        bank.node.tell();
    }
    promised?;
    nothing_is_left(bank)
}

async fn promises(bank: &Bank, wire: Wiretap) -> Result<()> {
    bank.payments(40).await?;
    only_tls_is_on_the_wire(bank, &wire.stop())?;
    callees_know_their_callers(bank).await;
    plaintext_is_refused(bank).await?;
    a_deleted_pod_drains(bank).await?;
    a_pod_that_is_only_stopped_is_replaced(bank).await
}

/// Between the bank's pods there is one port, and every stream to it begins with a TLS handshake.
fn only_tls_is_on_the_wire(bank: &Bank, segments: &[Segment]) -> Result<()> {
    let mut pods: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for name in MESHED {
        pods.insert(bank.address(name)?.parse()?);
    }
    let mut streams = BTreeSet::new();
    for segment in segments {
        let payload = &segment.payload;
        for word in PLAINTEXT {
            let is_there = payload
                .windows(word.len())
                .any(|part| part == word.as_bytes());
            ensure!(
                !is_there,
                "{word:?} went from {:?} to {:?}",
                segment.from,
                segment.to
            );
        }
        if !(pods.contains(&segment.from.0) && pods.contains(&segment.to.0)) {
            continue;
        }
        let ports = (segment.from.1, segment.to.1);
        ensure!(
            ports.0 == 15006 || ports.1 == 15006,
            "a call past the sidecars: {ports:?}"
        );
        if ports.1 == 15006 && streams.insert((segment.from, segment.to)) {
            // RFC 8446, 5.1: a record of the type handshake, and its legacy version.
            ensure!(
                payload.starts_with(&[22, 3]),
                "no TLS: {:?}",
                payload.get(..16)
            );
        }
    }
    for (caller, callee) in [
        ("teller-0", "transaction-0"),
        ("transaction-0", "account-0"),
        ("transaction-0", "account-1"),
        ("transaction-0", "fraud-detection-0"),
        ("transaction-0", "notification-0"),
    ] {
        let (from, to) = (bank.address(caller)?, bank.address(callee)?);
        let is_there = streams
            .iter()
            .any(|(one, other)| one.0.to_string() == from && other.0.to_string() == to);
        ensure!(
            is_there,
            "{caller} has called {callee} on no wire: {streams:?}"
        );
    }
    Ok(())
}

/// The sidecar of the callee writes down who called, as its certificate says.
async fn callees_know_their_callers(bank: &Bank) {
    for (callee, caller) in [
        ("transaction-0", "teller"),
        ("account-0", "transaction"),
        ("account-1", "transaction"),
        ("fraud-detection-0", "transaction"),
        ("reporting-0", "transaction"),
    ] {
        let source = format!(r#""source":"spiffe://usher.local/ns/bank/sa/{caller}""#);
        eventually_for(
            OPEN_WITHIN,
            &format!("{callee} is called by {caller}"),
            async || {
                let log = bank.node.logs(&format!("{callee}-usher-proxy"));
                let is_there = |line: &str| {
                    line.contains(r#""direction":"inbound""#) && line.contains(&source)
                };
                log.lines().any(is_there).then_some(())
            },
        )
        .await;
    }
}

/// A pod without a sidecar: its calls arrive, and are answered by the sidecars.
async fn plaintext_is_refused(bank: &Bank) -> Result<()> {
    let manifest = fs::read_to_string(bank::manifest("fraud-rules"))?;
    let outsider = for_podman(&manifest.replace("fraud-rules", "outsider"))?;
    let mut outsider = outsider.into_iter().next().context("pod")?;
    outsider["spec"]["containers"][0]["image"] = "localhost/bank-fraud-rules:test".into();
    bank.node.play(&[outsider], None)?;
    let wire = bank.node.wiretap()?;
    for (name, port) in [
        ("transaction-0", 8080),
        ("account-0", 50051),
        ("transaction-0", 15006),
    ] {
        let url = format!("http://{}:{port}/healthz", bank.address(name)?);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let words = [
                "curl",
                "--silent",
                "--include",
                "--max-time",
                "10",
                version,
                &url,
            ];
            let answer = bank.node.beside("outsider-0-outsider", &words)?;
            let is_refused =
                answer.stdout.contains(" 403") && answer.stdout.contains("mutual TLS only");
            ensure!(is_refused, "{name}:{port} {version}: {answer:?}");
        }
    }
    // The wire is one on which plaintext would be seen.
    let seen = wire.stop();
    let get = b"GET /healthz HTTP/1.1";
    ensure!(
        seen.iter().any(|one| one.payload.starts_with(get)),
        "the wiretap is deaf"
    );
    Ok(())
}

/// As a kubelet ends a pod: the sidecar's hook begins, the application is asked to end, both at the same moment.
async fn a_deleted_pod_drains(bank: &Bank) -> Result<()> {
    let node = &bank.node;
    let before = bank.stats().context("stats")?;
    let hook = bank.hook("account", "preStop")?;
    let words = ["podman", "exec", "account-1-usher-proxy"].into_iter();
    let words: Vec<&str> = words.chain(hook.iter().map(String::as_str)).collect();
    let mut drain = node.start(&words, "drain.log");
    node.podman(&["kill", "--signal", "TERM", "account-1-account"])?;
    let code = drain.end(Duration::from_secs(40)).await.code();
    ensure!(code == Some(0), "{code:?}: {}", drain.printed());
    node.podman(&["pod", "stop", "--time", "30", "account-1"])?;
    for container in ["account-1-usher-proxy", "account-1-account"] {
        let code = node.podman(&["inspect", "--format", "{{.State.ExitCode}}", container])?;
        ensure!(code.trim() == "0", "{container} ended with {code}");
    }
    node.podman(&["pod", "rm", "--force", "account-1"])?;
    bank.payments(before.sent + 60).await?;
    Ok(())
}

/// As podman stops one: no hook, SIGTERM to all at once. The rules decide instead of the model.
async fn a_pod_that_is_only_stopped_is_replaced(bank: &Bank) -> Result<()> {
    let before = bank.stats().context("stats")?;
    bank.node
        .podman(&["pod", "stop", "--time", "30", "fraud-detection-0"])?;
    let after = bank.payments(before.sent + 60).await?;
    ensure!(after.engines.contains_key("fraud-rules"), "{after:?}");
    Ok(())
}

/// Neither a file nor a process of the world that was.
fn nothing_is_left(bank: Bank) -> Result<()> {
    let folder = bank.node.folder().to_owned();
    let pods = bank.node.pods();
    ensure!(pods.len() > 10, "{pods:?}");
    drop(bank);
    ensure!(!folder.exists(), "{} is still there", folder.display());
    let folder = folder.to_str().context("path")?;
    for process in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        ensure!(
            !command.contains(folder),
            "{} runs: {command}",
            process.path().display()
        );
    }
    ensure!(
        !Path::new("/sys/class/net/usher0").exists(),
        "the bridge is the machine's"
    );
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let parent = hierarchy.path().join("libpod_parent");
        let left = pods.iter().find(|pod| parent.join(pod).exists());
        ensure!(left.is_none(), "{}: {left:?}", parent.display());
    }
    Ok(())
}
