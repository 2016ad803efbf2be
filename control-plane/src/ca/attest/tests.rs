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
