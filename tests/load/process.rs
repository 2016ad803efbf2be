//! What the kernel says about processes: time on CPU, resident memory, open files; and which core they may use.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

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

/// Time on CPU of one process, which threads that have ended go on to have spent.
#[derive(Debug)]
pub(crate) struct CpuClock {
    pid: u32,
    /// By thread, as seen last.
    spent: Mutex<BTreeMap<String, u64>>,
}

impl CpuClock {
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            spent: Mutex::default(),
        }
    }

    /// Of all threads that were ever seen.
    pub(crate) fn spent(&self) -> Result<Duration> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            // It may end while we look.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let nanos = text.split_whitespace().next();
            let nanos = nanos.context("schedstat is empty")?.parse::<u64>()?;
            let thread = task.file_name().to_string_lossy().into_owned();
            spent.insert(thread, nanos);
        }
        Ok(Duration::from_nanos(spent.values().sum()))
    }
}

/// Resident memory of the processes together, in KiB.
pub(crate) fn rss_kib(pids: &[u32]) -> Result<u64> {
    let mut total = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        total += parse_rss(&status)?;
    }
    Ok(total)
}

fn parse_rss(status: &str) -> Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How many files and sockets the process holds.
pub(crate) fn files(pid: u32) -> Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

/// A process and those it started: nginx has a master and a worker.
pub(crate) fn with_children(pid: u32) -> Result<Vec<u32>> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().map(str::parse::<u32>);
    let mut all = vec![pid];
    for child in children {
        all.push(child?);
    }
    Ok(all)
}

/// Integers of this size, as numbers to divide.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts, kibibytes and nanoseconds of a run fit 53 bits"
)]
pub(crate) fn real(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::parse_rss;

    #[test]
    fn resident_memory_is_read_from_the_status_file() {
        let status = "Name:\tusher-proxy\nVmHWM:\t   99999 kB\nVmRSS:\t   11264 kB\nThreads:\t3\n";
        assert_eq!(parse_rss(status).unwrap(), 11264);
        assert!(parse_rss("Name:\tgone\n").is_err());
    }
}
