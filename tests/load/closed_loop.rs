//! wrk and h2load on core 0: as many requests as are answered, a fixed number at a time.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process::real, protocol::Protocol, statistics, upstream};

/// Streams that h2load keeps open on each connection.
const STREAMS: u32 = 8;

/// What one turn of load saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Answers that were not 2xx or 3xx, and socket errors.
    pub(crate) errors: u64,
}

/// Says what has to be installed for that protocol.
pub(crate) fn check_installed(protocol: Protocol) -> Result<()> {
    let (program, package) = if protocol.is_http2() {
        ("h2load", "nghttp2-client")
    } else {
        ("wrk", "wrk")
    };
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null());
    let found = command.stderr(Stdio::null()).status().is_ok();
    ensure!(
        found,
        "{program} is not installed; on Debian: apt-get install {package}"
    );
    Ok(())
}

/// `in_flight` requests at a time to `entry`, for that long.
pub(crate) fn load(
    protocol: Protocol,
    entry: &str,
    in_flight: u32,
    length: Duration,
) -> Result<Load> {
    match protocol {
        Protocol::Http1 => wrk(entry, in_flight, length),
        Protocol::Http2 | Protocol::Grpc => h2load(protocol, entry, in_flight, length),
        Protocol::Tcp => bail!("no request in TCP that could be counted"),
    }
}

fn wrk(entry: &str, in_flight: u32, length: Duration) -> Result<Load> {
    let connections = in_flight.to_string();
    let length = format!("{}s", length.as_secs());
    let url = format!("http://{entry}/");
    let words = ["wrk", "-t1", "-c", &connections, "-d", &length, "--latency"];
    let text = on_core_0(&words, &["-H", "Host: api", &url])?;
    parse_wrk(&text).with_context(|| text.clone())
}

/// GET, or unary calls of 1 KiB both ways.
fn h2load(protocol: Protocol, entry: &str, in_flight: u32, length: Duration) -> Result<Load> {
    let folder = tempfile::tempdir()?;
    let (message, log) = (folder.path().join("message"), folder.path().join("log"));
    let connections = (in_flight / STREAMS).max(1).to_string();
    let (streams, seconds) = (STREAMS.to_string(), length.as_secs().to_string());
    let words = [
        "h2load",
        "-t1",
        "-c",
        &connections,
        "-m",
        &streams,
        "-D",
        &seconds,
        "--log-file",
        text(&log)?,
        "-H:authority: api",
    ];
    let url = format!("http://{entry}/load.Load/Unary");
    let mut more = vec![url.as_str()];
    if protocol == Protocol::Grpc {
        std::fs::write(&message, upstream::message(&[b'u'; 1024]))?;
        more.extend(["-d", text(&message)?]);
        more.extend(["-Hcontent-type: application/grpc", "-Hte: trailers"]);
    }
    let text = on_core_0(&words, &more)?;
    parse_h2load(&text, &std::fs::read_to_string(log)?, length).with_context(|| text.clone())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary folder that is no text")
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
    let at = |percent| {
        let micros = statistics::percentile(&micros, percent);
        micros.map_or(f64::NAN, |micros| f64::from(micros) / 1000.0)
    };
    let requests = micros.len() as u64;
    Ok(Load {
        requests,
        requests_per_second: real(requests) / length.as_secs_f64(),
        p50_ms: at(50.0),
        p99_ms: at(99.0),
        errors,
    })
}

fn parse_wrk(text: &str) -> Result<Load> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Load, parse_h2load, parse_wrk};

    const WRK: &str = "Running 3s test @ http://127.0.0.1:15001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.11ms    1.02ms  31.40ms   91.20%
    Req/Sec    20.64k     1.03k   22.90k    70.00%
  Latency Distribution
     50%    3.00ms
     75%    3.41ms
     90%    3.90ms
     99%  812.00us
  61603 requests in 3.00s, 71.20MB read
";

    #[test]
    fn what_wrk_prints_is_read_with_its_units() {
        let text = format!("{WRK}Requests/sec:  20534.12\nTransfer/sec:     23.73MB\n");
        let expected = Load {
            requests: 61_603,
            requests_per_second: 20_534.12,
            p50_ms: 3.0,
            p99_ms: 0.812,
            errors: 0,
        };
        assert_eq!(parse_wrk(&text).unwrap(), expected);
    }

    #[test]
    fn what_went_wrong_at_wrk_is_counted_once_each() {
        let errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 90\n";
        let text = format!("{WRK}{errors}Requests/sec:  20534.12\n");
        assert_eq!(parse_wrk(&text).unwrap().errors, 100);
        assert!(parse_wrk("unable to connect to 127.0.0.1:15001\n").is_err());
    }

    #[test]
    fn h2loads_log_gives_percentiles_and_failures() {
        let log = "1732800000000001\t200\t1000\n1732800000000002\t200\t3000\n1732800000000003\t503\t9000\n1732800000000004\t-1\t9000\n1732800000000005\t200\t2000\n";
        let load = parse_h2load("", log, Duration::from_secs(3)).unwrap();
        let expected = Load {
            requests: 3,
            requests_per_second: 1.0,
            p50_ms: 2.0,
            p99_ms: 3.0,
            errors: 2,
        };
        assert_eq!(load, expected);
        assert!(parse_h2load("", "1\t503\t9\n", Duration::from_secs(1)).is_err());
    }
}
