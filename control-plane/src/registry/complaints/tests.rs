//! What operators are told about objects that are in force.

use std::time::SystemTime;

use usher_config::parse::parse_files;

use super::*;

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: v1
kind: Service
metadata: { name: one }
spec: { selector: { app: store }, ports: [{ port: 5432, appProtocol: tcp }] }
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: { name: store, labels: { app: store } }
spec: { serviceAccount: store }
---
";

fn route(name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{ name: {name} }}\n\
         spec: {{ parentRefs: [{{ group: '', kind: Service, name: store }}], rules: [{{ backendRefs: [{{ name: one, port: 5432 }}] }}] }}\n---\n"
    )
}

fn said(documents: &[String]) -> Vec<Condition> {
    let text = SERVICES.to_owned() + &documents.concat();
    let parsed = parse_files(&[("mesh.yaml".into(), text)]);
    let reading = World::default().read(&parsed, Path::new(""), SystemTime::now());
    reading.remarks
}

#[test]
fn a_policy_that_calls_are_led_past_is_told_of() {
    let policy = "apiVersion: usher.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: guard }\n\
                  spec: { targetRefs: [{ kind: Service, name: store }] }\n";
    let said = said(&[route("way"), policy.to_owned()]);
    let [remark] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(remark.object, "AccessPolicy default/guard");
    for part in [
        "TCPRoute default/way",
        "`default/one`",
        "never meet this one",
    ] {
        assert!(remark.message.contains(part), "{part}: {}", remark.message);
    }
}

#[test]
fn whoever_was_first_is_not_guessed_where_it_is_known() {
    assert_eq!(said(&[route("one"), route("two")]), []);
}
