//! `usher get`: what became of each object of the configuration.

mod brief;

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use usher_config::{
    kind::{Choice as _, Kind},
    parse::nearest,
    value::ServiceName,
};

use super::{
    Failure, Outcome, block_on,
    client::{ClientError, Server},
    exit,
    locate::ServerAddress,
    paint::{BAD, DIM, GOOD, HEAD, WARN, paint, table},
    status::{fetch, unanswered},
    validate::several,
};
use crate::{
    status::{ConditionReport, ConditionStatus, ObjectReport},
    whatif::find,
};

/// Show the objects of the configuration, and what became of each: is it accepted, and do all sidecars run it?
///
/// ACCEPTED: it is in force as written; PROGRAMMED: so many of the connected sidecars and gateways that are told something of
/// it run it. Of several control planes, those connected to the one that is asked. An object that was refused keeps the
/// version before it in force, if there is one.
#[derive(Debug, Args)]
#[command(override_usage = "usher get [OPTIONS] [KIND | KIND/NAME | KIND NAME]")]
#[command(after_help = "\
Examples:
  usher get                                  all objects
  usher get HTTPRoute                        those of a kind
  usher get HTTPRoute/orders -n shop         one, with all its conditions
  usher get AccessPolicy shop/orders         the same way
  usher get HTTPRoute/orders -n shop -o yaml the version in force, as YAML without empty fields
  usher get --not-ready                      only those that somebody should look at
  usher get --json | jq -r '.[] | select(.programmed < .of) | .name'

Conditions are Gateway API's: Accepted, ResolvedRefs, Programmed; PartiallyInvalid and Warning when there is a reason.

Exit codes: 0 shown, 64 usage or no such object, 69 no control plane answers, 70 -o yaml: no version is in force.")]
pub(super) struct Get {
    /// Only this kind; or one object of it, [NAMESPACE/]NAME
    #[arg(value_name = "KIND[/NAME]")]
    kind: Option<String>,
    /// One object, [NAMESPACE/]NAME
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only this namespace
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Only objects that somebody should look at: not accepted, not resolved, not run by all sidecars that are told of them,
    /// partly without effect, or with a warning
    #[arg(long)]
    not_ready: bool,
    #[command(flatten)]
    server: ServerAddress,
    /// Print the objects as a JSON array
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// json: as --json; yaml: the versions in force, as YAML documents
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
}

/// Instead of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Json,
    Yaml,
}

impl Get {
    pub(super) fn execute(self) -> Outcome {
        let (kind, name) = self.asked()?;
        let authority = self.server.authority()?;
        let mut objects: Vec<ObjectReport> = block_on(fetch(&authority, "/v1/objects"))?;
        if let Some(kind) = kind {
            objects.retain(|object| object.kind == kind.word());
        }
        if let Some(namespace) = &self.namespace {
            known_namespace(&objects, namespace)?;
            objects.retain(|object| object.namespace == *namespace);
        }
        if let (Some(name), Some(kind)) = (&name, kind) {
            let names: Vec<ServiceName> = objects.iter().filter_map(full_name).collect();
            let found = find(names.iter(), name, kind.word());
            let found = found.map_err(|why| Failure::new(exit::USAGE, why))?;
            objects.retain(|object| full_name(object).as_ref() == Some(found));
        }
        if self.not_ready {
            objects.retain(|object| !is_ready(object));
        }
        if self.output == Some(Output::Yaml) {
            return yaml(&authority, &objects);
        }
        if self.json || self.output == Some(Output::Json) {
            return super::print_json(&objects);
        }
        match (name.is_some(), objects.as_slice()) {
            (true, [one]) => anstream::println!("{}", whole(one).join("\n")),
            (_, []) => anstream::eprintln!("no objects"),
            (_, all) => {
                let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                anstream::println!("{}", table(&HEADING, &rows));
                anstream::eprint!("{}", held(all));
            }
        }
        Ok(exit::OK)
    }

    /// The kind, and the name of one of it.
    fn asked(&self) -> Result<(Option<Kind>, Option<String>), Failure> {
        let Some(first) = &self.kind else {
            return Ok((None, None));
        };
        let (kind, name) = match (first.split_once('/'), &self.name) {
            (Some(_), Some(name)) => {
                let message = format!("found {first} and {name}, allowed: one name");
                return Err(Failure::new(exit::USAGE, message));
            }
            (Some((kind, name)), None) => (kind, Some(name.to_owned())),
            (None, name) => (first.as_str(), name.clone()),
        };
        Ok((Some(kind_of(kind)?), name))
    }
}

/// Those of which a version is in force: of the others there is nothing to print but why, which is said.
fn yaml(authority: &str, objects: &[ObjectReport]) -> Outcome {
    let (in_force, never): (Vec<_>, Vec<_>) = objects.iter().partition(|one| one.revision > 0);
    for object in never {
        let title = object.title();
        anstream::eprintln!("{title}: no version is in force: {}", why_not(object));
    }
    if in_force.is_empty() && !objects.is_empty() {
        return Ok(exit::FAILED);
    }
    let mut documents = Vec::new();
    for object in in_force {
        let text = block_on(text_of(authority, object))?;
        documents.extend(text.map(|text| brief::brief(&text)));
    }
    anstream::print!("{}", documents.join("---\n"));
    Ok(exit::OK)
}

/// `None`: deleted since it was listed.
async fn text_of(authority: &str, object: &ObjectReport) -> Result<Option<String>, Failure> {
    let ObjectReport {
        kind,
        namespace,
        name,
        ..
    } = object;
    let path = format!("/v1/objects/{kind}/{namespace}/{name}");
    let server = Server::Tcp(authority.to_owned());
    let limit = Duration::from_secs(10);
    match server.ask(Method::GET, &path, Bytes::new(), limit).await {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(unanswered(authority, &path, error)),
    }
}

/// In any case, and in the plural.
fn kind_of(text: &str) -> Result<Kind, Failure> {
    let is_meant =
        |word: &str| word.eq_ignore_ascii_case(text) || several(word).eq_ignore_ascii_case(text);
    let mut known = Kind::ALL.iter();
    let found = known.find(|(word, _)| is_meant(word));
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let words: Vec<&str> = Kind::ALL.iter().map(|(word, _)| *word).collect();
        let message = format!("KIND: found `{text}`, allowed: {}", words.join(", "));
        let failure = Failure::new(exit::USAGE, message);
        match nearest(text, words.iter().copied()) {
            Some(near) => failure.advise(format!("did you mean {near}?")),
            None => failure,
        }
    })
}

fn full_name(object: &ObjectReport) -> Option<ServiceName> {
    Some(ServiceName {
        namespace: object.namespace.parse().ok()?,
        name: object.name.parse().ok()?,
    })
}

/// A namespace that nothing is in is most likely misspelt.
fn known_namespace(objects: &[ObjectReport], namespace: &str) -> Result<(), Failure> {
    if objects.iter().any(|object| object.namespace == namespace) {
        return Ok(());
    }
    let message = format!("--namespace: there is no such object in {namespace}");
    let failure = Failure::new(exit::USAGE, message);
    let known = objects.iter().map(|object| object.namespace.as_str());
    Err(match nearest(namespace, known) {
        Some(near) => failure.advise(format!("did you mean {near}?")),
        None => failure,
    })
}

/// A line for each that somebody should look at: which, and why.
pub(super) fn not_ready(objects: &[ObjectReport]) -> Vec<String> {
    let all = objects.iter().filter(|object| !is_ready(object));
    all.map(|object| format!("{}: {}", object.title(), why_not(object)))
        .collect()
}

/// Nobody needs to look at it. That nobody is connected who would be told of it is no fault of the object.
fn is_ready(object: &ObjectReport) -> bool {
    object.conditions.iter().all(
        |condition| match (condition.r#type.as_str(), condition.status) {
            ("PartiallyInvalid" | "Warning", status) => status != ConditionStatus::True,
            ("Programmed", status) => status != ConditionStatus::False,
            (_, status) => status == ConditionStatus::True,
        },
    )
}

const HEADING: [&str; 8] = [
    "KIND",
    "NAMESPACE",
    "NAME",
    "ACCEPTED",
    "RESOLVED",
    "PROGRAMMED",
    "REVISION",
    "WHY NOT",
];

fn row(object: &ObjectReport) -> Vec<String> {
    let status = |of: &str| {
        let condition = object.condition(of);
        condition.map_or("-", |one| one.status.as_str()).to_owned()
    };
    vec![
        object.kind.clone(),
        object.namespace.clone(),
        object.name.clone(),
        status("Accepted"),
        status("ResolvedRefs"),
        format!("{}/{}", object.programmed, object.of),
        match object.revision {
            0 => "-".to_owned(),
            revision => revision.to_string(),
        },
        why_not(object),
    ]
}

/// Why edits have no effect, where some wait: what a table has no room for.
fn held(objects: &[ObjectReport]) -> String {
    let accepted = objects.iter().filter_map(|one| one.condition("Accepted"));
    let waits = accepted.filter(|one| one.reason == "RevisionHeld");
    match waits.count() {
        0 => String::new(),
        _ => "\na revision is held, and edits wait (usher rollback --release lets them come into force)\n".to_owned(),
    }
}

/// The words of the conditions that are not as they should be; else of the one that nobody can tell, such as of a file that
/// cannot be read. That no sidecar is there is no reason.
fn why_not(object: &ObjectReport) -> String {
    let conditions = object.conditions.iter();
    let is_unknown = |one: &&ConditionReport| {
        one.status == ConditionStatus::Unknown && one.r#type != "Programmed"
    };
    let (wrong, unknown) = (
        conditions.clone().filter(|one| is_wrong(one)),
        conditions.filter(is_unknown),
    );
    let mut words: Vec<String> = Vec::new();
    for one in wrong.chain(unknown) {
        let word = match one.r#type.as_str() {
            // It is in force as written all the same.
            "Warning" => format!("{} (warning)", one.reason),
            _ => one.reason.clone(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join(", "),
    }
}

fn is_wrong(condition: &ConditionReport) -> bool {
    match condition.r#type.as_str() {
        "PartiallyInvalid" | "Warning" => condition.status == ConditionStatus::True,
        _ => condition.status == ConditionStatus::False,
    }
}

fn whole(object: &ObjectReport) -> Vec<String> {
    let from = match (object.revision, object.file.as_str()) {
        (0, _) => "never in force".to_owned(),
        (revision, "") => format!("revision {revision}"),
        (revision, file) => format!("revision {revision}, {file}"),
    };
    let mut lines = vec![format!(
        "{}  {}",
        paint(HEAD, object.title()),
        paint(DIM, from)
    )];
    for condition in &object.conditions {
        let style = match (is_wrong(condition), condition.status) {
            (true, _) if ["PartiallyInvalid", "Warning"].contains(&condition.r#type.as_str()) => {
                WARN
            }
            (true, _) => BAD,
            (false, ConditionStatus::Unknown) => WARN,
            (false, _) => GOOD,
        };
        let counted = match condition.r#type.as_str() {
            "Programmed" => format!(" {}/{}", object.programmed, object.of),
            _ => String::new(),
        };
        let head = format!(
            "{}: {}{counted}",
            condition.r#type,
            condition.status.as_str()
        );
        lines.push(format!(
            "  {}  {}  {}",
            paint(style, head),
            condition.reason,
            paint(DIM, format!("since {}", condition.last_transition_time))
        ));
        lines.push(format!("    {}", condition.message));
    }
    lines
}

#[cfg(test)]
mod tests;
