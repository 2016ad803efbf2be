//! A pair of Envoys with mutual TLS between them, bare or with what an Istio sidecar has.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use usher_tests::Process;

use crate::{certificates, protocol::Protocol};

/// How much Envoy does for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Routing only.
    Bare,
    /// JSON access log, retries, breakers, outlier detection, least request, tracing ids, RBAC on the SPIFFE
    /// principal, client certificate header.
    Mesh,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "envoy bare",
            Self::Mesh => "envoy mesh",
        }
    }
}

/// What both kinds have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct What<'a> {
    /// The executable.
    pub(crate) binary: &'a Path,
    /// What applications speak, and Envoys among themselves.
    pub(crate) protocol: Protocol,
    /// For configuration, certificates and logs.
    pub(crate) folder: &'a Path,
}

/// Two Envoys; killed when dropped.
pub(crate) struct Pair {
    pub(crate) entry: String,
    children: Vec<Process>,
}

impl Pair {
    pub(crate) fn start(what: &What<'_>, kind: Kind, upstream: u16) -> Result<Self> {
        let What {
            binary,
            protocol,
            folder,
        } = *what;
        let folder = folder.join(kind.name().replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        certificates::write(&folder)?;
        let (outbound, inbound) = (crate::free_port()?, crate::free_port()?);
        let files = [
            (
                "inbound.yaml",
                inbound_yaml(kind, protocol, &folder, [inbound, upstream]),
            ),
            (
                "outbound.yaml",
                outbound_yaml(kind, protocol, &folder, [outbound, inbound]),
            ),
        ];
        let mut children = Vec::new();
        for (name, text) in &files {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            let mut command = Command::new(binary);
            command.args(["--concurrency", "1", "--disable-hot-restart"]);
            command.args(["-l", "error", "-c"]).arg(&path);
            children.push(Process::start(command, path.with_extension("log")));
        }
        Ok(Self {
            entry: format!("127.0.0.1:{outbound}"),
            children,
        })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Process::pid).collect()
    }
}

fn tls(folder: &Path) -> String {
    let path = |name: &str| PathBuf::from(folder).join(name).display().to_string();
    format!(
        "common_tls_context:
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates: [{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}]
            validation_context:
              trusted_ca: {{ filename: {} }}
              match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ prefix: \"spiffe://peer/\" }} }}]",
        path("cert.pem"),
        path("key.pem"),
        path("root.pem")
    )
}

const ACCESS_LOG: &str = "
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/null
              log_format:
                json_format: { time: \"%START_TIME%\", method: \"%REQ(:METHOD)%\", path: \"%REQ(:PATH)%\", authority: \"%REQ(:AUTHORITY)%\", protocol: \"%PROTOCOL%\", status: \"%RESPONSE_CODE%\", flags: \"%RESPONSE_FLAGS%\", bytes_in: \"%BYTES_RECEIVED%\", bytes_out: \"%BYTES_SENT%\", duration: \"%DURATION%\", upstream: \"%UPSTREAM_HOST%\", request_id: \"%REQ(X-REQUEST-ID)%\", peer: \"%DOWNSTREAM_PEER_URI_SAN%\" }";

const RBAC: &str = "
          - name: rbac
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                policies:
                  web:
                    permissions: [{ any: true }]
                    principals: [{ authenticated: { principal_name: { prefix: \"spiffe://peer/\" } } }]";

const CLUSTER_MESH: &str = "
    lb_policy: LEAST_REQUEST
    circuit_breakers: { thresholds: [{ max_connections: 1024, max_requests: 1024, track_remaining: true }] }
    outlier_detection: { consecutive_5xx: 5 }";

const CLUSTER_HTTP2: &str = "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }";

/// The filters of a sidecar beside RBAC; tracing ids come with `generate_request_id`.
const FILTERS_MESH: &str = "
          - name: grpc_stats
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
              emit_filter_state: true
              stats_for_all_methods: false
          - name: fault
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
          - name: cors
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }";

const RETRIES: &str = ", retry_policy: { retry_on: \"connect-failure,refused-stream,unavailable,503\", num_retries: 2 }";

fn inbound_yaml(kind: Kind, protocol: Protocol, folder: &Path, ports: [u16; 2]) -> String {
    let [port, upstream] = ports;
    let mesh = kind == Kind::Mesh;
    let extra = if mesh {
        "\n          forward_client_cert_details: SANITIZE_SET\n          set_current_client_cert_details: { uri: true }"
    } else {
        ""
    };
    let socket = format!(
        "
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {}",
        tls(folder)
    );
    let filters = if mesh { RBAC } else { "" };
    let manager = format!("{}{extra}", log(mesh));
    let listener = Listener {
        port,
        manager: &manager,
        filters,
        socket: &socket,
    };
    config(kind, &listener, &cluster(upstream, mesh, protocol, ""))
}

fn outbound_yaml(kind: Kind, protocol: Protocol, folder: &Path, ports: [u16; 2]) -> String {
    let [port, inbound] = ports;
    let mesh = kind == Kind::Mesh;
    let socket = format!(
        "
    transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          {}",
        tls(folder)
    );
    let listener = Listener {
        port,
        manager: log(mesh),
        filters: "",
        socket: "",
    };
    config(kind, &listener, &cluster(inbound, mesh, protocol, &socket))
}

fn log(mesh: bool) -> &'static str {
    if mesh { ACCESS_LOG } else { "" }
}

fn cluster(port: u16, mesh: bool, protocol: Protocol, socket: &str) -> String {
    let extra = if mesh { CLUSTER_MESH } else { "" };
    let version = if protocol == Protocol::Grpc {
        CLUSTER_HTTP2
    } else {
        ""
    };
    format!(
        "  - name: next
    type: STATIC
    connect_timeout: 1s{extra}{version}
    load_assignment:
      cluster_name: next
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]{socket}
"
    )
}

/// What differs between the two sides, as fragments of YAML.
struct Listener<'a> {
    port: u16,
    manager: &'a str,
    filters: &'a str,
    socket: &'a str,
}

fn config(kind: Kind, listener: &Listener<'_>, cluster: &str) -> String {
    let Listener {
        port,
        manager,
        filters,
        socket,
    } = listener;
    let retries = if kind == Kind::Mesh { RETRIES } else { "" };
    let request_id = kind == Kind::Mesh;
    let common = if kind == Kind::Mesh { FILTERS_MESH } else { "" };
    format!(
        "static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          generate_request_id: {request_id}{manager}
          route_config:
            virtual_hosts: [{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: next, timeout: 15s{retries} }} }}] }}]
          http_filters:{filters}{common}
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}{socket}
  clusters:
{cluster}"
    )
}
