//! A client hello, read before anything is answered: what it asks for decides who answers, or that nobody does here.

use std::io;

use bytes::BytesMut;
use rustls::{
    SignatureScheme,
    server::{Accepted, Acceptor, ClientHello},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Alpn, TlsError};

/// A client hello with every extension anybody uses, post-quantum key shares included, is below 4 KiB.
const HELLO_MAX: usize = 16 * 1024;

/// A fatal alert in a record of its own (RFC 8446 §6, RFC 6066 §3): type, version, length, level, description.
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A connection whose client hello has been read and not been answered.
pub struct Hello {
    pub(super) stream: TcpStream,
    seen: BytesMut,
    pub(super) accepted: Accepted,
    pub(super) schemes: Vec<SignatureScheme>,
    pub(super) sni: Option<String>,
    is_sidecars: bool,
}

/// Reads the client hello.
///
/// # Errors
/// [`TlsError::Handshake`]: it is none, too large, or the connection ended. The caller has been told what TLS has a word
/// for.
pub async fn hello(mut stream: TcpStream) -> Result<Hello, TlsError> {
    let (accepted, seen) = read(&mut stream).await?;
    let hello = accepted.client_hello();
    let (sni, schemes) = (hello.server_name(), hello.signature_schemes());
    let is_sidecars = offers_mesh(&hello);
    Ok(Hello {
        sni: sni.map(|sni| sni.trim_end_matches('.').to_ascii_lowercase()),
        schemes: schemes.to_vec(),
        stream,
        seen,
        accepted,
        is_sidecars,
    })
}

/// In as many pieces as it comes; with all bytes that were taken from the stream.
async fn read(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(Accepted, BytesMut), TlsError> {
    let mut acceptor = Acceptor::default();
    let mut seen = BytesMut::with_capacity(2048);
    loop {
        let before = seen.len();
        let count = stream
            .read_buf(&mut seen)
            .await
            .map_err(TlsError::Handshake)?;
        if count == 0 || seen.len() > HELLO_MAX {
            return Err(TlsError::Handshake(io::ErrorKind::InvalidData.into()));
        }
        let mut new = seen.get(before..).unwrap_or_default();
        while !new.is_empty() {
            acceptor.read_tls(&mut new).map_err(TlsError::Handshake)?;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok((accepted, seen)),
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // Whether the caller hears of it changes nothing.
                let _ = alert.write_all(&mut bytes);
                let _ = stream.write_all(&bytes).await;
                return Err(TlsError::Handshake(io::Error::other(error)));
            }
        }
    }
}

fn offers_mesh(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.any(|name| Alpn::between_sidecars(name).is_some())
}

impl Hello {
    /// The host that the caller asks for, lower case.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// Whether a sidecar is speaking: it offers to speak as sidecars do among themselves. Any other TLS is an
    /// application's own.
    pub fn is_sidecars(&self) -> bool {
        self.is_sidecars
    }

    /// The connection from its first byte on, and what of it has been read.
    pub fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.seen)
    }

    /// Tells the caller that its host is not served here, and ends the connection.
    pub async fn refuse(mut self) {
        let _ = self.stream.write_all(&UNRECOGNIZED_NAME).await;
        let _ = self.stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
