//! `usher run` behaves like the command it wraps.

use std::time::Duration;

use anyhow::Result;
use usher_tests::{Application, Mesh, binary, eventually, run, yaml};

#[tokio::test]
async fn it_exits_with_the_commands_code_and_hands_it_its_environment() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let script = "echo port=$PORT host=$HOST proxy=$http_proxy; exit 7";
    let mut sidecar = mesh
        .sidecar("api")
        .port(18099)
        .command(&["sh", "-c", script])
        .spawn()?;
    let status = sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(7), "{printed}");
    assert!(
        printed.contains("port=18099 host=127.0.0.1 proxy=http://127.0.0.1:"),
        "{printed}"
    );
    Ok(())
}

#[tokio::test]
async fn an_application_that_can_be_reached_around_the_sidecar_is_refused() -> Result<()> {
    let exposed = std::net::TcpListener::bind("0.0.0.0:0")?;
    let port = exposed.local_addr()?.port();
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let mut sidecar = mesh.sidecar("api").port(port).spawn()?;
    let status = sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(78), "{printed}");
    assert!(
        printed.contains("127.0.0.1") && printed.contains("--danger-exposed-application"),
        "{printed}"
    );
    let services = mesh.ask(&["services"])?.to_string();
    assert!(!services.contains("\"healthy\":true"), "{services}");
    Ok(())
}

#[tokio::test]
async fn a_service_that_no_workload_backs_is_refused_with_a_reason() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let token = mesh.token("web")?;
    let application = Application::echo().await?;
    let mut sidecar = mesh
        .sidecar("api")
        .application(&application)
        .argument("--token-file")
        .argument(token.to_str().expect("path"))
        .spawn()?;
    let message = eventually("the refusal is explained", async || {
        let printed = sidecar.process.printed();
        (printed.contains("sa/web") || printed.contains("web")).then_some(printed)
    })
    .await;
    assert!(!message.is_empty());
    sidecar.process.stop().await;
    let services = mesh.ask(&["services"])?.to_string();
    assert!(!services.contains("\"healthy\":true"), "{services}");
    Ok(())
}

#[tokio::test]
async fn help_has_examples_for_every_verb() -> Result<()> {
    for verb in [
        &["serve"][..],
        &["run"],
        &["validate"],
        &["status"],
        &["services"],
        &["token", "create"],
    ] {
        let mut arguments = verb.to_vec();
        arguments.push("--help");
        let output = run(&binary("usher"), &arguments);
        assert_eq!(output.code, Some(0), "{verb:?}");
        assert!(
            output.stdout.contains("usher "),
            "{verb:?}: {}",
            output.stdout
        );
        assert!(
            output.stdout.to_lowercase().contains("example"),
            "{verb:?}: {}",
            output.stdout
        );
    }
    Ok(())
}
