//! Tokens of end users: believed if a known key has signed them for us, and refused by name if not.

use std::{
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use usher_tests::{Answer, Application, Client, Gateway, Mesh, Sidecar, eventually, reply, yaml};

use crate::{
    gateway::{gateway, http_listener, route},
    pair,
};

/// An issuer's key, made here.
pub(crate) struct Issuer {
    id: &'static str,
    pair: rcgen::KeyPair,
}

impl Issuer {
    pub(crate) fn new(id: &'static str) -> Result<Self> {
        let pair = rcgen::KeyPair::generate()?;
        Ok(Self { id, pair })
    }

    /// Its public half, as a key set.
    fn jwks(&self) -> String {
        let point = self.pair.public_key_raw();
        let half = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": half(1..33), "y": half(33..65),
        });
        json!({ "keys": [key] }).to_string()
    }

    pub(crate) fn sign(&self, claims: &Value) -> Result<String> {
        let mut head = Header::new(Algorithm::ES256);
        head.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        Ok(encode(&head, claims, &key)?)
    }

    pub(crate) fn token(&self, user: &str) -> Result<String> {
        self.sign(&claims(user, 60))
    }
}

pub(crate) fn claims(user: &str, seconds: i64) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("small");
    json!({ "iss": "https://login.test", "aud": "shop", "sub": user, "exp": now + seconds })
}

/// `jwks` is YAML on one line.
pub(crate) fn policy(name: &str, target: &str, more: &str, jwks: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{ name: {name} }}\nspec:\n  \
         targetRefs: [{target}]\n{more}  jwt:\n  - issuer: https://login.test\n    audiences: [shop]\n    \
         jwks: {jwks}\n    claimsToHeaders: [{{ claim: sub, header: x-user }}]\n"
    )
}

pub(crate) fn inline(issuer: &Issuer) -> String {
    format!("{{ inline: '{}' }}", issuer.jwks())
}

pub(crate) async fn ask(
    client: &Client,
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<Answer> {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, HeaderValue::from_str(value)?);
    }
    client.send(Method::GET, url, all, Bytes::new()).await
}

pub(crate) async fn bearing(client: &Client, url: &str, token: &str) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-user", "root"),
        ("x_user", "root"),
    ];
    ask(client, url, &headers).await
}

#[tokio::test]
async fn a_service_lets_in_whom_its_issuer_vouches_for_and_says_why_it_refuses() -> Result<()> {
    let application = Application::echo().await?;
    let (issuer, other) = (Issuer::new("one")?, Issuer::new("one")?);
    let target = "{ kind: Service, name: api }";
    let limits = yaml::rate_limit_policy(
        "api",
        "[{ name: each, requests: 2, per: 1h, key: [{ claim: sub }] }]",
    );
    let documents = [policy("login", target, "", &inline(&issuer)), limits];
    let (_mesh, api, web) = pair(&application, &documents).await?;
    let (client, url) = (web.client(), "http://api/");

    let none = ask(&client, url, &[("x-user", "root")]).await?;
    assert_eq!(none.status, 401);
    assert_eq!(none.header("x-usher-reason"), "JW token-missing");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let mut elsewhere = claims("ada", 60);
    elsewhere["aud"] = json!("bank");
    for (token, reason) in [
        (issuer.sign(&claims("ada", -61))?, "token-expired"),
        (issuer.sign(&elsewhere)?, "token-audience"),
        (other.token("ada")?, "token-signature"),
        ("no.jwt.atall".to_owned(), "token-malformed"),
    ] {
        let answer = bearing(&client, url, &token).await?;
        assert_eq!(answer.status, 401, "{reason}");
        assert_eq!(answer.header("x-usher-reason"), format!("JW {reason}"));
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    assert!(application.received().is_empty());

    for user in ["ada", "bob"] {
        let token = issuer.token(user)?;
        for expected in [200, 200, 429] {
            assert_eq!(
                bearing(&client, url, &token).await?.status,
                expected,
                "{user}"
            );
        }
    }
    let received = application.received();
    assert_eq!(received.len(), 4);
    assert_eq!(received[0].headers["x-user"], "ada");
    assert_eq!(received[2].headers["x-user"], "bob");
    assert!(
        received
            .iter()
            .all(|one| !one.headers.contains_key("authorization"))
    );
    assert!(
        received
            .iter()
            .all(|one| !one.headers.contains_key("x_user"))
    );
    let believed = api
        .metric("usher_tokens_total", &["outcome=\"believed\""])
        .await?;
    assert_eq!(believed, 6.0);
    eventually("the log has the reason and no token", async || {
        let lines = api.access_log();
        let line = lines
            .iter()
            .find(|line| line["reason"] == "token-expired")?;
        assert!(!format!("{lines:?}").contains("eyJ"));
        (line["policy"] == "default/login").then_some(())
    })
    .await;
    Ok(())
}

/// A shop that answers with the user whom it is told of, behind two gateways: `edge`, where tokens are looked at (at `/mine` they
/// are required), and `open`, where nobody looks at any.
async fn shop(jwks: &str) -> Result<(Mesh, Application, Sidecar)> {
    let second = gateway(&http_listener("web", 80, None)).replace("edge", "open");
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        yaml::workload("open"),
        gateway(&http_listener("web", 80, None)),
        second,
        route(
            "shop",
            "{ name: edge }, { name: open }",
            &[],
            &[("/", "shop")],
        ),
        route("mine", "{ name: edge }", &[], &[("/mine", "shop")]),
        policy(
            "edge",
            "{ kind: Gateway, name: edge }",
            "  mode: Optional\n",
            jwks,
        ),
        policy(
            "mine",
            "{ kind: HTTPRoute, name: mine }",
            "  mode: Required\n",
            jwks,
        ),
    ])
    .await?;
    let application = Application::answering(|request, _| {
        let user = request.headers.get("x-user");
        let user = user.map_or("nobody", |user| user.to_str().expect("text"));
        reply(200, user.to_owned())
    })
    .await?;
    let sidecar = mesh.sidecar("shop").application(&application);
    let sidecar = sidecar.start().await?;
    Ok((mesh, application, sidecar))
}

#[tokio::test]
async fn a_gateway_follows_an_issuer_that_changes_its_keys_and_believes_no_claim_of_a_stranger()
-> Result<()> {
    let (old, new) = (Issuer::new("old")?, Issuer::new("new")?);
    let published = Arc::new(Mutex::new(old.jwks()));
    let answers = Arc::clone(&published);
    let issuer =
        Application::answering(move |_, _| reply(200, answers.lock().expect("no panic").clone()))
            .await?;
    let jwks = format!(
        "{{ uri: 'http://127.0.0.1:{}/keys', refreshInterval: 1s }}",
        issuer.port()
    );
    let (mut mesh, _shop, _sidecar) = shop(&jwks).await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let open = Gateway::start(&mesh, "open", &[80], &[]).await?;
    let (edge, open) = (edge.client(80), open.client(80));
    let (all, mine) = ("http://shop.example.com/", "http://shop.example.com/mine");

    let token = old.token("ada")?;
    eventually("the keys are there", async || {
        let answer = bearing(&edge, all, &token).await.ok()?;
        (answer.status == 200 && answer.text() == "ada").then_some(())
    })
    .await;
    assert_eq!(bearing(&edge, mine, &token).await?.text(), "ada");
    let spoofed = [("x-user", "root"), ("x_user", "root")];
    assert_eq!(ask(&edge, all, &spoofed).await?.text(), "nobody");
    let refused = ask(&edge, mine, &spoofed).await?;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (401, "usher: unauthorized\n")
    );
    assert_eq!(refused.header("x-usher-reason"), "");
    // A gateway without any policy: who comes in there is nobody either.
    eventually("the other gateway answers", async || {
        (ask(&open, all, &[]).await.ok()?.status == 200).then_some(())
    })
    .await;
    assert_eq!(bearing(&open, all, &token).await?.text(), "nobody");

    *published.lock().expect("no panic") = new.jwks();
    let renewed = new.token("ada")?;
    eventually("a token of the new key is believed", async || {
        (bearing(&edge, mine, &renewed).await.ok()?.status == 200).then_some(())
    })
    .await;
    let stale = bearing(&edge, mine, &token).await?;
    assert_eq!(stale.status, 401);
    assert!(stale.header("www-authenticate").contains("unknown key"));
    // An issuer that is gone takes nothing away, and neither does a control plane that begins anew without it.
    drop(issuer);
    assert_eq!(bearing(&edge, mine, &renewed).await?.status, 200);
    mesh.kill_server();
    mesh.start_server().await?;
    let status = mesh.ask(&["status"])?;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    assert!(
        conditions.iter().all(|one| one["reason"] != "NoKeys"),
        "{status:#}"
    );
    let mut late = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    late.bound(80).await;
    eventually("a gateway that begins then has the keys", async || {
        let answer = bearing(&late.client(80), mine, &renewed).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn bad_tokens_use_up_what_their_address_may_ask_of_a_gateway() -> Result<()> {
    let issuer = Issuer::new("one")?;
    let edge = "{ kind: Gateway, name: edge }";
    let limits = "apiVersion: usher.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: { name: edge }\nspec:\n  \
                  targetRefs: [{ kind: Gateway, name: edge }]\n  \
                  limits: [{ name: l, requests: 3, per: 1h, key: [{ source: {} }] }]\n";
    let mesh = Mesh::start(&[
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
        policy("edge", edge, "", &inline(&issuer)),
        limits.to_owned(),
    ])
    .await?;
    let shop = Application::echo().await?;
    let _shop = mesh.sidecar("shop").application(&shop).start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let (client, url) = (edge.client(80), "http://shop.example.com/");
    let forged = Issuer::new("one")?.token("ada")?;
    eventually("the gateway knows its route", async || {
        (bearing(&client, url, &forged).await.ok()?.status == 401).then_some(())
    })
    .await;
    for expected in [401, 401, 429] {
        assert_eq!(bearing(&client, url, &forged).await?.status, expected);
    }
    assert_eq!(
        bearing(&client, url, &issuer.token("ada")?).await?.status,
        429
    );
    assert!(shop.received().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_service_that_requires_a_token_takes_no_bytes_without_one() -> Result<()> {
    let required = |mode: &str| {
        let issuer = Issuer::new("one").map(|issuer| inline(&issuer));
        let mode = format!("  mode: {mode}\n");
        issuer.map(|jwks| policy("login", "{ kind: Service, name: db }", &mode, &jwks))
    };
    let documents = [yaml::service("db", 5432, "tcp"), required("Required")?];
    let mesh = Mesh::start(&documents).await?;
    let application = Application::echo().await?;
    let _db = mesh.sidecar("db").application(&application).start().await?;
    let web = mesh.sidecar("web").argument("--tcp");
    let web = web.argument("127.0.0.1:0=db.default:5432").start().await?;
    let local = web.tcp.first().expect("an address for --tcp").clone();
    let get = async || Client::direct(&local).get("/").await;
    eventually(
        "the listener is there, and nothing comes through it",
        async || {
            TcpStream::connect(&local).await.ok()?;
            get().await.is_err().then_some(())
        },
    )
    .await;
    assert!(application.received().is_empty());
    mesh.write("01.yaml", &required("Optional")?)?;
    eventually("bytes pass where none is required", async || {
        (get().await.ok()?.status == 200).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_first_policy_with_a_mistake_lets_nobody_in() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, _api, web) = pair(&application, &[]).await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    let target = "{ kind: Service, name: api }";
    mesh.write(
        "login.yaml",
        &policy("login", target, "", "{ inline: '{}' }"),
    )?;
    eventually("the service is closed", async || {
        (web.get("http://api/").await.ok()?.status == 403).then_some(())
    })
    .await;
    Ok(())
}
