//! The gateway: what the outside world reaches, under which names, and what it may say and hear.

mod drain;
mod http;
mod tls;

/// The Gateway `edge`; each listener is YAML as [`http_listener`] makes it.
fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         gatewayClassName: usher\n  listeners:\n{listeners}"
    )
}

fn http_listener(name: &str, port: u16, hostname: Option<&str>) -> String {
    let hostname = hostname.map(|host| format!(", hostname: \"{host}\""));
    let hostname = hostname.unwrap_or_default();
    format!("  - {{ name: {name}, port: {port}, protocol: HTTP{hostname} }}\n")
}

/// An HTTPRoute; `parent` is a parentRef, `rules` are prefixes and the services behind them.
fn route(name: &str, parent: &str, hostnames: &[&str], rules: &[(&str, &str)]) -> String {
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
