//! Start-up settings: one name in three spellings, precedence, and every mistake in one go.

use super::*;

const MINIMAL: [&str; 7] = [
    "usher-proxy",
    "--service",
    "account",
    "--namespace",
    "bank",
    "--state-dir",
    "state",
];

fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Bootstrap, Stop> {
    let environment = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Bootstrap::read(arguments, &environment)
}

fn mistakes(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    match read(arguments, environment) {
        Err(Stop::Invalid(invalid)) => invalid.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_minimum_is_service_namespace_and_state_directory() {
    let bootstrap = read(&MINIMAL, &[]).unwrap();
    assert_eq!(bootstrap.service.to_string(), "bank/account");
    assert_eq!(bootstrap.outbound.to_string(), "127.0.0.1:15001");
    assert_eq!(bootstrap.inbound.to_string(), "0.0.0.0:15006");
    assert_eq!(bootstrap.admin_socket, PathBuf::from("state/admin.sock"));
    assert_eq!(bootstrap.drain_grace, Duration::from_secs(10));
    assert_eq!(bootstrap.application_port, None);
}

#[test]
fn a_control_plane_is_a_host_and_a_port_and_no_url() {
    let with = |address: &'static str| [&MINIMAL[..], &["--control-plane", address]].concat();
    for good in [
        "mesh_cp.internal:15012",
        "10.0.0.7:15012",
        "[fd00::7]:15012",
        "10.0.0.7:15012,cp.internal:15012,[fd00::7]:15012",
    ] {
        assert_eq!(read(&with(good), &[]).unwrap().control_plane, good);
    }
    for bad in [
        "http://10.0.0.7:15012",
        "fd00::7:15012",
        "a b:1",
        ":1",
        "[x]:1",
        "mesh",
        "a:1,",
        "a:1, b:1",
    ] {
        let said = mistakes(&with(bad), &[]);
        let wrong = bad.rsplit(',').next().unwrap();
        assert!(said.contains(wrong) && said.contains("HOST:PORT"), "{said}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_place() {
    let text = mistakes(
        &[
            "usher-proxy",
            "--service",
            "Account",
            "--outbound",
            "0.0.0.0:15001",
            "--tcp",
            "127.0.0.1:1=x",
            "--tcp",
            "y",
        ],
        &[
            ("USHER_PROXY_DRAIN_GRACE", "ten"),
            ("USHER_PROXY_APPLICATION_PORT", "0"),
        ],
    );
    for line in [
        "--service: found \"Account\"",
        "--namespace: required",
        "--state-dir: required",
        "USHER_PROXY_APPLICATION_PORT: found \"0\"",
        "--outbound: found \"0.0.0.0:15001\", allowed: a loopback address",
        "--tcp: found \"127.0.0.1:1=x\"",
        "--tcp: found \"y\"",
        "USHER_PROXY_DRAIN_GRACE: found \"ten\"",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn a_forward_without_a_local_address_is_shown_one() {
    let forward = ["--tcp", "15432=postgres.bank:5432"];
    let said = mistakes(&[&MINIMAL[..], &forward].concat(), &[]);
    assert!(
        said.contains("found \"15432\", allowed: before `=` a loopback address and a port, such as 127.0.0.1:5432"),
        "{said}"
    );
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.yaml");
    let yaml = "zone: from-file\ninstance: from-file\nworkers: 3\ndangerExposedApplication: true\n\
                tcp: ['127.0.0.1:5432=postgres.shop:5432', '127.0.0.1:1=ledger:1']\n";
    std::fs::write(&file, yaml).unwrap();
    let mut arguments = MINIMAL.to_vec();
    arguments.extend(["--bootstrap", file.to_str().unwrap(), "--zone", "from-flag"]);
    let environment = [
        ("USHER_PROXY_ZONE", "from-environment"),
        ("USHER_PROXY_INSTANCE", "from-environment"),
    ];
    let bootstrap = read(&arguments, &environment).unwrap();
    assert_eq!(bootstrap.zone, "from-flag");
    assert_eq!(bootstrap.instance.unwrap().as_str(), "from-environment");
    assert_eq!(bootstrap.workers.get(), 3);
    assert!(bootstrap.danger_exposed_application);
    assert_eq!(bootstrap.tcp[0].target.service.to_string(), "shop/postgres");
    assert_eq!(
        bootstrap.tcp[1].target.service.namespace, bootstrap.service.namespace,
        "our own"
    );
}

#[test]
fn mistakes_in_the_file_stand_beside_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.yaml");
    std::fs::write(&file, "state-dir: x\nworkers: 0\nzone: [a]\n").unwrap();
    let text = mistakes(&["usher-proxy", "--bootstrap", file.to_str().unwrap()], &[]);
    assert!(
        text.contains("state-dir: no such setting; did you mean stateDir?"),
        "{text}"
    );
    assert!(text.contains("workers: found \"0\""), "{text}");
    assert!(text.contains("zone: allowed: one value"), "{text}");
    assert!(text.contains("--service: required"), "{text}");
}

#[test]
fn an_advertised_address_may_leave_out_its_port() {
    let with = |text: &str| {
        let mut arguments = MINIMAL.to_vec();
        arguments.extend(["--advertise", text]);
        read(&arguments, &[]).map(|bootstrap| bootstrap.advertise.unwrap())
    };
    assert_eq!(with("10.0.0.7").unwrap().port, None);
    assert_eq!(with("10.0.0.7:80").unwrap().port.unwrap().get(), 80);
    assert_eq!(with("[fd00::7]:80").unwrap().ip.to_string(), "fd00::7");
    assert!(with("0.0.0.0").is_err());
}

#[test]
fn transparent_mode_is_asked_for_by_name() {
    let with = |mode| [&MINIMAL[..], &["--transparent", mode]].concat();
    let bootstrap = read(&with("redirect"), &[]).unwrap();
    assert_eq!(bootstrap.transparent, Some(Transparent::Redirect));
    assert!(bootstrap.intercepts_inbound());
    let bootstrap = read(&with("outbound"), &[]).unwrap();
    assert_eq!(bootstrap.transparent, Some(Transparent::OutboundOnly));
    assert!(!bootstrap.intercepts_inbound());
    let text = mistakes(&with("yes"), &[]);
    assert!(
        text.contains("--transparent") && text.contains("tproxy"),
        "{text}"
    );
    assert_eq!(read(&MINIMAL, &[]).unwrap().transparent, None);
}

#[test]
fn a_gateway_believes_nobody_and_gives_notice_unless_told_otherwise() {
    let with = |more: &[&str]| {
        let arguments = [&MINIMAL[..], &["--gateway"], more].concat();
        read(&arguments, &[]).map(|bootstrap| bootstrap.gateway.unwrap())
    };
    let role = with(&[]).unwrap();
    assert_eq!(
        (role.trusted_hops, role.drain_notice),
        (0, Duration::from_secs(5))
    );
    let role = with(&[
        "--trusted-hops",
        "2",
        "--drain-grace",
        "1m",
        "--drain-notice",
        "20s",
    ])
    .unwrap();
    assert_eq!(
        (role.trusted_hops, role.drain_notice),
        (2, Duration::from_secs(20))
    );
    let refused = |more: &[&str]| mistakes(&[&MINIMAL[..], &["--gateway"], more].concat(), &[]);
    assert!(refused(&["--trusted-hops", "9"]).contains("from 0 to 8"));
    assert!(refused(&["--drain-notice", "10s"]).contains("less than drain-grace"));
    let text = mistakes(&[&MINIMAL[..], &["--trusted-hops", "1"]].concat(), &[]);
    assert!(text.contains("only a gateway has it"), "{text}");
}

#[test]
fn a_certificate_may_be_another_namespaces() {
    fn with(text: &str) -> Vec<&str> {
        [&MINIMAL[..], &["--gateway", "--certificate", text]].concat()
    }
    for name in ["web", "vault/web"] {
        let bootstrap = read(&with(&format!("{name}=a.crt,a.key")), &[]).unwrap();
        let files = &bootstrap.gateway.unwrap().certificates[0];
        assert_eq!(files.name.as_str(), name);
    }
    for text in [
        "a/b/c=a.crt,a.key",
        "/web=a.crt,a.key",
        "Web=a.crt,a.key",
        "vault/=a.crt,a.key",
    ] {
        let said = mistakes(&with(text), &[]);
        assert!(said.contains("[NS/]NAME=CERT,KEY"), "{said}");
    }
}

#[test]
fn probes_are_a_list_of_questions_to_the_application() {
    let with = |json: &'static str| [&MINIMAL[..], &["--probes", json]].concat();
    let bootstrap = read(
        &with(
            r#"{"app/liveness": {"httpGet": {"path": "live\u0024", "port": 80, "scheme": "HTTPS",
                "httpHeaders": [{"name": "X-A", "value": "b"}]}, "timeoutSeconds": 3, "portName": "http"},
                "app/pre-stop": {"tcpSocket": {"port": 81}}, "b/startup": {"grpc": {"port": 82, "service": null}}}"#,
        ),
        &[],
    );
    let probes = bootstrap.unwrap().probes;
    let liveness = &probes["app/liveness"];
    assert_eq!((liveness.port.get(), liveness.timeout.as_secs()), (80, 3));
    match &liveness.question {
        Question::Http { path, headers, tls } => {
            assert_eq!((path.as_str(), headers.len(), *tls), ("/live$", 1, true));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(probes["app/pre-stop"].question, Question::Tcp);
    assert_eq!(probes["b/startup"].timeout.as_secs(), 1);
    for bad in [
        "{",
        "[]",
        r#"{"app": {"tcpSocket": {"port": 1}}}"#,
        r#"{"app/other": {"tcpSocket": {"port": 1}}}"#,
        r#"{"App/liveness": {"tcpSocket": {"port": 1}}}"#,
        r#"{"app/liveness": {"tcpSocket": {"port": 0}}}"#,
        r#"{"app/liveness": {"tcpSocket": {"port": "http"}}}"#,
        r#"{"app/liveness": {"tcpSocket": {"port": 1, "host": "10.0.0.1"}}}"#,
        r#"{"app/liveness": {"httpGet": {"port": 1, "host": "10.0.0.1"}}}"#,
        r#"{"app/liveness": {"httpGet": {"port": 1, "path": "/a b"}}}"#,
        r#"{"app/liveness": {"httpGet": {"port": 1}, "tcpSocket": {"port": 1}}}"#,
        r#"{"app/liveness": {"exec": {"command": ["rm"]}}}"#,
        r#"{"app/liveness": {}}"#,
    ] {
        let said = mistakes(&with(bad), &[]);
        assert!(
            said.starts_with("--probes: ") && said.contains("usher inject"),
            "{bad}: {said}"
        );
    }
}

#[test]
fn a_sidecar_can_end_with_containers() {
    let with = |text: &'static str| [&MINIMAL[..], &["--ends-with", text]].concat();
    let ends_with = read(&with("/usher/notes,on-failure,a,b"), &[])
        .unwrap()
        .ends_with
        .unwrap();
    assert_eq!(
        (ends_with.again, ends_with.containers.len()),
        (Again::OnFailure, 2)
    );
    for bad in [
        "",
        "/n",
        "/n,always,a",
        "/n,never",
        "/n,never,",
        "/n,never,A",
        ",never,a",
    ] {
        assert!(
            mistakes(&with(bad), &[]).starts_with("--ends-with: "),
            "{bad}"
        );
    }
}
