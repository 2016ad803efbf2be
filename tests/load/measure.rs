//! The instruments: time on CPU, resident memory, wrk and h2load.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{protocol::Protocol, upstream};

/// What one turn of load saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Answers that were not 2xx or 3xx, and socket errors.
    pub(crate) errors: u64,
}

/// Keeps all threads of a process on one core.
pub(crate) fn pin(pid: u32, core: usize) -> Result<()> {
    let output = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &pid.to_string()])
        .output()
        .context("taskset (Debian: util-linux)")?;
    ensure!(
        output.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Time on CPU of all threads of the processes, in nanoseconds.
pub(crate) fn cpu_nanos(pids: &[u32]) -> Result<u64> {
    let mut total = 0;
    for pid in pids {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let nanos = text
                .split_whitespace()
                .next()
                .context("schedstat is empty")?;
            total += nanos.parse::<u64>()?;
        }
    }
    Ok(total)
}

/// Resident memory of the processes together, in KiB.
pub(crate) fn rss_kib(pids: &[u32]) -> Result<u64> {
    let mut total = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        total += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(total)
}

/// Closed loop on core 0.
pub(crate) fn load(
    protocol: Protocol,
    entry: &str,
    connections: u32,
    length: Duration,
) -> Result<Load> {
    match protocol {
        Protocol::Http1 => wrk(entry, connections, length),
        Protocol::Grpc => h2load(entry, connections, length),
    }
}

fn wrk(entry: &str, connections: u32, length: Duration) -> Result<Load> {
    let connections = connections.to_string();
    let length = format!("{}s", length.as_secs());
    let url = format!("http://{entry}/");
    let words = ["wrk", "-t1", "-c", &connections, "-d", &length, "--latency"];
    let text = on_core_0(&words, &["-H", "Host: api", &url])?;
    parse(&text).with_context(|| text.clone())
}

/// Unary calls of 1 KiB both ways, eight streams on each connection.
fn h2load(entry: &str, connections: u32, length: Duration) -> Result<Load> {
    let folder = tempfile::tempdir()?;
    let (message, log) = (folder.path().join("message"), folder.path().join("log"));
    std::fs::write(&message, upstream::message(&[b'u'; 1024]))?;
    let connections = (connections / 8).max(1).to_string();
    let length_text = length.as_secs().to_string();
    let (message, log_text) = (message.display().to_string(), log.display().to_string());
    let url = format!("http://{entry}/load.Load/Unary");
    let words = [
        "h2load",
        "-c",
        &connections,
        "-m8",
        "-t1",
        "-D",
        &length_text,
        "-d",
        &message,
    ];
    let headers = [
        "--log-file",
        &log_text,
        "-H:authority: api",
        "-Hcontent-type: application/grpc",
        "-Hte: trailers",
        &url,
    ];
    let text = on_core_0(&words, &headers)?;
    parse_h2load(&text, &std::fs::read_to_string(log)?, length).with_context(|| text.clone())
}

fn on_core_0(words: &[&str], more: &[&str]) -> Result<String> {
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .args(words)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .context("taskset")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{words:?}: {text}");
    Ok(text)
}

/// The log has a line for each request: start in microseconds, status, length in microseconds.
fn parse_h2load(text: &str, log: &str, length: Duration) -> Result<Load> {
    let mut micros = Vec::new();
    let mut errors = 0;
    for line in log.lines() {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (status, took) = (fields.next(), fields.next());
        if status == Some("200") {
            micros.push(took.context("no length")?.parse::<u32>()?);
        } else {
            errors += 1;
        }
    }
    ensure!(!micros.is_empty(), "no request was answered: {text}");
    micros.sort_unstable();
    let at = |percent: usize| {
        let index = (micros.len() * percent / 100).min(micros.len() - 1);
        micros
            .get(index)
            .map_or(f64::NAN, |&micros| f64::from(micros) / 1000.0)
    };
    let requests = micros.len() as u64;
    Ok(Load {
        requests,
        #[allow(clippy::cast_precision_loss, reason = "counts of requests fit 53 bits")]
        requests_per_second: requests as f64 / length.as_secs_f64(),
        p50_ms: at(50),
        p99_ms: at(99),
        errors,
    })
}

fn parse(text: &str) -> Result<Load> {
    let line = |prefix: &str| {
        text.lines()
            .map(str::trim)
            .find_map(|line| line.strip_prefix(prefix))
            .map(str::trim)
    };
    let requests = text
        .lines()
        .find(|line| line.contains("requests in"))
        .context("no total")?;
    let requests = requests
        .split_whitespace()
        .next()
        .context("no total")?
        .parse()?;
    let socket_errors: u64 = line("Socket errors:").map_or(0, |line| {
        line.split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok())
            .sum()
    });
    let bad: u64 = line("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?;
    Ok(Load {
        requests,
        requests_per_second: line("Requests/sec:").context("no rate")?.parse()?,
        p50_ms: millis(line("50%").context("no p50")?)?,
        p99_ms: millis(line("99%").context("no p99")?)?,
        errors: socket_errors + bad,
    })
}

/// wrk writes `812.00us`, `1.20ms`, `1.01s`.
fn millis(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let found = units
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)));
    let (number, scale) = found.with_context(|| format!("no unit in {text:?}"))?;
    Ok(number.parse::<f64>()? * scale)
}
