//! An etcd that is restored from a backup: noticed, wherever its positions go on.

use std::sync::Arc;

use tokio::sync::mpsc;
use usher_config::value::InstanceName;

use super::*;
use crate::registry::shared::{Batch, Event};

impl Server {
    /// All it has, in a file.
    fn save(&self) {
        self.tool(&["snapshot", "save"]);
    }

    /// Starts it again with what [`Self::save`] wrote, and positions that have gone on by as many writes: version 3.5 and
    /// later do that by `--bump-revision`.
    fn restore(&mut self, bump: u32) {
        self.kill();
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("there");
        let peer = format!("http://{}", self.peer);
        let cluster = self.cluster.clone();
        let data = self.folder.path().join("data");
        let data = data.to_str().expect("text").to_owned();
        self.tool(&[
            "snapshot",
            "restore",
            "--data-dir",
            &data,
            "--name",
            "one",
            "--initial-cluster",
            &cluster,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        let address = self.client.clone();
        // Nobody else may see it before it is done.
        let hidden = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        self.client = hidden.local_addr().expect("bound").to_string();
        drop(hidden);
        self.run();
        Runtime::new().expect("runtime").block_on(self.write(bump));
        self.kill();
        self.client = address;
        self.run();
    }

    /// As often, as soon as it is there.
    async fn write(&self, times: u32) {
        let client = etcd_client::Client::connect([&self.client], None).await;
        let mut etcd = client.expect("an address").kv_client();
        let began = Instant::now();
        let mut written = 0;
        while written < times {
            match etcd.put("bump", "", None).await {
                Ok(_) => written += 1,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
        }
    }

    fn tool(&self, words: &[&str]) {
        let (what, more) = words.split_at(2);
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.client])
            .args(what)
            .arg(self.folder.path().join("snapshot"))
            .args(more)
            .output()
            .expect("etcdctl (apt-get install etcd-client)");
        assert!(done.status.success(), "{done:?}");
    }
}

/// All registrations, as they are listed when a follower begins anew.
async fn listed(events: &mut mpsc::Receiver<Batch>) -> Event {
    let listed = async {
        loop {
            let batch = events.recv().await.expect("alive");
            let mut lists = batch.events.into_iter();
            let list = lists.find(|event| matches!(event, Event::All(_) | Event::Anew(_)));
            if let Some(list) = list {
                return list;
            }
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, listed).await.expect("in time")
}

#[test]
fn an_etcd_of_an_old_backup_is_noticed_also_where_its_positions_are_beyond_ours() {
    if Command::new("etcdctl")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: there is no etcdctl (apt-get install etcd-client)");
        return;
    }
    for bump in [0, 100] {
        let Some(mut etcd) = Etcd::start() else {
            return;
        };
        let names: [InstanceName; 2] =
            ["bank/account/a", "bank/account/b"].map(|name| name.parse().expect("valid"));
        let (store, mut events) = etcd.runtime.block_on(async {
            let store = Arc::new(etcd.server.connect("/restored").await);
            let (sender, events) = mpsc::channel(64);
            tokio::spawn(store.follow(sender));
            (store, events)
        });
        etcd.runtime.block_on(async {
            assert_eq!(listed(&mut events).await, Event::All(Vec::new()));
            let registered = store.register(&names[0], instance("account"), &|_| true);
            registered.await.expect("registered");
        });
        etcd.server.save();
        // Only restarted, it is the same.
        etcd.server.kill();
        etcd.server.run();
        let list = etcd.runtime.block_on(listed(&mut events));
        assert!(
            matches!(&list, Event::All(all) if all.len() == 1),
            "{list:?}"
        );
        let registered = store.register(&names[1], instance("account"), &|_| true);
        let began = Instant::now();
        let (_, position) = etcd.runtime.block_on(registered).expect("registered");
        // What is written is heard of: only then the follower can know that it is missing.
        etcd.runtime.block_on(async {
            loop {
                let heard = events.recv().await.expect("alive").position;
                if heard >= position {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(20));
            }
        });

        etcd.server.restore(bump);
        let list = etcd.runtime.block_on(listed(&mut events));
        assert!(
            matches!(&list, Event::Anew(all) if all.len() == 1),
            "bump {bump}: {list:?}"
        );
        // From then on it is the one that is known.
        let registered = store.register(&names[1], instance("account"), &|_| true);
        etcd.runtime.block_on(registered).expect("registered");
        etcd.server.kill();
        etcd.server.run();
        let list = etcd.runtime.block_on(listed(&mut events));
        assert!(
            matches!(&list, Event::All(all) if all.len() == 2),
            "{list:?}"
        );
    }
}
