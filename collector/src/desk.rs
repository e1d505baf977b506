//! Where people are asked for, and decisions about them are handed in: what the API, the pages and the terminal have in common.
//! Promises that an answer is one moment of the state, and that a decision which was answered is in the log and in the state.
//! Deliberately knows no HTTP and draws nothing.

mod about;
mod decided;
mod fixtures;
mod rules;
mod suppression_list;
mod why;

pub(crate) use about::RuleAbout;
pub(crate) use fixtures::{Fixtures, Tests};
pub(crate) use rules::{RuleStanding, StoppedShown};
pub(crate) use suppression_list::{Suppression, SuppressionPage};
pub(crate) use why::{LookedAt, Why};

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    sync::{Mutex, watch},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    actions::Trying,
    consumer::{Consumers, OrderError},
    event_log::{AppendError, Clock, EventLog, Offset},
    limits::MAX_PAGE,
    messages::Messages,
    people::{
        self, Account, Found, Graph, Identifier, Kind, Limits, Of, Order, Page, PersonId, Preview,
        Profile, Wanted,
    },
    projection::{DatabaseError, Handle, Rebuild},
    rules::{InForce, RuleSet},
    state::{Audited, Erasure, State, StateError},
    suppressed::Suppressed,
};

/// How long who decided something waits to see it: longer only while the projection catches up with a backlog.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// After an erasure could not be finished: a disk that was full may have room.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) projection: Handle,
    pub(crate) log: Arc<EventLog>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) state: State,
    pub(crate) suppressed: Suppressed,
    pub(crate) consumers: Consumers,
    /// What operators have written.
    pub(crate) rules: Arc<RuleSet>,
    /// Since when each of them counts.
    pub(crate) in_force: InForce,
    /// The tests beside them.
    pub(crate) fixtures: Fixtures,
    /// What waits for devices.
    pub(crate) messages: Messages,
    /// How it stands with what is done because of them.
    pub(crate) trying: Arc<Trying>,
    /// One at a time.
    pub(crate) erasing: Arc<Mutex<()>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// The state cannot be read now.
    #[error("people cannot be read now: {0}")]
    Database(#[from] rusqlite::Error),
    /// The decision is not in the log; nothing has changed.
    #[error("the decision could not be stored: {0}")]
    Log(#[from] AppendError),
    /// A thread had to give up.
    #[error("people cannot be read now: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// The state cannot be made anew.
    #[error(transparent)]
    Rebuild(#[from] DatabaseError),
    /// The state database cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A consumer could not let go of what it has set aside.
    #[error("consumer `{consumer}` cannot drop its parked events: {cause}")]
    Consumer {
        /// Its name.
        consumer: String,
        /// What is wrong.
        cause: OrderError,
    },
    /// Not everything of the person is known yet: nothing was erased.
    #[error(
        "people are behind the log, and what is not known cannot be erased; wait until `GET /v1/projection` says that they are up to date"
    )]
    Behind,
    /// It would change nothing.
    #[error("{0}")]
    Refused(String),
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Erased {
    /// Who it was; the id names nobody now.
    pub(crate) person: PersonId,
    /// Records that are gone from the log.
    pub(crate) events: u64,
}

/// How far the state is behind the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) applied: Offset,
    pub(crate) end: Offset,
    pub(crate) rebuild: Option<Rebuild>,
}

impl Desk {
    /// Reads one moment of the state on a thread where waiting for the disk is allowed.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DeskError> {
        let readers = self.projection.readers.clone();
        Ok(spawn_blocking(move || readers.read(read)).await??)
    }

    /// Who this is: by a person's id, by an identifier with its kind, or by one without.
    pub(crate) async fn find(&self, text: &str) -> Result<Option<PersonId>, DeskError> {
        let text = text.to_owned();
        self.read(move |db| people::person_of(db, &text)).await
    }

    /// What is known of a person.
    pub(crate) async fn profile(&self, text: &str) -> Result<Option<Profile>, DeskError> {
        let text = text.to_owned();
        self.read(move |db| match people::person_of(db, &text)? {
            Some(person) => people::profile(db, person).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Who is who, and why.
    pub(crate) async fn graph(&self, text: &str) -> Result<Option<Graph>, DeskError> {
        let text = text.to_owned();
        self.read(move |db| match people::person_of(db, &text)? {
            Some(person) => people::graph_of(db, person).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// What a person did.
    pub(crate) async fn timeline(
        &self,
        text: &str,
        wanted: Wanted,
    ) -> Result<Option<Page>, DeskError> {
        let (text, log) = (text.to_owned(), Arc::clone(&self.log));
        self.read(move |db| match people::person_of(db, &text)? {
            Some(person) => people::timeline(db, &log, &Of::Person(person), &wanted),
            None => Ok(None),
        })
        .await
    }

    /// What sources for tests said of a person.
    pub(crate) async fn trials(
        &self,
        person: PersonId,
        after: Offset,
        limit: usize,
    ) -> Result<people::Trials, DeskError> {
        let log = Arc::clone(&self.log);
        self.read(move |db| people::trials(db, &log, person, after, limit)).await
    }

    /// What is known of an account.
    pub(crate) async fn account(&self, id: &str) -> Result<Option<Account>, DeskError> {
        let (id, now) = (id.to_owned(), (self.clock)());
        self.read(move |db| people::account(db, &id, now)).await
    }

    /// What an account's people did.
    pub(crate) async fn account_timeline(
        &self,
        id: &str,
        wanted: Wanted,
    ) -> Result<Option<Page>, DeskError> {
        let (of, log) = (Of::Account(id.to_owned()), Arc::clone(&self.log));
        self.read(move |db| people::timeline(db, &log, &of, &wanted)).await
    }

    /// People and accounts of whom something begins with this.
    pub(crate) async fn search(&self, text: &str, limit: usize) -> Result<Vec<Found>, DeskError> {
        let text = text.to_owned();
        self.read(move |db| people::search(db, &text, limit)).await
    }

    /// What a decision would lead to; `None` if one of the two is not known.
    pub(crate) async fn preview(&self, order: &Order) -> Result<Option<Preview>, DeskError> {
        let (limits, order) = (self.limits.clone(), order.clone());
        self.read(move |db| {
            let (a, b, merge) = order.parts();
            people::preview(db, &limits, (a, b), merge)
        })
        .await
    }

    /// Puts a decision into the log, and waits until the state has it; `None` if one of the two is not known. What would
    /// change nothing is refused. `by` is the name of the token of who decides.
    pub(crate) async fn decide(&self, order: &Order, by: &str) -> Result<Option<()>, DeskError> {
        let Some(preview) = self.preview(order).await? else { return Ok(None) };
        if let Some(why) = preview.refused {
            return Err(DeskError::Refused(why));
        }
        let id = uuid::Uuid::now_v7().to_string();
        self.log.append([order.event(&id, by)]).await?;
        // It is in the log: who does not see it yet will.
        let _ = self.up_to_date().await;
        Ok(Some(()))
    }

    /// The identifier by which somebody is named, of a person's own id its first: what an order is about, and what takes it back.
    pub(crate) async fn identifier(
        &self,
        text: &str,
    ) -> Result<Option<Identifier<'static>>, DeskError> {
        let text = text.to_owned();
        self.read(move |db| match people::node_of(db, &text)? {
            Some(node) => people::identifier(db, node).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Erases a person for good: from the log, from the state and from what waits for delivery; what still arrives from its
    /// devices is refused. What was delivered before is not called back: consumers get an event `Person Erased`. `None` if
    /// nobody is known by this. Once begun it comes to its end, whoever hangs up, and after a crash too. `by` is the name of
    /// the token of who orders it.
    pub(crate) async fn erase(&self, text: &str, by: &str) -> Result<Option<Erased>, DeskError> {
        let (desk, text, by) = (self.clone(), text.to_owned(), by.to_owned());
        tokio::spawn(async move {
            let _one_at_a_time = desk.erasing.lock().await;
            desk.up_to_date().await?;
            let found = desk.read(move |db| match people::person_of(db, &text)? {
                Some(person) => Ok(Some((person, people::identifiers(db, person)?))),
                None => Ok(None),
            });
            let Some((person, identifiers)) = found.await? else { return Ok(None) };
            desk.forget_said_addresses(person).await?;
            let erasure = Erasure {
                id: uuid::Uuid::now_v7().to_string(),
                person: person.to_string(),
                by,
                at: (desk.clock)(),
                identifiers: identifiers.iter().map(ToString::to_string).collect(),
                events: 0,
            };
            let (state, begun) = (desk.state.clone(), erasure.clone());
            spawn_blocking(move || state.begin_erasure(&begun)).await??;
            let events = desk.finish(&erasure).await?;
            Ok(Some(Erased { person, events }))
        })
        .await?
    }

    /// Brings erasures to their end that a crash or a full disk has cut short, until `stop`.
    pub(crate) async fn finish_erasures(self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.finish_all().await {
                tracing::error!(%error, "somebody is not erased yet; it is tried again");
            }
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }

    async fn finish_all(&self) -> Result<(), DeskError> {
        let _one_at_a_time = self.erasing.lock().await;
        let state = self.state.clone();
        for erasure in spawn_blocking(move || state.erasures()).await?? {
            tracing::info!(person = erasure.person, "an erasure that was cut short is finished");
            self.finish(&erasure).await?;
        }
        Ok(())
    }

    /// From wherever it got to: each step can be done again.
    async fn finish(&self, erasure: &Erasure) -> Result<u64, DeskError> {
        let identifiers: Vec<Identifier<'static>> =
            erasure.identifiers.iter().filter_map(|text| text.parse().ok()).collect();
        let (suppressed, state) = (self.suppressed.clone(), self.state.clone());
        let (gone, at) = (identifiers.clone(), erasure.at);
        spawn_blocking(move || suppressed.add(&state, &gone, at)).await??;
        // Nothing more comes; what came meanwhile belongs to it.
        self.log.settled().await?;
        self.up_to_date().await?;
        let known = identifiers.clone();
        let people::Traces { nodes, records } =
            self.read(move |db| people::traces(db, &known)).await?;
        let erased = self.log.erase(&records).await?;
        let (state, id) = (self.state.clone(), erasure.id.clone());
        let events = spawn_blocking(move || state.note_erased(&id, erased.records)).await??;
        for (name, consumer) in &self.consumers {
            for part in records.chunks(MAX_PAGE) {
                let dropped = consumer.drop_parked(Some(part.to_vec())).await;
                let consumer = name.to_string();
                dropped.map_err(|cause| DeskError::Consumer { consumer, cause })?;
            }
        }
        self.projection.forget(nodes).await?;
        // From here on an action under way finds nobody, and what it puts on the list has no name either.
        let (state, gone) = (self.state.clone(), identifiers.clone());
        spawn_blocking(move || state.forget_names_on_suppression_list(&gone)).await??;
        let lasting = identifiers.iter().filter(|id| !matches!(id.kind, Kind::Email | Kind::Phone));
        let properties = json!({
            "person": erasure.person,
            "by": erasure.by,
            "identifiers": lasting.map(ToString::to_string).collect::<Vec<_>>(),
        });
        // Said again it is recognised by its id.
        self.log.append([people::said(&erasure.id, people::ERASED, &properties)]).await?;
        let state = self.state.clone();
        spawn_blocking(move || {
            let devices = identifiers.iter().filter(|id| id.kind == Kind::Anonymous);
            state.forget_devices(devices.map(|id| &*id.value))
        })
        .await??;
        let (state, id) = (self.state.clone(), erasure.id.clone());
        let (at, subject) = (erasure.at, erasure.person.clone());
        let audited = Audited { at, action: "erase".to_owned(), subject, events };
        spawn_blocking(move || state.end_erasure(&id, &audited)).await??;
        tracing::info!(person = erasure.person, by = erasure.by, events, "a person was erased");
        Ok(events)
    }

    /// Waits until the state has what the log has now, but not for ever.
    async fn up_to_date(&self) -> Result<(), DeskError> {
        let end = *self.log.end().borrow();
        let waited = timeout(SEEN_WITHIN, self.projection.wait_for(end)).await;
        waited.map_err(|_| DeskError::Behind)
    }

    /// Changes whenever the state does.
    pub(crate) fn changes(&self) -> watch::Receiver<Offset> {
        self.projection.applied.clone()
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            applied: *self.projection.applied.borrow(),
            end: *self.log.end().borrow(),
            rebuild: *self.projection.rebuild.borrow(),
        }
    }

    /// Makes the state anew from the log, beside the one in use.
    pub(crate) async fn rebuild(&self) -> Result<(), DeskError> {
        Ok(self.projection.rebuild().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event_log::{Disk, FileSystem, NewEvent, Options, system_clock, testing::FaultyDisk},
        projection::{Projection, Rules},
        sources::Sources,
        suppressed::Named,
    };

    /// A desk, and what keeps its people up to date once it is told to.
    async fn desk(folder: &std::path::Path, disk: Arc<dyn Disk>) -> (Desk, Projection) {
        let clock = system_clock();
        let (options, dir) = (Options::default(), folder.join("log"));
        let (log, _) = EventLog::open(&dir, options, disk, Arc::clone(&clock)).unwrap();
        let log = Arc::new(log);
        let limits = Limits::default();
        let nobody = Arc::new(|| -> people::Gone { Arc::new(|_, _| false) });
        log.append([seen("1")]).await.unwrap();
        let projection =
            Projection::open(folder, &log, limits.clone(), nobody, Rules::none()).unwrap();
        let state = State::open(&folder.join("state.db")).unwrap();
        let suppressed = Suppressed::read(&state).unwrap();
        let messages = (state.clone(), Sources::new(Vec::new()));
        let messages =
            Messages::new(projection.handle(), Arc::clone(&log), messages, Arc::clone(&clock));
        let desk = Desk {
            projection: projection.handle(),
            messages,
            log,
            limits,
            clock,
            state,
            suppressed,
            consumers: Consumers::default(),
            rules: Arc::default(),
            fixtures: Fixtures::beside(None, None),
            trying: Arc::default(),
            in_force: InForce::default(),
            erasing: Arc::default(),
        };
        desk.up_to_date().await.unwrap();
        (desk, projection)
    }

    fn seen(id: &str) -> NewEvent<'static> {
        let json =
            format!(r#"{{"type":"track","event":"Seen","messageId":"{id}","userId":"u-1"}}"#);
        NewEvent::new("web".parse().unwrap(), id.to_owned(), "d", json)
    }

    #[tokio::test]
    async fn nobody_is_erased_in_part_while_people_are_behind_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (desk, projection) = desk(folder.path(), Arc::new(FileSystem)).await;
        // Nobody tells the projection of it.
        desk.log.append([seen("2")]).await.unwrap();
        tokio::time::pause();
        let erased = desk.erase("u-1", "first").await;
        assert!(matches!(erased, Err(DeskError::Behind)), "{erased:?}");
        assert!(desk.profile("u-1").await.unwrap().is_some());
        let named = Named { user_id: Some("u-1"), ..Named::default() };
        assert!(!desk.suppressed.has(named));

        let (stop, stopped) = watch::channel(false);
        let (tell, told) = watch::channel(Offset::START);
        let following = tokio::spawn(projection.follow(told, stopped));
        tell.send_replace(*desk.log.end().borrow());
        tokio::time::resume();
        assert_eq!(desk.erase("u-1", "first").await.unwrap().unwrap().events, 2);
        assert!(desk.profile("u-1").await.unwrap().is_none());
        stop.send_replace(true);
        following.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_on_its_way_into_the_log_is_erased_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::over(Arc::new(FileSystem));
        let faults = disk.faults.clone();
        let (desk, projection) = desk(folder.path(), Arc::new(disk)).await;
        let (stop, stopped) = watch::channel(false);
        let following = tokio::spawn(projection.follow(desk.log.end(), stopped));
        faults.delay_syncs(Duration::from_millis(400));
        // With the log, and not on disk for a while.
        let on_its_way = desk.log.append([seen("2")]);
        let erased = desk.erase("u-1", "first").await.unwrap().unwrap();
        on_its_way.await.unwrap();
        assert_eq!(erased.events, 2);
        let left = desk.log.reader(None).next_chunk(10).unwrap();
        assert!(left.iter().all(|record| record.json.contains(people::ERASED)), "{left:?}");
        stop.send_replace(true);
        following.await.unwrap();
    }
}
