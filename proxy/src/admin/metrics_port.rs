//! `GET /metrics`, `/ready`, `/live`: for Prometheus and whoever restarts us; `/probe` and `/hook`: for whoever restarts
//! the application, see [`crate::probe`].

use http::{Method, Request, StatusCode};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tracing::warn;

use super::{
    Admin,
    serve::{Answer, Slots, answer, serve, text},
};
use crate::{
    control::Unready,
    health::{Health, Report},
    probe::Verdict,
};

/// Characters of a reason. The whole is in `/standing`, on the admin socket.
const LINE_MAX: usize = 300;

/// Never returns.
pub async fn serve_metrics(listener: TcpListener, admin: Admin) {
    let slots = Slots::default();
    loop {
        let slot = slots.take().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                serve(stream, slot, move |request| {
                    let admin = admin.clone();
                    async move {
                        probed(&admin, &request)
                            .await
                            .unwrap_or_else(|| handle(&admin, &request))
                    }
                });
            }
            Err(error) => {
                warn!(%error, "metrics port cannot accept");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// `None`: it is not for the application.
pub(super) async fn probed<B>(admin: &Admin, request: &Request<B>) -> Option<Answer> {
    if request.method() != Method::GET {
        return None;
    }
    Some(match admin.probes.answer(request.uri().path()).await? {
        Verdict::Passed => text(StatusCode::OK, "passed\n"),
        Verdict::Failed(failure) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", one_line(&failure)),
        ),
        Verdict::Unlisted => text(StatusCode::NOT_FOUND, "allowed: what --probes lists\n"),
        Verdict::Busy => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many probes are under way\n",
        ),
    })
}

pub(super) fn handle<B>(admin: &Admin, request: &Request<B>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match request.uri().path() {
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => ready(admin),
        "/metrics" => metrics(admin),
        _ => text(
            StatusCode::NOT_FOUND,
            "allowed: /metrics, /ready, /live, /probe, /hook\n",
        ),
    }
}

/// The status is for machines; people read why, and what they may take for it: their application's health.
fn ready(admin: &Admin) -> Answer {
    if let Some(why) = admin.readiness.unready() {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {}\n", words(&why)),
        );
    }
    match &admin.standing.load().health {
        Some(Report {
            health: Health::Unhealthy,
            failure,
        }) => {
            let failure = one_line(failure.as_deref().unwrap_or("not checked yet"));
            text(
                StatusCode::OK,
                format!(
                    "ready, but callers are not sent here: the application is not healthy: {failure}\n"
                ),
            )
        }
        Some(_) | None => {
            let remarks = &admin.standing.load().remarks;
            let but = remarks.iter().map(|remark| format!("  {remark}\n"));
            let but = match remarks.len() {
                0 => String::new(),
                _ => format!(
                    ", but not as the Gateway says:\n{}",
                    but.collect::<String>()
                ),
            };
            text(StatusCode::OK, format!("ready{}\n", but.trim_end()))
        }
    }
}

/// Anybody may ask, and most reasons hold words of others.
fn words(why: &Unready) -> String {
    match why {
        // Ours, a line for each.
        Unready::Unserved(_) => why.to_string(),
        Unready::Leaving
        | Unready::NoIdentity(_)
        | Unready::NoConfiguration(_)
        | Unready::Refused(_)
        | Unready::NoPolicy
        | Unready::NoGateway(_)
        | Unready::Starting => one_line(&why.to_string()),
    }
}

fn one_line(text: &str) -> String {
    let plain = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one });
    plain.take(LINE_MAX).collect()
}

fn metrics(admin: &Admin) -> Answer {
    // Endpoints also leave while they are ejected, and nobody is told: who asks is told how it is.
    for service in admin.store.load().services() {
        let ejected = service.running.roster.ejected();
        service.metrics.ejected.set(i64::from(ejected));
    }
    let mut body = Vec::new();
    match TextEncoder::new().encode(&admin.metrics.gather(), &mut body) {
        Ok(()) => answer(StatusCode::OK, prometheus::TEXT_FORMAT, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests;
