//! Filters of routes: the specification's rules, each found at its place.

use super::*;
use crate::kind::{HttpFilter, Object};

/// A rule of an HTTPRoute with one prefix match and a backend.
fn http(rule: &str) -> Parsed {
    parse(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a, namespace: bank}}\n\
         spec:\n  parentRefs: [{{group: '', kind: Service, name: account}}]\n  rules:\n  - {rule}\n---\n{SERVICE}"
    ))
}

const MISTAKES: [(&str, &[&str]); 29] = [
    (
        "filters: [{type: URLRewrite, urlRewrite: {hostname: a}},\n     {type: URLRewrite, urlRewrite: {hostname: b}}]",
        &["8: spec.rules[0].filters[1]: `URLRewrite` for the second time"],
    ),
    (
        "filters: [{type: URLRewrite, urlRewrite: {hostname: a}},\n     {type: RequestRedirect, requestRedirect: {scheme: https}}]",
        &["8: spec.rules[0].filters[1]: `RequestRedirect` beside `URLRewrite`"],
    ),
    (
        "filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]\n    backendRefs: [{name: account, port: 50051}]",
        &["8: spec.rules[0].backendRefs: backends of a rule that redirects"],
    ),
    (
        "filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304, scheme: ftp, hostname: '*.a'}}]",
        &[
            "7: spec.rules[0].filters[0].requestRedirect.scheme: `ftp`",
            "7: spec.rules[0].filters[0].requestRedirect.hostname: `*.a`",
            "7: spec.rules[0].filters[0].requestRedirect.statusCode: `304`",
        ],
    ),
    (
        "matches: [{path: {type: Exact, value: /a}}]\n    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]",
        &[
            "8: spec.rules[0].filters[0].urlRewrite.path: `ReplacePrefixMatch` in a rule that matches no single prefix",
        ],
    ),
    (
        "matches: [{}, {method: GET}]\n    backendRefs: [{name: account, port: 50051, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]",
        &[
            "8: spec.rules[0].backendRefs[0].filters[0].urlRewrite.path: `ReplacePrefixMatch` in a rule that matches no single prefix",
        ],
    ),
    (
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /b}}}]",
        &[
            "7: spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch: `replacePrefixMatch`, which this type of filter does not have",
            "7: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: nothing",
        ],
    ),
    (
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /a/../b}}}]",
        &["7: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: `/a/../b`"],
    ),
    (
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /caf\u{e9}}}}]",
        &["7: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: `/caf\u{e9}`"],
    ),
    (
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /100%}}}]",
        &["7: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: `/100%`"],
    ),
    (
        "filters: [{type: URLRewrite, cors: {}}]",
        &[
            "7: spec.rules[0].filters[0].cors: `cors`, which this type of filter does not have",
            "7: spec.rules[0].filters[0].urlRewrite: nothing",
        ],
    ),
    (
        "filters: [{type: ExtensionRef, extensionRef: {group: g, kind: K, name: n}}]",
        &[
            "7: spec.rules[0].filters[0].type: `ExtensionRef`",
            "7: spec.rules[0].filters[0].extensionRef: `extensionRef`",
        ],
    ),
    (
        "filters: [{type: UrlRewrite, urlRewrite: {}}]",
        &["7: spec.rules[0].filters[0].type: `UrlRewrite`"],
    ),
    (
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Usher-Attempt, value: '1'}], add: [{name: Host, value: a}], remove: [connection]}}]",
        &[
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[0]: `connection`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.set[0].name: `x-usher-attempt`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.add[0].name: `host`",
        ],
    ),
    (
        "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}, {name: A, value: c}], remove: [x, X]}}]",
        &[
            "7: spec.rules[0].filters[0].responseHeaderModifier.remove[1]: `x` for the second time",
            "7: spec.rules[0].filters[0].responseHeaderModifier.set[1]: `a` for the second time",
        ],
    ),
    (
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-forwarded-client-cert, Traceparent, content-length, te, grpc-timeout]}}]",
        &[
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[0]: `x-forwarded-client-cert`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[1]: `traceparent`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[2]: `content-length`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[3]: `te`",
            "7: spec.rules[0].filters[0].requestHeaderModifier.remove[4]: `grpc-timeout`",
        ],
    ),
    (
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: \"b\\r\\nc: d\"}]}}]",
        &["7: spec.rules[0].filters[0].requestHeaderModifier.set[0].value: `b\r\nc: d`"],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051}, percent: 5, fraction: {numerator: 1}}}]",
        &["7: spec.rules[0].filters[0].requestMirror: both `percent` and `fraction`"],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051}, fraction: {numerator: 101}}}]",
        &["7: spec.rules[0].filters[0].requestMirror.fraction.numerator: `101`"],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051}, fraction: {numerator: 0, denominator: 0}}}]",
        &["7: spec.rules[0].filters[0].requestMirror.fraction.denominator: `0`"],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: acount, port: 50051}}}]",
        &[
            "7: spec.rules[0].filters[0].requestMirror.backendRef.name: `acount`, but there is no Service `bank/acount`",
        ],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051, weight: 1}}}]",
        &["7: spec.rules[0].filters[0].requestMirror.backendRef.weight: unknown field `weight`"],
    ),
    (
        "filters: [{type: CORS, cors: {allowOrigins: ['*', 'https://a'], allowMethods: [GET, '*'], maxAge: 0}}]",
        &[
            "7: spec.rules[0].filters[0].cors.allowOrigins: `*` among others",
            "7: spec.rules[0].filters[0].cors.allowMethods: `*` among others",
            "7: spec.rules[0].filters[0].cors.maxAge: `0`",
        ],
    ),
    (
        "filters: [{type: CORS, cors: {allowOrigins: [a.b, 'https://a*.b', 'https://a/x', 'https://a:0']}}]",
        &[
            "7: spec.rules[0].filters[0].cors.allowOrigins[0]: `a.b`",
            "7: spec.rules[0].filters[0].cors.allowOrigins[1]: `https://a*.b`",
            "7: spec.rules[0].filters[0].cors.allowOrigins[2]: `https://a/x`",
            "7: spec.rules[0].filters[0].cors.allowOrigins[3]: `https://a:0`",
        ],
    ),
    (
        "filters: [{type: CORS, cors: {allowMethods: [get], allowHeaders: ['a b'], exposeHeaders: [x, x]}}]",
        &[
            "7: spec.rules[0].filters[0].cors.allowMethods[0]: `get`",
            "7: spec.rules[0].filters[0].cors.allowHeaders[0]: `a b`",
            "7: spec.rules[0].filters[0].cors.exposeHeaders[1]: `x` for the second time",
        ],
    ),
    ("filters: [{type: CORS, cors: {}}]", &[]),
    (
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}}]",
        &[],
    ),
    (
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051}}}, {type: RequestMirror, requestMirror: {backendRef: {name: account, port: 50051}}}]",
        &[],
    ),
    (
        "filters: [{type: RequestRedirect, requestRedirect: {}}]",
        &[],
    ),
];

#[test]
fn each_rule_of_the_specification_is_a_mistake_with_its_place() {
    for (rule, expected) in MISTAKES {
        // Mistakes come in the order of the text.
        let (mut found, mut expected) = (said(&http(rule)), expected.to_vec());
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn a_grpc_route_has_header_modifiers_and_mirrors_only() {
    let grpc = |filter: &str| {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: a, namespace: bank}}\n\
             spec:\n  parentRefs: [{{group: '', kind: Service, name: account}}]\n  rules:\n  - filters: [{filter}]\n---\n{SERVICE}"
        );
        said(&parse(&text))
    };
    assert_eq!(
        grpc("{type: CORS, cors: {}}"),
        ["7: spec.rules[0].filters[0].type: `CORS`"]
    );
    assert_eq!(
        grpc("{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}"),
        [""; 0]
    );
}

#[test]
fn a_refused_extension_says_what_to_use_instead() {
    let parsed = http("filters: [{type: ExtensionRef}]");
    assert!(parsed.mistakes[0].allowed.contains("TrafficPolicy"));
}

#[test]
fn the_route_itself_may_have_no_matches_for_a_prefix() {
    let parsed = http(
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]",
    );
    let Object::HttpRoute(route) = &parsed.objects[0].object else {
        panic!("{parsed:?}")
    };
    assert!(matches!(
        route.spec.rules[0].filters[..],
        [HttpFilter::UrlRewrite(_)]
    ));
}

const CROSSING: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web}]
  rules:
  - backendRefs: [{namespace: bank, name: account, port: 50051}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccount: web}
---
";

#[test]
fn a_backend_in_another_namespace_needs_a_grant_there_and_the_warning_writes_it() {
    let parsed = parse(&format!("{CROSSING}{SERVICE}"));
    assert_eq!(
        said(&parsed),
        [
            "7: spec.rules[0].backendRefs[0].namespace: `bank/account`, whose namespace has not allowed it"
        ]
    );
    assert!(!parsed.has_errors());
    let allowed = &parsed.mistakes[0].allowed;
    assert_eq!(
        allowed,
        "a ReferenceGrant in the namespace `bank` with `from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, \
         namespace: shop}]` and `to: [{group: \"\", kind: Service, name: account}]`"
    );
    let grant = |from: &str, to: &str| {
        let text = format!(
            "{CROSSING}{SERVICE}apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
             metadata: {{name: g, namespace: bank}}\nspec: {{from: [{from}], to: [{to}]}}\n"
        );
        said(&parse(&text)).len()
    };
    let route = "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}";
    assert_eq!(grant(route, "{group: '', kind: Service}"), 0);
    assert_eq!(grant(route, "{group: '', kind: Service, name: account}"), 0);
    assert_eq!(grant(route, "{group: '', kind: Service, name: other}"), 1);
    assert_eq!(grant(route, "{group: '', kind: Secret}"), 1);
    let grpc = "{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: shop}";
    assert_eq!(grant(grpc, "{group: '', kind: Service}"), 1);
    let elsewhere = "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: mall}";
    assert_eq!(grant(elsewhere, "{group: '', kind: Service}"), 1);
}
