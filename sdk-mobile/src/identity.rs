//! Who the person is, as far as this device knows: anonymous id, user id, the answers about consent. Promises that an unknown answer is
//! a no, and that nothing but the answers is kept of somebody who said no to everything. Knows no event and keeps no traits.

use headwater_core::platform::Consent;
use serde_json::{Value, json};

use crate::Answer;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) anonymous_id: String,
    pub(crate) user_id: Option<String>,
    /// In the order of the categories; nothing where the person was not asked.
    pub(crate) answers: [Option<Answer>; CATEGORIES],
    /// The app's version when it was last opened, to tell an update from a start.
    pub(crate) app: Option<String>,
    /// Counts the persons: one more, and never 0, begins a session. It lies with each event, whoever numbers it later.
    pub(crate) person: u32,
}

/// analytics, marketing, functional, necessary.
pub(crate) const CATEGORIES: usize = 4;

impl Default for Identity {
    fn default() -> Self {
        Self {
            anonymous_id: new_id(),
            user_id: None,
            answers: [None; CATEGORIES],
            app: None,
            person: 1,
        }
    }
}

impl Identity {
    /// What was kept, if anything was.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::default() };
        // What was answered is not known any more where it cannot be read: it is asked again, and nothing leaves the device until then.
        let Ok(kept) = serde_json::from_str::<Value>(text) else {
            return Self { answers: [Some(Answer::Pending); CATEGORIES], ..Self::default() };
        };
        let id = |name: &str| kept[name].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        Self {
            anonymous_id: id("anonymousId").unwrap_or_else(new_id),
            user_id: id("userId"),
            answers: answers(&kept["answers"]),
            app: id("app"),
            person: person(&kept["person"]),
        }
    }

    /// Whether what was kept names nobody, so that reading it made somebody up.
    pub(crate) fn anonymous_id_is_new(&self, kept: &str) -> bool {
        !kept.contains(&self.anonymous_id)
    }

    /// What to keep, given what holds where there is no answer.
    pub(crate) fn text(&self, initial: &[Answer; CATEGORIES]) -> String {
        let nobody = (0..CATEGORIES).all(|at| self.of(at, initial) == Answer::Denied);
        let known = |id: &str| if nobody { Value::Null } else { id.into() };
        let user_id = self.user_id.as_deref().map_or(Value::Null, known);
        let anonymous_id = known(&self.anonymous_id);
        let kept = json!({
            "anonymousId": anonymous_id, "userId": user_id, "answers": words(&self.answers), "app": self.app,
            "person": if nobody { 1 } else { self.person },
        });
        kept.to_string()
    }

    /// Somebody else from now on: a new anonymous id, no user id, a new session.
    pub(crate) fn become_another(&mut self) {
        self.anonymous_id = new_id();
        self.user_id = None;
        self.person = self.person.checked_add(1).unwrap_or(1);
    }

    /// What holds for a category now.
    pub(crate) fn of(&self, category: usize, initial: &[Answer; CATEGORIES]) -> Answer {
        self.answers[category].unwrap_or(initial[category])
    }

    /// For the core, a bit for each category, twice: for events that could go when they were called, and, four bits higher, for those
    /// called where there was no answer yet: only the person releases them, not an update of the app with other options.
    pub(crate) fn consent(&self) -> Consent {
        let mut consent = Consent::GRANTED;
        for (at, answer) in self.answers.iter().enumerate() {
            let (low, high) = (1 << at, 1 << (at + CATEGORIES));
            match answer {
                None => consent.pending |= high,
                Some(Answer::Pending) => consent.pending |= low | high,
                Some(Answer::Denied) => consent.denied |= low | high,
                Some(Answer::Granted) => {}
            }
        }
        consent
    }
}

/// The count of persons as it was kept, in an earlier format not at all.
pub(crate) fn person(kept: &Value) -> u32 {
    kept.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1)
}

/// The answers as they are kept.
pub(crate) fn words(answers: &[Option<Answer>; CATEGORIES]) -> [Value; CATEGORIES] {
    answers.map(|answer| match answer {
        None => Value::Null,
        Some(Answer::Pending) => "pending".into(),
        Some(Answer::Granted) => "granted".into(),
        Some(Answer::Denied) => "denied".into(),
    })
}

/// The answers that were kept; where there is no list of them, it is to be asked again.
pub(crate) fn answers(kept: &Value) -> [Option<Answer>; CATEGORIES] {
    if !kept.is_array() {
        return [Some(Answer::Pending); CATEGORIES];
    }
    let mut answers = [None; CATEGORIES];
    for (at, answer) in answers.iter_mut().enumerate() {
        *answer = match &kept[at] {
            Value::Null => None,
            said => Some(match said.as_str() {
                Some("granted") => Answer::Granted,
                Some("pending") => Answer::Pending,
                // A word that nobody knows is a no.
                _ => Answer::Denied,
            }),
        };
    }
    answers
}

/// An id that nobody else has: random (version 4), so that it tells nothing.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: [Answer; CATEGORIES] = [Answer::Granted; CATEGORIES];

    #[test]
    fn comes_back_as_it_was() {
        let identity = Identity {
            user_id: Some("u-1".into()),
            answers: [Some(Answer::Granted), Some(Answer::Denied), None, Some(Answer::Pending)],
            app: Some("1.2 (7)".into()),
            person: 4,
            ..Identity::default()
        };
        assert_eq!(Identity::read(Some(&identity.text(&YES))), identity);
    }

    #[test]
    fn of_somebody_who_said_no_only_the_answers_are_kept() {
        let identity = Identity {
            user_id: Some("u-1".into()),
            answers: [Some(Answer::Denied); CATEGORIES],
            ..Identity::default()
        };
        let kept = identity.text(&YES);
        assert!(!kept.contains("u-1") && !kept.contains(&identity.anonymous_id), "{kept}");
        assert_eq!(Identity::read(Some(&kept)).answers, identity.answers);
    }

    #[test]
    fn what_no_answer_was_given_for_stays_for_the_person() {
        let answers = [None, Some(Answer::Granted), Some(Answer::Denied), Some(Answer::Pending)];
        let consent = Identity { answers, ..Identity::default() }.consent();
        assert_eq!(consent, Consent { pending: 0b1001_1000, denied: 0b0100_0100 });
    }

    #[test]
    fn a_word_nobody_knows_is_a_no() {
        let kept = r#"{"anonymousId":"a","answers":["maybe","granted",null,null]}"#;
        assert_eq!(
            Identity::read(Some(kept)).answers[..2],
            [Some(Answer::Denied), Some(Answer::Granted)]
        );
    }
}
