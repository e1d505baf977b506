//! Open pages that follow what happens: parts of them, sent again as server-sent events when they have changed.
//! Promises that a page is told no more than an eye can follow, and ends with its session. Deliberately knows nothing of HTTP but
//! how an event is framed.

use std::{
    str::FromStr as _,
    time::{Duration, Instant},
};

use askama::Template;
use bytes::Bytes;

use super::{
    Http,
    console::{Paged, account_story, person_story},
    console_firings::{Which, firings_of},
    console_rules::{account_signals, person_signals},
    follow::Followed,
};
use crate::{
    console::{
        AccountLive, AccountView, Around, FiredView, FiringsLive, FiringsView, GraphView,
        PersonGone, PersonLive, PersonView, RowsLive, Session, SignalsView, StoryView, came,
    },
    desk::{Desk, DeskError},
    event_log::Offset,
    people::{Page, Wanted},
};

/// An open page is told of changes at most so often: a quarter of the 100 ms within which it shows an event, so that the second
/// of two comes in time as well.
const TELL_EVERY: Duration = Duration::from_millis(25);
/// Rows that are sent at once, where many come in.
const ROWS: u32 = 50;

impl Http {
    /// Follows it for as long as the session, the page and the server last.
    pub(super) fn follow_console(&self, session: &Session, followed: impl Followed) -> Paged {
        let (session, console, door) = (session.clone(), self.console.clone(), self.door.clone());
        let goes_on =
            move || console.sessions.goes_on(&session, &door.admins.get(), Instant::now());
        Ok(self.follow(followed, TELL_EVERY, goes_on)?)
    }
}

/// As one event: every line break that the format knows begins another line of data. Nothing of nothing.
fn framed(html: &str) -> Bytes {
    if html.trim().is_empty() {
        return Bytes::new();
    }
    let mut text = String::with_capacity(html.len() + 1024);
    for line in html.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text.into()
}

/// What of a timeline was told already.
struct Told {
    wanted: Wanted,
    /// Where the log ended as the page was opened: what is behind is new to who looks.
    opened: Offset,
    latest: Offset,
}

impl Told {
    fn new(wanted: Wanted, opened: Offset) -> Self {
        Self { wanted, opened, latest: opened }
    }

    /// Marks what is new, and says in words what came last.
    fn mark(&mut self, story: &mut StoryView) -> Option<String> {
        let lines = story.story.chapters.iter().flat_map(|chapter| &chapter.lines);
        let mut said = None;
        let mut latest = self.latest;
        for line in lines {
            let Ok(offset) = Offset::from_str(&line.offset) else { continue };
            if offset > self.opened {
                story.fresh.insert(line.offset.clone());
            }
            if offset > latest {
                latest = offset;
                said = Some(format!("{}, {}", line.what, line.source));
            }
        }
        self.latest = latest;
        said
    }
}

/// The offsets of a page of a timeline: what is in the log does not change, so they say whether the page has.
fn offsets(page: &Page) -> Vec<String> {
    let moments = page.chapters.iter().flat_map(|chapter| &chapter.moments);
    moments.map(|moment| moment.offset.clone()).collect()
}

/// A person's page.
pub(super) struct FollowPerson {
    who: String,
    told: Told,
    profile: Option<PersonView>,
    graph: Option<GraphView>,
    offsets: Option<Vec<String>>,
    around: Around,
    signals: Option<SignalsView>,
}

impl FollowPerson {
    pub(super) fn of(who: &str, wanted: Wanted, opened: Offset) -> Self {
        let told = Told::new(wanted, opened);
        Self {
            who: who.to_owned(),
            told,
            profile: None,
            graph: None,
            offsets: None,
            around: Around::default(),
            signals: None,
        }
    }
}

impl Followed for FollowPerson {
    async fn look(&mut self, desk: &Desk) -> Result<Option<Bytes>, DeskError> {
        let Some(profile) = desk.profile(&self.who).await? else {
            // An open page goes on showing what is nowhere else any more, unless it is told.
            let shown = self.profile.take();
            return Ok(shown.map(|_| framed(&rendered(&PersonGone))));
        };
        let view = PersonView::of(&profile, &desk.suppressions_of(&profile).await?);
        let signals = person_signals(desk, &mut self.around, &self.who).await?;
        // Whatever happens to a person changes when it was seen last, how often, or what is known; and what rules make of it, later.
        if self.profile.as_ref() == Some(&view) && self.signals.as_ref() == Some(&signals) {
            return Ok(Some(Bytes::new()));
        }
        let Some(page) = desk.timeline(&self.who, self.told.wanted.clone()).await? else {
            return Ok(None);
        };
        let Some(graph) = desk.graph(&self.who).await? else { return Ok(None) };
        let now = offsets(&page);
        let changed_story = self.offsets.as_ref() != Some(&now);
        let mut story = person_story(&profile, &self.told.wanted, page);
        let said = fired_since(self.signals.as_ref(), &signals).or(self.told.mark(&mut story));
        let graph = GraphView::of(&graph);
        let changed_graph = self.graph.as_ref() != Some(&graph);
        let part = PersonLive {
            p: &view,
            s: &story,
            g: &graph,
            signals: &signals,
            changed_graph,
            changed_story,
            said,
        };
        let html = rendered(&part);
        self.signals = Some(signals);
        (self.profile, self.graph, self.offsets) = (Some(view), Some(graph), Some(now));
        Ok(Some(framed(&html)))
    }
}

/// An account's page.
pub(super) struct FollowAccount {
    id: String,
    told: Told,
    view: Option<AccountView>,
    offsets: Option<Vec<String>>,
    around: Around,
    signals: Option<SignalsView>,
}

impl FollowAccount {
    pub(super) fn of(id: &str, wanted: Wanted, opened: Offset) -> Self {
        Self {
            id: id.to_owned(),
            told: Told::new(wanted, opened),
            view: None,
            offsets: None,
            around: Around::default(),
            signals: None,
        }
    }
}

impl Followed for FollowAccount {
    async fn look(&mut self, desk: &Desk) -> Result<Option<Bytes>, DeskError> {
        let Some(account) = desk.account(&self.id).await? else { return Ok(None) };
        let view = AccountView::of(&account);
        let signals = account_signals(desk, &mut self.around, &self.id).await?;
        if self.view.as_ref() == Some(&view) && self.signals.as_ref() == Some(&signals) {
            return Ok(Some(Bytes::new()));
        }
        let Some(page) = desk.account_timeline(&self.id, self.told.wanted.clone()).await? else {
            return Ok(None);
        };
        let now = offsets(&page);
        let changed_story = self.offsets.as_ref() != Some(&now);
        let mut story = account_story(&account, &self.told.wanted, page);
        let said = fired_since(self.signals.as_ref(), &signals).or(self.told.mark(&mut story));
        let part = AccountLive { a: &view, s: &story, signals: &signals, changed_story, said };
        let html = rendered(&part);
        self.signals = Some(signals);
        (self.view, self.offsets) = (Some(view), Some(now));
        Ok(Some(framed(&html)))
    }
}

/// What fired between one look and the next, in words.
fn fired_since(before: Option<&SignalsView>, now: &SignalsView) -> Option<String> {
    let known = before?.l.firings.first().map_or(0, |fired| fired.number);
    now.l.firings.first().filter(|fired| fired.number > known).map(FiredView::said)
}

/// What rules come to.
pub(super) struct FollowFirings {
    which: Which,
    /// The latest when the page was opened, and the latest that was told.
    opened: i64,
    latest: i64,
    shown: Option<FiringsView>,
    around: Around,
}

impl FollowFirings {
    pub(super) fn of(which: Which, opened: i64) -> Self {
        Self { which, opened, latest: opened, shown: None, around: Around::default() }
    }
}

impl Followed for FollowFirings {
    async fn look(&mut self, desk: &Desk) -> Result<Option<Bytes>, DeskError> {
        let list = firings_of(desk, &mut self.around, &self.which, None).await?;
        let Some(mut list) = list else {
            // As above: of somebody who was erased.
            let none = "Nobody is known by this any more.";
            let l = FiringsView { none, of_person: true, ..FiringsView::default() };
            let shown = self.shown.take();
            return Ok(shown.map(|_| framed(&rendered(&FiringsLive { l: &l, said: None }))));
        };
        if self.shown.as_ref() == Some(&list) {
            return Ok(Some(Bytes::new()));
        }
        self.shown = Some(list.clone());
        let first = list.firings.first();
        let said = first.filter(|fired| fired.number > self.latest).map(FiredView::said);
        self.latest = first.map_or(self.latest, |fired| fired.number);
        for fired in &mut list.firings {
            fired.is_fresh = fired.number > self.opened;
        }
        Ok(Some(framed(&rendered(&FiringsLive { l: &list, said }))))
    }
}

/// Everything that comes in.
pub(super) struct FollowAll {
    after: Offset,
}

impl FollowAll {
    pub(super) fn from(after: Offset) -> Self {
        Self { after }
    }
}

impl Followed for FollowAll {
    async fn look(&mut self, desk: &Desk) -> Result<Option<Bytes>, DeskError> {
        let end = desk.standing().applied;
        if end == self.after {
            return Ok(Some(Bytes::new()));
        }
        let rows = came(desk, (self.after, end), ROWS).await?;
        self.after = end;
        Ok(Some(framed(&rendered(&RowsLive { rows, is_fresh: true }))))
    }
}

fn rendered(part: &impl Template) -> String {
    part.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a part of a page cannot be written");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_an_event_early() {
        let framed = framed("<p>a\r\rdata: b\n\nevent: c\r\n</p>");
        assert_eq!(framed, "data: <p>a\ndata: data: b\ndata: event: c\ndata: </p>\n\n");
    }
}
