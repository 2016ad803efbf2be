//! What is only wrong because of its quotes.

use super::*;

#[test]
fn a_number_or_truth_value_in_quotes_is_said_to_be_text() {
    let service = SERVICE.replace("port: 50051", "port: \"50051\"");
    let policy = "\
apiVersion: usher.dev/v1alpha1
kind: AccessPolicy
metadata: {name: a, namespace: bank}
spec:
  targetRefs: [{kind: Service, name: account}]
  dryRun: 'true'
---
";
    let parsed = parse(&(service + policy));
    let said: Vec<String> = parsed.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "mesh.yaml:6:30: Service bank/account: spec.ports[0].port: found the text `50051`, allowed: a port from 1 to \
             65535, without quotes",
            "mesh.yaml:18:11: AccessPolicy bank/a: spec.dryRun: found the text `true`, allowed: true or false, without \
             quotes",
        ]
    );
}

#[test]
fn a_number_with_leading_zeros_is_not_said_to_have_quotes() {
    let parsed = parse(&SERVICE.replace("port: 50051", "port: 08080"));
    assert_eq!(
        parsed.mistakes[0].to_string(),
        "mesh.yaml:6:30: Service bank/account: spec.ports[0].port: found `08080`, allowed: a port from 1 to 65535, without \
         leading zeros"
    );
}
