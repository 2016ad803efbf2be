//! What is encoded is decoded to the same; no bytes make decoding panic.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use prost::Message as _;

use super::{DecodeError, v1};
use crate::{
    model::*,
    value::{PathReading, Percent, Port, Weight},
};

mod callers;
mod guards;
mod routes;

use callers::caller;
use guards::{authentication, backend_tls, rate_limits};
use routes::gateway;

fn policy(retries: u32, millis: u64) -> TrafficPolicy {
    let target = ServiceTarget {
        service: "bank/fraud-rules".parse().expect("name"),
        port: Port::try_from(50052).expect("port"),
    };
    TrafficPolicy {
        name: "bank/fraud".into(),
        timeouts: Timeouts {
            request: (millis > 0).then(|| Duration::from_millis(millis)),
            ..Timeouts::default()
        },
        retry: Retry {
            attempts: retries,
            grpc_statuses: vec![14],
            ..Retry::default()
        },
        ejection: Some(Ejection {
            success_rate: Some(SuccessRate {
                threshold: Percent::clamped(80),
                window: Duration::from_secs(10),
                min_attempts: 5,
            }),
            ..Ejection::default()
        }),
        breaker: Some(Breaker {
            scope: BreakerScope::Route,
            ..Breaker::default()
        }),
        fallback: Some(Fallback {
            on_open: true,
            on_no_endpoint: false,
            on_exhausted: true,
            repeatable: true,
            target: FallbackTarget::Service(target),
        }),
        fault: Some(fault(millis)),
        load_balancer: load_balancer(millis),
        limits: Limits {
            per_endpoint: PerEndpointLimits {
                max_connections: Some(retries + 1),
                max_pending_requests: None,
                max_concurrent_requests: Some(7),
            },
            ..Limits::default()
        },
    }
}

fn fault(millis: u64) -> Fault {
    Fault {
        name: "bank/rehearsal".into(),
        expires_at: std::time::UNIX_EPOCH + Duration::from_millis(1_800_000_000_000 + millis),
        headers: vec![(
            http::HeaderName::from_static("x-rehearsal"),
            TextMatch::Exact("yes".into()),
        )],
        delay: Some((Percent::clamped(10), Duration::from_millis(millis + 1))),
        abort: Some((Percent::clamped(5), FaultAnswer::GrpcStatus(14))),
    }
}

fn load_balancer(millis: u64) -> LoadBalancer {
    LoadBalancer {
        algorithm: Algorithm::RingHash,
        hash: vec![
            HashKey::Header(http::HeaderName::from_static("x-user")),
            HashKey::Cookie("session".into()),
            HashKey::Query("user".into()),
            HashKey::Source,
        ],
        slow_start: Some(SlowStart {
            window: Duration::from_millis(millis + 1),
            min_percent: Percent::clamped(10),
        }),
        zones: Some(Zones {
            failover: vec!["berlin-1".into(), "berlin-2".into()],
            min_ready: Percent::clamped(50),
        }),
    }
}

fn filters() -> Filters {
    let header = (
        http::HeaderName::from_static("x-a"),
        http::HeaderValue::from_static("b, c"),
    );
    let hostname: crate::value::Hostname = "a.b".parse().expect("host");
    Filters {
        request: HeaderEdits {
            remove: vec![http::HeaderName::from_static("x-b")],
            set: vec![header.clone()],
            add: Vec::new(),
        },
        response: HeaderEdits {
            add: vec![header],
            ..HeaderEdits::default()
        },
        redirect: Some(Redirect {
            https: Some(true),
            hostname: None,
            port: Port::try_from(8443).ok(),
            path: Some(PathEdit::Full("/a".into())),
            status: http::StatusCode::PERMANENT_REDIRECT,
        }),
        rewrite: Some(Rewrite {
            hostname: Some(hostname),
            path: Some(PathEdit::Prefix {
                matched: "/a".into(),
                replacement: String::new(),
            }),
        }),
        mirrors: vec![Mirror {
            target: ServiceTarget {
                service: "bank/copy".parse().expect("name"),
                port: Port::try_from(1).expect("port"),
            },
            numerator: 1,
            denominator: 1000,
        }],
        cors: Some(Cors {
            allow_origins: vec!["https://*.a.b".parse().expect("origin")],
            allow_credentials: true,
            allow_methods: Listed::Any,
            allow_headers: Listed::These(http::HeaderValue::from_static("x-a, x-b")),
            expose_headers: Listed::Nothing,
            max_age: Duration::from_secs(5),
        }),
    }
}

fn service(path: String, retries: u32, millis: u64) -> Service {
    let port = Port::try_from(8080).expect("port");
    let policy = Arc::new(policy(retries, millis));
    Service {
        name: "bank/fraud-detection".parse().expect("name"),
        virtual_addresses: vec!["240.240.0.7".parse().expect("address")],
        ports: vec![ServicePort {
            name: "grpc".parse().expect("name"),
            port,
            protocol: Protocol::Grpc,
            tls: Some(Arc::new(backend_tls())),
        }],
        identities: vec!["spiffe://usher.local/ns/bank/sa/fraud".parse().expect("id")],
        policy: policy.clone(),
        routes: vec![Route {
            name: "HTTPRoute/bank/fraud/0".into(),
            ports: vec![port],
            hostnames: vec!["*.bank.mesh".parse().expect("host")],
            matches: Arc::new(RouteMatch {
                path: PathMatch::Prefix(path),
                method: Some(http::Method::PUT),
                headers: vec![(
                    http::HeaderName::from_static("x-a"),
                    TextMatch::Exact("b".into()),
                )],
                query: vec![(
                    "q".into(),
                    TextMatch::Regex("[a-z]+".parse().expect("pattern")),
                )],
            }),
            backends: Arc::new([Backend {
                weight: Weight::ONE,
                target: BackendTarget::Invalid("no such service".into()),
                filters: Some(Arc::new(filters())),
            }]),
            policy,
            filters: Some(Arc::new(filters())),
            callers: Some("shop".parse().expect("name")),
        }],
        streams: vec![StreamRoute {
            name: "TLSRoute/shop/fraud/0".into(),
            callers: Some("shop".parse().expect("name")),
            ports: vec![port],
            hostname: Some("*.fraud.example.com".parse().expect("host")),
            backends: vec![Backend {
                weight: Weight::ONE,
                target: BackendTarget::Invalid("no such service".into()),
                filters: None,
            }],
        }],
    }
}

proptest! {
    #[test]
    fn a_service_survives_the_wire(path in "/[a-z/]{0,20}", retries in 0u32..=10, millis in 0u64..100_000) {
        let service = service(path, retries, millis);
        prop_assert_eq!(Service::try_from(v1::Service::from(&service)), Ok(service));
    }

    #[test]
    fn a_gateway_survives_the_wire(path in "/[a-z/]{0,20}", retries in 0u32..=10, millis in 0u64..100_000) {
        let gateway = gateway(path, retries, millis);
        prop_assert_eq!(Gateway::try_from(v1::Gateway::from(&gateway)), Ok(gateway));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = v1::Service::decode(&*bytes) { let _ = Service::try_from(message); }
        if let Ok(message) = v1::Endpoint::decode(&*bytes) { let _ = Endpoint::try_from(message); }
        if let Ok(message) = v1::InboundPolicy::decode(&*bytes) { let _ = InboundPolicy::try_from(message); }
        if let Ok(message) = v1::Gateway::decode(&*bytes) { let _ = Gateway::try_from(message); }
        if let Ok(message) = v1::TrustBundle::decode(&*bytes) { let _ = TrustBundle::try_from(message); }
        if let Ok(message) = v1::Revision::decode(&*bytes) { let _ = Revision::try_from(message); }
    }

    /// Random bytes are seldom a message; a good message with one byte changed often is.
    #[test]
    fn a_flipped_byte_is_refused_or_decodes_to_what_re_encodes(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = v1::Service::from(&service("/a".into(), 2, 1000)).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Ok(decoded)) = v1::Service::decode(&*bytes).map(Service::try_from) {
            prop_assert_eq!(Service::try_from(v1::Service::from(&decoded)), Ok(decoded));
        }
    }
}

fn inbound_policy() -> InboundPolicy {
    InboundPolicy {
        service: "bank/account".parse().expect("name"),
        mtls: MtlsMode::Permissive,
        ports: vec![(Port::try_from(50051).expect("port"), Protocol::Grpc)],
        access: vec![AccessPolicy {
            name: "bank/account".into(),
            deny_by_default: true,
            dry_run: false,
            rules: vec![AccessRule {
                principals: vec![
                    "spiffe://usher.local/ns/bank/sa/teller"
                        .parse()
                        .expect("id"),
                ],
                namespaces: vec!["bank".parse().expect("name")],
                service_accounts: vec![(
                    "bank".parse().expect("name"),
                    "transaction".parse().expect("name"),
                )],
                claims: vec![ClaimRule {
                    claim: "groups".into(),
                    values: vec!["admin".to_owned(), "auditor".to_owned()],
                }],
                methods: vec![http::Method::POST],
                paths: vec![PathRule::Exact("/a".into()), PathRule::Prefix("/b/".into())],
                ports: vec![Port::try_from(50051).expect("port")],
            }],
            invalid: false,
        }],
        health_check: Some(HealthCheck {
            probe: HealthProbe::Grpc {
                service: String::new(),
            },
            ..HealthCheck::default()
        }),
        telemetry: Telemetry {
            access_log: AccessLogMode::Errors,
            ..Telemetry::default()
        },
        idle: Some(Duration::from_secs(7)),
        outbound: OutboundTraffic::PassThroughUnknown,
        path_reading: PathReading::LENIENT,
        zone: "berlin-1".into(),
        authentication: Some(authentication()),
        claim_headers: vec![http::HeaderName::from_static("x-user")],
        gateways: vec![
            "spiffe://usher.local/ns/bank/sa/edge"
                .parse()
                .expect("valid"),
        ],
        rate_limits: vec![rate_limits()],
    }
}

#[test]
fn an_inbound_policy_survives_the_wire() {
    let policy = inbound_policy();
    assert_eq!(
        InboundPolicy::try_from(v1::InboundPolicy::from(&policy)),
        Ok(policy)
    );
}

#[test]
fn an_error_names_the_field_down_to_the_index() {
    let mut message = v1::Service::from(&service("/a".into(), 2, 0));
    let tables = message.tables.as_mut().expect("a route needs them");
    tables.matches[0].path = Some(v1::PathMatch {
        kind: Some(v1::path_match::Kind::Prefix("a".into())),
    });
    let error: DecodeError = Service::try_from(message).expect_err("relative path");
    assert_eq!(
        error.to_string(),
        "Service: tables.matches[0].path: found \"a\", allowed: a path that begins with '/'"
    );
}

/// `UPDATE=1` writes the messages from which the `wire` fuzzer starts.
#[test]
fn the_fuzzer_starts_from_whole_messages() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/wire");
    let endpoint = Endpoint {
        name: "bank/account/a1".parse().expect("name"),
        address: "127.0.0.1:15006".parse().expect("address"),
        address_is_own: true,
        meshed: true,
        weight: Weight::ONE,
        zone: "a".into(),
        healthy: true,
        ports: vec![Port::try_from(50051).expect("port")],
    };
    let bundle = TrustBundle {
        trust_domain: "usher.local".parse().expect("domain"),
        version: 1,
        roots: vec![vec![0x30, 0x03, 0x02, 0x01, 0x01]],
    };
    let revision = Revision {
        number: 7,
        digest: "0123456789abcdef".repeat(4),
    };
    let service = v1::Service::from(&service("/a".into(), 2, 1500)).encode_to_vec();
    let policy = v1::InboundPolicy::from(&inbound_policy()).encode_to_vec();
    let callers = v1::PlaintextCallers::from(&PlaintextCallers(vec![caller(7)])).encode_to_vec();
    let gateway = v1::Gateway::from(&gateway("/a".into(), 2, 1500)).encode_to_vec();
    let seeds = [
        ("service", 0, service),
        ("gateway", 5, gateway),
        ("endpoint", 1, v1::Endpoint::from(&endpoint).encode_to_vec()),
        ("inbound-policy", 2, policy),
        (
            "trust-bundle",
            3,
            v1::TrustBundle::from(&bundle).encode_to_vec(),
        ),
        ("revision", 4, v1::Revision::from(&revision).encode_to_vec()),
        ("plaintext-callers", 6, callers),
    ];
    for (name, kind, message) in seeds {
        let bytes = [vec![kind], message].concat();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(folder.join(name), &bytes).expect("write");
        }
        let seed = std::fs::read(folder.join(name)).unwrap_or_default();
        assert!(seed == bytes, "{name} is stale: UPDATE=1");
    }
}

#[test]
fn a_prefix_that_ends_inside_a_segment_is_refused() {
    let mut message = v1::InboundPolicy::from(&inbound_policy());
    message.access[0].rules[0].paths = vec!["/admin*".into()];
    let error = InboundPolicy::try_from(message).expect_err("it would cover /administrator");
    assert!(error.to_string().contains("/admin*"), "{error}");
}

#[test]
fn silence_about_idling_means_the_default_and_zero_means_for_ever() {
    let idle = |idle_ms| {
        let mut message = v1::InboundPolicy::from(&inbound_policy());
        message.idle_ms = idle_ms;
        InboundPolicy::try_from(message).expect("valid").idle
    };
    assert_eq!(idle(None), Some(Duration::from_secs(300)));
    assert_eq!(idle(Some(0)), None);
    assert_eq!(idle(Some(7)), Some(Duration::from_millis(7)));
    let mut policy = inbound_policy();
    policy.idle = None;
    let decoded = InboundPolicy::try_from(v1::InboundPolicy::from(&policy));
    assert_eq!(decoded, Ok(policy));
}
