//! A connection with mutual TLS to an inbound proxy, as the proxy beside a caller makes it, and one request on it.
//!
//! Ours speak HTTP/2 among themselves, and nothing else; of peers HTTP/1.1 is asked, which costs them less.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    kept::Kept,
    peers::Peer,
    tls::{Hop, KeyExchange},
};

/// How to connect to one peer. Every handshake is a full one.
pub(crate) struct Secured<'a> {
    connector: TlsConnector,
    name: ServerName<'static>,
    hop: Hop,
    entry: &'a str,
}

/// One that has carried a request, and now waits.
pub(crate) enum Connection {
    Http1(Box<Kept<TlsStream<TcpStream>>>),
    Http2(
        h2::client::SendRequest<Bytes>,
        JoinHandle<Result<(), h2::Error>>,
    ),
}

impl<'a> Secured<'a> {
    pub(crate) fn new(peer: &'a Peer, exchange: KeyExchange) -> Result<Self> {
        let caller = peer.caller.as_ref().context("its callers speak no TLS")?;
        Ok(Self {
            connector: caller.connector(exchange)?,
            name: caller.server_name()?,
            hop: caller.hop,
            entry: &peer.entry,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.entry).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        match self.hop {
            Hop::Http1 => {
                let mut kept = Kept::new(stream);
                let status = kept.get().await?;
                ensure!(status == 200, "status {status}");
                Ok(Connection::Http1(Box::new(kept)))
            }
            Hop::Http2 => http2(stream).await,
        }
    }
}

async fn http2(stream: TlsStream<TcpStream>) -> Result<Connection> {
    let (mut send, connection) = h2::client::handshake(stream).await?;
    let task = tokio::spawn(connection);
    let request = http::Request::get("http://api.default:8080/").body(())?;
    let (response, _) = send.send_request(request, true)?;
    let mut response = response.await?;
    ensure!(response.status() == 200, "{response:?}");
    while let Some(chunk) = response.body_mut().data().await {
        let chunk = chunk?.len();
        response.body_mut().flow_control().release_capacity(chunk)?;
    }
    Ok(Connection::Http2(send, task))
}

impl Connection {
    /// Says goodbye, as a proxy that needs it no more.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Http1(kept) => kept.into_stream().shutdown().await?,
            Self::Http2(send, task) => {
                drop(send);
                task.await??;
            }
        }
        Ok(())
    }
}
