//! A service with several ports, one sidecar: who means which port, and who may.

use anyhow::Result;
use tokio::net::TcpListener;
use usher_tests::{Application, Host, Mesh, Network, eventually, reply, yaml};

use super::pair::{Sidecar, get, intercept, registered, virtual_address};

const MESH: &str = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: test.mesh\n  mtls: { mode: Permissive }\n";

const ONLY_9090: &str =
    "  rules:\n  - from: { serviceAccounts: [web] }\n    to: { ports: [9090] }\n";

/// Answers with its own port.
fn application(host: &Host, port: u16) -> Result<Application> {
    let listener = TcpListener::from_std(host.listen(&format!("0.0.0.0:{port}"))?)?;
    Application::on(listener, move |_, _| reply(200, format!("port {port}")))
}

#[tokio::test]
async fn each_port_of_a_service_is_the_applications_port_of_that_number() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: api }}\nspec:\n  selector: {{ app: api }}\n  ports:\n  - {{ name: main, port: 8080, appProtocol: http }}\n  - {{ name: more, port: 9090, appProtocol: http }}\n---\n{}",
        yaml::workload("api")
    );
    let mesh = Mesh::start_on("10.77.0.1:0", &[service]).await?;
    mesh.write("mesh.yaml", MESH)?;
    let (web, api, outsider) = (network.host()?, network.host()?, network.host()?);
    for host in [&web, &api] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    let _applications = [application(&api, 8080)?, application(&api, 9090)?];
    let more = ["--application-port", "8080"];
    let _api_sidecar = Sidecar::start(&mesh, &api, "api", &more).await?;
    let _web_sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", api.ipv4)).await;
    let address = virtual_address(&mesh, "api")?;
    for port in [8080, 9090] {
        let own = format!("port {port}");
        for (caller, ip) in [(&web, &address), (&web, &api.ipv4), (&outsider, &api.ipv4)] {
            eventually(&format!("{ip} answers on {port}"), async || {
                let answer = get(caller, &format!("{ip}:{port}"), "api", "/")
                    .await
                    .ok()?;
                assert!(
                    !answer.contains("200 OK") || answer.contains(&own),
                    "{answer}"
                );
                answer.contains(&own).then_some(())
            })
            .await;
        }
    }
    mesh.write("access.yaml", &yaml::access_policy("api", ONLY_9090))?;
    eventually("the other port is refused", async || {
        let answer = get(&web, &format!("{address}:8080"), "api", "/")
            .await
            .ok()?;
        answer.contains("403").then_some(())
    })
    .await;
    let answer = get(&web, &format!("{address}:9090"), "api", "/").await?;
    assert!(answer.contains("port 9090"), "{answer}");
    let answer = get(&outsider, &format!("{}:9090", api.ipv4), "api", "/").await?;
    assert!(answer.contains("403"), "nobody's identity: {answer}");
    Ok(())
}
