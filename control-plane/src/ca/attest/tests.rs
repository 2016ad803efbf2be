//! The identity is the proof's, whatever the request says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use rustls_pki_types::CertificateDer;
use tonic::{Code, Request};
use usher_config::{
    value::Name,
    wire::v1::{self, authority_server::Authority as _},
};

use super::{
    super::{
        service_account::{self, NotReviewed, Reviewed, Reviews},
        svid::Claims,
        tests::{account, authority, greedy_csr, plain_csr},
        token::{
            pins_of,
            tests::{HOUR, wanted},
        },
    },
    AuthorityService, Peer, TokenStore,
};
use crate::telemetry::metrics::Metrics;

struct Service {
    service: AuthorityService,
    tokens: Arc<TokenStore>,
    declared: Arc<AtomicBool>,
    _directory: tempfile::TempDir,
}

fn service() -> Service {
    let directory = tempfile::tempdir().expect("writable");
    let authority = Arc::new(authority(directory.path()));
    let tokens = TokenStore::open(&directory.path().join("tokens.redb"), pins_of(&authority));
    let tokens = Arc::new(tokens.expect("opens"));
    let metrics = Metrics::new().expect("unique");
    let declared = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&declared);
    let declares = Arc::new(move |_: &Name, _: &Name| answer.load(Ordering::SeqCst));
    let service = AuthorityService::new(declares, authority, Arc::clone(&tokens), metrics.ca);
    Service {
        service,
        tokens,
        declared,
        _directory: directory,
    }
}

#[tokio::test]
async fn attesting_gives_the_tokens_identity_whatever_the_request_asks_for() {
    let Service {
        service,
        tokens,
        _directory,
        ..
    } = service();
    let (token, _) = tokens
        .create(&wanted(HOUR, Some(1)), SystemTime::now())
        .expect("made");
    let attest = |csr_der: Vec<u8>| {
        service.attest(Request::new(v1::AttestRequest {
            join_token: token.reveal(),
            csr_der,
            ..v1::AttestRequest::default()
        }))
    };
    let broken = attest(vec![1, 2, 3]).await.expect_err("not a request");
    assert_eq!(
        broken.code(),
        Code::InvalidArgument,
        "and no use is spent on it"
    );
    let response = attest(greedy_csr()).await.expect("attested").into_inner();
    assert_eq!(response.spiffe_id, account().as_str());
    assert_eq!((response.chain_der.len(), response.roots_der.len()), (2, 1));
    let leaf = CertificateDer::from(response.chain_der[0].as_slice());
    assert_eq!(Claims::of_verified(&leaf).expect("one name").id, account());
    let again = attest(plain_csr()).await.expect_err("spent");
    assert_eq!(again.code(), Code::Unauthenticated);
    assert!(!again.message().contains(&token.reveal()));
}

#[tokio::test]
async fn renewal_needs_an_identity_and_gives_the_same() {
    let Service {
        service,
        _directory,
        ..
    } = service();
    let request = |peer: Option<Peer>| {
        let mut request = Request::new(v1::RenewRequest {
            csr_der: greedy_csr(),
        });
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    };
    for peer in [None, Some(Peer::default())] {
        let refused = service.renew(request(peer)).await.expect_err("nobody");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let peer = Peer::from(account());
    let renewed = service
        .renew(request(Some(peer)))
        .await
        .expect("renewed")
        .into_inner();
    assert_eq!(renewed.spiffe_id, account().as_str());
}

#[tokio::test]
async fn nobody_is_signed_for_whom_configuration_does_not_declare() {
    let Service {
        service,
        tokens,
        declared,
        _directory,
    } = service();
    let (token, _) = tokens
        .create(&wanted(HOUR, Some(1)), SystemTime::now())
        .expect("made");
    let attest = || {
        service.attest(Request::new(v1::AttestRequest {
            join_token: token.reveal(),
            csr_der: plain_csr(),
            ..v1::AttestRequest::default()
        }))
    };
    let renew = || {
        let mut request = Request::new(v1::RenewRequest {
            csr_der: plain_csr(),
        });
        request.extensions_mut().insert(Peer::from(account()));
        service.renew(request)
    };
    declared.store(false, Ordering::SeqCst);
    for refused in [
        attest().await.map(drop).expect_err("undeclared"),
        renew().await.map(drop).expect_err("undeclared"),
    ] {
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("no Workload in namespace bank"));
    }
    declared.store(true, Ordering::SeqCst);
    attest().await.expect("the use was not spent");
    renew().await.expect("declared again");
}

#[tokio::test]
async fn a_token_is_not_spent_on_what_could_not_be_recorded() {
    let Service {
        service,
        tokens,
        _directory: directory,
        ..
    } = service();
    let (token, _) = tokens
        .create(&wanted(HOUR, Some(1)), SystemTime::now())
        .expect("made");
    let attest = || {
        service.attest(Request::new(v1::AttestRequest {
            join_token: token.reveal(),
            csr_der: plain_csr(),
            ..v1::AttestRequest::default()
        }))
    };
    let log = directory.path().join("ca/issued.jsonl");
    std::fs::remove_file(&log).expect("there");
    std::fs::create_dir(&log).expect("made");
    let refused = attest().await.expect_err("not recorded");
    assert_eq!(refused.code(), Code::Unavailable, "{}", refused.message());
    std::fs::remove_dir(&log).expect("removed");
    attest().await.expect("attested with the only use");
    let line = std::fs::read_to_string(&log).expect("recorded");
    assert!(line.contains(token.id()), "{line}");
    assert!(!line.contains(&token.reveal()), "no secret in a log");
}

#[tokio::test]
async fn whoever_asks_far_too_often_waits_and_spends_no_use_of_a_token() {
    let Service {
        service,
        tokens,
        _directory,
        ..
    } = service();
    let renew = |id: usher_config::value::SpiffeId| {
        let mut request = Request::new(v1::RenewRequest {
            csr_der: plain_csr(),
        });
        request.extensions_mut().insert(Peer::from(id));
        service.renew(request)
    };
    let mut asked = 0;
    let refusal = loop {
        match renew(account()).await {
            Ok(_) => asked += 1,
            Err(status) => break status,
        }
        assert!(asked < 20_000, "there is no end of it");
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(asked >= 512, "all of a large service start together");
    let (token, _) = tokens
        .create(&wanted(HOUR, Some(1)), SystemTime::now())
        .expect("made");
    let attest = || {
        service.attest(Request::new(v1::AttestRequest {
            join_token: token.reveal(),
            csr_der: plain_csr(),
            ..v1::AttestRequest::default()
        }))
    };
    let mut refused = 0;
    while let Err(status) = attest().await {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        refused += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(refused < 1000, "never let in again");
    }
    let other = "spiffe://usher.local/ns/bank/sa/other";
    let other = renew(other.parse().expect("valid")).await;
    assert!(other.is_ok(), "nobody else waits");
}

#[tokio::test]
async fn an_address_that_guesses_tokens_is_not_answered_for_long() {
    let Service {
        service,
        _directory,
        ..
    } = service();
    let guess = format!(
        "usher1.{}.{}.{}",
        "a".repeat(16),
        "b".repeat(43),
        "c".repeat(64)
    );
    let ask = |address: [u8; 4]| {
        let mut request = Request::new(v1::AttestRequest {
            join_token: guess.clone(),
            csr_der: plain_csr(),
            ..v1::AttestRequest::default()
        });
        let peer = Peer {
            address: Some(address.into()),
            ..Peer::default()
        };
        request.extensions_mut().insert(peer);
        service.attest(request)
    };
    let mut guesses = 0;
    loop {
        let status = ask([127, 0, 0, 1]).await.expect_err("a guess");
        match status.code() {
            Code::Unauthenticated => guesses += 1,
            code => {
                assert_eq!(code, Code::ResourceExhausted);
                break;
            }
        }
        assert!(guesses < 20_000, "there is no end of it");
    }
    let elsewhere = ask([127, 0, 0, 2]).await.expect_err("a guess");
    assert_eq!(elsewhere.code(), Code::Unauthenticated, "its own bucket");
}

/// An API server that knows two tokens.
struct Cluster;

#[tonic::async_trait]
impl Reviews for Cluster {
    async fn review(&self, token: &str) -> Result<Reviewed, NotReviewed> {
        match token {
            token if token == of_account("account") => Ok(Reviewed {
                subject: service_account::subject("system:serviceaccount:bank:account")?,
                pod: Some("account-7d4b".to_owned()),
            }),
            token if token == of_account("away") => {
                Err(NotReviewed::Unreachable("connection refused".into()))
            }
            _ => Err(NotReviewed::Refused("not signed here".to_owned())),
        }
    }
}

fn of_account(name: &str) -> String {
    for_audience(name, "usher")
}

fn for_audience(name: &str, audience: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = format!(r#"{{"aud":["{audience}"],"sub":"{name}"}}"#);
    format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmVk",
        URL_SAFE_NO_PAD.encode(claims)
    )
}

async fn attest_as(
    service: &AuthorityService,
    token: &str,
) -> Result<v1::SvidResponse, tonic::Status> {
    let request = v1::AttestRequest {
        service_account_token: token.to_owned(),
        csr_der: plain_csr(),
        ..v1::AttestRequest::default()
    };
    let answer = service.attest(Request::new(request)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_service_accounts_token_gives_its_accounts_identity_if_the_cluster_says_so() {
    let Service {
        service,
        declared,
        _directory,
        ..
    } = service();
    let own = of_account("account");
    let nowhere = attest_as(&service, &own).await.expect_err("no cluster");
    assert_eq!(nowhere.code(), Code::Unauthenticated);
    assert!(nowhere.message().contains("--kubernetes"), "{nowhere}");

    let service = service.with_reviews(Arc::new(Cluster));
    let answer = attest_as(&service, &own).await.expect("attested");
    assert_eq!(answer.spiffe_id, account().as_str());
    let issued = std::fs::read_to_string(_directory.path().join("ca/issued.jsonl"));
    let issued = issued.expect("written");
    assert!(
        issued.contains(r#""proof":"service_account","pod":"account-7d4b""#),
        "{issued}"
    );

    for (token, code, said) in [
        (
            of_account("forged"),
            Code::Unauthenticated,
            "not signed here",
        ),
        (of_account("away"), Code::Unavailable, "not reached"),
        (
            for_audience("account", "vault"),
            Code::Unauthenticated,
            "audience vault",
        ),
        (
            "eyJ.e30".to_owned(),
            Code::Unauthenticated,
            "JSON web token",
        ),
    ] {
        let refused = attest_as(&service, &token).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(said), "{refused}");
        assert!(!refused.message().contains(&token), "{refused}");
    }

    declared.store(false, Ordering::SeqCst);
    let unknown = attest_as(&service, &own).await.expect_err("not declared");
    assert_eq!(unknown.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn two_proofs_at_once_are_none() {
    let Service {
        service,
        _directory,
        ..
    } = service();
    let request = v1::AttestRequest {
        join_token: "usher1.a.b.c".to_owned(),
        service_account_token: of_account("account"),
        csr_der: plain_csr(),
    };
    let refused = service.attest(Request::new(request)).await;
    assert_eq!(refused.expect_err("which?").code(), Code::InvalidArgument);
}
