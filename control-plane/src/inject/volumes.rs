//! What the sidecar keeps, and what it is given: in memory, and gone with the pod.

use super::{
    jobs,
    plan::Plan,
    settings::Proof,
    yaml::{Node, list, map, text, word},
};

/// Of all volumes of ours.
pub(super) const VOLUME_PREFIX: &str = "usher-";

const STATE: &str = "usher-state";
const TOKEN: &str = "usher-token";

const STATE_PATH: &str = "/var/run/usher/state";
const TOKEN_PATH: &str = "/var/run/usher/token";

/// The sidecar makes it: a volume's own directory belongs to root, and could not be closed to others.
pub(super) const STATE_DIR: &str = "/var/run/usher/state/proxy";
/// Read at each attestation; Kubernetes renews it.
pub(super) const TOKEN_FILE: &str = "/var/run/usher/token/token";

/// The mesh's roots, from the ConfigMap `usher-trust`: whom the token may be shown to.
pub(super) const ROOT_FILE: &str = "/var/run/usher/token/root.pem";

/// Key, identity and last good configuration of a large mesh take a few mebibytes; memory of the container.
const STATE_MAX: &str = "32Mi";
/// Kubernetes renews a token when four fifths of this have passed; ten minutes is the least that it grants.
const TOKEN_SECONDS: u32 = 3600;

pub(super) fn volumes(plan: &Plan<'_>) -> Vec<Node> {
    let memory = map([("medium", text("Memory")), ("sizeLimit", text(STATE_MAX))]);
    let mut volumes = vec![
        map([("name", text(STATE)), ("emptyDir", memory)]),
        token(&plan.settings.proof),
    ];
    if plan.ends_with_containers() {
        volumes.extend(jobs::volumes());
    }
    volumes
}

fn token(proof: &Proof) -> Node {
    match proof {
        Proof::ServiceAccount => {
            let token = map([
                ("audience", text("usher")),
                ("expirationSeconds", word(TOKEN_SECONDS)),
                ("path", text("token")),
            ]);
            let root = map([("key", text("root.pem")), ("path", text("root.pem"))]);
            let trust = map([("name", text("usher-trust")), ("items", list([root]))]);
            let sources = [
                map([("serviceAccountToken", token)]),
                map([("configMap", trust)]),
            ];
            let projected = map([("sources", list(sources))]);
            map([("name", text(TOKEN)), ("projected", projected)])
        }
        Proof::JoinToken { secret } => {
            let item = map([("key", text("token")), ("path", text("token"))]);
            let secret = map([
                ("secretName", text(secret.as_str())),
                ("items", list([item])),
                // Kubernetes's default, written out: podman 4.3 crashes without it.
                ("optional", word(false)),
            ]);
            map([("name", text(TOKEN)), ("secret", secret)])
        }
    }
}

/// The sidecar's.
pub(super) fn mounts(plan: &Plan<'_>) -> Node {
    let mut mounts = vec![
        map([("name", text(STATE)), ("mountPath", text(STATE_PATH))]),
        map([
            ("name", text(TOKEN)),
            ("mountPath", text(TOKEN_PATH)),
            ("readOnly", word(true)),
        ]),
    ];
    if plan.ends_with_containers() {
        mounts.push(jobs::notes_mount());
    }
    list(mounts)
}
