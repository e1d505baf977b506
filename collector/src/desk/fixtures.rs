//! The tests beside the rules, run against the rules in force for who reads about them.
//! Promises that they are run once, and anew where their files have changed, on a thread of their own, and that nobody waits long for
//! it. Deliberately runs nothing where the rule files are no longer those that were read at the start: their tests are about other rules.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use super::Desk;
use crate::{
    actions,
    event_log::Timestamp,
    rules::{Patience, RuleSet, Tested},
};

/// How long a page waits for them; the next one shows what came of it.
const SEEN_WITHIN: Duration = Duration::from_millis(500);
/// Some hundred tests of a busy folder take a second.
const PATIENCE: Patience = Patience { time: Duration::from_secs(20), tests: 1_000 };
/// What of a failed test is kept.
const LINES: usize = 3;

/// Where they stand, and what came of them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fixtures {
    /// The rules' folder, and a name for its texts as they were read.
    beside: Option<Arc<(PathBuf, Option<String>)>>,
    ran: Arc<watch::Sender<Ran>>,
}

/// What came of all tests.
#[derive(Clone, Debug)]
enum Ran {
    NotYet,
    Now,
    /// And a name for the files' texts as they were before.
    Done(Arc<Tests>, Option<String>),
}

/// What came of tests.
#[derive(Clone, Debug)]
pub(crate) enum Tests {
    /// They are being run.
    Running,
    /// The files are others than those in force.
    Changed,
    /// They cannot be run, and why.
    Wrong(String),
    /// When they were run, what came of them, and whether that was all.
    Ran { at: Timestamp, tested: Vec<Tested>, all: bool },
}

impl Tests {
    fn run(set: &Arc<RuleSet>, folder: &Path, read: Option<&str>, at: Timestamp) -> Self {
        if read.is_none() || actions::texts(folder).as_deref() != read {
            return Self::Changed;
        }
        match actions::test_within(set, folder, PATIENCE) {
            Err(error) => Self::Wrong(error.to_string()),
            Ok((mut tested, all)) => {
                for one in &mut tested {
                    let more = one.wrong.len().saturating_sub(LINES);
                    one.wrong.truncate(LINES);
                    if more > 0 {
                        one.wrong.push(format!("and {more} more"));
                    }
                }
                Self::Ran { at, tested, all }
            }
        }
    }

    /// Those that are about a rule.
    fn of(&self, rule: &str) -> Self {
        match self {
            Self::Ran { at, tested, all } => {
                let of_it = tested.iter().filter(|one| one.rules.contains(rule)).cloned();
                Self::Ran { at: *at, tested: of_it.collect(), all: *all }
            }
            other => other.clone(),
        }
    }
}

impl Fixtures {
    /// Those of a folder of which this was read.
    pub(crate) fn beside(folder: Option<PathBuf>, read: Option<String>) -> Self {
        let beside = folder.map(|folder| Arc::new((folder, read)));
        Self { beside, ran: Arc::new(watch::Sender::new(Ran::NotYet)) }
    }

    /// Begins them, unless that was done, and the files are what they were then.
    async fn begin(&self, set: &Arc<RuleSet>, at: Timestamp) {
        let Some(beside) = self.beside.clone() else { return };
        let folder = Arc::clone(&beside);
        let Ok(files) = spawn_blocking(move || actions::fixtures(&folder.0)).await else { return };
        let is_due = self.ran.send_if_modified(|ran| {
            let is_due = match ran {
                Ran::NotYet => true,
                Ran::Now => false,
                Ran::Done(_, of) => *of != files,
            };
            if is_due {
                *ran = Ran::Now;
            }
            is_due
        });
        if !is_due {
            return;
        }
        let (set, ran) = (Arc::clone(set), Arc::clone(&self.ran));
        tokio::spawn(async move {
            let tests = spawn_blocking(move || {
                let (folder, read) = &*beside;
                Tests::run(&set, folder, read.as_deref(), at)
            });
            let tests = tests.await.unwrap_or_else(|error| Tests::Wrong(error.to_string()));
            ran.send_replace(Ran::Done(Arc::new(tests), files));
        });
    }
}

impl Desk {
    /// The tests that are about a rule.
    pub(crate) async fn tests_of(&self, rule: &str) -> Tests {
        let at = (self.clock)();
        if self.fixtures.beside.is_none() {
            return Tests::Ran { at, tested: Vec::new(), all: true };
        }
        self.fixtures.begin(&self.rules, at).await;
        let mut ran = self.fixtures.ran.subscribe();
        let done = ran.wait_for(|ran| matches!(ran, Ran::Done(..)));
        match timeout(SEEN_WITHIN, done).await.map(|ran| ran.map(|ran| ran.clone())) {
            Ok(Ok(Ran::Done(tests, _))) => tests.of(rule),
            _ => Tests::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RULES: &str =
        "[rules.seen]\non = 'Seen'\nthen = []\n[rules.other]\non = 'Other'\nthen = []\n";
    const TESTS: &str = "[[test]]\nname = 'it fires'\nevents = [{ at = '0s', track = 'Seen', user = 'u' }]\n\
                         expect = [{ rule = 'seen' }]\n\
                         [[test]]\nname = 'it does not'\nevents = [{ at = '0s', track = 'Seen', user = 'u' }]\nexpect = []\n\
                         [[test]]\nname = 'five of another'\nevents = []\nexpect = [{ rule = 'other' }, { rule = 'other' }, \
                         { rule = 'other' }, { rule = 'other' }, { rule = 'other' }]\n";

    fn folder() -> (tempfile::TempDir, Arc<RuleSet>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), RULES).unwrap();
        fs::write(folder.path().join("a.test.toml"), TESTS).unwrap();
        let set = Arc::new(RuleSet::read(folder.path()).unwrap());
        let read = actions::texts(folder.path());
        (folder, set, read)
    }

    fn came(tests: &Tests, rule: &str) -> Vec<(String, Vec<String>)> {
        let Tests::Ran { tested, all: true, .. } = tests.of(rule) else { panic!("{tests:?}") };
        tested.into_iter().map(|one| (one.name, one.wrong)).collect()
    }

    #[test]
    fn a_rule_has_the_tests_that_expect_it_or_that_it_broke_with_their_first_lines() {
        let (folder, set, read) = folder();
        let at = Timestamp::from_unix_ms(0);
        let tests = Tests::run(&set, folder.path(), read.as_deref(), at);
        let unexpected =
            "fired, and was not expected: { rule = \"seen\", at = \"0s\", user = \"u\" }"
                .to_owned();
        assert_eq!(
            came(&tests, "seen"),
            [("it fires".to_owned(), Vec::new()), ("it does not".to_owned(), vec![unexpected])]
        );
        let [(_, lines)] = &came(&tests, "other")[..] else { panic!("one is about it") };
        assert_eq!(lines.len(), 4);
        let did_not =
            "did not fire: { rule = \"other\" }\n    nothing looked at it: it is about Other";
        assert!(lines[2].starts_with(did_not) && lines[3] == "and 2 more", "{lines:?}");
        assert!(came(&tests, "none").is_empty());
    }

    #[test]
    fn tests_of_other_files_are_not_run_and_mistakes_in_them_are_said() {
        let (folder, set, read) = folder();
        let at = Timestamp::from_unix_ms(0);
        let wrong = folder.path().join("b.test.toml");
        fs::write(&wrong, "[[test]]\nnme = 'x'\n").unwrap();
        let tests = Tests::run(&set, folder.path(), read.as_deref(), at);
        let Tests::Wrong(why) = tests.of("seen") else { panic!("{tests:?}") };
        assert!(why.contains("b.test.toml:2: ") && why.contains("nme"), "{why}");
        for (name, text) in [("a.toml", format!("{RULES}\n")), ("a.md", "Hello".to_owned())] {
            let read = actions::texts(folder.path());
            fs::write(folder.path().join(name), text).unwrap();
            let changed = Tests::run(&set, folder.path(), read.as_deref(), at);
            assert!(matches!(changed, Tests::Changed), "{name}: {changed:?}");
        }
    }

    #[test]
    fn patience_ends_with_time_and_with_tests() {
        let (folder, set, _) = folder();
        let run = |patience| actions::test_within(&set, folder.path(), patience).unwrap();
        let (tested, all) = run(PATIENCE);
        assert_eq!((tested.len(), all), (3, true));
        let (tested, all) = run(Patience { tests: 2, ..PATIENCE });
        assert_eq!((tested.len(), all), (2, false));
        let (tested, all) = run(Patience { time: Duration::ZERO, ..PATIENCE });
        assert_eq!((tested.len(), all), (0, false));
    }

    #[tokio::test]
    async fn they_are_run_once_for_all_who_ask_and_anew_where_their_files_have_changed() {
        let (folder, set, read) = folder();
        let fixtures = Fixtures::beside(Some(folder.path().to_owned()), read);
        for (ms, of, count) in [(1, 1, 3), (2, 1, 3), (3, 3, 1)] {
            if ms == 3 {
                let one = TESTS.split_inclusive("[[test]]").take(2).collect::<String>();
                let one = one.trim_end_matches("[[test]]");
                fs::write(folder.path().join("a.test.toml"), one).unwrap();
            }
            fixtures.begin(&set, Timestamp::from_unix_ms(ms)).await;
            let mut ran = fixtures.ran.subscribe();
            let done = ran.wait_for(|ran| matches!(ran, Ran::Done(..))).await.unwrap().clone();
            let Ran::Done(tests, _) = done else { panic!("{done:?}") };
            let Tests::Ran { at, tested, .. } = &*tests else { panic!("{tests:?}") };
            assert_eq!((at.unix_ms(), tested.len()), (of, count), "of who asked first");
        }
    }
}
