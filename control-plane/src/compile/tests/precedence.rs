//! Routes are tried in Gateway API's order, gRPC's included.

use usher_config::model::PathMatch;

use super::*;

fn http_route(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: a}}]\n  rules:\n{rules}"
    )
}

fn rule(name: &str, matches: &str) -> String {
    format!(
        "  - name: {name}\n    matches: [{matches}]\n    backendRefs: [{{name: a, port: 8080}}]\n"
    )
}

#[test]
fn the_more_specific_match_is_tried_first() {
    let rules = [
        ("any", "{}"),
        ("prefix", "{path: {value: /v1}}"),
        ("longer-prefix", "{path: {value: /v1/payments}}"),
        (
            "expression",
            "{path: {type: RegularExpression, value: '/v1/p.*'}}",
        ),
        ("exact", "{path: {type: Exact, value: /v1}}"),
        ("prefix-method", "{path: {value: /v1}, method: GET}"),
        (
            "prefix-header",
            "{path: {value: /v1}, headers: [{name: x, value: y}]}",
        ),
        (
            "prefix-headers",
            "{path: {value: /v1}, headers: [{name: x, value: y}, {name: z, value: y}]}",
        ),
        (
            "prefix-query",
            "{path: {value: /v1}, queryParams: [{name: q, value: y}]}",
        ),
    ];
    let rules: String = rules
        .iter()
        .map(|(name, matches)| rule(name, matches))
        .collect();
    let compiled = compile(&world(&[&service("a"), &http_route("r", &rules)]));
    let routes = &compiled.services[&named("bank/a")].routes;
    let expected = [
        "exact",
        "expression",
        "longer-prefix",
        "prefix-method",
        "prefix-headers",
        "prefix-header",
        "prefix-query",
        "prefix",
        "any",
    ];
    assert_eq!(route_names(routes), expected);
}

#[test]
fn among_equals_the_older_object_then_the_name_then_the_place_decides() {
    let both = |first: &str, second: &str| {
        rule(first, "{path: {value: /x}}") + &rule(second, "{path: {value: /x}}")
    };
    let younger = http_route("a-younger", &both("y1", "y2"));
    let older = http_route("z-older", &both("o1", "o2"));
    let compiled = compile(&world(&[&service("a"), &older, &younger]));
    assert_eq!(
        route_names(&compiled.services[&named("bank/a")].routes),
        ["o1", "o2", "y1", "y2"]
    );
    let together = format!("{older}---\n{younger}");
    let compiled = compile(&world(&[&service("a"), &together]));
    assert_eq!(
        route_names(&compiled.services[&named("bank/a")].routes),
        ["y1", "y2", "o1", "o2"]
    );
}

/// Every two of these, the first of which goes before the second by exactly one of the specification's criteria, in
/// their order; whatever comes later in the list says the opposite.
#[test]
fn each_criterion_decides_before_all_that_come_after_it() {
    let ladder = [
        "{path: {type: Exact, value: /v1/payments}}",
        "{path: {value: /v1/payments/card}}",
        "{path: {value: /v1/payments}, method: GET, headers: [{name: a, value: b}]}",
        "{path: {value: /v1/payments}, method: GET, queryParams: [{name: a, value: b}, {name: c, value: d}]}",
        "{path: {value: /v1/payments}, method: GET, queryParams: [{name: a, value: b}]}",
        "{path: {value: /v1/payments}, method: GET}",
        "{path: {value: /v1/payments}, headers: [{name: a, value: b}, {name: c, value: d}, {name: e, value: f}]}",
        "{path: {value: /v1/payments}, headers: [{name: a, value: b}, {name: c, value: d}]}",
        "{path: {value: /v1/payments}, headers: [{name: a, value: b}], queryParams: [{name: a, value: b}]}",
        "{path: {value: /v1/payments}, headers: [{name: a, value: b}]}",
        "{path: {value: /v1/payments}, queryParams: [{name: a, value: b}, {name: c, value: d}]}",
        "{path: {value: /v1/payments}, queryParams: [{name: a, value: b}]}",
        "{path: {value: /v1/payments}}",
        "{path: {value: /v1}, method: GET, headers: [{name: a, value: b}], queryParams: [{name: a, value: b}]}",
        "{path: {value: /}, method: GET, headers: [{name: a, value: b}]}",
        "{}",
    ];
    for (place, before) in ladder.iter().enumerate() {
        for after in &ladder[place + 1..] {
            // Age, name and place in the list all speak for the other one.
            let older = http_route("a-older", &rule("after", after));
            let younger = http_route("z-younger", &rule("before", before));
            let compiled = compile(&world(&[&service("a"), &older, &younger]));
            let apart = route_names(&compiled.services[&named("bank/a")].routes).join(" ");
            let rules = rule("after", after) + &rule("before", before);
            let compiled = compile(&world(&[&service("a"), &http_route("r", &rules)]));
            let together = route_names(&compiled.services[&named("bank/a")].routes).join(" ");
            assert_eq!(
                [apart, together],
                ["before after"; 2],
                "{before} and {after}"
            );
        }
    }
}

/// GEP-1426: what is called has a name already, and a route that is shared with a gateway has those of the outside.
#[test]
fn host_names_of_a_route_mean_nothing_to_its_parent_service() {
    let hosts = "  hostnames: [shop.example.com, '*.example.com']\n  rules:";
    let shared =
        http_route("shared", &rule("shared", "{path: {value: /x}}")).replace("  rules:", hosts);
    let plain = http_route("plain", &rule("plain", "{path: {type: Exact, value: /x}}"));
    let compiled = compile(&world(&[&service("a"), &shared, &plain]));
    let routes = &compiled.services[&named("bank/a")].routes;
    assert_eq!(route_names(routes), ["plain", "shared"]);
    assert!(routes.iter().all(|route| route.hostnames.is_empty()));
}

#[test]
fn names_are_compared_as_one_text() {
    let route = |namespace: &str| {
        http_route("r", &rule(namespace, "{}"))
            .replace("namespace: bank", &format!("namespace: {namespace}"))
            .replace(
                "kind: Service, name: a",
                "kind: Service, name: a, namespace: bank",
            )
    };
    let together = format!("{}---\n{}", route("c"), route("c-d"));
    let compiled = compile(&world(&[&service("a"), &together]));
    let names = route_names(&compiled.services[&named("bank/a")].routes);
    assert_eq!(names, ["c-d", "c"], "`-` goes before `/`");
}

#[test]
fn one_rule_with_three_matches_is_three_routes_of_one_name() {
    let rules = rule(
        "r",
        "{path: {value: /a}}, {path: {value: /bb}}, {path: {value: /ccc}}",
    );
    let compiled = compile(&world(&[&service("a"), &http_route("r", &rules)]));
    let routes = &compiled.services[&named("bank/a")].routes;
    assert_eq!(route_names(routes), ["r", "r", "r"]);
    assert_eq!(routes[0].matches.path, PathMatch::Prefix("/ccc".into()));
}

const GRPC: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: g, namespace: bank}
spec:
  parentRefs: [{group: '', kind: Service, name: a, sectionName: rpc}]
  rules:
  - name: all
    backendRefs: [{name: a, port: 50051}]
  - name: service
    matches: [{method: {service: bank.v1.Account}}]
    backendRefs: [{name: a, port: 50051}]
  - name: method
    matches: [{method: {service: bank.v1.Account, method: Debit}}]
    backendRefs: [{name: a, port: 50051}]
  - name: any-service
    matches: [{method: {method: Check}}]
    backendRefs: [{name: a, port: 50051}]
";

#[test]
fn a_grpc_method_is_a_path_that_is_posted() {
    let compiled = compile(&world(&[&service("a"), GRPC]));
    let routes = &compiled.services[&named("bank/a")].routes;
    assert_eq!(
        route_names(routes),
        ["method", "service", "any-service", "all"]
    );
    assert!(
        routes
            .iter()
            .all(|route| route.matches.method == Some(http::Method::POST))
    );
    assert!(routes.iter().all(|route| route.ports[0].get() == 50051));
    assert_eq!(
        routes[0].matches.path,
        PathMatch::Exact("/bank.v1.Account/Debit".into())
    );
    assert_eq!(
        routes[1].matches.path,
        PathMatch::Prefix("/bank.v1.Account".into())
    );
    let PathMatch::Regex(any_service) = &routes[2].matches.path else {
        panic!("an expression")
    };
    assert!(any_service.is_match("/grpc.health.v1.Health/Check"));
    assert!(!any_service.is_match("/grpc.health.v1.Health/Checked"));
    assert!(!any_service.is_match("/a/b/Check"));
}

fn grpc_route(name: &str, rules: &str) -> String {
    http_route(name, rules).replace("HTTPRoute", "GRPCRoute")
}

/// GRPCRoute: most characters in a matching service, then in a matching method, then headers.
#[test]
fn calls_are_ranked_by_service_then_method_then_headers() {
    let ladder = [
        "{method: {service: bank.v1.Account, method: GetBalance}}",
        "{method: {service: bank.v1.Account, method: Get}, headers: [{name: a, value: b}]}",
        "{method: {service: bank.v1.Account, method: Get}}",
        "{method: {service: bank.v1.Account}, headers: [{name: a, value: b}, {name: c, value: d}]}",
        "{method: {service: bank.v1.Account}}",
        "{method: {service: bank.v1, method: GetBalanceOfAll}}",
        "{method: {type: RegularExpression, service: 'bank[.].*', method: Get.*}}",
        "{method: {type: RegularExpression, service: 'bank[.].*'}}",
        "{method: {type: RegularExpression, service: 'b.*', method: Get.*Balance.*}}",
        "{method: {method: GetBalance}}",
        "{method: {type: RegularExpression, method: Get.*}}",
        "{headers: [{name: a, value: b}]}",
        "{}",
    ];
    for (place, before) in ladder.iter().enumerate() {
        for after in &ladder[place + 1..] {
            // Age, name and place in the list all speak for the other one.
            let older = grpc_route("a-older", &rule("after", after));
            let younger = grpc_route("z-younger", &rule("before", before));
            let compiled = compile(&world(&[&service("a"), &older, &younger]));
            let apart = route_names(&compiled.services[&named("bank/a")].routes).join(" ");
            let rules = rule("after", after) + &rule("before", before);
            let compiled = compile(&world(&[&service("a"), &grpc_route("r", &rules)]));
            let together = route_names(&compiled.services[&named("bank/a")].routes).join(" ");
            assert_eq!(
                [apart, together],
                ["before after"; 2],
                "{before} and {after}"
            );
        }
    }
}

/// GEP-1426, "Route types".
#[test]
fn a_port_has_one_kind_of_route_and_calls_go_first() {
    let http = http_route("older", &rule("requests", "{}"));
    let on = |port: &str| {
        let parent = format!("name: a, sectionName: {port}}}]");
        grpc_route("younger", &rule("calls", "{}")).replace("name: a}]", &parent)
    };
    let compiled = compile(&world(&[&service("a"), &http, &on("rpc")]));
    let routes = &compiled.services[&named("bank/a")].routes;
    let found: Vec<(&str, Vec<u16>)> = routes
        .iter()
        .map(|route| {
            let name = route.name.rsplit('/').next().expect("a rule");
            (name, route.ports.iter().map(|port| port.get()).collect())
        })
        .collect();
    assert_eq!(found, [("requests", vec![8080]), ("calls", vec![50051])]);
    let [conflict] = &compiled.findings[..] else {
        panic!("{:?}", compiled.findings)
    };
    assert_eq!(conflict.reason, Reason::Conflicted);
    assert_eq!(conflict.object.name.as_str(), "older");
    assert!(
        conflict.message.contains("port 50051"),
        "{}",
        conflict.message
    );
    // Of callers who follow routes of their own, others have no say.
    let consumer = http_route("theirs", &rule("theirs", "{}"))
        .replace("namespace: bank", "namespace: shop")
        .replace("name: a}]", "name: a, namespace: bank}]")
        .replace("{name: a, port", "{name: a, namespace: bank, port");
    let compiled = compile(&world(&[&service("a"), &consumer, &on("rpc")]));
    assert_eq!(compiled.findings, []);
}

#[test]
fn a_rule_that_is_named_like_a_number_keeps_its_label_to_itself() {
    let rules = "  - {name: '1', backendRefs: [{name: a, port: 8080}]}\n  - {matches: [{path: {value: /x}}], backendRefs: [{name: a, port: 8080}]}\n  \
                 - {matches: [{path: {value: /y/z}}], backendRefs: [{name: a, port: 8080}]}\n";
    let compiled = compile(&world(&[&service("a"), &http_route("r", rules)]));
    let routes = &compiled.services[&named("bank/a")].routes;
    assert_eq!(route_names(routes), ["2", "#1", "1"]);
}
