//! Drill `strangers`: whoever is not who he should be is refused, and each attempt is counted.

mod intruder;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use bank_chassis::proto::account::{BalanceRequest, account_client::AccountClient};
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use tonic::Code;

use self::intruder::{Credentials, Identity};
use super::{
    load::{PATIENCE, open},
    story::Story,
};
use crate::{
    auditor::Caller,
    bank::Bank,
    process::Launch,
    programs::Program,
    roster::{NAMESPACE, stranger},
};

const VICTIM: &str = "account-1";
const HANDSHAKES: &str = "usher_tls_handshakes_total";
const DETECTED: &str = "usher_detect_total";
const REQUESTS: &str = "usher_requests_total";

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open(story).await?;
    story.bank.employ(&stranger())?;
    let voice = story.voice();
    story.bank.ready(&["stranger-1"], &voice).await?;
    plaintext(story).await?;
    without_certificate(story).await?;
    with_a_foreign_authority(story).await?;
    not_on_the_list(story).await?;
    registering_as_account(story).await?;
    around_the_sidecar(story).await?;
    exposed_application(story).await
}

/// Somebody on the network who speaks no TLS.
async fn plaintext(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller without TLS");
    let inbound = inbound(story)?;
    let before = refusals(story).await?;
    let answer = intruder::speak_plaintext(inbound).await?;
    story.saw(
        "plaintextAnswer",
        answer
            .clone()
            .unwrap_or_else(|| "connection closed".to_owned()),
    );
    let refused = answer.is_none_or(|line| line.contains("403") || line.contains("400"));
    story.require(refused, "plaintext is refused");
    counted(story, "plaintextCounted", before).await
}

/// TLS as a mesh peer speaks it, without a certificate of its own.
async fn without_certificate(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller with TLS and no certificate");
    let before = refusals(story).await?;
    let ended = intruder::handshake(inbound(story)?, Credentials::None).await;
    story.saw("withoutCertificate", ended.clone());
    story.require(ended != intruder::LET_IN, "no certificate, no connection");
    counted(story, "withoutCertificateCounted", before).await
}

/// The right name, signed by somebody else.
async fn with_a_foreign_authority(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller named transaction by a foreign authority");
    let before = refusals(story).await?;
    let forged = Identity::forged("spiffe://usher.local/ns/bank/sa/transaction")?;
    let ended = intruder::handshake(inbound(story)?, Credentials::Of(forged)).await;
    story.saw("foreignAuthority", ended.clone());
    story.require(
        ended != intruder::LET_IN,
        "a foreign authority's word counts for nothing",
    );
    counted(story, "foreignAuthorityCounted", before).await
}

/// A member of the mesh whom no policy mentions, through its own sidecar.
async fn not_on_the_list(story: &mut Story) -> anyhow::Result<()> {
    story.say("a meshed workload that is on nobody's list");
    let before = denied(story, "account").await?;
    let outbound = story.bank.instance("stranger-1")?.addresses()?.outbound;
    let caller = Caller::through(outbound);
    let mut account = AccountClient::new(caller.channel("http://account.bank:50051")?);
    let refused = account
        .balance(BalanceRequest {
            account_id: "teller-0000".into(),
        })
        .await;
    let code = refused.map_or_else(|status| status.code(), |_| Code::Ok);
    story.saw("grpcStatus", format!("{code:?}"));
    story.require(
        code == Code::PermissionDenied,
        format!("gRPC: PERMISSION_DENIED, but {code:?}"),
    );
    let after = denied(story, "account").await?;
    story.require(after > before, "account's sidecars count it with flag AZ");

    let before = denied(story, "notification").await?;
    let request = Request::get("http://notification.bank/v1/stats").body(Full::default())?;
    let answer = caller.send(request).await?;
    let reason = answer
        .header("x-usher-reason")
        .unwrap_or_default()
        .to_owned();
    story.saw("restStatus", answer.status.as_u16());
    story.saw("restReason", reason.clone());
    story.require(
        answer.status == 403,
        format!("REST: 403, but {}", answer.status),
    );
    story.require(
        reason.starts_with("AZ"),
        format!("the answer names flag AZ, but {reason:?}"),
    );
    let after = denied(story, "notification").await?;
    story.require(
        after > before,
        "notification's sidecar counts it with flag AZ",
    );
    Ok(())
}

/// A valid identity that claims to be another service, at the registry.
async fn registering_as_account(story: &mut Story) -> anyhow::Result<()> {
    story.say("the stranger registers as account, with its own certificate");
    let state = story.bank.layout.sidecar("stranger-1");
    let identity = Identity::kept_in(&state)?;
    let registry = story.bank.control_plane.grpc();
    let before = registrations_refused(story).await?;
    let status = intruder::register(registry, &identity, "account").await?;
    story.saw("registration", format!("{:?}", status.code()));
    story.require(
        status.code() == Code::PermissionDenied,
        format!("the registry answers PERMISSION_DENIED, but {status:?}"),
    );
    let after = registrations_refused(story).await?;
    story.saw("registrationsRefused", after - before);
    story.require(after > before, "the control plane counts it");
    Ok(())
}

/// The application itself listens on loopback: from anywhere else, nobody is there.
async fn around_the_sidecar(story: &mut Story) -> anyhow::Result<()> {
    let port = story
        .bank
        .instance(VICTIM)?
        .port()
        .context("account has a port")?;
    let Some(address) = own_address() else {
        story.saw(
            "aroundTheSidecar",
            "this machine has no address but loopback",
        );
        return Ok(());
    };
    story.say(format!("account's own port {port}, from {address}"));
    let reached = TcpStream::connect(SocketAddr::new(address, port)).await;
    let how = reached
        .as_ref()
        .map_or_else(ToString::to_string, |_| "connected".to_owned());
    story.saw("aroundTheSidecar", how);
    story.require(
        reached.is_err(),
        "nobody reaches the application around its sidecar",
    );
    Ok(())
}

/// An application that listens to the whole network is not let into the mesh.
async fn exposed_application(story: &mut Story) -> anyhow::Result<()> {
    story.say("a reporting that listens on 0.0.0.0");
    let layout = &story.bank.layout;
    let port = crate::ports::Ports::new().any()?;
    let state = layout.sidecar("exposed");
    let usher = |name: &str| layout.program(Program::Usher).with_file_name(name);
    let control_plane = story.bank.control_plane.grpc().to_string();
    let mut launch = Launch {
        name: "exposed".into(),
        program: usher("usher"),
        arguments: ["run", "--service", "reporting", "--namespace", NAMESPACE]
            .map(Into::into)
            .to_vec(),
        environment: vec![("DATABASE_URL".into(), layout.database("exposed").into())],
        log: layout.log("exposed"),
    };
    launch
        .arguments
        .extend(["--control-plane".into(), control_plane.into()]);
    launch
        .arguments
        .extend(["--data".into(), layout.control_plane().into()]);
    launch
        .arguments
        .extend(["--state-dir".into(), state.into()]);
    launch
        .arguments
        .extend(["--proxy".into(), usher("usher-proxy").into()]);
    launch
        .arguments
        .extend(["--access-log".into(), "off".into()]);
    launch
        .arguments
        .extend(["--inbound".into(), "127.0.0.1:0".into()]);
    launch
        .arguments
        .extend(["--port".into(), port.to_string().into()]);
    // `env` overrules what `usher run` says: the application listens to everybody.
    launch
        .arguments
        .extend(["--", "/usr/bin/env", "HOST=0.0.0.0"].map(Into::into));
    launch.arguments.push(usher("reporting").into());
    let mut process = launch.start()?;
    let ended = async |_: &mut Bank| Ok(process.ended().is_some());
    story
        .until("usher run refuses an exposed application", PATIENCE, ended)
        .await?;
    let code = process.ended().and_then(|status| status.code());
    story.saw("exposedExitCode", code);
    story.require(
        code == Some(78),
        format!("usher run exits with 78, but {code:?}"),
    );
    Ok(())
}

fn inbound(story: &mut Story) -> anyhow::Result<SocketAddr> {
    story
        .bank
        .instance(VICTIM)?
        .addresses()?
        .inbound
        .context("account has an inbound port")
}

/// All attempts the victim's sidecar has refused before they were requests.
async fn refusals(story: &mut Story) -> anyhow::Result<f64> {
    let metrics = story.bank.instance(VICTIM)?.metrics().await?;
    let refused = |outcome| {
        metrics.sum(
            HANDSHAKES,
            &[("direction", "inbound"), ("outcome", outcome)],
        )
    };
    let handshakes: f64 = ["failed", "refused", "not_mesh"].map(refused).iter().sum();
    let plaintext = metrics.sum_containing(DETECTED, "outcome", "refused");
    Ok(handshakes + plaintext + metrics.sum(REQUESTS, &[("flag", "AZ")]))
}

async fn counted(story: &mut Story, what: &str, before: f64) -> anyhow::Result<()> {
    let attempts = refusals(story).await? - before;
    story.saw(what, attempts);
    story.require(attempts >= 1.0, format!("the attempt is counted ({what})"));
    Ok(())
}

/// Requests that all sidecars of a service refused by policy.
async fn denied(story: &mut Story, service: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for instance in story
        .bank
        .instances()
        .iter()
        .filter(|instance| instance.service() == service)
    {
        let metrics = instance.metrics().await?;
        sum += metrics.sum_containing(REQUESTS, "flag", "AZ");
    }
    Ok(sum)
}

async fn registrations_refused(story: &Story) -> anyhow::Result<f64> {
    let metrics = story.bank.control_plane.metrics().await?;
    Ok(metrics.sum("usher_registry_refusals_total", &[]))
}

/// An address of this machine that is not loopback, as a packet to the outside would carry; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Any address that is not local: TEST-NET-1 (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
