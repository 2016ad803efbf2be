//! Pods that are to complete, with a sidecar that is one of their ordinary containers: it would run on, and no Job would
//! ever be done. So each container runs below `usher-proxy pod exec`, which notes how its command ended, and the sidecar
//! ends when all of them have. A native sidecar needs none of this.
//!
//! Sharing the process namespace would show the sidecar what runs, too, but not whether it failed and starts again, and it
//! would show the application the sidecar's memory and files.

use super::{
    admit::name,
    fault::Fault,
    plan::{Plan, Restarts},
    settings::{PROGRAM, Settings},
    sidecar::{UID, bounds, security},
    yaml::{Node, list, map, text, word},
};

/// The init container that brings the program.
pub(super) const COPY: &str = "usher-copy";

const PROGRAM_VOLUME: &str = "usher-program";
const NOTES_VOLUME: &str = "usher-notes";
const PROGRAM_PATH: &str = "/usher/program";
const NOTES_PATH: &str = "/usher/notes";
/// The program, in the application's containers.
const WRAPPER: &str = "/usher/program/usher-proxy";

pub(super) fn volumes() -> [Node; 2] {
    [PROGRAM_VOLUME, NOTES_VOLUME].map(|name| map([("name", text(name)), ("emptyDir", map([]))]))
}

pub(super) fn notes_mount() -> Node {
    map([
        ("name", text(NOTES_VOLUME)),
        ("mountPath", text(NOTES_PATH)),
    ])
}

fn program_mount() -> Node {
    map([
        ("name", text(PROGRAM_VOLUME)),
        ("mountPath", text(PROGRAM_PATH)),
        ("readOnly", word(true)),
    ])
}

/// Puts the program where the application's containers find it.
pub(super) fn copy(settings: &Settings) -> Node {
    let mount = map([
        ("name", text(PROGRAM_VOLUME)),
        ("mountPath", text(PROGRAM_PATH)),
    ]);
    map([
        ("name", text(COPY)),
        ("image", text(&settings.image)),
        ("command", list([PROGRAM, "pod", "copy", WRAPPER].map(text))),
        ("resources", bounds("10m", "16Mi", &[("memory", "64Mi")])),
        ("securityContext", security(UID, None)),
        ("volumeMounts", list([mount])),
    ])
}

/// The sidecar's setting; `None`: it ends when it is told to.
pub(super) fn ends_with(plan: &Plan<'_>, containers: &[String]) -> Option<String> {
    (!containers.is_empty()).then(|| {
        let again = match plan.restarts {
            Restarts::OnFailure => "on-failure",
            Restarts::Never | Restarts::Always => "never",
        };
        format!("{NOTES_PATH},{again},{}", containers.join(","))
    })
}

/// Runs the container's command below ours, which only works where it is written down.
pub(super) fn wrap(path: &str, container: &mut Node) -> Result<(), Fault> {
    let Some(named) = name(container).map(str::to_owned) else {
        return Ok(());
    };
    let command = container
        .get("command")
        .filter(|command| !command.items().is_empty());
    let Some(command) = command else {
        let fault = Fault::new(
            format!("{path}.command"),
            "nothing: the image's own command is not known here",
            "the command, written out, so that the sidecar learns when it has ended; or a native sidecar \
             (without --no-native-sidecar), which needs to know nothing",
        );
        return Err(fault.at(container));
    };
    let before = [WRAPPER, "pod", "exec", NOTES_PATH, &named, "--"].map(text);
    let all = before.into_iter().chain(command.items().iter().cloned());
    let all = list(all.collect::<Vec<_>>());
    container.put("command", all);
    let mounts = container.or_insert("volumeMounts", || list([]));
    if let Some(mounts) = mounts.and_then(Node::items_mut) {
        mounts.extend([program_mount(), notes_mount()]);
    }
    Ok(())
}

/// Takes ours away from a command.
pub(super) fn unwrap(container: &mut Node) {
    let Some(command) = container.get_mut("command").and_then(Node::items_mut) else {
        return;
    };
    if command.first().and_then(Node::text) == Some(WRAPPER)
        && let Some(end) = command.iter().position(|word| word.text() == Some("--"))
    {
        command.drain(..=end);
    }
}
