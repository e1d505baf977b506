//! Messages for whoever uses the app: when the collector is asked for them, and which of those that come are told. Promises one request at a
//! time, made only while the app is in front, somebody listens and the person has agreed; that each message is told once in a process, only to
//! whom it is meant for, and never again once it was shown; and that who fails waits, longer each time. Knows neither HTTP nor what a message
//! says.
//!
//! The answer to such a request is held back until there is something to say. A message that nobody has shown yet comes at once each time:
//! then it is asked again after a while, or once events have arrived, among which there may be the word that it was shown.

use std::sync::{PoisonError, atomic::Ordering::SeqCst};

use headwater_core::platform::Now;

use super::{Driver, Notice, Said, Settings, Upload, inner::Inner};
use crate::{
    Answer, Category, Error, Report,
    messages::{Act, Message},
    transport::{Answered, Path, object},
};

/// What is being listened for, and what was heard.
pub(super) struct Listening {
    /// Whether somebody listens.
    wanted: bool,
    /// Whether the app's life says that it is in front. It has said so once: who is started in the background is not.
    in_front: bool,
    /// The device that all of this is about.
    anonymous_id: String,
    /// What was told in this process.
    told: Vec<Told>,
    /// The request under way.
    asked: Option<Asked>,
    /// Whether it was said that there is a request to make.
    pub(super) announced: bool,
    /// Whether the collector will not tell this one, however often it is asked.
    refused: bool,
    failures: u32,
    /// When it is asked again, monotonic milliseconds.
    next_ms: u64,
    /// Until when the collector wants to be left alone, monotonic milliseconds.
    held_until_ms: u64,
}

struct Told {
    id: String,
    rule: String,
    placement: String,
    expires_at_ms: u64,
    /// What was said of it.
    said: Vec<Act>,
}

struct Asked {
    id: u64,
    anonymous_id: String,
    user_id: Option<String>,
    at_ms: u64,
}

impl Listening {
    pub(super) fn new() -> Self {
        Self {
            wanted: false,
            in_front: false,
            anonymous_id: String::new(),
            told: Vec::new(),
            asked: None,
            announced: false,
            refused: false,
            failures: 0,
            next_ms: 0,
            held_until_ms: 0,
        }
    }

    /// The app is in front, or no longer is.
    pub(super) fn be_in_front(&mut self, in_front: bool, now: Now) {
        self.in_front = in_front;
        if in_front {
            self.begin(now);
        }
    }

    /// Another try may do what the last one did not.
    pub(super) fn begin(&mut self, now: Now) {
        self.refused = false;
        self.failures = 0;
        self.next_ms = now.monotonic_ms;
    }

    /// Events have arrived: rules may have something to say of them.
    pub(super) fn events_arrived(&mut self, now: Now) {
        if self.failures == 0 {
            self.next_ms = self.next_ms.min(now.monotonic_ms + LEAST_MS);
        }
    }

    /// Nothing came of it. `wanted_ms`: how long the collector wants to be left alone.
    fn failed(&mut self, wanted_ms: u64, now: Now) {
        self.failures = self.failures.saturating_add(1);
        let pause_ms = (LEAST_MS << (self.failures - 1).min(6)).min(LONGEST_MS);
        // Some sooner, some later: those who lost one collector do not come back as one.
        let dice = uuid::Uuid::new_v4().as_u64_pair().1 % 512;
        self.next_ms = now.monotonic_ms + pause_ms * 3 / 4 + pause_ms * dice / 1024;
        let wanted_ms = wanted_ms.min(LONGEST_WANTED_MS);
        self.held_until_ms = now.monotonic_ms + wanted_ms + wanted_ms * dice / 2048;
    }

    /// When there is something to do without a word from anybody, monotonic milliseconds.
    fn wake_at_ms(&self, due_ms: Option<u64>) -> Option<u64> {
        match &self.asked {
            Some(asked) => Some(asked.at_ms + PATIENCE_MS),
            None => due_ms.filter(|_| !self.announced),
        }
    }
}

impl Inner {
    /// See [`Listening::wake_at_ms`].
    pub(super) fn listen_at_ms(&self, settings: &Settings) -> Option<u64> {
        self.listening.wake_at_ms(self.ask_at_ms(settings))
    }

    /// When the collector is to be asked, if it is.
    fn ask_at_ms(&self, settings: &Settings) -> Option<u64> {
        let Listening { wanted, in_front, refused, asked, next_ms, held_until_ms, .. } =
            &self.listening;
        let may = *wanted && *in_front && !refused && asked.is_none() && self.has_agreed(settings);
        may.then_some((*next_ms).max(*held_until_ms))
    }

    fn has_agreed(&self, settings: &Settings) -> bool {
        let answer = self.parts.identity.of(Category::Functional as usize, &settings.consent);
        answer == Answer::Granted
    }

    /// Somebody else uses the device, or has not agreed: what was for somebody who did is told no more.
    fn know_who_listens(&mut self, settings: &Settings) {
        let another = self.listening.anonymous_id != self.parts.identity.anonymous_id;
        let Self { parts, listening, .. } = &mut *self;
        if another {
            listening.anonymous_id.clone_from(&parts.identity.anonymous_id);
            listening.told.clear();
            listening.refused = false;
            listening.next_ms = 0;
        }
        if another || !self.has_agreed(settings) || !self.listening.wanted {
            let told = &mut self.listening.told;
            self.parts.notices.retain(|notice| match notice {
                Notice::Message(message) => {
                    told.retain(|told| told.id != message.id);
                    false
                }
                _ => true,
            });
        }
    }

    /// Says once that there is a request to make, each time that there is one.
    pub(super) fn look_after_listening(&mut self, settings: &Settings, now: Now) {
        self.know_who_listens(settings);
        let given_up =
            |asked: &mut Asked| now.monotonic_ms.saturating_sub(asked.at_ms) >= PATIENCE_MS;
        if self.listening.asked.take_if(given_up).is_some() {
            self.listening.failed(0, now);
        }
        let due = self.ask_at_ms(settings).is_some_and(|at_ms| at_ms <= now.monotonic_ms);
        if due && !self.listening.announced {
            self.parts.notices.push(Notice::Listen);
        }
        self.listening.announced = due;
    }

    fn ask(&mut self, id: u64, settings: &Settings, now: Now) -> Option<Upload> {
        self.know_who_listens(settings);
        self.listening.announced = false;
        self.ask_at_ms(settings).filter(|at_ms| *at_ms <= now.monotonic_ms)?;
        let Some(token) = self.parts.token() else {
            // What is not kept must not be said: the first one that the collector hears is the only one.
            self.listening.failed(0, now);
            return None;
        };
        let anonymous_id = self.parts.identity.anonymous_id.clone();
        let (key, device) = (&*settings.write_key, &*anonymous_id);
        let mut body = object([("writeKey", key), ("anonymousId", device), ("token", &token)]);
        body["waitMs"] = WAIT_MS.into();
        let user_id = self.parts.identity.user_id.clone();
        self.listening.asked = Some(Asked { id, anonymous_id, user_id, at_ms: now.monotonic_ms });
        let url = Path::Messages.url(&settings.endpoint);
        Some(Upload { id, url, encoding: "identity", body: body.to_string().into_bytes() })
    }

    fn answered(&mut self, id: u64, answer: &Heard<'_>, settings: &Settings, now: Now) {
        self.know_who_listens(settings);
        let Some(asked) = self.listening.asked.take_if(|asked| asked.id == id) else { return };
        let found =
            if (200..300).contains(&answer.status) { Message::read_all(answer.body) } else { None };
        let Some(messages) = found else {
            return self.not_told(answer, now);
        };
        let Self { parts, listening, .. } = &mut *self;
        listening.failures = 0;
        let took_ms = now.monotonic_ms.saturating_sub(asked.at_ms);
        let pause_ms = if took_ms < LEAST_MS || !messages.is_empty() { PAUSE_MS } else { 0 };
        listening.next_ms = now.monotonic_ms + pause_ms;
        if asked.anonymous_id != parts.identity.anonymous_id
            || asked.user_id != parts.identity.user_id
        {
            // For whoever was here before.
            listening.next_ms = now.monotonic_ms;
            return;
        }
        if !listening.wanted || !listening.in_front || !self.has_agreed(settings) {
            return;
        }
        for message in messages {
            self.tell_message(message, now);
        }
    }

    fn not_told(&mut self, answer: &Heard<'_>, now: Now) {
        let Heard { status, retry_after, body } = answer;
        match Answered::read(*status, *retry_after, body, 0) {
            Answered::Refused { status: 408 | 425 | 429 | 500.., retry_after_ms } => {
                self.listening.failed(retry_after_ms, now);
            }
            Answered::Refused { status, .. } => {
                self.listening.refused = true;
                let said: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
                let why = said["error"]["message"].as_str().unwrap_or("without a word");
                self.parts.tell(Report::NoMessages {
                    detail: format!(
                        "the collector tells this device no messages ({status}): {why}"
                    ),
                });
            }
            _ => self.listening.failed(0, now),
        }
    }

    fn tell_message(&mut self, message: Message, now: Now) {
        let Self { parts, listening, .. } = self;
        let told = &mut listening.told;
        if message.expires_at_ms <= now.unix_ms
            || told.iter().any(|told| told.id == message.id)
            || parts.was_shown(&message.id)
        {
            return;
        }
        if told.len() >= MOST_TOLD {
            told.retain(|told| told.expires_at_ms > now.unix_ms);
            if told.len() >= MOST_TOLD {
                return;
            }
        }
        told.push(Told {
            id: message.id.clone(),
            rule: message.rule.clone(),
            placement: message.placement.clone(),
            expires_at_ms: message.expires_at_ms,
            said: Vec::new(),
        });
        parts.notices.push(Notice::Message(message));
    }

    /// The event that says so of a message, unless it was said before, or the message was somebody else's.
    fn said_of(&mut self, id: &str, act: Act, settings: &Settings) -> Option<Said> {
        self.know_who_listens(settings);
        let agreed = self.has_agreed(settings);
        let told = self.listening.told.iter_mut().find(|told| told.id == id);
        let told = told.filter(|told| !told.said.contains(&act))?;
        told.said.push(act);
        if act == Act::Shown && agreed {
            self.parts.shown.push(id.to_owned());
        }
        Some(act.said(id, &told.rule, &told.placement))
    }
}

/// What came of a request for messages: the status is 0 if nobody answered.
pub(crate) struct Heard<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) body: &'a str,
}

impl Driver {
    /// Somebody listens from now on, or nobody does.
    pub(crate) fn listen(&self, wanted: bool) -> Result<(), Error> {
        let mut inner = self.lock()?;
        let now = self.clock.now();
        inner.listening.wanted = wanted;
        inner.listening.begin(now);
        self.finish(inner, now);
        Ok(())
    }

    /// A request for messages that is to be made now, if there is one.
    pub(crate) fn next_listening(&self) -> Result<Option<Upload>, Error> {
        let (mut inner, now) = self.up_to_date()?;
        inner.look_at_note(&self.settings, now);
        let id = self.next_upload.fetch_add(1, SeqCst);
        let upload = inner.ask(id, &self.settings, now);
        self.finish(inner, now);
        Ok(upload)
    }

    /// What came of it.
    pub(crate) fn complete_listening(&self, id: u64, answer: &Heard<'_>) -> Result<(), Error> {
        let (mut inner, now) = self.up_to_date()?;
        inner.look_at_note(&self.settings, now);
        inner.answered(id, answer, &self.settings, now);
        self.finish(inner, now);
        Ok(())
    }

    /// This became of a message.
    pub(crate) fn act(&self, id: &str, act: Act) -> Result<(), Error> {
        for act in [Act::Shown, act] {
            let (mut inner, now) = self.up_to_date()?;
            if let Some(said) = inner.said_of(id, act, &self.settings) {
                self.record_now(inner, said, now);
            }
        }
        Ok(())
    }

    /// Waits until there is a request for messages to make; says no once the client is closed.
    #[cfg_attr(not(feature = "reqwest"), allow(dead_code, reason = "the host is told instead"))]
    pub(crate) fn wait_for_listening(&self) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.closed.load(SeqCst) {
                return false;
            }
            if inner.listening.announced {
                return true;
            }
            inner = self.alarm.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// How long the collector is asked to hold an answer back, milliseconds: proxies cut what is silent for half a minute.
const WAIT_MS: u64 = 20_000;
/// When a request is given up, milliseconds.
pub(crate) const LISTEN_TIMEOUT_MS: u64 = 30_000;
/// When nobody waits for its answer any more, whoever makes it.
const PATIENCE_MS: u64 = LISTEN_TIMEOUT_MS + 5_000;
/// The least time between two requests, and the first wait after a failure, which doubles.
const LEAST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 60_000;
/// The longest that a server may ask for.
const LONGEST_WANTED_MS: u64 = 3_600_000;
/// How long it is not asked again while what was told already would be the answer.
const PAUSE_MS: u64 = 10_000;
/// Messages that are known to have been told, until they expire.
const MOST_TOLD: usize = 1_000;
