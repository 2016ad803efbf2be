//! A gateway's listeners, bound as its configuration says, and its certificates, read from their files.
//!
//! Both follow changes while the process runs: a port that cannot be bound and a pair of files that does not fit are
//! said once and tried again; what was good before stays.

mod certificates;
mod lacking;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tracing::{info, warn};
use usher_config::{
    model::Gateway,
    value::{CertificateName, Port},
};

use super::{
    Exit, Readiness, Standing, Start,
    listeners::{Addresses, listen_plainly},
};
use lacking::{Instead, Lack, lacking, shown};

use crate::{
    bootstrap::GatewayRole,
    snapshot::{GatewayEntry, Store},
    state_dir::StateDir,
    tls::edge::Certificates,
    worker::{GatewayListeners, Shared},
};

/// Whoever has the port may let go of it.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Everything that listening needs.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) role: GatewayRole,
    pub(super) certificates: Arc<Certificates>,
    pub(super) store: Arc<Store>,
    pub(super) readiness: Readiness,
    pub(super) standing: Standing,
    pub(super) directory: StateDir,
    pub(super) addresses: Addresses,
}

/// What a gateway listens on, and why it cannot go on, if it cannot.
pub(super) type Door = (watch::Receiver<GatewayListeners>, oneshot::Receiver<Exit>);

impl Start {
    /// Listens as the Gateway says, if we are one, and reads its certificates.
    pub(super) fn listen_as_gateway(&self, shared: &Shared) -> Result<Option<Door>, Exit> {
        let Some(role) = &self.bootstrap.gateway else {
            return Ok(None);
        };
        let observers = (&self.standing, &self.metrics);
        certificates::keep(role, &shared.certificates, observers)?;
        let listening = Listening {
            role: role.clone(),
            certificates: shared.certificates.clone(),
            store: self.store.clone(),
            readiness: self.readiness.clone(),
            standing: self.standing.clone(),
            directory: self.directory.clone(),
            addresses: self.addresses.clone(),
        };
        Ok(Some(listening.start()))
    }
}

impl Listening {
    /// From now on.
    pub(super) fn start(self) -> Door {
        let (sender, listeners) = watch::channel(GatewayListeners::default());
        let (refuse, refused) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(exit) = self.check_listen().await {
                // Whoever hears it ends us; nobody does who is ending anyway.
                let _ = refuse.send(exit);
                return;
            }
            self.run(sender).await;
        });
        (listeners, refused)
    }

    /// Waits for the Gateway, and compares what we were told with it, before anything is bound: a port that was meant to
    /// be somewhere else would be open to everybody. Once it fitted, the Gateway may change as it likes.
    async fn check_listen(&self) -> Result<(), Exit> {
        let mut changes = self.store.changes();
        let mut said = false;
        loop {
            changes.borrow_and_update();
            let snapshot = self.store.load();
            if let Some(gateway) = snapshot.gateway() {
                for port in to_come(&self.role.listen, &gateway.model)? {
                    let notice =
                        format!("port {port} of --listen: the Gateway has no such port yet");
                    self.standing.tell(|facts| facts.notices.push(notice));
                }
                return Ok(());
            }
            // It would have come with the first configuration.
            if snapshot.revision().is_some() && !std::mem::replace(&mut said, true) {
                let name = self.store.own();
                warn!(gateway = %name, "there is no such Gateway, waiting for it");
                let notice = format!(
                    "there is no Gateway {name}, so nothing is listened on until there is: write it, or give the name of one \
                     that there is (--name, --namespace)"
                );
                self.standing.tell(|facts| facts.notices.push(notice));
            }
            drop(snapshot);
            if changes.changed().await.is_err() {
                sleep(TRY_AGAIN).await;
            }
        }
    }

    /// Never returns.
    async fn run(mut self, sender: watch::Sender<GatewayListeners>) {
        let mut changes = self.store.changes();
        let mut lacks = Lacks::default();
        loop {
            changes.borrow_and_update();
            // Loaded once: ports that are closed for want of a Gateway must not pass for served because one has come since.
            let snapshot = self.store.load();
            self.apply(snapshot.gateway().map(Arc::as_ref), &sender, &mut lacks);
            drop(snapshot);
            let changed = async {
                if changes.changed().await.is_err() {
                    sleep(TRY_AGAIN).await;
                }
            };
            if lacks.refused.is_empty() {
                changed.await;
            } else {
                // Either way it is time to look again.
                let _ = timeout(TRY_AGAIN, changed).await;
            }
        }
    }

    fn apply(
        &mut self,
        gateway: Option<&GatewayEntry>,
        sender: &watch::Sender<GatewayListeners>,
        lacks: &mut Lacks,
    ) {
        let before = sender.borrow().clone();
        let next = self.follow(gateway, &before, &mut lacks.refused);
        if next.keys().ne(before.keys()) {
            self.publish(&next);
            sender.send_replace(Arc::new(next));
        }
        let Some(gateway) = gateway else {
            lacks.uncertified.clear();
            self.certificates.stay(HashMap::new());
            self.standing.tell(|facts| facts.remarks.clear());
            self.readiness.unserved();
            return;
        };
        self.check_certificates(&gateway.model, &mut lacks.uncertified);
        let (blind, seeing): (Vec<&Lack>, Vec<&Lack>) = lacks
            .uncertified
            .iter()
            .partition(|lack| lack.is_of_start());
        let blind = blind.into_iter().map(ToString::to_string);
        let refused = lacks.refused.values().cloned();
        let lacks: Vec<String> = refused.chain(blind).collect();
        let seeing = seeing.into_iter().map(|lack| self.with_consequence(lack));
        let remarks: Vec<String> = lacks.iter().cloned().chain(seeing).collect();
        if self.standing.load().remarks != remarks {
            self.standing.tell(|facts| facts.remarks = remarks);
        }
        self.readiness.lacks(lacks);
    }

    /// The listeners that there should be, of which those that are there stay.
    fn follow(
        &self,
        gateway: Option<&GatewayEntry>,
        before: &GatewayListeners,
        refused: &mut BTreeMap<Port, String>,
    ) -> BTreeMap<Port, Arc<TcpListener>> {
        let wanted: BTreeSet<Port> = gateway.into_iter().flat_map(GatewayEntry::ports).collect();
        for port in before.keys().filter(|port| !wanted.contains(port)) {
            info!(%port, "gateway listens no longer");
        }
        refused.retain(|port, _| wanted.contains(port));
        let mut next = BTreeMap::new();
        for port in wanted {
            if let Some(listener) = before.get(&port) {
                next.insert(port, listener.clone());
                continue;
            }
            let address = self.address(port);
            match listen_plainly(address) {
                Ok(listener) => {
                    refused.remove(&port);
                    info!(%port, %address, "gateway listens");
                    next.insert(port, Arc::new(listener));
                }
                Err(error) => self.say_refused(port, address, &error, refused),
            }
        }
        next
    }

    /// Says once of each listener which of its certificates no `--certificate` names.
    fn check_certificates(&self, gateway: &Gateway, said: &mut BTreeSet<Lack>) {
        let files: Vec<&CertificateName> =
            self.role.certificates.iter().map(|one| &one.name).collect();
        let shown = shown(gateway, &files, &self.certificates.shown());
        let lacking = lacking(gateway, &files, &shown);
        self.certificates.stay(shown);
        for lack in lacking.difference(said) {
            let listener = &lack.listener;
            let notice = self.with_consequence(lack);
            warn!(%listener, reason = notice, "gateway has no certificate as its Gateway says");
            self.standing.tell(|facts| facts.notices.push(notice));
        }
        if lacking.is_empty() && !said.is_empty() {
            info!("gateway has all certificates again");
        }
        *said = lacking;
    }

    fn with_consequence(&self, lack: &Lack) -> String {
        match &lack.instead {
            Instead::Nothing => {
                let not_ready = if lack.is_of_start() {
                    self.not_ready()
                } else {
                    ""
                };
                format!("{lack}: TLS callers of it are refused{not_ready}")
            }
            Instead::Others => format!("{lack}: its other certificates are shown"),
            Instead::Before(before) => {
                let before: Vec<&str> = before.iter().map(CertificateName::as_str).collect();
                format!(
                    "{lack}: it goes on with what it showed before ({})",
                    before.join(", ")
                )
            }
        }
    }

    fn say_refused(
        &self,
        port: Port,
        address: SocketAddr,
        error: &std::io::Error,
        refused: &mut BTreeMap<Port, String>,
    ) {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "; a port below 1024 needs a right: bind another one (--listen {port}=0.0.0.0:8{:03})",
                    port.get()
                )
            }
            _ => String::new(),
        };
        let reason =
            format!("port {port} of the Gateway: cannot listen on {address}: {error}{advice}");
        let notice = format!("{reason}{}", self.not_ready());
        // The reason may change while it is tried again; it is said once.
        if refused.insert(port, reason).is_none() {
            warn!(%port, %address, %error, "gateway cannot listen, trying again");
            self.standing.tell(|facts| facts.notices.push(notice));
        }
    }

    /// What else follows from something that the gateway lacks.
    fn not_ready(&self) -> &'static str {
        if self.readiness.is_whole() {
            ""
        } else {
            ", and /ready answers 503"
        }
    }

    fn address(&self, port: Port) -> SocketAddr {
        let elsewhere = self.role.listen.iter().find(|(other, _)| *other == port);
        elsewhere.map_or(
            SocketAddr::new(self.role.listen_ip, port.get()),
            |(_, address)| *address,
        )
    }

    fn publish(&mut self, listeners: &BTreeMap<Port, Arc<TcpListener>>) {
        let local = |(port, listener): (&Port, &Arc<TcpListener>)| {
            Some((port.get(), listener.local_addr().ok()?))
        };
        self.addresses.gateway = listeners.iter().filter_map(local).collect();
        if let Err(error) = self.addresses.publish(&self.directory) {
            warn!(%error, "addresses.json could not be written");
        }
    }
}

/// What the Gateway wants and cannot have.
#[derive(Debug, Default)]
struct Lacks {
    /// Ports that cannot be bound, and why.
    refused: BTreeMap<Port, String>,
    /// Certificates without files, which was said.
    uncertified: BTreeSet<Lack>,
}

/// Which of the ports that were given an address the Gateway does not have. They may be still to come; but where another
/// one has no address of its own, it most likely was the one that is meant.
fn to_come(listen: &[(Port, SocketAddr)], gateway: &Gateway) -> Result<Vec<Port>, Exit> {
    let ports: BTreeSet<Port> = gateway.listeners.iter().map(|one| one.port).collect();
    let given: BTreeSet<Port> = listen.iter().map(|(port, _)| *port).collect();
    let to_come: Vec<Port> = given.difference(&ports).copied().collect();
    let others: Vec<Port> = ports.difference(&given).copied().collect();
    match to_come.first() {
        Some(port) if !others.is_empty() => Err(Exit::NoSuchListener {
            gateway: gateway.name.clone(),
            port: *port,
            ports: ports.into_iter().collect(),
            others,
        }),
        Some(_) | None => Ok(to_come),
    }
}

#[cfg(test)]
mod tests;
