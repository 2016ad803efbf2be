//! What keeps a pod out of the mesh: where, what was found, what is allowed.

use usher_config::parse::Position;

use super::yaml::Node;

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, `spec.template.spec.containers[0].ports[1]`.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What could stand there, or what to do.
    pub allowed: String,
    /// The word that was probably meant.
    pub nearest: Option<String>,
    /// Where it stands in the document's text; `None`: it is not written, or was not read from a text.
    pub place: Option<Position>,
}

impl std::fmt::Display for Fault {
    /// `field: found …, allowed: …`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            field,
            found,
            allowed,
            nearest,
            ..
        } = self;
        write!(f, "{field}: found {found}, allowed: {allowed}")?;
        match nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl Fault {
    pub(super) fn new(
        field: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            found: found.into(),
            allowed: allowed.into(),
            nearest: None,
            place: None,
        }
    }

    /// About a value that was read.
    pub(super) fn of(field: impl Into<String>, node: &Node, allowed: impl Into<String>) -> Self {
        Self::new(field, node.described(), allowed).at(node)
    }

    pub(super) fn at(mut self, node: &Node) -> Self {
        self.place = node.position();
        self
    }

    pub(super) fn nearest(mut self, nearest: Option<String>) -> Self {
        self.nearest = nearest;
        self
    }

    /// Of a part of an object, told of the object.
    pub(super) fn below(mut self, path: &str) -> Self {
        self.field = join(path, &self.field);
        self
    }
}

/// `path.field`
pub(super) fn join(path: &str, field: &str) -> String {
    match (path, field) {
        ("", _) => field.to_owned(),
        (_, "") => path.to_owned(),
        _ => format!("{path}.{field}"),
    }
}
