//! Applications that know nothing of the mesh go through it: the kernel hands their connections to the sidecar.

mod drains;
mod one_command;
mod outage;
mod pair;
mod ports;
mod routes;
mod rules;
mod streams;
mod tunnels;

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use usher_tests::{Mesh, Network, binary, eventually, run, yaml};

use pair::{Pair, Sidecar, api, get, greeter, greeting, intercept, registered, virtual_address};

const WEB: &str = "URI=spiffe://test.mesh/ns/default/sa/web";

#[tokio::test]
async fn what_an_application_dials_travels_through_the_mesh() -> Result<()> {
    let Some(pair) = Pair::new(&[]).await? else {
        return Ok(());
    };
    let address = virtual_address(&pair.mesh, "api")?;
    let answer = get(&pair.web, &format!("{address}:8080"), "api", "/").await?;
    assert!(answer.contains(WEB), "by its virtual address: {answer}");
    let answer = get(
        &pair.web,
        &format!("{address}:8080"),
        "elsewhere.example",
        "/",
    )
    .await?;
    assert!(answer.contains(WEB), "Host leads nowhere else: {answer}");
    let answer = get(&pair.web, &format!("{}:8080", pair.api.ipv4), "api", "/").await?;
    assert!(answer.contains(WEB), "by an instance's address: {answer}");
    let answer = get(&pair.web, &format!("{address}:9999"), "api", "/").await?;
    assert!(answer.contains("its only port is 8080"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn nobody_reaches_an_application_around_its_sidecar() -> Result<()> {
    let Some(pair) = Pair::new(&[]).await? else {
        return Ok(());
    };
    refuses_and_permits(&pair).await
}

#[tokio::test]
async fn tproxy_hands_over_what_comes_from_outside() -> Result<()> {
    let Some(pair) = Pair::new(&["--inbound", "tproxy"]).await? else {
        return Ok(());
    };
    refuses_and_permits(&pair).await
}

/// Plaintext from outside, over both families: refused by a strict workload, let in by a permissive one.
async fn refuses_and_permits(pair: &Pair) -> Result<()> {
    let outsider = pair.network.host()?;
    let both = [
        format!("{}:8080", pair.api.ipv4),
        format!("[{}]:8080", pair.api.ipv6),
    ];
    for address in &both {
        let answer = get(&outsider, address, "api", "/").await?;
        assert!(
            answer.contains("403") && answer.contains("mutual TLS"),
            "{answer}"
        );
    }
    let permissive = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: test.mesh\n  mtls: { mode: Permissive }\n";
    pair.mesh.write("mesh.yaml", permissive)?;
    for address in &both {
        eventually("plaintext is let in", async || {
            let answer = get(&outsider, address, "api", "/").await.ok()?;
            answer.contains("called by nobody").then_some(())
        })
        .await;
    }
    // What its service does not declare is not reached, whatever listens there.
    greeter(&pair.api, "0.0.0.0:9000")?;
    assert_ne!(
        greeting(&outsider, &format!("{}:9000", pair.api.ipv4))
            .await
            .unwrap_or_default(),
        "hello\n"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_of_the_mesh_passes_unless_the_registry_is_all_there_is() -> Result<()> {
    let Some(pair) = Pair::new(&[]).await? else {
        return Ok(());
    };
    let outside = pair.network.host()?;
    greeter(&outside, "0.0.0.0:7000")?;
    greeter(&outside, "[::]:7001")?;
    let plain = api(&outside, "0.0.0.0:7002")?;
    let ipv4 = format!("{}:7000", outside.ipv4);
    let ipv6 = format!("[{}]:7001", outside.ipv6);
    assert_eq!(
        greeting(&pair.web, &ipv4).await?,
        "hello\n",
        "the server speaks first"
    );
    assert_eq!(
        greeting(&pair.web, &ipv6).await?,
        "hello\n",
        "over IPv6 too"
    );
    let http = format!("{}:7002", outside.ipv4);
    let answer = get(&pair.web, &http, "api", "/").await?;
    assert!(
        answer.contains("called by nobody"),
        "Host leads nowhere else: {answer}"
    );
    assert_eq!(plain.received().len(), 1);
    let closed = greeting(&pair.web, &format!("{}:1", outside.ipv4)).await;
    assert!(
        closed.is_err(),
        "nobody listens there, and that shows: {closed:?}"
    );

    let only = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: test.mesh\n  outboundTraffic: RegistryOnly\n";
    pair.mesh.write("mesh.yaml", only)?;
    eventually("HTTP to outside is refused with the reason", async || {
        let answer = get(&pair.web, &http, "api", "/").await.ok()?;
        (answer.contains("404") && answer.contains("outboundTraffic")).then_some(())
    })
    .await;
    assert!(
        greeting(&pair.web, &ipv4).await.is_err(),
        "bytes are refused"
    );
    let log = pair.web_sidecar.access_log();
    assert!(log.contains("destination-is-no-service"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once_on_a_declared_port() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let mesh = Mesh::start_on("10.77.0.1:0", &[yaml::service("postgres", 5432, "tcp")]).await?;
    let (web, postgres) = (network.host()?, network.host()?);
    for host in [&web, &postgres] {
        assert_eq!(intercept(host, &["install"]).code, Some(0));
    }
    greeter(&postgres, "127.0.0.1:5432")?;
    let more = ["--application-port", "5432"];
    let _postgres = Sidecar::start(&mesh, &postgres, "postgres", &more).await?;
    let sidecar = Sidecar::start(&mesh, &web, "web", &[]).await?;
    registered(&mesh, &format!("{}:15006", postgres.ipv4)).await;
    for address in [virtual_address(&mesh, "postgres")?, postgres.ipv4.clone()] {
        assert_eq!(greeting(&web, &format!("{address}:5432")).await?, "hello\n");
    }
    eventually("both are in the log, as calls to postgres", async || {
        let log = sidecar.access_log();
        let calls = log.lines().filter(|line| line.contains("default/postgres"));
        (calls.count() == 2).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn rules_are_installed_once_and_removed_whole() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let host = network.host()?;
    let settings = [
        "--exclude-outbound-cidrs",
        "10.0.0.0/8,fd00::/8",
        "--include-inbound-ports",
        "80,8000-8999",
    ];
    let with = |verb: &'static str| [&[verb][..], &settings[..]].concat();
    let missing = intercept(&host, &["check"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    for _ in 0..2 {
        assert_eq!(intercept(&host, &with("install")).code, Some(0));
    }
    let installed = intercept(&host, &with("check"));
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let other = intercept(&host, &["check"]);
    assert_eq!(other.code, Some(1));
    assert!(
        other
            .stderr
            .contains("not asked for: ip daddr 10.0.0.0/8 return"),
        "{other:?}"
    );
    let nft = |arguments: &[&str]| host.run(&PathBuf::from("nft"), arguments).stdout;
    let rules = nft(&["list", "ruleset"]);
    assert_eq!(rules.matches("chain outbound").count(), 1, "{rules}");
    for _ in 0..2 {
        assert_eq!(intercept(&host, &["remove"]).code, Some(0));
    }
    assert_eq!(nft(&["list", "ruleset"]), "");
    // What it would do is what nft takes.
    let planned = intercept(&host, &["install", "--inbound", "tproxy", "--dry-run"]).stdout;
    let file = tempfile(&planned)?;
    let checked = host.run(
        &PathBuf::from("nft"),
        &["--check", "-f", file.path().to_str().unwrap()],
    );
    assert_eq!(checked.code, Some(0), "{checked:?}\n{planned}");
    let mut unprivileged: Command = host.command(65_534, &binary("usher-proxy"));
    let refused = unprivileged.args(["intercept", "install"]).output()?;
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("CAP_NET_ADMIN"));
    Ok(())
}

fn tempfile(text: &str) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

#[tokio::test]
async fn a_sidecar_that_would_intercept_itself_says_so_and_ends() -> Result<()> {
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    let mesh = Mesh::start_on("10.77.0.1:0", &[]).await?;
    let host = network.host()?;
    assert_eq!(intercept(&host, &["install"]).code, Some(0));
    let mut sidecar = Sidecar::spawn(&mesh, &host, "web", 0, &[])?;
    let status = sidecar
        .process
        .end(std::time::Duration::from_secs(20))
        .await;
    assert_eq!(status.code(), Some(78));
    let said = sidecar.process.printed();
    assert!(said.contains("--exclude-uid 0"), "{said}");
    Ok(())
}

#[test]
fn without_nft_it_says_what_to_install() {
    let output = Command::new(binary("usher-proxy"))
        .args(["intercept", "install", "--dry-run"])
        .env("PATH", "")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "a dry run needs nobody: {output:?}"
    );
    let wrong = run(
        &binary("usher-proxy"),
        ["intercept", "install", "--inbound-port", "x"],
    );
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
}
