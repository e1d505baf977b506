//! The texts of a folder's rule files become one set.
//! Promises that a mistake is an error that names file, line and what was expected, and that whatever an expression looks at is
//! there and can work. Deliberately evaluates nothing.

mod decisive;
mod deed;
mod model;
mod part;
mod raw;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::Read as _,
    path::Path,
    time::Duration,
};

use toml::Spanned;

use super::{
    aggregate::Operation,
    length::ms,
    set::{
        Crossing, Feature, IN_APP, Late, Measure, On, Part, Per, Quiet, Rule, RuleSet, Score, Step,
        When,
    },
};
use decisive::short;
use deed::deed;
use part::{OF_A_MATCH, OF_A_RULE, OF_A_SUBJECT, OF_AN_EVENT, Place, Wanted};
use raw::{
    From, RawCrosses, RawFeature, RawFile, RawQuiet, RawRule, RawScore, RawSequence, RawWithout,
    Text, all,
};

use crate::{config::plain_words, expression::types::Kind};

/// Of each kind in one folder. An event is held against those only that are about it.
const MOST: usize = 1_000;
/// Terms of a score, conditions of a rule, steps of a sequence, actions of a rule.
const MOST_PARTS: usize = 32;
/// Bytes of one file: a thousand rules.
const MOST_BYTES: u64 = 1 << 20;
/// How deep scores may look at scores.
const MOST_SCORES_DEEP: usize = 8;

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
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// Where in a text, in bytes, and what.
type Mistake = (usize, String);

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

    /// What is said once for all rules.
    fn settings(&mut self, read: &mut RawFile) -> Result<(), Mistake> {
        const KINDS: [&str; 5] = ["slack", "webhook", "email", "sms", IN_APP];
        for (kind, cap) in std::mem::take(&mut read.caps) {
            let at = kind.span().start;
            if !KINDS.contains(&kind.get_ref().as_str()) {
                return Err((at, one_of("kind of action", kind.get_ref(), KINDS.into_iter())));
            }
            if self.caps.insert(kind.into_inner(), cap).is_some() {
                return Err((at, "this cap is in another file already".to_owned()));
            }
        }
        if let Some(quiet) = read.quiet_hours.take() {
            let at = quiet.span().start;
            let RawQuiet { from, to, kinds } = quiet.into_inner();
            let time = |text: &str| -> Option<i16> {
                let (hour, minute) = text.split_once(':')?;
                let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
                ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute)
            };
            let (Some(from), Some(to)) = (time(&from), time(&to)) else {
                return Err((at, "`from` and `to` are times as `21:00`".to_owned()));
            };
            if from == to {
                let message = "`from` and `to` are the same: that is never, or always; for always use caps with `times = 0`";
                return Err((at, message.to_owned()));
            }
            if let Some(kind) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
                return Err((at, one_of("kind of action", kind, KINDS.into_iter())));
            }
            if self.quiet.replace(Quiet { from, to, kinds }).is_some() {
                return Err((at, "`quiet_hours` are in another file already".to_owned()));
            }
        }
        if let Some(decision) = read.default_decision.take() {
            let at = decision.span().start;
            if self.default_decision.replace(decision.into_inner()).is_some() {
                return Err((at, "`default_decision` is in another file already".to_owned()));
            }
        }
        Ok(())
    }

    /// A score that looks at itself, by way of others, has no value.
    fn refuse_circle(&self, of: usize, path: &mut Vec<usize>) -> Result<(), String> {
        let name = &self.scores[of].name;
        if path.contains(&of) {
            return Err(format!("the score `{name}` looks at itself"));
        }
        if path.len() > MOST_SCORES_DEEP {
            return Err(format!("scores look at scores at most {MOST_SCORES_DEEP} deep"));
        }
        path.push(of);
        for part in self.scores[of].parts() {
            for next in &part.scores {
                self.score(next).map_or(Ok(()), |next| self.refuse_circle(next, path))?;
            }
        }
        path.pop();
        Ok(())
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

impl Source {
    fn wrong(&self, (at, message): Mistake) -> RuleError {
        let line = 1 + self.text[..at.min(self.text.len())].matches('\n').count();
        RuleError { file: self.name.clone(), line, message }
    }
}

fn in_order<T>(table: BTreeMap<Text, Spanned<T>>) -> Vec<(Text, Spanned<T>)> {
    let mut all: Vec<_> = table.into_iter().collect();
    all.sort_by_key(|(name, _)| name.span().start);
    all
}

/// What there is to look at.
#[derive(Default)]
struct Names {
    features: BTreeMap<String, Per>,
    scores: BTreeMap<String, Per>,
    rules: BTreeMap<String, Per>,
    kinds: BTreeMap<String, Kind>,
}

impl Names {
    fn add<'a>(
        &mut self,
        what: &str,
        names: impl Iterator<Item = (&'a Text, Per)>,
        list: impl Fn(&mut Self) -> &mut BTreeMap<String, Per>,
    ) -> Result<(), Mistake> {
        for (name, per) in names {
            let (at, text) = (name.span().start, name.get_ref());
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let good = text.len() <= 64
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(letter);
            if !good {
                let message = format!(
                    "`{text}` is no name of a {what}: 1 to 64 of a-z, 0-9 and `_`, a letter first"
                );
                return Err((at, message));
            }
            // Under this name the collector itself says what operators decide.
            if what == "rule" && text == "operator" {
                return Err((at, "`operator` is the name under which people decide".to_owned()));
            }
            if list(self).insert(text.clone(), per).is_some() {
                return Err((at, format!("there is a {what} `{text}` in another file already")));
            }
        }
        if list(self).len() > MOST {
            return Err((0, format!("a folder has at most {MOST} of one kind")));
        }
        Ok(())
    }
}

struct Reading<'a> {
    file: &'a Source,
    names: &'a Names,
}

impl Reading<'_> {
    fn feature(&self, name: Text, raw: Spanned<RawFeature>) -> Result<Feature, Mistake> {
        let at = name.span().start;
        let mut raw = raw.into_inner();
        let (operation, value) = raw.operation().map_err(|message| (at, message))?;
        let is_number = matches!(operation, Operation::Sum | Operation::Min | Operation::Max);
        let is_ordered = matches!(operation, Operation::First | Operation::Last);
        if raw.window.is_some() && is_ordered {
            let message = "the first and the last have no `window`; look at how long ago it is with `days_since`";
            return Err((at, message.to_owned()));
        }
        if let Some(ago) = &raw.ago {
            let at = ago.span().start;
            if raw.window.is_none() {
                let message = "`ago` goes with `window`: it is how long ago that ended";
                return Err((at, message.to_owned()));
            }
            // Of a value it is known when it was last seen, and not whether it was there before.
            let is_by_time = matches!(operation, Operation::Count | Operation::Dwell(_));
            if !is_number && !is_by_time {
                let message = "`ago` goes with `count`, `sum`, `min`, `max` and `dwell`";
                return Err((at, message.to_owned()));
            }
        }
        let wanted = if is_number { Wanted::Number } else { Wanted::Anything };
        let place = |key| Place { key, variables: OF_AN_EVENT, per: raw.per, wanted };
        let condition = Place { wanted: Wanted::Truth, ..place("if") };
        let condition = raw.condition.map(|text| self.part(&text, condition)).transpose()?;
        let word = format!("{operation:?}").to_lowercase();
        let value = value.map(|text| self.part(&text, place(&word))).transpose()?;
        let on = self.all_of(all(raw.on))?;
        let text = |part: &Option<Part>| part.as_ref().map(|it| it.expression.text().to_owned());
        let mut key = format!(
            "{} {on:?} {:?} {operation:?} {:?} {:?} {:?}",
            name.get_ref(),
            text(&condition),
            text(&value),
            raw.window,
            raw.per,
        );
        let ago = raw.ago.map_or(Duration::ZERO, |ago| ago.into_inner().0);
        if !ago.is_zero() {
            let _ = write!(key, " {ago:?}");
        }
        Ok(Feature {
            name: name.into_inner(),
            per: raw.per,
            on,
            condition,
            operation,
            value,
            window: raw.window.map(|it| it.0),
            ago,
            answers: None,
            key,
        })
    }

    fn score(&self, name: Text, raw: RawScore) -> Result<Score, Mistake> {
        let at = name.span().start;
        Self::refuse_without_model(&name, &raw)?;
        if raw.terms.is_empty() || raw.terms.len() > MOST_PARTS {
            return Err((at, format!("a score has 1 to {MOST_PARTS} `terms`, each with a name")));
        }
        let mut terms: Vec<_> = raw.terms.into_iter().collect();
        terms.sort_by_key(|(name, _)| name.span().start);
        let terms = terms.into_iter().map(|(name, text)| {
            let key = format!("terms.{}", name.get_ref());
            let place =
                Place { key: &key, variables: OF_A_SUBJECT, per: raw.per, wanted: Wanted::Number };
            Ok((name.into_inner(), self.part(&text, place)?))
        });
        Ok(Score {
            name: name.into_inner(),
            per: raw.per,
            description: raw.description,
            terms: terms.collect::<Result<_, Mistake>>()?,
            squash: raw.squash,
            model: None,
        })
    }

    fn rule(&self, name: Text, raw: Spanned<RawRule>, set: &RuleSet) -> Result<Rule, Mistake> {
        let at = name.span().start;
        let raw = raw.into_inner();
        let kinds = [
            ("without", raw.without.is_some()),
            ("sequence", raw.sequence.is_some()),
            ("at", raw.at.is_some()),
            ("crosses", raw.crosses.is_some()),
        ];
        let kinds: Vec<_> = kinds.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
        if kinds.len() > 1 {
            return Err((
                at,
                format!("`{}` do not go together in one rule", kinds.join("` and `")),
            ));
        }
        if raw.at.is_none() && (raw.before.is_some() || raw.after.is_some()) {
            return Err((at, "`before` and `after` go with `at`".to_owned()));
        }
        // A score is made of all events of its features, and it is what it is now: no one event has set it off.
        if raw.crosses.is_some() && matches!(raw.from, Some(From::Server)) {
            let message = "`from` does not go with `crosses`: say `if = 'event.trust == \"server\"'` in the features that it is made of";
            return Err((at, message.to_owned()));
        }
        if raw.crosses.is_some() && raw.late == Late::Skip {
            let message = "`late = \"skip\"` does not go with `crosses`: a score or a feature is what it is now";
            return Err((at, message.to_owned()));
        }
        let crossing = raw.crosses.map(|it| self.crossing(it, set)).transpose()?;
        let measured = crossing.as_ref().map(|it| set.per_of(&it.of));
        let per = match (raw.per, measured) {
            (Some(per), Some(of)) if per != of => {
                return Err((
                    at,
                    "`per` is not that of what crosses the line; leave it out".to_owned(),
                ));
            }
            (per, of) => per.or(of).unwrap_or_default(),
        };
        let needs_event = crossing.is_none()
            && raw.sequence.as_ref().is_none_or(|it| it.get_ref().steps.is_none());
        if needs_event == raw.on.is_none() {
            let message = match needs_event {
                true => "the key `on` is missing: the event that the rule is about",
                false => "`on` does not go with `crosses`, nor with `steps`: leave it out",
            };
            return Err((at, message.to_owned()));
        }
        let mut on = raw.on.map(|on| self.all_of(all(on))).transpose()?.unwrap_or_default();
        let when = if let Some(of) = crossing {
            When::Crosses(of)
        } else if let Some(without) = raw.without {
            let RawWithout { event, within, matches } = without.into_inner();
            let place =
                Place { key: "without.match", variables: OF_A_MATCH, per, wanted: Wanted::Truth };
            let matches = matches.map(|text| self.part(&text, place)).transpose()?;
            When::Without { step: Step { on: self.all_of(all(event))?, matches }, within: within.0 }
        } else if let Some(sequence) = raw.sequence {
            let (steps, within) = self.sequence(sequence, &mut on)?;
            When::Sequence { steps, within }
        } else if let Some(time) = &raw.at {
            let place = Place { key: "at", variables: OF_A_RULE, per, wanted: Wanted::Anything };
            let shift_ms = match (raw.before, raw.after) {
                (Some(_), Some(_)) => {
                    return Err((at, "`before` and `after` do not go together".to_owned()));
                }
                (Some(before), None) => -ms(before.0),
                (None, after) => after.map_or(0, |after| ms(after.0)),
            };
            When::At { time: self.part(time, place)?, shift_ms }
        } else {
            When::Event
        };
        let is_timed = matches!(when, When::Crosses(_));
        let variables = if is_timed { OF_A_SUBJECT } else { OF_A_RULE };
        let conditions = raw.conditions.map(all).unwrap_or_default();
        if conditions.len() > MOST_PARTS {
            return Err((at, format!("a rule has at most {MOST_PARTS} conditions")));
        }
        let place = Place { key: "if", variables, per, wanted: Wanted::Truth };
        let conditions = conditions.iter().map(|text| self.part(text, place));
        let is_waited = matches!(when, When::Without { .. } | When::At { .. });
        if raw.still.is_some() && !is_waited {
            return Err((
                at,
                "`still` is asked when a timer rings: it goes with `without` and `at`".to_owned(),
            ));
        }
        let asked_again = Place { key: "still", variables: OF_A_RULE, per, wanted: Wanted::Truth };
        let still = raw.still.map(all).unwrap_or_default();
        if still.len() > MOST_PARTS {
            return Err((at, format!("a rule has at most {MOST_PARTS} conditions")));
        }
        let still = still.iter().map(|text| self.part(text, asked_again));
        let percent = *raw.percent.get_ref();
        if percent > 100 {
            return Err((raw.percent.span().start, "`percent` is 0 to 100".to_owned()));
        }
        let says_nothing = raw.then.as_ref().is_some_and(Vec::is_empty);
        let then = raw.then.unwrap_or_default();
        if then.len() > MOST_PARTS {
            return Err((at, format!("a rule does at most {MOST_PARTS} things")));
        }
        Ok(Rule {
            file: self.file.name.clone(),
            key: String::new(),
            description: raw.description,
            revision: raw.revision,
            per,
            on,
            conditions: conditions.collect::<Result<_, _>>()?,
            when,
            still: still.collect::<Result<_, _>>()?,
            only_server: matches!(raw.from, Some(From::Server)),
            late: raw.late,
            limit: raw.limit.map(|it| (it.times, it.within.0)),
            pending: raw.pending,
            enabled: raw.enabled,
            dry_run: raw.dry_run,
            percent,
            then: then.into_iter().map(deed).collect::<Result<_, _>>()?,
            says_nothing,
            decision: raw.decision,
            urgent: raw.urgent,
            asks: None,
            name: name.into_inner(),
        })
    }

    fn crossing(&self, raw: Spanned<RawCrosses>, set: &RuleSet) -> Result<Crossing, Mistake> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let of = match (&raw.score, &raw.feature) {
            (Some(name), None) => set
                .score(name.get_ref())
                .map(Measure::Score)
                .ok_or_else(|| unknown("score", name, self.names.scores.keys()))?,
            (None, Some(name)) => set
                .feature(name.get_ref())
                .map(Measure::Feature)
                .ok_or_else(|| unknown("feature", name, self.names.features.keys()))?,
            _ => return Err((at, "`crosses` has a `score` or a `feature`".to_owned())),
        };
        let (rising, line, rearm) = match (raw.above, raw.below) {
            (Some(line), None) => (true, line, raw.rearm_below),
            (None, Some(line)) => (false, line, raw.rearm_above),
            _ => return Err((at, "`crosses` has a line, `above` or `below`".to_owned())),
        };
        if !line.is_finite() || rearm.is_some_and(|rearm| !rearm.is_finite()) {
            return Err((at, "a line is a number that something can cross".to_owned()));
        }
        let other = if rising { raw.rearm_above } else { raw.rearm_below };
        let rearm = rearm.unwrap_or(line);
        if other.is_some() || if rising { rearm > line } else { rearm < line } {
            let message = "it is armed again on the other side of the line: `above` goes with `rearm_below`, not beyond it, `below` with \
                           `rearm_above`";
            return Err((at, message.to_owned()));
        }
        Ok(Crossing { of, rising, line, rearm })
    }

    /// The steps before the last, which becomes what the rule is about.
    fn sequence(
        &self,
        raw: Spanned<RawSequence>,
        on: &mut Vec<On>,
    ) -> Result<(Vec<Step>, Duration), Mistake> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let step = |on: Vec<On>| Step { on, matches: None };
        let steps = match (raw.steps, raw.times) {
            (Some(steps), None) if (2..=MOST_PARTS).contains(&steps.len()) => {
                let mut all = steps
                    .into_iter()
                    .map(|text| self.all_of(vec![text]))
                    .collect::<Result<Vec<_>, _>>()?;
                *on = all.pop().unwrap_or_default();
                all.into_iter().map(step).collect()
            }
            (None, Some(times)) if (2..=MOST_PARTS).contains(times.get_ref()) => {
                (1..*times.get_ref()).map(|_| step(on.clone())).collect()
            }
            _ => {
                let message = format!(
                    "a sequence has 2 to {MOST_PARTS} `steps`, or `times` from 2 to {MOST_PARTS} that the event of `on` comes"
                );
                return Err((at, message));
            }
        };
        Ok((steps, raw.within.0))
    }

    fn all_of(&self, texts: Vec<Text>) -> Result<Vec<On>, Mistake> {
        if texts.is_empty() || texts.len() > MOST_PARTS {
            let at = texts.first().map_or(0, |text| text.span().start);
            return Err((at, format!("1 to {MOST_PARTS} events are named here")));
        }
        let read =
            |text: Text| On::read(text.get_ref()).map_err(|message| (text.span().start, message));
        texts.into_iter().map(read).collect()
    }
}

fn unknown<'a>(what: &str, name: &Text, known: impl Iterator<Item = &'a String>) -> Mistake {
    (name.span().start, one_of(what, name.get_ref(), known.map(String::as_str)))
}

/// That there is no such thing, and what there is.
fn one_of<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return format!("there is no {what} `{name}`, nor any other");
    }
    plain_words(&format!("unknown {what} `{name}`, expected one of `{}`", known.join("`, `")))
}
