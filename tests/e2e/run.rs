//! `usher run` behaves like the command it wraps.

use std::time::Duration;

use anyhow::Result;
use usher_tests::{Application, Mesh, binary, eventually, reply, run, yaml};

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
    let status = sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(69), "{printed}");
    for part in [
        "sa/web may not be service default/api",
        "usher token create",
    ] {
        assert!(printed.contains(part), "{part} is not in: {printed}");
    }
    let services = mesh.ask(&["services"])?.to_string();
    assert!(!services.contains("\"healthy\":true"), "{services}");
    Ok(())
}

#[tokio::test]
async fn a_token_of_another_account_starts_no_caller_either() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http"), yaml::workload("batch")]).await?;
    let token = mesh.token("web")?;
    let mut sidecar = mesh
        .sidecar("batch")
        .argument("--token-file")
        .argument(token.to_str().expect("path"))
        .command(&["echo", "command-was-started"])
        .spawn()?;
    let status = sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(69), "{printed}");
    assert!(
        printed.contains("sa/web may not be service default/batch"),
        "{printed}"
    );
    assert!(!printed.contains("command-was-started"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_can_never_work_ends_it_with_the_reason() -> Result<()> {
    let mesh = Mesh::start(&[]).await?;
    let good = std::fs::read_to_string(mesh.token("web")?)?;
    let (rest, pin) = good.trim().rsplit_once('.').expect("a token");
    let (id, secret) = rest.rsplit_once('.').expect("a token");
    for (token, words) in [
        ("garbage".to_owned(), "usher1.<id>.<secret>"),
        (format!("{rest}.{}", "ab".repeat(32)), "another mesh"),
        (
            format!("{id}.{}.{pin}", "x".repeat(secret.len())),
            "not known here",
        ),
    ] {
        let file = mesh.path("bad.token");
        // A whole line: one that is still being written would be waited for.
        std::fs::write(&file, format!("{token}\n"))?;
        let mut sidecar = mesh
            .sidecar("web")
            .argument("--token-file")
            .argument(file.to_str().expect("path"))
            .command(&["echo", "command-was-started"])
            .spawn()?;
        let status = sidecar.process.end(Duration::from_secs(20)).await;
        let printed = sidecar.process.printed();
        assert_eq!(status.code(), Some(69), "{printed}");
        assert!(printed.contains(words), "{words} is not in: {printed}");
        assert!(!printed.contains("command-was-started"), "{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn an_application_that_is_not_healthy_is_explained_until_it_is() -> Result<()> {
    // Ours from the start, so that no other test gets it, but nobody listens yet.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let port = socket.local_addr()?.port();
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let mut sidecar = mesh.sidecar("api").port(port).spawn()?;
    let found = format!("TCP connection to 127.0.0.1:{port} → connection refused");
    eventually("the user hears which check got what", async || {
        let printed = sidecar.process.printed();
        (printed.contains("is not healthy, so nobody") && printed.contains(&found)).then_some(())
    })
    .await;
    assert!(
        sidecar
            .process
            .printed()
            .contains("Workload.spec.healthCheck")
    );
    let services = mesh.ask(&["services"])?.to_string();
    assert!(
        services.contains(&found),
        "operators see it too: {services}"
    );
    let _application = socket.listen(16)?;
    eventually("the user hears that it is mended", async || {
        sidecar
            .process
            .printed()
            .contains("is healthy now")
            .then_some(())
    })
    .await;
    sidecar.process.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_service_that_nobody_declared_is_refused_with_the_names_there_are() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let mut sidecar = mesh.sidecar("apy").spawn()?;
    let status = sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    assert_eq!(status.code(), Some(69), "{printed}");
    assert!(printed.contains("known in default: api"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_forward_that_leads_nowhere_is_named_at_start() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "tcp")]).await?;
    let mut sidecar = mesh
        .sidecar("web")
        .argument("--tcp")
        .argument("127.0.0.1:0=nobody:1")
        .argument("--tcp")
        .argument("127.0.0.1:0=api:81")
        .spawn()?;
    eventually("both are named", async || {
        let printed = sidecar.process.printed();
        let unknown = printed.contains("there is no service default/nobody");
        (unknown && printed.contains("default/api has no port 81 (known: 8080)")).then_some(())
    })
    .await;
    sidecar.process.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_command_of_a_moment_hears_of_its_forwards_first() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "tcp")]).await?;
    let mut sidecar = mesh
        .sidecar("web")
        .argument("--quiet")
        .argument("--tcp")
        .argument("127.0.0.1:0=ap:8080")
        .command(&["echo", "command-was-started"])
        .spawn()?;
    sidecar.process.end(Duration::from_secs(20)).await;
    let printed = sidecar.process.printed();
    let words = "usher: --tcp 127.0.0.1:0: there is no service default/ap";
    let (told, started) = (printed.find(words), printed.find("command-was-started"));
    assert!(told.is_some() && told < started, "{printed}");
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

#[tokio::test]
async fn a_port_that_somebody_had_before_the_command_is_said_to_be_taken() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let foreign = Application::echo().await?;
    let api = mesh.sidecar("api").application(&foreign).start().await?;
    let taken = format!(
        "port {} is in use, and the command has not been started",
        foreign.port()
    );
    let healthy = format!("who has port {} is healthy", foreign.port());
    eventually(
        "it is said, and nobody else is called healthy",
        async || {
            let printed = api.process.printed();
            assert!(!printed.contains("the application is healthy"), "{printed}");
            (printed.contains(&taken) && printed.contains(&healthy)).then_some(())
        },
    )
    .await;
    Ok(())
}

#[tokio::test]
async fn a_control_plane_says_which_address_it_cannot_have() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().to_str().expect("path");
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let data = folder.path().join("data");
    let data = data.to_str().expect("path");
    let serve = |listen: &str| {
        let addresses = ["--listen", listen, "--http", "127.0.0.1:0"];
        let all = [
            &["serve", "--config", config, "--data", data],
            &addresses[..],
        ]
        .concat();
        run(&binary("usher"), all)
    };
    let output = serve(&taken);
    assert_eq!(output.code, Some(71), "{output:?}");
    assert!(output.stderr.contains(&taken), "{output:?}");
    let output = serve("15012");
    assert_eq!(output.code, Some(64), "{output:?}");
    assert!(
        output.stderr.contains("such as 127.0.0.1:15012"),
        "{output:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_port_that_nobody_can_call_is_said_to_be_one() -> Result<()> {
    let mesh = Mesh::start(&[]).await?;
    let application = Application::echo().await?;
    let web = mesh.sidecar("web").application(&application).spawn()?;
    eventually("its user hears of it", async || {
        let printed = web.process.printed();
        printed
            .contains(
                "there is no Service default/web, so nobody can call the application behind --port",
            )
            .then_some(())
    })
    .await;
    let services = mesh.ask(&["services"])?;
    assert_eq!(services[0]["onlyCalls"], true, "{services}");
    mesh.write("web-service.yaml", &yaml::service("web", 8080, "http"))?;
    eventually("once there is one, callers are sent to it", async || {
        let printed = web.process.printed();
        printed.contains(" is healthy: callers").then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_control_plane_is_said_to_be_none() -> Result<()> {
    let foreign = Application::answering(|_, _| reply(404, "<html></html>")).await?;
    let server = format!("http://127.0.0.1:{}", foreign.port());
    let output = run(&binary("usher"), ["status", "--server", &server]);
    assert_eq!(output.code, Some(69), "{output:?}");
    let said = format!("{server} is not an usher control plane: it answers /v1/status with 404");
    assert!(output.stderr.contains(&said), "{output:?}");
    assert!(!output.stderr.contains("<html>"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_path_or_flag_that_was_mistyped_is_answered_with_the_right_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("mesh"))?;
    let typo = folder.path().join("mehs");
    let typo = typo.to_str().expect("path");
    let right = folder.path().join("mesh");
    let meant = format!("did you mean {}?", right.display());
    for (arguments, code, meant) in [
        (&["serve", "--config", typo][..], 64, &*meant),
        (&["validate", typo], 70, &meant),
        (&["validate", "--stict", typo], 64, "--strict"),
        (
            &["token", "create", "--service-acount", "web"],
            64,
            "--service-account",
        ),
    ] {
        let output = run(&binary("usher"), arguments);
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(output.stderr.contains(meant), "{arguments:?}: {output:?}");
    }
    Ok(())
}
