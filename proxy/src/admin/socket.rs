//! The operator's Unix socket: dump, breakers, callers, drain, quit, log filter.

use http::{Method, Request, StatusCode};
use tokio::{net::UnixListener, sync::oneshot};
use tracing::{info, warn};
use usher_config::value::parse_duration;

use crate::clock;

use super::{
    Admin, Command, dump,
    serve::{Answer, Slots, json, serve, text},
};

/// Never returns.
pub async fn serve_socket(listener: UnixListener, admin: Admin) {
    let slots = Slots::default();
    loop {
        let slot = slots.take().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                serve(stream, slot, move |request| {
                    let admin = admin.clone();
                    async move { handle(&admin, &request).await }
                });
            }
            Err(error) => {
                warn!(%error, "admin socket cannot accept");
                tokio::task::yield_now().await;
            }
        }
    }
}

pub(super) async fn handle<B>(admin: &Admin, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET, "/config") => json(&dump::config(&admin.store.load(), clock::now())),
        (&Method::GET, "/standing") => json(&dump::standing(&admin.store.load(), &admin.standing)),
        (&Method::GET, "/breakers") => json(&dump::breakers(&admin.store.load(), clock::now())),
        (&Method::GET, "/callers") => json(&dump::callers(&admin.callers.seen(), clock::now())),
        (&Method::POST, "/drain") => drain(admin, parameter(request, "grace")).await,
        (&Method::POST, "/quit") => match admin.commands.send(Command::Quit).await {
            Ok(()) => text(StatusCode::ACCEPTED, "quitting\n"),
            Err(_) => text(StatusCode::CONFLICT, "already ending\n"),
        },
        (&Method::PUT, "/log") => log(admin, parameter(request, "filter")),
        (_, "/config" | "/standing" | "/breakers" | "/callers" | "/drain" | "/quit" | "/log") => {
            text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} is not for {path}\n", request.method()),
            )
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "allowed: GET /config, GET /standing, GET /breakers, GET /callers, POST /drain?grace=10s, POST /quit, PUT /log?filter=info\n",
        ),
    }
}

async fn drain(admin: &Admin, grace: Option<String>) -> Answer {
    let grace = match grace.as_deref().map(parse_duration).transpose() {
        Ok(grace) => grace,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("grace: {error}\n")),
    };
    let (done, drained) = oneshot::channel();
    if admin
        .commands
        .send(Command::Drain { grace, done })
        .await
        .is_err()
        || drained.await.is_err()
    {
        return text(StatusCode::CONFLICT, "already ending\n");
    }
    text(StatusCode::OK, "drained\n")
}

fn log(admin: &Admin, filter: Option<String>) -> Answer {
    let Some(filter) = filter else {
        return text(
            StatusCode::BAD_REQUEST,
            "filter is missing: PUT /log?filter=usher_proxy=debug\n",
        );
    };
    match admin.log.replace(&filter) {
        Ok(()) => {
            info!(filter, "log filter changed");
            text(StatusCode::OK, "changed\n")
        }
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// A query parameter, percent-decoded.
fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let value = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)?
        .1;
    Some(
        percent_encoding::percent_decode_str(value)
            .decode_utf8_lossy()
            .into_owned(),
    )
}
