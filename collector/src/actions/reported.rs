//! What mail services report after they took a mail: that it bounced, that it was called spam, that somebody wants no more. The address
//! goes onto the suppression list.
//! Promises to believe servers alone, as they say it: no page, no app, no import, no test, nothing that a rule has made; and to be heard
//! once, so that what an operator took off the list stays off it. Deliberately apart from the fold, which waits for nothing here.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::watch, task::spawn_blocking};

use super::worker::{READ_AGAIN, wait};
use crate::{
    event_log::{Clock, EventLog, Offset, Origin, ReadError, Reader, Record, Trust},
    inbound::Inbounds,
    people::Identifier,
    sources::Sources,
    state::{State, StateError, SuppressionReason, address},
};

/// Between two looks at the log: what came meanwhile is read at one go.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is noted how far it has got, while nothing is reported.
const NOTE: Duration = Duration::from_secs(10);
/// Records that are looked at together.
const AT_ONCE: usize = 1000;
/// A bounce without a word for how hard it was, or with one of these, is for good.
const FOR_GOOD: [&str; 5] = ["bounce", "hard", "hardbounce", "permanent", "hardbounced"];
/// Codes of what passes, of a full or locked mailbox and of what a server does not allow (RFC 3463): there is somebody.
const NOT_FOR_GOOD: [&str; 3] = ["4", "5.2", "5.7"];

/// An address that nothing is to be sent to any more, and the record that says so.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    offset: Offset,
    address: Identifier<'static>,
    because: SuppressionReason,
}

/// What listens to the log.
pub(crate) struct Reports {
    log: Arc<EventLog>,
    state: State,
    clock: Clock,
    sources: Sources,
    inbounds: Inbounds,
    /// Listened up to here, of which is noted that it was up to there, then.
    reader: Reader,
    noted: (Offset, Instant),
}

impl Reports {
    /// Goes on where it was; the first time at the log's end: what was before may be settled long since. Blocks.
    pub(crate) fn open(
        log: Arc<EventLog>,
        (state, clock): (State, Clock),
        (sources, inbounds): (Sources, Inbounds),
    ) -> Result<Self, StateError> {
        let end = *log.end().borrow();
        // Beyond the end if the log was replaced: what comes is new.
        let from = state.heard_up_to(end)?.min(end);
        let (reader, noted) = (log.reader(Some(from)), (from, Instant::now()));
        Ok(Self { log, state, clock, sources, inbounds, reader, noted })
    }

    /// Listens until `stop`.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut end = self.log.end();
        loop {
            end.borrow_and_update();
            let stops = *stop.borrow();
            let listening = spawn_blocking(move || {
                let heard = self.listen().and_then(|()| self.note(stops));
                (self, heard)
            });
            let (this, heard) = match listening.await {
                Ok(done) => done,
                Err(panic) => {
                    tracing::error!(%panic, "what mail services report is not heard any more");
                    return;
                }
            };
            self = this;
            if stops {
                return;
            }
            let pause = match heard {
                Ok(()) => PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "what mail services report waits");
                    READ_AGAIN
                }
            };
            if wait(pause, &mut stop).await || pause == READ_AGAIN {
                continue;
            }
            tokio::select! {
                changed = end.changed() => if changed.is_err() { return },
                () = async { drop(stop.wait_for(|stop| *stop).await) } => {}
            }
        }
    }

    /// Puts on the list what is reported between here and the log's end. Whatever fails is done again.
    fn listen(&mut self) -> Result<(), NotHeard> {
        let end = *self.log.end().borrow();
        if !self.sources.any_trusted() && self.inbounds.is_empty() {
            self.reader.seek(end);
        }
        while self.reader.position() < end {
            let before = self.reader.position();
            let records = match self.reader.next_chunk(AT_ONCE) {
                Ok(records) => records,
                Err(error @ ReadError::Io(_)) => return Err(error.into()),
                Err(damage) => {
                    tracing::error!(%damage, "what mail services reported there is lost");
                    continue;
                }
            };
            let mut by_source = BTreeMap::<_, Vec<_>>::new();
            for record in &records {
                if let Some(report) = reported(record) {
                    by_source.entry(&*record.source).or_default().push(report);
                }
            }
            for (source, reports) in &by_source {
                if let Err(error) = self.put(source, reports) {
                    self.reader.seek(before);
                    return Err(error.into());
                }
            }
            if !by_source.is_empty() {
                self.note(true)?;
            }
        }
        Ok(())
    }

    fn put(&self, source: &str, reports: &[Report]) -> Result<(), StateError> {
        let all = reports.iter().map(|report| (&report.address, report.because));
        let added = self.state.add_to_suppression_list(all, source, (self.clock)())?;
        tracing::info!(
            source,
            added,
            "a mail service's reports put addresses on the suppression list"
        );
        // Whoever was erased meanwhile is not named by what came after.
        let gone = reports.iter().filter(|report| !self.is_there(report.offset));
        let gone: Vec<_> = gone.map(|report| &report.address).collect();
        if gone.is_empty() { Ok(()) } else { self.state.forget_names_on_suppression_list(gone) }
    }

    fn is_there(&self, offset: Offset) -> bool {
        let found = self.log.reader(Some(offset.before())).next_chunk(1);
        found.is_ok_and(|found| found.first().is_some_and(|record| record.offset == offset))
    }

    /// Notes how far it has got, if it is time, or wanted now.
    fn note(&mut self, now: bool) -> Result<(), NotHeard> {
        let at = self.reader.position();
        if at != self.noted.0 && (now || self.noted.1.elapsed() >= NOTE) {
            self.state.note_heard(at)?;
            self.noted = (at, Instant::now());
        }
        Ok(())
    }
}

/// Why it cannot go on now.
#[derive(Debug, thiserror::Error)]
enum NotHeard {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Events by the names of Segment's e-mail specification, and `Email Unsubscribed`, as the mapping for SendGrid has it.
fn because(event: &str) -> Option<SuppressionReason> {
    Some(match event {
        "Email Bounced" => SuppressionReason::Bounced,
        "Email Marked as Spam" => SuppressionReason::Complained,
        "Unsubscribed" | "Email Unsubscribed" => SuppressionReason::Unsubscribed,
        _ => return None,
    })
}

/// What a record says to the list, if anything.
fn reported(record: &Record) -> Option<Report> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow, default)]
        event: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        properties: Option<&'a RawValue>,
        #[serde(borrow, default)]
        context: Option<&'a RawValue>,
    }
    let flags = record.flags;
    let is_said = record.trust == Trust::Server && record.origin == Origin::Sent;
    if !is_said || flags.test || flags.no_actions || flags.erased {
        return None;
    }
    let named: Named<'_> = serde_json::from_str(&record.json).ok()?;
    let because = because(&named.event?).filter(|_| named.r#type == "track")?;
    let (properties, context) = (members(named.properties), members(named.context));
    let (Some(properties), Some(context)) = (properties, context) else {
        tracing::warn!(source = %record.source, event = %record.offset, "what a mail service reports cannot be read: whom it is about stays where it was");
        return None;
    };
    let counts = match because {
        SuppressionReason::Bounced => is_for_good(&properties),
        // Of one list or group: other mail is wanted.
        SuppressionReason::Unsubscribed => {
            properties.list_id.is_none() && properties.group_id.is_none()
        }
        SuppressionReason::Complained | SuppressionReason::Manual => true,
    };
    let traits = members(context.traits).unwrap_or_default();
    let said = [properties.email, traits.email].into_iter().filter_map(text);
    // What is no address after all leaves the other to be one.
    let mut addresses = said.filter_map(|text| address(&format!("email:{text}")).ok());
    let address = addresses.next().filter(|_| counts)?;
    Some(Report { offset: record.offset, address, because })
}

/// What is looked at of properties, context and traits. Anything beside it may be what no text or number can be: it was taken as it came.
#[derive(Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    email: Option<&'a RawValue>,
    bounce_type: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    list_id: Option<&'a RawValue>,
    group_id: Option<&'a RawValue>,
    traits: Option<&'a RawValue>,
}

/// `None` where it cannot be read; nothing where it is no object.
fn members(raw: Option<&RawValue>) -> Option<Members<'_>> {
    match raw.map(RawValue::get).filter(|text| text.starts_with('{')) {
        Some(text) => serde_json::from_str(text).ok(),
        None => Some(Members::default()),
    }
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    let text: String = serde_json::from_str(raw?.get()).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

/// Whether nobody is there, as far as the service says how the mail bounced: in a word that cannot be read it did not say so.
fn is_for_good(properties: &Members<'_>) -> bool {
    let letters = |word: String| -> String {
        word.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
    };
    let is_hard = |kind| text(Some(kind)).is_some_and(|it| FOR_GOOD.contains(&&*letters(it)));
    let status = text(properties.status).unwrap_or_default();
    properties.bounce_type.is_none_or(is_hard)
        && !NOT_FOR_GOOD.iter().any(|code| status.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{Flags, Timestamp};

    fn record(trust: Trust, origin: Origin, flags: Flags) -> Record {
        let at = Timestamp::from_unix_ms(1);
        let json =
            r#"{"type":"track","event":"Email Bounced","properties":{"email":"a@b.example"}}"#;
        Record {
            offset: Offset::START,
            received_at: at,
            event_time: at,
            claimed_time: None,
            source: "app".parse().unwrap(),
            trust,
            origin,
            order_key: "u-1".into(),
            message_id: "m-1".into(),
            sequence: None,
            schema_version: 0,
            flags,
            json: json.into(),
        }
    }

    fn of(event: &str, more: &str) -> Option<(String, SuppressionReason)> {
        let mut record = record(Trust::Server, Origin::Sent, Flags::default());
        record.json = format!(r#"{{"type":"track","event":"{event}",{more}}}"#).into();
        reported(&record).map(|report| (report.address.to_string(), report.because))
    }

    #[test]
    fn whatever_stands_beside_it_a_report_is_heard() {
        let bounced = |properties: &str| {
            let found = of("Email Bounced", &format!(r#""properties":{{{properties}}}"#));
            found.map(|(address, _)| address)
        };
        let it = Some("email:a@b.example".to_owned());
        assert_eq!(bounced(r#""email":"a@b.example","raw":1e999"#), it);
        assert_eq!(bounced(r#""email":"a@b.example","diagnostic":"550 \ud83d""#), it);
        assert_eq!(bounced(r#""email":"a@b.example.""#), it);
        assert_eq!(bounced(r#""email":" A@B.example ","bounce_type":null"#), it);
        // A word that cannot be read does not say that it was for good.
        assert_eq!(bounced(r#""email":"a@b.example","bounce_type":"soft","x":"\ud800""#), None);
        assert_eq!(bounced(r#""email":"a@b.example","bounce_type":"hard\ud800""#), None);
        assert_eq!(bounced(r#""email":"a@b.example","bounce_type":1e999"#), None);
        // Of two that are said the first counts that is an address.
        let context = r#""context":{"traits":{"email":"a@b.example"}}"#;
        for email in [r#""""#, r#"" ""#, "null", "7", r#""nobody""#] {
            let both = format!(r#"{context},"properties":{{"email":{email}}}"#);
            let spam = (it.clone().unwrap(), SuppressionReason::Complained);
            assert_eq!(of("Email Marked as Spam", &both), Some(spam), "{email}");
        }
        for nothing in ["null", "[]", r#""a@b.example""#] {
            assert_eq!(of("Email Bounced", &format!(r#""properties":{nothing}"#)), None);
        }
    }

    #[test]
    fn a_server_is_believed_as_it_says_it_and_nobody_else() {
        let flags = Flags::default();
        let said = reported(&record(Trust::Server, Origin::Sent, flags)).unwrap();
        assert_eq!(said.address.to_string(), "email:a@b.example");
        // What a rule makes of a page's event comes from the collector, whom sinks and people believe.
        let derived = Origin::Derived { by: "a".into(), depth: 1 };
        for (trust, origin, flags) in [
            (Trust::Client, Origin::Sent, flags),
            (Trust::Server, Origin::Import, flags),
            (Trust::Server, derived, flags),
            (Trust::Server, Origin::Sent, Flags { test: true, ..flags }),
            (Trust::Server, Origin::Sent, Flags { no_actions: true, ..flags }),
            (Trust::Server, Origin::Sent, Flags { erased: true, ..flags }),
        ] {
            assert_eq!(reported(&record(trust, origin, flags)), None);
        }
    }
}
