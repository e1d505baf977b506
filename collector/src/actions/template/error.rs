//! Why a template cannot be used, and why a message was not made of one.
//! Promises file and line, and never a value that was to be filled in. Deliberately does not know the language of templates.

use std::path::{Path, PathBuf};

/// Why a folder of templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Correct the path or the permissions.
    #[error("cannot read the template {}: {cause}", path.display())]
    Unreadable {
        /// The file, or the folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is some other folder.
    #[error("{} has more than {most} templates; is it the right folder?", folder.display())]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// How many it may have.
        most: usize,
    },
    /// Correct the line.
    #[error("{}:{line}: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
}

impl TemplateError {
    pub(super) fn wrong(path: &Path, line: usize, what: String) -> Self {
        Self::Wrong { path: path.to_owned(), line, what }
    }
}

/// Why no message was made: sending it would have been worse than not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedToSend {
    /// The rule names another one.
    #[error("there is no template `{name}`; expected {name}.md, {name}.txt or {name}.html")]
    NoTemplate {
        /// As it was asked for.
        name: String,
    },
    /// This person, or event, does not have what the template says. `default` in the template gives another text.
    #[error(
        "{file}:{line}: `{variable}` has no value; say what to write instead with `|default(\"…\")`, or ask with `{{% if … %}}`"
    )]
    Missing {
        /// The template's.
        file: String,
        /// 1-based.
        line: usize,
        /// As the template has it.
        variable: String,
    },
    /// A loop over more than there should be.
    #[error(
        "{file}:{line}: it takes too long or becomes more than {most} bytes; is there a loop over too much?"
    )]
    TooMuch {
        /// The template's.
        file: String,
        /// 1-based.
        line: usize,
        /// Bytes that it may become.
        most: usize,
    },
    /// What the template does cannot be done with what there is.
    #[error("{file}:{line}: {what}")]
    Wrong {
        /// The template's.
        file: String,
        /// 1-based.
        line: usize,
        /// Without the values.
        what: String,
    },
}

impl RefusedToSend {
    /// Counted in the file: of a template of which so many lines stand above it there.
    pub(super) fn below(mut self, lines_above: impl Fn(&str) -> usize) -> Self {
        if let Self::Missing { file, line, .. }
        | Self::TooMuch { file, line, .. }
        | Self::Wrong { file, line, .. } = &mut self
        {
            *line += lines_above(file);
            // Of a part of front matter, the file that it stands in.
            file.truncate(file.find('/').unwrap_or(file.len()));
        }
        self
    }
}
