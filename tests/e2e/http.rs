//! HTTP/1.1 and HTTP/2 pass through a pair of sidecars unchanged but for what the mesh adds.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version};
use usher_tests::Application;

use crate::pair;

#[tokio::test]
async fn a_request_reaches_the_service_under_each_of_its_names() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    for host in [
        "api",
        "api:8080",
        "api.default",
        "api.default.svc",
        "api.default.svc.cluster.local:8080",
        "api.default.mesh",
    ] {
        let answer = web.get(&format!("http://{host}/hello?a=b")).await?;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "/hello?a=b"),
            "{host}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_beside_http1() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let answer = web
        .client()
        .http2()
        .post("http://api/echo", "over h2")
        .await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "over h2"));
    // The service declared `http`: its application is spoken to in HTTP/1.1 whatever the caller speaks.
    assert_eq!(application.received()[0].version, Version::HTTP_11);
    Ok(())
}

#[tokio::test]
async fn a_large_body_streams_both_ways_intact() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let body: Vec<u8> = (0..8_000_000_u32)
        .map(|i| i.to_le_bytes()[(i % 3) as usize])
        .collect();
    for client in [web.client(), web.client().http2()] {
        let answer = client.post("http://api/echo", body.clone()).await?;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body.clone(), "the body changed on the way");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_service_is_explained_at_once() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let answer = web.get("http://nobody.nowhere/").await?;
    assert_eq!(answer.status, 503);
    assert!(
        answer.header("x-usher-reason").starts_with("NC"),
        "{:?}",
        answer.headers
    );
    assert!(answer.text().contains("nobody"), "{}", answer.text());
    Ok(())
}

#[tokio::test]
async fn identity_headers_come_from_the_mesh_never_from_the_caller() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-forwarded-client-cert",
        HeaderValue::from_static("By=forged;URI=spiffe://evil"),
    );
    headers.insert("x-usher-attempt", HeaderValue::from_static("7"));
    headers.insert("x-usher-fallback", HeaderValue::from_static("forged"));
    headers.insert("connection", HeaderValue::from_static("x-hop"));
    headers.insert("x-hop", HeaderValue::from_static("by hop"));
    web.client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    let received = &application.received()[0].headers;
    let certificate = received["x-forwarded-client-cert"].to_str()?;
    assert!(
        certificate.contains("URI=spiffe://test.mesh/ns/default/sa/web"),
        "{certificate}"
    );
    assert!(!certificate.contains("evil"), "{certificate}");
    assert_eq!(received.get("x-usher-fallback"), None);
    assert_eq!(
        received.get("x-hop"),
        None,
        "a header named by Connection belongs to one hop"
    );
    assert_ne!(
        received.get("x-usher-attempt"),
        Some(&HeaderValue::from_static("7"))
    );
    Ok(())
}

#[tokio::test]
async fn a_trace_goes_on_and_a_request_gets_an_id() -> Result<()> {
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let mut headers = HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", HeaderValue::from_static(parent));
    web.client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    web.get("http://api/").await?;
    let received = application.received();
    let traceparent = received[0].headers["traceparent"].to_str()?;
    assert!(
        traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{traceparent}"
    );
    assert!(traceparent.ends_with("-01"), "{traceparent}");
    assert!(
        received[1].headers.contains_key("traceparent"),
        "a trace begins where none was"
    );
    assert!(
        received
            .iter()
            .all(|request| request.headers.contains_key("x-request-id"))
    );
    Ok(())
}

#[tokio::test]
async fn head_and_no_content_answers_keep_their_framing() -> Result<()> {
    let application = Application::answering(|request, _| match request.path.as_str() {
        "/none" => usher_tests::reply(204, ""),
        _ => usher_tests::reply(200, "body"),
    })
    .await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let none = web.get("http://api/none").await?;
    assert_eq!((none.status, none.body.len()), (204, 0));
    let head = web
        .client()
        .send(
            Method::HEAD,
            "http://api/some",
            HeaderMap::new(),
            Bytes::new(),
        )
        .await?;
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, "4".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn an_ambiguous_message_is_never_forwarded() -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let application = Application::echo().await?;
    let (_mesh, _api, web) = pair(&application, &[]).await?;
    let ambiguous = [
        "POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api\r\nHost: other\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    for message in ambiguous {
        let mut stream = tokio::net::TcpStream::connect(&web.outbound).await?;
        stream.write_all(message.as_bytes()).await?;
        let mut answer = [0_u8; 12];
        let read = stream.read(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{message:?} → {answer:?}"
        );
    }
    assert!(
        application.received().is_empty(),
        "{:?}",
        application.received()
    );
    Ok(())
}
