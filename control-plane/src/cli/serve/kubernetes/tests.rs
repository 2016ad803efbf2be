//! Flags become what the server is told.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Told {
    #[command(flatten)]
    kubernetes: KubernetesArgs,
}

fn told(flags: &[&str]) -> KubernetesArgs {
    let all = ["usher"].iter().chain(flags);
    Told::try_parse_from(all).expect("flags").kubernetes
}

#[test]
fn without_flags_nobody_is_answered_and_each_flag_alone_opens_the_door() {
    assert_eq!(told(&[]).place(), None);
    let by_default = told(&["--kubernetes"]).place();
    assert_eq!(
        by_default.map(|place| place.to_string()).as_deref(),
        Some("0.0.0.0:15017")
    );
    let here = ["--webhook-listen", "127.0.0.1:0"];
    let place = told(&here).place();
    assert_eq!(
        place.map(|place| place.to_string()).as_deref(),
        Some("127.0.0.1:0")
    );
    assert!(Told::try_parse_from(["usher", "--kubeconfig", "f"]).is_err());
}

#[test]
fn names_are_dns_or_addresses() {
    for good in ["usher.usher-system.svc", "10.0.0.1", "fd00::1", "usher"] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "*.usher",
        "a..b",
        "https://usher",
        "usher:15017",
        "Usher",
    ] {
        assert!(
            name(bad).is_err_and(|error| error.contains("usher.usher-system.svc")),
            "{bad}"
        );
    }
}

#[cfg(feature = "kubernetes")]
#[test]
fn pods_get_what_usher_inject_would_give_them() {
    use crate::inject::{PullPolicy, Settings, Style};
    use crate::webhook::Cluster;

    let options = told(&["--kubernetes"]).options().expect("asked for");
    assert_eq!(options.settings, Settings::default());
    assert_eq!(options.cluster, Some(Cluster::Own));
    let flags = [
        "--webhook-listen",
        "127.0.0.1:0",
        "--webhook-name",
        "a.svc,b.svc",
        "--inject-no-native-sidecar",
        "--inject-image",
        "proxy:1",
        "--inject-image-pull-policy",
        "Never",
    ];
    let options = told(&flags).options().expect("asked for");
    assert_eq!(options.cluster, None);
    assert_eq!(options.names, ["a.svc", "b.svc"]);
    let meant = Settings {
        style: Style::Ordered,
        image: "proxy:1".to_owned(),
        pull_policy: Some(PullPolicy::Never),
        ..Settings::default()
    };
    assert_eq!(options.settings, meant);
}
