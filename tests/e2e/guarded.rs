//! What a policy closes stays closed, however a request is spelled and wherever it carries what nobody has verified.

use anyhow::Result;
use serde_json::json;
use usher_tests::{Application, Gateway, Mesh, eventually, reply, yaml};

use crate::{
    authentication::{Issuer, ask, bearing, claims, inline, policy},
    gateway::{gateway, http_listener, route},
    pair,
};

/// A gateway in front of `shop`: open but for `/orders`, for which `policies` say more.
async fn shop(policies: &[String]) -> Result<(Mesh, Application, usher_tests::Sidecar, Gateway)> {
    let mut documents = vec![
        yaml::service("shop", 8080, "http"),
        yaml::workload("edge"),
        gateway(&http_listener("web", 80, None)),
        route("shop", "{ name: edge }", &[], &[("/", "shop")]),
        route("orders", "{ name: edge }", &[], &[("/orders", "shop")]),
    ];
    documents.extend_from_slice(policies);
    let mesh = Mesh::start(&documents).await?;
    let application = Application::answering(|request, _| reply(200, request.path.clone())).await?;
    let sidecar = mesh.sidecar("shop").application(&application);
    let sidecar = sidecar.start().await?;
    let edge = Gateway::start(&mesh, "edge", &[80], &[]).await?;
    let client = edge.client(80);
    eventually("the gateway leads to the shop", async || {
        let answer = client.get("http://shop.example.com/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    Ok((mesh, application, sidecar, edge))
}

#[tokio::test]
async fn slashes_that_follow_each_other_lead_past_no_rule() -> Result<()> {
    let issuer = Issuer::new("one")?;
    let rule = "{ kind: HTTPRoute, name: orders }";
    let login = policy("orders", rule, "", &inline(&issuer));
    let (_mesh, application, _shop, edge) = shop(&[login]).await?;
    let client = edge.client(80);
    let before = application.received().len();
    for path in [
        "/orders",
        "//orders",
        "///orders//7",
        "/a/..//orders",
        "/%6frders//",
    ] {
        let url = format!("http://shop.example.com{path}");
        let refused = ask(&client, &url, &[]).await?;
        assert_eq!(refused.status, 401, "{path}");
    }
    assert_eq!(application.received().len(), before);
    let answer = bearing(
        &client,
        "http://shop.example.com//orders//7",
        &issuer.token("ada")?,
    )
    .await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "/orders/7"),
        "and what was decided about is what is sent"
    );
    let refused = edge
        .metric(
            "usher_requests_total",
            &["code=\"401\"", "route=\"HTTPRoute/default/orders/0\""],
        )
        .await?;
    assert_eq!(
        refused, 5.0,
        "the route is known when the token is looked at"
    );
    Ok(())
}

#[tokio::test]
async fn parameters_in_a_path_lead_past_no_rule() -> Result<()> {
    let issuer = Issuer::new("one")?;
    let rule = "{ kind: HTTPRoute, name: orders }";
    let login = policy("orders", rule, "", &inline(&issuer));
    let (mesh, application, _shop, edge) = shop(&[login]).await?;
    let client = edge.client(80);
    let before = application.received().len();
    for path in ["/orders;x", "/orders;", "/orders%3Bx", "/orders/7;v=1"] {
        let url = format!("http://shop.example.com{path}");
        let refused = ask(&client, &url, &[]).await?;
        assert_eq!(refused.status, 400, "{path}");
    }
    assert_eq!(application.received().len(), before);

    // Where applications mean them, they are sent on, and no rule is compared with them.
    mesh.write("mesh.yaml", MEANT)?;
    let url = "http://shop.example.com/open;v=1";
    eventually("the mesh lets parameters in", async || {
        let answer = ask(&client, url, &[]).await.ok()?;
        (answer.status == 200 && answer.text() == "/open;v=1").then_some(())
    })
    .await;
    let before = application.received().len();
    for path in ["/orders;x", "/orders;", "/orders/7;v=1"] {
        let url = format!("http://shop.example.com{path}");
        let refused = ask(&client, &url, &[]).await?;
        assert_eq!(refused.status, 401, "{path}");
    }
    assert_eq!(application.received().len(), before);
    let token = issuer.token("ada")?;
    let answer = bearing(&client, "http://shop.example.com/orders/7;v=1", &token).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "/orders/7;v=1")
    );
    Ok(())
}

const MEANT: &str = "apiVersion: usher.dev/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec: { trustDomain: test.mesh, pathParameters: Keep }
";

#[tokio::test]
async fn a_forged_token_where_only_the_gateway_looks_does_not_reach_a_rules_application()
-> Result<()> {
    let issuer = Issuer::new("one")?;
    let session = inline(&issuer) + "\n    from: { cookie: session }";
    let edge = policy(
        "edge",
        "{ kind: Gateway, name: edge }",
        "  mode: Optional\n",
        &session,
    );
    let header = inline(&issuer) + "\n    from: { header: x-token }\n    forward: Keep";
    let own = policy(
        "orders",
        "{ kind: HTTPRoute, name: orders }",
        "  mode: Required\n",
        &header,
    );
    let (mesh, application, _shop, gateway) = shop(&[edge, own]).await?;
    let (client, url) = (gateway.client(80), "http://shop.example.com/orders");
    let (token, forged) = (issuer.token("ada")?, Issuer::new("one")?.token("root")?);
    let cookie = |token: &str| format!("a=b; session={token}");
    let headers = [("x-token", token.as_str()), ("cookie", &cookie(&forged))];
    assert_eq!(ask(&client, url, &headers).await?.status, 200);
    let received = application.received();
    let last = &received.last().expect("one").headers;
    assert_eq!(last["cookie"], "a=b");
    assert_eq!(last["x-user"], "ada");
    assert_eq!(
        last["x-token"],
        token.as_str(),
        "the rule's own place is kept"
    );

    // Without a place of its own the rule has its gateway's.
    let rule = "{ kind: HTTPRoute, name: orders }";
    mesh.write(
        "06.yaml",
        &policy("orders", rule, "  mode: Required\n", &inline(&issuer)),
    )?;
    eventually("the cookie counts at the rule", async || {
        let headers = [("cookie", cookie(&token))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        (ask(&client, url, &headers).await.ok()?.status == 200).then_some(())
    })
    .await;
    let headers = [("cookie", cookie(&forged))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    assert_eq!(ask(&client, url, &headers).await?.status, 401);
    Ok(())
}

#[tokio::test]
async fn what_is_for_holders_of_a_claim_is_for_nobody_else() -> Result<()> {
    let application = Application::echo().await?;
    let issuer = Issuer::new("one")?;
    let login = policy(
        "login",
        "{ kind: Service, name: api }",
        "  mode: Optional\n",
        &inline(&issuer),
    );
    let rules = "  rules:\n  - to: { paths: [/open] }\n  \
                 - from: { serviceAccounts: [web], claims: [{ claim: groups, values: [admin, auditor] }] }\n";
    let access = yaml::access_policy("api", rules);
    let (_mesh, _api, web) = pair(&application, &[login, access]).await?;
    let (client, closed) = (web.client(), "http://api/admin");
    let with = |groups: serde_json::Value| {
        let mut claims = claims("ada", 60);
        claims["groups"] = groups;
        issuer.sign(&claims)
    };
    let status = async |token: &str| anyhow::Ok(bearing(&client, closed, token).await?.status);
    assert_eq!(status(&with(json!(["user", "auditor"]))?).await?, 200);
    assert_eq!(status(&with(json!("admin"))?).await?, 200);
    let seen = application.received().len();
    assert_eq!(status(&with(json!(["user"]))?).await?, 403);
    assert_eq!(status(&issuer.token("ada")?).await?, 403, "no such claim");
    let unverified = Issuer::new("one")?.sign(&json!({ "groups": "admin" }))?;
    assert_eq!(status(&unverified).await?, 401);
    let header = [("groups", "admin"), ("x-groups", "admin")];
    assert_eq!(ask(&client, closed, &header).await?.status, 403);
    assert_eq!(application.received().len(), seen);
    assert_eq!(ask(&client, "http://api/open", &[]).await?.status, 200);
    Ok(())
}
