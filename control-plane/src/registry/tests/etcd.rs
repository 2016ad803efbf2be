//! The contract, and what etcd adds to it, against a real etcd.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Runtime;

use super::*;
use crate::{
    ca::{
        roots::RootSet,
        token::{Refusal, TokenRequest, TokenStore, tests::pinned},
        trust::{self, Census, Grant, Signer, TrustStore as _},
    },
    registry::{
        callers::Caller,
        etcd::{EtcdOptions, EtcdStore},
        instances::Instance,
        shared::{Health, Shared, SharedError},
    },
};

mod members;
mod registrations;
mod restored;
mod secured;
mod unanswered;

/// A member of an etcd, on a loopback address that only this process uses; stopped when dropped.
struct Server {
    child: Option<Child>,
    name: String,
    /// All members, with where they meet.
    cluster: String,
    client: String,
    peer: String,
    /// Of `--listen-client-urls`.
    scheme: &'static str,
    more: Vec<String>,
    folder: tempfile::TempDir,
}

impl Server {
    /// The only member. `None`, said on stderr: there is no etcd here.
    fn start() -> Option<Self> {
        Self::start_with("http", |_, _| Vec::new())
    }

    /// As many.
    fn start_members(number: usize) -> Option<Vec<Self>> {
        let members = (0..number).map(|_| Self::prepared("http", |_, _| Vec::new()));
        let mut members: Vec<Self> = members.collect::<Option<_>>()?;
        for (index, member) in members.iter_mut().enumerate() {
            member.name = format!("m{index}");
        }
        let met = |member: &Self| format!("{}=http://{}", member.name, member.peer);
        let cluster = members.iter().map(met).collect::<Vec<_>>().join(",");
        for member in &mut members {
            member.cluster.clone_from(&cluster);
            member.run();
        }
        Some(members)
    }

    /// With more arguments, which may name files in its folder and its address.
    fn start_with(
        scheme: &'static str,
        more: impl FnOnce(&Path, Ipv4Addr) -> Vec<String>,
    ) -> Option<Self> {
        let mut server = Self::prepared(scheme, more)?;
        server.run();
        Some(server)
    }

    fn prepared(
        scheme: &'static str,
        more: impl FnOnce(&Path, Ipv4Addr) -> Vec<String>,
    ) -> Option<Self> {
        let found = Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if found.is_err() {
            eprintln!("skipped: there is no etcd (apt-get install etcd-server)");
            return None;
        }
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let ours = Ipv4Addr::new(127, high | 0x40, middle, low);
        let free = || {
            let listener = TcpListener::bind((ours, 0)).expect("a free port");
            listener.local_addr().expect("bound").to_string()
        };
        let folder = tempfile::tempdir().expect("folder");
        let peer = free();
        Some(Self {
            child: None,
            name: "one".to_owned(),
            cluster: format!("one=http://{peer}"),
            client: free(),
            peer,
            scheme,
            more: more(folder.path(), ours),
            folder,
        })
    }

    fn run(&mut self) {
        let (client, peer) = (
            format!("{}://{}", self.scheme, self.client),
            format!("http://{}", self.peer),
        );
        let child = Command::new("etcd")
            .args(["--name", &self.name, "--initial-cluster", &self.cluster])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--log-level", "error", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        self.child = Some(child);
    }

    /// As a machine does that loses power.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    fn options(&self, prefix: &str) -> EtcdOptions {
        EtcdOptions {
            members: vec![self.client.clone()],
            prefix: prefix.to_owned(),
            tls: None,
            user: None,
        }
    }

    async fn connect(&self, prefix: &str) -> EtcdStore {
        connect(self.options(prefix)).await
    }
}

/// As soon as it is there.
async fn connect(options: EtcdOptions) -> EtcdStore {
    {
        let began = Instant::now();
        loop {
            match EtcdStore::connect(options.clone()).await {
                Ok(store) => return store,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Etcd {
    server: Server,
    runtime: Runtime,
}

impl Etcd {
    fn start() -> Option<Self> {
        let server = Server::start()?;
        let runtime = Runtime::new().expect("runtime");
        Some(Self { server, runtime })
    }
}

impl contract::Opens for Etcd {
    fn open(&mut self, mesh: u32) -> Box<dyn Store> {
        let prefix = format!("/mesh/{mesh}");
        let connect = self.server.connect(&prefix);
        Box::new(self.runtime.block_on(connect))
    }
}

#[test]
fn an_etcd_store_keeps_the_contract() {
    if let Some(mut etcd) = Etcd::start() {
        contract::holds(&mut etcd, 16);
    }
}

#[test]
fn a_second_control_plane_hears_of_every_commit() {
    let Some(etcd) = Etcd::start() else { return };
    let (one, other) = etcd.runtime.block_on(async {
        let server = &etcd.server;
        (server.connect("/two").await, server.connect("/two").await)
    });
    let mut committed = other.committed();
    for number in 1..=3 {
        one.commit(&commit(number, &["a"], &[])).expect("stored");
        let heard = committed.wait_for(|revision| revision.number == number);
        let heard = etcd.runtime.block_on(heard).expect("alive");
        assert_eq!(heard.digest, format!("d{number}"));
    }
    assert_eq!(other.load().expect("loaded"), one.load().expect("loaded"));
    let refused = other.commit(&commit(3, &["b"], &[]));
    assert!(matches!(
        refused,
        Err(StoreError::Conflict { stored: 3, .. })
    ));
}

#[test]
fn a_value_that_etcd_cannot_hold_is_refused_whole() {
    let Some(etcd) = Etcd::start() else { return };
    let store = etcd.runtime.block_on(etcd.server.connect("/long"));
    let mut long = commit(1, &["a", "b"], &[]);
    long.accepted.insert(
        key("c"),
        StoredObject {
            text: "x".repeat(2 << 20),
            file: "c.yaml".into(),
            accepted_at: SystemTime::UNIX_EPOCH,
        },
    );
    let refused = store.commit(&long).expect_err("too long").to_string();
    assert!(refused.contains("Service bank/c is 2"), "{refused}");
    assert_eq!(store.load().expect("loaded"), store::Stored::default());
}

#[test]
fn while_etcd_is_gone_writes_are_refused_and_it_is_said_and_then_all_is_as_before() {
    let Some(mut etcd) = Etcd::start() else {
        return;
    };
    let store = etcd.runtime.block_on(etcd.server.connect("/gone"));
    store.commit(&commit(1, &["a"], &[])).expect("stored");
    let mut health = store.health();
    etcd.server.kill();
    let refused = store.commit(&commit(2, &["b"], &[]));
    assert!(
        matches!(
            refused,
            Err(StoreError::Shared(SharedError::Unreachable { .. }))
        ),
        "{refused:?}"
    );
    assert!(matches!(*health.borrow(), Health::Unreachable { .. }));
    etcd.server.run();
    let again = health.wait_for(|health| *health == Health::Reachable);
    drop(etcd.runtime.block_on(again).expect("alive"));
    store.commit(&commit(2, &["b"], &[])).expect("stored");
    assert_eq!(store.load().expect("loaded").objects.len(), 2);
}

#[test]
fn the_roots_change_one_version_at_a_time_and_hold_no_secret() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.runtime.block_on(async {
        let store = etcd.server.connect("/roots").await;
        let (one, other) = (store.trust(), store.trust());
        assert_eq!(one.read().await.expect("read"), trust::Shared::default());
        let now = time::OffsetDateTime::UNIX_EPOCH;
        let first = |pin: &str| RootSet::first(pin.repeat(64), vec![1, 2, 3], now);
        assert!(one.write_roots(first("a")).await.expect("written"));
        assert!(
            one.write_roots(first("a")).await.expect("written"),
            "its own again"
        );
        assert!(
            !other.write_roots(first("b")).await.expect("written"),
            "too late"
        );
        let next = RootSet {
            version: 2,
            ..first("c")
        };
        assert!(other.write_roots(next.clone()).await.expect("written"));
        let signer = Signer {
            name: "host".to_owned(),
            issuer: None,
            keys: vec!["c".repeat(64)],
            wants: None,
            version: 2,
            census: Census::default(),
            given: Vec::new(),
            left: BTreeMap::new(),
            said_at: now,
        };
        one.say("x".to_owned(), signer.clone()).await.expect("said");
        let grant = Grant {
            certificate: vec![9],
        };
        one.grant("x".to_owned(), grant.clone())
            .await
            .expect("granted");
        let all = other.read().await.expect("read");
        assert_eq!(all.roots, Some(next));
        assert_eq!(all.signers, BTreeMap::from([("x".to_owned(), signer)]));
        assert_eq!(all.grants, BTreeMap::from([("x".to_owned(), grant)]));
        one.forget("x".to_owned()).await.expect("forgotten");
        let left = other.read().await.expect("read");
        assert!(left.signers.is_empty() && left.grants.is_empty());
    });
}

fn instance(account: &str) -> Instance {
    let identity = format!("spiffe://mesh.test/ns/bank/sa/{account}");
    Instance {
        address: "10.0.0.1:15006".parse().expect("valid"),
        address_is_own: true,
        healthy: true,
        health_reason: String::new(),
        zone: "z1".into(),
        identity: identity.parse().expect("valid"),
        revision: 3,
        callers: [Caller {
            address: [192, 0, 2, 7].into(),
            port: 8080,
            first: 1_700_000_000,
            last: 1_700_000_060,
            refused: None,
            let_in: Some(1_700_000_060),
        }]
        .into(),
    }
}

#[test]
fn a_join_token_is_good_at_any_control_plane_and_as_often_as_it_says() {
    let Some(etcd) = Etcd::start() else { return };
    let open = || {
        let store = etcd.runtime.block_on(etcd.server.connect("/tokens"));
        TokenStore::on(Box::new(store.tokens()), pinned(&["a"]))
    };
    let (one, other) = (open(), open());
    let request = TokenRequest {
        namespace: "bank".parse().expect("valid"),
        service_account: "account".parse().expect("valid"),
        ttl: Duration::from_secs(60),
        uses: std::num::NonZeroU32::new(5),
    };
    let now = SystemTime::now();
    let (token, _) = one.create(&request, now).expect("made");
    assert!(matches!(
        other.redeem(&token, now, |_| false),
        Err(Refusal::Undeclared(_))
    ));
    let used = std::thread::scope(|scope| {
        let stores = [&one, &other, &one, &other, &one, &other, &one, &other];
        let uses = stores.map(|store| {
            let token = &token;
            scope.spawn(move || store.redeem(token, now, |_| true).is_ok())
        });
        uses.map(|used| used.join().expect("no panic"))
    });
    assert_eq!(used.iter().filter(|used| **used).count(), 5, "{used:?}");
    assert!(matches!(
        one.redeem(&token, now + Duration::from_secs(61), |_| true),
        Err(Refusal::Expired)
    ));
    assert_eq!(other.len().expect("counted"), 1);
}
