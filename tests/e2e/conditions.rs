//! What became of each object is told: whether it holds, whether all that it names is there, and who runs it.

use anyhow::Result;
use serde_json::Value;
use usher_tests::{Application, Client, Mesh, binary, eventually, reply, run, yaml};

fn condition(object: &Value, of: &str) -> Option<(String, String, String)> {
    let conditions = object["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == of)?;
    let text = |field: &str| found[field].as_str().map(str::to_owned);
    Some((text("status")?, text("reason")?, text("message")?))
}

fn get(mesh: &Mesh, object: &str) -> Option<Value> {
    let objects = mesh.ask(&["get", object]).ok()?;
    objects.as_array()?.first().cloned()
}

/// Its condition, once that has this status and reason.
async fn becomes(mesh: &Mesh, object: &str, of: &str, wanted: (&str, &str)) -> String {
    let what = format!("{object} has {of}: {wanted:?}");
    eventually(&what, async || {
        let (status, reason, message) = condition(&get(mesh, object)?, of)?;
        ((status.as_str(), reason.as_str()) == wanted).then_some(message)
    })
    .await
}

#[tokio::test]
async fn each_object_says_what_became_of_it_and_which_sidecars_run_it() -> Result<()> {
    let application = Application::answering(|_, _| reply(200, "fine")).await?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    mesh.write(
        "patience.yaml",
        &yaml::traffic_policy("api", "  timeouts: { request: 9s }\n"),
    )?;
    // Nobody is there yet whom it could be told.
    becomes(&mesh, "Service/api", "Programmed", ("Unknown", "NoProxies")).await;
    let _api = mesh
        .sidecar("api")
        .application(&application)
        .start()
        .await?;
    let web = mesh.sidecar("web").start().await?;
    assert_eq!(web.get("http://api/").await?.status, 200);

    // The service concerns its own sidecar and its caller's, a traffic policy the caller's alone.
    let done = ("True", "Programmed");
    let message = becomes(&mesh, "Service/api", "Programmed", done).await;
    assert!(message.starts_with("2/2 "), "{message}");
    let message = becomes(&mesh, "TrafficPolicy/api", "Programmed", done).await;
    assert!(message.starts_with("1/1 "), "{message}");
    let object = get(&mesh, "TrafficPolicy/api").expect("there");
    let accepted = condition(&object, "Accepted").expect("said");
    assert_eq!(
        (accepted.0.as_str(), accepted.1.as_str()),
        ("True", "Accepted")
    );

    // One without any effect is not accepted, with GEP-713's reasons.
    let late = yaml::traffic_policy("api", "  timeouts: { request: 3s }\n");
    mesh.write(
        "late.yaml",
        &late.replace("metadata: { name: api }", "metadata: { name: late }"),
    )?;
    let why = becomes(
        &mesh,
        "TrafficPolicy/late",
        "Accepted",
        ("False", "Conflicted"),
    )
    .await;
    assert!(why.contains("TrafficPolicy default/api"), "{why}");
    mesh.write("lost.yaml", &yaml::access_policy("gone", "  rules: []\n"))?;
    let missing = ("False", "TargetNotFound");
    becomes(&mesh, "AccessPolicy/gone", "Accepted", missing).await;

    // A route that leads nowhere is in force, and says which reference is not resolved.
    mesh.write("route.yaml", ROUTE)?;
    let unresolved = ("False", "RefNotResolved");
    becomes(&mesh, "HTTPRoute/api", "ResolvedRefs", unresolved).await;
    becomes(&mesh, "HTTPRoute/api", "Programmed", done).await;

    // A refused edit: with its place, beside what goes on running, and since when.
    mesh.write(
        "patience.yaml",
        &yaml::traffic_policy("api", "  timeouts: { request: soon }\n"),
    )?;
    let why = becomes(&mesh, "TrafficPolicy/api", "Accepted", ("False", "Invalid")).await;
    assert!(
        why.contains("patience.yaml:") && why.contains("stays in force"),
        "{why}"
    );
    let object = get(&mesh, "TrafficPolicy/api").expect("there");
    assert_eq!(condition(&object, "Programmed").expect("said").0, "True");
    let since = &object["conditions"][0]["lastTransitionTime"];
    assert!(
        since.as_str().is_some_and(|since| since.ends_with('Z')),
        "{object}"
    );

    let summary = &mesh.ask(&["status"])?["objects"];
    assert_eq!(summary["unresolved"], 1, "{summary}");
    let refused = summary["total"].as_u64().unwrap() - summary["accepted"].as_u64().unwrap();
    assert_eq!(refused, 3, "{summary}");
    let metrics = Client::direct(mesh.http()).get("/metrics").await?;
    let counted = "usher_configuration_objects{state=\"unresolved\"} 1";
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    Ok(())
}

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api }
spec:
  parentRefs: [{ group: '', kind: Service, name: api }]
  rules:
  - matches: [{ path: { value: /nowhere } }]
    backendRefs: [{ name: gone, port: 80 }]
";

#[tokio::test]
async fn what_is_in_force_printed_as_yaml_is_the_mesh_once_more() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    mesh.write(
        "patience.yaml",
        &yaml::traffic_policy("api", "  timeouts: { request: 9s }\n"),
    )?;
    let unknown = ("Unknown", "NoProxies");
    becomes(&mesh, "TrafficPolicy/api", "Programmed", unknown).await;
    let server = format!("http://{}", mesh.http());
    let printed = run(&binary("usher"), ["get", "-o", "yaml", "--server", &server]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.stdout.contains("request: 9s"), "{printed:?}");
    let path = mesh.data().join("printed.yaml");
    std::fs::write(&path, &printed.stdout)?;
    let path = path.display().to_string();
    let checked = run(&binary("usher"), ["validate", "--json", &path]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let checked: Value = serde_json::from_str(&checked.stdout)?;
    let total = &mesh.ask(&["status"])?["objects"]["total"];
    assert_eq!(checked["objects"], *total, "{}", printed.stdout);
    Ok(())
}

#[tokio::test]
async fn a_directory_that_a_link_leads_to_is_swapped_and_waited_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    // As a ConfigMap is mounted: the file is a link over `..data`, which is renamed over.
    for (version, port) in [("..1", 8080), ("..2", 9090)] {
        let version = folder.path().join(version);
        std::fs::create_dir(&version)?;
        std::fs::write(
            version.join("more.yaml"),
            yaml::service("more", port, "http"),
        )?;
    }
    let data = folder.path().join("..data");
    std::os::unix::fs::symlink("..1", &data)?;
    let target = folder.path().join("..data");
    std::os::unix::fs::symlink(&target, mesh.config().join("mounted"))?;
    let port = || -> Option<Value> {
        let services = mesh.ask(&["services"]).ok()?;
        let mut all = services.as_array()?.iter();
        let more = all.find(|service| service["name"] == "more")?;
        Some(more["ports"][0].clone())
    };
    eventually("what the link leads to is read", async || port()).await;
    let next = folder.path().join("..next");
    std::os::unix::fs::symlink("..2", &next)?;
    std::fs::rename(&next, &data)?;
    let server = format!("http://{}", mesh.http());
    let waited = run(&binary("usher"), ["wait", "--server", &server]);
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
    assert!(waited.stderr.contains("waiting"), "{}", waited.stderr);
    assert_eq!(port(), Some(9090.into()), "it waited for the swap");
    Ok(())
}
