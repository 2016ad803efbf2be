//! What a cluster is told of us is what we do: kinds that are watched are installed, and may be.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize as _;

use super::*;

fn documents(file: &str) -> Vec<serde_yaml::Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config/kubernetes")
        .join(file);
    let text = std::fs::read_to_string(path).expect("readable");
    let all = serde_yaml::Deserializer::from_str(&text).map(serde_yaml::Value::deserialize);
    all.collect::<Result<_, _>>().expect("YAML")
}

fn definitions() -> Vec<CustomResourceDefinition> {
    let all = documents("crds/usher.yaml")
        .into_iter()
        .map(serde_yaml::from_value);
    all.collect::<Result<_, _>>()
        .expect("CustomResourceDefinitions")
}

/// Group and plural of what is watched, where it is known.
fn watched() -> Vec<(String, String)> {
    let installed = definitions();
    let others = [
        (Kind::Gateway, "gateways"),
        (Kind::HttpRoute, "httproutes"),
        (Kind::GrpcRoute, "grpcroutes"),
        (Kind::ReferenceGrant, "referencegrants"),
        (Kind::TlsRoute, "tlsroutes"),
        (Kind::TcpRoute, "tcproutes"),
        (Kind::BackendTlsPolicy, "backendtlspolicies"),
    ];
    let all = Watched::all().map(|watched| match watched {
        Watched::Pods => (String::new(), "pods".to_owned()),
        Watched::Services => (String::new(), "services".to_owned()),
        Watched::Slices => ("discovery.k8s.io".to_owned(), "endpointslices".to_owned()),
        Watched::Documents(kind) => {
            let group = kind
                .api_version()
                .split('/')
                .next()
                .expect("a group")
                .to_owned();
            let mut ours = installed.iter().map(|one| &one.spec.names);
            let plural = ours
                .find(|names| names.kind == kind.word())
                .map(|names| names.plural.clone());
            let of_others = others.iter().find(|(one, _)| *one == kind);
            let plural = plural.or_else(|| of_others.map(|(_, plural)| (*plural).to_owned()));
            (group, plural.expect("a plural"))
        }
    });
    all.collect()
}

#[test]
fn each_kind_of_ours_can_be_installed_in_the_version_that_is_read() {
    for (_, kind) in Kind::ALL {
        let Some(version) = kind.api_version().strip_prefix("usher.dev/") else {
            continue;
        };
        let all = definitions();
        let found = all.iter().find(|one| one.spec.names.kind == kind.word());
        let spec = &found
            .unwrap_or_else(|| panic!("no definition of {kind}"))
            .spec;
        assert_eq!(
            (spec.group.as_str(), spec.versions[0].name.as_str()),
            ("usher.dev", version)
        );
        let scope = if *kind == Kind::Mesh {
            "Cluster"
        } else {
            "Namespaced"
        };
        assert_eq!(spec.scope, scope, "{kind}");
    }
}

/// Whether our ClusterRole has this.
fn may(group: &str, resource: &str, verb: &str) -> bool {
    let role = documents("cluster/rights.yaml").remove(0);
    let has = |rule: &serde_yaml::Value, field: &str, word: &str| {
        let words = rule[field].as_sequence().expect("a list");
        words.iter().any(|one| one.as_str() == Some(word))
    };
    let rules = role["rules"].as_sequence().expect("rules");
    rules.iter().any(|rule| {
        has(rule, "apiGroups", group)
            && has(rule, "resources", resource)
            && has(rule, "verbs", verb)
    })
}

#[test]
fn all_that_is_watched_may_be_listed_and_watched_and_what_has_a_status_may_get_one() {
    for (group, plural) in watched() {
        for verb in ["list", "watch"] {
            assert!(may(&group, &plural, verb), "{verb} {group}/{plural}");
        }
        let has_status =
            (group == "usher.dev" || group.starts_with("gateway.")) && plural != "referencegrants";
        assert_eq!(
            may(&group, &format!("{plural}/status"), "patch"),
            has_status,
            "{group}/{plural}"
        );
    }
    assert!(!may("", "secrets", "get") && !may("", "secrets", "list"));
}
