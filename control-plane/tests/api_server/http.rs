//! The protocol: paths, queries, Status objects, and watches that are lines of JSON until their time is over.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, body::Frame, body::Incoming, service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    Key, Shared,
    objects::{Refusal, Selection},
};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// As an API server ends watches by itself, after five to ten minutes.
const WATCH_MAX: Duration = Duration::from_secs(300);

pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Dropped with us: all connections are cut.
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else {
                return;
            };
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(request, &shared).await) }
            });
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// What a path is about.
struct Asked {
    selection: Selection,
    name: Option<String>,
    subresource: Option<String>,
}

impl Asked {
    /// `/api/v1/...` or `/apis/GROUP/VERSION/...`.
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some((*name).to_owned()), None),
            [plural, name, part] => (*plural, Some((*name).to_owned()), Some((*part).to_owned())),
            _ => return None,
        };
        Some(Self {
            selection: Selection {
                version,
                plural: plural.to_owned(),
                namespace,
                name: None,
            },
            name,
            subresource,
        })
    }

    fn key(&self, name: &str) -> Key {
        Key {
            version: self.selection.version.clone(),
            plural: self.selection.plural.clone(),
            namespace: self.selection.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let (parts, body) = request.into_parts();
    let asked_for = parts
        .uri
        .path_and_query()
        .map_or("", |asked| asked.as_str());
    if let Ok(mut requests) = shared.requests.lock() {
        requests.push(format!("{} {asked_for}", parts.method));
    }
    if let Some(resources) = discovered(shared, parts.uri.path()) {
        return resources;
    }
    let Some(mut asked) = Asked::of(parts.uri.path()) else {
        return status(StatusCode::NOT_FOUND, "NotFound", "no such path");
    };
    let query = |name: &str| {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name);
        found.next().map(|(_, value)| value.replace("%3D", "="))
    };
    if let Some(selector) = query("fieldSelector") {
        asked.selection.name = selector.strip_prefix("metadata.name=").map(str::to_owned);
    }
    if let Some(refused) = forbidden(shared, &parts.method, &asked) {
        return refused;
    }
    match (parts.method, asked.name.clone()) {
        (Method::GET, Some(name)) => match shared.objects().get(&asked.key(&name)) {
            Some(object) => json_answer(StatusCode::OK, object),
            None => not_found(&name),
        },
        (Method::GET, None) if query("watch").is_some_and(|watch| watch != "false") => {
            let from = query("resourceVersion").and_then(|version| version.parse().ok());
            let bookmarks = query("allowWatchBookmarks").as_deref() == Some("true");
            watch(shared, asked.selection, from.unwrap_or(0), bookmarks)
        }
        (Method::GET, None) => {
            let limit = query("limit").and_then(|limit| limit.parse().ok());
            let from = query("continue").and_then(|from| from.parse().ok());
            list(
                shared,
                &asked.selection,
                (from.unwrap_or(0), limit.unwrap_or(usize::MAX)),
            )
        }
        (method @ (Method::POST | Method::PUT), _) => {
            let body = body.collect().await.map(|body| body.to_bytes());
            let body = body.unwrap_or_default();
            written(shared, asked, (method == Method::POST, &body))
        }
        (Method::DELETE, Some(name)) => {
            match shared.change(|objects| objects.delete(&asked.key(&name))) {
                Some(object) => json_answer(StatusCode::OK, &object),
                None => not_found(&name),
            }
        }
        (Method::PATCH, Some(name)) => {
            let body = body.collect().await.map(|body| body.to_bytes());
            let body = body.unwrap_or_default();
            let kind = parts.headers.get("content-type");
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            patched(shared, (&asked, &name), (kind, &body))
        }
        (method, _) => {
            let why = format!("{method} is not what this stand-in does");
            status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &why)
        }
    }
}

/// What nobody may do.
fn forbidden(shared: &Shared, method: &Method, asked: &Asked) -> Option<Answer> {
    let selection = &asked.selection;
    let what = match (&asked.name, &selection.namespace) {
        (None, _) => selection.plural.clone(),
        (Some(_), namespace) => format!("{method} {}", namespace.as_deref().unwrap_or("")),
    };
    let is_forbidden = shared.objects().forbidden.contains(&what);
    let why = format!("{what} is forbidden");
    is_forbidden.then(|| status(StatusCode::FORBIDDEN, "Forbidden", &why))
}

/// A new object, or a new version of one.
fn written(shared: &Shared, asked: Asked, (is_new, body): (bool, &[u8])) -> Answer {
    let Ok(object) = serde_json::from_slice(body) else {
        return status(StatusCode::BAD_REQUEST, "BadRequest", "no body");
    };
    let namespace = asked.selection.namespace.unwrap_or_default();
    let done = shared.change(|objects| objects.write(object, &namespace, is_new));
    done.map_or_else(
        |why| refused(&why, &asked.name.unwrap_or_default()),
        |object| json_answer(StatusCode::OK, &object),
    )
}

/// A patch, by its kind.
fn patched(shared: &Shared, (asked, name): (&Asked, &str), (kind, body): (&str, &[u8])) -> Answer {
    let (key, part) = (asked.key(name), asked.subresource.as_deref());
    let value = || serde_json::from_slice(body).unwrap_or_default();
    let done = shared.change(|objects| match kind {
        "application/apply-patch+yaml" => objects.apply(&key, &value(), part),
        "application/merge-patch+json" => objects.merge(&key, &value(), part),
        _ => objects.patch(&key, body),
    });
    done.map_or_else(
        |why| refused(&why, name),
        |object| json_answer(StatusCode::OK, &object),
    )
}

/// `/apis/GROUP/VERSION`: what is installed there.
fn discovered(shared: &Shared, path: &str) -> Option<Answer> {
    let version = path.trim_matches('/').strip_prefix("apis/")?;
    if version.split('/').count() != 2 {
        return None;
    }
    let objects = shared.objects();
    let installed = objects.installed.iter().filter(|(of, ..)| of == version);
    let resource = |(_, kind, plural): &(String, String, String)| {
        let one = |name: String| json!({"name": name, "kind": kind, "singularName": "", "namespaced": true, "verbs": ["get", "list", "watch", "patch"]});
        [one(plural.clone()), one(format!("{plural}/status"))]
    };
    let resources: Vec<Value> = installed.flat_map(resource).collect();
    if resources.is_empty() {
        return Some(not_found(version));
    }
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources});
    Some(json_answer(StatusCode::OK, &list))
}

/// A page of a list.
fn list(shared: &Shared, selection: &Selection, (from, limit): (usize, usize)) -> Answer {
    let objects = shared.objects();
    if from > 0 && objects.broken_pages.contains(&selection.plural) {
        return status(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "etcd is ill",
        );
    }
    let (rest, all) = objects.list(selection, (from, limit));
    let until = from.saturating_add(rest.len());
    let mut metadata = json!({"resourceVersion": objects.version().to_string()});
    if until < all {
        metadata["continue"] = json!(until.to_string());
    }
    json_answer(
        StatusCode::OK,
        &json!({
            "apiVersion": selection.version, "kind": "List", "metadata": metadata, "items": rest,
        }),
    )
}

/// Lines from `from` on, as they happen; a bookmark first, where they are wanted.
fn watch(shared: &Arc<Shared>, selection: Selection, from: u64, bookmarks: bool) -> Answer {
    if shared.objects().since(from, &selection).is_none() {
        let why = format!("too old resource version: {from}");
        return status(StatusCode::GONE, "Expired", &why);
    }
    let kind = json!({"apiVersion": selection.version, "kind": "Bookmark", "metadata": {"resourceVersion": from.to_string()}});
    let bookmark = bookmarks.then(|| line("BOOKMARK", &kind));
    let state = (
        Arc::clone(shared),
        shared.newest.subscribe(),
        selection,
        from,
    );
    let later = stream::unfold(
        state,
        move |(shared, mut newest, selection, from)| async move {
            loop {
                let (happened, version, pause) = {
                    let objects = shared.objects();
                    (
                        objects.since(from, &selection),
                        objects.version(),
                        objects.pause,
                    )
                };
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let Some(happened) = happened else {
                    let gone = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "gone"});
                    return Some((line("ERROR", &gone), (shared, newest, selection, version)));
                };
                if !happened.is_empty() {
                    let lines = happened.iter().map(|event| line(event.what, &event.object));
                    let lines: Vec<u8> = lines.flat_map(|line| line.to_vec()).collect();
                    return Some((Bytes::from(lines), (shared, newest, selection, version)));
                }
                if bookmarks && version > from {
                    let passed = json!({"apiVersion": selection.version, "kind": "Bookmark", "metadata": {"resourceVersion": version.to_string()}});
                    return Some((
                        line("BOOKMARK", &passed),
                        (shared, newest, selection, version),
                    ));
                }
                let next = newest.wait_for(|newest| *newest > version);
                if !matches!(timeout(WATCH_MAX, next).await, Ok(Ok(_))) {
                    return None;
                }
            }
        },
    );
    let lines = stream::iter(bookmark).chain(later);
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut answer = Response::new(BoxBody::new(StreamBody::new(frames)));
    answer.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}

fn line(what: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": what, "object": object}).to_string();
    line.push('\n');
    line.into()
}

fn refused(why: &Refusal, name: &str) -> Answer {
    match why {
        Refusal::NotFound => not_found(name),
        Refusal::Conflict => {
            let why = "the object has been modified";
            status(StatusCode::CONFLICT, "Conflict", why)
        }
        Refusal::Unfit(why) => status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", why),
    }
}

fn not_found(name: &str) -> Answer {
    status(
        StatusCode::NOT_FOUND,
        "NotFound",
        &format!("{name} not found"),
    )
}

fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    });
    json_answer(code, &status)
}

fn json_answer(code: StatusCode, object: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(object.to_string())).boxed());
    *answer.status_mut() = code;
    answer.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}
