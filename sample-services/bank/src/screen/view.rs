//! What there is to show at one moment, gathered from processes, sidecars and the teller.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::future::join_all;
use nix::unistd::Pid;

use super::{
    tries::status_command,
    watch::{Rates, Watch},
};
use crate::{
    bank::Bank,
    instance::{Pids, SidecarAddresses},
    mesh_view::{Breaker, TellerStats, Trouble},
    process_table::{ProcessTable, own_bytes},
};

/// One moment of the bank.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) uptime: Duration,
    pub(super) root: PathBuf,
    pub(super) is_temporary: bool,
    pub(super) control_plane: ControlPlaneRow,
    pub(super) rows: Vec<Row>,
    pub(super) rates: Rates,
    pub(super) total: TellerStats,
    pub(super) breakers: Vec<(String, Breaker)>,
    pub(super) events: Vec<String>,
    /// What `usher status` complains about; refused edits first.
    pub(super) troubles: Vec<Trouble>,
}

/// The control plane.
#[derive(Debug)]
pub(super) struct ControlPlaneRow {
    pub(super) pid: Option<Pid>,
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    /// Of the configuration in force; `None` while it does not answer.
    pub(super) revision: Option<f64>,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) pids: Option<Pids>,
    pub(super) port: Option<u16>,
    pub(super) sidecar: Option<SidecarAddresses>,
    pub(super) sidecar_bytes: Option<u64>,
    /// What it lacks to be ready; `None` when it is.
    pub(super) lacks: Option<&'static str>,
}

impl View {
    /// Looks at everything once.
    pub(crate) async fn of(bank: &Bank, watch: &mut Watch) -> Self {
        let table = ProcessTable::read();
        let rows = join_all(bank.instances().iter().map(async |instance| {
            let pids = instance.pids(&table);
            let lacks = if instance.is_running() {
                instance.lacks().await.or(pids.and_then(Pids::lack))
            } else {
                Some("ended")
            };
            let sidecar = instance.addresses().ok().filter(|_| instance.is_running());
            let sidecar_bytes = pids.and_then(|pids| pids.sidecar).and_then(own_bytes);
            let (name, port) = (instance.name().to_owned(), instance.port());
            Row {
                name,
                pids,
                port,
                sidecar,
                sidecar_bytes,
                lacks,
            }
        }));
        let breakers = join_all(bank.instances().iter().map(async |instance| {
            let breakers = instance.breakers().await.unwrap_or_default();
            breakers
                .into_iter()
                .map(|breaker| (instance.name().to_owned(), breaker))
                .collect::<Vec<_>>()
        }));
        let (rows, breakers) = (rows.await, breakers.await.into_iter().flatten().collect());
        watch.see_breakers(breakers);
        watch.see_processes(rows.iter().filter_map(Row::running));
        let metrics = bank.control_plane.metrics().await.ok();
        let control_plane = ControlPlaneRow {
            pid: bank.control_plane.pid(),
            grpc: bank.control_plane.grpc(),
            http: bank.control_plane.http(),
            revision: metrics.map(|metrics| metrics.sum("usher_configuration_revision", &[])),
        };
        watch.see_control_plane(
            control_plane
                .pid
                .filter(|_| control_plane.revision.is_some()),
        );
        watch.see_revision(control_plane.revision);
        let complaints = bank.control_plane.complaints().await;
        let mut view = Self {
            uptime: watch.uptime(),
            root: bank.layout.root().to_owned(),
            is_temporary: bank.layout.is_temporary(),
            control_plane,
            rows,
            rates: watch.rates(),
            total: watch.total(),
            breakers: watch.breakers().to_vec(),
            events: vec![],
            troubles: vec![],
        };
        // A control plane that is away complains about nothing, and takes nothing back.
        if let Ok(complaints) = complaints {
            watch.see_troubles(&complaints, &status_command(&view).join(" "));
        }
        view.troubles = watch.troubles().to_vec();
        view.events = watch.events().map(str::to_owned).collect();
        view
    }
}

impl Row {
    /// Its name and the processes of both, once it is ready.
    fn running(&self) -> Option<(&str, Pids)> {
        let pids = self.pids.filter(|_| self.lacks.is_none())?;
        Some((&self.name, pids))
    }
}
