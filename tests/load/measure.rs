//! The instruments: time on CPU, resident memory, and wrk.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

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
pub(crate) fn wrk(entry: &str, connections: u32, length: Duration) -> Result<Load> {
    let connections = connections.to_string();
    let length = format!("{}s", length.as_secs());
    let url = format!("http://{entry}/");
    let output = Command::new("taskset")
        .args([
            "-c",
            "0",
            "wrk",
            "-t1",
            "-c",
            &connections,
            "-d",
            &length,
            "--latency",
            "-H",
            "Host: api",
            &url,
        ])
        .stdin(Stdio::null())
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}");
    parse(&text).with_context(|| text.into_owned())
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
