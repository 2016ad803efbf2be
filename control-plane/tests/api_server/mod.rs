//! A stand-in of Kubernetes's API server: TLS, objects with resource versions, get, list, watch, JSON Patch, and what goes wrong.
//!
//! It knows no schema and no admission: it is what clients of ours are tried against, over the protocol that they will meet. Objects are
//! whatever is put in, of kinds that are installed (`apis/GROUP/VERSION` says which); lists come in pages and watches have bookmarks.
//! `kubeconfig` is how clients come to it. Everything may be made to fail: the next writes cross with
//! others ([`ApiServer::cross`]), history is forgotten ([`ApiServer::forget`], which watches learn as `410 Gone`), connections are cut
//! and the port is closed ([`ApiServer::stop`]) until it opens again ([`ApiServer::restart`]).

mod http;
mod objects;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub(crate) use objects::{Key, Objects};

/// Running until it is dropped.
pub(crate) struct ApiServer {
    home: tempfile::TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    serving: Option<JoinHandle<()>>,
}

/// What its connections share.
pub(crate) struct Shared {
    objects: Mutex<Objects>,
    /// The newest resource version: watches wait for it.
    newest: watch::Sender<u64>,
    requests: Mutex<Vec<String>>,
}

impl Shared {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the objects, and tells watches.
    fn change<T>(&self, act: impl FnOnce(&mut Objects) -> T) -> T {
        let mut objects = self.objects();
        let done = act(&mut objects);
        self.newest.send_replace(objects.version());
        done
    }
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().expect("writable");
        let key = KeyPair::generate().expect("random");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("its key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
        let address = listener.local_addr().expect("bound");
        std::fs::write(home.path().join("ca.pem"), certificate.pem()).expect("writable");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{address}"), "certificate-authority": home.path().join("ca.pem"),
            }}],
            "users": [{"name": "test", "user": {"token": "of-a-test"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let path = home.path().join("kubeconfig");
        std::fs::write(path, kubeconfig.to_string()).expect("writable");
        let mut server = Self {
            home,
            address,
            shared: Arc::new(Shared {
                objects: Mutex::default(),
                newest: watch::Sender::new(0),
                requests: Mutex::default(),
            }),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            serving: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let (acceptor, shared) = (self.acceptor.clone(), Arc::clone(&self.shared));
        self.serving = Some(tokio::spawn(http::serve(listener, acceptor, shared)));
    }

    /// How clients come to it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, object: Value) {
        self.shared.change(|objects| objects.put(object));
    }

    /// Changes an object, as somebody else would.
    pub(crate) fn edit(&self, key: &Key, edit: impl FnOnce(&mut Value)) {
        self.shared.change(|objects| {
            let mut object = objects.get(key).expect("there").clone();
            edit(&mut object);
            objects.put(object);
        });
    }

    /// Takes an object away, as somebody else would.
    pub(crate) fn delete(&self, key: &Key) {
        self.shared
            .change(|objects| objects.delete(key))
            .expect("there");
    }

    /// Installs a kind: `apis/VERSION` has it.
    pub(crate) fn install(&self, version: &str, kind: &str, plural: &str) {
        let installed = (version.to_owned(), kind.to_owned(), plural.to_owned());
        self.shared.objects().installed.push(installed);
    }

    /// Takes a kind away, and says nothing of its objects: an API server that starts and has not read all.
    pub(crate) fn uninstall(&self, kind: &str) {
        self.shared
            .objects()
            .installed
            .retain(|(_, one, _)| one != kind);
    }

    /// From now on only the first page of each list of these is answered; nothing: all are.
    pub(crate) fn break_pages(&self, plurals: &[&str]) {
        let plurals = plurals.iter().map(|one| (*one).to_owned());
        self.shared.objects().broken_pages = plurals.collect();
    }

    /// From now on nobody may list or watch these plurals, nor do this in a namespace (`PATCH bank`); nothing: whoever asks may.
    pub(crate) fn forbid(&self, what: &[&str]) {
        let what = what.iter().map(|one| (*one).to_owned());
        self.shared.objects().forbidden = what.collect();
    }

    /// Watches are slow: so long for each batch of lines.
    pub(crate) fn slow(&self, pause: Duration) {
        self.shared.objects().pause = pause;
    }

    /// The object as it is.
    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.shared.objects().get(key).cloned()
    }

    /// The next `writes` are refused with `409 Conflict`.
    pub(crate) fn cross(&self, writes: usize) {
        self.shared.objects().cross(writes);
    }

    /// Forgets what was: watches that want to go on from there hear `410 Gone`.
    pub(crate) fn forget(&self) {
        self.shared.objects().forget();
    }

    /// `METHOD path?query` of everything that was asked so far, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.shared.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts all connections and closes the port.
    pub(crate) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Cancelled, and with it all connections.
            let _ = serving.await;
        }
    }

    /// Opens the port again, with all objects.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.expect("ours");
        self.serve(listener);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
