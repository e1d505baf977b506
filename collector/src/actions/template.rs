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

pub(super) use engine::Line;
pub use error::{RefusedToSend, TemplateError};
pub(crate) use members::Known;
#[cfg(test)]
pub(super) use members::MEMBERS;

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
            data: BTreeMap::new(),
        }
    }
}

impl Templates {
    /// Reads all `*.md`, `*.txt` and `*.html` of a folder. A template can begin with front matter, TOML between two lines `+++`:
    /// `subject`, `title`, `button`, `url` and the table `data`, all of them templates themselves. What begins with a dot is no template, nor is `README.md`.
    pub fn read(folder: &Path) -> Result<Self, TemplateError> {
        Self::read_beside(folder, &Known::default())
    }

    /// The same, beside rules: what templates mention of them has to be there.
    pub(crate) fn read_beside(folder: &Path, known: &Known) -> Result<Self, TemplateError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |cause| TemplateError::Unreadable { path, cause }
        };
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let name = entry.map_err(unreadable(folder))?.file_name();
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
        let mut templates = Self::default();
        for name in files {
            let path = folder.join(&name);
            let mut text = String::new();
            let file = fs::File::open(&path).map_err(unreadable(&path))?;
            file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable(&path))?;
            if text.len() as u64 > MOST_BYTES {
                return Err(TemplateError::wrong(
                    &path,
                    1,
                    format!("it has more than {MOST_BYTES} bytes"),
                ));
            }
            templates.add(&path, &name, &text, known)?;
        }
        for (name, template) in templates.environment.templates() {
            let missing = engine::missing_template(&templates.environment, template.source());
            if let Some((line, what)) = missing {
                let file = name.split('/').next().unwrap_or(name);
                let before = templates.lines_before.get(name).copied().unwrap_or_default();
                return Err(TemplateError::wrong(&folder.join(file), before + line, what));
            }
        }
        Ok(templates)
    }

    fn add(
        &mut self,
        path: &Path,
        name: &str,
        text: &str,
        known: &Known,
    ) -> Result<(), TemplateError> {
        let (front, lines, body) =
            front::split(text).map_err(|(line, what)| TemplateError::wrong(path, line, what))?;
        for (part, template) in front.parts() {
            let key = part.strip_prefix("data.");
            let stands = |line: &str| line.trim_start().starts_with(key.unwrap_or(&part));
            let line = 1 + text.lines().position(stands).unwrap_or_default();
            let wrong = |(_, what)| TemplateError::wrong(path, line, format!("`{part}`: {what}"));
            engine::add(&mut self.environment, &part_of(name, &part), &template, known)
                .map_err(wrong)?;
            if let Some(key) = key {
                self.data.entry(name.to_owned()).or_default().push(key.to_owned());
            }
        }
        let wrong = |(line, what)| TemplateError::wrong(path, lines + line, what);
        engine::add(&mut self.environment, name, body, known).map_err(wrong)?;
        self.lines_before.insert(name.to_owned(), lines);
        Ok(())
    }

    /// The names that can be rendered, sorted: of `welcome.html` and `welcome.txt`, `welcome`.
    pub fn names(&self) -> Vec<&str> {
        let names = self.lines_before.keys().filter_map(|file| Some(file.rsplit_once('.')?.0));
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether there is a text of this name, as messages in the app are made of.
    pub(super) fn has_text(&self, name: &str) -> bool {
        self.lines_before.contains_key(&format!("{name}.txt"))
    }

    /// Fills in all templates of this name. A `null` is taken for a missing value.
    pub fn render(&self, name: &str, context: &Value) -> Result<Rendered, RefusedToSend> {
        let context = engine::context(context);
        let render = |file: &str| match self.environment.get_template(file) {
            Ok(template) => engine::render(&template, &context)
                .map(Some)
                .map_err(|error| error.below(|file| self.lines_before.get(file).copied())),
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

/// The name of a part of front matter, which no file can have.
fn part_of(file: &str, part: &str) -> String {
    format!("{file}/{part}")
}

#[cfg(test)]
mod tests;
