//! The texts of a folder's rule files become one set.
//! Promises that a mistake is an error that names file, line and what was expected, and that whatever an expression looks at is
//! there and can work. Deliberately evaluates nothing.

mod decisive;
mod deed;
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

use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, path::Path};

use toml::Spanned;

use super::set::{Per, RuleSet, Step, When};
use decisive::short;
use error::Mistake;
pub use error::RuleError;
pub(super) use error::Source;
use names::Names;
use raw::{RawFile, Text};

use crate::config::plain_words;

/// Of each kind in one folder. An event is held against those only that are about it.
const MOST: usize = 1_000;
/// Terms of a score, conditions of a rule, steps of a sequence, actions of a rule.
const MOST_PARTS: usize = 32;
/// Bytes of one file: a thousand rules.
const MOST_BYTES: u64 = 1 << 20;

impl RuleSet {
    /// Reads all `*.toml` of a folder but `*.test.toml`, which are fixtures.
    pub fn read(folder: &Path) -> Result<Self, RuleError> {
        let failed = |file: &Path, cause: std::io::Error| RuleError {
            file: file.display().to_string(),
            line: 0,
            message: format!("cannot be read: {cause}"),
        };
        let entries = std::fs::read_dir(folder).map_err(|cause| failed(folder, cause))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|cause| failed(folder, cause))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".toml") && !name.ends_with(".test.toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            // What is no file may never end.
            let about = std::fs::metadata(&path).map_err(|cause| failed(&path, cause))?;
            let wrong =
                |message: String| RuleError { file: path.display().to_string(), line: 0, message };
            if !about.is_file() {
                return Err(wrong("is no file".to_owned()));
            }
            let mut text = String::new();
            let file = std::fs::File::open(&path).map_err(|cause| failed(&path, cause))?;
            file.take(MOST_BYTES + 1)
                .read_to_string(&mut text)
                .map_err(|cause| failed(&path, cause))?;
            if text.len() as u64 > MOST_BYTES {
                return Err(wrong(format!("a rule file has at most {MOST_BYTES} bytes")));
            }
            files.push(Source { name: path.display().to_string(), text });
        }
        Self::parse(&files)
    }

    /// Reads the texts of files.
    pub(super) fn parse(files: &[Source]) -> Result<Self, RuleError> {
        let mut raw = Vec::new();
        for file in files {
            let read: RawFile = toml::from_str(&file.text).map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                file.wrong((at, plain_words(error.message())))
            })?;
            raw.push((file, read));
        }
        let mut names = Names::default();
        for (file, read) in &raw {
            let features = read.features.iter().map(|(name, it)| (name, it.get_ref().per));
            names.add("feature", features, |it| &mut it.features).map_err(|e| file.wrong(e))?;
            let scores = read.scores.iter().map(|(name, it)| (name, it.get_ref().per));
            names.add("score", scores, |it| &mut it.scores).map_err(|e| file.wrong(e))?;
            let rules = read.rules.keys().map(|name| (name, Per::Person));
            names.add("rule", rules, |it| &mut it.rules).map_err(|e| file.wrong(e))?;
        }
        // What can be told of a feature's value is known before any expression is read.
        for (_, read) in &raw {
            for (name, feature) in &read.features {
                names.kinds.insert(name.get_ref().clone(), feature.get_ref().kind());
            }
        }
        let (mut set, mut decisive) = (Self::default(), String::new());
        for (file, read) in &mut raw {
            set.settings(read).map_err(|mistake| file.wrong(mistake))?;
        }
        let _ = writeln!(decisive, "{:?} {:?}", set.caps, set.quiet);
        let mut scores = Vec::new();
        let mut rules = Vec::new();
        for (file, read) in raw {
            let reading = Reading { file, names: &names };
            for (name, feature) in in_order(read.features) {
                let feature = reading.feature(name, feature).map_err(|e| file.wrong(e))?;
                let _ = writeln!(decisive, "{}", feature.key);
                set.features.push(feature);
            }
            scores.extend(in_order(read.scores).into_iter().map(|it| (file, it)));
            rules.extend(in_order(read.rules).into_iter().map(|it| (file, it)));
        }
        let (mut places, mut asking_rules) = (Vec::new(), Vec::new());
        for (file, (name, score)) in scores {
            let at = name.span().start;
            let reading = Reading { file, names: &names };
            let mut score = score.into_inner();
            let score = match score.model.take() {
                None => reading.score(name, score).map_err(|e| file.wrong(e))?,
                Some(model) => {
                    let at = set.features.len();
                    let asking = reading.model(&name, &model, score, at);
                    let (score, feature, rule) = asking.map_err(|e| file.wrong(e))?;
                    let _ = writeln!(decisive, "{}", feature.key);
                    set.features.push(feature);
                    asking_rules.push(rule);
                    score
                }
            };
            let _ = writeln!(decisive, "{}", score.decisive());
            places.push((file, at));
            set.scores.push(score);
        }
        for (of, (file, at)) in places.into_iter().enumerate() {
            set.refuse_circle(of, &mut Vec::new()).map_err(|message| file.wrong((at, message)))?;
        }
        for (file, (name, rule)) in rules {
            let reading = Reading { file, names: &names };
            let rule = reading.rule(name, rule, &set).map_err(|e| file.wrong(e))?;
            let _ = writeln!(decisive, "{}", rule.decisive(true));
            set.rules.push(rule);
        }
        for rule in asking_rules {
            let _ = writeln!(decisive, "{}", rule.decisive(true));
            set.rules.push(rule);
        }
        set.listen();
        set.wanted = set.named();
        set.hash = short(&decisive);
        let keys: Vec<_> = set.rules.iter().map(|rule| short(&set.decisive(rule))).collect();
        for (rule, key) in set.rules.iter_mut().zip(keys) {
            rule.key = key;
        }
        Ok(set)
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

fn in_order<T>(table: BTreeMap<Text, Spanned<T>>) -> Vec<(Text, Spanned<T>)> {
    let mut all: Vec<_> = table.into_iter().collect();
    all.sort_by_key(|(name, _)| name.span().start);
    all
}

struct Reading<'a> {
    file: &'a Source,
    names: &'a Names,
}

/// That there is no such thing, and what there is.
fn one_of<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return format!("there is no {what} `{name}`, nor any other");
    }
    plain_words(&format!("unknown {what} `{name}`, expected one of `{}`", known.join("`, `")))
}
