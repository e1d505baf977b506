//! `/v1/people`, `/v1/accounts`, `/v1/projection`: who people are, what they did, and what operators decide about them.
//! Promises that every list is bounded, and that what was decided is in the log before the answer. Deliberately decides nothing:
//! the desk does.

use std::{io, time::Duration};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode, body::Body, header};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::sync::mpsc;

use super::{
    Http,
    answer::{Answer, Failure, ok, set, stream},
    auth,
    body::{self, Held},
    follow::Followed,
    query::{decoded, given, only, parameter, wrong_parameter},
};
use crate::{
    desk::{Desk, DeskError},
    event_log::Offset,
    limits::{MAX_ORDER_BYTES, MAX_PAGE},
    people::{Identifier, Order, PersonId, Wanted},
    projection::DatabaseError,
};

/// A page of a timeline, or of a search, without a `limit`.
const PAGE: usize = 50;
/// An open page is told of changes at most so often: what an eye can follow, and what a busy log can bear.
const TELL_EVERY: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeOrder {
    with: String,
    #[serde(default)]
    preview: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnmergeOrder {
    a: String,
    b: String,
    #[serde(default)]
    preview: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseOrder {
    confirm: String,
}

impl Http {
    /// Answers a request below `/v1/people`, `/v1/accounts` or `/v1/projection`.
    pub(super) async fn people<B>(&self, request: Request<B>) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let by = auth::require_admin(request.headers(), &self.door.admins.get())?;
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let parts = path.split('/').skip(2).map(decoded).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (desk, query) = (&self.desk, head.uri.query());
        let is_order = head.method == Method::POST;
        let read = if is_order { Some(self.order_body(body).await?) } else { None };
        let body = read.as_ref().map_or(&[][..], |(body, _held)| body);
        let parameters: &[&str] = match parts[..] {
            ["people"] => &["q", "limit"],
            [_, _, "timeline"] => &["before", "event", "type", "source", "limit"],
            _ => &[],
        };
        only(query, parameters)?;
        match parts[..] {
            ["people"] => search(desk, query).await,
            ["people", who] => known(desk.profile(who).await?, NO_PERSON),
            ["people", who, "graph"] => known(desk.graph(who).await?, NO_PERSON),
            ["people", who, "timeline"] => {
                known(desk.timeline(who, wanted(query)?).await?, NO_PERSON)
            }
            ["people", who, "live"] => self.follow_person(who).await,
            ["people", who, "merge"] => {
                let MergeOrder { with, preview } = read_order(body)?;
                let (a, b) = (desk.identifier(who).await?, desk.identifier(&with).await?);
                let (Some(a), Some(b)) = (a, b) else { return Err(not_found(NO_PERSON)) };
                self.decide(who, &Order::Merge(a, b), &by, preview).await
            }
            ["people", who, "unmerge"] => {
                let UnmergeOrder { a, b, preview } = read_order(body)?;
                let order = Order::Unmerge(identifier(&a)?, identifier(&b)?);
                self.decide(who, &order, &by, preview).await
            }
            ["people", who, "erase"] => {
                let EraseOrder { confirm } = read_order(body)?;
                let person = desk.find(who).await?.ok_or_else(|| not_found(NO_PERSON))?;
                if confirm != person.to_string() {
                    let message =
                        format!("erasing is for good: `confirm` is the person's id, `{person}`");
                    return Err(invalid(&message));
                }
                let erased =
                    desk.erase(&confirm, &by).await?.ok_or_else(|| not_found(NO_PERSON))?;
                Ok(answer(&json!({"person": erased.person, "events": erased.events})))
            }
            ["people", who, "export"] => self.export(who).await,
            ["people", who, "scores"] => {
                known(desk.scores(who).await?.map(|scores| json!({ "scores": scores })), NO_PERSON)
            }
            ["accounts", id, "scores"] => known(
                desk.account_scores(id).await?.map(|scores| json!({ "scores": scores })),
                NO_ACCOUNT,
            ),
            ["accounts", id] => known(desk.account(id).await?, NO_ACCOUNT),
            ["accounts", id, "timeline"] => {
                known(desk.account_timeline(id, wanted(query)?).await?, NO_ACCOUNT)
            }
            ["projection"] => Ok(standing(desk)),
            ["projection", "rebuild"] => {
                desk.rebuild().await?;
                Ok(standing(desk))
            }
            _ => Err(not_found("there is nothing at this path")),
        }
    }

    /// The body of an order, within its bound.
    pub(super) async fn order_body<B>(&self, body: B) -> Result<(Bytes, Held), Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let read = body::read(body, self.bodies.trusted(), &self.limits).await;
        // It knows the bound of batches only.
        let read = read.map_err(|failure| match failure.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => failure,
        })?;
        if read.0.len() > MAX_ORDER_BYTES {
            return Err(too_large());
        }
        Ok(read)
    }

    /// Carries out what was decided about a person, or says what it would lead to.
    async fn decide(
        &self,
        who: &str,
        order: &Order,
        by: &str,
        preview: bool,
    ) -> Result<Answer, Failure> {
        if preview {
            return known(self.desk.preview(order).await?, NO_PERSON);
        }
        self.desk.decide(order, by).await?.ok_or_else(|| not_found(NO_PERSON))?;
        known(self.desk.profile(who).await?, NO_PERSON)
    }

    /// Everything that is stored about a person, one JSON object a line: what is known, why, which of the addresses are on
    /// the suppression list, each event, the latest first, then those of sources for tests, and how many events cannot be read, if there are such.
    async fn export(&self, who: &str) -> Result<Answer, Failure> {
        let (profile, graph) = (self.desk.profile(who).await?, self.desk.graph(who).await?);
        let (Some(profile), Some(graph)) = (profile, graph) else {
            return Err(not_found(NO_PERSON));
        };
        let suppressions = self.desk.suppressions_of(&profile).await?;
        let seat = self.seats.take()?;
        let (pieces, answer) = mpsc::channel(1);
        let (desk, person) = (self.desk.clone(), profile.id);
        tokio::spawn(async move {
            let _seat = seat;
            let mut head =
                format!("{}\n{}\n", json!({"profile": profile}), json!({"graph": graph}));
            for suppression in suppressions {
                head += &format!("{}\n", json!({ "suppression": suppression }));
            }
            if pieces.send(Ok(head.into())).await.is_err() {
                return;
            }
            // Who reads must not take a failure for the end.
            if let Err(error) = export_events(&desk, person, &pieces).await {
                let _ = pieces.send(Err(error)).await;
            }
        });
        Ok(stream("application/x-ndjson", answer))
    }

    /// Says when something about a person has changed, as server-sent events.
    async fn follow_person(&self, who: &str) -> Result<Answer, Failure> {
        self.desk.find(who).await?.ok_or_else(|| not_found(NO_PERSON))?;
        let person = FollowedProfile { who: who.to_owned(), told: String::new() };
        self.follow(person, TELL_EVERY, || true)
    }
}

/// All that a person did, a line each, until nobody reads any more.
async fn export_events(
    desk: &Desk,
    person: PersonId,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let gone = || io::Error::other("the person is gone");
    let (who, mut unreadable) = (person.to_string(), 0);
    let mut wanted = Wanted { limit: PAGE, ..Wanted::default() };
    loop {
        let page = desk.timeline(&who, wanted.clone()).await.map_err(io::Error::other)?;
        let page = page.ok_or_else(gone)?;
        unreadable += page.unreadable;
        let moments = page.chapters.iter().flat_map(|chapter| &chapter.moments);
        if !send_events(pieces, moments.map(|moment| &*moment.event)).await {
            return Ok(());
        }
        match page.next.as_deref().and_then(place) {
            Some(before) => wanted.before = Some(before),
            None => break,
        }
    }
    let mut after = Some(Offset::START);
    while let Some(from) = after {
        let trials = desk.trials(person, from, PAGE).await.map_err(io::Error::other)?;
        unreadable += trials.unreadable;
        if !send_events(pieces, trials.events.iter().map(|event| &**event)).await {
            return Ok(());
        }
        after = trials.next;
    }
    // Who wants everything is told what is missing.
    if unreadable > 0 {
        let text = format!("{}\n", json!({"unreadable": unreadable}));
        let _ = pieces.send(Ok(text.into())).await;
    }
    Ok(())
}

/// Whether anybody still reads.
async fn send_events(
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    events: impl Iterator<Item = &RawValue>,
) -> bool {
    let mut text = Vec::new();
    for event in events {
        text.extend_from_slice(b"{\"event\":");
        text.extend_from_slice(event.get().as_bytes());
        text.extend_from_slice(b"}\n");
    }
    text.is_empty() || pieces.send(Ok(text.into())).await.is_ok()
}

/// A profile, as it changes.
struct FollowedProfile {
    who: String,
    told: String,
}

impl Followed for FollowedProfile {
    async fn look(&mut self, desk: &Desk) -> Result<Option<Bytes>, DeskError> {
        let Some(profile) = desk.profile(&self.who).await? else { return Ok(None) };
        let text = text_of(&profile);
        if self.told == text {
            return Ok(Some(Bytes::new()));
        }
        let piece = format!("event: profile\ndata: {text}\n\n");
        self.told = text;
        Ok(Some(piece.into()))
    }
}

async fn search(desk: &Desk, query: Option<&str>) -> Result<Answer, Failure> {
    // Who types has typed nothing yet.
    let is_empty = given(query).any(|pair| pair == ("q", ""));
    let text = if is_empty { None } else { parameter(query, "q")? }.unwrap_or_default();
    let limit = limit(query)?;
    let found = desk.search(&text, limit).await?;
    Ok(answer(&json!({ "found": found })))
}

fn standing(desk: &Desk) -> Answer {
    let standing = desk.standing();
    let rebuild = standing.rebuild.map(
        |rebuild| json!({"applied": rebuild.applied.to_string(), "end": rebuild.end.to_string()}),
    );
    answer(&json!({
        "applied": standing.applied.to_string(),
        "end": standing.end.to_string(),
        "rebuild": rebuild,
    }))
}

/// What part of a timeline a query asks for.
fn wanted(query: Option<&str>) -> Result<Wanted, Failure> {
    let before = parameter(query, "before")?.map(|text| {
        place(&text).ok_or_else(|| wrong_parameter("`before` is the `next` of the page before"))
    });
    Ok(Wanted {
        before: before.transpose()?,
        name: parameter(query, "event")?,
        call: parameter(query, "type")?,
        source: parameter(query, "source")?,
        limit: limit(query)?,
    })
}

fn place(text: &str) -> Option<(i64, Offset)> {
    let (time, record) = text.rsplit_once('-')?;
    time.parse().ok().zip(record.parse().ok())
}

pub(super) fn limit(query: Option<&str>) -> Result<usize, Failure> {
    let Some(text) = parameter(query, "limit")? else { return Ok(PAGE) };
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| wrong_parameter("`limit` is a whole number from 1"))?;
    Ok(number.min(MAX_PAGE))
}

fn identifier(text: &str) -> Result<Identifier<'static>, Failure> {
    text.parse().map_err(|error| invalid(&format!("`{text}`: {error}")))
}

pub(super) fn known<T: Serialize>(found: Option<T>, what: &'static str) -> Result<Answer, Failure> {
    found.map(|found| answer(&found)).ok_or_else(|| not_found(what))
}

pub(super) fn answer(value: &impl Serialize) -> Answer {
    let mut answer = ok("application/json", text_of(value));
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

pub(super) fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with names that are texts are JSON")
}

pub(super) fn read_order<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| match error.is_data() {
        true => invalid(&error.to_string()),
        false => {
            let message = format!("the order is no JSON: {error}");
            Failure::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        }
    })
}

pub(super) const NO_PERSON: &str = "nobody is known by this; `GET /v1/people?q=…` finds people by how an identifier or a trait begins";
pub(super) const NO_ACCOUNT: &str = "no account has this id";

pub(super) fn not_found(message: &str) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(super) fn invalid(message: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "invalid_order", message)
}

fn too_large() -> Failure {
    let message = format!("an order has at most {MAX_ORDER_BYTES} bytes");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(why) => Failure::new(StatusCode::CONFLICT, "changes_nothing", why),
            DeskError::Rebuild(cause @ DatabaseError::BeginningGone(_)) => {
                Failure::new(StatusCode::CONFLICT, "changes_nothing", cause.to_string())
            }
            DeskError::Behind => {
                let message = error.to_string();
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, "people_behind", message)
                    .retry_after(Duration::from_secs(5))
            }
            error => {
                let message = error.to_string();
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", message)
                    .retry_after(Duration::from_secs(5))
            }
        }
    }
}
