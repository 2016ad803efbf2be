//! The door for the kubelet: what is listed is asked as the kubelet would, and nothing else.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

/// An application that answers each connection with the next of `answers`, and tells what it was asked.
async fn application(answers: &'static [&'static str]) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = told.send(exchange(stream, answer).await);
        }
    });
    (port, asked)
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut asked = String::new();
    let mut buffer = [0; 1024];
    while !asked.ends_with("\r\n\r\n") {
        let read = stream.read(&mut buffer).await.unwrap();
        asked.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    asked
}

fn get(port: u16, path: &str) -> Probe {
    Probe {
        question: Question::Http {
            path: path.to_owned(),
            headers: Vec::new(),
            tls: false,
        },
        port: u32::from(port).try_into().unwrap(),
        timeout: Duration::from_secs(5),
    }
}

fn door(listed: impl IntoIterator<Item = (&'static str, Probe)>) -> Door {
    let listed = listed.into_iter();
    Door::new(
        listed
            .map(|(name, probe)| (name.to_owned(), probe))
            .collect(),
    )
}

async fn ask(door: &Door, path: &str) -> Verdict {
    door.answer(path).await.unwrap()
}

#[tokio::test]
async fn a_probe_passes_where_the_kubelets_own_would() {
    for (answers, passes) in [
        (&["200 OK"] as &'static [_], true),
        (&["399 Odd"], true),
        (&["302 Found\r\nlocation: https://elsewhere/"], true),
        (&["302 Found\r\nlocation: /there", "200 OK"], true),
        (&["302 Found\r\nlocation: /there", "500 No"], false),
        (&["404 Not Found"], false),
        (&["503 Busy"], false),
    ] {
        let (port, _asked) = application(answers).await;
        let door = door([("app/readiness", get(port, "/healthz?secret=1"))]);
        let verdict = ask(&door, "/probe/app/readiness").await;
        assert_eq!(
            verdict == Verdict::Passed,
            passes,
            "{answers:?}: {verdict:?}"
        );
        if let Verdict::Failed(failure) = verdict {
            assert!(
                failure.contains("/healthz → ") && !failure.contains("secret"),
                "{failure}"
            );
        }
    }
}

#[tokio::test]
async fn it_is_asked_with_its_own_headers_and_nobody_elses() {
    let (port, mut asked) = application(&["200 OK"]).await;
    let mut probe = get(port, "/a?b=c");
    if let Question::Http { headers, .. } = &mut probe.question {
        headers.push(("host".parse().unwrap(), "web".parse().unwrap()));
        headers.push(("x-probe".parse().unwrap(), "1".parse().unwrap()));
    }
    let door = door([("app/liveness", probe)]);
    assert_eq!(ask(&door, "/probe/app/liveness").await, Verdict::Passed);
    let asked = asked.recv().await.unwrap();
    for line in [
        "GET /a?b=c HTTP/1.1\r\n",
        "host: web\r\n",
        "x-probe: 1\r\n",
        "user-agent: kube-probe/usher\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} in {asked}");
    }
    assert_eq!(asked.matches("host:").count(), 1);
}

#[tokio::test]
async fn what_is_not_listed_is_not_asked() {
    let (port, mut asked) = application(&["200 OK"]).await;
    let door = door([
        ("app/liveness", get(port, "/")),
        ("app/pre-stop", get(port, "/stop")),
    ]);
    for path in [
        "/probe/app/readiness",
        "/probe/other/liveness",
        "/probe/app/pre-stop",
        "/hook/app/liveness",
        "/probe/app/liveness/more",
        "/probe/",
        "/probe/http://10.0.0.1/",
    ] {
        assert_eq!(ask(&door, path).await, Verdict::Unlisted, "{path}");
    }
    for path in [
        "/ready",
        "/",
        "",
        "probe/app/liveness",
        "/probes/app/liveness",
    ] {
        assert_eq!(door.answer(path).await, None, "{path}");
    }
    assert!(asked.try_recv().is_err());
    assert_eq!(
        ask(&Door::default(), "/probe/app/liveness").await,
        Verdict::Unlisted
    );
}

#[tokio::test]
async fn a_hook_has_happened_whatever_the_answer() {
    let (port, _asked) = application(&["500 No"]).await;
    let door = door([("app/pre-stop", get(port, "/stop"))]);
    assert_eq!(ask(&door, "/hook/app/pre-stop").await, Verdict::Passed);
    // Nobody is there any more.
    assert!(matches!(
        ask(&door, "/hook/app/pre-stop").await,
        Verdict::Failed(_)
    ));
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_and_no_grpc_is_no_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tcp = |question| Probe {
        question,
        ..get(port, "/")
    };
    let grpc = tcp(Question::Grpc {
        service: String::new(),
    });
    let door = door([("app/startup", tcp(Question::Tcp)), ("app/liveness", grpc)]);
    assert_eq!(ask(&door, "/probe/app/startup").await, Verdict::Passed);
    drop(listener);
    for path in ["/probe/app/startup", "/probe/app/liveness"] {
        match ask(&door, path).await {
            Verdict::Failed(failure) => {
                assert!(failure.contains("nothing listens there"), "{failure}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn https_is_asked_whatever_the_certificate() {
    let made = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut probe = get(listener.local_addr().unwrap().port(), "/");
    if let Question::Http { tls, .. } = &mut probe.question {
        *tls = true;
    }
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        exchange(acceptor.accept(stream).await.unwrap(), "204 Fine").await;
    });
    let door = door([("app/liveness", probe)]);
    assert_eq!(ask(&door, "/probe/app/liveness").await, Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_fails_in_its_time_and_a_crowd_is_turned_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = door([(
        "app/liveness",
        get(listener.local_addr().unwrap().port(), "/"),
    )]);
    let crowd = (0..AT_ONCE_MAX + 1).map(|_| ask(&door, "/probe/app/liveness"));
    let verdicts = futures_util::future::join_all(crowd).await;
    let busy = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Busy)
        .count();
    assert_eq!(busy, 1);
    let late = verdicts.iter().filter(|verdict| match verdict {
        Verdict::Failed(failure) => failure.contains("no answer within 5s"),
        Verdict::Passed | Verdict::Unlisted | Verdict::Busy => false,
    });
    assert_eq!(late.count(), AT_ONCE_MAX);
}
