//! Ours, with everything on that a mesh has: identity, an access rule, retries, breaker, ejection, metrics, trace
//! headers, access log.

use anyhow::Result;
use usher_tests::{Mesh, SidecarBuilder, yaml};

use super::{Peer, Shape, Topology};
use crate::{protocol::Protocol, tls::Caller, upstream::Upstream};

/// A control plane, a sidecar beside the upstream, and one beside the caller.
pub(super) async fn start(topology: Topology, upstream: &Upstream) -> Result<Peer> {
    let protocol = topology.protocol;
    let mesh = Mesh::start(&[
        yaml::service("api", 8080, protocol.app_protocol()),
        yaml::traffic_policy(
            "api",
            "  breaker: { minRequests: 1000 }\n  ejection: { enabled: true }\n  retry: { attempts: 2 }\n",
        ),
        yaml::access_policy("api", access(topology.shape)),
    ])
    .await?;
    let api = one_worker(mesh.sidecar("api").port(upstream.port));
    let api = api.start().await?;
    let mut web = one_worker(mesh.sidecar("web"));
    if protocol == Protocol::Tcp {
        let local = "127.0.0.1:0=api.default:8080";
        web = web.argument("--tcp").argument(local);
    }
    let web = web.start().await?;
    let outbound = web.tcp.first().unwrap_or(&web.outbound).clone();
    let (entry, pids) = match topology.shape {
        Shape::Pair => (outbound, vec![web.proxy_pid()?, api.proxy_pid()?]),
        Shape::Plain | Shape::Inbound => (api.inbound.clone(), vec![api.proxy_pid()?]),
    };
    let caller = (topology.shape == Shape::Inbound)
        .then(|| Caller::of_a_sidecar(web.state()))
        .transpose()?;
    Ok(Peer {
        name: "usher",
        entry,
        pids,
        called: 1,
        caller,
        // Sidecars leave while their control plane is still there.
        _running: Box::new((web, api, mesh)),
    })
}

/// Callers without TLS have no identity that a rule could name.
fn access(shape: Shape) -> &'static str {
    match shape {
        Shape::Plain => "  mtls: { mode: Permissive }\n  defaultAction: Allow\n",
        Shape::Pair | Shape::Inbound => "  rules:\n  - from: { serviceAccounts: [web] }\n",
    }
}

/// One thread for requests, as every peer has here, and no log line kept.
pub(crate) fn one_worker(builder: SidecarBuilder<'_>) -> SidecarBuilder<'_> {
    builder
        .environment("USHER_PROXY_WORKERS", "1")
        .argument("--access-log")
        .argument("/dev/null")
}
