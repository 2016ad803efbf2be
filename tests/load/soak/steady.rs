//! Whether memory and open files stand where they stood.

use anyhow::Result;
use serde_json::{Value, json};

use crate::process::{files, real, rss_kib};

/// What may come on top in the last third, beside a tenth: pages of an allocator are not a leak.
const RSS_SLACK_KIB: u64 = 4 * 1024;
/// As much for connections that happen to be open.
const FILES_SLACK: u64 = 32;

/// Fewer samples say nothing: a minute of warming and two to compare.
const SAMPLES_MIN: usize = 18;
/// Left out at the start, while pools and tables fill.
const WARMING: usize = 6;

/// Processes and what was seen of them.
#[derive(Debug)]
pub(super) struct Watched {
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    name: &'static str,
    pid: u32,
    rss_kib: Vec<u64>,
    files: Vec<u64>,
}

impl Watched {
    pub(super) fn new(processes: &[(&'static str, u32)]) -> Self {
        let processes = processes.iter().map(|(name, pid)| Process {
            name,
            pid: *pid,
            rss_kib: Vec::new(),
            files: Vec::new(),
        });
        Self {
            processes: processes.collect(),
        }
    }

    pub(super) fn sample(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.rss_kib.push(rss_kib(&[process.pid])?);
            process.files.push(files(process.pid)?);
        }
        Ok(())
    }

    /// For people who watch.
    pub(super) fn line(&self) -> String {
        let each = self.processes.iter().map(|process| {
            let rss = process.rss_kib.last().copied().unwrap_or_default();
            let files = process.files.last().copied().unwrap_or_default();
            format!(
                "{}: {:.1} MiB, {files} files",
                process.name,
                real(rss) / 1024.0
            )
        });
        each.collect::<Vec<_>>().join(" · ")
    }

    pub(super) fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for process in &self.processes {
            let found = [
                ("KiB of memory", growth(&process.rss_kib, RSS_SLACK_KIB)),
                ("open files", growth(&process.files, FILES_SLACK)),
            ];
            for (what, growth) in found {
                if let Some([before, after]) = growth {
                    let name = process.name;
                    broken.push(format!(
                        "{what} of the {name} grew from {before} to {after}"
                    ));
                }
            }
        }
        broken
    }

    pub(super) fn json(&self) -> Value {
        let each = self.processes.iter().map(|process| {
            json!({ "name": process.name, "rss_kib": process.rss_kib, "files": process.files })
        });
        each.collect()
    }
}

/// The medians of the first and the last third after warming, if the last one is a tenth and `slack` higher.
fn growth(samples: &[u64], slack: u64) -> Option<[u64; 2]> {
    if samples.len() < SAMPLES_MIN {
        return None;
    }
    let warm = samples.get(WARMING..)?;
    let third = warm.len() / 3;
    let before = middle(warm.get(..third)?)?;
    let after = middle(warm.get(warm.len() - third..)?)?;
    (after > before + before / 10 + slack).then_some([before, after])
}

fn middle(samples: &[u64]) -> Option<u64> {
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::growth;

    #[test]
    fn what_only_fills_at_the_start_is_no_leak() {
        let samples: Vec<u64> = (0..60)
            .map(|n| {
                if n < 6 {
                    1_000 * n
                } else {
                    9_000 + n % 3 * 100
                }
            })
            .collect();
        assert_eq!(growth(&samples, 100), None);
    }

    #[test]
    fn what_grows_all_the_time_is_one() {
        let samples: Vec<u64> = (0..60).map(|n| 10_000 + 200 * n).collect();
        assert_eq!(growth(&samples, 100), Some([13_000, 20_200]));
    }

    #[test]
    fn one_peak_and_a_short_run_say_nothing() {
        let mut samples = vec![10_000; 60];
        samples[50] = 90_000;
        assert_eq!(growth(&samples, 100), None);
        assert_eq!(growth(&[1, 1_000_000], 0), None);
    }
}
