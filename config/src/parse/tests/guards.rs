//! Mistakes in who is let in, and how often.

use super::*;

fn found(text: &str) -> Vec<String> {
    let mistakes = parse(text).mistakes.into_iter();
    mistakes
        .map(|mistake| format!("{}: {}", mistake.field, mistake.found))
        .collect()
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: a, labels: {app: a}}
spec: {serviceAccount: a}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a}
spec: {gatewayClassName: usher, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
";

fn rate_limit(targets: &str, limits: &str) -> String {
    format!(
        "{SERVICE}apiVersion: usher.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: p}}\nspec:\n  \
         targetRefs: [{targets}]\n  limits:\n{limits}"
    )
}

#[test]
fn every_mistake_of_a_limit_is_named() {
    let text = rate_limit(
        "{kind: Service, name: a}",
        "  - {name: a, requests: 0, per: 0s}
  - {name: a, requests: 1, per: 24h, burst: 31}
  - {name: b, requests: 1, per: 1s, key: []}
  - {name: c, requests: 1, per: 1s, key: [{identity: {}}, {identity: {}}]}
  - {name: d, requests: 1, per: 1s, key: [{cookie: a}]}
  - {name: e, requests: 1, per: 1s, when: {paths: [/a*]}, maxKeys: 1}
",
    );
    assert_eq!(
        found(&text),
        [
            "spec.limits[0].requests: `0`",
            "spec.limits[0].per: `0s`",
            "spec.limits[1].burst: `31`, which at 1 in 24h take more than 30 days to come back",
            "spec.limits[2].key: a list of 0",
            "spec.limits[3].key[1]: `Identity` for the second time",
            "spec.limits[4].key[0]: none of them",
            "spec.limits[4].key[0].cookie: unknown field `cookie`",
            "spec.limits[5].when.paths[0]: `/a*`",
            "spec.limits[5].maxKeys: `1`",
        ]
    );
}

#[test]
fn a_key_that_nobody_has_there_is_a_mistake() {
    let limit =
        |key: &str| format!("  - {{name: a, requests: 1, per: 1s, key: [{{{key}: {{}}}}]}}\n");
    for (target, key, fits) in [
        ("Service", "identity", true),
        ("Service", "source", false),
        ("Service", "route", false),
        ("Gateway", "source", true),
        ("Gateway", "route", true),
        ("Gateway", "identity", false),
    ] {
        let text = rate_limit(&format!("{{kind: {target}, name: a}}"), &limit(key));
        assert_eq!(
            found(&text).is_empty(),
            fits,
            "{target} {key}: {:?}",
            found(&text)
        );
    }
}

#[test]
fn a_target_that_is_not_there_is_named() {
    let limits = "  - {name: a, requests: 1, per: 1s}\n";
    let text = rate_limit("{kind: Gateway, name: b}", limits);
    let missing = "spec.targetRefs[0].name: `b`, but there is no Gateway `default/b`";
    assert_eq!(found(&text), [missing]);
    let text = rate_limit("{kind: Gateway, name: a, sectionName: web}", limits);
    assert_eq!(
        found(&text),
        ["spec.targetRefs[0].sectionName: a sectionName"]
    );
}

const JWKS: &str = r#"{ inline: '{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}' }"#;

fn authentication(provider: &str) -> String {
    format!(
        "{SERVICE}apiVersion: usher.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{name: p}}\nspec:\n  \
         targetRefs: [{{kind: Service, name: a}}]\n  jwt:\n{provider}"
    )
}

#[test]
fn every_mistake_of_an_issuer_is_named() {
    let good = format!("  - {{issuer: i, audiences: [a], jwks: {JWKS}}}\n");
    assert_eq!(found(&authentication(&good)), Vec::<String>::new());
    let text = authentication(&format!(
        "  - {{issuer: i, jwks: {{}}}}
  - {{issuer: j, audiences: [], jwks: {{uri: 'file:///a', refreshInterval: 100ms}}}}
  - {{issuer: k, audiences: [a], jwks: {{inline: '-----BEGIN', refreshInterval: 1m}}, algorithms: [HS256, none]}}
  - {{issuer: l, audiences: [a], jwks: {JWKS}, from: {{header: x-a, cookie: b}}, claimsToHeaders: [{{claim: sub, header: x-usher-user}}, {{claim: sub, header: cookie}}]}}
"
    ));
    let said = found(&text);
    for (field, what) in [
        ("spec.jwt[0].jwks", "none of them"),
        ("spec.jwt[0].audiences", "nothing"),
        ("spec.jwt[1].audiences", "a list of 0"),
        ("spec.jwt[1].jwks.uri", "`file:///a`"),
        ("spec.jwt[1].jwks.refreshInterval", "`100ms`"),
        ("spec.jwt[2].jwks.refreshInterval", "a refreshInterval"),
        ("spec.jwt[2].jwks.inline", "`something else`"),
        ("spec.jwt[2].algorithms[0]", "`HS256`"),
        ("spec.jwt[2].algorithms[1]", "`none`"),
        ("spec.jwt[3].from", "both `header` and `cookie`"),
        ("spec.jwt[3].claimsToHeaders[0].header", "`x-usher-user`"),
        ("spec.jwt[3].claimsToHeaders[1].header", "`cookie`"),
    ] {
        let mistake = format!("{field}: {what}");
        assert!(said.contains(&mistake), "{mistake}: {said:#?}");
    }
    assert_eq!(said.len(), 12, "{said:#?}");
}

#[test]
fn keys_that_anybody_on_the_way_may_change_are_warned_of() {
    let provider = "  - {issuer: i, audiences: [a], jwks: {uri: 'http://login.test/keys'}}\n";
    let parsed = parse(&authentication(provider));
    let [mistake] = &parsed.mistakes[..] else {
        panic!("{:?}", parsed.mistakes)
    };
    assert_eq!(mistake.severity, Severity::Warning);
    assert_eq!(mistake.field, "spec.jwt[0].jwks.uri");
}

#[test]
fn a_claim_that_nobody_verifies_is_warned_of() {
    let limits = "  - {name: a, requests: 1, per: 1s, key: [{claim: sub}]}\n";
    let limited = rate_limit("{kind: Service, name: a}", limits);
    let parsed = parse(&limited);
    let [mistake] = &parsed.mistakes[..] else {
        panic!("{:?}", parsed.mistakes)
    };
    assert_eq!(mistake.severity, Severity::Warning);
    assert_eq!(mistake.field, "spec.limits[0].key[0]");
    let policy = authentication(&format!(
        "  - {{issuer: i, audiences: [a], jwks: {JWKS}}}\n"
    ));
    let policy = policy.rsplit("---\n").next().expect("the last");
    assert_eq!(
        found(&format!("{limited}---\n{policy}")),
        Vec::<String>::new()
    );
}
