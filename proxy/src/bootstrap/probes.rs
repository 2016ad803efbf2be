//! What an orchestrator has the sidecar ask of the application: a fixed list, by name. Nobody who calls can add to it.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use usher_config::value::{InvalidValue, Name, Port};

/// By `CONTAINER/PROBE`.
pub type Probes = BTreeMap<String, Probe>;

/// One question to the application on 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How it is asked.
    pub question: Question,
    /// Of the application.
    pub port: Port,
    /// For the whole. Default 1 s, as Kubernetes has it.
    pub timeout: Duration,
}

/// As in a Kubernetes probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `GET`; any status from 200 to 399 passes.
    Http {
        /// With its query.
        path: String,
        /// Besides our own, or instead.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// HTTPS, whatever the certificate: as the kubelet does.
        tls: bool,
    },
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// Empty: of all.
        service: String,
    },
}

/// Of a container, in names: those that pass or fail, and those that only happen.
const PROBES: [&str; 3] = ["liveness", "readiness", "startup"];
const HOOKS: [&str; 2] = ["post-start", "pre-stop"];

/// More is no pod's.
const PROBES_MAX: usize = 256;

const ALLOWED: &str = "JSON as usher inject writes it: {\"CONTAINER/liveness|readiness|startup|post-start|pre-stop\": \
                       {\"httpGet\"|\"tcpSocket\"|\"grpc\": {\"port\": 8080, ...}, \"timeoutSeconds\": 1}, ...}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u32>,
    /// For whoever takes the sidecar out again.
    #[serde(rename = "portName")]
    _port_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    scheme: Option<String>,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpSocket {
    port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grpc {
    port: u16,
    service: Option<String>,
}

/// Reads the list.
pub(super) fn probes(text: &str) -> Result<Probes, InvalidValue> {
    let invalid = || InvalidValue::new(text, ALLOWED);
    let written: BTreeMap<String, Written> = serde_json::from_str(text).map_err(|_| invalid())?;
    if written.len() > PROBES_MAX {
        return Err(invalid());
    }
    let probes = written.into_iter().map(|(name, written)| {
        let probe = probe(written).filter(|_| is_name(&name));
        Ok((name, probe.ok_or_else(invalid)?))
    });
    probes.collect()
}

fn is_name(name: &str) -> bool {
    name.split_once('/').is_some_and(|(container, which)| {
        let is_known = PROBES.contains(&which) || HOOKS.contains(&which);
        is_known && container.parse::<Name>().is_ok()
    })
}

fn probe(written: Written) -> Option<Probe> {
    let (question, port) = match (written.http_get, written.tcp_socket, written.grpc) {
        (Some(get), None, None) => (http(&get)?, get.port),
        (None, Some(tcp), None) => (Question::Tcp, tcp.port),
        (None, None, Some(grpc)) => {
            let service = grpc.service.unwrap_or_default();
            (Question::Grpc { service }, grpc.port)
        }
        _ => return None,
    };
    let seconds = written.timeout_seconds.unwrap_or(1).clamp(1, 3600);
    Some(Probe {
        question,
        port: Port::try_from(u32::from(port)).ok()?,
        timeout: Duration::from_secs(seconds.into()),
    })
}

fn http(get: &HttpGet) -> Option<Question> {
    let tls = match get.scheme.as_deref() {
        None | Some("HTTP") => false,
        Some("HTTPS") => true,
        Some(_) => return None,
    };
    let path = match get.path.starts_with('/') {
        true => get.path.clone(),
        false => format!("/{}", get.path),
    };
    path.parse::<http::uri::PathAndQuery>().ok()?;
    let headers = get.http_headers.iter().map(|header| {
        let name = header.name.parse().ok()?;
        Some((name, HeaderValue::from_str(&header.value).ok()?))
    });
    Some(Question::Http {
        path,
        headers: headers.collect::<Option<Vec<_>>>()?,
        tls,
    })
}
