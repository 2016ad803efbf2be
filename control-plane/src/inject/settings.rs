//! What is the same for all pods of a mesh: images, where the control plane is, and how sidecars come in.

use usher_config::value::Name;

/// What pods are given. The default is what `usher inject` does without flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The sidecar's image, with `usher-proxy` at [`PROGRAM`].
    pub image: String,
    /// The image of the container that installs the kernel's rules: [`PROGRAM`] and Debian's `nft`.
    pub init_image: String,
    /// `imagePullPolicy` of both. Default `None`: Kubernetes's own choice, by the tag.
    pub pull_policy: Option<PullPolicy>,
    /// `HOST:PORT` of the control plane's gRPC. Default: the Service `usher` in `usher-system`.
    pub control_plane: String,
    /// How the sidecar is a container. Default [`Style::Native`].
    pub style: Style,
    /// How calls come to it. Default [`Mode::Transparent`]: no program has to be told.
    pub mode: Mode,
    /// What it proves itself with, the first time. Default [`Proof::ServiceAccount`].
    pub proof: Proof,
    /// Written into the pod as it is. Default `None`: the pod asks Kubernetes, which podman has no answer to.
    pub namespace: Option<Name>,
    /// Services whose selectors take the pod, where they are known: it is one of those, rather than what its labels call it.
    /// Default none.
    pub services: Vec<Name>,
}

/// Where both images have the program.
pub const PROGRAM: &str = "/usr/bin/usher-proxy";

/// As Kubernetes spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// Where it is missing.
    IfNotPresent,
    /// It has been put there.
    Never,
}

impl PullPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// How the sidecar is a container of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// An init container with `restartPolicy: Always` (Kubernetes 1.29): it starts before all others, ends after them,
    /// and no Job waits for it.
    Native,
    /// The first of the containers, which starts before the others and ends with them.
    Ordered,
}

impl Style {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ordered => "ordered",
        }
    }
}

/// How an application's calls come to its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The kernel hands them over, by rules that an init container installs.
    Transparent,
    /// The application calls the sidecar, as `http_proxy` says, and listens on 127.0.0.1 only.
    Explicit,
}

/// What a sidecar without an identity shows to the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A token of the pod's service account, projected for the audience `usher`; the mesh's root is in the ConfigMap
    /// `usher-trust`.
    ServiceAccount,
    /// A join token, the key `token` of a Secret: for runtimes that project none.
    JoinToken {
        /// The Secret.
        secret: Name,
    },
}

impl Default for Settings {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            image: format!("usher-proxy:{version}"),
            init_image: format!("usher-init:{version}"),
            pull_policy: None,
            control_plane: "usher.usher-system.svc:15012".to_owned(),
            style: Style::Native,
            mode: Mode::Transparent,
            proof: Proof::ServiceAccount,
            namespace: None,
            services: Vec::new(),
        }
    }
}
