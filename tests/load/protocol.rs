//! What the load speaks.

use clap::ValueEnum;

/// The protocol of the caller and the application; between Envoys and haproxys the same, inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP/1.1 with kept connections: wrk, 64 connections.
    Http1,
    /// Unary gRPC over HTTP/2: h2load, 8 connections with 8 streams each.
    Grpc,
}

impl Protocol {
    /// As `appProtocol` in a Service.
    pub(crate) fn app_protocol(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Grpc => "grpc",
        }
    }

    /// As the report's heading says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Grpc => "gRPC",
        }
    }
}
