//! `usher explain`: every effective field of a service, a route or a gateway, and which object decided it, from files.

mod entries;

use clap::Args;
use usher_config::{
    kind::{Choice as _, Kind, ObjectKey},
    parse::nearest,
    value::ServiceName,
};

use super::{
    Failure, Outcome, exit,
    offline::{Files, Offline},
    paint::{DIM, HEAD, WARN, paint},
};
use crate::{
    registry::World,
    whatif::{
        Places,
        explain::{
            Field, Known, Named, RouteExplained, RuleExplained, ServiceExplained, Taken, gateway,
            route, service,
        },
        find,
    },
};

/// Show how a service, a route or a gateway is treated: every field, its value, and the object that decided it
///
/// Policies show through from the mesh to the namespace, the service, the route and its rule; here is what comes out of
/// them, whose tokens are believed and what is counted where, and which listeners of which Gateways lead there.
#[derive(Debug, Args)]
#[command(override_usage = "\
usher explain [OPTIONS] --config <PATH> [KIND] <NAME>
       usher explain [OPTIONS] --config <PATH> <KIND>/<NAME>")]
#[command(after_help = "\
Examples:
  usher explain --config mesh/ orders                      a Service
  usher explain --config mesh/ HTTPRoute shop/orders       a route, with each of its rules
  usher explain --config mesh/ HTTPRoute/orders            the same way
  usher explain --config mesh/ Gateway edge                its listeners, and what stands before each rule
  usher explain --config mesh/ orders --json | jq '.traffic[] | select(.by)'

Exit codes: 0 shown, 64 usage or no such object, 70 a path cannot be read.")]
pub(super) struct Explain {
    #[command(flatten)]
    files: Files,
    /// [NAMESPACE/]NAME of a Service; or with a kind before it, KIND NAME or KIND/NAME: HTTPRoute, GRPCRoute, TLSRoute,
    /// TCPRoute, Gateway or Service
    #[arg(required = true, num_args = 1..=2, value_name = "OBJECT")]
    object: Vec<String>,
    /// Print everything as one JSON document
    #[arg(long)]
    json: bool,
}

const KINDS: [Kind; 6] = [
    Kind::Service,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::Gateway,
];

impl Explain {
    pub(super) fn execute(self) -> Outcome {
        let Offline {
            parsed,
            world,
            compiled,
        } = self.files.read()?;
        let (kind, name) = match self.object.as_slice() {
            [name] => kind_and_name(name, &world)?,
            [kind, name] => (kind_of(kind)?, name.as_str()),
            _ => return Err(Failure::new(exit::USAGE, "allowed: [KIND] NAME")),
        };
        let places = Places::new(&parsed);
        let known = Known {
            world: &world,
            compiled: &compiled,
            places: &places,
        };
        let of_kind = world.objects.keys().filter(|key| key.kind == kind);
        let names: Vec<ServiceName> = of_kind.map(full_name).collect();
        let found = find(names.iter(), name, &kind.to_string());
        let found = found.map_err(|why| Failure::new(exit::USAGE, why))?;
        let gone = || Failure::new(exit::FAILED, format!("{kind} {found} is not in force"));
        if kind == Kind::Service {
            let explained = service(known, found).ok_or_else(gone)?;
            return self.show(&explained, of_service);
        }
        if kind == Kind::Gateway {
            let explained = gateway(known, found).ok_or_else(gone)?;
            return self.show(&explained, entries::of_gateway);
        }
        let key = ObjectKey {
            kind,
            namespace: found.namespace.clone(),
            name: found.name.clone(),
        };
        let explained = route(known, &key).ok_or_else(gone)?;
        self.show(&explained, of_route)
    }

    fn show<T: serde::Serialize>(&self, it: &T, render: impl Fn(&T) -> Vec<String>) -> Outcome {
        if self.json {
            return super::print_json(it);
        }
        anstream::println!("{}", render(it).join("\n"));
        Ok(exit::OK)
    }
}

fn full_name(key: &ObjectKey) -> ServiceName {
    ServiceName {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

/// `Kind/name`, in any case as for `usher get`; else a service, `name` or `namespace/name`: what could be a namespace that
/// there is, is one.
fn kind_and_name<'t>(text: &'t str, world: &World) -> Result<(Kind, &'t str), Failure> {
    let Some((first, name)) = text.split_once('/') else {
        return Ok((Kind::Service, text));
    };
    let mut namespaces = world.objects.keys().map(|key| key.namespace.as_str());
    if namespaces.any(|namespace| namespace == first) {
        return Ok((Kind::Service, text));
    }
    match kind_of(first) {
        Ok(kind) => Ok((kind, name)),
        Err(unknown) if first.starts_with(|first: char| first.is_ascii_uppercase()) => Err(unknown),
        Err(_) => Ok((Kind::Service, text)),
    }
}

fn kind_of(text: &str) -> Result<Kind, Failure> {
    let mut known = Kind::ALL.iter().filter(|(_, kind)| KINDS.contains(kind));
    let found = known.find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let words = KINDS.map(|kind| kind.to_string());
        let message = format!("KIND: found `{text}`, allowed: {}", words.join(", "));
        let failure = Failure::new(exit::USAGE, message);
        match nearest(text, words.iter().map(String::as_str)) {
            Some(near) => failure.advise(format!("did you mean {near}?")),
            None => failure,
        }
    })
}

fn of_service(explained: &ServiceExplained) -> Vec<String> {
    let mut lines = vec![title(&explained.object, explained.at.as_ref())];
    lines.extend(explained.ports.iter().map(|port| format!("  port {port}")));
    lines.extend(
        explained
            .identities
            .iter()
            .map(|id| format!("  runs as {id}")),
    );
    let workloads = explained.workloads.iter();
    lines.extend(
        workloads.map(|Named { object, at }| format!("  {}", with_place(object, at.as_ref()))),
    );
    let called = match explained.opaque {
        true => {
            "how connections to it are made: retry is about dialling, what is about requests has no part in them"
        }
        false => "how it is called, where no rule says otherwise",
    };
    lines.push(paint(HEAD, called));
    lines.extend(fields(&explained.traffic));
    lines.push(paint(HEAD, "whom it lets in"));
    lines.extend(fields(&explained.access));
    lines.push(paint(HEAD, "whose tokens it believes, and what it counts"));
    lines.extend(entries::guards(&explained.guards));
    lines.extend(entries::entries(&explained.entries));
    lines.extend(rules(&explained.rules));
    lines.extend(conditions(&explained.conditions));
    lines
}

fn of_route(explained: &RouteExplained) -> Vec<String> {
    let mut lines = vec![title(&explained.object, explained.at.as_ref())];
    if explained.parents.is_empty() {
        lines.push(paint(
            WARN,
            "  attached to nothing: it takes no request and no connection",
        ));
    }
    lines.extend(
        explained
            .parents
            .iter()
            .map(|parent| format!("  of {parent}")),
    );
    lines.extend(rules(&explained.rules));
    lines.extend(entries::entries(&explained.entries));
    lines.extend(conditions(&explained.conditions));
    lines
}

fn title(object: &str, at: Option<&String>) -> String {
    let at = at
        .map(|at| paint(DIM, format!(" ({at})")))
        .unwrap_or_default();
    format!("{}{at}", paint(HEAD, object))
}

fn with_place(object: &str, at: Option<&String>) -> String {
    match at {
        Some(at) => format!("{object} ({at})"),
        None => object.to_owned(),
    }
}

fn fields(all: &[Field]) -> Vec<String> {
    let width = |of: fn(&Field) -> &str| all.iter().map(|one| of(one).chars().count()).max();
    let names = width(|one| &one.field).unwrap_or(0);
    let values = width(|one| &one.value).unwrap_or(0).min(24);
    let line = |one: &Field| {
        let (field, value) = (&one.field, &one.value);
        let by = match &one.by {
            Some(by) => with_place(by, one.at.as_ref()),
            None => paint(DIM, "default"),
        };
        format!("  {field:names$}  {value:values$}  {by}")
    };
    all.iter().map(line).collect()
}

fn rules(all: &[RuleExplained]) -> Vec<String> {
    let mut lines = Vec::new();
    if !all.is_empty() {
        lines.push(paint(HEAD, "rules, in the order in which they are asked"));
    }
    for rule in all {
        let callers = rule.callers.as_ref();
        let callers = callers.map(|callers| format!(", for callers of namespace {callers}"));
        let name = format!("{} rule {}", rule.object, rule.rule);
        let name = with_place(&name, rule.at.as_ref());
        lines.push(format!("  {name}{}", callers.unwrap_or_default()));
        lines.extend(
            rule.matches
                .iter()
                .map(|matches| format!("    takes {matches}")),
        );
        lines.extend(rule.taken.iter().map(taken));
        lines.extend(
            rule.backends
                .iter()
                .map(|backend| format!("    to {backend}")),
        );
        lines.extend(
            fields(&rule.fields)
                .iter()
                .map(|field| format!("  {field}")),
        );
    }
    lines
}

fn taken(taken: &Taken) -> String {
    let by = format!("rule {} of {}", taken.rule, taken.by);
    let by = with_place(&by, taken.at.as_ref());
    let (matches, parent) = (&taken.matches, &taken.parent);
    let line = format!("gets nothing of {matches} at {parent}: {by} is asked first");
    format!("    {}", paint(WARN, line))
}

fn conditions(all: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if !all.is_empty() {
        lines.push(paint(HEAD, "conditions"));
    }
    lines.extend(all.iter().map(|line| format!("  {}", paint(WARN, line))));
    lines
}
