//! What the load speaks.

use clap::ValueEnum;

/// The protocol of the caller and the application; between the proxies of a peer the same, inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP/1.1 with kept connections: wrk.
    Http1,
    /// HTTP/2 with prior knowledge: h2load, eight streams on each connection.
    Http2,
    /// Unary gRPC over HTTP/2: h2load, eight streams on each connection.
    Grpc,
    /// Bytes that nobody looks into.
    Tcp,
}

impl Protocol {
    /// As `appProtocol` in a Service.
    pub(crate) fn app_protocol(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "kubernetes.io/h2c",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }

    /// As headings say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
            Self::Tcp => "TCP",
        }
    }

    /// Whether it is HTTP/2 on the wire.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}
