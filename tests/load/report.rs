//! Medians, ratios, a table and a picture.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{measure::Load, protocol::Protocol};

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    protocol: Protocol,
    connections: u32,
    seconds: u64,
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
struct Peer {
    name: String,
    idle_rss_kib: u64,
    turns: Vec<Turn>,
}

#[derive(Debug, Serialize)]
struct Turn {
    cpu_micros_per_request: f64,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_kib: u64,
    errors: u64,
}

impl Peer {
    fn median(&self, value: impl Fn(&Turn) -> f64) -> f64 {
        let mut values: Vec<f64> = self.turns.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn cpu(&self) -> f64 {
        self.median(|turn| turn.cpu_micros_per_request)
    }

    /// Half the distance from the least to the most CPU, as a share of the median.
    fn spread_percent(&self) -> f64 {
        let values = || self.turns.iter().map(|turn| turn.cpu_micros_per_request);
        let (least, most) = (
            values().fold(f64::MAX, f64::min),
            values().fold(0.0, f64::max),
        );
        (most - least) / 2.0 / self.cpu() * 100.0
    }
}

impl Report {
    pub(crate) fn new(protocol: Protocol, connections: u32, seconds: u64) -> Self {
        Self {
            protocol,
            connections,
            seconds,
            peers: Vec::new(),
        }
    }

    /// A peer before its first request.
    pub(crate) fn idle(&mut self, name: &str, rss_kib: u64) {
        self.peers.push(Peer {
            name: name.to_owned(),
            idle_rss_kib: rss_kib,
            turns: Vec::new(),
        });
    }

    /// One turn of a peer that [`Report::idle`] introduced.
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of requests and nanoseconds of seconds fit 53 bits"
    )]
    pub(crate) fn turn(&mut self, name: &str, load: Load, cpu_nanos: u64, rss_kib: u64) {
        let turn = Turn {
            cpu_micros_per_request: cpu_nanos as f64 / 1000.0 / load.requests.max(1) as f64,
            requests_per_second: load.requests_per_second,
            p50_ms: load.p50_ms,
            p99_ms: load.p99_ms,
            rss_kib,
            errors: load.errors,
        };
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == name) {
            peer.turns.push(turn);
        }
    }

    /// The table: medians, and each peer's CPU over ours.
    pub(crate) fn print(&self) {
        println!(
            "pair, {}, mutual TLS, {} requests in flight, 1 KiB answers, {} s a turn; both proxies together on one core",
            self.protocol.name(),
            self.connections,
            self.seconds
        );
        println!(
            "{:<12} {:>10} {:>7} {:>9} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7}",
            "",
            "CPU µs/req",
            "±",
            "req/s",
            "p50 ms",
            "p99 ms",
            "idle MiB",
            "load MiB",
            "errors",
            "CPU"
        );
        let ours = self.peers.first().map_or(f64::NAN, Peer::cpu);
        for peer in &self.peers {
            println!(
                "{:<12} {:>10.1} {:>6.0}% {:>9.0} {:>8.2} {:>8.2} {:>9.1} {:>9.1} {:>7} {:>6.2}x",
                peer.name,
                peer.cpu(),
                peer.spread_percent(),
                peer.median(|turn| turn.requests_per_second),
                peer.median(|turn| turn.p50_ms),
                peer.median(|turn| turn.p99_ms),
                mebibytes(peer.idle_rss_kib),
                peer.median(|turn| mebibytes(turn.rss_kib)),
                peer.turns.iter().map(|turn| turn.errors).sum::<u64>(),
                peer.cpu() / ours,
            );
        }
    }

    /// Bars of CPU per request.
    pub(crate) fn svg(&self) -> String {
        let most = self.peers.iter().map(Peer::cpu).fold(1.0, f64::max);
        let height = 40 + self.peers.len() * 36;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"14\">\n<text x=\"8\" y=\"22\">CPU per request of a pair, µs (less is better)</text>\n"
        );
        for (index, peer) in self.peers.iter().enumerate() {
            let (y, width) = (36 + index * 36, peer.cpu() / most * 480.0);
            let colour = if index == 0 { "#2f6f4f" } else { "#9aa5b1" };
            let _ = writeln!(
                svg,
                "<text x=\"8\" y=\"{}\">{}</text><rect x=\"120\" y=\"{y}\" width=\"{width:.1}\" height=\"24\" \
                 fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{:.0}</text>",
                y + 17,
                peer.name,
                width + 128.0,
                y + 17,
                peer.cpu()
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "kibibytes of a process fit 53 bits"
)]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
