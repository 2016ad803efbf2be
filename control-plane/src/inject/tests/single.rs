//! One behaviour each, on manifests as people write them.

use super::*;

#[test]
fn what_is_written_stays_and_comments_too() {
    let text = injected(POD, &settings());
    let difference = similar::TextDiff::from_lines(POD, &text);
    let gone = difference.iter_all_changes();
    let gone = gone.filter(|change| change.tag() == similar::ChangeTag::Delete);
    let gone: Vec<&str> = gone.map(|change| change.value()).collect();
    assert_eq!(gone, ["  labels: {app: web}\n"]);
    assert!(
        text.contains("  labels: {app: web, \"usher.dev/injected\": \"true\"}\n"),
        "{text}"
    );
    assert!(
        text.contains("  # the application\n  - name: app\n"),
        "{text}"
    );
    assert_eq!(uninjected(&text), POD);
}

#[test]
fn what_has_no_pods_stays_byte_for_byte() {
    let others = "\
%YAML 1.2
---
apiVersion: v1
kind:   ConfigMap
data: { a : !mine 'x',b: &b [ *c ] }
"
    .replace("*c", "1")
        + "...\n# between\n---\r\napiVersion: batch.volcano.sh/v1\r\nkind: Job\r\nspec: {}\r\n---\n- a\n- list\n---\n\n---\nkind: Pod # of no version\n";
    let both = format!("{others}---\n{POD}");
    let text = injected(&both, &settings());
    assert!(text.starts_with(&others), "{text}");
    assert_eq!(uninjected(&text), both);
}

#[test]
fn what_cannot_be_changed_in_place_is_written_anew_with_the_same_words() {
    let text = "\
# kept
apiVersion: v1
kind: Pod
metadata: &m
  name: web
  labels: &l
    app: web
  annotations: *l
spec:
  hostPID: no
  volumes:
  - {name: own, emptyDir: {}, mode: 0644}
  containers:
  - name: app
    image: a
    <<: {command: [x, yes, 1.0, 'yes']}
";
    let text = injected(text, &settings());
    for line in [
        "# kept\n",
        "hostPID: no\n",
        "mode: 0644",
        "- yes\n",
        "- \"yes\"\n",
        "- 1.0\n",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert_eq!(injected(&text, &settings()), text);
}

#[test]
fn a_native_sidecar_comes_before_everything_and_an_ordered_one_before_the_others() {
    let names = |settings: &Settings, kind: &str| -> Vec<String> {
        let pod = json(&injected(POD, settings));
        let all = pod["spec"][kind].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&settings(), "initContainers"),
        ["usher-intercept", "usher-proxy", "prepare"]
    );
    assert_eq!(names(&settings(), "containers"), ["app"]);
    // Until the sidecar runs nobody would take what the rules hand over.
    assert_eq!(
        names(&ordered(), "initContainers"),
        ["prepare", "usher-intercept"]
    );
    assert_eq!(names(&ordered(), "containers"), ["usher-proxy", "app"]);
}

#[test]
fn containers_of_ours_can_do_as_little_as_possible() {
    let pod = json(&injected(POD, &settings()));
    let proxy = &container(&pod, "usher-proxy")["securityContext"];
    assert_eq!(proxy["runAsUser"], 1337);
    assert_eq!(proxy["runAsNonRoot"], true);
    let rules = &container(&pod, "usher-intercept")["securityContext"];
    assert_eq!(
        rules["capabilities"]["add"],
        serde_json::json!(["NET_ADMIN"])
    );
    for context in [proxy, rules] {
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    }
    assert_eq!(proxy["capabilities"]["add"], Value::Null);
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes[1]["emptyDir"]["medium"], "Memory");
    let token = &volumes[2]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "usher");
}

#[test]
fn the_kubelets_questions_go_through_the_sidecar() {
    let text = in_container(
        "    livenessProbe: {httpGet: {path: '/live?x=$(HOME)', port: http, scheme: HTTPS}, timeoutSeconds: 3, periodSeconds: 7}
    readinessProbe:
      grpc: {port: 9000, service: a.B}
    startupProbe: {exec: {command: [up]}}
    lifecycle:
      postStart: {tcpSocket: {port: 8080}}
      preStop: {httpGet: {port: 81, host: 10.0.0.1}}
",
    );
    let text = injected(&text, &settings());
    let pod = json(&text);
    let app = container(&pod, "app");
    let liveness = serde_json::json!({
        "httpGet": {"path": "/probe/app/liveness", "port": 15020}, "timeoutSeconds": 3, "periodSeconds": 7
    });
    assert_eq!(app["livenessProbe"], liveness);
    assert_eq!(
        app["readinessProbe"]["httpGet"]["path"],
        "/probe/app/readiness"
    );
    assert_eq!(app["readinessProbe"]["grpc"], Value::Null);
    assert_eq!(app["startupProbe"]["exec"]["command"][0], "up");
    assert_eq!(
        app["lifecycle"]["postStart"]["httpGet"]["path"],
        "/hook/app/post-start"
    );
    // It asks somebody else.
    assert_eq!(app["lifecycle"]["preStop"]["httpGet"]["host"], "10.0.0.1");
    let setting = variable(&pod, "USHER_PROXY_PROBES").as_str().unwrap();
    assert!(
        !setting.contains('$'),
        "Kubernetes would take it for a variable: {setting}"
    );
    let asked: Value = serde_json::from_str(setting).unwrap();
    assert_eq!(asked["app/liveness"]["httpGet"]["path"], "/live?x=$(HOME)");
    assert_eq!(asked["app/liveness"]["httpGet"]["port"], 8080);
    assert_eq!(asked["app/liveness"]["timeoutSeconds"], 3);
    assert_eq!(asked["app/readiness"]["grpc"]["service"], "a.B");
    assert_eq!(asked["app/post-start"]["tcpSocket"]["port"], 8080);
    assert_eq!(asked.as_object().unwrap().len(), 3);
    let out = json(&uninjected(&text));
    assert_eq!(
        container(&out, "app")["livenessProbe"]["httpGet"]["port"],
        "http"
    );
}

#[test]
fn annotations_say_what_this_pod_wants() {
    let text = annotated(
        "usher.dev/service: front, usher.dev/application-port: '9090', usher.dev/cpu-limit: 200m, usher.dev/memory-request: 1Gi, \
         usher.dev/log-level: debug, usher.dev/access-log: 'off', usher.dev/drain-grace: 20s, \
         usher.dev/exclude-outbound-ports: '25, 587', usher.dev/include-inbound-cidrs: '10.0.0.0/8,fd00::/8', \
         usher.dev/tcp: 127.0.0.1:5432=postgres.bank:5432",
    );
    let pod = json(&injected(&text, &settings()));
    for (name, value) in [
        ("USHER_PROXY_SERVICE", "front"),
        ("USHER_PROXY_APPLICATION_PORT", "9090"),
        ("USHER_PROXY_ACCESS_LOG", "off"),
        ("USHER_PROXY_DRAIN_GRACE", "20s"),
        ("USHER_PROXY_TCP", "127.0.0.1:5432=postgres.bank:5432"),
        ("USHER_LOG", "debug"),
    ] {
        assert_eq!(variable(&pod, name), value, "{name}");
    }
    assert_eq!(
        variable(&pod, "USHER_PROXY_WORKERS"),
        &Value::Null,
        "its limit says how many"
    );
    let resources = &container(&pod, "usher-proxy")["resources"];
    assert_eq!(resources["limits"]["cpu"], "200m");
    assert_eq!(
        resources["limits"]["memory"], "1Gi",
        "not less than what is asked for"
    );
    let rules = &container(&pod, "usher-intercept")["args"];
    let meant = [
        "intercept",
        "install",
        "--exclude-outbound-ports=25,587",
        "--include-inbound-cidrs=10.0.0.0/8,fd00::/8",
    ];
    assert_eq!(*rules, serde_json::json!(meant));
}

#[test]
fn explicit_mode_has_no_rules_and_tells_the_application() {
    let text = annotated("usher.dev/mode: explicit");
    let text = text.replace(
        "    ports:\n",
        "    env: [{name: HOST, value: '::1'}]\n    ports:\n",
    );
    let text = injected(&text, &settings());
    let pod = json(&text);
    assert_eq!(variable(&pod, "USHER_PROXY_TRANSPARENT"), &Value::Null);
    assert!(!text.contains("NET_ADMIN"), "{text}");
    let env = container(&pod, "app")["env"].as_array().unwrap();
    let value = |name| {
        env.iter()
            .find(|one| one["name"] == name)
            .map(|one| &one["value"])
    };
    assert_eq!(value("HOST").unwrap(), "::1", "its own");
    assert_eq!(value("http_proxy").unwrap(), "http://127.0.0.1:15001");
    let out = json(&uninjected(&text));
    assert_eq!(container(&out, "app")["env"].as_array().unwrap().len(), 1);
}

#[test]
fn a_job_completes_in_both_styles() {
    let job = "\
apiVersion: batch/v1
kind: Job
metadata: {name: pay}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      containers:
      - {name: a, image: a, command: [pay, --all], args: [now]}
      - {name: b, image: b, command: [watch]}
";
    let native = json(&injected(job, &settings()));
    assert_eq!(container(&native, "usher-proxy")["restartPolicy"], "Always");
    assert_eq!(container(&native, "a")["command"][0], "pay");
    let text = injected(job, &ordered());
    let ordered_job = json(&text);
    let command = serde_json::json!([
        "/usher/program/usher-proxy",
        "pod",
        "exec",
        "/usher/notes",
        "a",
        "--",
        "pay",
        "--all"
    ]);
    assert_eq!(container(&ordered_job, "a")["command"], command);
    assert_eq!(container(&ordered_job, "a")["args"][0], "now");
    assert_eq!(
        variable(&ordered_job, "USHER_PROXY_ENDS_WITH"),
        "/usher/notes,on-failure,a,b"
    );
    assert_eq!(json(&uninjected(&text)), json(job));
    let unknown = complaints(
        &job.replace("command: [watch]", "args: [watch]"),
        &ordered(),
    );
    assert_eq!(unknown.len(), 1);
    assert!(
        unknown[0].starts_with("10: spec.template.spec.containers[1].command: found nothing"),
        "{unknown:?}"
    );
}

#[test]
fn a_pod_is_the_service_that_its_labels_or_its_workload_name() {
    let service = |metadata: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a, image: a}}]}}\n"
        );
        let pod = json(&injected(&text, &settings()));
        variable(&pod, "USHER_PROXY_SERVICE")
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        service("{name: a, labels: {app: b, app.kubernetes.io/name: c}}"),
        "c"
    );
    assert_eq!(service("{name: a, labels: {app: b}}"), "b");
    assert_eq!(service("{name: a}"), "a");
    assert_eq!(service("{generateName: a-}"), "a");
    let of_replica_set = "{generateName: web-5d4f-, labels: {pod-template-hash: 5d4f}, \
                          ownerReferences: [{controller: true, kind: ReplicaSet, name: web-5d4f}]}";
    assert_eq!(service(of_replica_set), "web");
    let nameless = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: a}]}\n";
    let found = complaints(nameless, &settings());
    assert!(
        found[0].contains("annotations[usher.dev/service]"),
        "{found:?}"
    );
}

#[test]
fn a_drain_ends_before_the_kubelet_kills() {
    for (grace, drain) in [
        ("30", "25s"),
        ("8", "4s"),
        ("1", "1s"),
        ("0", "1s"),
        ("3600", "59m55s"),
    ] {
        let text = with(&format!("  terminationGracePeriodSeconds: {grace}\n"));
        let pod = json(&injected(&text, &settings()));
        assert_eq!(variable(&pod, "USHER_PROXY_DRAIN_GRACE"), drain, "{grace}");
        let stop = &container(&pod, "usher-proxy")["lifecycle"]["preStop"]["exec"]["command"];
        assert_eq!(*stop, serde_json::json!(["/usr/bin/usher-proxy", "drain"]));
    }
    let found = complaints(&annotated("usher.dev/drain-grace: 30s"), &settings());
    assert!(found[0].contains("at most 25s"), "{found:?}");
}

#[test]
fn a_runtime_without_projected_tokens_gets_a_secret_and_a_namespace() {
    let settings = Settings {
        proof: Proof::JoinToken {
            secret: "join".parse().unwrap(),
        },
        namespace: Some("bank".parse().unwrap()),
        pull_policy: Some(PullPolicy::Never),
        ..ordered()
    };
    let text = injected(POD, &settings);
    let pod = json(&text);
    assert_eq!(variable(&pod, "USHER_PROXY_NAMESPACE"), "bank");
    let secret = &pod["spec"]["volumes"][2]["secret"];
    assert_eq!(secret["secretName"], "join");
    assert_eq!(secret["optional"], false, "podman 4.3 looks at it");
    assert_eq!(container(&pod, "usher-proxy")["imagePullPolicy"], "Never");
    assert!(
        !text.contains("projected") && !text.contains("restartPolicy"),
        "{text}"
    );
}

#[test]
fn an_applications_own_scrape_annotations_stay() {
    let text = annotated("prometheus.io/port: '9090'");
    let text = injected(&text, &settings());
    let annotations = &json(&text)["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "9090");
    assert_eq!(annotations["prometheus.io/path"], Value::Null);
    assert_eq!(
        json(&uninjected(&text))["metadata"]["annotations"]["prometheus.io/port"],
        "9090"
    );
}

#[test]
fn a_pod_is_a_service_that_selects_it_unless_it_says_otherwise() {
    let named = |labels: &str, services: &[&str]| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-1\n  labels: {{{labels}}}\nspec:\n  containers: [{{name: web, image: web}}]\n"
        );
        let settings = Settings {
            services: services.iter().map(|name| name.parse().unwrap()).collect(),
            ..settings()
        };
        let text = injected(&text, &settings);
        let (_, rest) = text.split_once("USHER_PROXY_SERVICE").unwrap();
        let (_, rest) = rest.split_once("value: ").unwrap();
        rest.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(named("app: web", &[]), "web");
    assert_eq!(named("app: web", &["shop-headless", "web"]), "web");
    assert_eq!(
        named("app: web", &["shop-web", "shop-web-headless"]),
        "shop-web"
    );
}
