//! What has no sidecar is called where an EndpointSlice says it is, inside the TLS that a BackendTLSPolicy asks for; what does
//! not verify is told nothing, and there is no way back to plaintext.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use http::Version;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use usher_tests::{Answer, Application, Gateway, Mesh, Sidecar, binary, eventually, run, yaml};

use crate::gateway::{gateway, http_listener, roots::Root};

const HOST: &str = "api.partners.example";

/// TLS in front of an application of the test.
struct Partner {
    port: u16,
    /// Connections on which TLS was agreed on.
    verified: Arc<AtomicUsize>,
    /// Connections on which something else came than TLS.
    plain: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Partner {
    async fn start(root: &Root, names: &[&str], application: u16) -> Result<Self> {
        let (chain, key) = root.leaf(names)?;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (verified, plain) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counters = (verified.clone(), plain.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(
                    stream,
                    acceptor.clone(),
                    application,
                    counters.clone(),
                ));
            }
        });
        Ok(Self {
            port,
            verified,
            plain,
            task,
        })
    }
}

async fn carry(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    application: u16,
    (verified, plain): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) -> Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [22] {
        plain.fetch_add(1, Ordering::SeqCst);
        return Ok(());
    }
    let mut stream = acceptor.accept(stream).await?;
    verified.fetch_add(1, Ordering::SeqCst);
    let mut inner = TcpStream::connect(("127.0.0.1", application)).await?;
    copy_bidirectional(&mut stream, &mut inner).await?;
    Ok(())
}

/// The Service, and where it is.
fn partners(protocol: &str, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: partners }}
spec: {{ ports: [{{ name: api, port: 443, appProtocol: {protocol} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: partners-1, labels: {{ kubernetes.io/service-name: partners }} }}
addressType: IPv4
endpoints: [{{ addresses: [127.0.0.1] }}]
ports: [{{ name: api, port: {port} }}]
"
    )
}

fn policy(validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ name: to-partners }}
spec:
  targetRefs: [{{ group: \"\", kind: Service, name: partners }}]
  validation:
    caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: partners-ca }}]
{validation}"
    )
}

fn host() -> String {
    policy(&format!("    hostname: {HOST}\n"))
}

fn certificates(root: &Root) -> String {
    let pem = root.pem().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: partners-ca }}\ndata:\n  ca.crt: |\n    {pem}\n"
    )
}

/// No caller's request is repeated, so that each is answered by what holds then.
fn once() -> String {
    yaml::traffic_policy("partners", "  retry: { attempts: 0 }\n")
}

async fn ask(web: &Sidecar) -> Option<Answer> {
    web.get("http://partners:443/hello").await.ok()
}

async fn answers(web: &Sidecar, what: &str, status: u16) -> Answer {
    eventually(what, async || {
        ask(web).await.filter(|answer| answer.status == status)
    })
    .await
}

/// Nothing is sent; the answer's reason.
async fn refuses(web: &Sidecar, what: &str) -> String {
    eventually(what, async || {
        let answer = ask(web).await.filter(|answer| answer.status == 503)?;
        let reason = answer.header("x-usher-reason");
        reason.starts_with("UF").then_some(reason)
    })
    .await
}

/// The access log says why there was no TLS.
async fn is_logged(web: &Sidecar, why: &str) {
    eventually("the access log says why", async || {
        let lines = web.access_log();
        let line = lines.iter().find(|line| line["reason"] == "tls-failed")?;
        line["detail"].as_str()?.contains(why).then_some(())
    })
    .await;
}

#[tokio::test]
async fn http_is_spoken_inside_tls_that_verifies_and_never_without() -> Result<()> {
    let (root, stranger) = (Root::new()?, Root::new()?);
    let application = Application::echo().await?;
    let partner = Partner::start(&root, &[HOST], application.port()).await?;
    let documents = [
        partners("http", partner.port),
        once(),
        host(),
        certificates(&root),
    ];
    let mesh = Mesh::start(&documents).await?;
    let web = mesh.sidecar("web").start().await?;
    let answer = answers(&web, "the partner answers", 200).await;
    assert_eq!(answer.text(), "/hello");
    assert_eq!(partner.verified.load(Ordering::SeqCst), 1);
    // It is found as any service is.
    let shown = mesh.ask(&["instances", "partners"])?;
    assert!(shown.to_string().contains("ip-127-0-0-1-"), "{shown}");
    let config = mesh.config();
    let explained = run(
        &binary("usher"),
        [
            "explain".as_ref(),
            "--config".as_ref(),
            config.as_os_str(),
            "partners".as_ref(),
        ],
    );
    let said = &explained.stdout;
    assert!(
        said.contains("inside TLS for api.partners.example"),
        "{said}"
    );

    mesh.write("03.yaml", &certificates(&stranger))?;
    let reason = refuses(&web, "a certificate of another root is refused").await;
    assert!(reason.contains("tls-failed"), "{reason}");
    is_logged(&web, "certificate").await;
    let seen = application.received().len();

    std::fs::remove_file(mesh.config().join("03.yaml"))?;
    eventually("what is missing is said", async || {
        let shown = mesh.ask(&["status"]).ok()?.to_string();
        shown.contains("there is no ConfigMap").then_some(())
    })
    .await;
    eventually("nothing is sent without the roots", async || {
        let reason = ask(&web).await?.header("x-usher-reason");
        (reason == "UF tls-unverifiable").then_some(())
    })
    .await;

    mesh.write("03.yaml", &certificates(&root))?;
    answers(&web, "the roots are back", 200).await;
    assert_eq!(
        application.received().len(),
        seen + 1,
        "nothing came meanwhile"
    );
    assert_eq!(
        partner.plain.load(Ordering::SeqCst),
        0,
        "never in plaintext"
    );

    // Who takes the policy away means plaintext.
    std::fs::remove_file(mesh.config().join("02.yaml"))?;
    eventually("plaintext is spoken", async || {
        ask(&web).await;
        (partner.plain.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_gateway_verifies_whom_it_sends_the_outside_worlds_requests_to() -> Result<()> {
    let (root, stranger) = (Root::new()?, Root::new()?);
    let application = Application::echo().await?;
    let partner = Partner::start(&root, &[HOST], application.port()).await?;
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: out }\nspec:\n  \
        parentRefs: [{ kind: Gateway, name: edge }]\n  \
        rules: [{ backendRefs: [{ name: partners, port: 443 }] }]\n";
    let documents = [
        certificates(&root),
        yaml::workload("edge"),
        gateway(&http_listener("web", 8080, None)),
        route.to_owned(),
        partners("http", partner.port),
        once(),
        host(),
    ];
    let mesh = Mesh::start(&documents).await?;
    let edge = Gateway::start(&mesh, "edge", &[8080], &[]).await?;
    let outside = edge.client(8080);
    let asked = async |status| {
        let answer = outside.get("http://shop.example/hello").await.ok()?;
        (answer.status == status).then_some(answer)
    };
    let answer = eventually("the partner answers", async || asked(200).await).await;
    assert_eq!(answer.text(), "/hello");
    assert!(partner.verified.load(Ordering::SeqCst) > 0);
    mesh.write("00.yaml", &certificates(&stranger))?;
    eventually("another root's certificate is refused", async || {
        asked(503).await
    })
    .await;
    let seen = application.received().len();
    for _ in 0..3 {
        assert!(asked(503).await.is_some());
    }
    assert_eq!(application.received().len(), seen);
    assert_eq!(
        partner.plain.load(Ordering::SeqCst),
        0,
        "never in plaintext"
    );
    Ok(())
}

#[tokio::test]
async fn a_policy_that_never_was_valid_lets_nothing_be_sent() -> Result<()> {
    let root = Root::new()?;
    let application = Application::echo().await?;
    let partner = Partner::start(&root, &[HOST], application.port()).await?;
    let mesh = Mesh::start(&[certificates(&root)]).await?;
    let web = mesh.sidecar("web").start().await?;
    let broken = policy("    hostname: \"*.partners.example\"\n");
    let service = format!("{}---\n{}", partners("http", partner.port), once());
    let text = format!("{service}---\n{broken}");
    mesh.write("partners.yaml", &text)?;
    let reason = refuses(&web, "the service is there, and nothing is sent").await;
    assert_eq!(reason, "UF tls-unverifiable");
    assert_eq!(partner.plain.load(Ordering::SeqCst), 0);
    let text = format!("{service}---\n{}", host());
    mesh.write("partners.yaml", &text)?;
    answers(&web, "the policy is mended", 200).await;
    assert_eq!(partner.plain.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn grpc_and_other_names_than_the_hosts() -> Result<()> {
    let root = Root::new()?;
    let application = Application::echo().await?;
    let partner = Partner::start(&root, &["internal.partners.example"], application.port()).await?;
    let names = format!(
        "    hostname: {HOST}\n    subjectAltNames: [{{ type: Hostname, hostname: internal.partners.example }}]\n"
    );
    let documents = [
        partners("grpc", partner.port),
        once(),
        policy(&names),
        certificates(&root),
    ];
    let mesh = Mesh::start(&documents).await?;
    let web = mesh.sidecar("web").start().await?;
    answers(&web, "the partner answers", 200).await;
    let received = application.received();
    assert_eq!(received[0].version, Version::HTTP_2);
    assert_eq!(partner.plain.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn bytes_of_any_kind_are_carried_inside_it() -> Result<()> {
    let root = Root::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let inner = listener.local_addr()?.port();
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
            });
        }
    });
    let partner = Partner::start(&root, &[HOST], inner).await?;
    let documents = [partners("tcp", partner.port), host(), certificates(&root)];
    let mesh = Mesh::start(&documents).await?;
    let web = mesh
        .sidecar("web")
        .argument("--tcp")
        .argument("127.0.0.1:0=partners.default:443")
        .start()
        .await?;
    let local = web.tcp.first().context("no address for --tcp")?;
    let mut stream = eventually("the partner echoes", async || {
        let mut stream = TcpStream::connect(local).await.ok()?;
        stream.write_all(b"x").await.ok()?;
        let mut back = [0];
        stream.read_exact(&mut back).await.ok()?;
        (back == *b"x").then_some(stream)
    })
    .await;
    let sent = vec![7_u8; 300_000];
    let (mut reads, mut writes) = stream.split();
    let mut back = vec![0; sent.len()];
    let (wrote, read) = tokio::join!(writes.write_all(&sent), reads.read_exact(&mut back));
    wrote?;
    read?;
    assert_eq!(back, sent);
    assert_eq!(partner.plain.load(Ordering::SeqCst), 0);
    echo.abort();
    Ok(())
}
