//! Whatever comes is answered or refused in words, and what is answered is what an API server reads.

use proptest::prelude::*;

use super::*;

fn review(request: &Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": request})
}

fn request() -> Value {
    json!({
        "uid": "u-1", "operation": "CREATE", "namespace": "bank", "dryRun": true, "new field": [],
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "object": {"kind": "Pod", "metadata": {"name": "web"}},
    })
}

fn read(value: &Value) -> Result<Request, Malformed> {
    Request::read(value.to_string().as_bytes())
}

#[test]
fn a_question_is_read_whatever_else_it_has() {
    let read = read(&review(&request())).expect("well formed");
    assert_eq!(
        (read.uid.as_str(), read.operation),
        ("u-1", Operation::Create)
    );
    assert_eq!(read.title(), "Pod bank/web");
    assert!(read.is_about_object());
}

#[test]
fn a_question_that_is_none_is_refused_by_its_field() {
    let with = |name: &str, value: Value| {
        let mut request = request();
        request[name] = value;
        review(&request)
    };
    let mut old = review(&request());
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    for (question, words) in [
        (json!([]), "found a list"),
        (json!({}), "apiVersion: found none"),
        (
            old,
            "apiVersion: found `admission.k8s.io/v1beta1`, allowed: admission.k8s.io/v1",
        ),
        (
            json!({"apiVersion": VERSION, "kind": "Pod"}),
            "kind: found `Pod`",
        ),
        (
            json!({"apiVersion": VERSION, "kind": "AdmissionReview"}),
            "request: found none",
        ),
        (
            with("uid", json!("")),
            "request.uid: found a text of 0 bytes",
        ),
        (with("uid", json!(7)), "request.uid: found a number"),
        (
            with("operation", json!("create")),
            "request.operation: found `create`",
        ),
        (
            with("subResource", json!({})),
            "request.subResource: found an object",
        ),
        (with("object", json!(null)), "request.object: found nothing"),
    ] {
        let said = read(&question).expect_err("malformed").to_string();
        assert!(said.contains(words) && said.contains("allowed: "), "{said}");
    }
    let said = Request::read(b"{\"kind\": ")
        .expect_err("malformed")
        .to_string();
    assert!(said.contains("line 1, column 9"), "{said}");
}

#[test]
fn what_goes_and_what_is_done_with_it_needs_no_object() {
    for operation in ["DELETE", "CONNECT"] {
        let question = review(&json!({"uid": "u", "operation": operation, "object": null}));
        let read = read(&question).expect("well formed");
        assert!(!read.is_about_object());
    }
    let mut status = request();
    status["subResource"] = json!("status");
    assert!(
        !read(&review(&status))
            .expect("well formed")
            .is_about_object()
    );
}

fn response(verdict: &Verdict) -> Value {
    let answer: Value = serde_json::from_slice(&verdict.answer("u-1")).expect("JSON");
    assert_eq!(answer["apiVersion"], VERSION);
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "u-1");
    answer["response"].clone()
}

#[test]
fn a_patch_is_base64_of_a_list_of_operations() {
    let operation = json!({"op": "add", "path": "/a", "value": 1});
    let patched = Verdict::Patched {
        patch: vec![operation.clone()],
        warnings: vec!["mind the gap".to_owned()],
    };
    let response = response(&patched);
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().expect("text"));
    let patch: Value = serde_json::from_slice(&patch.expect("base64")).expect("JSON");
    assert_eq!(patch, json!([operation]));
    assert_eq!(response["warnings"], json!(["mind the gap"]));
}

#[test]
fn a_refusal_has_its_reason_for_people_and_for_programs() {
    let cause = Cause {
        field: "spec.a".to_owned(),
        message: "spec.a: found 1, allowed: 2".to_owned(),
    };
    let denied = Verdict::Denied(Denial {
        message: "x".repeat(MESSAGE_MAX + 5),
        causes: vec![cause],
        warnings: Vec::new(),
    });
    let response = response(&denied);
    assert_eq!(response["allowed"], false);
    let status = &response["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    assert_eq!(status["details"]["causes"][0]["field"], "spec.a");
    let message = status["message"].as_str().expect("text");
    assert!(message.ends_with('…') && message.chars().count() == MESSAGE_MAX);
    assert!(response.get("patch").is_none() && response.get("warnings").is_none());
}

#[test]
fn warnings_are_as_long_as_api_servers_show() {
    let warnings = vec!["ä".repeat(300); 30];
    let response = response(&Verdict::Allowed { warnings });
    let warnings = response["warnings"].as_array().expect("a list");
    assert_eq!(warnings.len(), WARNINGS_MAX);
    let first = warnings[0].as_str().expect("text");
    assert_eq!(first.chars().count(), WARNING_MAX);
}

/// JSON of any shape, often with the names that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = "apiVersion|kind|request|uid|operation|object|metadata|name|namespace|[a-z]{0,3}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "CREATE|UPDATE|AdmissionReview|admission.k8s.io/v1|\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(malformed) = Request::read(&bytes) {
            prop_assert!(malformed.to_string().contains("allowed: "));
        }
    }

    #[test]
    fn any_json_is_read_or_refused(mut object in any_json(), uid in "\\PC{1,20}", is_review in any::<bool>()) {
        if is_review {
            object = review(&json!({"uid": uid, "operation": "CREATE", "object": object}));
        }
        match read(&object) {
            Err(malformed) => prop_assert!(malformed.to_string().contains("allowed: ")),
            Ok(request) => {
                let _ = request.title();
                let answer: Value = serde_json::from_slice(&Verdict::allowed().answer(&request.uid)).expect("JSON");
                prop_assert_eq!(answer["response"]["uid"].as_str(), Some(uid.as_str()));
            }
        }
    }
}
