//! Why there is nothing for a request.

use std::fmt;

/// In what way a request or connection came to the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdirected {
    /// No listener of the port serves the host.
    Host,
    /// No route of the listener takes the request.
    Route,
    /// The service has routes for the port, and none takes the request.
    Rule,
    /// The service has routes by name for the port, and none has the name that TLS asks for.
    Name,
    /// TLS asks for no name at all, where there are only routes by name.
    NoName,
    /// No TLS, where only TLS can say which route it is for.
    NoTls,
    /// The TLS connection is one for another listener's hosts: a client that reuses connections for several names has to
    /// open another one (RFC 9110 §15.5.20).
    Connection,
    /// The port is no longer one of the gateway's.
    Port,
}

impl Misdirected {
    /// For `x-usher-reason`.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Host => "host-not-served",
            Self::Route | Self::Rule | Self::Name => "no-route",
            Self::NoName => "no-server-name",
            Self::NoTls => "not-tls",
            Self::Connection => "host-of-another-listener",
            Self::Port => "port-closed",
        }
    }
}

impl fmt::Display for Misdirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "this host is not served here",
            Self::Route => "nothing is served at this path",
            Self::Rule => {
                "none of its routes takes this request (a rule without matches would take what the others leave)"
            }
            Self::Name => "none of the service's TLSRoutes has this name",
            Self::NoName => {
                "its routes go by the name that TLS asks for (SNI), and this connection asks for none"
            }
            Self::NoTls => {
                "its routes go by the name that TLS asks for (SNI), and this connection is no TLS"
            }
            Self::Connection => "this connection is for other hosts, open another one",
            Self::Port => "nothing is served at this port any more",
        })
    }
}
