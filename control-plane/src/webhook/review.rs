//! AdmissionReview, version v1: what the API server asks, and what it is told. Pure.
//!
//! Read by hand: whatever comes, the answer says which field is wrong, and what nobody here needs may be as it likes. Written by
//! hand as well: `patch` is text in base64, which kube's own type writes as a list of numbers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The only version that is spoken. API servers know it since 1.16.
const VERSION: &str = "admission.k8s.io/v1";

/// Warnings of an answer. The API server cuts them off at 4 KiB in all.
const WARNINGS_MAX: usize = 16;

/// Characters of a warning; beyond, API servers may cut it off.
const WARNING_MAX: usize = 256;

/// Characters of a refusal: people read it in a terminal and in events, and both are kept.
const MESSAGE_MAX: usize = 8 * 1024;

/// Longest `uid`: it is repeated in the answer.
const UID_MAX: usize = 256;

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Of the question; the answer repeats it.
    pub uid: String,
    /// What is done to the object.
    pub operation: Operation,
    /// `status`, `scale`; empty: the object itself.
    pub sub_resource: String,
    /// Where it is; empty: in none.
    pub namespace: String,
    /// As it would be stored. `Null` where it is deleted.
    pub object: Value,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It takes the place of an earlier version.
    Update,
    /// It goes.
    Delete,
    /// Something is done with it (`kubectl exec`).
    Connect,
}

/// Why nothing can be answered: whoever asked is no API server, or one of another time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON.
    #[error("found {0}, allowed: an AdmissionReview of {VERSION} in JSON")]
    NoJson(String),
    /// A field.
    #[error("{field}: found {found}, allowed: {allowed}")]
    Field {
        /// Its path.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What could.
        allowed: &'static str,
    },
}

/// What is said of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It may be as it is.
    Allowed {
        /// What its author may not expect.
        warnings: Vec<String>,
    },
    /// It may be, with changes.
    Patched {
        /// JSON Patch (RFC 6902).
        patch: Vec<Value>,
        /// What its author may not expect.
        warnings: Vec<String>,
    },
    /// It may not be.
    Denied(Denial),
}

/// Why something may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// For people: all of it.
    pub message: String,
    /// For programs: each mistake.
    pub causes: Vec<Cause>,
    /// What may have led to one.
    pub warnings: Vec<String>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The path of the field.
    pub field: String,
    /// What was found, and what is allowed.
    pub message: String,
}

impl Request {
    /// Reads a question. Total: whatever the bytes are, the error says what is wrong with them.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let review: Value = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Malformed::NoJson(format!("what is no JSON from line {line}, column {column}"))
        })?;
        let Value::Object(mut review) = review else {
            return Err(Malformed::NoJson(kind_of(&review).to_owned()));
        };
        only(&review, "apiVersion", VERSION)?;
        only(&review, "kind", "AdmissionReview")?;
        let Some(Value::Object(mut request)) = review.remove("request") else {
            return Err(field("request", "none", "what the question is about"));
        };
        let uid = text(&request, "uid", "request.uid")?;
        if uid.is_empty() || uid.len() > UID_MAX {
            let found = format!("a text of {} bytes", uid.len());
            return Err(field("request.uid", found, "1 to 256 bytes"));
        }
        let operation = text(&request, "operation", "request.operation")?;
        let operation = Operation::read(&operation)?;
        let optional = |name, path| match request.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(_) => text(&request, name, path),
        };
        let sub_resource = optional("subResource", "request.subResource")?;
        let namespace = optional("namespace", "request.namespace")?;
        let object = request.remove("object").unwrap_or_default();
        let needs_object = matches!(operation, Operation::Create | Operation::Update);
        if needs_object && !object.is_object() {
            let found = kind_of(&object);
            return Err(field("request.object", found, "the object"));
        }
        Ok(Self {
            uid,
            operation,
            sub_resource,
            namespace,
            object,
        })
    }

    /// Whether something is asked about that is to be stored: the object itself, and not a part of it or its end.
    pub fn is_about_object(&self) -> bool {
        let stored = matches!(self.operation, Operation::Create | Operation::Update);
        stored && self.sub_resource.is_empty()
    }

    /// `Pod bank/account`, as far as it says.
    pub fn title(&self) -> String {
        let text = |way: &str| self.object.pointer(way).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or("object");
        let name = text("/metadata/name").or(text("/metadata/generateName"));
        let name = name.unwrap_or("(without a name)");
        let title = match self.namespace.as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        };
        cut(&title, WARNING_MAX)
    }
}

impl Operation {
    fn read(text: &str) -> Result<Self, Malformed> {
        Ok(match text {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            other => {
                let found = format!("`{}`", cut(other, 40));
                let allowed = "CREATE, UPDATE, DELETE, CONNECT";
                return Err(field("request.operation", found, allowed));
            }
        })
    }
}

impl Verdict {
    /// Without a word.
    pub fn allowed() -> Self {
        let warnings = Vec::new();
        Self::Allowed { warnings }
    }

    /// The answer to the question `uid`, an AdmissionReview in JSON.
    pub fn answer(&self, uid: &str) -> Vec<u8> {
        let mut response = Map::new();
        response.insert("uid".to_owned(), json!(uid));
        let is_allowed = !matches!(self, Self::Denied(_));
        response.insert("allowed".to_owned(), json!(is_allowed));
        match self {
            Self::Allowed { warnings } => warn(&mut response, warnings),
            Self::Patched { patch, warnings } => {
                let patch = STANDARD.encode(Value::from(patch.clone()).to_string());
                response.insert("patchType".to_owned(), json!("JSONPatch"));
                response.insert("patch".to_owned(), json!(patch));
                warn(&mut response, warnings);
            }
            Self::Denied(denial) => {
                response.insert("status".to_owned(), denial.status());
                warn(&mut response, &denial.warnings);
            }
        }
        let answer = json!({
            "apiVersion": VERSION, "kind": "AdmissionReview", "response": response,
        });
        answer.to_string().into_bytes()
    }
}

impl Denial {
    /// 422, as the API server itself says of an object that it finds invalid.
    fn status(&self) -> Value {
        let causes = self.causes.iter().map(|cause| {
            json!({
                "reason": "FieldValueInvalid", "field": cause.field,
                "message": cut(&cause.message, MESSAGE_MAX),
            })
        });
        json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": cut(&self.message, MESSAGE_MAX),
            "details": {"causes": causes.collect::<Vec<_>>()},
        })
    }
}

fn warn(response: &mut Map<String, Value>, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    let shown = warnings.iter().take(WARNINGS_MAX);
    let shown: Vec<String> = shown.map(|warning| cut(warning, WARNING_MAX)).collect();
    response.insert("warnings".to_owned(), json!(shown));
}

/// At most so many characters.
fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.chars().take(characters.saturating_sub(1));
            kept.chain(['…']).collect()
        }
    }
}

fn only(
    fields: &Map<String, Value>,
    name: &'static str,
    allowed: &'static str,
) -> Result<(), Malformed> {
    let found = text(fields, name, name)?;
    if found == allowed {
        return Ok(());
    }
    Err(field(name, format!("`{}`", cut(&found, 80)), allowed))
}

fn text(fields: &Map<String, Value>, name: &str, path: &'static str) -> Result<String, Malformed> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(field(path, kind_of(other), "a text")),
        None => Err(field(path, "none", "a text")),
    }
}

fn field(field: &'static str, found: impl Into<String>, allowed: &'static str) -> Malformed {
    Malformed::Field {
        field,
        found: found.into(),
        allowed,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
