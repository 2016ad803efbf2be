//! Offers and answers: what is carried on, what is ignored, what is refused.

use http_body_util::{Empty, Full};

use super::*;

fn request(
    version: Version,
    fields: &[(&'static str, &'static str)],
) -> Request<Empty<&'static [u8]>> {
    let mut request = Request::new(Empty::new());
    *request.version_mut() = version;
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        request.headers_mut().append(*name, value);
    }
    request
}

fn offered(fields: &[(&'static str, &'static str)]) -> Option<String> {
    let offer = Offer::of(&request(Version::HTTP_11, fields))?;
    Some(offer.0.to_str().unwrap().to_owned())
}

#[test]
fn an_offer_needs_both_fields_and_is_more_than_h2c() {
    let ask = ("connection", "keep-alive, Upgrade");
    for (fields, expected) in [
        (vec![ask, ("upgrade", "websocket")], Some("websocket")),
        (vec![ask, ("upgrade", "h2c")], None),
        (vec![ask, ("upgrade", "H2C, websocket")], Some("websocket")),
        (
            vec![ask, ("upgrade", "spdy/3.1"), ("upgrade", "tcp")],
            Some("spdy/3.1, tcp"),
        ),
        (vec![ask, ("upgrade", " , ")], None),
        (vec![ask], None),
        (vec![("upgrade", "websocket")], None),
        (
            vec![("connection", "close"), ("upgrade", "websocket")],
            None,
        ),
    ] {
        assert_eq!(offered(&fields).as_deref(), expected, "{fields:?}");
    }
}

#[test]
fn offers_of_http_1_0_and_beside_a_body_are_ignored() {
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert!(Offer::of(&request(Version::HTTP_10, &fields)).is_none());
    let with_body = request(Version::HTTP_11, &fields).map(|_| Full::new(&b"a"[..]));
    assert!(Offer::of(&with_body).is_none());
}

#[test]
fn only_what_was_offered_can_be_agreed_on() {
    let fields = [("connection", "upgrade"), ("upgrade", "websocket, tcp")];
    let offer = Offer::of(&request(Version::HTTP_11, &fields)).unwrap();
    for (agreed, expected) in [
        ("WebSocket", true),
        ("tcp", true),
        ("h2c", false),
        ("websocket, h2c", false),
        ("", false),
    ] {
        let response = Response::builder()
            .header("upgrade", agreed)
            .body(())
            .unwrap();
        assert_eq!(offer.accepted_by(&response).is_some(), expected, "{agreed}");
    }
}

#[test]
fn an_upgrade_survives_the_hop_and_an_ordinary_answer_stays_one() {
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    let mut asked = request(Version::HTTP_11, &fields);
    let offer = Offer::of(&asked).unwrap();
    asked.extensions_mut().insert(offer);
    let (mut head, body) = asked.into_parts();
    let offer = Offer::to_sidecar(&mut head).unwrap();
    let mut arrived = Request::from_parts(head, body);
    Offer::from_sidecar(&mut arrived);
    assert!(arrived.headers().get(OFFERED).is_none());
    let there: &Offer = arrived.extensions().get().unwrap();
    let said = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .body(())
        .unwrap();
    let accepted = there.accepted_by(&said).unwrap();
    for (accepted, status) in [(Some(accepted), 101), (None, 200)] {
        let mut response = Response::new(());
        if let Some(accepted) = accepted {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.extensions_mut().insert(accepted);
        }
        let (mut head, ()) = response.into_parts();
        Accepted::to_sidecar(&mut head);
        assert_eq!(head.status, 200);
        let mut back = Response::from_parts(head, ());
        offer.answered_by_sidecar(&mut back);
        assert_eq!(back.status(), status);
        assert_eq!(back.extensions().get::<Accepted>().is_some(), status == 101);
    }
}
