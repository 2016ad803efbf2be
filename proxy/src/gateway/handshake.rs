//! A TLS connection from outside finds its listener by the name that it asks for, and its certificate there.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout};
use tracing::{debug, warn};
use usher_config::model::ListenerProtocol;

use crate::{
    clock,
    snapshot::{GatewayPort, ListenerEntry},
    tcp::{Looked, Stream},
    tls::{
        HANDSHAKE_TIMEOUT, TlsError,
        edge::{self, Hello, Inside},
        shown::Place,
    },
    worker::Worker,
};

use super::Caller;

/// What a handshake has come to.
pub(super) enum Shaken {
    /// Its first bytes were looked at.
    Passed { stream: Stream, sni: String },
    /// It ended here.
    Opened {
        stream: Stream,
        sni: String,
        h2: bool,
    },
}

/// Within the bounds on handshakes; `None`: counted and logged.
pub(super) async fn handshake(
    worker: &Worker,
    stream: TcpStream,
    at: &GatewayPort,
    caller: &Caller,
) -> Option<(Arc<ListenerEntry>, Shaken)> {
    let address = caller.address;
    let count = |outcome| worker.handles.handshakes_inbound.add(worker.index, outcome);
    let Some(_place) = worker.handshakes.enter(address.ip()) else {
        count("overflow");
        if worker.warnings.handshakes.is_due(clock::now()) {
            warn!(%address, "more TLS handshakes under way than this gateway takes");
        }
        return None;
    };
    let shake = async {
        let hello = edge::hello(stream).await?;
        let sni = hello.sni().unwrap_or_default().to_owned();
        let listener = match sni.as_str() {
            "" => at.listeners.unnamed(),
            sni => at.listeners.most_precise(sni),
        };
        let Some(listener) = listener.cloned() else {
            hello.refuse().await;
            return Err(TlsError::NotServed);
        };
        let shaken = open(worker, hello, &listener, sni).await?;
        Ok((listener, shaken))
    };
    let shaken = timeout(HANDSHAKE_TIMEOUT, shake).await;
    let limit = HANDSHAKE_TIMEOUT;
    match shaken.unwrap_or(Err(TlsError::Timeout { limit })) {
        Ok(shaken) => {
            count("ok");
            Some(shaken)
        }
        Err(error) => {
            count(error.outcome());
            if matches!(error, TlsError::NoCertificate)
                && worker.warnings.certificates.is_due(clock::now())
            {
                warn!(%error, %address, port = %caller.port, "caller could not be shown a certificate");
            }
            debug!(%error, %address, "caller's handshake failed");
            None
        }
    }
}

async fn open(
    worker: &Worker,
    hello: Hello,
    listener: &ListenerEntry,
    sni: String,
) -> Result<Shaken, TlsError> {
    let inside = match listener.protocol {
        ListenerProtocol::Https => Inside::Http,
        ListenerProtocol::TlsTerminate => Inside::Opaque,
        ListenerProtocol::TlsPassthrough | ListenerProtocol::Http | ListenerProtocol::Tcp => {
            if listener.streams.most_precise(&sni).is_none() {
                hello.refuse().await;
                return Err(TlsError::NotServed);
            }
            let (stream, seen) = hello.into_parts();
            let stream = Looked::after(Stream::Plain(stream), &seen).into_stream();
            return Ok(Shaken::Passed { stream, sni });
        }
    };
    let certificates = &worker.shared.certificates;
    let place = Place {
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname.clone(),
    };
    let wanted = (&place, listener.certificates.as_slice());
    let stream = hello.answer(certificates, wanted, inside).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = Stream::Accepted(Box::new(stream));
    Ok(Shaken::Opened { stream, sni, h2 })
}
