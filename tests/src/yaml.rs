//! Configuration that tests write, in the form users write it. Everything is in namespace `default`.

/// A service with one port and the workload behind it, both of that name; `protocol` is an `appProtocol`.
pub fn service(name: &str, port: u16, protocol: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec:
  selector: {{ app: {name} }}
  ports:
  - {{ name: main, port: {port}, appProtocol: {protocol} }}
---
{}",
        workload(name)
    )
}

/// A workload that only calls, or one that a [`service`] selects.
pub fn workload(name: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1
kind: Workload
metadata:
  name: {name}
  labels: {{ app: {name} }}
spec:
  serviceAccount: {name}
  healthCheck: {{ tcp: {{}}, interval: 100ms }}
"
    )
}

/// A traffic policy for a service; `spec` is YAML at two spaces of indentation.
pub fn traffic_policy(service: &str, spec: &str) -> String {
    policy("TrafficPolicy", service, spec)
}

/// An access policy for a service; `spec` is YAML at two spaces of indentation.
pub fn access_policy(service: &str, spec: &str) -> String {
    policy("AccessPolicy", service, spec)
}

/// A fault policy for a service; `spec` is YAML at two spaces of indentation.
pub fn fault_policy(service: &str, spec: &str) -> String {
    policy("FaultPolicy", service, spec)
}

/// A rate limit policy for a service; `limits` is a YAML list on one line.
pub fn rate_limit_policy(service: &str, limits: &str) -> String {
    policy("RateLimitPolicy", service, &format!("  limits: {limits}\n"))
}

fn policy(kind: &str, service: &str, spec: &str) -> String {
    format!(
        "apiVersion: usher.dev/v1alpha1
kind: {kind}
metadata: {{ name: {service} }}
spec:
  targetRefs:
  - {{ group: \"\", kind: Service, name: {service} }}
{spec}"
    )
}
