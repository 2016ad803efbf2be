//! New pods get a patch once; what is refused is told as `usher inject` tells it.

use serde_json::Value;

use super::*;

fn request(operation: Operation, object: Value) -> Request {
    Request {
        uid: "u".to_owned(),
        operation,
        sub_resource: String::new(),
        namespace: "bank".to_owned(),
        object,
    }
}

fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "web-5d8f-", "labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]},
    })
}

fn asked(object: Value) -> Verdict {
    inject(request(Operation::Create, object), &Settings::default())
}

#[test]
fn a_pod_gets_its_sidecar_once() {
    let mut pod = pod(&json!({}));
    let Verdict::Patched { patch, warnings } = asked(pod.clone()) else {
        panic!("no sidecar");
    };
    assert_eq!(warnings, Vec::<String>::new());
    let patch = serde_json::from_value::<json_patch::Patch>(Value::from(patch)).expect("RFC 6902");
    json_patch::patch(&mut pod, &patch).expect("fits");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "usher-proxy");
    assert_eq!(asked(pod), Verdict::allowed(), "again");
}

#[test]
fn nothing_but_a_new_pod_is_changed() {
    let settings = Settings::default();
    for operation in [Operation::Update, Operation::Delete, Operation::Connect] {
        let verdict = inject(request(operation, pod(&json!({}))), &settings);
        assert_eq!(verdict, Verdict::allowed());
    }
    let mut binding = request(Operation::Create, pod(&json!({})));
    binding.sub_resource = "binding".to_owned();
    assert_eq!(inject(binding, &settings), Verdict::allowed());
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    assert_eq!(asked(config_map), Verdict::allowed());
}

#[test]
fn all_that_is_wrong_is_told_with_its_fields_and_the_way_out() {
    let annotations = json!({"usher.dev/cpu-limit": "2x", "usher.dev/drain-grace": "soon"});
    let Verdict::Denied(denial) = asked(pod(&annotations)) else {
        panic!("let in");
    };
    let fields: Vec<&str> = denial.causes.iter().map(|cause| &*cause.field).collect();
    let path = |name: &str| format!("metadata.annotations[usher.dev/{name}]");
    assert_eq!(fields, [path("cpu-limit"), path("drain-grace")]);
    let first =
        "Pod bank/web-5d8f: metadata.annotations[usher.dev/cpu-limit]: found `2x`, allowed: CPUs";
    assert!(denial.message.starts_with(first), "{}", denial.message);
    assert!(denial.message.ends_with(ADVICE), "{}", denial.message);
}

#[test]
fn who_cannot_have_a_sidecar_is_let_in_with_a_word() {
    let mut host = pod(&json!({}));
    host["spec"]["hostNetwork"] = json!(true);
    let Verdict::Allowed { warnings } = asked(host) else {
        panic!("refused or changed");
    };
    assert!(
        warnings[0].starts_with("Pod bank/web-5d8f: no sidecar: hostNetwork"),
        "{warnings:?}"
    );
    let out = pod(&json!({"usher.dev/inject": "false"}));
    assert_eq!(asked(out), Verdict::allowed());
}
