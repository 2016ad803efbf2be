//! Gateways, and what their routes share.

use crate::wire::routes_size;

use super::*;

pub(super) fn gateway(path: String, retries: u32, millis: u64) -> Gateway {
    let service = service(path, retries, millis);
    let route = service.routes.into_iter().next().expect("one");
    let stream = StreamRoute {
        name: "TLSRoute/bank/vault/0".into(),
        callers: None,
        ports: Vec::new(),
        hostname: None,
        backends: route.backends.to_vec(),
    };
    let listener = |protocol| Listener {
        name: "web".parse().expect("name"),
        port: Port::try_from(443).expect("port"),
        hostname: Some("*.example.com".parse().expect("host")),
        protocol,
        certificates: vec![
            "web".parse().expect("name"),
            "shop/web".parse().expect("name"),
        ],
        routes: vec![GatewayRoute {
            route: route.clone(),
            policies: Arc::new([(retries > 5).then(|| service.policy.clone())]),
        }],
        streams: vec![stream.clone()],
    };
    Gateway {
        name: "bank/edge".parse().expect("name"),
        listeners: [
            ListenerProtocol::Http,
            ListenerProtocol::Https,
            ListenerProtocol::TlsTerminate,
            ListenerProtocol::TlsPassthrough,
            ListenerProtocol::Tcp,
        ]
        .map(listener)
        .into(),
        claim_headers: vec![http::HeaderName::from_static("x-user")],
        authentication: Some(authentication()),
        route_authentication: vec![("HTTPRoute/bank/shop/0".into(), authentication())],
        rate_limits: vec![rate_limits()],
        route_limits: vec![("HTTPRoute/bank/shop/0".into(), rate_limits())],
        path_reading: PathReading::LENIENT,
    }
}

proptest! {
    /// Random bytes are seldom a message; a good message with one byte changed often is.
    #[test]
    fn a_gateway_with_a_flipped_byte_is_refused_or_decodes_to_what_re_encodes(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = v1::Gateway::from(&gateway("/a".into(), 2, 1000)).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Ok(decoded)) = v1::Gateway::decode(&*bytes).map(Gateway::try_from) {
            prop_assert_eq!(Gateway::try_from(v1::Gateway::from(&decoded)), Ok(decoded));
        }
    }
}

#[test]
fn what_routes_share_is_sent_once() {
    let mut gateway = gateway("/a".into(), 9, 1000);
    gateway.listeners.truncate(1);
    let listener = &mut gateway.listeners[0];
    let route = listener.routes.remove(0);
    let one = routes_size([(&route.route, &*route.policies)]);
    // Not even the same allocations: what is equal is one.
    let again = |number: u32| GatewayRoute {
        route: Route {
            hostnames: vec![format!("h{number}.example.com").parse().expect("host")],
            matches: Arc::new((*route.route.matches).clone()),
            backends: route.route.backends.to_vec().into(),
            policy: Arc::new((*route.route.policy).clone()),
            ..route.route.clone()
        },
        policies: route.policies.clone(),
    };
    listener.routes = (0..1_000).map(again).collect();
    let message = v1::Gateway::from(&gateway);
    let tables = message.tables.as_ref().expect("there are routes");
    let counts = [
        tables.rules.len(),
        tables.matches.len(),
        tables.policies.len(),
    ];
    assert_eq!(counts, [1, 1, 1]);
    let size = message.encoded_len();
    assert!(size < one + 1_000 * 64, "{size} bytes, one route {one}");
    let routes = gateway.listeners[0].routes.iter();
    let promised = routes_size(routes.map(|route| (&route.route, &*route.policies)));
    assert!(promised < 2 * size && size < promised + 1_000, "{promised}");
    assert_eq!(Gateway::try_from(message), Ok(gateway));
}

#[test]
fn a_position_beyond_its_table_is_refused() {
    let good = v1::Service::from(&service("/a".into(), 2, 0));
    let refused = |change: fn(&mut v1::Service)| {
        let mut message = good.clone();
        change(&mut message);
        Service::try_from(message)
            .expect_err("no such position")
            .field
    };
    assert_eq!(
        refused(|service| service.routes[0].rule = 1),
        "routes[0].rule"
    );
    assert_eq!(
        refused(|service| service.routes[0].r#match = 7),
        "routes[0].match"
    );
    assert_eq!(refused(|service| service.tables = None), "routes[0].rule");
}
