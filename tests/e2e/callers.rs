//! Who calls past the mesh is listed, before and after that is refused.

use anyhow::Result;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use usher_tests::{Application, Client, Mesh, eventually, yaml};

use crate::pair;

const PERMISSIVE: &str = "  mtls: { mode: Permissive }\n  defaultAction: Allow\n";

fn callers(mesh: &Mesh) -> Option<Vec<Value>> {
    mesh.ask(&["callers", "default/api"])
        .ok()?
        .as_array()
        .cloned()
}

/// A call past the mesh from another address than all sidecars have.
async fn plain_from(address: &str, to: &str) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{address}:0").parse()?)?;
    let mut stream = socket.connect(to.parse()?).await?;
    stream
        .write_all(b"GET /plain HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")
        .await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

#[tokio::test]
async fn a_plaintext_caller_is_listed_and_a_sidecar_is_not() -> Result<()> {
    let application = Application::echo().await?;
    let permissive = yaml::access_policy("api", PERMISSIVE);
    let (mut mesh, api, web) = pair(&application, &[permissive]).await?;
    assert_eq!(web.get("http://api/mtls").await?.status, 200);
    eventually("plaintext is served", async || {
        let said = plain_from("127.0.0.2", &api.inbound).await.ok()?;
        said.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    let listed = eventually("the caller is listed", async || {
        callers(&mesh).filter(|listed| !listed.is_empty())
    })
    .await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["address"], "127.0.0.2", "and not the sidecar's");
    assert_eq!(listed[0]["mode"], "Permissive");
    assert_eq!(listed[0].get("lastRefused"), None);
    // What is shown of all of the mesh may be a second old.
    eventually("it is counted", async || {
        let status = mesh.ask(&["status"]).ok()?;
        let counted = &status["plaintextCallers"];
        let metrics = Client::direct(mesh.http()).get("/metrics").await.ok()?;
        let is_counted = counted["callers"] == 1
            && counted["services"][0] == "default/api"
            && metrics.text().contains("usher_mesh_plaintext_callers 1");
        is_counted.then_some(())
    })
    .await;

    // A control plane that has forgotten everything hears of it again.
    mesh.kill_server();
    mesh.start_server().await?;
    eventually("the caller is listed again", async || {
        callers(&mesh).filter(|listed| listed.len() == 1)
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn who_is_refused_by_a_strict_service_is_listed_as_refused() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, api, _web) = pair(&application, &[]).await?;
    let answer = Client::direct(&api.inbound).get("/").await;
    assert!(answer.is_ok_and(|answer| answer.status == 403));
    let listed = eventually("the caller is listed", async || {
        callers(&mesh).filter(|listed| !listed.is_empty())
    })
    .await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["mode"], "Strict");
    assert!(listed[0]["lastRefused"].is_string(), "{listed:?}");
    Ok(())
}

/// One of a policy's conditions: status, reason and message.
fn condition(mesh: &Mesh, of: &str) -> Option<(String, String, String)> {
    let objects = mesh.ask(&["get", "AccessPolicy/api"]).ok()?;
    let conditions = objects.as_array()?.first()?["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == of)?;
    let text = |field: &str| found[field].as_str().map(str::to_owned);
    Some((text("status")?, text("reason")?, text("message")?))
}

async fn waits(mesh: &Mesh, because: &str) {
    eventually("the mode waits", async || {
        let (_, reason, message) = condition(mesh, "Warning")?;
        (reason == "PlaintextCallers" && message.contains(because)).then_some(())
    })
    .await;
    let (accepted, ..) = condition(mesh, "Accepted").expect("said");
    assert_eq!(accepted, "True");
}

#[tokio::test]
async fn strict_waits_for_plaintext_callers_also_through_a_restart_until_it_is_forced() -> Result<()>
{
    let application = Application::echo().await?;
    let permissive = yaml::access_policy("api", PERMISSIVE);
    let (mut mesh, api, web) = pair(&application, &[]).await?;
    mesh.write("access.yaml", &permissive)?;
    let plain = async || Client::direct(&api.inbound).get("/plain").await;
    eventually("plaintext is served, and listed", async || {
        let answer = plain().await.ok()?;
        (answer.status == 200 && !callers(&mesh)?.is_empty()).then_some(())
    })
    .await;
    mesh.write("access.yaml", &permissive.replace("Permissive", "Strict"))?;
    waits(&mesh, "default/api is called by 127.0.0.1, last seen").await;
    assert_eq!(plain().await?.status, 200);
    assert_eq!(web.get("http://api/").await?.status, 200);

    // A control plane that knows nobody yet lets it wait all the same, from its first moment on.
    mesh.kill_server();
    mesh.start_server().await?;
    waits(&mesh, "default/api").await;
    waits(&mesh, "is called by 127.0.0.1").await;
    assert_eq!(plain().await?.status, 200);

    mesh.dismiss_callers("default/api")?;
    eventually("plaintext is refused", async || {
        (plain().await.ok()?.status == 403).then_some(())
    })
    .await;
    assert_eq!(web.get("http://api/").await?.status, 200);
    eventually("who is refused is listed as such", async || {
        let listed = callers(&mesh)?;
        let one = listed.first()?;
        (one["mode"] == "Strict" && one["lastRefused"].is_string()).then_some(())
    })
    .await;
    // What is shown of all of the mesh may be a second old.
    eventually("it waits no longer, and the history says why", async || {
        let status = mesh.ask(&["status"]).ok()?;
        let message = status["revision"]["message"].as_str()?;
        let is_over = condition(&mesh, "Warning").is_none();
        (is_over && message.contains("default/api dismissed")).then_some(())
    })
    .await;
    Ok(())
}
