//! The texts of a folder's rule files become one set.
//! Promises that a mistake is an error that names file, line and what was expected, and that whatever an expression looks at is
//! there and can work. Deliberately evaluates nothing.

mod calls;
mod decisive;
mod deed;
mod document;
mod error;
mod feature;
mod model;
mod names;
mod part;
mod raw;
mod rule;
mod score;
mod settings;
mod when;
mod zone;

use std::{cell::RefCell, fmt::Write as _, io::Read as _, path::Path};

use toml::Spanned;

use super::{
    rule::{Step, When},
    set::{Feature, RuleSet, Score},
    spelling::{self, Written},
    unread::{Declared, Kept},
};
use decisive::short;
use document::{Document, Item};
use error::Mistake;
pub(super) use error::Source;
pub use error::{RuleError, RuleErrors};
use names::Names;
use raw::Text;

use crate::{config::nearest, expression::types::Kind};

/// Of each kind in one folder. An event is held against those only that are about it.
const MOST: usize = 1_000;
/// Terms of a score, conditions of a rule, steps of a sequence, actions of a rule.
const MOST_PARTS: usize = 32;
/// Bytes of one file, of rules or of fixtures: a thousand of either.
const MOST_BYTES: u64 = 1 << 20;
/// Names that are listed where another one is wrong.
const MOST_NAMED: usize = 32;

impl RuleSet {
    /// Reads all `*.toml` of a folder but `*.test.toml`, which are fixtures.
    pub fn read(folder: &Path) -> Result<Self, RuleErrors> {
        let (set, wrong) = Self::read_as_far(folder);
        if wrong.is_empty() { Ok(set) } else { Err(wrong) }
    }

    /// The same, as far as it can be read, and all that is wrong: if anything is, it is of use to nobody but who looks for more mistakes.
    pub fn read_as_far(folder: &Path) -> (Self, RuleErrors) {
        match files(folder) {
            Ok((files, mut wrong)) => {
                let (set, more) = Self::parse_as_far(&files);
                wrong.extend(more.into_all());
                (set, RuleErrors::new(wrong))
            }
            Err(error) => (Self::default(), error.into()),
        }
    }

    /// Reads the texts of files.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn parse(files: &[Source]) -> Result<Self, RuleErrors> {
        let (set, wrong) = Self::parse_as_far(files);
        if wrong.is_empty() { Ok(set) } else { Err(wrong) }
    }

    fn parse_as_far(files: &[Source]) -> (Self, RuleErrors) {
        let all_wrong: RefCell<Vec<RuleError>> = RefCell::default();
        let mut documents = Vec::new();
        for file in files {
            let mut wrong = Vec::new();
            documents.push((file, Document::read(&file.text, &mut wrong)));
            all_wrong.borrow_mut().extend(wrong.into_iter().map(|it| file.wrong(it)));
        }
        let mut names = Names::default();
        for (file, document) in &documents {
            let mut keep = |mistake| all_wrong.borrow_mut().push(file.wrong(mistake));
            names.add("feature", &document.features, |it| &mut it.features, &mut keep);
            names.add("score", &document.scores, |it| &mut it.scores, &mut keep);
            names.add("rule", &document.rules, |it| &mut it.rules, &mut keep);
            // What can be told of a feature's value is known before any expression is read.
            for feature in &document.features {
                let kind = feature.of.as_ref().map_or(Kind::Any, |it| it.get_ref().kind());
                names.kinds.insert(feature.name.get_ref().clone(), kind);
            }
        }
        let (mut set, mut decisive) = (Self::default(), String::new());
        let written = RefCell::default();
        let reading = |file| Reading {
            file,
            names: &names,
            wrong: &all_wrong,
            written: &written,
            unread: Vec::new(),
        };
        let (mut scores, mut rules) = (Vec::new(), Vec::new());
        for (file, document) in &mut documents {
            if let Some(settings) = document.settings.take() {
                set.settings(settings, &reading(file));
            }
        }
        let _ = writeln!(decisive, "{:?} {:?}", set.caps, set.quiet);
        for (file, document) in documents {
            for Item { name, per, of, unread } in document.features {
                set.declared.push(file.declares(Kept::Feature, &name));
                let hollow = Feature::hollow(name.get_ref(), per);
                let read = of.and_then(|raw| {
                    let reading = reading(file).beside(&name, &unread);
                    reading.keep(reading.feature(name, raw))
                });
                let feature = read.unwrap_or(hollow);
                let _ = writeln!(decisive, "{}", feature.key);
                set.features.push(feature);
            }
            scores.extend(document.scores.into_iter().map(|it| (file, it)));
            rules.extend(document.rules.into_iter().map(|it| (file, it)));
        }
        let (mut places, mut asking_rules) = (Vec::new(), Vec::new());
        for (file, Item { name, per, of, unread }) in scores {
            let (at, reading) = (name.span().start, reading(file).beside(&name, &unread));
            let (named, before) = (format!("scores.{}", name.get_ref()), all_wrong.borrow().len());
            set.declared.push(file.declares(Kept::Score, &name));
            let hollow = Score::hollow(name.get_ref(), per);
            let read = of.map(Spanned::into_inner).and_then(|mut raw| match raw.model.take() {
                None => reading.keep(reading.score(name, raw)),
                Some(model) => {
                    let asking = reading.model(&name, &model, raw, set.features.len());
                    let (score, feature, rule) = reading.keep(asking)?;
                    let _ = writeln!(decisive, "{}", feature.key);
                    set.features.push(feature);
                    asking_rules.push(rule);
                    Some(score)
                }
            });
            let score = read.unwrap_or(hollow);
            if !unread.is_empty() || all_wrong.borrow().len() > before {
                set.unsound.insert(named);
            }
            let _ = writeln!(decisive, "{}", score.decisive());
            places.push((file, at));
            set.scores.push(score);
        }
        for (of, (file, at)) in places.into_iter().enumerate() {
            let circle = set.refuse_circle(of, &mut Vec::new());
            reading(file).keep(circle.map_err(|message| (at, message)));
        }
        for (file, Item { name, of, unread, .. }) in rules {
            let Some(raw) = of else { continue };
            let reading = reading(file).beside(&name, &unread);
            let (named, before) = (format!("rules.{}", name.get_ref()), all_wrong.borrow().len());
            let read = reading.keep(reading.rule(name, raw, &set));
            if !unread.is_empty() || all_wrong.borrow().len() > before {
                set.unsound.insert(named);
            }
            if let Some(rule) = read {
                let _ = writeln!(decisive, "{}", rule.decisive(true));
                set.rules.push(rule);
            }
        }
        for rule in asking_rules {
            let _ = writeln!(decisive, "{}", rule.decisive(true));
            set.rules.push(rule);
        }
        set.listen();
        set.written = written.take();
        set.wanted = set.named();
        set.hash = short(&decisive);
        let keys: Vec<_> = set.rules.iter().map(|rule| short(&set.decisive(rule))).collect();
        for (rule, key) in set.rules.iter_mut().zip(keys) {
            rule.key = key;
        }
        (set, RuleErrors::new(all_wrong.into_inner()))
    }

    /// Notes who wants to hear of which events.
    fn listen(&mut self) {
        for (at, feature) in self.features.iter().enumerate() {
            for on in &feature.on {
                self.heard.entry(on.0.clone()).or_default().features.insert(at);
            }
        }
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.enabled) {
            for on in &rule.on {
                self.heard.entry(on.0.clone()).or_default().rules.insert(at);
            }
            let steps: &[Step] = match &rule.when {
                When::Without { step, .. } => std::slice::from_ref(step),
                When::Sequence { steps, .. } => steps,
                _ => &[],
            };
            for (number, step) in steps.iter().enumerate() {
                for on in &step.on {
                    self.heard.entry(on.0.clone()).or_default().steps.insert((at, number));
                }
            }
        }
    }
}

/// The rule files of a folder, and which of them cannot be read.
fn files(folder: &Path) -> Result<(Vec<Source>, Vec<RuleError>), RuleError> {
    let wrong = |file: &Path, message: String| RuleError {
        file: file.display().to_string(),
        line: 0,
        message,
    };
    let failed = |cause: std::io::Error| format!("cannot be read: {cause}");
    let entries = std::fs::read_dir(folder).map_err(|cause| wrong(folder, failed(cause)))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|cause| wrong(folder, failed(cause)))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !name.ends_with(".test.toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for path in paths {
        match text(&path, "rule file").map_err(failed) {
            Ok(Ok(text)) => files.push(Source::new(path.display().to_string(), text)),
            Ok(Err(message)) | Err(message) => unread.push(wrong(&path, message)),
        }
    }
    Ok((files, unread))
}

impl Source {
    fn declares(&self, what: Kept, name: &Text) -> Declared {
        let (file, line) = (self.name.clone(), self.line(name.span().start));
        Declared { what, name: name.get_ref().clone(), file, line }
    }
}

/// A file's text, or why it is none of this kind.
pub(super) fn text(path: &Path, what: &str) -> std::io::Result<Result<String, String>> {
    // What is no file may never end.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(Err("is no file".to_owned()));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Ok(Err(format!("a {what} has at most {MOST_BYTES} bytes; split it")));
    }
    Ok(Ok(text))
}

/// One file beside the names of all.
struct Reading<'a> {
    file: &'a Source,
    names: &'a Names,
    wrong: &'a RefCell<Vec<RuleError>>,
    /// Where names stand that sources make up.
    written: &'a RefCell<Vec<Written>>,
    /// Lines of which nothing is told: what cannot be read there has been, and the rest may come of that.
    unread: Vec<usize>,
}

impl Reading<'_> {
    /// Of something of which these places cannot be read: what it lacks as a whole may stand there.
    fn beside(self, name: &Text, unread: &[usize]) -> Self {
        let header = (!unread.is_empty()).then_some(name.span().start);
        let unread = unread.iter().copied().chain(header).map(|at| self.file.line(at)).collect();
        Self { unread, ..self }
    }

    /// Notes a mistake, and goes on.
    fn keep<T>(&self, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|(at, message)| self.refuse(at, message)).ok()
    }

    /// Notes a name that sources make up.
    fn write(&self, at: usize, kind: spelling::Kind, name: &str) {
        let (file, line) = (self.file.name.clone(), self.file.line(at));
        self.written.borrow_mut().push(Written { kind, name: name.to_owned(), file, line });
    }

    /// Notes a mistake.
    fn refuse(&self, at: usize, message: String) {
        let wrong = self.file.wrong((at, message));
        if !self.unread.contains(&wrong.line) {
            self.wrong.borrow_mut().push(wrong);
        }
    }
}

/// That there is no such thing, and what there is.
pub(super) fn one_of<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return format!("there is no {what} `{name}`, nor any other");
    }
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map(|it| format!("; did you mean `{it}`? Expected"));
    let expected = meant.unwrap_or_else(|| ", expected".to_owned());
    let (listed, more) = known.split_at(known.len().min(MOST_NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("unknown {what} `{name}`{expected} one of `{}`{more}", listed.join("`, `"))
}
