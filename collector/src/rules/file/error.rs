//! What is wrong with rule files. Promises the file and the line of each thing, in the order in which they stand. Deliberately does not
//! know what rules are.

use std::fmt;

/// Mistakes that are listed: more than anyone mends before looking again.
const MOST_LISTED: usize = 20;

/// What is wrong with a rule file, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// All that is wrong with the files of a folder, sorted by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleErrors(Vec<RuleError>);

impl RuleErrors {
    /// Sorts them; what is said twice of one line is said once.
    pub fn new(mut all: Vec<RuleError>) -> Self {
        all.sort();
        all.dedup();
        Self(all)
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that are listed, and how many there are beside them.
    pub fn listed(&self) -> (&[RuleError], usize) {
        let listed = self.0.len().min(MOST_LISTED);
        (&self.0[..listed], self.0.len() - listed)
    }

    /// The same, each by itself.
    pub(crate) fn into_listed(mut self) -> (Vec<RuleError>, usize) {
        let more = self.listed().1;
        self.0.truncate(MOST_LISTED);
        (self.0, more)
    }

    /// Each of them.
    pub(crate) fn into_all(self) -> Vec<RuleError> {
        self.0
    }
}

impl From<RuleError> for RuleErrors {
    fn from(one: RuleError) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (listed, more) = self.listed();
        for (number, error) in listed.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        if more > 0 {
            write!(f, "\n… and {more} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleErrors {}

/// A file's text, and its name for errors.
pub(in super::super) struct Source {
    pub(in super::super) name: String,
    pub(in super::super) text: String,
    /// Where its lines end: thousands of places are asked for.
    ends: Vec<usize>,
}

/// Where in a text, in bytes, and what.
pub(super) type Mistake = (usize, String);

impl Source {
    pub(in super::super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), text.into());
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { name, text, ends }
    }

    /// The line of a place, from 1.
    pub(in super::super) fn line(&self, at: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < at)
    }

    pub(in super::super) fn wrong(&self, (at, message): Mistake) -> RuleError {
        RuleError { file: self.name.clone(), line: self.line(at), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_after_the_end_of_the_one_before() {
        let source = Source::new("a.toml", "a\r\nbc\n\nd");
        let lines: Vec<_> = (0..10).map(|at| source.line(at)).collect();
        assert_eq!(lines, [1, 1, 1, 2, 2, 2, 3, 4, 4, 4], "as far as behind the text");
        assert_eq!(Source::new("b.toml", "").line(0), 1);
    }
}
