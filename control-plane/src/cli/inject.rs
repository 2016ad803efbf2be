//! `usher inject`: sidecars into Kubernetes manifests, offline; what is not about pods stays as it is, byte for byte.

mod files;
mod show;

use clap::{Args, ValueEnum};
use usher_config::value::Name;

use self::files::{File, read};
use super::{Failure, Outcome, exit};
use crate::inject::{Changed, Mode, Proof, PullPolicy, Settings, Style, Wish, change};

/// Put sidecars into Kubernetes manifests: Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, List
///
/// The result goes to stdout, what was done to stderr. Other documents, comments and the order of keys stay as they are.
/// Injecting twice is injecting once. If anything is wrong, nothing is written: no pod gets past the mesh by mistake.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(super) struct Inject {
    /// A file, a directory with *.yaml, *.yml and *.json at any depth, or - for stdin; may be given several times
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR|-",
        required = true
    )]
    paths: Vec<std::path::PathBuf>,
    /// Take our sidecars out instead
    #[arg(long, conflicts_with_all = OF_INJECTING)]
    uninject: bool,
    /// Show what would change instead of the result
    #[arg(long)]
    diff: bool,
    /// Print {"ok","objects":[…],"mistakes":[…],"manifests":[…]} instead
    #[arg(long, conflicts_with = "diff")]
    json: bool,
    #[command(flatten)]
    how: How,
}

/// Flags that mean nothing where sidecars are taken out.
const OF_INJECTING: [&str; 8] = [
    "no_native_sidecar",
    "mode",
    "control_plane",
    "image",
    "init_image",
    "image_pull_policy",
    "join_token_secret",
    "namespace",
];

/// What pods get.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Make the sidecar the first of the containers: for clusters before 1.29, and podman
    #[arg(long)]
    pub(super) no_native_sidecar: bool,
    /// transparent: the kernel hands connections over. explicit: the application calls the sidecar and listens on 127.0.0.1
    #[arg(long, value_name = "MODE", default_value = "transparent")]
    pub(super) mode: ByWhom,
    /// gRPC address of the control plane, or of each of several
    #[arg(long, value_name = "HOST:PORT[,...]", default_value = "usher.usher-system.svc:15012", value_parser = hosts)]
    pub(super) control_plane: String,
    /// Image of the sidecar [default: usher-proxy of this version]
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub(super) image: Option<String>,
    /// Image of the container that installs the kernel's rules [default: usher-init of this version]
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub(super) init_image: Option<String>,
    /// imagePullPolicy of both [default: Kubernetes's own choice]
    #[arg(long, value_name = "POLICY")]
    pub(super) image_pull_policy: Option<Pull>,
    /// Secret with a join token under the key `token`, instead of a service-account token of the audience usher
    #[arg(long, value_name = "SECRET")]
    pub(super) join_token_secret: Option<Name>,
    /// Namespace of the pods, written into them [default: they ask Kubernetes]
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub(super) namespace: Option<Name>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(super) enum ByWhom {
    Transparent,
    Explicit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum Pull {
    Always,
    IfNotPresent,
    Never,
}

fn after_help() -> String {
    let annotations = crate::inject::ANNOTATIONS
        .iter()
        .map(|(name, value, help)| {
            let head = format!("{}{name}: {value}", crate::inject::PREFIX);
            format!("  {head:<54} {help}\n")
        });
    format!(
        "\
Examples:
  usher inject -f deployment.yaml | kubectl apply -f -
  kubectl get deployment account -o yaml | usher inject -f - | kubectl apply -f -
  usher inject -f manifests/ --diff
  usher inject -f manifests/ --uninject
  usher inject -f pod.yaml --no-native-sidecar --namespace bank --join-token-secret token     where nobody projects tokens
  usher inject -f manifests/ --json | jq -r '.objects[] | select(.outcome == \"skipped\") | \"\\(.object): \\(.reason)\"'

Annotations of a pod, or of the template of its workload; a wrong one is an error:
{}
Skipped, with the reason: pods that opt out, that have a sidecar (ours or another mesh's), hostNetwork, Windows. Refused: wrong
annotations, containers that run as user 1337 or take a port of the sidecar's (15001, 15006, 15020), no containers, Jobs
without `command` where --no-native-sidecar. The sidecar's container that installs rules needs the capability NET_ADMIN.

Exit codes: 0 done, 1 mistakes, and nothing was written; with --diff: 0 nothing would change, 1 something would;
64 usage, 70 a path cannot be read.",
        annotations.collect::<String>()
    )
}

impl Inject {
    pub(super) fn execute(self) -> Outcome {
        let files = read(&self.paths)?;
        let settings = self.how.settings();
        let wish = match self.uninject {
            true => Wish::Uninject,
            false => Wish::Inject(&settings),
        };
        let changed = files.into_iter().map(|file| Done {
            changed: change(&file.text, wish),
            file,
        });
        let changed: Vec<Done> = changed.collect();
        let is_good = changed
            .iter()
            .all(|done| done.changed.complaints.is_empty());
        if self.json {
            super::print_json(&show::report(&changed, is_good))?;
            return Ok(if is_good { exit::OK } else { exit::MISTAKES });
        }
        show::on_stderr(&changed, is_good);
        if !is_good {
            let failure = Failure::new(exit::MISTAKES, "nothing was written");
            let advice =
                "an object that is not meant for the mesh says so: usher.dev/inject: \"false\"";
            return Err(match show::may_opt_out(&changed) {
                true => failure.advise(advice),
                false => failure,
            });
        }
        if self.diff {
            let difference = show::difference(&changed);
            anstream::print!("{difference}");
            return Ok(if difference.is_empty() {
                exit::OK
            } else {
                exit::MISTAKES
            });
        }
        show::manifests(&changed)?;
        Ok(exit::OK)
    }
}

/// A file, and what became of it.
struct Done {
    file: File,
    changed: Changed,
}

impl How {
    pub(super) fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            image: self.image.clone().unwrap_or(default.image),
            init_image: self.init_image.clone().unwrap_or(default.init_image),
            pull_policy: self.image_pull_policy.map(|policy| match policy {
                Pull::Always => PullPolicy::Always,
                Pull::IfNotPresent => PullPolicy::IfNotPresent,
                Pull::Never => PullPolicy::Never,
            }),
            control_plane: self.control_plane.clone(),
            style: match self.no_native_sidecar {
                true => Style::Ordered,
                false => Style::Native,
            },
            mode: match self.mode {
                ByWhom::Transparent => Mode::Transparent,
                ByWhom::Explicit => Mode::Explicit,
            },
            proof: match &self.join_token_secret {
                Some(secret) => Proof::JoinToken {
                    secret: secret.clone(),
                },
                None => Proof::ServiceAccount,
            },
            // A file's Services need not be those that will be there.
            services: Vec::new(),
            namespace: self.namespace.clone(),
        }
    }
}

/// What the sidecar takes for `--control-plane`.
pub(super) fn hosts(text: &str) -> Result<String, String> {
    let is_host = |host: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        !host.is_empty() && host.bytes().all(is_part)
    };
    let is_one = |one: &str| {
        let parts = one.rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    match text.split(',').all(is_one) {
        true => Ok(text.to_owned()),
        false => Err("allowed: HOST:PORT, several with commas between".to_owned()),
    }
}

/// What can be an image's name; a dollar sign would be Kubernetes's.
pub(super) fn image(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("allowed: an image such as registry.internal/usher-proxy:0.1.0".to_owned()),
    }
}

#[cfg(test)]
mod tests;
