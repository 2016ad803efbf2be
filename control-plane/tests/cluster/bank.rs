//! Objects as a cluster has them, and what a control plane says of its mesh.

use serde_json::{Value, json};

use crate::{
    api_server::{ApiServer, Key},
    plane::Plane,
};

/// A pod with a sidecar that answers as `service`, as an API server has it, with all that is of no interest.
pub(crate) fn pod(name: &str, service: &str, address: &str) -> Value {
    let managed: Vec<Value> = (0..4)
        .map(|number| {
            let fields: serde_json::Map<String, Value> = (0..40)
                .map(|field| (format!("f:field-{number}-{field}"), json!({"f:x": {}})))
                .collect();
            json!({"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "fieldsV1": fields})
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "bank", "labels": {"app": service, "pod-template-hash": "5d4c"},
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": managed,
        },
        "spec": {
            "serviceAccountName": service, "nodeName": "node-1",
            "containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}],
            "initContainers": [{
                "name": "usher-proxy", "image": "usher-proxy:1", "restartPolicy": "Always", "env": [
                    {"name": "USHER_PROXY_SERVICE", "value": service},
                    {"name": "USHER_PROXY_APPLICATION_PORT", "value": "8080"},
                ],
            }],
        },
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "bank"},
        "spec": {
            "type": "ClusterIP", "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}],
        },
    })
}

pub(crate) fn slice(name: &str, service: &str, pods: &[(String, String)]) -> Value {
    let endpoints = pods.iter().map(|(pod, address)| {
        json!({
            "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "bank", "name": pod}, "nodeName": "node-1",
        })
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "bank", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// Of one Service and two pods, on a cluster with our kinds and Gateway API's.
pub(crate) async fn bank() -> ApiServer {
    let api = ApiServer::start().await;
    install(&api);
    api.put(service("account"));
    let pods = [("account-1", "10.0.0.1"), ("account-2", "10.0.0.2")];
    for (name, address) in pods {
        api.put(pod(name, "account", address));
    }
    let pods = pods.map(|(name, address)| (name.to_owned(), address.to_owned()));
    api.put(slice("account-x", "account", &pods));
    api
}

pub(crate) fn install(api: &ApiServer) {
    let ours = [
        ("Mesh", "meshes"),
        ("Workload", "workloads"),
        ("TrafficPolicy", "trafficpolicies"),
        ("AccessPolicy", "accesspolicies"),
        ("AuthenticationPolicy", "authenticationpolicies"),
        ("FaultPolicy", "faultpolicies"),
        ("RateLimitPolicy", "ratelimitpolicies"),
    ];
    for (kind, plural) in ours {
        api.install("usher.dev/v1alpha1", kind, plural);
    }
    let gateway_api = [
        ("Gateway", "gateways"),
        ("HTTPRoute", "httproutes"),
        ("GRPCRoute", "grpcroutes"),
    ];
    for (kind, plural) in gateway_api {
        api.install("gateway.networking.k8s.io/v1", kind, plural);
    }
}

pub(crate) fn key(version: &str, plural: &str, name: &str) -> Key {
    Key {
        namespace: "bank".to_owned(),
        ..Key::of_cluster(version, plural, name)
    }
}

pub(crate) fn pod_key(name: &str) -> Key {
    key("v1", "pods", name)
}

pub(crate) fn slice_key(name: &str) -> Key {
    key("discovery.k8s.io/v1", "endpointslices", name)
}

pub(crate) fn policy(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": name, "namespace": "bank"},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "account"}], "rules": rules},
    })
}

/// `GET` of what readers see.
pub(crate) async fn read(plane: &Plane, path: &str) -> Option<Value> {
    use http_body_util::{BodyExt as _, Empty};

    let stream = tokio::net::TcpStream::connect(plane.http()).await.ok()?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", plane.http());
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .expect("a request");
    let answer = client.send_request(request).await.ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

/// The endpoints of a service, as `name address`, `!` behind those that are ill.
pub(crate) async fn endpoints(plane: &Plane, service: &str) -> Vec<String> {
    let services = read(plane, "/v1/services").await.unwrap_or_default();
    let services = services.as_array().cloned().unwrap_or_default();
    let found = services.into_iter().find(|one| one["name"] == service);
    let endpoints = found
        .map(|one| one["endpoints"].clone())
        .unwrap_or_default();
    let endpoints = endpoints.as_array().cloned().unwrap_or_default();
    let words = endpoints.iter().map(|one| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let ill = if one["healthy"] == true { "" } else { "!" };
        format!("{} {}{ill}", text("instance"), text("address"))
    });
    words.collect()
}

/// Whether `Accepted` of an object is this, and what its message says.
pub(crate) async fn accepted(plane: &Plane, kind: &str, name: &str) -> Option<(String, String)> {
    let objects = read(plane, "/v1/objects").await?;
    let objects = objects.as_array()?.clone();
    let object = objects
        .into_iter()
        .find(|one| one["kind"] == kind && one["name"] == name)?;
    let conditions = object["conditions"].as_array()?.clone();
    let accepted = conditions
        .into_iter()
        .find(|one| one["type"] == "Accepted")?;
    let text = |name: &str| accepted[name].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("message")))
}
