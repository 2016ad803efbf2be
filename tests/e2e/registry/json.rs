//! A program that has an identity, but no gRPC, registers itself.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use usher_tests::{Application, Mesh, Sidecar, run, skip, yaml};

/// `BEGIN`/`END` around what a sidecar keeps of its identity.
fn pem(kind: &str, base64: &str) -> String {
    format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n")
}

/// What curl needs to be who the sidecar is.
fn identity(mesh: &Mesh, name: &str, sidecar: &Sidecar) -> Result<Vec<String>> {
    let kept = std::fs::read(sidecar.state().join("identity.json"))?;
    let kept: Value = serde_json::from_slice(&kept)?;
    let text = |value: &Value| value.as_str().context("a text").map(str::to_owned);
    // With the intermediate that signed it: only the root is known.
    let chain = kept["chain"].as_array().context("several")?;
    let chain = chain.iter().map(|one| Ok(pem("CERTIFICATE", &text(one)?)));
    let chain = chain.collect::<Result<String>>()?;
    let key = pem("PRIVATE KEY", &text(&kept["key"])?);
    let mut arguments = Vec::new();
    for (flag, text) in [("--cert", chain), ("--key", key)] {
        let file = mesh.path(&format!("{name}{flag}.pem"));
        std::fs::write(&file, text)?;
        arguments.extend([flag.to_owned(), file.to_string_lossy().into_owned()]);
    }
    Ok(arguments)
}

/// Status and body. The test knows whom it asks; a program would verify the SPIFFE ID of the control plane.
fn curl(mesh: &Mesh, identity: &[String], arguments: &[&str], path: &str) -> (String, String) {
    let url = format!("https://{}{path}", mesh.grpc());
    let fixed = [
        "-sSk",
        "--http2",
        "-w",
        "\n%{http_code}",
        "-H",
        "content-type: application/json",
    ];
    let identity = identity.iter().map(String::as_str);
    let all = fixed
        .into_iter()
        .chain(identity)
        .chain(arguments.iter().copied());
    let output = run(Path::new("curl"), all.chain([url.as_str()]));
    let (body, status) = output.stdout.rsplit_once('\n').unwrap_or_default();
    assert!(!status.is_empty(), "{output:?}");
    (status.to_owned(), body.trim().to_owned())
}

#[tokio::test]
async fn a_program_without_grpc_registers_by_its_identity() -> Result<()> {
    if !Path::new("/usr/bin/curl").exists() {
        skip("curl is not installed");
        return Ok(());
    }
    let application = Application::echo().await?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let web = mesh.sidecar("web").start().await?;
    let (as_api, as_web) = (identity(&mesh, "api", &api)?, identity(&mesh, "web", &web)?);
    let instance = r#"{"namespace":"default","service":"api","instance":"own","address":"127.0.0.1:9","healthy":false}"#;
    let register = ["-d", instance];
    let (status, body) = curl(&mesh, &[], &register, "/v1/instances");
    assert_eq!(status, "401", "nobody: {body}");
    let (status, body) = curl(&mesh, &as_web, &register, "/v1/instances");
    assert_eq!(status, "403", "somebody else: {body}");
    let (status, body) = curl(&mesh, &as_api, &register, "/v1/instances");
    assert_eq!(status, "201", "{body}");
    let granted: Value = serde_json::from_str(&body)?;
    let lease = format!(
        "x-usher-lease: {}",
        granted["lease"].as_str().context("one")?
    );
    let place = "/v1/instances/default/api/own";
    let renewal = ["-X", "PUT", "-H", &lease, "-d", r#"{"healthy":true}"#];
    let (status, body) = curl(&mesh, &as_api, &renewal, place);
    assert_eq!(status, "200", "{body}");
    let healthy = mesh.ask(&["instances", "api", "--healthy"])?;
    let mut names = healthy
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["instance"]);
    assert!(names.any(|name| name == "own"), "{healthy}");
    let end = ["-X", "DELETE", "-H", &lease];
    let (status, body) = curl(&mesh, &as_api, &end, &format!("{place}?waitMs=5000"));
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("200", "{\"confirmed\":true}")
    );
    assert_eq!(
        mesh.ask(&["instances", "api"])?.as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}
