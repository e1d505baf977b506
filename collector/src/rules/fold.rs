//! One record after the other becomes features, timers and firings.
//! Promises the same firings for the same log and the same rules, however the log is cut: time here is the log's, and whoever is
//! merged or taken apart meanwhile is looked at as they are at that moment. Deliberately has no clock and sends nothing.

mod asking;
mod backwards;
mod crossing;
mod done;
mod fate;
mod fire;
mod happening;
mod looked;
mod sample;
#[cfg(test)]
mod tests;
mod timer;
mod unjudged;

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::Arc,
};

use lru::LruCache;
use rusqlite::{Connection, Result};

use super::{
    calls::moment,
    kept::Kept,
    lately::Lately,
    length::ms,
    part::Per,
    rule::{Late, Rule, When},
    scope::{About, Reason, Scope},
    set::{Heard, RuleSet},
    tally,
    waiting::{self, Due, Standing},
};
pub(crate) use asking::ANSWERED;
pub(super) use asking::answered;
pub(super) use asking::read as read_answer;
use crossing::Line;
pub(crate) use done::DONE;
pub(super) use done::done_by;
pub(super) use fate::cap_alone;
use happening::Happening;
pub(super) use looked::FORGED;
pub(crate) use looked::WAITS;
pub use looked::{Came, Looked, Waited};
pub(super) use sample::brings;
use sample::{count, sampled};

use crate::{
    event_log::{Offset, Record, Trust},
    people::{self, Folded, Node, Whole},
};

/// Rules that stand one behind the other, each set off by what the one before has emitted. More is a circle.
const DEEPEST: u8 = 4;
/// People that are remembered by who has done something: some 2 MB when full.
const PEOPLE: NonZeroUsize = NonZeroUsize::new(1 << 13).expect("it is not 0");
/// Events that are remembered by their names. Of more, which some make up, all are looked up anew.
const NAMES: usize = 1 << 10;

/// The record at an offset, for who set a timer.
pub(crate) trait Records {
    /// `None` if it is gone: erased, or deleted with its time.
    fn at(&self, offset: Offset) -> Option<Record>;
}

/// Since when each rule counts, by name and revision, in the log and in milliseconds of unix time: what began before is recorded, and sets nothing off.
pub(crate) type InForce = Arc<BTreeMap<(String, u32), (Offset, i64)>>;

/// The fold over rules.
pub(crate) struct Fold {
    set: Arc<RuleSet>,
    looks_at_people: bool,
    in_force: InForce,
    kept: RefCell<Kept>,
    /// Rules that cross lines, by their place in the set.
    lines: Arc<[Line]>,
    /// Whether any event can move one of them.
    hears_all: bool,
    standing: Standing,
    /// Whose an identifier is, for those who have done something.
    people: LruCache<Node, Arc<Whole>>,
    /// Who wants to hear of an event, by its call and name.
    heard: HashMap<String, Arc<Heard>>,
    /// When something is due first, if that is known.
    next: Option<Option<i64>>,
    /// Whether it is tried what rules would come to: what others did is nothing to it.
    is_trial: bool,
    /// Where all that is looked at is written down, if anyone wants to know.
    looked: Option<Vec<Looked>>,
    /// Where firings are counted, if they are, and those that are not committed yet.
    tally: Option<Arc<tally::Tally>>,
    came: Vec<tally::Came>,
    /// Where it is told which events set something off, if anyone waits for that.
    lately: Option<Arc<Lately>>,
    /// Whether a firing that is not committed yet decides about its event, which may be waited for.
    has_decided: bool,
}

impl Fold {
    pub(crate) fn new(set: Arc<RuleSet>, in_force: InForce) -> Self {
        let (kept, standing, lines) = (RefCell::default(), Standing::default(), Line::all(&set));
        // One that is full from the beginning would take its room from who has no rules.
        let mut people = LruCache::unbounded();
        people.resize(PEOPLE);
        let heard = HashMap::new();
        let looks_at_people = set.looks_at_people();
        let hears_all = lines.iter().any(|line| line.goes_by_people);
        let (next, looked, tally, lately) = (None, None, None, None);
        Self {
            set,
            looks_at_people,
            in_force,
            kept,
            lines,
            hears_all,
            standing,
            people,
            heard,
            next,
            is_trial: false,
            looked,
            tally,
            came: Vec::new(),
            lately,
            has_decided: false,
        }
    }

    /// As it was before anything was remembered.
    pub(crate) fn forget(&mut self) {
        let (set, in_force) = (Arc::clone(&self.set), Arc::clone(&self.in_force));
        let (looked, is_trial) = (self.looked.take(), self.is_trial);
        let (tally, lately) = (self.tally.take(), self.lately.take());
        *self = Self { looked, is_trial, tally, lately, ..Self::new(set, in_force) };
    }

    /// Whom a rule is about.
    pub(super) fn per_of(&self, rule: &str) -> Option<Per> {
        self.set.per_of_rule(rule)
    }

    /// Tries what its rules alone would come to.
    pub(crate) fn alone(&mut self) {
        self.is_trial = true;
    }

    /// Since when its rules count.
    pub(crate) fn counts_since(&mut self, in_force: InForce) {
        self.in_force = in_force;
    }

    /// What there is to look at of somebody at a moment, with what is not written yet.
    pub(super) fn scope<'a>(
        &'a self,
        db: &'a Connection,
        whose: &'a Whole,
        now_ms: i64,
    ) -> Scope<'a> {
        Scope::new(db, &self.set, &self.kept, whose, now_ms)
    }

    /// When something is due first.
    pub(crate) fn next_due(&mut self, db: &Connection) -> Result<Option<i64>> {
        if let Some(known) = self.next {
            return Ok(known);
        }
        let next = waiting::first(db)?.map(|due| due.at());
        self.next = Some(next);
        Ok(next)
    }

    /// Does what is due by then; `position` is how far the log was read. Whether anything was. Rules see people as they are at that
    /// moment: what their fold has in memory is written first.
    pub(crate) fn until(
        &mut self,
        (db, people): (&Connection, &mut people::Fold),
        log: &dyn Records,
        time_ms: i64,
        position: Offset,
    ) -> Result<bool> {
        let mut any = false;
        while self.next_due(db)?.is_some_and(|due| due <= time_ms) {
            let Some(due) = waiting::first(db)? else { break };
            if !any && self.looks_at_people {
                people.flush(db)?;
            }
            waiting::done(db, &due)?;
            if let Due::Look { rule, node, account, .. } = &due
                && let Some(rule) = self.place(rule)
            {
                self.standing.looked(rule, (*node, *account));
            }
            self.next = None;
            any = true;
            match due {
                Due::Timer(timer) => self.ring(db, log, timer, position)?,
                Due::Look { due_ms, rule, node, account } => {
                    self.look(db, &rule, (node, account), due_ms, position)?;
                }
            }
        }
        Ok(any)
    }

    /// Folds one record in that people have folded already.
    pub(crate) fn record(
        &mut self,
        (db, people): (&Connection, &mut people::Fold),
        log: &dyn Records,
        record: &Record,
        folded: &Folded,
    ) -> Result<()> {
        if let Some((done, state)) = done_by(record) {
            return self.done(db, &done, state, record);
        }
        match folded {
            Folded::Nothing => Ok(()),
            Folded::Decided(nodes) => self.decided(db, nodes, record),
            Folded::Event { main, call, name, linked, parted } => {
                if !parted.is_empty() {
                    self.decided(db, parted, record)?;
                }
                let heard = self.heard(call, name);
                if *heard == Heard::default() && !linked && !self.hears_all {
                    return Ok(());
                }
                // Who is said to be somebody else by one who may order it can be parted from others by it.
                if *linked && *call == "alias" {
                    self.people.clear();
                }
                if self.looks_at_people {
                    people.flush(db)?;
                }
                let kept = std::mem::take(&mut self.kept);
                let done = self.event(db, &kept, log, record, *main, &heard, *linked);
                self.kept = kept;
                done
            }
        }
    }

    /// Writes what has changed, before the caller commits.
    pub(crate) fn flush(&mut self, db: &Connection) -> Result<()> {
        self.kept.borrow_mut().flush(db)
    }

    /// Has firings counted there, and tells of them.
    pub(crate) fn tell(&mut self, tally: Option<Arc<tally::Tally>>, lately: Arc<Lately>) {
        (self.tally, self.lately) = (tally, Some(lately));
    }

    /// Whether a firing that is not committed yet decides about its event, which may be waited for.
    pub(crate) fn has_decided(&self) -> bool {
        self.has_decided
    }

    /// What was flushed is committed: the state is at this place, where what was due by then is done, if that was looked at.
    pub(crate) fn committed(&mut self, applied: Offset, rung_ms: Option<i64>) {
        self.has_decided = false;
        if let Some(tally) = &self.tally {
            let until = (applied, rung_ms.unwrap_or(tally::AT_ONCE));
            let unjudged = tally.count(std::mem::take(&mut self.came), until);
            if let Some(lately) = &self.lately {
                unjudged.into_iter().for_each(|(of, at_ms)| lately.unjudged.count(of, at_ms));
            }
        }
    }

    /// Notes what is to be counted once it is committed.
    fn tally(&mut self, rule: &Rule, at: (Offset, i64), what: tally::What) {
        if self.tally.is_some() {
            self.came.push(tally::Came { at, rule: rule.name.clone(), what });
        }
    }

    /// Who wants to hear of this event.
    fn heard(&mut self, call: &str, name: &str) -> Arc<Heard> {
        let key = format!("{call}:{name}");
        if let Some(heard) = self.heard.get(&key) {
            return Arc::clone(heard);
        }
        if self.heard.len() >= NAMES {
            self.heard.clear();
        }
        let heard = Arc::new(self.set.heard(call, name));
        self.heard.insert(key, Arc::clone(&heard));
        heard
    }

    fn place(&self, rule: &str) -> Option<usize> {
        self.set.rules.iter().position(|it| it.name == rule)
    }

    /// The person that an identifier belongs to. Whoever has become one with others just now is looked up.
    fn person(&mut self, db: &Connection, node: Node, linked: bool) -> Result<Arc<Whole>> {
        if let Some(known) = self.people.get(&node).filter(|_| !linked) {
            return Ok(Arc::clone(known));
        }
        let person = Arc::new(Whole::person(db, node)?);
        for node in person.nodes.iter().filter(|_| linked) {
            self.people.pop(node);
        }
        self.people.put(node, Arc::clone(&person));
        Ok(person)
    }

    #[allow(clippy::too_many_arguments, reason = "who, what and when, each once")]
    fn event(
        &mut self,
        db: &Connection,
        kept: &RefCell<Kept>,
        log: &dyn Records,
        record: &Record,
        main: Node,
        heard: &Heard,
        linked: bool,
    ) -> Result<()> {
        let answers = asking::note(db, record)?;
        let happening = Happening { answers, ..Happening::of(record) };
        let person = self.person(db, main, linked)?;
        let (set, lines) = (Arc::clone(&self.set), Arc::clone(&self.lines));
        let accounts = match set.uses_accounts() {
            true => asking::accounts(db, &person, record)?,
            false => Vec::new(),
        };
        let scopes = |now: i64| {
            let of = |whose| Scope::new(db, &set, kept, whose, now);
            (of(&person), accounts.iter().map(of).collect::<Vec<_>>())
        };
        // Rules look at features as they stood before the event.
        let (mine, theirs) = scopes(happening.time_ms());
        let rules = || heard.rules.iter().map(|at| &set.rules[*at]);
        for rule in rules().filter(|rule| rule.asks.is_none()) {
            for scope in whose(rule.per, &mine, &theirs) {
                self.begin(scope, log, rule, &happening, main)?;
            }
        }
        for (rule, number) in heard.steps.iter().map(|(at, step)| (&set.rules[*at], *step)) {
            self.step(db, rule, number, &happening, main)?;
        }
        let mut samples = Vec::new();
        let place = (record.offset, tally::AT_ONCE);
        let moment = unjudged::Moment { at_ms: happening.time_ms(), place };
        let scope = Scope::new(db, &set, kept, &person, happening.time_ms());
        for at in &heard.features {
            match sampled(&scope, &set.features[*at], &happening)? {
                Ok(Some(sample)) => samples.push((*at, sample)),
                Ok(None) => {}
                Err(why) => self.cannot_count((&set, *at), &why, &happening, moment),
            }
        }
        drop(scope);
        let now = record.received_at.unix_ms();
        // What was back between two events is found before the second counts: afterwards it may be beyond its line again.
        let mut beyond = Vec::new();
        let moves = |line: &&Line| {
            linked || line.goes_by_people || samples.iter().any(|(at, _)| line.moves[*at])
        };
        for line in lines.iter().filter(|line| line.ages).filter(moves) {
            for whose in whose(set.rules[line.rule].per, &*person, &accounts) {
                let scope = Scope::new(db, &set, kept, whose, now);
                if self.is_beyond_still(&scope, line.rule, &happening)? {
                    beyond.push((line.rule, key(whose)));
                }
            }
        }
        let mut moved = Vec::new();
        for (at, sample) in &samples {
            if count((db, &set, kept), *at, sample, (main, &accounts))? {
                moved.push(*at);
            }
        }
        let has_moved =
            |line: &Line| linked || line.goes_by_people || moved.iter().any(|at| line.moves[*at]);
        let (mine, theirs) = scopes(now);
        for rule in rules().filter(|rule| rule.asks.is_some()) {
            for scope in whose(rule.per, &mine, &theirs) {
                self.begin(scope, log, rule, &happening, main)?;
            }
        }
        for line in lines.iter().filter(|line| has_moved(line)) {
            let rule = &set.rules[line.rule];
            for scope in whose(rule.per, &mine, &theirs) {
                let key = key(scope.whose);
                let was_beyond = line.ages.then(|| beyond.contains(&(line.rule, key)));
                let event = Some((&happening, main));
                let is_beyond = self.crossed(scope, line.rule, record.offset, event, was_beyond)?;
                if let Some(due) = line.next_look(scope, is_beyond)? {
                    let by = (line.rule, rule.name.as_str());
                    if waiting::look_by(db, &mut self.standing, by, key, due)? {
                        self.due_by(due);
                    }
                }
            }
        }
        Ok(())
    }

    /// An operator has made two people one, or one two, or a proof has parted some: what time alone moves is looked at again for both.
    fn decided(&mut self, db: &Connection, nodes: &[Node], record: &Record) -> Result<()> {
        self.people.clear();
        let set = Arc::clone(&self.set);
        for (number, rule) in set.rules.iter().enumerate() {
            let When::Crosses(_) = &rule.when else { continue };
            for node in nodes {
                let whose = Whole::person(db, *node)?;
                let keys = match rule.per {
                    Per::Person => vec![key(&whose)],
                    Per::Account => whose.accounts(db)?.iter().map(key).collect(),
                };
                for key in keys {
                    let due = record.received_at.unix_ms();
                    let by = (number, rule.name.as_str());
                    waiting::look_by(db, &mut self.standing, by, key, due)?;
                    self.due_by(due);
                }
            }
        }
        Ok(())
    }

    fn due_by(&mut self, due_ms: i64) {
        if let Some(next) = &mut self.next {
            *next = Some(next.map_or(due_ms, |next| next.min(due_ms)));
        }
    }

    /// An event that a rule is about.
    fn begin(
        &mut self,
        scope: &Scope<'_>,
        log: &dyn Records,
        rule: &Rule,
        happening: &Happening<'_>,
        main: Node,
    ) -> Result<()> {
        if happening.depth >= DEEPEST {
            return Ok(());
        }
        let (record, now) = (happening.record, happening.time_ms());
        if rule.only_server && record.trust == Trust::Client {
            self.looked_at((rule, scope.whose), now, Some(record.offset), looked::FORGED, Vec::new);
            return Ok(());
        }
        if rule.late == Late::Skip && happening.is_late() {
            let of = (rule, scope.whose);
            self.looked_at(of, now, Some(record.offset), "the event came late", Vec::new);
            return Ok(());
        }
        self.decide(scope, log, rule, happening, main)
    }

    fn decide(
        &mut self,
        scope: &Scope<'_>,
        log: &dyn Records,
        rule: &Rule,
        happening: &Happening<'_>,
        main: Node,
    ) -> Result<()> {
        let (db, record, now) = (scope.db, happening.record, happening.time_ms());
        let mut holds = true;
        for condition in &rule.conditions {
            let at = unjudged::Moment { at_ms: now, place: (record.offset, tally::AT_ONCE) };
            holds = holds && self.holds(scope, (rule, condition), Some(happening), at)?;
        }
        let mut outcome: Cow<'static, str> = "its conditions do not hold".into();
        let mut waits_until = None;
        if holds {
            outcome = match &rule.when {
                When::Event => {
                    self.fire(scope, rule, main, now, Some(happening), record.offset)?.into()
                }
                When::Without { within, .. } => {
                    let due = now + ms(*within);
                    waiting::set(db, (due, now), &rule.name, main, record.offset)?;
                    self.due_by(due);
                    waits_until = Some(due);
                    looked::WAITS.into()
                }
                When::At { time, shift_ms } => {
                    let named = scope.ask(time, happening.about())?;
                    match named.as_ref().ok().and_then(moment) {
                        Some(time) if time + shift_ms > now => {
                            let due = time + shift_ms;
                            waiting::set(db, (due, now), &rule.name, main, record.offset)?;
                            self.due_by(due);
                            waits_until = Some(due);
                            looked::WAITS.into()
                        }
                        Some(_) => "the time that the event names is past".into(),
                        None => looked::no_time(time, &named).into(),
                    }
                }
                When::Sequence { steps, within } => {
                    match self.came_before(scope, log, rule, steps, now - ms(*within), happening)? {
                        true => self
                            .fire(scope, rule, main, now, Some(happening), record.offset)?
                            .into(),
                        false => "the steps before it have not happened in time".into(),
                    }
                }
                When::Crosses(_) => return Ok(()),
            };
        }
        if self.looked.is_some() {
            let reasons = conditions(scope, rule, happening.about())?;
            let of = (rule, scope.whose);
            self.looked_at(of, now, Some(record.offset), &outcome, || reasons);
            if let Some(until) = waits_until {
                self.waited(rule, until, Vec::new());
            }
        }
        Ok(())
    }
}

/// Everybody whom a rule is about when a person does something.
fn whose<'a, W>(per: Per, person: &'a W, accounts: &'a [W]) -> &'a [W] {
    match per {
        Per::Person => std::slice::from_ref(person),
        Per::Account => accounts,
    }
}

/// Under what something is kept that is neither an event's nor an identifier's.
fn key(whose: &Whole) -> (Node, i64) {
    match &whose.account {
        Some((number, _)) => (0, *number),
        None => (whose.person, 0),
    }
}

/// Under what it may have been kept, before people were merged.
fn keys(whose: &Whole) -> Vec<(Node, i64)> {
    match &whose.account {
        Some(_) => vec![key(whose)],
        None => whose.nodes.iter().map(|node| (*node, 0)).collect(),
    }
}

/// What was decided by as an event came: what holds still is asked later.
fn conditions(scope: &Scope<'_>, rule: &Rule, about: About<'_>) -> Result<Vec<Reason>> {
    rule.conditions.iter().map(|condition| scope.reason(condition, about)).collect()
}

/// All that was decided by when a rule fires, or might have.
fn reasons(scope: &Scope<'_>, rule: &Rule, about: About<'_>) -> Result<Vec<Reason>> {
    let mut reasons = conditions(scope, rule, about)?;
    reasons.extend(stills(scope, rule, about)?);
    Ok(reasons)
}

/// What is to hold still when a timer rings, as it stands.
fn stills(scope: &Scope<'_>, rule: &Rule, about: About<'_>) -> Result<Vec<Reason>> {
    let reason = |part| Ok(Reason { still: true, ..scope.reason(part, about)? });
    rule.still.iter().map(reason).collect()
}
