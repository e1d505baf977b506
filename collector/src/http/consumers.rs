//! `/v1/consumers`: what operators order of consumers, and where readers fetch events.
//! Promises that an order that was answered 200 is in force and survives a restart, and that every list is bounded.
//! Deliberately does not carry out anything: it reads what is asked, and says what became of it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Request, StatusCode, body::Body, header};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    Http,
    answer::{Answer, Failure, ok, set},
    auth, body,
    query::{only, parameter, wrong_parameter},
};
use crate::{
    consumer::{Handle, Lease, Listed, OrderError, Place, Standing},
    event_log::Offset,
    limits::{MAX_ORDER_BYTES, MAX_PAGE, MAX_PULL_WAIT, MAX_REASON},
    state::Parked,
};

/// What a path below `/v1/consumers` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    List,
    One,
    Pause,
    Resume,
    Seek,
    Replay,
    Parked,
    Redrive,
    Drop,
    Events,
    Ack,
}

impl Verb {
    /// The parameters that it takes.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Parked => &["after", "events", "limit"],
            Self::Events => &["limit", "wait"],
            _ => &[],
        }
    }
}

/// A page of parked events without a `limit`.
const PAGE: usize = 100;
/// Bytes of parked events' own texts in one page: the rest of the page is told without.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PauseOrder {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeekOrder {
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayOrder {
    from: String,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    offsets: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckOrder {
    lease: String,
    upto: Option<String>,
    #[serde(default)]
    failed: Vec<FailedEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailedEvent {
    offset: String,
    reason: Option<String>,
}

fn parts(path: &str) -> Option<(&str, Verb)> {
    let rest = path.strip_prefix("/v1/consumers")?;
    if rest.is_empty() {
        return Some(("", Verb::List));
    }
    let rest = rest.strip_prefix('/')?;
    let (name, verb) = rest.split_once('/').unwrap_or((rest, ""));
    let verb = match verb {
        "" if !rest.ends_with('/') => Verb::One,
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "seek" => Verb::Seek,
        "replay" => Verb::Replay,
        "parked" => Verb::Parked,
        "parked/redrive" => Verb::Redrive,
        "parked/drop" => Verb::Drop,
        "events" => Verb::Events,
        "ack" => Verb::Ack,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, verb))
}

impl Http {
    /// Answers a request for `/v1/consumers…`.
    pub(super) async fn consumers<B>(&self, request: Request<B>) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        auth::require_admin(request.headers(), &self.door.admins.get())?;
        let (head, body) = request.into_parts();
        let Some((name, verb)) = parts(head.uri.path()) else { return Err(not_found("path")) };
        let query = head.uri.query();
        only(query, verb.parameters())?;
        if verb == Verb::List {
            return self.list().await;
        }
        let handle = self.consumers.iter().find(|(known, _)| known.as_str() == name);
        let Some((_, handle)) = handle else { return Err(not_found("consumer")) };
        match verb {
            Verb::List | Verb::One => Ok(answer(&listed(&handle.listed().await?))),
            Verb::Parked => parked(handle, query).await,
            Verb::Events => self.events(handle, query, &head.headers).await,
            Verb::Resume => {
                handle.resume().await?;
                Ok(answer(&listed(&handle.listed().await?)))
            }
            Verb::Pause | Verb::Seek | Verb::Replay | Verb::Redrive | Verb::Drop | Verb::Ack => {
                let read = body::read(body, self.bodies.trusted(), &self.limits).await;
                // It knows the bound of batches only.
                let (body, _held) = read.map_err(|failure| match failure.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => too_large(),
                    _ => failure,
                })?;
                order(handle, verb, &body).await
            }
        }
    }

    async fn list(&self) -> Result<Answer, Failure> {
        let mut all = Vec::with_capacity(self.consumers.len());
        for handle in self.consumers.values() {
            all.push(listed(&handle.listed().await?));
        }
        Ok(answer(&json!({"end": self.ingest.log.end().borrow().to_string(), "consumers": all})))
    }

    async fn events(
        &self,
        handle: &Handle,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Answer, Failure> {
        let most = number(query, "limit", PAGE, 1)?.min(MAX_PAGE);
        let wait = Duration::from_secs(number(query, "wait", 0, 0)? as u64).min(MAX_PULL_WAIT);
        let mut draining = self.draining.clone();
        let lease = tokio::select! {
            // So that who asks while the collector stops hears of it, every time.
            biased;
            lease = handle.take(most, Instant::now() + wait) => lease?,
            // A reader that waits must not hold up the end.
            _ = draining.wait_for(|draining| *draining) => None,
        };
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        Ok(match accept.is_some_and(|accept| accept.contains("application/x-ndjson")) {
            true => lines(lease),
            false => leased(lease.as_ref()),
        })
    }
}

async fn order(handle: &Handle, verb: Verb, body: &[u8]) -> Result<Answer, Failure> {
    if body.len() > MAX_ORDER_BYTES {
        return Err(too_large());
    }
    match verb {
        Verb::Pause => {
            let order: PauseOrder =
                if body.is_empty() { PauseOrder::default() } else { read(body)? };
            let reason = order.reason.as_deref().unwrap_or("no reason given");
            handle.pause(cut(reason)).await?;
            Ok(answer(&listed(&handle.listed().await?)))
        }
        Verb::Seek => {
            let SeekOrder { to } = read(body)?;
            let after = handle.seek(place(&to)?).await?;
            Ok(answer(&json!({ "after": after.to_string() })))
        }
        Verb::Replay => {
            let ReplayOrder { from, to } = read(body)?;
            let to = to.as_deref().map_or(Ok(Place::End), place)?;
            let (after, upto) = handle.replay(place(&from)?, to).await?;
            Ok(answer(&json!({"after": after.to_string(), "upto": upto.to_string()})))
        }
        Verb::Redrive | Verb::Drop => {
            let which = match read(body)? {
                Which { offsets: None, all: true } => None,
                Which { offsets: Some(texts), all: false } => {
                    at_most_a_page(texts.len())?;
                    Some(texts.iter().map(|text| offset(text)).collect::<Result<_, _>>()?)
                }
                _ => {
                    return Err(invalid(
                        "say which: `{\"offsets\": [\"…\"]}` or `{\"all\": true}`",
                    ));
                }
            };
            let count = match verb {
                Verb::Drop => handle.drop_parked(which).await?,
                _ => handle.redrive(which).await?,
            };
            Ok(answer(&json!({ "events": count })))
        }
        _ => {
            let AckOrder { lease, upto, failed } = read(body)?;
            at_most_a_page(failed.len())?;
            let upto = upto.as_deref().map(offset).transpose()?;
            let failed = failed.iter().map(|event| {
                let reason = event.reason.as_deref().unwrap_or("the reader gave no reason");
                Ok((offset(&event.offset)?, cut(reason)))
            });
            let failed = failed.collect::<Result<BTreeMap<_, _>, Failure>>()?;
            let settled = handle.settle(lease, upto, failed).await?;
            Ok(answer(&json!({
                "acknowledged": settled.acknowledged,
                "parked": settled.parked,
                "returned": settled.returned,
            })))
        }
    }
}

async fn parked(handle: &Handle, query: Option<&str>) -> Result<Answer, Failure> {
    let limit = number(query, "limit", PAGE, 1)?.min(MAX_PAGE);
    let after = parameter(query, "after")?.map_or(Ok(Offset::START), |after| {
        after.parse().map_err(|_| wrong_parameter("`after` is the `next` of the page before"))
    })?;
    let with_events = number(query, "events", 0, 0)? > 0;
    // One more tells whether there is a next page.
    let mut page = handle.parked(after, limit + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|parked| parked.record.to_string());
    let (mut shown, mut bytes) = (Vec::with_capacity(page.len()), 0);
    for parked in &page {
        let mut line = describe(parked);
        if with_events && bytes < PAGE_BYTES {
            let record = handle.record(parked.record).await?;
            line["event"] = record.map_or(Value::Null, |record| {
                let mut text = Vec::with_capacity(record.json.len() + 256);
                record.write_line(&mut text);
                bytes += text.len();
                serde_json::from_slice(&text).unwrap_or_default()
            });
        }
        shown.push(line);
    }
    Ok(answer(&json!({"parked": shown, "next": next})))
}

fn describe(parked: &Parked) -> Value {
    json!({
        "offset": parked.record.to_string(),
        "source": parked.source,
        "messageId": parked.message_id,
        "reason": parked.reason,
        "parkedAt": parked.parked_at.to_string(),
        "redrive": parked.redrive,
    })
}

fn listed(consumer: &Listed) -> Value {
    let status = &consumer.status;
    let mut shown = json!({
        "name": consumer.name.as_str(),
        "kind": consumer.kind,
        "state": consumer.state(),
        "cursor": consumer.cursor.to_string(),
        "lag_events": consumer.end.since(consumer.cursor),
        "lag_seconds": consumer.lag.as_secs_f64(),
        "oldest_unread": status.oldest_unread.map(|at| at.to_string()),
        "under_way": status.under_way,
        "parked": status.parked,
    });
    match &status.standing {
        Standing::Running => {}
        Standing::BackingOff { failures, reason, next_attempt, .. } => {
            shown["failures"] = json!(failures);
            shown["reason"] = json!(reason);
            shown["next_attempt"] = json!(next_attempt.to_string());
        }
        Standing::Paused(pause) => {
            shown["paused_by"] = json!(pause.by);
            shown["reason"] = json!(pause.reason);
            shown["paused_since"] = json!(pause.since.to_string());
        }
    }
    if !consumer.replays.is_empty() {
        let replays = consumer.replays.iter();
        let replays = replays.map(
            |replay| json!({"after": replay.after.to_string(), "upto": replay.upto.to_string()}),
        );
        shown["replays"] = replays.collect();
    }
    shown
}

/// A lease as one JSON object. The events' own texts go through as they are.
fn leased(lease: Option<&Lease>) -> Answer {
    let Some(lease) = lease else { return answer(&json!({"lease": null, "events": []})) };
    let head = json!(lease.id);
    let mut text =
        format!("{{\"lease\":{head},\"lease_ms\":{},\"events\":[", lease.time.as_millis())
            .into_bytes();
    for (n, job) in lease.jobs.iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&job.line());
    }
    text.extend_from_slice(b"]}");
    uncached(ok("application/json", text))
}

/// A lease as lines of JSON; its name is in a header.
fn lines(lease: Option<Lease>) -> Answer {
    let mut text = Vec::new();
    for job in lease.iter().flat_map(|lease| &lease.jobs) {
        text.extend_from_slice(&job.line());
        text.push(b'\n');
    }
    let mut answer = uncached(ok("application/x-ndjson", text));
    if let Some(id) = lease.and_then(|lease| lease.id.parse().ok()) {
        answer.headers_mut().insert("headwater-lease", id);
    }
    answer
}

fn answer(value: &Value) -> Answer {
    uncached(ok("application/json", value.to_string()))
}

fn uncached(mut answer: Answer) -> Answer {
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Failure> {
    // Twice over the text: first that it is JSON at all, so that the answer says which of both is wrong.
    let json = serde_json::from_slice::<&RawValue>(body).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            "invalid_json",
            format!("the order is no JSON: {error}"),
        )
    })?;
    serde_json::from_str(json.get()).map_err(|error| invalid(&error.to_string()))
}

fn place(text: &str) -> Result<Place, Failure> {
    text.parse().map_err(|error: String| invalid(&error))
}

fn offset(text: &str) -> Result<Offset, Failure> {
    text.parse().map_err(|_| invalid("an offset is the `offset` of an event, unchanged"))
}

fn at_most_a_page(events: usize) -> Result<(), Failure> {
    if events <= MAX_PAGE {
        return Ok(());
    }
    Err(invalid(&format!("at most {MAX_PAGE} events at once; split them")))
}

fn number(query: Option<&str>, name: &str, default: usize, least: usize) -> Result<usize, Failure> {
    let Some(text) = parameter(query, name)? else { return Ok(default) };
    let number = text.parse::<u32>().ok().and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| *number >= least);
    number.ok_or_else(|| wrong_parameter(&format!("`{name}` is a whole number from {least}")))
}

fn cut(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

fn invalid(message: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "invalid_order", message)
}

fn too_large() -> Failure {
    let message = format!("an order has at most {MAX_ORDER_BYTES} bytes; split it");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn not_found(what: &str) -> Failure {
    let message = match what {
        "consumer" => "no consumer has this name; `GET /v1/consumers` lists them",
        _ => "there is nothing at this path",
    };
    Failure::new(StatusCode::NOT_FOUND, "not_found", message)
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        // The waits are those of events that are not taken for the same reason.
        let (status, code, wait) = match &error {
            OrderError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_order", None),
            OrderError::Paused(_) => (StatusCode::CONFLICT, "consumer_paused", None),
            OrderError::NotForReaders => (StatusCode::CONFLICT, "not_for_readers", None),
            OrderError::NoLease => (StatusCode::GONE, "no_such_lease", None),
            OrderError::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "busy", Some(1)),
            OrderError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "closing", Some(1)),
            OrderError::State(_) | OrderError::Log(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "storage_failed", Some(5))
            }
        };
        let failure = Self::new(status, code, error.to_string());
        match wait {
            Some(seconds) => failure.retry_after(Duration::from_secs(seconds)),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        assert_eq!(parts("/v1/consumers"), Some(("", Verb::List)));
        assert_eq!(parts("/v1/consumers/crm"), Some(("crm", Verb::One)));
        assert_eq!(parts("/v1/consumers/crm/parked/drop"), Some(("crm", Verb::Drop)));
        for path in [
            "/v1/consumers/",
            "/v1/consumersx",
            "/v1/consumers/crm/",
            "/v1/consumers//pause",
            "/v1/consumers/crm/x",
        ] {
            assert_eq!(parts(path), None, "{path}");
        }
    }
}
