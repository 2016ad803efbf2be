//! Drill `strangers`: whoever is not who he should be is refused, and each attempt is seen.
//!
//! What reaches the mesh is counted by it: the counter, with its labels, is part of the report. Two attempts
//! never reach a sidecar that could count: a dial past it is refused by the kernel, and a sidecar whose
//! application is exposed ends with an error in its log. Those are their proofs.

mod intruder;
mod witness;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use anyhow::Context as _;
use bank_chassis::proto::account::{BalanceRequest, MoveRequest, account_client::AccountClient};
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::net::TcpStream;
use tonic::Code;

use self::{
    intruder::{Credentials, Identity},
    witness::{Attempt, Witness},
};
use super::{
    load::{PATIENCE, open},
    story::Story,
};
use crate::{
    auditor::{Caller, patiently},
    bank::Bank,
    process::Launch,
    programs::Program,
    roster::{NAMESPACE, stranger, teller},
};

const VICTIM: &str = "account-1";
/// Sees whoever knocks at the victim's door.
const VICTIMS_SIDECAR: Witness = Witness::SidecarsOf("account");
/// What a sidecar says in its log before it ends because its application is exposed.
const EXPOSED: &str = "reachable around the sidecar";

pub(super) async fn play(story: &mut Story) -> anyhow::Result<()> {
    open(story).await?;
    story.bank.employ(&stranger())?;
    let voice = story.voice();
    story.bank.ready(&["stranger-1"], &voice).await?;
    plaintext(story).await?;
    without_certificate(story).await?;
    with_a_foreign_authority(story).await?;
    not_on_the_list(story).await?;
    a_teller_who_moves_money(story).await?;
    registering_as_account(story).await?;
    around_the_sidecar(story).await?;
    exposed_application(story).await
}

/// Somebody on the network who speaks no TLS.
async fn plaintext(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller without TLS");
    let inbound = inbound(story)?;
    let attempt = Attempt::begin(story, "plaintext", VICTIMS_SIDECAR).await?;
    let answer = intruder::speak_plaintext(inbound).await?;
    let refused = |line: &String| line.contains("403") || line.contains("400");
    story.require(answer.as_ref().is_none_or(refused), "plaintext is refused");
    let answer = answer.unwrap_or_else(|| "connection closed".to_owned());
    attempt.was_refused(story, answer).await
}

/// TLS as a mesh peer speaks it, without a certificate of its own.
async fn without_certificate(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller with TLS and no certificate");
    let attempt = Attempt::begin(story, "withoutCertificate", VICTIMS_SIDECAR).await?;
    let ended = intruder::handshake(inbound(story)?, Credentials::None).await;
    story.require(ended != intruder::LET_IN, "no certificate, no connection");
    attempt.was_refused(story, ended).await
}

/// The right name, signed by somebody else.
async fn with_a_foreign_authority(story: &mut Story) -> anyhow::Result<()> {
    story.say("a caller named transaction by a foreign authority");
    let attempt = Attempt::begin(story, "foreignAuthority", VICTIMS_SIDECAR).await?;
    let forged = Identity::forged("spiffe://usher.local/ns/bank/sa/transaction")?;
    let ended = intruder::handshake(inbound(story)?, Credentials::Of(forged)).await;
    story.require(
        ended != intruder::LET_IN,
        "a foreign authority's word counts for nothing",
    );
    attempt.was_refused(story, ended).await
}

/// A member of the mesh whom no policy mentions, through its own sidecar.
async fn not_on_the_list(story: &mut Story) -> anyhow::Result<()> {
    story.say("a meshed workload that is on nobody's list");
    let outbound = story.bank.instance("stranger-1")?.addresses()?.outbound;
    let caller = Caller::through(outbound);
    let attempt = Attempt::begin(story, "notOnTheListGrpc", VICTIMS_SIDECAR).await?;
    let mut account = AccountClient::new(caller.channel("http://account.bank:50051")?);
    let refused = account
        .balance(BalanceRequest {
            account_id: "teller-0000".into(),
        })
        .await;
    let code = refused.map_or_else(|status| status.code(), |_| Code::Ok);
    story.require(
        code == Code::PermissionDenied,
        format!("gRPC: PERMISSION_DENIED, but {code:?}"),
    );
    attempt.was_refused(story, format!("{code:?}")).await?;

    let witness = Witness::SidecarsOf("notification");
    let attempt = Attempt::begin(story, "notOnTheListRest", witness).await?;
    let request = Request::get("http://notification.bank/v1/stats").body(Full::default())?;
    let answer = caller.send(request).await?;
    let reason = answer
        .header("x-usher-reason")
        .unwrap_or_default()
        .to_owned();
    story.require(
        answer.status == 403,
        format!("REST: 403, but {}", answer.status),
    );
    story.require(
        reason.starts_with("AZ"),
        format!("the answer names flag AZ, but {reason:?}"),
    );
    let answer = format!("{} {reason}", answer.status.as_u16());
    attempt.was_refused(story, answer).await
}

/// On account's list, but not for this: tellers open accounts, and only payments debit them.
async fn a_teller_who_moves_money(story: &mut Story) -> anyhow::Result<()> {
    story.say("a teller that debits a customer's account, past the payments");
    story.bank.employ(&teller(1))?;
    let voice = story.voice();
    story.bank.ready(&["teller-1"], &voice).await?;
    let outbound = story.bank.instance("teller-1")?.addresses()?.outbound;
    let channel = Caller::through(outbound).channel("http://account.bank:50051")?;
    let mut account = AccountClient::new(channel);
    // What a teller may do shows that what follows is refused for what it is, not for who asks.
    let question = BalanceRequest {
        account_id: "teller-0000".into(),
    };
    let before = patiently(PATIENCE, async || {
        Ok(account
            .clone()
            .balance(question.clone())
            .await?
            .into_inner())
    })
    .await
    .context("a teller asks for a balance")?;
    let attempt = Attempt::begin(story, "tellerDebits", VICTIMS_SIDECAR).await?;
    let debit = MoveRequest {
        operation_id: "strangers/debit".into(),
        account_id: before.account_id,
        amount_cents: 1,
        currency: before.currency,
        reference: "for the teller".into(),
    };
    let refused = account.debit(debit).await.err();
    let code = refused.as_ref().map_or(Code::Ok, tonic::Status::code);
    let reason = refused
        .as_ref()
        .and_then(|status| status.metadata().get("x-usher-reason")?.to_str().ok())
        .unwrap_or_default();
    story.require(
        code == Code::PermissionDenied,
        format!("a teller's debit: PERMISSION_DENIED, but {code:?}"),
    );
    story.require(
        reason.starts_with("AZ"),
        format!("the answer names flag AZ, but {reason:?}"),
    );
    attempt
        .was_refused(story, format!("{code:?} {reason}"))
        .await
}

/// A valid identity that claims to be another service, at the registry.
async fn registering_as_account(story: &mut Story) -> anyhow::Result<()> {
    story.say("the stranger registers as account, with its own certificate");
    let state = story.bank.layout.sidecar("stranger-1");
    let identity = Identity::kept_in(&state)?;
    let registry = story.bank.control_plane.grpc();
    let attempt = Attempt::begin(story, "registeringAsAccount", Witness::ControlPlane).await?;
    let status = intruder::register(registry, &identity, "account").await?;
    story.require(
        status.code() == Code::PermissionDenied,
        format!("the registry answers PERMISSION_DENIED, but {status:?}"),
    );
    attempt
        .was_refused(story, format!("{:?}", status.code()))
        .await
}

/// The application itself listens on 127.0.0.1: at any other address, nobody is there.
async fn around_the_sidecar(story: &mut Story) -> anyhow::Result<()> {
    let port = story
        .bank
        .instance(VICTIM)?
        .port()
        .context("account has a port")?;
    // A machine without a network still has other addresses than 127.0.0.1.
    let address = own_address().unwrap_or(IpAddr::from([127, 0, 0, 2]));
    let dialled = SocketAddr::new(address, port);
    story.say(format!(
        "account's own port, dialled past its sidecar: {dialled}"
    ));
    let reached = TcpStream::connect(dialled).await;
    let how = reached
        .as_ref()
        .map_or_else(ToString::to_string, |_| "connected".to_owned());
    let proof = "the kernel refused the connection: the application listens on 127.0.0.1 only, \
                 so no sidecar is asked and none counts";
    story.saw(
        "aroundTheSidecar",
        json!({ "dialled": dialled.to_string(), "answer": how, "proof": proof }),
    );
    story.require(
        reached.is_err(),
        "nobody reaches the application around its sidecar",
    );
    Ok(())
}

/// An application that listens to the whole network is not let into the mesh.
async fn exposed_application(story: &mut Story) -> anyhow::Result<()> {
    story.say("a reporting that listens on 0.0.0.0");
    let launch = exposed_reporting(story)?;
    let mut process = launch.start()?;
    let ended = async |_: &mut Bank| Ok(process.ended().is_some());
    story
        .until("usher run refuses an exposed application", PATIENCE, ended)
        .await?;
    let code = process.ended().and_then(|status| status.code());
    // The sidecar that saw it is gone, and its counters with it: its last words are the proof.
    let log = fs::read_to_string(&launch.log)?;
    let said = log.lines().find(|line| line.contains(EXPOSED)).map(reason);
    let instance = fs::read_to_string(story.bank.layout.sidecar("exposed").join("instance"))?;
    let callers_are_sent = story
        .bank
        .control_plane
        .healthy_instances()
        .await?
        .contains(&instance);
    story.saw(
        "exposedApplication",
        json!({ "exitCode": code, "sidecarLog": said, "callersAreSent": callers_are_sent }),
    );
    story.require(
        code == Some(78),
        format!("usher run exits with 78, but {code:?}"),
    );
    story.require(said.is_some(), "the sidecar's log says why");
    story.require(!callers_are_sent, "no caller is sent to it");
    Ok(())
}

/// The `reason` of a line of the sidecar's log; the whole line if it has none.
fn reason(line: &str) -> String {
    let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let reason = object.as_ref().and_then(|object| object["reason"].as_str());
    reason.unwrap_or(line).to_owned()
}

/// How `usher run` is started for it.
fn exposed_reporting(story: &Story) -> anyhow::Result<Launch> {
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
    Ok(launch)
}

fn inbound(story: &mut Story) -> anyhow::Result<SocketAddr> {
    story
        .bank
        .instance(VICTIM)?
        .addresses()?
        .inbound
        .context("account has an inbound port")
}

/// An address of this machine that is not loopback, as a packet to the outside would carry; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Any address that is not local: TEST-NET-1 (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
