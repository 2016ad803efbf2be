//! Envoy, bare or with what an Istio sidecar has, each on the side where Istio puts it.
//!
//! Both sides: JSON access log, tracing at 1 % with request ids, gRPC statistics, fault and CORS filters, breakers
//! that track what remains. Outbound: retries that avoid the previous host, outlier detection, least request.
//! Inbound: RBAC on the caller's SPIFFE identity, client certificate header. A plaintext hop is an inbound proxy
//! that has no caller's certificate yet, as ours is there. Istio's own extensions (its metadata exchange and
//! statistics) are not in Envoy, and not here.

use std::{fmt::Write as _, path::Path, process::Command};

use anyhow::Result;

use super::{Setting, Side, Step};
use crate::protocol::Protocol;

/// How much Envoy does for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Routing only.
    Bare,
    /// What a sidecar of Istio does.
    Mesh,
}

/// Endpoints of each service that is known and not called.
const ENDPOINTS: usize = 10;

pub(super) fn command(
    binary: &Path,
    kind: Kind,
    setting: &Setting<'_>,
    step: &Step,
) -> Result<Command> {
    let path = setting.folder.join(format!("{}.yaml", step.side.name()));
    std::fs::write(&path, configuration(kind, setting, step))?;
    let mut command = Command::new(binary);
    command.args(["--concurrency", "1", "--disable-hot-restart"]);
    command.args(["-l", "error", "-c"]).arg(&path);
    Ok(command)
}

fn configuration(kind: Kind, setting: &Setting<'_>, step: &Step) -> String {
    let filters = match setting.protocol {
        Protocol::Tcp => tcp_filters(kind, step.side),
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => {
            http_filters(kind, step.side, setting.services)
        }
    };
    let socket = match step.side {
        Side::Inbound => downstream_tls(setting),
        Side::Outbound | Side::Hop => String::new(),
    };
    let listen = socket_address(step.listen);
    let mut text = format!(
        "static_resources:
  listeners:
  - name: in
    address: {listen}
    filter_chains:
    - filters:{filters}{socket}
  clusters:
"
    );
    text.push_str(&cluster(kind, setting, step));
    if kind == Kind::Mesh {
        let collector = socket_address(setting.collector);
        let _ = writeln!(text, "{}", endpoints("collector", &[collector]));
    }
    for number in 1..setting.services {
        text.push_str(&known(kind, number));
    }
    text
}

fn socket_address(address: std::net::SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}")
}

/// A cluster without anything else, in whose map more may follow.
fn endpoints(name: &str, addresses: &[String]) -> String {
    let each = addresses.iter();
    let each = each.map(|address| format!("{{ endpoint: {{ address: {address} }} }}"));
    format!(
        "  - name: {name}
    type: STATIC
    connect_timeout: 1s
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{}] }}] }}",
        each.collect::<Vec<_>>().join(", ")
    )
}

/// The one that is called.
fn cluster(kind: Kind, setting: &Setting<'_>, step: &Step) -> String {
    let mut text = endpoints("next", &[socket_address(step.next)]);
    if kind == Kind::Mesh {
        text.push_str(BREAKERS);
        if step.side == Side::Outbound {
            text.push_str(BALANCING);
        }
    }
    if setting.protocol.is_http2() {
        text.push_str(HTTP2);
    }
    if step.side == Side::Outbound {
        let _ = write!(
            text,
            "
    transport_socket:
      name: tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        {}",
            tls(setting.folder)
        );
    }
    text.push('\n');
    text
}

/// One that is only known: in the documentation block of RFC 2544, where nobody is.
fn known(kind: Kind, number: usize) -> String {
    let address = |endpoint| {
        let (high, low) = (number / 256, number % 256);
        format!(
            "{{ socket_address: {{ address: 198.{}.{low}.{endpoint}, port_value: 8080 }} }}",
            18 + high % 2
        )
    };
    let addresses: Vec<String> = (1..=ENDPOINTS).map(address).collect();
    let mut text = endpoints(&format!("service-{number}"), &addresses);
    if kind == Kind::Mesh {
        text.push_str(BREAKERS);
        text.push_str(BALANCING);
    }
    text.push('\n');
    text
}

const BREAKERS: &str = "
    circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, max_retries: 10000, track_remaining: true }] }";

const BALANCING: &str = "
    lb_policy: LEAST_REQUEST
    outlier_detection: { consecutive_5xx: 5 }";

const HTTP2: &str = "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }";

fn downstream_tls(setting: &Setting<'_>) -> String {
    format!(
        "
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {}",
        tls(setting.folder)
    )
}

fn tls(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key, root) = (path("cert.pem"), path("key.pem"), path("root.pem"));
    format!(
        "common_tls_context: {{ tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}, \
         tls_certificates: [{{ certificate_chain: {{ filename: {certificate} }}, private_key: {{ filename: {key} }} }}], \
         validation_context: {{ trusted_ca: {{ filename: {root} }}, \
         match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ prefix: \"spiffe://peer/\" }} }}] }} }}"
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

const TRACING: &str = "
          generate_request_id: true
          tracing:
            random_sampling: { value: 1 }
            provider:
              name: envoy.tracers.zipkin
              typed_config:
                \"@type\": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig
                collector_cluster: collector
                collector_endpoint: /api/v2/spans
                collector_endpoint_version: HTTP_JSON
                trace_id_128bit: true
                shared_span_context: false";

const CALLER_HEADER: &str = "
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: { uri: true }";

/// The filters of a sidecar beside RBAC.
const FILTERS: &str = "
          - name: grpc_stats
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
              emit_filter_state: true
              stats_for_all_methods: false
          - name: fault
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
          - name: cors
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }";

const RETRIES: &str = ", retry_policy: { retry_on: \"connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes\", retriable_status_codes: [503], num_retries: 2, host_selection_retry_max_attempts: 5, retry_host_predicate: [{ name: previous, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }] }";

/// Who may call: any caller of the mesh, or anybody where callers have no certificate.
fn rbac(kind: &str, prefix: &str, side: Side) -> String {
    let principal = match side {
        Side::Inbound => "{ authenticated: { principal_name: { prefix: \"spiffe://peer/\" } } }",
        Side::Hop => "{ any: true }",
        Side::Outbound => return String::new(),
    };
    format!(
        "
{prefix}- name: rbac
{prefix}  typed_config:
{prefix}    \"@type\": type.googleapis.com/envoy.extensions.filters.{kind}.rbac.v3.RBAC
{prefix}    stat_prefix: rbac
{prefix}    rules: {{ policies: {{ callers: {{ permissions: [{{ any: true }}], principals: [{principal}] }} }} }}"
    )
}

fn http_filters(kind: Kind, side: Side, services: usize) -> String {
    let (mut manager, mut filters, mut retries) = (String::new(), String::new(), "");
    match kind {
        Kind::Bare => manager.push_str("\n          generate_request_id: false"),
        Kind::Mesh => {
            manager = format!("{TRACING}{ACCESS_LOG}");
            if side == Side::Inbound {
                manager.push_str(CALLER_HEADER);
            }
            if side == Side::Outbound {
                retries = RETRIES;
            }
            // The HTTP filter has no prefix for its statistics under this name.
            let rbac =
                rbac("http", "          ", side).replace("              stat_prefix: rbac\n", "");
            filters = rbac + FILTERS;
        }
    }
    let mut hosts = format!(
        "{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: next, timeout: 15s{retries} }} }}] }}"
    );
    for number in 1..services {
        let _ = write!(
            hosts,
            ", {{ name: service-{number}, domains: [service-{number}], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: service-{number}, timeout: 15s{retries} }} }}] }}"
        );
    }
    format!(
        "
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in{manager}
          route_config: {{ virtual_hosts: [{hosts}] }}
          http_filters:{filters}
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}"
    )
}

fn tcp_filters(kind: Kind, side: Side) -> String {
    let (rbac, log) = match kind {
        Kind::Bare => (String::new(), ""),
        Kind::Mesh => (rbac("network", "      ", side), ACCESS_LOG),
    };
    format!(
        "{rbac}
      - name: tcp
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: in
          cluster: next{log}"
    )
}
