//! A cluster of 5,000 meshed pods, in time and memory that are printed.

use std::time::Instant;

use serde_json::json;

use super::bank::{install, pod, pod_key, read, service, slice, slice_key};
use crate::{
    api_server::ApiServer,
    plane::{Plane, eventually},
};

const DEPLOYMENTS: usize = 50;
const PODS: usize = 100;

fn names(deployment: usize) -> Vec<(String, String)> {
    let address =
        |pod: usize| format!("10.{}.{}.{}", 1 + deployment / 8, deployment % 250, pod + 1);
    let names = (0..PODS).map(|pod| (format!("d{deployment:02}-{pod:03}"), address(pod)));
    names.collect()
}

async fn healthy(plane: &Plane) -> Option<usize> {
    let services = read(plane, "/v1/services").await?;
    let services = services.as_array()?.clone();
    let endpoints = services
        .iter()
        .filter_map(|one| one["endpoints"].as_array());
    Some(
        endpoints
            .flatten()
            .filter(|one| one["healthy"] == true)
            .count(),
    )
}

/// A cluster of all of them, and how many bytes of JSON the pods are.
async fn filled() -> (ApiServer, usize) {
    let api = ApiServer::start().await;
    install(&api);
    let mut bytes = 0;
    for deployment in 0..DEPLOYMENTS {
        let name = format!("d{deployment:02}");
        api.put(service(&name));
        let pods = names(deployment);
        for (pod_name, address) in &pods {
            let pod = pod(pod_name, &name, address);
            bytes += pod.to_string().len();
            api.put(pod);
        }
        api.put(slice(&format!("{name}-x"), &name, &pods));
    }
    (api, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_pods_are_read_followed_and_read_anew_within_bounds() {
    let (mut api, bytes) = filled().await;
    let all = DEPLOYMENTS * PODS;
    let began = Instant::now();
    let plane = Plane::following(&api).await;
    eventually("all pods are endpoints", async || {
        (healthy(&plane).await? == all).then_some(())
    })
    .await;
    let read_in = began.elapsed();
    let (rss, peak) = (plane.memory("VmRSS"), plane.memory("VmHWM"));
    eprintln!(
        "{all} pods ({} MiB of JSON): in force {read_in:?} after the start, {rss} KiB, {peak} KiB at most",
        bytes >> 20
    );
    let status = read(&plane, "/v1/status").await.expect("an answer");
    assert_eq!(status["revision"]["number"], 1);
    let workloads = status["objects"]["total"].as_u64().expect("a number");
    assert_eq!(
        workloads,
        2 * u64::try_from(DEPLOYMENTS).expect("few"),
        "Services, and a Workload each"
    );

    // A rollout: every pod of ten Deployments ends.
    let began = Instant::now();
    for deployment in 0..10 {
        for (name, _) in names(deployment) {
            api.edit(&pod_key(&name), |pod| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-11-30T15:00:00Z")
            });
        }
        api.edit(&slice_key(&format!("d{deployment:02}-x")), |slice| {
            slice["endpoints"] = json!([])
        });
    }
    let left = all - 10 * PODS;
    eventually("they are gone", async || {
        (healthy(&plane).await? == left).then_some(())
    })
    .await;
    eprintln!(
        "1,000 pods asked to end: gone from all endpoints after {:?}",
        began.elapsed()
    );

    // All of it is read anew.
    api.stop().await;
    api.forget();
    let lists = |api: &ApiServer| {
        api.requests()
            .iter()
            .filter(|one| one.contains("/pods?") && one.contains("limit="))
            .count()
    };
    let before = lists(&api);
    api.restart().await;
    let pages = all.div_ceil(250);
    eventually("pods are listed again", async || {
        (lists(&api) >= before + pages).then_some(())
    })
    .await;
    assert_eq!(healthy(&plane).await, Some(left));
    let (rss, peak) = (plane.memory("VmRSS"), plane.memory("VmHWM"));
    eprintln!("read anew: {rss} KiB, {peak} KiB at most");
    assert!(peak < 200 << 10, "{peak} KiB");
}
