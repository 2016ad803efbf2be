//! `--kubernetes`, the webhook, and what pods get from it.

#![cfg_attr(
    not(feature = "kubernetes"),
    allow(
        dead_code,
        reason = "only the webhook reads them; without it they are refused in words"
    )
)]

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use usher_config::value::Name;

use super::super::inject::{ByWhom, How, Pull, hosts, image};

/// What is done for Kubernetes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(super) struct KubernetesArgs {
    /// Serve a Kubernetes cluster: follow what is in it (unless --config or --store says where configuration comes from), answer
    /// its admissions (see --webhook-listen), and keep the caBundle of the configurations `usher`
    /// (MutatingWebhookConfiguration and ValidatingWebhookConfiguration) what the mesh trusts
    #[arg(long)]
    kubernetes: bool,
    /// How the API server is reached, and as whom [default: by the service account of our own pod]
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// Address for API servers: /inject for new pods, /validate for configuration. Without --kubernetes nobody is told of it
    /// [default with --kubernetes: 0.0.0.0:15017]
    #[arg(long, value_name = "ADDR", value_parser = super::super::address)]
    webhook_listen: Option<SocketAddr>,
    /// Names or addresses by which API servers know us: SERVICE.NAMESPACE.svc, or the host of a clientConfig's url
    #[arg(long, value_name = "NAME[,...]", value_delimiter = ',', default_value = "usher.usher-system.svc", value_parser = name)]
    webhook_name: Vec<String>,
    #[command(flatten)]
    pods: Pods,
}

/// The flags of `usher inject`, for pods that come by admission.
#[derive(Debug, Args)]
struct Pods {
    /// Make sidecars the first of the containers: for clusters before 1.29
    #[arg(long)]
    inject_no_native_sidecar: bool,
    /// transparent or explicit, as usher inject --mode
    #[arg(long, value_name = "MODE", default_value = "transparent")]
    inject_mode: ByWhom,
    /// gRPC address that sidecars are told
    #[arg(long, value_name = "HOST:PORT[,...]", default_value = "usher.usher-system.svc:15012", value_parser = hosts)]
    inject_control_plane: String,
    /// Image of sidecars [default: usher-proxy of this version]
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    inject_image: Option<String>,
    /// Image of the container that installs the kernel's rules [default: usher-init of this version]
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    inject_init_image: Option<String>,
    /// imagePullPolicy of both [default: Kubernetes's own choice]
    #[arg(long, value_name = "POLICY")]
    inject_image_pull_policy: Option<Pull>,
    /// Secret with a join token under the key `token`, instead of a service-account token of the audience usher
    #[arg(long, value_name = "SECRET")]
    inject_join_token_secret: Option<Name>,
}

/// Where API servers come to, if nothing else is said.
const LISTEN: ([u8; 4], u16) = ([0, 0, 0, 0], 15017);

impl KubernetesArgs {
    /// Whether a cluster is served.
    pub(super) fn is_followed(&self) -> bool {
        self.kubernetes
    }

    /// Where API servers come to, if they do.
    pub(super) fn place(&self) -> Option<SocketAddr> {
        let by_default = self.kubernetes.then(|| SocketAddr::from(LISTEN));
        self.webhook_listen.or(by_default)
    }

    #[cfg(not(feature = "kubernetes"))]
    pub(super) fn check(&self) -> Result<(), super::Failure> {
        if self.place().is_none() {
            return Ok(());
        }
        let message = "--kubernetes, --webhook-listen: this usher was built without kubernetes";
        let advice =
            "build one with it: cargo build --release -p usher-control-plane --features kubernetes";
        Err(super::Failure::new(super::exit::USAGE, message).advise(advice))
    }

    /// What the server is told.
    #[cfg(feature = "kubernetes")]
    pub(super) fn options(&self) -> Option<crate::webhook::Options> {
        use crate::webhook::{Cluster, Options};

        let cluster = match &self.kubeconfig {
            Some(file) => Cluster::Kubeconfig(file.clone()),
            None => Cluster::Own,
        };
        Some(Options {
            listen: self.place()?,
            names: self.webhook_name.clone(),
            settings: self.pods.how().settings(),
            cluster: self.kubernetes.then_some(cluster),
        })
    }
}

impl Pods {
    fn how(&self) -> How {
        How {
            no_native_sidecar: self.inject_no_native_sidecar,
            mode: self.inject_mode,
            control_plane: self.inject_control_plane.clone(),
            image: self.inject_image.clone(),
            init_image: self.inject_init_image.clone(),
            image_pull_policy: self.inject_image_pull_policy,
            join_token_secret: self.inject_join_token_secret.clone(),
            // Pods ask Kubernetes.
            namespace: None,
        }
    }
}

/// What a certificate may name.
fn name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    let is_host = text.len() <= 253 && text.split('.').all(is_label);
    if is_host || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let allowed = "allowed: a DNS name such as usher.usher-system.svc, or an IP address; several with commas between";
    Err(allowed.to_owned())
}

#[cfg(test)]
mod tests;
