//! `usher serve`: the control plane.

mod kubernetes;
mod names;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use usher_config::value::TrustDomain;

use super::{
    Failure, Outcome, exit,
    locate::DataDirectory,
    meant_path,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint},
};
#[cfg(feature = "kubernetes")]
use crate::webhook::WebhookError;
use crate::{
    addresses::Addresses,
    admin::operator::Source,
    ca::{authority::AuthorityError, issuer::GivenFiles},
    server::{Options, Server, StartError, has_store},
    telemetry::{Format, misread, start_log},
};
use kubernetes::KubernetesArgs;
use names::Names;

mod store;

use store::StoreArgs;

/// Run the control plane: registry, certificate authority, configuration
///
/// The configuration directory is watched: a good change is in force within a second, a bad object never displaces
/// its last good version. Without one the store is the configuration's source, and `usher apply` writes it; in a cluster
/// (--kubernetes, built with --features kubernetes) its API server is. The root key is
/// made on first start and stays in the data directory: back that up.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher serve --config mesh/
  usher serve --config mesh/ --listen 10.0.0.1:15012     sidecars on other machines
  usher serve                                            configuration comes from usher apply
  usher serve --config mesh/ --dns 10.0.0.1:53           names for other machines too
  usher serve --config mesh/ --ca-certificate ca.pem --ca-key ca.key      sign with an intermediate from your own CA
  usher serve --config /etc/usher/mesh                   a mounted ConfigMap, or a link to a release: swaps are followed
  usher serve --kubernetes                               all of the mesh is what its cluster says: Services, pods, kubectl apply
  usher serve --kubernetes --config mesh/                sidecars for a cluster's pods, configuration from a directory
  USHER_LOG=debug usher serve --config mesh/ --json      logs as JSON; USHER_LOG is a tracing filter

Several control planes of one mesh, each with a data directory of its own on a machine of its own (built with --features
etcd). The first one makes the mesh's root; each signs with an intermediate of its own, which the one with the root's key
signs for it (usher ca status). Sidecars are told of all of them: usher run --control-plane 10.0.0.1:15012,10.0.0.2:15012
  usher serve --store etcd://10.0.0.7:2379,10.0.0.8:2379,10.0.0.9:2379 --etcd-ca etcd.pem --listen 10.0.0.1:15012

Every certificate that is signed is a line of ca/issued.jsonl in the data directory: who, when, on which token or SVID,
from which address. What cannot be recorded there is not signed. Rename the file to rotate it.

Names: service.namespace.mesh (also .svc, .svc.cluster.local) is answered with the service's virtual address, which
`usher run --transparent` hands over to the sidecar; instance.service.namespace.mesh and SRV records of
_port._tcp.service.namespace.mesh lead to instances. Other names are asked of the machine's own resolvers, for callers on
private networks only. Try: dig -p 15053 @127.0.0.1 account.bank.mesh

The mesh over HTTP, for reading (--http): GET /v1/status, /v1/objects (conditions), /v1/services, /v1/instances, /v1/watch,
/v1/revisions, /metrics; described by /openapi.json.

Stops gracefully on SIGTERM or Ctrl-C. Sidecars go on with what they have for at least 12 hours.

Exit codes: 0 stopped as asked, 64 usage, 69 etcd cannot be reached, 70 cannot start, 71 an address cannot be had (in use, or not this machine's),
78 the Mesh object, or a file or directory that cannot be read on a first start, forbids to start. Later what is stored
runs, and the directory is read as soon as it can be.")]
pub(super) struct Serve {
    /// Directory with the configuration, YAML at any depth; left out: what `usher apply` writes into the store, or with
    /// --kubernetes what is in the cluster
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    config: Option<PathBuf>,
    #[command(flatten)]
    data: DataDirectory,
    #[command(flatten)]
    store: StoreArgs,
    /// Whose identities a new mesh gives out, when no directory says it (its Mesh object does) [default: usher.local]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    trust_domain: Option<TrustDomain>,
    /// Address for sidecars: mutual TLS; port 0: any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15012", value_parser = super::address)]
    listen: SocketAddr,
    /// Address for REST and metrics: read only, without proof, so loopback unless you mean it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15010", value_parser = super::address)]
    http: SocketAddr,
    #[command(flatten)]
    names: Names,
    /// PEM file to sign identities with: an intermediate that somebody else keeps fresh, what leads from it to its root, and
    /// the root; read again every few seconds
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_certificate: Option<PathBuf>,
    /// PEM file, mode 0600, with the key of the intermediate
    #[arg(long, value_name = "FILE", requires = "ca_certificate")]
    ca_key: Option<PathBuf>,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    /// PEM file with certificates to believe, beside the web's roots, when keys of token issuers are fetched (jwks.uri)
    #[arg(long, value_name = "FILE")]
    jwks_ca: Option<PathBuf>,
    /// Print the addresses as one JSON document, and log in JSON
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(super) fn execute(self) -> Outcome {
        let filter = std::env::var("USHER_LOG").unwrap_or_else(|_| "info".to_owned());
        if let Some(why) = misread(&filter) {
            anstream::eprintln!("{}: USHER_LOG: {why}", paint(WARN, "warning"));
        }
        start_log(
            &filter,
            if self.json {
                Format::Json
            } else {
                Format::Automatic
            },
        );
        self.apart()?;
        #[cfg(not(feature = "kubernetes"))]
        self.kubernetes.check()?;
        self.config_is_there()?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of(exit::FAILED, &error))?
            .block_on(self.serve())
    }

    /// A mesh that runs already starts with what it has stored: its directory may not be mounted yet.
    fn config_is_there(&self) -> Result<(), Failure> {
        let Some(config) = self.config.as_ref().filter(|config| !config.is_dir()) else {
            return Ok(());
        };
        let found = match config.exists() {
            true => "is not a directory",
            false if has_store(&self.data.path()) => return Ok(()),
            false => "is not there",
        };
        let message = format!("--config: {} {found}", config.display());
        Err(meant_path(Failure::new(exit::USAGE, message), config))
    }

    /// Each address alone is free: the system would only say that it is in use, and it would look like another control
    /// plane.
    fn apart(&self) -> Result<(), Failure> {
        let doors = [
            ("--listen", Some(self.listen)),
            ("--http", Some(self.http)),
            ("--dns", self.names.place()),
            ("--webhook-listen", self.kubernetes.place()),
        ];
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (door, address) in doors {
            let Some(address) = address.filter(|address| address.port() != 0) else {
                continue;
            };
            if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == address) {
                let message = format!(
                    "{other} and {door} are both {address}: sidecars, readers, names and API servers need a port each"
                );
                return Err(Failure::new(exit::USAGE, message)
                    .advise("give one of them another port, or 0 for any that is free"));
            }
            taken.push((door, address));
        }
        Ok(())
    }

    async fn serve(self) -> Outcome {
        let listen = |kind| signal(kind).map_err(|error| Failure::of(exit::FAILED, &error));
        let (mut terminate, mut interrupt) = (
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        );
        let options = Options {
            source: self.source(),
            store: self.store.choice()?,
            trust_domain: self.trust_domain.clone(),
            data: self.data.path(),
            listen: self.listen,
            http: self.http,
            dns: self.names.place(),
            dns_forward: self.names.source()?,
            issuer: self
                .ca_certificate
                .clone()
                .zip(self.ca_key.clone())
                .map(|(certificate, key)| GivenFiles { certificate, key }),
            jwks_ca: self.jwks_ca.clone(),
            #[cfg(feature = "kubernetes")]
            webhook: self.kubernetes.options(),
        };
        // A mesh that begins with what is in its cluster waits for that.
        let server = tokio::select! {
            server = Server::start(options) => server.map_err(|error| explain(&error))?,
            _ = terminate.recv() => return Ok(exit::OK),
            _ = interrupt.recv() => return Ok(exit::OK),
        };
        if self.json {
            super::print_json(server.addresses())?;
        } else {
            // Loudly, and before the banner: what was written is not what runs.
            for rejected in &server.state().status().rejected {
                anstream::eprintln!("{}", super::status::rejected_lines(rejected).join("\n"));
            }
            anstream::println!("{}", self.banner(&server));
        }
        let stop = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        server
            .run_until(stop)
            .await
            .map_err(|error| explain(&error))?;
        Ok(exit::OK)
    }

    fn source(&self) -> Source {
        match self.config.clone() {
            Some(directory) => Source::Directory(directory),
            None if self.kubernetes.is_followed() && !self.store.is_shared() => Source::Cluster,
            None => Source::Store,
        }
    }

    fn banner(&self, server: &Server) -> String {
        let status = server.state().status();
        let refused = match status.rejected.len() {
            0 => paint(GOOD, "all objects accepted"),
            number => paint(
                BAD,
                format!("{} refused", super::validate::plural(number, "object")),
            ),
        };
        let warnings = match status.conditions.len() {
            0 => String::new(),
            number => paint(
                WARN,
                format!(", {}", super::validate::plural(number, "condition")),
            ),
        };
        let data = self.data.path();
        let revision = status.revision.number;
        let (config, note) = match self.source() {
            Source::Directory(directory) => (
                format!("{}, revision {revision}", directory.display()),
                "watched",
            ),
            Source::Cluster => (format!("revision {revision}"), "the cluster's, followed"),
            Source::Store => (format!("revision {revision}"), "from usher apply DIR"),
        };
        let kept = match self.store.is_shared() {
            true => "root key; all else is in etcd",
            false => "root key, tokens, accepted configuration",
        };
        let token_data = if self.data.is_default() {
            String::new()
        } else {
            format!(" --data {}", data.display())
        };
        let head = format!(
            "{} of {}",
            paint(HEAD, "Usher control plane"),
            status.trust_domain
        );
        let rest = [
            row("config", &config, note),
            row("", &format!("{refused}{warnings}"), ""),
            row("data", &data.display().to_string(), kept),
            String::new(),
            "Run something in the mesh, from another terminal:".to_owned(),
            format!("  usher run{token_data} --service NAME --namespace NS --port 8080 -- COMMAND"),
            "or on another machine, with a token made here:".to_owned(),
            format!("  usher token create{token_data} --namespace NS --service-account SA"),
        ];
        let lines = [head].into_iter().chain(doors(server.addresses()));
        lines.chain(rest).collect::<Vec<_>>().join("\n")
    }
}

fn row(name: &str, value: &str, note: &str) -> String {
    match note {
        "" => format!("  {name:13} {value}"),
        note => format!("  {name:13} {value}  {}", paint(DIM, note)),
    }
}

/// A line for each.
fn doors(addresses: &Addresses) -> Vec<String> {
    let read = format!("http://{}/v1/status", addresses.http);
    let dns = addresses.dns.map_or_else(
        || row("names", "off", ""),
        |dns| row("names", &dns.to_string(), "DNS for SERVICE.NAMESPACE.mesh"),
    );
    let doors = [
        row("sidecars", &addresses.grpc.to_string(), "mutual TLS"),
        row("read", &read, "also /v1/services, /metrics"),
        dns,
    ];
    let webhook = addresses.webhook.map(|address| {
        let address = address.to_string();
        row("webhook", &address, "admissions of Kubernetes")
    });
    doors.into_iter().chain(webhook).collect()
}

fn explain(error: &StartError) -> Failure {
    let code = match error {
        StartError::Authority(AuthorityError::OtherTrustDomain { .. }) => exit::CONFIGURATION,
        StartError::Mesh { .. } | StartError::OtherTrustDomain { .. } => exit::CONFIGURATION,
        StartError::State(error) if error.is_configuration() => exit::CONFIGURATION,
        StartError::Listen { .. } => exit::SYSTEM,
        #[cfg(feature = "kubernetes")]
        StartError::Webhook(WebhookError::Listen { .. }) => exit::SYSTEM,
        StartError::Store(_) => exit::UNAVAILABLE,
        _ => exit::FAILED,
    };
    let failure = Failure::of(code, error);
    match error {
        StartError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            failure
                .advise("another control plane may run already: usher status")
                .advise("or choose another port: --listen, --http, --dns and --webhook-listen, 0 for any; --dns off: none")
        }
        _ => failure,
    }
}
