//! Opens connections to peers: directly, or to the proxy that `http_proxy` names.
//!
//! Plain HTTP needs no tunnel: a proxied HTTP/1.1 request has the absolute form, a gRPC call its
//! `:authority`, and the proxy finds the peer by that.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use crate::settings::{BaseUrl, Environment, Setting};

/// How long a connection attempt may take, names included.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Opens connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer(Arc<Targets>);

#[derive(Debug)]
struct Targets {
    proxy: Option<BaseUrl>,
    direct: Vec<String>,
}

impl Setting for Vec<String> {
    const ALLOWED: &'static str = "host names separated by commas";

    fn parse(text: &str) -> Option<Self> {
        let hosts = text
            .split(',')
            .map(|host| host.trim().trim_start_matches('.'));
        Some(
            hosts
                .filter(|host| !host.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        )
    }
}

impl Dialer {
    /// Reads `http_proxy` and `no_proxy`; `None` after noting what is wrong.
    pub fn from_environment(environment: &mut Environment) -> Option<Self> {
        let proxy = environment.optional("http_proxy");
        let direct = environment.or("no_proxy", Vec::new());
        Some(Self(Arc::new(Targets {
            proxy: proxy?,
            direct: direct?,
        })))
    }

    /// Goes to every peer directly.
    #[must_use]
    pub fn direct() -> Self {
        Self(Arc::new(Targets {
            proxy: None,
            direct: Vec::new(),
        }))
    }

    fn proxy_for(&self, host: &str) -> Option<&Authority> {
        let host = host.to_ascii_lowercase();
        let direct = self.0.direct.iter().any(|known| {
            known == "*"
                || host == *known
                || host
                    .strip_suffix(known.as_str())
                    .is_some_and(|front| front.ends_with('.'))
        });
        self.0
            .proxy
            .as_ref()
            .filter(|_| !direct)
            .map(BaseUrl::authority)
    }

    async fn dial(self, uri: Uri) -> io::Result<Stream> {
        let wanted = uri
            .authority()
            .ok_or_else(|| io::Error::other("the address has no host"))?;
        let proxy = self.proxy_for(wanted.host());
        let target = proxy.unwrap_or(wanted);
        let host = target.host().trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, target.port_u16().unwrap_or(80)));
        let stream = timeout(CONNECT_LIMIT, connecting).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{target} did not accept a connection within {CONNECT_LIMIT:?}"),
            )
        })??;
        stream.set_nodelay(true)?;
        Ok(Stream {
            io: TokioIo::new(stream),
            proxied: proxy.is_some(),
        })
    }
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connection that knows whether a proxy is at its other end.
#[derive(Debug)]
pub struct Stream {
    io: TokioIo<TcpStream>,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}
