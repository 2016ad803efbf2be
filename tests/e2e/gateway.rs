//! The gateway: what the outside world reaches, under which names, and what it may say and hear.

mod certificates;
mod claims;
mod drain;
mod http;
mod ready;
pub(crate) mod roots;
mod routes;
mod size;
mod source;
mod tls;

use anyhow::Result;
use usher_tests::{Application, Mesh, Sidecar, reply, yaml};

/// The Gateway `edge`; each listener is YAML as [`http_listener`] makes it.
pub(crate) fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         gatewayClassName: usher\n  listeners:\n{listeners}"
    )
}

pub(crate) fn http_listener(name: &str, port: u16, hostname: Option<&str>) -> String {
    let hostname = hostname.map(|host| format!(", hostname: \"{host}\""));
    let hostname = hostname.unwrap_or_default();
    format!("  - {{ name: {name}, port: {port}, protocol: HTTP{hostname} }}\n")
}

/// An HTTPRoute; `parent` is a parentRef, `rules` are prefixes and the services behind them.
pub(crate) fn route(
    name: &str,
    parent: &str,
    hostnames: &[&str],
    rules: &[(&str, &str)],
) -> String {
    let rules: String = rules
        .iter()
        .map(|(prefix, service)| {
            format!(
                "  - matches: [{{ path: {{ value: {prefix} }} }}]\n    \
                 backendRefs: [{{ name: {service}, port: 8080 }}]\n"
            )
        })
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name} }}\nspec:\n  \
         parentRefs: [{parent}]\n  hostnames: {hostnames:?}\n  rules:\n{rules}"
    )
}

/// Two services, `shop` and `admin`, each with its application and sidecar, and a gateway `edge`.
struct Town {
    mesh: Mesh,
    shop: Application,
    admin: Application,
    _sidecars: [Sidecar; 2],
}

async fn town(documents: &[String]) -> Result<Town> {
    let mut all = vec![
        yaml::service("shop", 8080, "http"),
        yaml::service("admin", 8080, "http"),
        yaml::workload("edge"),
    ];
    all.extend_from_slice(documents);
    let mesh = Mesh::start(&all).await?;
    let named = |name: &'static str| {
        Application::answering(move |request, _| reply(200, format!("{name} {}", request.path)))
    };
    let (shop, admin) = (named("shop").await?, named("admin").await?);
    let sidecars = [
        mesh.sidecar("shop").application(&shop).start().await?,
        mesh.sidecar("admin").application(&admin).start().await?,
    ];
    Ok(Town {
        mesh,
        shop,
        admin,
        _sidecars: sidecars,
    })
}
