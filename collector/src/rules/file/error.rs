//! What is wrong with a rule file. Promises the file and the line. Deliberately does not know what rules are.

use std::fmt;

/// What is wrong with a rule file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file's name.
    pub file: String,
    /// From 1; 0 where it is the whole file, or the folder.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for RuleError {}

/// A file's text, and its name for errors.
pub(in super::super) struct Source {
    pub(in super::super) name: String,
    pub(in super::super) text: String,
}

/// Where in a text, in bytes, and what.
pub(super) type Mistake = (usize, String);

impl Source {
    pub(super) fn wrong(&self, (at, message): Mistake) -> RuleError {
        let line = 1 + self.text[..at.min(self.text.len())].matches('\n').count();
        RuleError { file: self.name.clone(), line, message }
    }
}
