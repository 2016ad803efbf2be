//! gRPC passes with its trailers, both ways streaming, and errors speak gRPC.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use usher_tests::{Application, Mesh, Sidecar, reply_after, yaml};

fn grpc_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers
}

/// Answers with the request's body and trailers that give `status`.
async fn grpc_echo(status: &'static str) -> Result<Application> {
    Application::answering(move |request, _| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        let frames = [
            Ok(Frame::data(request.body.clone())),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        Response::builder()
            .header("content-type", "application/grpc")
            .body(body)
            .expect("response")
    })
    .await
}

async fn grpc_pair(application: &Application) -> Result<(Mesh, Sidecar, Sidecar)> {
    let mesh = Mesh::start(&[yaml::service("api", 50051, "grpc")]).await?;
    let api = mesh.sidecar("api").application(application).start().await?;
    let web = mesh.sidecar("web").start().await?;
    Ok((mesh, api, web))
}

#[tokio::test]
async fn a_call_keeps_its_message_and_trailers() -> Result<()> {
    let application = grpc_echo("0").await?;
    let (_mesh, _api, web) = grpc_pair(&application).await?;
    let message = Bytes::from_static(b"\0\0\0\0\x03abc");
    let answer = web
        .client()
        .http2()
        .send(
            Method::POST,
            "http://api/test.Echo/Say",
            grpc_headers(),
            message.clone(),
        )
        .await?;
    assert_eq!((answer.status, &answer.body), (200, &message));
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    let received = application.received();
    assert_eq!(received[0].version, http::Version::HTTP_2);
    assert_eq!(received[0].headers["te"], "trailers");
    Ok(())
}

#[tokio::test]
async fn unavailable_is_passed_on_and_asked_only_once() -> Result<()> {
    let application = grpc_echo("14").await?;
    let (_mesh, _api, web) = grpc_pair(&application).await?;
    let message = Bytes::from_static(b"\0\0\0\0\x01a");
    let answer = web
        .client()
        .http2()
        .send(
            Method::POST,
            "http://api/test.Pay/Do",
            grpc_headers(),
            message,
        )
        .await?;
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "14");
    assert_eq!(application.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_answer_of_the_mesh_itself_is_grpc_too() -> Result<()> {
    let application = grpc_echo("0").await?;
    let (_mesh, _api, web) = grpc_pair(&application).await?;
    let answer = web
        .client()
        .http2()
        .send(
            Method::POST,
            "http://nobody.nowhere/a.B/C",
            grpc_headers(),
            Bytes::new(),
        )
        .await?;
    assert_eq!(
        (answer.status, answer.header("grpc-status").as_str()),
        (200, "14")
    );
    assert!(!answer.header("grpc-message").is_empty());
    Ok(())
}

#[tokio::test]
async fn grpc_timeout_is_kept_to() -> Result<()> {
    let application =
        Application::answering(|_, _| reply_after(Duration::from_secs(30), 200, "")).await?;
    let (_mesh, _api, web) = grpc_pair(&application).await?;
    let mut headers = grpc_headers();
    headers.insert("grpc-timeout", HeaderValue::from_static("300m"));
    let answer = web
        .client()
        .http2()
        .send(Method::POST, "http://api/a.B/C", headers, Bytes::new())
        .await?;
    assert_eq!(
        (answer.status, answer.header("grpc-status").as_str()),
        (200, "4")
    );
    let sent = application.received()[0].headers["grpc-timeout"]
        .to_str()?
        .to_owned();
    assert!(
        sent != "300m" && sent.ends_with(['m', 'u', 'n']),
        "the rest of the time is passed on, not all: {sent}"
    );
    Ok(())
}
