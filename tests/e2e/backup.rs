//! A control plane's machine is lost: what `usher backup` wrote brings the mesh back, and its sidecars go on.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use usher_tests::{Application, Etcd, Mesh, Output, binary, eventually, run, yaml};

use crate::{
    authority::{root, status},
    replicas::MESH,
};

fn usher(words: &[&str], mesh: &Mesh) -> Output {
    let data = mesh.data().display().to_string();
    let words = words.iter().copied().chain(["--data", &data]);
    run(&binary("usher"), words)
}

fn backup(mesh: &Mesh, file: &Path, more: &[&str]) -> Result<serde_json::Value> {
    let file = file.to_str().context("path")?;
    let words = [&["backup", file, "--json"], more].concat();
    let output = usher(&words, mesh);
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

fn documents(more: &[String]) -> Vec<String> {
    let mut all = vec![MESH.to_owned(), yaml::workload("web")];
    all.extend_from_slice(more);
    all
}

async fn embedded() -> Result<Mesh> {
    let arguments = ["--trust-domain", "test.mesh"].map(str::to_owned);
    Mesh::start_on_store(&arguments, |_| Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_goes_on_from_a_backup_with_its_keys() -> Result<()> {
    let mut mesh = embedded().await?;
    for port in [8080, 8081] {
        let applied = mesh.apply(&documents(&[yaml::service("api", port, "http")]))?;
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }
    let application = Application::echo().await?;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let web = mesh.sidecar("web").start().await?;
    assert_eq!(web.get("http://api/").await?.status, 200);
    let token = mesh.token("web")?;
    let file = mesh.path("backup");
    let seen = backup(&mesh, &file, &["--with-keys"])?;
    assert_eq!(seen["revision"], 2, "{seen}");
    assert_eq!(seen["trustDomain"], "test.mesh");
    assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
    let again = usher(&["backup", &file.display().to_string()], &mesh);
    assert_eq!(again.code, Some(71), "{again:?}");
    // What comes after the backup is lost with the machine.
    let applied = mesh.apply(&documents(&[yaml::service("api", 8082, "http")]))?;
    assert_eq!(applied.code, Some(0), "{applied:?}");

    let name = file.display().to_string();
    let refused = usher(&["restore", &name, "--force"], &mesh);
    assert_eq!(refused.code, Some(71), "{refused:?}");
    assert!(refused.stderr.contains("stop it first"), "{refused:?}");
    mesh.kill_server();
    let refused = usher(&["restore", &name], &mesh);
    assert!(refused.stderr.contains("not empty"), "{refused:?}");
    let restored = eventually("it has ended", async || {
        let restored = usher(&["restore", &name, "--force"], &mesh);
        (restored.code == Some(0)).then_some(restored)
    })
    .await;
    assert!(restored.stdout.contains("before-restore"), "{restored:?}");
    mesh.start_server().await?;
    assert_eq!(mesh.ask(&["status"])?["revision"]["number"], 2);
    let history = usher(&["history", "2"], &mesh);
    assert!(history.stdout.contains("port: 8081"), "{history:?}");
    eventually("the instance is registered again", async || {
        let all = mesh.ask(&["instances", "api", "--healthy"]).ok()?;
        (all.as_array()?.len() == 1).then_some(())
    })
    .await;
    // Both sidecars are back at the older revision, each in its own moment.
    eventually("it is called as the backup says", async || {
        let answer = web.get("http://api/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    // The root and the tokens are those of before.
    let token = token.display().to_string();
    let joined = mesh
        .sidecar("web")
        .argument("--control-plane")
        .argument(mesh.grpc());
    let joined = joined
        .argument("--token-file")
        .argument(token)
        .start()
        .await?;
    assert_eq!(joined.get("http://api/").await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keys_a_mesh_does_not_start_as_another_one() -> Result<()> {
    let mesh = embedded().await?;
    assert_eq!(mesh.apply(&documents(&[]))?.code, Some(0));
    let file = mesh.path("backup");
    backup(&mesh, &file, &[])?;
    let held = std::fs::read_to_string(&file)?;
    assert!(!held.contains("root.key"), "no key unless asked for");
    let name = file.display().to_string();
    let new = mesh.path("new").display().to_string();
    let mut touched = held.clone().into_bytes();
    touched[held.len() / 2] ^= 1;
    std::fs::write(mesh.path("touched"), touched)?;
    let touched = mesh.path("touched").display().to_string();
    let refused = run(&binary("usher"), ["restore", &touched, "--data", &new]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("was changed"), "{refused:?}");
    assert!(!mesh.path("new").exists());

    let restored = run(&binary("usher"), ["restore", &name, "--data", &new]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(
        restored.stdout.contains("put your copy of ca/"),
        "{restored:?}"
    );
    let serve = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let words = serve.into_iter().chain(["--dns", "off", "--data", &new]);
    let refused = run(&binary("usher"), words);
    assert_eq!(refused.code, Some(70), "{refused:?}");
    assert!(refused.stderr.contains("put ca/"), "{refused:?}");
    assert!(!mesh.path("new/ca").exists(), "no other root was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_before_the_root_that_signs_are_refused() -> Result<()> {
    let mesh = embedded().await?;
    let (old, new) = (mesh.path("old-ca"), mesh.path("new"));
    let copy = |from: &Path, to: &Path| -> Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    };
    copy(&mesh.data().join("ca"), &old)?;
    let rotated = usher(&["ca", "rotate", "--timeout", "2m"], &mesh);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let file = mesh.path("backup");
    backup(&mesh, &file, &[])?;
    let (name, data) = (file.display().to_string(), new.display().to_string());
    let restored = run(&binary("usher"), ["restore", &name, "--data", &data]);
    let signing = status(&mesh)?;
    let signing = root(&signing, "Active")["sha256"].as_str();
    let signing = signing.context("a root that signs")?[..12].to_owned();
    assert!(restored.stdout.contains(&signing), "{restored:?}");
    copy(&old, &new.join("ca"))?;
    let serve = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let words = serve.into_iter().chain(["--dns", "off", "--data", &data]);
    let refused = run(&binary("usher"), words);
    assert_eq!(refused.code, Some(70), "{refused:?}");
    for part in ["an older copy", &signing, "keys-missing"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_etcd_is_the_store_it_is_said_how_that_is_backed_up() -> Result<()> {
    let Some(etcd) = Etcd::start().await? else {
        return Ok(());
    };
    let store = format!("etcd://{}", etcd.address());
    let arguments = ["--store", &store, "--trust-domain", "test.mesh"].map(str::to_owned);
    let mesh = Mesh::start_on_store(&arguments, |_| Ok(())).await?;
    let file = mesh.path("backup");
    let refused = usher(&["backup", &file.display().to_string()], &mesh);
    assert_eq!(refused.code, Some(70), "{refused:?}");
    let said = format!("etcdctl --endpoints={} snapshot save", etcd.address());
    assert!(refused.stderr.contains(&said), "{refused:?}");
    assert!(!file.exists());
    Ok(())
}
