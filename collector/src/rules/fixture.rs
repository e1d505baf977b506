//! `*.test.toml` beside rule files: events in, firings out, on virtual time.
//! Promises that a fixture which expects what does not come, or misses what comes, fails and says what came: firings, and messages whose
//! texts cannot be made. Deliberately sends nothing.

mod answered;
mod refusal;
mod unfired;
#[cfg(test)]
mod unfired_tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use toml::Spanned;

use super::{
    decision::came_to,
    file::{RuleError, Source, text},
    fired::Fired,
    fold::ANSWERED,
    length::{Length, ms},
    part::Per,
    set::RuleSet,
    trial::Trial,
};
use refusal::{Expected, Unsayable};
pub(crate) use refusal::{Rehearse, Rehearsed};
use unfired::{Trace, Wanted};

use crate::{
    config::{did_you_mean, explained},
    event_log::{Flags, Offset, Origin, Record, Timestamp, Trust},
    event_time, people,
};

/// When a fixture begins, where it says nothing: a Thursday at noon, UTC.
const BEGIN_MS: i64 = 1_767_268_800_000;
/// What time alone moves is found to the second.
const TOLERANCE_MS: i64 = 2_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    test: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: String,
    start: Option<String>,
    events: Vec<Spanned<RawEvent>>,
    until: Option<After>,
    expect: Vec<RawFiring>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    at: After,
    track: Option<String>,
    page: Option<String>,
    screen: Option<String>,
    identify: Option<Json>,
    answered: Option<BTreeMap<String, f64>>,
    /// Of a score of accounts: about which.
    account: Option<String>,
    group: Option<String>,
    traits: Option<Json>,
    user: Option<String>,
    anonymous: Option<String>,
    properties: Option<Json>,
    context: Option<Map<String, Json>>,
    #[serde(default)]
    trusted: bool,
    #[serde(default)]
    imported: bool,
    late: Option<Length>,
    decision: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFiring {
    rule: String,
    at: Option<After>,
    user: Option<String>,
    account: Option<String>,
    held: Option<String>,
    #[serde(default)]
    refused: Expected,
}

/// A length of time, or none at all.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct After(i64);

impl TryFrom<String> for After {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.trim_end_matches(['s', 'm', 'h', 'd']) {
            "0" => Ok(Self(0)),
            _ => Length::try_from(text).map(|length| Self(ms(length.0))),
        }
    }
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The file, and the line of the test.
    pub place: String,
    /// Its name.
    pub name: String,
    /// What was wrong, one a line; nothing if it passed.
    pub wrong: Vec<String>,
    /// Rules that it expects, or that fired though it did not expect them; and `score:X` where it says what a model answers.
    pub rules: BTreeSet<String>,
}

/// What may be spent on the tests of a folder where somebody waits for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Looked at between two events.
    pub(crate) time: Duration,
    /// Most tests.
    pub(crate) tests: usize,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.wrong.is_empty() { "ok" } else { "FAILED" };
        write!(f, "{word:6} {}  {}", self.place, self.name)?;
        self.wrong
            .iter()
            .try_for_each(|wrong| wrong.lines().try_for_each(|line| write!(f, "\n         {line}")))
    }
}

/// Runs the tests that stand beside the rules of a folder, as far as patience goes, and says whether that was all of them.
pub(crate) fn test(
    set: &Arc<RuleSet>,
    folder: &Path,
    rehearse: &Rehearse<'_>,
    patience: Option<Patience>,
) -> Result<(Vec<Tested>, bool), RuleError> {
    let until = patience.and_then(|it| Instant::now().checked_add(it.time));
    let failed = |path: &Path, message: String| RuleError {
        file: path.display().to_string(),
        line: 1,
        message,
    };
    let entries = std::fs::read_dir(folder).map_err(|cause| failed(folder, cause.to_string()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".test.toml"));
    paths.sort();
    let mut tested = Vec::new();
    for path in paths {
        let text = text(&path, "fixture file").map_err(|cause| cause.to_string());
        let text = text.flatten().map_err(|message| failed(&path, message))?;
        let source = Source::new(path.display().to_string(), text);
        let raw: RawFile = toml::from_str(&source.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.wrong((at, explained(&source.text, &error, 1)))
        })?;
        for test in raw.test {
            let at = test.span().start;
            let place = format!("{}:{}", source.name, source.line(at));
            let one = one((set, rehearse), place, test.into_inner(), until);
            let one =
                one.map_err(|(within, message)| source.wrong((within.unwrap_or(at), message)))?;
            let Some(one) = one.filter(|_| patience.is_none_or(|it| tested.len() < it.tests))
            else {
                return Ok((tested, false));
            };
            tested.push(one);
        }
    }
    Ok((tested, true))
}

/// Where, if it is not the test itself, and what.
type Mistake = (Option<usize>, String);

/// What came of a test; `None` if there was no time for it.
fn one(
    (set, rehearse): (&Arc<RuleSet>, &Rehearse<'_>),
    place: String,
    test: RawTest,
    until: Option<Instant>,
) -> Result<Option<Tested>, Mistake> {
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    let begin = match &test.start {
        None => BEGIN_MS,
        Some(text) => event_time::parse(text).map(Timestamp::unix_ms).ok_or_else(|| {
            (None, format!("`start = \"{text}\"` is no time; write 2026-01-31T02:47:00Z"))
        })?,
    };
    let failed = |error: rusqlite::Error| (None, error.to_string());
    let mut trial = Trial::new(Arc::clone(set), people::Limits::default()).map_err(failed)?;
    let mut rules: BTreeSet<String> = test.expect.iter().map(|it| it.rule.clone()).collect();
    let (mut last, mut names, mut unsayable) = (0, BTreeSet::new(), Unsayable::new());
    let mut decided = Vec::new();
    let mut happened = BTreeSet::new();
    for (number, event) in (1_i64..).zip(test.events) {
        let at = event.span().start;
        let mut event = event.into_inner();
        if event.at.0 < last {
            return Err((Some(at), "events stand in the order of their times".to_owned()));
        }
        last = event.at.0;
        if is_over() {
            return Ok(None);
        }
        names.extend(event.user.iter().chain(&event.anonymous).cloned());
        rules.extend(event.answered.iter().flatten().map(|(score, _)| format!("score:{score}")));
        happened.extend(event.kind());
        if let Some(decision) = &event.decision {
            if event.track.is_none() || !event.trusted {
                let message = "`decision` is what `/v1/decide` answers: it goes with a `track` that is `trusted = true`";
                return Err((Some(at), message.to_owned()));
            }
            decided.push((number, event.at.0, decision.clone()));
        }
        event.refuse_of_others(set).map_err(|message| (Some(at), message))?;
        let question = event.question(&trial).map_err(failed)?;
        let record = event.record(begin, number, question.as_deref());
        let record = record.map_err(|message| (Some(at), message))?;
        // What was due goes out before this is known.
        trial.pass(record.received_at.unix_ms()).map_err(failed)?;
        refusal::rehearse(&trial, record.received_at.unix_ms(), rehearse, &mut unsayable)
            .map_err(failed)?;
        trial.record(&record).map_err(failed)?;
    }
    if is_over() {
        return Ok(None);
    }
    trial.pass(begin + test.until.map_or(last, |until| until.0)).map_err(failed)?;
    // What waits for the end of a night is looked at, too.
    refusal::rehearse(&trial, i64::MAX, rehearse, &mut unsayable).map_err(failed)?;
    let fired = trial.fired().map_err(failed)?;
    let looked = trial.looked();
    let trace = Trace { trial: &trial, begin_ms: begin, looked: &looked, happened: &happened };
    let id = |name: &str| people::person_of(trial.db(), name).map_err(failed);
    let known = |name: &str| -> Result<Option<String>, Mistake> {
        Ok(id(name)?.map(|person| person.to_string()))
    };
    let mut wrong = Vec::new();
    for (number, at, expected) in decided {
        let record = Offset::from_number(number);
        let came = came_to(trial.db(), record, usize::MAX).map_err(failed)?;
        let deciding = came.fired.iter().filter(|fired| fired.held.is_none());
        let made = deciding.filter_map(|fired| fired.decision.as_deref()).next();
        let made = made.unwrap_or_else(|| set.default_decision());
        if made != expected {
            let at = length(at);
            wrong.push(format!(
                "decided {made:?} about the event at {at}, and {expected:?} was expected"
            ));
        }
    }
    // That a model was asked is nobody's rule.
    let is_rule = |fired: &&Fired| set.rule(&fired.rule).is_none_or(|rule| rule.asks.is_none());
    let mut left: Vec<&Fired> = fired.iter().filter(is_rule).collect();
    for expected in &test.expect {
        let Some(rule) = set.rule(&expected.rule) else {
            let known = set.rules.iter().map(|rule| rule.name.as_str());
            let meant = did_you_mean(&expected.rule, known);
            return Err((None, format!("there is no rule `{}`{meant}", expected.rule)));
        };
        let person = expected.user.as_deref().map(known).transpose()?.flatten();
        let fits = |fired: &&Fired| {
            let at = event_time::parse(&fired.at).map_or(0, Timestamp::unix_ms) - begin;
            fired.rule == expected.rule
                && expected.at.is_none_or(|expected| (expected.0 - at).abs() <= TOLERANCE_MS)
                && (expected.user.is_none() || person.as_ref() == Some(&fired.person))
                && expected.account.as_ref().is_none_or(|it| fired.account.as_ref() == Some(it))
                && match &expected.held {
                    None => fired.held.is_none(),
                    Some(held) => fired.held.as_ref() == Some(held),
                }
                && expected.refused.came(fired)
        };
        let all = || left.iter().enumerate().filter(|(_, fired)| fits(fired));
        // Of several that fit, one of which all is expected.
        let is_whole = |fired: &Fired| expected.refused.leaves(fired, &unsayable).is_empty();
        let found = all().find(|(_, fired)| is_whole(fired)).or_else(|| all().next());
        match found.map(|(place, _)| place) {
            Some(found) => {
                let written = expected.written();
                let mut reasons = expected.refused.leaves(left.remove(found), &unsayable);
                // Of several ways that take the same template.
                reasons.dedup();
                wrong.extend(reasons.into_iter().map(|reason| {
                    format!(
                        "a message of {written} would be refused: {reason}; if that is meant, expect it: `refused` is a part of this"
                    )
                }));
            }
            None => {
                let person = expected.user.as_deref().map(id).transpose()?.flatten();
                let wanted = Wanted {
                    at_ms: expected.at.map(|at| at.0),
                    person: person.as_ref(),
                    account: expected.account.as_deref(),
                };
                let why = trace.why(rule, &wanted).map_err(failed)?;
                let why = why.into_iter().map(|line| format!("\n    {line}"));
                wrong.push(format!(
                    "did not fire: {}{}",
                    expected.written(),
                    why.collect::<String>()
                ));
            }
        }
    }
    let mut users: Vec<(String, String)> = Vec::new();
    for name in names {
        if let Some(person) = known(&name)? {
            users.push((person, name));
        }
    }
    for fired in left {
        rules.insert(fired.rule.clone());
        let refused = Expected::default().leaves(fired, &unsayable).into_iter().map(str::to_owned);
        let written = expected(
            (fired, &refused.collect::<Vec<_>>().into()),
            begin,
            set.per_of_rule(&fired.rule),
            &users,
        );
        wrong.push(format!("fired, and was not expected: {written}"));
    }
    Ok(Some(Tested { place, name: test.name, wrong, rules }))
}

impl RawFiring {
    /// As it stands in a fixture.
    fn written(&self) -> String {
        let at = self.at.map(|at| length(at.0));
        written(
            &self.rule,
            at.as_deref(),
            [
                ("user", self.user.as_deref()),
                ("account", self.account.as_deref()),
                ("held", self.held.as_deref()),
            ],
            &self.refused,
        )
    }
}

/// What fired as a fixture would expect it; `users` are those that it knows.
fn expected(
    (fired, refused): (&Fired, &Expected),
    begin: i64,
    per: Option<Per>,
    users: &[(String, String)],
) -> String {
    let at = event_time::parse(&fired.at).map_or(0, Timestamp::unix_ms) - begin;
    let user =
        users.iter().find(|(person, _)| *person == fired.person).map(|(_, user)| user.as_str());
    let user = user.filter(|_| per != Some(Per::Account)).or(match &fired.account {
        Some(_) => None,
        None => Some(fired.name.as_str()),
    });
    written(
        &fired.rule,
        Some(&length(at)),
        [("user", user), ("account", fired.account.as_deref()), ("held", fired.held.as_deref())],
        refused,
    )
}

fn written(
    rule: &str,
    at: Option<&str>,
    rest: [(&str, Option<&str>); 3],
    refused: &Expected,
) -> String {
    let all = [("rule", Some(rule)), ("at", at)].into_iter().chain(rest);
    let all = all.map(|(key, value)| (key, value.map(|text| json!(text))));
    let all = all.chain([("refused", refused.written())]);
    let said = all.filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
    format!("{{ {} }}", said.collect::<Vec<_>>().join(", "))
}

/// A length of time as a fixture takes it, in the largest unit that it is so many of.
fn length(ms: i64) -> String {
    let seconds = ms / 1000;
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    match units.iter().find(|(unit, _)| seconds != 0 && seconds % unit == 0) {
        Some((unit, word)) => format!("{}{word}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

impl RawEvent {
    /// What happens, as `On` writes it; none of what is no one thing.
    fn kind(&self) -> Option<String> {
        let named = [("track", &self.track), ("page", &self.page), ("screen", &self.screen)];
        let named = named.into_iter().find_map(|(call, name)| Some((call, name.as_ref()?)));
        named.map(|(call, name)| format!("{call}:{name}")).or_else(|| {
            let call = if self.identify.is_some() { "identify" } else { "group" };
            (self.identify.is_some() || self.group.is_some()).then(|| format!("{call}:"))
        })
    }

    fn record(self, begin: i64, number: i64, question: Option<&str>) -> Result<Record, String> {
        let mut calls: Vec<(&str, Option<String>)> = Vec::new();
        calls.extend(self.track.map(|name| ("track", Some(name))));
        calls.extend(self.page.map(|name| ("page", Some(name))));
        calls.extend(self.screen.map(|name| ("screen", Some(name))));
        calls.extend(self.identify.as_ref().map(|_| ("identify", None)));
        // What a model has said, as the collector would put it into the log.
        let answers = self.answered.clone().unwrap_or_default();
        let firing = question.unwrap_or("fixture");
        let of = |(score, value): (String, f64)| {
            let mut said = json!({ "score": score, "value": value, "firing": firing });
            if let Some(account) = &self.account {
                said["account"] = json!(account);
            }
            said
        };
        let answer = answers.into_iter().map(of).next();
        calls.extend(answer.as_ref().map(|_| ("track", Some(ANSWERED.to_owned()))));
        let says_group = calls.is_empty() && self.group.is_some();
        if says_group {
            calls.push(("group", None));
        }
        let [(call, name)] = &calls[..] else {
            return Err(
                "an event is one of `track`, `page`, `screen`, `identify`, `group` and `answered`"
                    .to_owned(),
            );
        };
        if self.user.is_none() && self.anonymous.is_none() {
            return Err(match &self.account {
                Some(account) => format!(
                    "nobody has set off a question about the account `{account}` by then: let an event before do so, or say whose event \
                     it came with, as `user`"
                ),
                None => "an event has a `user` or an `anonymous`".to_owned(),
            });
        }
        let mut context = self.context.unwrap_or_default();
        let mut event = BTreeMap::from([("type", json!(call))]);
        match *call {
            "track" => event.insert("event", json!(name)),
            "page" | "screen" => event.insert("name", json!(name)),
            _ => None,
        };
        if says_group {
            event.insert("groupId", json!(self.group));
        } else if let Some(group) = &self.group {
            context.insert("groupId".to_owned(), json!(group));
        }
        event.extend(self.user.map(|user| ("userId", json!(user))));
        event.extend(self.anonymous.map(|device| ("anonymousId", json!(device))));
        let origin = match (&answer, self.imported) {
            (Some(_), _) => Origin::Derived { by: "fixture".into(), depth: 1 },
            (None, true) => Origin::Import,
            (None, false) => Origin::Sent,
        };
        let source = if answer.is_some() { people::SOURCE } else { "fixture" };
        let properties = answer.or(self.properties);
        event.extend(properties.map(|properties| ("properties", properties)));
        event.extend(self.identify.or(self.traits).map(|traits| ("traits", traits)));
        event.insert("context", Json::Object(context));
        let received = begin + self.at.0;
        let happened = received - self.late.map_or(0, |late| ms(late.0));
        Ok(Record {
            offset: Offset::from_number(number),
            received_at: Timestamp::from_unix_ms(received),
            event_time: Timestamp::from_unix_ms(happened),
            claimed_time: None,
            source: source.parse().expect("both are a few letters"),
            trust: if self.trusted { Trust::Server } else { Trust::Client },
            origin,
            order_key: "fixture".into(),
            message_id: number.to_string().into(),
            sequence: None,
            schema_version: 0,
            flags: Flags::default(),
            json: json!(event).to_string().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_told_can_be_written_into_a_fixture() {
        let told = [0, 5, 60, 90, 3600, 93_603, 86_400 * 12].map(|seconds| length(seconds * 1000));
        assert_eq!(told, ["0s", "5s", "1m", "90s", "1h", "93603s", "12d"]);
        for (told, seconds) in told.iter().zip([0, 5, 60, 90, 3600, 93_603, 86_400 * 12]) {
            assert_eq!(After::try_from(told.clone()).map(|it| it.0), Ok(seconds * 1000), "{told}");
        }
    }

    #[test]
    fn fixtures_of_too_many_bytes_or_no_file_are_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.test.toml");
        let run = || test(&Arc::default(), folder.path(), &|_, _, _| Ok(None), None);
        std::fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
        let wrong = run().unwrap_err().message;
        assert_eq!(wrong, "a fixture file has at most 1048576 bytes; split it");
        std::fs::write(&path, format!("test = []\n{}", "#".repeat(1000))).unwrap();
        assert!(run().unwrap().0.is_empty());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(run().unwrap_err().message, "is no file");
    }

    #[test]
    fn an_empty_text_that_every_refusal_would_have_is_refused_and_a_list_of_none_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.test.toml");
        let run = |refused: &str| {
            let text = format!(
                "[[test]]\nname = 'x'\nevents = []\nexpect = [\n{{ rule = 'a', refused = {refused} }},\n]\n"
            );
            std::fs::write(&path, text).unwrap();
            test(&Arc::default(), folder.path(), &|_, _, _| Ok(None), None).unwrap_err()
        };
        for refused in ["''", "' '", "[' ']", "['person.traits.plan', '']", "\"\"\"\n\"\"\""] {
            let wrong = run(refused);
            let whole = "`refused` is a part of the reason, as `refused = \"person.traits.plan\"`, and here it is empty; \
                         leave it out where nothing is refused";
            assert_eq!((wrong.line, wrong.message.as_str()), (5, whole), "{refused}");
        }
        for refused in ["'plan'", "[]", "['plan', 'name']"] {
            assert_eq!(run(refused).message, "there is no rule `a`", "{refused}");
        }
    }

    #[test]
    fn what_a_fixture_did_not_expect_is_told_as_it_would_expect_it() {
        let folder = tempfile::tempdir().unwrap();
        let rules = "[rules.mine]\non = 'A'\nthen = []\n[rules.ours]\non = 'A'\nper = 'account'\nthen = []\n";
        let text = |expect: &str| {
            format!(
                "[[test]]\nname = 'x'\nexpect = [{expect}]\nevents = [\n\
                 {{ at = '0s', identify = {{ name = 'Ann' }}, user = 'u-1', group = 'acme' }},\n\
                 {{ at = '26h', track = 'A', user = 'u-1', group = 'acme' }},\n]\n"
            )
        };
        let run = |expect: &str| {
            std::fs::write(folder.path().join("a.toml"), rules).unwrap();
            std::fs::write(folder.path().join("a.test.toml"), text(expect)).unwrap();
            let set = Arc::new(RuleSet::read(folder.path()).unwrap());
            let (mut tested, _) = test(&set, folder.path(), &|_, _, _| Ok(None), None).unwrap();
            tested.remove(0).wrong
        };
        let wrong = run("");
        let told: Vec<_> = wrong
            .iter()
            .map(|it| it.strip_prefix("fired, and was not expected: ").unwrap())
            .collect();
        assert_eq!(told.len(), 2, "{wrong:?}");
        assert!(told.contains(&"{ rule = \"mine\", at = \"26h\", user = \"u-1\" }"), "{told:?}");
        assert!(
            told.contains(&"{ rule = \"ours\", at = \"26h\", account = \"acme\" }"),
            "{told:?}"
        );
        assert_eq!(run(&told.join(", ")), Vec::<String>::new());
    }
}
