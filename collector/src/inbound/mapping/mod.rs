//! A mapping: what others send, in their own shapes, becomes events. One TOML file, whose values are CEL expressions.
//! Promises that a mistake is named with file and line before anything is sent, that each part of a body becomes an event, is
//! ignored or fails with the place of the expression, and that the same part makes the same event, under the same id.
//! Deliberately knows no vendor and no HTTP.

mod event;
mod file;
mod making;

use std::{fmt, path::Path};

pub use making::{About, Failure, Made, Mapped};

use crate::expression::Expression;

/// What expressions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `body`, the JSON of a request, and `headers`, with names in lower case.
    Request,
    /// `row`, of a file that is imported.
    Row,
}

impl Subject {
    /// The variable that holds all of it.
    fn word(self) -> &'static str {
        match self {
            Self::Request => "body",
            Self::Row => "row",
        }
    }
}

/// The variable for one of several.
const ITEM: &str = "item";
const HEADERS: &str = "headers";

/// What a mapping file says.
#[derive(Debug)]
pub struct Mapping {
    file: String,
    subject: Subject,
    /// The list whose elements are looked at one by one; without it, all of it is one.
    each: Option<Part>,
    entries: Vec<Entry>,
    /// Whether some expression looks at the headers.
    wants_headers: bool,
}

/// What one kind of part becomes. The first entry that wants a part gets it.
#[derive(Debug)]
struct Entry {
    line: usize,
    on: Option<Part>,
    kind: Kind,
    name: Option<Naming>,
    user_id: Option<Part>,
    anonymous_id: Option<Part>,
    group_id: Option<Part>,
    message_id: Option<Part>,
    timestamp: Option<Part>,
    properties: Option<Members>,
    traits: Option<Members>,
    /// Type and id, in the order of the file.
    external_ids: Vec<(String, Part)>,
}

/// The types of event that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Track,
    Identify,
    Group,
}

/// Where the name of a track event comes from.
#[derive(Debug)]
enum Naming {
    Fixed(String),
    From(Part),
}

/// An object: made whole, or member by member.
#[derive(Debug)]
enum Members {
    Whole(Part),
    Each(Vec<(String, Part)>),
}

/// An expression and where it stands.
#[derive(Debug)]
struct Part {
    expression: Expression,
    line: usize,
    key: String,
}

/// Why there is no mapping: correct the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// As it was named.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for MappingError {}

/// Why a mapping file gives no mapping.
#[derive(Debug, thiserror::Error)]
pub enum MappingFileError {
    /// Correct the path, or its permissions.
    #[error("cannot read the mapping {file}: {cause}")]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Correct the line.
    #[error(transparent)]
    Wrong(#[from] MappingError),
}

impl Mapping {
    /// Reads a file.
    pub fn open(path: &Path, subject: Subject) -> Result<Self, MappingFileError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| MappingFileError::Unreadable { file: file.clone(), cause })?;
        Ok(Self::parse(&text, &file, subject)?)
    }
}
