//! Three control planes on one etcd: any serves any proxy. One is killed, one is cut off, etcd goes and comes back, and
//! no request fails and no registration is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use usher_tests::{
    Application, Client, Etcd, Mesh, Sidecar, Way, binary, eventually, eventually_for, run, yaml,
};

use crate::authority;

mod hung;
mod rollback;

// Several threads in each test: `usher apply` is waited for on one of them, while calls and the way to etcd go on.

pub(super) const MESH: &str = "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec:\n  trustDomain: test.mesh\n";

/// A registration lives this long without a renewal.
const LEASE: Duration = Duration::from_secs(15);

fn documents(more: &[String]) -> Vec<String> {
    let mut all = vec![
        MESH.to_owned(),
        yaml::workload("web"),
        yaml::service("api", 8080, "http"),
    ];
    all.extend_from_slice(more);
    all
}

/// Three control planes, the last one with a way to etcd of its own.
struct Replicas {
    planes: Vec<Mesh>,
    way: Way,
    etcd: Etcd,
}

impl Replicas {
    async fn start() -> Result<Option<Self>> {
        let Some(etcd) = Etcd::start().await? else {
            return Ok(None);
        };
        let way = Way::to(etcd.address()).await?;
        let first = Mesh::start_on_store(&store(etcd.address()), |_| Ok(())).await?;
        let applied = first.apply(&documents(&[]))?;
        anyhow::ensure!(applied.code == Some(0), "{applied:?}");
        let mut planes = vec![first];
        for address in [etcd.address(), way.address()] {
            // Without a root of its own: the first one signs an intermediate for it.
            let plane = Mesh::start_on_store(&store(address), |_| Ok(())).await?;
            planes.push(plane);
        }
        Ok(Some(Self { planes, way, etcd }))
    }

    /// For `--control-plane`.
    fn addresses(&self) -> String {
        let addresses: Vec<&str> = self.planes.iter().map(Mesh::grpc).collect();
        addresses.join(",")
    }

    /// A sidecar that knows all of them; its token is made by the second one, which nobody kills.
    async fn sidecar(&self, service: &str, application: Option<&Application>) -> Result<Sidecar> {
        let plane = &self.planes[1];
        let token = plane.token(service)?;
        let mut sidecar = plane.sidecar(service);
        if let Some(application) = application {
            sidecar = sidecar.application(application);
        }
        let token = token.to_str().context("path")?.to_owned();
        sidecar
            .argument("--control-plane")
            .argument(self.addresses())
            .argument("--token-file")
            .argument(token)
            .start()
            .await
    }
}

fn store(etcd: &str) -> Vec<String> {
    let words = [
        "--store",
        &format!("etcd://{etcd}"),
        "--trust-domain",
        "test.mesh",
    ];
    words.map(str::to_owned).to_vec()
}

/// Calls without a pause, until it is told to stop.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    task: JoinHandle<Result<()>>,
}

impl Traffic {
    /// From its second call on: who dials a service for the first time while its control plane does not answer is told so
    /// within a second, and that is no loss.
    pub(crate) async fn through(sidecar: &Sidecar) -> Result<Self> {
        assert_eq!(sidecar.get("http://api/").await?.status, 200);
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (client, stopped, counted) = (sidecar.client(), stop.clone(), calls.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let answer = client.get("http://api/").await?;
                let flag = answer.header("x-usher-reason");
                anyhow::ensure!(answer.status == 200, "{} {flag}", answer.status);
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        });
        Ok(Self { stop, calls, task })
    }

    /// All were answered, and there were some.
    pub(crate) async fn all_went_well(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await??;
        anyhow::ensure!(self.calls.load(Ordering::SeqCst) > 100, "hardly any calls");
        Ok(())
    }
}

/// The healthy instances of `api` that a control plane knows, by name.
fn instances(plane: &Mesh) -> Result<Vec<String>> {
    let services = plane.ask(&["status"])?["services"].clone();
    let api = services.as_array().into_iter().flatten();
    let endpoints = api
        .filter(|service| service["name"] == "api")
        .flat_map(|service| service["endpoints"].as_array().cloned().unwrap_or_default())
        .filter(|endpoint| endpoint["healthy"] == true);
    Ok(endpoints
        .map(|endpoint| endpoint["instance"].to_string())
        .collect())
}

fn is_reachable(plane: &Mesh) -> Result<bool> {
    Ok(plane.ask(&["status"])?["store"]["reachable"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_dies_and_etcd_goes_and_comes_back_and_nobody_notices() -> Result<()> {
    let Some(mut replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let (one, other) = (Application::echo().await?, Application::echo().await?);
    let api = replicas.sidecar("api", Some(&one)).await?;
    let second = replicas.sidecar("api", Some(&other)).await?;
    let web = replicas.sidecar("web", None).await?;
    let traffic = Traffic::through(&web).await?;
    for plane in &replicas.planes {
        eventually("every control plane knows both", async || {
            (instances(plane).ok()?.len() == 2).then_some(())
        })
        .await;
    }

    replicas.planes[0].kill_server();
    let late = [yaml::service("late", 8080, "http")];
    let applied = replicas.planes[1].apply(&documents(&late))?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    eventually("the third one follows the second", async || {
        let status = replicas.planes[2].ask(&["status"]).ok()?;
        (status["revision"]["number"] == 2).then_some(())
    })
    .await;
    let application = Application::echo().await?;
    let _late = replicas.sidecar("late", Some(&application)).await?;
    eventually("what came after the death is reached", async || {
        (web.get("http://late/").await.ok()?.status == 200).then_some(())
    })
    .await;

    etcd_goes_and_comes_back(&mut replicas).await?;
    // Longer than a lease lives: whoever was not renewed is gone by then.
    let renewed = Instant::now() + LEASE + Duration::from_secs(3);
    eventually_for(2 * LEASE, "leases are renewed", async || {
        for plane in &replicas.planes[1..] {
            assert_eq!(instances(plane).expect("answers").len(), 2);
        }
        (Instant::now() > renewed).then_some(())
    })
    .await;
    traffic.all_went_well().await?;
    for sidecar in [&api, &second] {
        let said = sidecar.process.printed();
        assert!(!said.contains("lease is gone"), "{said}");
    }
    Ok(())
}

async fn etcd_goes_and_comes_back(replicas: &mut Replicas) -> Result<()> {
    replicas.etcd.kill().await;
    for plane in &replicas.planes[1..] {
        eventually("the loss is said", async || {
            (!is_reachable(plane).ok()?).then_some(())
        })
        .await;
        assert_eq!(instances(plane)?.len(), 2, "what was known is served");
    }
    let plane = &replicas.planes[1];
    let server = format!("http://{}", plane.http());
    let shown = run(&binary("usher"), ["status", "--server", &server]).stdout;
    assert!(shown.contains("unreachable since"), "{shown}");
    assert!(shown.contains("serving what was known"), "{shown}");
    let metrics = Client::direct(plane.http()).get("/metrics").await?.text();
    assert!(metrics.contains("usher_store_reachable 0"), "{metrics}");
    let refused = plane.apply(&documents(&[]))?;
    assert_eq!(refused.code, Some(69), "{refused:?}");
    assert!(refused.stderr.contains("cannot be reached"), "{refused:?}");

    replicas.etcd.start_again().await;
    for plane in &replicas.planes[1..] {
        eventually("it is there again", async || {
            is_reachable(plane).ok()?.then_some(())
        })
        .await;
    }
    let applied = replicas.planes[2].apply(&documents(&[]))?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_from_etcd_loses_nobody_and_its_proxies_learn_what_is_new() -> Result<()>
{
    let Some(replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let application = Application::echo().await?;
    let api = replicas.sidecar("api", Some(&application)).await?;
    let cut = &replicas.planes[2];
    let web = caller_at(&replicas, cut).await?;
    let traffic = Traffic::through(&web).await?;
    eventually("it knows the instance", async || {
        (instances(cut).ok()?.len() == 1).then_some(())
    })
    .await;
    let over = Instant::now() + LEASE + Duration::from_secs(3);
    replicas.way.cut();
    eventually("it says so", async || {
        (!is_reachable(cut).ok()?).then_some(())
    })
    .await;
    let late = [yaml::service("late", 8080, "http")];
    assert_eq!(replicas.planes[0].apply(&documents(&late))?.code, Some(0));
    let new = Application::echo().await?;
    let _late = replicas.sidecar("late", Some(&new)).await?;
    eventually_for(2 * LEASE, "its proxies learn it elsewhere", async || {
        (web.get("http://late/").await.ok()?.status == 200).then_some(())
    })
    .await;
    eventually_for(2 * LEASE, "a lease's life passes", async || {
        for plane in &replicas.planes {
            assert_eq!(instances(plane).expect("answers").len(), 1);
        }
        (Instant::now() > over).then_some(())
    })
    .await;
    replicas.way.mend();
    eventually("it learns what it missed", async || {
        let status = cut.ask(&["status"]).ok()?;
        (status["revision"]["number"] == 2).then_some(())
    })
    .await;
    traffic.all_went_well().await?;
    assert!(!api.process.printed().contains("lease is gone"));
    Ok(())
}

/// Which control plane a sidecar comes to first is chance; after some of them one has come to this one, most likely.
async fn caller_at(replicas: &Replicas, plane: &Mesh) -> Result<Sidecar> {
    for _ in 0..8 {
        let web = replicas.sidecar("web", None).await?;
        let proxies = plane.ask(&["status"])?["proxies"].clone();
        let mut proxies = proxies.as_array().into_iter().flatten();
        let is_web = |proxy: &serde_json::Value| {
            let node = proxy["node"].as_str().unwrap_or_default();
            node.starts_with("default/web/")
        };
        if proxies.any(is_web) {
            return Ok(web);
        }
    }
    replicas.sidecar("web", None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_leaves_waits_for_the_proxies_of_all_control_planes() -> Result<()> {
    let Some(replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let (one, other) = (Application::echo().await?, Application::echo().await?);
    let _stays = replicas.sidecar("api", Some(&one)).await?;
    let mut leaves = replicas.sidecar("api", Some(&other)).await?;
    // One caller at each control plane.
    let mut callers = Vec::new();
    for plane in &replicas.planes {
        let web = plane.sidecar("web").start().await?;
        assert_eq!(web.get("http://api/").await?.status, 200);
        callers.push(web);
    }
    let mut traffic = Vec::new();
    for caller in &callers {
        traffic.push(Traffic::through(caller).await?);
    }
    eventually("there is traffic at each of them", async || {
        let busy = |one: &Traffic| one.calls.load(Ordering::SeqCst) > 100;
        traffic.iter().all(busy).then_some(())
    })
    .await;
    leaves.process.stop().await;
    let said = leaves.process.printed();
    assert!(
        said.contains("every caller has dropped this instance"),
        "{said}"
    );
    for one in traffic {
        one.all_went_well().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_has_the_roots_key_and_when_it_is_lost_another_root_is_made() -> Result<()> {
    let Some(mut replicas) = Replicas::start().await? else {
        return Ok(());
    };
    let application = Application::echo().await?;
    let _api = replicas.sidecar("api", Some(&application)).await?;
    let web = replicas.sidecar("web", None).await?;
    let traffic = Traffic::through(&web).await?;
    let keys = |plane: &Mesh| plane.data().join("ca/root.key").exists();
    let with_key = replicas.planes.iter().map(keys).collect::<Vec<_>>();
    assert_eq!(with_key, [true, false, false]);

    replicas.planes[0].kill_server();
    let rotated = authority::ca(
        &replicas.planes[1],
        &["rotate", "--force", "--timeout", "2m"],
    );
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert!(rotated.stderr.contains("back it up"), "{rotated:?}");
    assert!(
        rotated.stderr.contains("join tokens made up to now"),
        "{rotated:?}"
    );
    eventually("the other one signs under it", async || {
        let status = authority::status(&replicas.planes[2]).ok()?;
        let planes = status["controlPlanes"].as_array()?;
        let this = planes.iter().find(|plane| plane["this"] == true)?;
        let active = &authority::root(&status, "Active")["sha256"];
        (this["root"] == *active).then_some(())
    })
    .await;
    let arguments = store(replicas.etcd.address());
    let late = Mesh::start_on_store(&arguments, |_| Ok(())).await?;
    assert_eq!(late.ask(&["status"])?["revision"]["number"], 1);
    traffic.all_went_well().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_the_store_is_the_source_and_with_one_apply_is_refused() -> Result<()> {
    let embedded = ["--trust-domain", "test.mesh"].map(str::to_owned);
    let mut alone = Mesh::start_on_store(&embedded, |_| Ok(())).await?;
    let applied = alone.apply(&documents(&[]))?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.stdout.contains("revision 1"), "{applied:?}");
    let again = alone.apply(&documents(&[]))?;
    assert!(again.stdout.contains("nothing has changed"), "{again:?}");
    let mut other = documents(&[]);
    other[0] = MESH.replace("test.mesh", "other.mesh");
    let refused = alone.apply(&other)?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("spec.trustDomain"), "{refused:?}");
    let broken = documents(&["kind: Service\napiVersion: v1\nmetadata: { name: X }\n".to_owned()]);
    let refused = alone.apply(&broken)?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    alone.kill_server();
    alone.start_server().await?;
    assert_eq!(alone.ask(&["status"])?["revision"]["number"], 1);

    let directory = Mesh::start(&[]).await?;
    let refused = directory.apply(&documents(&[]))?;
    assert_eq!(refused.code, Some(70), "{refused:?}");
    assert!(refused.stderr.contains("from the directory"), "{refused:?}");
    Ok(())
}
