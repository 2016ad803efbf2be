//! `usher route test`: where a request would go, and why, from files.

use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::{
    Failure, Outcome, authz, exit,
    offline::{Files, Offline},
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint},
};
use crate::whatif::{
    Caller, Places, find,
    route::{
        Backend, End, Imagined, Journey, Known, PassedOver, Policy, Rule, at_gateway, from_sidecar,
    },
};

/// Try routes without sending anything
#[derive(Debug, Args)]
pub(super) struct Route {
    #[command(subcommand)]
    verb: RouteVerb,
}

#[derive(Debug, Subcommand)]
enum RouteVerb {
    Test(Test),
}

/// Show where a request would go: which rule takes it and why others do not, who gets which share, who is let in
///
/// Answered from files, by the code that sidecars and gateways run. What only the living mesh knows (instances, open
/// breakers, what somebody else's control plane accepted earlier) has no part in it.
#[derive(Debug, Args)]
#[command(override_usage = "\
usher route test [OPTIONS] --config <PATH> --from <WHO> [METHOD] <URL>
       usher route test [OPTIONS] --config <PATH> --gateway <GATEWAY> [METHOD] <URL>")]
#[command(after_help = "\
Examples:
  usher route test --config mesh/ --from web http://search.shop:8080/v1
  usher route test --config mesh/ --from shop/web POST http://orders/v1 -H 'x-beta: 1'
  usher route test --config mesh/ --gateway edge https://shop.example/cart
  usher route test --config mesh/ --gateway edge DELETE https://shop.example/cart --claim groups=staff
  usher route test --config mesh/ --from web http://search.shop/ --json | jq '.backends[].service'

Exit codes: 0 it reaches an application or is answered by a filter, 1 it, or a share of it, is refused, 64 usage,
70 a path cannot be read.")]
struct Test {
    #[command(flatten)]
    files: Files,
    /// The workload (or a service's) whose application sends it, [NAMESPACE/]NAME; or a SPIFFE ID
    #[arg(
        long,
        value_name = "WHO",
        required_unless_present = "gateway",
        conflicts_with = "gateway"
    )]
    from: Option<String>,
    /// The Gateway at which it arrives from outside, [NAMESPACE/]NAME
    #[arg(long, value_name = "GATEWAY")]
    gateway: Option<String>,
    /// The URL, after a method if it is not GET. HTTPS at a gateway's listener for it, http:// otherwise
    #[arg(required = true, num_args = 1..=2, value_name = "REQUEST")]
    request: Vec<String>,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the request's token says, verified where an AuthenticationPolicy holds; of one name several times: a list
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = authz::claim)]
    claims: Vec<(String, String)>,
    /// Print the answer as one JSON document
    #[arg(long)]
    json: bool,
}

impl Route {
    pub(super) fn execute(self) -> Outcome {
        let RouteVerb::Test(test) = self.verb;
        test.execute()
    }
}

impl Test {
    fn execute(self) -> Outcome {
        let imagined = self.imagined()?;
        let Offline {
            parsed, compiled, ..
        } = self.files.read()?;
        let places = Places::new(&parsed);
        let claims = authz::claims(&self.claims);
        let known = Known {
            compiled: &compiled,
            places: &places,
            claims: claims.as_ref(),
        };
        let usage = |message| Failure::new(exit::USAGE, message);
        let journey = match (&self.gateway, &self.from) {
            (Some(name), _) => {
                let name = find(compiled.gateways.keys(), name, "Gateway");
                let name = name.map_err(|why| usage(format!("--gateway: {why}")))?;
                let gateway = compiled.gateways.get(name);
                let gateway = gateway.ok_or_else(|| usage(format!("--gateway: {name} is gone")))?;
                at_gateway(known, gateway, &imagined)
            }
            (None, from) => {
                let from = from.as_deref().unwrap_or_default();
                let caller = Caller::named(&compiled, from);
                let caller = caller.map_err(|why| usage(format!("--from: {why}")))?;
                from_sidecar(known, &caller, &imagined)
            }
        };
        if self.json {
            super::print_json(&journey)?;
        } else {
            anstream::println!("{}", render(&journey).join("\n"));
        }
        Ok(if journey.is_good() {
            exit::OK
        } else {
            exit::MISTAKES
        })
    }

    fn imagined(&self) -> Result<Imagined, Failure> {
        let usage = |message| Failure::new(exit::USAGE, message);
        let (method, url) = match self.request.as_slice() {
            [method, url] => (method.as_str(), url),
            [url] => ("GET", url),
            _ => return Err(usage("allowed: [METHOD] URL".to_owned())),
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
            usage(format!(
                "METHOD: found `{method}`, allowed: a method such as GET or POST"
            ))
        })?;
        let whole = if url.contains("://") {
            url.clone()
        } else {
            format!("http://{url}")
        };
        let uri: Option<Uri> = whole.parse().ok();
        let spoken = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let uri = uri.filter(spoken).ok_or_else(|| {
            usage(format!(
                "URL: found `{url}`, allowed: http://HOST[:PORT]/PATH, or https:// at a gateway"
            ))
        })?;
        if self.gateway.is_none() && uri.scheme_str() == Some("https") {
            let message = "URL: an application speaks plain HTTP to its sidecar, which does the TLS: say http://";
            return Err(usage(message.to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        Ok(Imagined {
            method,
            uri,
            headers,
        })
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let allowed = "allowed: 'name: value'";
    let (name, value) = text.split_once(':').ok_or(allowed)?;
    let name: HeaderName = name.trim().parse().map_err(|_| allowed.to_owned())?;
    if name == header::HOST {
        return Err("the host is the one of the URL".to_owned());
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|_| allowed.to_owned())?;
    Ok((name, value))
}

fn render(journey: &Journey) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {}",
        paint(HEAD, &journey.request),
        paint(DIM, format!("from {}", journey.from))
    )];
    lines.extend(journey.to.iter().map(|to| format!("  to {to}")));
    for PassedOver { rule, because } in &journey.passed_over {
        lines.push(paint(DIM, format!("  - not {}: {because}", named(rule))));
    }
    lines.extend(
        journey
            .rule
            .iter()
            .map(|rule| format!("  by {}", named(rule))),
    );
    lines.extend(authz::provided(&journey.provided));
    match &journey.end {
        End::Refused {
            status,
            flag,
            because,
        } => {
            let what = match status {
                0 => "no answer".to_owned(),
                status => format!("{status} ({flag})"),
            };
            lines.push(format!("{}: {because}", paint(BAD, what)));
        }
        End::Answered { status, headers } => {
            lines.push(format!("{} by a filter of the rule", paint(GOOD, status)));
            lines.extend(headers.iter().map(|header| format!("  {header}")));
        }
        End::Forwarded { backends } => lines.extend(backends.iter().flat_map(share)),
    }
    lines
}

fn named(rule: &Rule) -> String {
    let at = rule
        .at
        .as_ref()
        .map(|at| format!(" ({at})"))
        .unwrap_or_default();
    format!("{} rule {}{at}", rule.object, rule.rule)
}

fn share(backend: &Backend) -> Vec<String> {
    let share = u64::from(backend.weight) * 100 / backend.of;
    let share = if share == 100 {
        String::new()
    } else {
        format!("{share:>3} % ")
    };
    let verdict = match (&backend.instead, &backend.access) {
        (Some(instead), _) => match instead.flag {
            Some(flag) => paint(BAD, format!("{} ({flag})", instead.status)),
            None => paint(GOOD, instead.status),
        },
        (None, Some(access)) if !access.allowed => paint(BAD, "403 (AZ)"),
        (None, _) => paint(GOOD, "ok"),
    };
    let mut lines = vec![format!(
        "{verdict} {share}{}",
        paint(HEAD, &backend.service)
    )];
    if let Some(instead) = &backend.instead {
        lines.push(format!("  {}", instead.because));
    }
    lines.extend(backend.sees.iter().map(|sees| format!("  sees {sees}")));
    lines.extend(
        backend
            .headers
            .iter()
            .map(|header| format!("  header {header}")),
    );
    lines.extend(
        backend
            .mirrors
            .iter()
            .map(|mirror| format!("  copies {mirror}")),
    );
    if let Some(access) = &backend.access {
        lines.push(format!("  access: {}", access.because));
        let ignored = access.ignored.iter();
        lines.extend(ignored.map(|one| format!("  {} {one}", paint(WARN, "left out:"))));
        if access.allowed {
            lines.extend(authz::provided(&access.provided));
        } else {
            lines.extend(authz::rules(access));
        }
    }
    lines.extend(
        backend
            .policy
            .iter()
            .map(|policy| paint(DIM, treated(policy))),
    );
    lines
}

fn treated(policy: &Policy) -> String {
    let by = if policy.name.is_empty() {
        "default policy".to_owned()
    } else {
        format!("policy of {}", policy.name)
    };
    let mut line = format!(
        "  {by}: request timeout {}, retries {}, {}",
        policy.request_timeout,
        policy.retries,
        if policy.breaker {
            "breaker"
        } else {
            "no breaker"
        }
    );
    for (what, name) in [("fallback", &policy.fallback), ("fault", &policy.fault)] {
        if let Some(name) = name {
            line.push_str(&format!(", {what} {name}"));
        }
    }
    line
}
