//! Which instance answers: the same one for the same key, one of the own zone, and none that is full.

use std::{collections::BTreeMap, collections::BTreeSet, io::ErrorKind, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use usher_tests::{Application, Mesh, Sidecar, eventually, reply, reply_after, yaml};

async fn named(name: &'static str) -> Result<Application> {
    Application::answering(move |_, _| reply(200, name)).await
}

/// Who answers a customer's request.
async fn answerer(web: &Sidecar, customer: usize) -> Result<String> {
    let mut headers = HeaderMap::new();
    headers.insert("x-customer", HeaderValue::from(customer));
    let answer = web
        .client()
        .send(Method::GET, "http://api/", headers, Bytes::new())
        .await?;
    anyhow::ensure!(answer.status == 200, "{}", answer.text());
    Ok(answer.text())
}

#[tokio::test]
async fn a_customer_stays_with_an_instance_whichever_sidecar_asks() -> Result<()> {
    let policy = yaml::traffic_policy(
        "api",
        "  loadBalancer: { algorithm: RingHash, hash: [{ header: x-customer }] }\n",
    );
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http"), policy]).await?;
    let (one, two, three) = (
        named("one").await?,
        named("two").await?,
        named("three").await?,
    );
    let _one = mesh.sidecar("api").application(&one).start().await?;
    let _two = mesh.sidecar("api").application(&two).start().await?;
    let _three = mesh.sidecar("api").application(&three).start().await?;
    let (here, there) = (
        mesh.sidecar("web").start().await?,
        mesh.sidecar("web").start().await?,
    );
    eventually("both sidecars know all three", async || {
        for web in [&here, &there] {
            let mut seen = BTreeSet::new();
            for customer in 0..30 {
                seen.insert(answerer(web, customer).await.ok()?);
            }
            (seen.len() == 3).then_some(())?;
        }
        Some(())
    })
    .await;
    let mut homes = BTreeMap::new();
    for _ in 0..3 {
        for customer in 0..30 {
            for web in [&here, &there] {
                let name = answerer(web, customer).await?;
                assert_eq!(*homes.entry(customer).or_insert_with(|| name.clone()), name);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_own_zone_answers_while_it_can_and_the_next_one_when_it_cannot() -> Result<()> {
    let policy = yaml::traffic_policy("api", "  loadBalancer: { zones: { failover: [near] } }\n");
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http"), policy]).await?;
    let (own, near, far) = (
        named("own").await?,
        named("near").await?,
        named("far").await?,
    );
    let within = |service, zone: &str| mesh.sidecar(service).argument("--zone").argument(zone);
    let sidecar = |application, zone| within("api", zone).application(application);
    let _far = sidecar(&far, "far").start().await?;
    let _near = sidecar(&near, "near").start().await?;
    let mine = sidecar(&own, "here").start().await?;
    let web = within("web", "here").start().await?;
    eventually("the own zone answers", async || {
        (web.get("http://api/").await.ok()?.text() == "own").then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.text(), "own");
    }
    drop(mine);
    eventually("the next zone answers", async || {
        (web.get("http://api/").await.ok()?.text() == "near").then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(web.get("http://api/").await?.text(), "near");
    }
    Ok(())
}

#[tokio::test]
async fn a_workload_says_where_its_sidecars_run() -> Result<()> {
    let zoned = |name: &str, zone: &str| {
        yaml::workload(name).replace("spec:\n", &format!("spec:\n  zone: {zone}\n"))
    };
    let service = "apiVersion: v1
kind: Service
metadata: { name: api }
spec:
  selector: { role: api }
  ports: [{ name: main, port: 8080, appProtocol: http }]
";
    let behind = |name: &str| zoned(name, name).replace("labels: { ", "labels: { role: api, ");
    let policy = yaml::traffic_policy("api", "  loadBalancer: { zones: {} }\n");
    let documents = [
        service.to_owned(),
        behind("here"),
        behind("there"),
        zoned("caller", "here"),
        policy,
    ];
    let mesh = Mesh::start(&documents).await?;
    let (here, there) = (named("here").await?, named("there").await?);
    let sidecar = |application, account| {
        let api = mesh.sidecar("api").application(application);
        api.argument("--service-account").argument(account)
    };
    let _here = sidecar(&here, "here").start().await?;
    let _there = sidecar(&there, "there").start().await?;
    let caller = mesh.sidecar("caller").start().await?;
    for _ in 0..20 {
        assert_eq!(caller.get("http://api/").await?.text(), "here");
    }
    Ok(())
}

#[tokio::test]
async fn a_full_instance_is_passed_over_and_only_when_all_are_full_is_refused() -> Result<()> {
    let slow = || Application::answering(|_, _| reply_after(Duration::from_secs(2), 200, "slow"));
    let policy = yaml::traffic_policy(
        "api",
        "  retry: { attempts: 0 }\n  limits: { perEndpoint: { maxConcurrentRequests: 1 } }\n",
    );
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http"), policy]).await?;
    let (one, two) = (slow().await?, slow().await?);
    let _one = mesh.sidecar("api").application(&one).start().await?;
    let _two = mesh.sidecar("api").application(&two).start().await?;
    let web = mesh.sidecar("web").start().await?;
    let all = futures_util::future::join_all((0..3).map(|_| web.get("http://api/"))).await;
    let mut statuses = Vec::new();
    for answer in all {
        statuses.push(answer?.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503]);
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
    Ok(())
}

/// Greets with its name and keeps the connection.
async fn greeter(name: u8) -> Result<(u16, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(&[name]).await;
                let _ = stream.read(&mut [0]).await;
            });
        }
    });
    Ok((port, task))
}

#[tokio::test]
async fn connections_to_one_instance_are_bounded_and_the_next_goes_to_another() -> Result<()> {
    let policy = yaml::traffic_policy("db", "  limits: { perEndpoint: { maxConnections: 1 } }\n");
    let mesh = Mesh::start(&[yaml::service("db", 5432, "tcp"), policy]).await?;
    let ((one, _one_task), (two, _two_task)) = (greeter(1).await?, greeter(2).await?);
    let _one = mesh.sidecar("db").port(one).start().await?;
    let _two = mesh.sidecar("db").port(two).start().await?;
    let web = mesh
        .sidecar("web")
        .argument("--tcp")
        .argument("127.0.0.1:0=db.default:5432")
        .start()
        .await?;
    let addresses = std::fs::read_to_string(web.state().join("addresses.json"))?;
    let addresses: serde_json::Value = serde_json::from_str(&addresses)?;
    let local = addresses["tcp"][0]["address"]
        .as_str()
        .or_else(|| addresses["tcp"][0].as_str())
        .unwrap_or_else(|| panic!("{addresses}"))
        .to_owned();
    let connect = async || {
        // A connection that is refused is reset, and that may be seen before `connect` has returned.
        let mut stream = match TcpStream::connect(&local).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut name = [0];
        let read = stream.read(&mut name).await.unwrap_or(0);
        anyhow::Ok((read == 1).then_some((stream, name[0])))
    };
    let (first, second) = (
        connect().await?.context("the first one")?,
        connect().await?.context("the second one")?,
    );
    assert_eq!(BTreeSet::from([first.1, second.1]), [1, 2].into());
    assert!(connect().await?.is_none(), "both are full");
    drop(first);
    eventually("there is room again", async || connect().await.ok()?).await;
    Ok(())
}
