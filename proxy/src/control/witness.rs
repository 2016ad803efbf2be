//! Whether the kernel hands us what comes from outside for our application: only then does it not matter on which
//! addresses that listens.
//!
//! That a sidecar was started with `--transparent` says nothing: rules do not outlive a reboot, and may leave out a port.
//! So it calls the address on which they bear witness ([`ruleset::WITNESS`]), on the application's port, and whoever
//! answers has to prove that it is us. Without the rules, whatever listens there cannot.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use usher_config::value::{Port, ServiceName};

use crate::{
    intercept::ruleset,
    tls::{self, Alpn, Material},
};

/// A busy machine, or rules that are just being replaced, get another chance.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Whether connections from outside to the application's port come to a sidecar of `own`.
pub(super) async fn hands_over(application: Port, material: &Material, own: &ServiceName) -> bool {
    let address = SocketAddr::from((ruleset::WITNESS, application.get()));
    let sni = format!("{application}.{}.{}", own.name, own.namespace);
    let us = [material.spiffe_id().clone()];
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(PAUSE).await;
        }
        if let Ok(Ok(stream)) = timeout(CONNECT_MAX, TcpStream::connect(address)).await
            && tls::connect(stream, material, &us, &sni, Alpn::H2)
                .await
                .is_ok()
        {
            return true;
        }
    }
    false
}
