//! `usher serve`: the control plane.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Failure, Outcome, exit,
    locate::DataDirectory,
    meant_path,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint},
};
use crate::{
    ca::authority::AuthorityError,
    server::{Options, Server, StartError},
    telemetry::{Format, misread, start_log},
};

/// Run the control plane: registry, certificate authority, configuration
///
/// The configuration directory is watched: a good change is in force within a second, a bad object never displaces
/// its last good version. The root key is made on first start and stays in the data directory: back that up.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher serve --config mesh/
  usher serve --config mesh/ --listen 10.0.0.1:15012     sidecars on other machines
  USHER_LOG=debug usher serve --config mesh/ --json      logs as JSON; USHER_LOG is a tracing filter

Every certificate that is signed is a line of ca/issued.jsonl in the data directory: who, when, on which token or SVID,
from which address. What cannot be recorded there is not signed. Rename the file to rotate it.

Stops gracefully on SIGTERM or Ctrl-C. Sidecars go on with what they have for at least 12 hours.

Exit codes: 0 stopped as asked, 64 usage, 70 cannot start, 71 an address cannot be had (in use, or not this machine's),
78 the Mesh object forbids to start.")]
pub(super) struct Serve {
    /// Directory with the configuration, YAML at any depth
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    data: DataDirectory,
    /// Address for sidecars: mutual TLS; port 0: any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15012", value_parser = super::address)]
    listen: SocketAddr,
    /// Address for REST and metrics: read only, without proof, so loopback unless you mean it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15010", value_parser = super::address)]
    http: SocketAddr,
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
        // Each alone is free: the system would only say that it is in use, and it would look like another control plane.
        if self.listen == self.http && self.listen.port() != 0 {
            let message = format!(
                "--listen and --http are both {}: sidecars and readers need a port each",
                self.listen
            );
            return Err(Failure::new(exit::USAGE, message)
                .advise("give one of them another port, or 0 for any that is free"));
        }
        if !self.config.is_dir() {
            let found = if self.config.exists() {
                "is not a directory"
            } else {
                "is not there"
            };
            let message = format!("--config: {} {found}", self.config.display());
            return Err(meant_path(Failure::new(exit::USAGE, message), &self.config));
        }
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of(exit::FAILED, &error))?
            .block_on(self.serve())
    }

    async fn serve(self) -> Outcome {
        let listen = |kind| signal(kind).map_err(|error| Failure::of(exit::FAILED, &error));
        let (mut terminate, mut interrupt) = (
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        );
        let options = Options {
            config: self.config.clone(),
            data: self.data.path(),
            listen: self.listen,
            http: self.http,
            jwks_ca: self.jwks_ca.clone(),
        };
        let server = Server::start(options)
            .await
            .map_err(|error| explain(&error))?;
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

    fn banner(&self, server: &Server) -> String {
        let status = server.state().status();
        let addresses = server.addresses();
        let row = |name: &str, value: &str, note: &str| match note {
            "" => format!("  {name:13} {value}"),
            note => format!("  {name:13} {value}  {}", paint(DIM, note)),
        };
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
        let (config, data) = (self.config.display(), self.data.path());
        let token_data = if self.data.is_default() {
            String::new()
        } else {
            format!(" --data {}", data.display())
        };
        [
            format!(
                "{} of {}",
                paint(HEAD, "Usher control plane"),
                status.trust_domain
            ),
            row("sidecars", &addresses.grpc.to_string(), "mutual TLS"),
            row(
                "read",
                &format!("http://{}/v1/status", addresses.http),
                "also /v1/services, /metrics",
            ),
            row(
                "config",
                &format!("{config}, revision {}", status.revision.number),
                "watched",
            ),
            row("", &format!("{refused}{warnings}"), ""),
            row(
                "data",
                &data.display().to_string(),
                "root key, tokens, accepted configuration",
            ),
            String::new(),
            "Run something in the mesh, from another terminal:".to_owned(),
            format!("  usher run{token_data} --service NAME --namespace NS --port 8080 -- COMMAND"),
            "or on another machine, with a token made here:".to_owned(),
            format!("  usher token create{token_data} --namespace NS --service-account SA"),
        ]
        .join("\n")
    }
}

fn explain(error: &StartError) -> Failure {
    let code = match error {
        StartError::Authority(AuthorityError::OtherTrustDomain { .. }) => exit::CONFIGURATION,
        StartError::Mesh { .. } => exit::CONFIGURATION,
        StartError::State(error) if error.is_configuration() => exit::CONFIGURATION,
        StartError::Listen { .. } => exit::SYSTEM,
        _ => exit::FAILED,
    };
    let failure = Failure::of(code, error);
    match error {
        StartError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            failure
                .advise("another control plane may run already: usher status")
                .advise("or choose another port: --listen and --http, 0 for any")
        }
        _ => failure,
    }
}
