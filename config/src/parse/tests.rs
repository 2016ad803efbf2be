//! Facts about parsing: what is found wrong, where, and how it is said.

mod examples;
mod gateways;
mod guards;
mod documents;
mod filters;
mod mistakes;
mod references;
mod properties;
mod quotes;
mod streams;
mod treatment;
mod unguarded;

use super::*;

fn parse(text: &str) -> Parsed {
    parse_files(&[(PathBuf::from("mesh.yaml"), text.to_owned())])
}

/// `line: field: found` of each mistake.
fn said(parsed: &Parsed) -> Vec<String> {
    let say = |mistake: &Mistake| {
        format!(
            "{}: {}: {}",
            mistake.position.line, mistake.field, mistake.found
        )
    };
    parsed.mistakes.iter().map(say).collect()
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: account, namespace: bank}
spec:
  selector: {app: account}
  ports: [{name: grpc, port: 50051, appProtocol: grpc}]
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: account, namespace: bank, labels: {app: account}}
spec: {serviceAccount: account}
---
";
