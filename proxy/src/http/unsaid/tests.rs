//! What follows a body says nothing that its head may not.

use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;

use super::*;
use crate::http::headers::clean_trailers;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[tokio::test]
async fn trailers_say_nothing_that_a_head_may_not() {
    let mut trailers = map(&[
        ("x_user", "eve"),
        ("cookie", "session=FORGED"),
        ("authorization", "Bearer FORGED"),
        ("x-forwarded-client-cert", "URI=spiffe://a/ns/b/sa/c"),
        ("x-checksum", "1"),
    ]);
    clean_trailers(&mut trailers);
    assert_eq!(trailers, map(&[("x_user", "eve"), ("x-checksum", "1")]));
    let frames = [
        Frame::data(Bytes::from_static(b"body")),
        Frame::trailers(trailers),
    ];
    let mut request = Request::new(Body::from_frames(frames));
    in_trailers(
        &mut request,
        &Arc::from([HeaderName::from_static("x-user")]),
    );
    let collected = request.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&map(&[("x-checksum", "1")])));
    assert_eq!(collected.to_bytes(), "body");
}
