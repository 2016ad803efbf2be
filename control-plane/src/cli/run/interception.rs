//! `--transparent`: the kernel hands the command's connections to its sidecar, and nobody else's.
//!
//! One control group and one nftables table for each run, both named for it alone, so that runs are beside each other and
//! beside rules for the whole machine. The rules themselves are `usher-proxy intercept`'s business. The table is there
//! before the command is, and the command proves that it works before it becomes what the user asked for.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};
use usher_config::value::format_duration;
use uuid::Uuid;

use super::{
    Failure, Run,
    cgroup::{self, Mounted},
    exit, guard,
    progress::Progress,
    record::{self, Held},
    sidecar::SidecarAddresses,
    state_directory::StateDirectory,
    tied,
};

/// For killing and removing; the guard goes on if it takes longer.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What was set up for one run; ended by its guard, at the latest when this process is gone.
#[derive(Debug)]
pub(super) struct Interception {
    proxy: PathBuf,
    held: Held,
    record: PathBuf,
    guard: Child,
}

impl Interception {
    /// Makes the control group, after removing what an earlier run of the state directory left behind.
    pub(super) async fn prepare(
        proxy: &Path,
        run: &Run,
        state: &StateDirectory,
    ) -> Result<Self, Failure> {
        let parent = parent().map_err(or_explicit)?;
        let prefix = record::prefix(&run.full_service());
        for (record, left) in record::left(state.path(), &prefix).map_err(or_explicit)? {
            guard::release(proxy, &left).await.map_err(or_explicit)?;
            record::forget(&record);
        }
        let number = Uuid::new_v4().simple().to_string();
        let number = number.get(..8).unwrap_or_default();
        let record = record::file(state.path(), number);
        let name = format!("{prefix}{number}");
        let cgroup = match parent.as_str() {
            "" => name,
            parent => format!("{parent}/{name}"),
        };
        // There is nothing to remove yet: it finds out whether there is nft, and whether it may.
        guard::intercept(proxy, &["remove", "--only-cgroup", &cgroup])
            .await
            .map_err(or_explicit)?;
        let held = Held { cgroup };
        // First: whatever is there is known.
        record::write(&record, &held).map_err(|error| cannot("write", &record, &error))?;
        let directory = cgroup::directory(&held.cgroup);
        if let Err(error) = fs::create_dir(&directory) {
            record::forget(&record);
            return Err(not_made(&directory, &error));
        }
        match start_guard(proxy, run, &held, &record) {
            Ok(guard) => Ok(Self {
                proxy: proxy.to_owned(),
                held,
                record,
                guard,
            }),
            Err(error) => {
                let _ = fs::remove_dir(&directory);
                record::forget(&record);
                let message = format!("cannot start the guard of --transparent: {error}");
                Err(Failure::new(exit::FAILED, message))
            }
        }
    }

    /// From now on the group's connections go to the sidecar, or, without one, nowhere.
    pub(super) async fn install(&self, sidecar: &SidecarAddresses) -> Result<(), Failure> {
        let port = sidecar.outbound.map_or(0, |outbound| outbound.port());
        let port = port.to_string();
        let arguments = [
            "install",
            "--only-cgroup",
            &self.held.cgroup,
            "--inbound",
            "off",
            "--outbound-port",
            &port,
        ];
        guard::intercept(&self.proxy, &arguments)
            .await
            .map_err(or_explicit)
    }

    /// A command that becomes `program` in the group.
    pub(super) fn entering(&self, program: &OsStr) -> Command {
        let mut command = tied::command(self.proxy.as_os_str());
        let group = ["--only-cgroup", &self.held.cgroup, "--"];
        command
            .args(["intercept", "enter"])
            .args(group)
            .arg(program);
        command
    }

    /// From now on its calls are refused: the sidecar's port is free, and anybody on the machine may take it. If that cannot
    /// be, nobody is left who calls.
    pub(super) async fn close(&self, progress: Progress) {
        let Err(failure) = guard::close(&self.proxy, &self.held.cgroup).await else {
            return;
        };
        progress.warn(&format!("{failure}; the command is killed at once"));
        if let Err(error) = cgroup::kill(&self.held.cgroup).await {
            progress.warn(&format!("cannot kill it: {error}"));
        }
    }

    /// Kills whoever is left in the group, and removes it with its table.
    pub(super) async fn end(mut self, progress: Progress) {
        if let Some(mut pipe) = self.guard.stdin.take() {
            // A guard that is gone does not read.
            let _ = pipe.write_all(guard::NOW).await;
        }
        let ended = timeout(ENDS_WITHIN, self.guard.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => return,
            Ok(Ok(status)) if status.code().is_some() => {
                let said = fs::read_to_string(record::log(&self.record)).unwrap_or_default();
                progress.warn(&format!("the guard failed: {}", said.trim_end()));
                return;
            }
            Ok(_) | Err(_) => {}
        }
        match guard::release(&self.proxy, &self.held).await {
            Ok(()) => record::forget(&self.record),
            Err(failure) => progress.warn(&failure.to_string()),
        }
    }
}

impl fmt::Display for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = cgroup::directory(&self.held.cgroup);
        write!(
            f,
            "the kernel hands over the connections of control group {}",
            directory.display()
        )
    }
}

/// The control group that ours is made in: this process's own.
fn parent() -> Result<String, Failure> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| cannot("read", Path::new(path), &error))
    };
    if let Mounted::Other { found, elsewhere } = cgroup::mounted(&read("/proc/self/mounts")?) {
        let found = found.map_or_else(
            || "nothing is mounted".to_owned(),
            |kind| format!("found {kind}"),
        );
        let elsewhere =
            elsewhere.map_or_else(String::new, |place| format!(" (they are at {place})"));
        let message = format!(
            "--transparent needs control groups of version 2 at {}, where nft looks them up: {found} there{elsewhere}",
            cgroup::ROOT
        );
        return Err(Failure::new(exit::SYSTEM, message)
            .advise("boot with systemd.unified_cgroup_hierarchy=1; in a container, give it a cgroup namespace"));
    }
    let own = read("/proc/self/cgroup")?;
    cgroup::own(&own).map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "--transparent: this process is in no control group below {}: /proc/self/cgroup says {}",
            cgroup::ROOT,
            own.trim().replace('\n', ", ")
        );
        Failure::new(exit::SYSTEM, message)
    })
}

fn start_guard(proxy: &Path, run: &Run, held: &Held, record: &Path) -> io::Result<Child> {
    // Not ours: whoever reads what we print would wait for the guard. Nor one that somebody has put there.
    let log = File::options()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(record::log(record))?;
    // Not by its path: it may have been replaced by a newer one.
    Command::new("/proc/self/exe")
        .arg0("usher")
        .args(["guard", "--cgroup", &held.cgroup, "--grace"])
        .arg(format_duration(run.stop_grace))
        .arg("--proxy")
        .arg(proxy)
        .arg("--record")
        .arg(record)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C is for us; and its work begins when we are gone.
        .process_group(0)
        .spawn()
}

fn not_made(directory: &Path, error: &io::Error) -> Failure {
    let message = format!(
        "--transparent: cannot make the control group {}: {error}",
        directory.display()
    );
    let failure = Failure::new(exit::SYSTEM, message);
    or_explicit(match error.kind() {
        io::ErrorKind::PermissionDenied => failure.advise(
            "run it as root, or in a group that was delegated to this user (systemd: Delegate=yes, and CAP_NET_ADMIN)",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            failure.advise("a container needs /sys/fs/cgroup writable (docker: --privileged --cgroupns=private)")
        }
        _ => failure,
    })
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot {verb} {}: {error}", path.display());
    Failure::new(exit::SYSTEM, message)
}

/// What there is instead.
fn or_explicit(failure: Failure) -> Failure {
    failure.advise("or leave --transparent out: the command gets http_proxy, and calls services by their names")
}
