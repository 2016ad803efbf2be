//! What the end of a world does not take along: control groups, and the folder of a test that was killed.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::Process;

/// Where control groups are, those of version 1 by hierarchy.
const GROUPS: &str = "/sys/fs/cgroup";

/// When the process `$1` has ended: groups of the containers in the folder `$2`, of the pods in its file, and the folder.
const GUARD: &str = r#"tail --pid="$1" -f /dev/null || exit
sleep 2 # in which the kernel ends the world
for container in "$2"/storage/overlay-containers/*/; do
  for group in /sys/fs/cgroup/{,*/}libpod_parent/*/libpod-"$(basename "$container")"; do
    rmdir "$group" "${group%/*}/conmon" "${group%/*}"
  done
done 2>/dev/null
while read -r pod; do
  rmdir /sys/fs/cgroup/{,*/}libpod_parent/"$pod"/conmon
  rmdir /sys/fs/cgroup/{,*/}libpod_parent/"$pod"
done <"$2/pods" 2>/dev/null
rmdir /sys/fs/cgroup/{,*/}libpod_parent 2>/dev/null
rm -rf "$2""#;

/// Cleans up when this process has been killed. In a session of its own: who kills a test kills its group.
pub(super) fn guard(folder: &Path) -> Process {
    let own = std::process::id().to_string();
    let mut command = Command::new("setsid");
    command
        .args(["bash", "-c", GUARD, "bash", &own])
        .arg(folder);
    Process::start(command, folder.join("guard.log"))
}

/// podman 4.3 leaves those of pods behind, empty. Which are in use the kernel does not remove.
pub(super) fn remove_groups(pods: &BTreeSet<String>) {
    remove_below(Path::new(GROUPS), pods);
    for hierarchy in fs::read_dir(GROUPS).into_iter().flatten().flatten() {
        remove_below(&hierarchy.path(), pods);
    }
}

fn remove_below(hierarchy: &Path, pods: &BTreeSet<String>) {
    let parent = hierarchy.join("libpod_parent");
    for pod in pods {
        let _ = fs::remove_dir(parent.join(pod));
    }
    let _ = fs::remove_dir(parent);
}
