//! A control plane from its first start to its stop.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nix::sys::signal::Signal;

use super::bench::{ControlPlane, MESH, Process, eventually, output, stderr, stdout, usher, write};

#[test]
fn it_says_where_it_is_and_how_to_go_on_and_stops_when_told() {
    let plane = ControlPlane::start(MESH);
    for part in [
        "bank.test",
        "sidecars",
        "/v1/status",
        "revision 1",
        "usher run",
        "token create",
    ] {
        assert!(
            plane.said.contains(part),
            "{part} is not in: {}",
            plane.said
        );
    }
    let data = plane.data();
    let ControlPlane {
        process,
        home: _home,
        ..
    } = plane;
    process.signal(Signal::SIGTERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!data.join("addresses.json").exists() && !data.join("operator.sock").exists());
}

#[test]
fn what_is_secret_only_its_owner_can_open() {
    let plane = ControlPlane::start(MESH);
    let mode = |path: &Path| path.metadata().expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&plane.data()), 0o700);
    assert_eq!(mode(&plane.data().join("ca/root.key")), 0o600);
    assert_eq!(mode(&plane.data().join("operator.sock")), 0o600);
    assert_eq!(mode(&plane.data().join("tokens.redb")), 0o600);
    assert_eq!(mode(&plane.data().join("configuration.redb")), 0o600);
}

#[test]
fn a_first_start_with_a_file_that_cannot_be_read_is_refused() {
    let home = tempfile::tempdir().expect("writable");
    write(&home.path().join("mesh/mesh.yaml"), MESH);
    write(
        &home.path().join("mesh/access.yaml"),
        "kind: AccessPolicy\nspec: [\n",
    );
    let mesh = home.path().join("mesh");
    let any = "127.0.0.1:0";
    let serve = ["serve", "--listen", any, "--http", any, "--dns", "off"];
    let refused = output(usher(home.path()).args(serve).arg("--config").arg(&mesh));
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    for part in ["access.yaml:2:", "not YAML", "move the file elsewhere"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!home.path().join("usher/addresses.json").exists());
}

#[test]
fn a_directory_that_is_not_there_yet_keeps_no_mesh_from_starting_again() {
    let ControlPlane { process, home, .. } = ControlPlane::start(MESH);
    process.signal(Signal::SIGTERM);
    process.end();
    let (mesh, away) = (home.path().join("mesh"), home.path().join("away"));
    fs::rename(&mesh, &away).expect("moved");
    let plane = ControlPlane::start_in(home);
    assert!(plane.said.contains("revision 1"), "{}", plane.said);
    let status = || stdout(&output(plane.usher().arg("status")));
    let said = status();
    assert!(said.contains("cannot be read"), "{said}");
    assert!(said.contains("0/1 ready"), "{said}");
    fs::rename(&away, &mesh).expect("moved");
    eventually("the directory is read", || {
        (!status().contains("rejected")).then_some(())
    });
}

#[test]
fn a_token_is_on_stdout_alone_and_in_no_log() {
    let plane = ControlPlane::start(MESH);
    let create = [
        "token",
        "create",
        "--namespace",
        "bank",
        "--service-account",
        "account",
    ];
    let made = output(plane.usher().args(create));
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let token = stdout(&made).trim().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    assert!(matches!(parts[..], ["usher1", _, _, _]), "{token}");
    let json = output(plane.usher().args(create).args(["--uses", "2", "--json"]));
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(
        document["token"]
            .as_str()
            .expect("a text")
            .starts_with("usher1.")
    );
    assert!(
        document["expiresAt"]
            .as_str()
            .expect("a text")
            .contains('T')
    );
    let reserved = [
        "token",
        "create",
        "--namespace",
        "usher-system",
        "--service-account",
        "usher",
    ];
    let refused = output(plane.usher().args(reserved));
    assert_eq!(refused.status.code(), Some(70), "{}", stderr(&refused));
    let secret = parts[2].to_owned();
    let ControlPlane {
        process,
        home: _home,
        ..
    } = plane;
    process.signal(Signal::SIGTERM);
    let (_, log) = process.end();
    assert!(
        log.contains("join token made") && log.contains(parts[1]),
        "{log}"
    );
    assert!(!log.contains(&secret), "the log shows the secret");
}

#[test]
fn status_and_services_read_the_living_mesh() {
    let plane = ControlPlane::start(MESH);
    let status = output(plane.usher().arg("status"));
    let said = stdout(&status);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    assert!(
        said.contains("bank.test") && said.contains("0/1 ready"),
        "{said}"
    );
    let services = stdout(&output(plane.usher().arg("services")));
    assert!(
        services.contains("NAMESPACE") && services.contains("50051"),
        "{services}"
    );
    let document = output(plane.usher().args(["status", "--json"]));
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).expect("JSON");
    assert_eq!(document["revision"]["number"], 1);
}

#[test]
fn it_starts_with_what_is_good_and_is_loud_about_the_rest() {
    let broken = MESH.replace("port: 50051", "port: 0");
    let plane = ControlPlane::start(&broken);
    assert!(plane.said.contains("refused"), "{}", plane.said);
    let said = stdout(&output(plane.usher().arg("status")));
    assert!(said.contains("rejected: Service bank/account"), "{said}");
    write(&plane.home.path().join("mesh/mesh.yaml"), MESH);
    eventually("the mended object in force", || {
        let said = stdout(&output(plane.usher().arg("status")));
        (!said.contains("rejected") && said.contains("0/1 ready")).then_some(())
    });
}

#[test]
fn a_broken_mesh_object_at_first_start_refuses() {
    let home = tempfile::tempdir().expect("writable");
    write(
        &home.path().join("mesh/mesh.yaml"),
        &MESH.replace("bank.test", "Not A Domain"),
    );
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--config",
    ];
    let refused = output(usher(home.path()).args(serve).arg(home.path().join("mesh")));
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("mesh.yaml"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_second_one_on_the_same_directory_is_refused() {
    let plane = ControlPlane::start(MESH);
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--config",
    ];
    let second = output(
        plane
            .usher()
            .args(serve)
            .arg(plane.home.path().join("mesh")),
    );
    assert_eq!(second.status.code(), Some(70), "{}", stderr(&second));
    assert!(
        plane.data().join("operator.sock").exists(),
        "the first one's socket stays"
    );
}

#[test]
fn after_being_killed_it_starts_again_as_it_was() {
    let plane = ControlPlane::start(MESH);
    let root = fs::read(plane.data().join("ca/root.crt")).expect("exists");
    plane.process.signal(Signal::SIGKILL);
    let ControlPlane { process, home, .. } = plane;
    process.end();
    fs::remove_file(home.path().join("usher/addresses.json")).expect("left behind");
    let plane = ControlPlane::start_in(home);
    assert!(plane.said.contains("revision 1"), "{}", plane.said);
    assert_eq!(
        fs::read(plane.data().join("ca/root.crt")).expect("exists"),
        root
    );
    let create = [
        "token",
        "create",
        "--namespace",
        "bank",
        "--service-account",
        "account",
    ];
    assert_eq!(output(plane.usher().args(create)).status.code(), Some(0));
}

#[test]
fn metrics_answer_and_other_host_names_do_not_get_them() {
    use std::io::{Read as _, Write as _};
    let plane = ControlPlane::start(MESH);
    let addresses = fs::read(plane.data().join("addresses.json")).expect("exists");
    let addresses: serde_json::Value = serde_json::from_slice(&addresses).expect("JSON");
    let http = addresses["http"].as_str().expect("an address");
    let ask = |host: &str, path: &str| {
        let mut stream = std::net::TcpStream::connect(http).expect("answers");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    let metrics = ask(http, "/metrics");
    for part in [
        "200 OK",
        "usher_configuration_revision 1",
        "usher_mesh_services 1",
    ] {
        assert!(metrics.contains(part), "{part} is not in: {metrics}");
    }
    assert!(ask("evil.example", "/metrics").starts_with("HTTP/1.1 421"));
    let lost = ask(http, "/");
    assert!(
        lost.starts_with("HTTP/1.1 404") && lost.contains("allowed: GET /v1/status"),
        "{lost}"
    );
}

#[test]
fn an_occupied_port_is_explained() {
    let home = tempfile::tempdir().expect("writable");
    write(&home.path().join("mesh/mesh.yaml"), MESH);
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
    let address = occupied.local_addr().expect("bound").to_string();
    let mut serve = usher(home.path());
    serve.args([
        "serve",
        "--http",
        "127.0.0.1:0",
        "--listen",
        &address,
        "--config",
    ]);
    let (code, said) = Process::start(serve.arg(home.path().join("mesh"))).end();
    assert_eq!(code, Some(71));
    assert!(
        said.contains(&address) && said.contains("usher status"),
        "{said}"
    );
}
