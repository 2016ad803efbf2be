//! `usher watch`: a line for each service and instance that comes, changes or goes.

mod events;

use std::io::{self, Write as _};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Failure, Outcome, block_on,
    client::Server,
    exit, instances,
    locate::ServerAddress,
    paint::{BAD, DIM, GOOD, WARN, paint},
    registered::Wanted,
    status::{fetch, unanswered},
};
use crate::{
    clock,
    status::{Change, ChangeReport, ServiceReport},
    watch::Filter,
};
use events::{Event, Events};

/// Follow services and instances as they come, change and go
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher watch
  usher watch account --only-changes
  usher watch --namespace bank --unhealthy
  usher watch --json | jq -c 'select(.change == \"removed\")'

First a line for each that is there, then one for each change, until it is stopped. With a filter by zone or health,
what does not fit any more is `removed`. Who is slow skips what they missed: an instance that came and went meanwhile
was never there.

Exit codes: 64 usage or no such service, namespace or zone, 69 no control plane answers (any more).")]
pub(super) struct Watch {
    #[command(flatten)]
    wanted: Wanted,
    /// Leave out what is there at the beginning
    #[arg(long)]
    only_changes: bool,
    #[command(flatten)]
    server: ServerAddress,
    /// Print a JSON document a line for each
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) fn execute(self) -> Outcome {
        let authority = self.server.authority()?;
        block_on(self.follow(&authority))
    }

    async fn follow(&self, authority: &str) -> Outcome {
        let services: Vec<ServiceReport> = fetch(authority, "/v1/services").await?;
        let path = path(&self.wanted.filter(&services)?);
        let server = Server::Tcp(authority.to_owned());
        let mut chunks = server
            .follow(&path)
            .await
            .map_err(|error| unanswered(authority, &path, error))?;
        let (mut events, mut synced) = (Events::default(), false);
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.map_err(|_| ended(authority, "the connection broke"))?;
            for event in events.take(&chunk).map_err(|why| ended(authority, why))? {
                match event {
                    Event::Synced => synced = true,
                    Event::Ended(why) => return Err(ended(authority, &why)),
                    Event::Change(change) if synced || !self.only_changes => {
                        // Whoever reads has gone (`usher watch | head`): done.
                        if self.print(&change, synced).is_err() {
                            return Ok(exit::OK);
                        }
                    }
                    Event::Change(_) => {}
                }
            }
        }
        Err(ended(authority, "the connection was closed"))
    }

    fn print(&self, change: &ChangeReport, synced: bool) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        if self.json {
            let text = serde_json::to_string(change).map_err(io::Error::other)?;
            writeln!(out, "{text}")?;
        } else {
            writeln!(out, "{}", line(change, synced, &clock::now_text()))?;
        }
        out.flush()
    }
}

fn path(filter: &Filter) -> String {
    let healthy = filter.healthy.map(|healthy| healthy.to_string());
    let parameters = [
        ("namespace", filter.namespace.as_deref()),
        ("service", filter.service.as_deref()),
        ("zone", filter.zone.as_deref()),
        ("healthy", healthy.as_deref()),
    ];
    let given = parameters.iter().filter_map(|(name, value)| {
        let value = utf8_percent_encode((*value)?, NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    });
    let given: Vec<String> = given.collect();
    format!("/v1/watch?{}", given.join("&"))
}

fn line(change: &ChangeReport, synced: bool, now: &str) -> String {
    let word = match change.change {
        Change::Added if !synced => paint(DIM, "there  "),
        Change::Added => paint(GOOD, "added  "),
        Change::Changed => paint(WARN, "changed"),
        Change::Removed => paint(BAD, "removed"),
    };
    let service = format!("{}/{}", change.namespace, change.service);
    let text = match &change.instance {
        None => {
            let ports = change.ports.iter().map(ToString::to_string);
            let addresses = change.virtual_addresses.iter().map(ToString::to_string);
            let all: Vec<String> = addresses
                .chain(ports.map(|port| format!(":{port}")))
                .collect();
            format!("{service}  {}", all.join(" "))
        }
        Some(instance) => {
            let zone = match instance.zone.as_str() {
                "" => String::new(),
                zone => format!("  zone {zone}"),
            };
            let health = instances::health(instance);
            let name = &instance.instance;
            format!("{service}/{name}  {}  {health}{zone}", instance.address)
        }
    };
    format!("{}  {word}  {text}", paint(DIM, now))
}

fn ended(authority: &str, why: &str) -> Failure {
    let message = format!("http://{authority} ended the watch: {why}");
    Failure::new(exit::UNAVAILABLE, message).advise("watch again: what is there is told first")
}

#[cfg(test)]
mod tests;
