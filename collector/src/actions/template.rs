//! The texts of messages: a folder of templates in Jinja's language, read once, and filled in for each message.
//! Promises that a template which mentions what there never is, is an error when it is read; that a message in which a value is missing
//! is not made, and the error names the variable and never a value; and an end to what a template may take. Deliberately reads no file
//! later, and none outside its folder: `include` finds the templates of the same folder only.

mod engine;
mod error;
mod front;
mod members;
mod tags;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::Path,
};

use minijinja::Environment;
use serde_json::Value;

use super::in_app;

pub(super) use engine::Line;
pub use error::{RefusedToSend, TemplateError};
pub(crate) use members::Known;
#[cfg(test)]
pub(super) use members::MEMBERS;
pub(super) use members::Mention;

/// What a template may mention: the keys of a message's context.
pub const ROOTS: [&str; 10] = [
    "person", "account", "event", "trigger", "rule", "firing", "features", "scores", "reasons",
    "action",
];
/// The files that are templates, by what they are made for: Slack, then texts, e-mail and messages in the app, then e-mail.
const KINDS: [&str; 3] = ["md", "txt", "html"];
/// About the folder, and no template.
const README: &str = "README.md";
/// Files of a folder. A team has dozens.
const MOST_FILES: usize = 1000;
/// Bytes of a file. Gmail cuts what it shows of a mail at 102 KB.
const MOST_BYTES: u64 = 256 * 1024;

/// The templates of a folder.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// Of each file, the lines of its front matter: errors count them.
    lines_before: BTreeMap<String, usize>,
    /// Of each part of front matter, the lines above it in its file.
    lines_of_parts: BTreeMap<String, usize>,
    /// Of each file that has some, the names of its `data`.
    data: BTreeMap<String, Vec<String>>,
}

/// A message's texts, as far as there is a template for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Of an e-mail. One line.
    pub subject: Option<String>,
    /// Above a message of Slack's or in the app. One line.
    pub title: Option<String>,
    /// What is to be pressed in a message in the app. One line.
    pub button: Option<String>,
    /// Where it leads. One line.
    pub url: Option<String>,
    /// What the page or the app is told beside, by name.
    pub data: BTreeMap<String, String>,
    /// Of `NAME.md`: Markdown, in which what was filled in is escaped.
    pub markdown: Option<String>,
    /// Of `NAME.txt`.
    pub text: Option<String>,
    /// Of `NAME.html`: what was filled in is escaped.
    pub html: Option<String>,
}

impl Default for Templates {
    /// None at all.
    fn default() -> Self {
        Self {
            environment: engine::environment(),
            lines_before: BTreeMap::new(),
            lines_of_parts: BTreeMap::new(),
            data: BTreeMap::new(),
        }
    }
}

impl Templates {
    /// Reads all `*.md`, `*.txt` and `*.html` of a folder. A template can begin with front matter, TOML between two lines `+++`:
    /// `subject`, `title`, `button`, `url` and the table `data`, all of them templates themselves. What begins with a dot is no template, nor is `README.md`.
    pub fn read(folder: &Path) -> Result<Self, TemplateError> {
        let (templates, wrong) = Self::read_as_far(folder, &Known::default());
        wrong.into_iter().next().map_or(Ok(templates), Err)
    }

    /// The same, beside rules, as far as they can be read; and all that is wrong: what templates mention of rules has to be there.
    pub(crate) fn read_as_far(folder: &Path, known: &Known) -> (Self, Vec<TemplateError>) {
        let (mut templates, mut wrong) = (Self::default(), Vec::new());
        let files = match files(folder) {
            Ok(files) => files,
            Err(error) => return (templates, vec![error]),
        };
        for name in files {
            let path = folder.join(&name);
            match text(&path) {
                Ok(text) => wrong.extend(templates.add(&path, &name, &text, known)),
                Err(error) => wrong.push(error),
            }
            // One that cannot be read is there all the same, for those that name it.
            templates.lines_before.entry(name).or_default();
        }
        for (name, template) in templates.environment.templates() {
            let file = name.split('/').next().unwrap_or(name);
            let before = templates.lines_above(name);
            for (line, other) in engine::taken_in(template.source()) {
                if !templates.has_file(other) {
                    let what = format!("there is no template `{other}` in this folder");
                    wrong.push(TemplateError::wrong(&folder.join(file), before + line, what));
                }
            }
        }
        (templates, wrong)
    }

    fn add(&mut self, path: &Path, name: &str, text: &str, known: &Known) -> Vec<TemplateError> {
        let (front, lines, body) = match front::split(text) {
            Ok(split) => split,
            Err((line, what)) => return vec![TemplateError::wrong(path, line, what)],
        };
        let mut wrong = Vec::new();
        for (part, template) in front.parts() {
            let key = part.strip_prefix("data.");
            let stands = |line: &str| line.trim_start().starts_with(key.unwrap_or(&part));
            let line = 1 + text.lines().position(stands).unwrap_or_default();
            let mut all =
                engine::add(&mut self.environment, &part_of(name, &part), &template, known);
            if part == "url"
                && let Err(what) = in_app::may_lead_somewhere(&template)
            {
                all.push((1, what));
            }
            let all = all.into_iter().map(|(_, what)| format!("`{part}`: {what}"));
            wrong.extend(all.map(|what| TemplateError::wrong(path, line, what)));
            self.lines_of_parts.insert(part_of(name, &part), line - 1);
            if let Some(key) = key {
                self.data.entry(name.to_owned()).or_default().push(key.to_owned());
            }
        }
        let all = engine::add(&mut self.environment, name, body, known).into_iter();
        wrong.extend(all.map(|(line, what)| TemplateError::wrong(path, lines + line, what)));
        self.lines_before.insert(name.to_owned(), lines);
        wrong
    }

    /// How many lines of its file stand above a template, or a part of front matter.
    fn lines_above(&self, name: &str) -> usize {
        let lines = self.lines_before.get(name).or_else(|| self.lines_of_parts.get(name));
        lines.copied().unwrap_or_default()
    }

    /// All that the templates of a name mention, and those that they take in.
    pub(super) fn mentions(&self, name: &str) -> Vec<Mention> {
        let files = self.files_of(name);
        let of_file = |part: &String| {
            part.split('/').next().is_some_and(|it| files.iter().any(|file| file == it))
        };
        let parts = self.lines_of_parts.keys().filter(|part| of_file(part));
        let mut left: Vec<String> = files.iter().cloned().chain(parts.cloned()).collect();
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        while let Some(name) = left.pop() {
            let Ok(template) = self.environment.get_template(&name) else { continue };
            if !seen.insert(name.clone()) {
                continue;
            }
            let file = name.split('/').next().unwrap_or(&name);
            let above = self.lines_above(&name);
            for mention in Mention::all(file, &template) {
                found.push(Mention { line: above + mention.line, ..mention });
            }
            left.extend(engine::taken_in(template.source()).map(|(_, other)| other.to_owned()));
        }
        found
    }

    /// Whether there is this file.
    pub(super) fn has_file(&self, file: &str) -> bool {
        self.lines_before.contains_key(file)
    }

    /// The files of a name: of `welcome`, `welcome.html` and `welcome.txt`.
    pub(super) fn files_of(&self, name: &str) -> Vec<String> {
        let files = KINDS.iter().map(|kind| format!("{name}.{kind}"));
        files.filter(|file| self.has_file(file)).collect()
    }

    /// Whether one of the files of a name says the subject of an e-mail.
    pub(super) fn has_subject(&self, name: &str) -> bool {
        let files = self.files_of(name);
        files.iter().any(|file| self.lines_of_parts.contains_key(&part_of(file, "subject")))
    }

    /// The names that can be rendered, sorted: of `welcome.html` and `welcome.txt`, `welcome`.
    pub fn names(&self) -> Vec<&str> {
        let names = self.lines_before.keys().filter_map(|file| Some(file.rsplit_once('.')?.0));
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Fills in all templates of this name. A `null` is taken for a missing value.
    pub fn render(&self, name: &str, context: &Value) -> Result<Rendered, RefusedToSend> {
        let context = engine::context(context);
        let render = |file: &str| match self.environment.get_template(file) {
            Ok(template) => engine::render(&template, &context)
                .map(Some)
                .map_err(|error| error.below(|name| self.lines_above(name))),
            Err(_) => Ok(None),
        };
        let file = |kind: &str| format!("{name}.{kind}");
        let [markdown, text, html] = KINDS.map(|kind| render(&file(kind)));
        // The front matter of whichever has one; all of it is rendered, so that a mistake does not wait for another message.
        let (mut fronts, mut data) = ([None, None, None, None], BTreeMap::new());
        for file in ["html", "txt", "md"].map(file) {
            for (front, part) in fronts.iter_mut().zip(["subject", "title", "button", "url"]) {
                let line = render(&part_of(&file, part))?;
                *front = front.take().or(line.map(|text| engine::one_line(&text)));
            }
            for key in self.data.get(&file).into_iter().flatten() {
                if let Some(text) = render(&part_of(&file, &format!("data.{key}")))? {
                    data.insert(key.clone(), text);
                }
            }
        }
        let [subject, title, button, url] = fronts;
        let (markdown, text, html) = (markdown?, text?, html?);
        let rendered = Rendered { subject, title, button, url, data, markdown, text, html };
        if rendered.markdown.is_none() && rendered.text.is_none() && rendered.html.is_none() {
            return Err(RefusedToSend::NoTemplate { name: name.to_owned() });
        }
        Ok(rendered)
    }
}

/// The templates of a folder, by name.
fn files(folder: &Path) -> Result<BTreeSet<String>, TemplateError> {
    let unreadable = |cause| TemplateError::Unreadable { path: folder.to_owned(), cause };
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.') && *name != README)
        else {
            continue;
        };
        if name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind)) {
            files.insert(name.to_owned());
        }
        if files.len() > MOST_FILES {
            return Err(TemplateError::TooMany { folder: folder.to_owned(), most: MOST_FILES });
        }
    }
    Ok(files)
}

fn text(path: &Path) -> Result<String, TemplateError> {
    let unreadable = |cause| TemplateError::Unreadable { path: path.to_owned(), cause };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(TemplateError::wrong(path, 1, format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// The name of a part of front matter, which no file can have.
fn part_of(file: &str, part: &str) -> String {
    format!("{file}/{part}")
}

#[cfg(test)]
mod liquid;
#[cfg(test)]
mod tests;
