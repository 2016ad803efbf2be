//! Nothing is said of a route that is ever asked first, and something of each that a look at all pairs finds.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use usher_config::{
    decide::route::{ByHost, Request, Table, covers, followed},
    model::Service as CompiledService,
};

use super::*;
use crate::compile::shadow::{Dead, Parent, Shadow, shadows};

fn any_match() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "value: /",
        "value: /a",
        "value: /a/b",
        "type: Exact, value: /a",
        "type: RegularExpression, value: '/a.*'",
        "type: RegularExpression, value: '/[ab]'",
    ]);
    let more = prop::sample::select(vec![
        "",
        "",
        ", method: GET",
        ", headers: [{name: x, value: '1'}]",
        ", headers: [{name: x, type: RegularExpression, value: '1|2'}]",
        ", queryParams: [{name: q, value: '1'}]",
    ]);
    (path, more).prop_map(|(path, more)| format!("{{path: {{{path}}}{more}}}"))
}

/// Its rules, host names, and which port it is for.
type Written = (Vec<String>, Vec<&'static str>, &'static str);

fn any_route() -> impl Strategy<Value = Written> {
    (
        prop::collection::vec(any_match(), 1..5),
        prop::sample::subsequence(vec!["a.example", "'*.example'", "b.test"], 1..3),
        prop::sample::select(vec!["", "", ", port: 8080", ", port: 50051"]),
    )
}

fn texts(routes: &[Written]) -> Vec<String> {
    let of_both = |(at, (rules, hosts, port)): (usize, &Written)| {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let parents = format!("name: edge}}, {{group: '', kind: Service, name: a{port}");
        let hosts = format!("  hostnames: [{}]\n", hosts.join(", "));
        with_parent(&format!("r{at}"), &parents, &hosts, &rules)
    };
    routes.iter().enumerate().map(of_both).collect()
}

fn request<'r>(path: &'r str, method: &'r Method, headers: &'r HeaderMap) -> Request<'r> {
    Request {
        port: "8080".parse().expect("a port"),
        host: "a.example",
        authority: "a.example",
        path,
        query: "q=1",
        method,
        headers,
    }
}

/// By comparing each with each.
fn naive<'r>(lists: &[Vec<&'r Route>]) -> Vec<&'r str> {
    let mut lost = Vec::new();
    for list in lists {
        for (at, route) in list.iter().enumerate() {
            let mut before = list[..at].iter();
            let first = before.find(|one| covers(&one.matches, &route.matches));
            if first.is_some_and(|first| first.name != route.name) {
                lost.push(&*route.name);
            }
        }
    }
    lost.sort_unstable();
    lost
}

fn lists_of_service(service: &CompiledService) -> Vec<Vec<&Route>> {
    let ports = service.ports.iter().map(|port| port.port);
    let there = |port| {
        let all = service.routes.iter();
        let there = all.filter(move |one| one.ports.is_empty() || one.ports.contains(&port));
        there.collect()
    };
    ports.map(there).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_said_to_get_nothing_gets_nothing(routes in prop::collection::vec(any_route(), 2..5)) {
        let texts = texts(&routes);
        let (a, mut all) = (service("a"), vec![EDGE]);
        all.push(&a);
        all.extend(texts.iter().map(String::as_str));
        let compiled = compile(&world(&all));
        let found = shadows(&compiled);
        let dead = Dead::new(&found);
        let service = &compiled.services[&named("bank/a")];
        let listener = &compiled.gateways[&named("bank/edge")].listeners[0];
        let at_gateway: Vec<&Route> = listener.routes.iter().map(|one| &one.route).collect();
        let by_host = ByHost::new(at_gateway.iter().copied());
        let (own, _) = followed(service, &"bank".parse().expect("a name"));
        let table = Table::new(own);
        for path in ["/", "/a", "/a/b", "/ab", "/b"] {
            for method in [Method::GET, Method::PUT] {
                for value in ["1", "2", "3"] {
                    let mut headers = HeaderMap::new();
                    headers.insert(HeaderName::from_static("x"), HeaderValue::from_static(value));
                    let request = request(path, &method, &headers);
                    if let Some((at, route)) = by_host.select(&request) {
                        prop_assert!(!dead.has(at_gateway[at]), "{:?}", route);
                    }
                    if let Some((at, route)) = table.select(&request) {
                        let of_port = |one: &&Shadow<'_>| one.ports.is_empty() || one.ports.contains(&request.port);
                        let mut lost = found.iter().filter(of_port);
                        prop_assert!(!lost.any(|one| std::ptr::eq(one.route, &service.routes[at])), "{:?}", route);
                    }
                }
            }
        }
        // And of whom it can be said by looking at two of them, it is said.
        let mut hosts: BTreeMap<_, Vec<&Route>> = BTreeMap::new();
        for route in &at_gateway {
            hosts.entry(route.hostnames.first()).or_default().push(*route);
        }
        let lists: Vec<Vec<&Route>> = hosts.into_values().collect();
        let is_outside = |one: &&Shadow<'_>| matches!(one.parent, Parent::Listener(..));
        let mut told: Vec<&str> = found.iter().filter(is_outside).map(|one| &*one.route.name).collect();
        told.sort_unstable();
        prop_assert_eq!(told, naive(&lists));
        let inside = found.iter().filter(|one| !is_outside(one));
        let counted = inside.flat_map(|one| {
            let ports = match (one.ports.len(), one.route.ports.len()) {
                (0, 0) => service.ports.len(),
                (0, own) => own,
                (some, _) => some,
            };
            std::iter::repeat_n(&*one.route.name, ports)
        });
        let mut told: Vec<&str> = counted.collect();
        told.sort_unstable();
        prop_assert_eq!(told, naive(&lists_of_service(service)));
    }
}
