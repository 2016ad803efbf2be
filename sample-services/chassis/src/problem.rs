//! Answers that explain what was wrong: RFC 9457 problem bodies over REST, the same words over gRPC.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tonic::Status;

/// One thing the caller got wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Name of the field, header or variable.
    pub field: String,
    /// What was there, shortened.
    pub found: String,
    /// What would have been right, in words.
    pub allowed: String,
}

impl Mistake {
    /// `found` is cut at 80 characters: it comes from outside and goes into logs.
    #[must_use]
    pub fn new(field: &str, found: &str, allowed: &str) -> Self {
        let found = found.chars().take(80).collect();
        Self {
            field: field.to_owned(),
            found,
            allowed: allowed.to_owned(),
        }
    }
}

/// All mistakes in one line.
#[must_use]
pub fn list(mistakes: &[Mistake]) -> String {
    let lines = mistakes.iter().map(
        |Mistake {
             field,
             found,
             allowed,
         }| { format!("{field}: found {found:?}, allowed {allowed}") },
    );
    lines.collect::<Vec<_>>().join("; ")
}

/// The mistakes as a gRPC refusal.
#[must_use]
pub fn invalid_argument(mistakes: &[Mistake]) -> Status {
    Status::invalid_argument(list(mistakes))
}

/// A REST answer that is not the one hoped for.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    members: Map<String, Value>,
}

impl Problem {
    /// `title` is a constant phrase for humans; details go into members.
    #[must_use]
    pub fn new(status: StatusCode, title: &'static str) -> Self {
        Self {
            status,
            title,
            members: Map::new(),
        }
    }

    /// 400 with every mistake.
    #[must_use]
    pub fn invalid(mistakes: &[Mistake]) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the request is not valid")
            .with("errors", json!(mistakes))
    }

    /// 404 for one thing.
    #[must_use]
    pub fn not_found(field: &str, found: &str) -> Self {
        let mistake = Mistake::new(field, found, "the id of one that exists");
        Self::new(StatusCode::NOT_FOUND, "there is no such thing").with("errors", json!([mistake]))
    }

    /// 503: the service can't do it now; the cause goes to the log, not to the caller.
    #[must_use]
    pub fn unavailable(title: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, title)
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.title.into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.extend(self.members);
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the database failed");
        Self::unavailable("the database is not available")
    }
}
