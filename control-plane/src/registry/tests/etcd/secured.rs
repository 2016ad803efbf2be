//! etcd behind TLS, and behind a login that may touch one prefix only.

use std::fs;

use etcd_client::{Client, Permission};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use usher_config::value::InstanceName;

use super::*;
use crate::{
    private_files::write_private,
    registry::{
        etcd::{TlsFiles, client_tls},
        shared::Acknowledgement,
    },
};

/// A CA, certificates of etcd and of a client that it signed, and one that it did not sign.
fn certificates(folder: &Path, address: Ipv4Addr) -> Vec<String> {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        CertifiedIssuer::self_signed(params, key).expect("signed")
    };
    let (ca, other) = (authority(), authority());
    let leaf = |issuer: &CertifiedIssuer<'static, KeyPair>, name: &str| {
        let mut params = CertificateParams::new(vec![address.to_string()]).expect("name");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        fs::write(path("crt"), certificate.pem()).expect("written");
        write_private(&path("key"), key.serialize_pem().as_bytes()).expect("written");
    };
    fs::write(folder.join("ca.crt"), ca.pem()).expect("written");
    fs::write(folder.join("other.crt"), other.pem()).expect("written");
    leaf(&ca, "etcd");
    leaf(&ca, "usher");
    leaf(&other, "stranger");
    let file = |name: &str| folder.join(name).display().to_string();
    [
        ("--cert-file", "etcd.crt"),
        ("--key-file", "etcd.key"),
        ("--trusted-ca-file", "ca.crt"),
    ]
    .into_iter()
    .flat_map(|(flag, name)| [flag.to_owned(), file(name)])
    .chain(["--client-cert-auth".to_owned()])
    .collect()
}

#[test]
fn behind_tls_both_sides_have_to_be_who_they_say() {
    let Some(server) = Server::start_with("https", certificates) else {
        return;
    };
    let runtime = Runtime::new().expect("runtime");
    let options = |ca: &str, name: Option<&str>| {
        let file = |name: String| server.folder.path().join(name);
        let ca = file(ca.to_owned());
        let pair = name.map(|name| (file(format!("{name}.crt")), file(format!("{name}.key"))));
        let certificate = pair
            .as_ref()
            .map(|(one, key)| (one.as_path(), key.as_path()));
        let files = TlsFiles {
            ca: &ca,
            certificate,
        };
        EtcdOptions {
            tls: Some(client_tls(&files).expect("files")),
            ..server.options("/tls")
        }
    };
    let store = runtime.block_on(connect(options("ca.crt", Some("usher"))));
    store.commit(&commit(1, &["a"], &[])).expect("stored");
    assert_eq!(store.load().expect("loaded").number(), 1);
    for (ca, certificate) in [
        ("other.crt", Some("usher")),
        ("ca.crt", Some("stranger")),
        ("ca.crt", None),
    ] {
        let refused = runtime.block_on(EtcdStore::connect(options(ca, certificate)));
        let refused = refused.map(drop).expect_err("another one").to_string();
        assert!(
            refused.contains("certificate") || refused.contains("connection"),
            "{refused}"
        );
    }
    let plain = runtime.block_on(EtcdStore::connect(server.options("/tls")));
    assert!(plain.is_err());
}

/// etcd's own users: root, and one who may read and write below one prefix.
async fn lock_down(address: &str) -> Result<(), etcd_client::Error> {
    let mut client = Client::connect([address], None).await?;
    client.user_add("root", "secret", None).await?;
    client.user_grant_role("root", "root").await?;
    client.role_add("mesh").await?;
    let below = Permission::read_write("/mine/").with_prefix();
    client.role_grant_permission("mesh", below).await?;
    client.user_add("usher", "word", None).await?;
    client.user_grant_role("usher", "mesh").await?;
    client.auth_enable().await.map(drop)
}

#[test]
fn a_user_of_one_prefix_can_do_all_there_and_nothing_elsewhere() {
    let Some(server) = Server::start() else {
        return;
    };
    let runtime = Runtime::new().expect("runtime");
    let login = |prefix: &str, password: &str| EtcdOptions {
        user: Some(("usher".into(), password.into())),
        ..server.options(prefix)
    };
    // Once it answers.
    drop(runtime.block_on(server.connect("/mine")));
    runtime.block_on(lock_down(&server.client)).expect("locked");

    let store = runtime.block_on(connect(login("/mine", "word")));
    store.commit(&commit(1, &["a"], &[])).expect("stored");
    let many: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    store.commit(&commit(2, &many, &[])).expect("staged");
    assert_eq!(store.load().expect("loaded").objects.len(), 301);
    let name: InstanceName = "bank/account/a".parse().expect("valid");
    runtime.block_on(async {
        let registered = store.register(&name, instance("account"), &|_| true).await;
        let (lease, _) = registered.expect("registered");
        assert_eq!(store.renew(&lease).await, Ok(()));
        store
            .acknowledge(Acknowledgement::default())
            .await
            .expect("written");
        store.deregister(&name, &lease).await.expect("ended");
    });
    let tokens = TokenStore::on(Box::new(store.tokens()), pinned(&["a"]));
    assert_eq!(tokens.len().expect("counted"), 0);

    for options in [
        login("/mine", "guess"),
        login("/theirs", "word"),
        server.options("/mine"),
    ] {
        let refused = runtime.block_on(EtcdStore::connect(options));
        let refused = refused.map(drop).expect_err("no right").to_string();
        assert!(refused.starts_with("the store refused"), "{refused}");
        assert!(!refused.contains("guess"), "{refused}");
    }
}
