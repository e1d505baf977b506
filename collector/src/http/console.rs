//! `/console`: the pages for people, and who may see them.
//! Promises that nothing is shown and nothing changed without a session, and nothing changed without that session's own form.
//! Deliberately draws nothing: `console` does; and decides nothing: the desk does.

use std::{str::FromStr as _, time::Instant};

use askama::Template;
use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Body,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    Http,
    answer::{Answer, Failure, empty, ok, set},
    auth, body,
    client::{Client, Peer},
    console_live::{FollowAccount, FollowAll, FollowPerson},
    door::Front,
};
use crate::{
    console::{
        AccountPage, AccountView, Card, Decision, Done, Files, GraphView, Hit, Home, LivePage,
        MergePage, Onward, PersonPage, PersonView, Problem, SeenLast, Session, SignIn, State,
        StoryView, account_address, came, kept, part, person_address, seen_last,
    },
    desk::{DeskError, Standing},
    event_log::Offset,
    limits::MAX_ORDER_BYTES,
    people::{Account, Identifier, Order, Page, PersonId, Profile, Wanted},
};

/// Of the session; the browser sends it to these pages only.
const COOKIE: &str = "hw_console";
/// Scripts, styles and requests of our own only, none of them inline, and no page around ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Events of a timeline's page: more than a screen, less than a book.
pub(super) const PAGE: usize = 40;
/// What a search shows.
const FOUND: usize = 12;
/// Records looked at for who was seen last, and shown of what comes in.
const LAST: u32 = 60;
/// People seen last.
const SEEN: usize = 8;

/// Why there is no page.
pub(super) enum Trouble {
    /// Whoever asks is not signed in, and asked for this.
    SignIn {
        next: String,
    },
    /// The form is not of this session.
    Forged,
    NotFound(&'static str),
    Wrong(&'static str),
    Method(&'static str),
    Desk(DeskError),
    /// What the API would say too.
    Failure(Failure),
}

impl From<DeskError> for Trouble {
    fn from(error: DeskError) -> Self {
        Self::Desk(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

pub(super) type Paged = Result<Answer, Trouble>;

/// The pairs of a query or a form.
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    fn all(&self, name: &str) -> &str {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }

    fn given(&self, name: &str) -> Option<String> {
        Some(self.all(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// What part of a timeline is wanted.
    pub(super) fn wanted(&self) -> Result<Wanted, Trouble> {
        let before = self.given("before").map(|text| {
            let (time, record) = text.rsplit_once('-')?;
            time.parse().ok().zip(Offset::from_str(record).ok())
        });
        let wrong = Trouble::Wrong("This page of the timeline does not exist: follow a link.");
        Ok(Wanted {
            before: before.map(|place| place.ok_or(wrong)).transpose()?,
            name: self.given("event"),
            call: self.given("type"),
            source: self.given("source"),
            limit: PAGE,
        })
    }
}

impl Http {
    /// Answers a request for a page.
    pub(super) async fn console<B>(&self, request: Request<B>, peer: Peer, front: &Front) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let headers = request.headers().clone();
        let mut answer = match self.page(request, peer, front).await {
            Ok(answer) => answer,
            Err(trouble) => self.explain(trouble, &headers),
        };
        let headers = answer.headers_mut();
        set(headers, header::CONTENT_SECURITY_POLICY, POLICY);
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(headers, header::REFERRER_POLICY, "same-origin");
        let own = HeaderName::from_static("cross-origin-resource-policy");
        set(headers, own, "same-origin");
        if !headers.contains_key(header::CACHE_CONTROL) {
            set(headers, header::CACHE_CONTROL, "no-store");
        }
        answer
    }

    async fn page<B>(&self, request: Request<B>, peer: Peer, front: &Front) -> Paged
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let parts = path.split('/').skip(2).map(|text| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            text.map_err(|_| Trouble::NotFound("There is no such page."))
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let query = Pairs::of(head.uri.query().unwrap_or_default().as_bytes());
        match (&head.method, &parts[..]) {
            (&Method::GET | &Method::HEAD, ["files", name]) => return self.console_file(name),
            (&Method::GET | &Method::HEAD, ["sign-in"]) => {
                return self.ask_for_token(None, query.all("next"), StatusCode::OK);
            }
            _ => {}
        }
        let form = match head.method {
            Method::POST => {
                let client = Client::of(peer, &head.headers, &front.trusted_proxies);
                let held = self.bodies.of_client(client.address);
                let (body, _held) = body::read(body, held, &self.limits).await?;
                let form = Pairs::of(body.get(..MAX_ORDER_BYTES).unwrap_or(&body));
                if !is_from_here(&head.headers) {
                    return Err(Trouble::Forged);
                }
                if let ["sign-in"] = parts[..] {
                    return self.sign_in(&form, &client);
                }
                Some(form)
            }
            Method::GET | Method::HEAD => None,
            _ => return Err(Trouble::Method("GET, POST")),
        };
        let session = self.session(&head.headers).ok_or_else(|| {
            let next = head.uri.path_and_query().map_or("", |asked| asked.as_str());
            Trouble::SignIn { next: if form.is_some() { String::new() } else { next.to_owned() } }
        })?;
        match form {
            Some(form) if !session.sent(form.all("csrf")) => Err(Trouble::Forged),
            Some(form) => self.order(&parts, &form, &session).await,
            None => self.show(&parts, &query, &session).await,
        }
    }

    /// What is only looked at.
    async fn show(&self, parts: &[&str], query: &Pairs, session: &Session) -> Paged {
        match *parts {
            [] => self.home(query, session).await,
            ["live"] => self.coming_in(session).await,
            ["live", "stream"] => {
                let all = FollowAll::from(self.desk.standing().applied);
                self.follow_console(session, all).await
            }
            ["people", who] => self.person(who, query, session).await,
            ["people", who, "live"] => {
                self.known_person(who).await?;
                let person =
                    FollowPerson::of(who, query.wanted()?, *self.ingest.log.end().borrow());
                self.follow_console(session, person).await
            }
            ["people", who, "merge"] => self.preview_merge(who, query, session).await,
            ["people", who, "unmerge"] => self.preview_unmerge(who, query, session).await,
            ["accounts", id] => self.account_page(id, query, session).await,
            ["accounts", id, "live"] => {
                self.desk.account(id).await?.ok_or(NO_ACCOUNT)?;
                let account =
                    FollowAccount::of(id, query.wanted()?, *self.ingest.log.end().borrow());
                self.follow_console(session, account).await
            }
            _ => Err(Trouble::NotFound("There is no such page.")),
        }
    }

    /// What changes something.
    async fn order(&self, parts: &[&str], form: &Pairs, session: &Session) -> Paged {
        match *parts {
            ["sign-out"] => {
                self.console.sessions.end(session);
                let mut answer = see("/console/sign-in");
                let gone =
                    format!("{COOKIE}=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict");
                set_cookie(&mut answer, &gone);
                Ok(answer)
            }
            ["rebuild"] => {
                self.desk.rebuild();
                Ok(see("/console"))
            }
            ["people", who, "merge"] => {
                let (a, b) = self.both(form).await?;
                self.desk.decide(&Order::Merge(a, b)).await?.ok_or(NO_PERSON)?;
                let id = self.known_person(who).await?.to_string();
                Ok(see(&format!("{}?done=merged", person_address(&id))))
            }
            ["people", who, "unmerge"] => {
                let (a, b) = two(form)?;
                let undo = format!("a={}&b={}", part(&a.to_string()), part(&b.to_string()));
                self.desk.decide(&Order::Unmerge(a, b)).await?.ok_or(NO_PERSON)?;
                let id = self.known_person(who).await?.to_string();
                Ok(see(&format!("{}?done=taken-back&{undo}", person_address(&id))))
            }
            _ => Err(Trouble::NotFound("There is no such page.")),
        }
    }

    /// Whose request it is.
    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|c| c.trim().split_once('='));
        let (_, id) = pairs.find(|(name, _)| *name == COOKIE)?;
        self.console.sessions.of(id, &self.door.admins.get(), Instant::now())
    }

    fn sign_in(&self, form: &Pairs, client: &Client) -> Paged {
        let now = Instant::now();
        if let Some(wait) = self.console.patience.wait(client.address, now) {
            let seconds = wait.as_secs() + 1;
            let problem =
                format!("Too many wrong tokens came from here. Wait {seconds} s, then try again.");
            let mut answer =
                self.ask_for_token(Some(problem), form.all("next"), StatusCode::TOO_MANY_REQUESTS)?;
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return Ok(answer);
        }
        let given = form.all("token");
        let Some(token) = auth::admin(given.as_bytes(), &self.door.admins.get()) else {
            self.console.patience.failed_now(client.address, now);
            let problem = "This token is not known here, or not any more.".to_owned();
            return self.ask_for_token(Some(problem), form.all("next"), StatusCode::FORBIDDEN);
        };
        self.console.patience.succeeded(client.address);
        let id = self.console.sessions.begin(token, now);
        let id = id.ok_or(Trouble::Wrong("This system has no randomness to sign you in with."))?;
        let secure = if client.secure { "; Secure" } else { "" };
        let mut answer = see(own_page(form.all("next")));
        set_cookie(
            &mut answer,
            &format!("{COOKIE}={id}; Path=/console; HttpOnly; SameSite=Strict{secure}"),
        );
        Ok(answer)
    }

    fn ask_for_token(&self, problem: Option<String>, next: &str, status: StatusCode) -> Paged {
        let frame = self.console.frame("Sign in", "sign-in", None);
        let mut answer = html(&SignIn { frame, problem, next: own_page(next).to_owned() });
        *answer.status_mut() = status;
        Ok(answer)
    }

    fn console_file(&self, name: &str) -> Paged {
        let file =
            self.console.files.at(name).ok_or(Trouble::NotFound("There is no such file."))?;
        let mut answer = ok(file.content_type, file.bytes.clone());
        // Its address changes with it.
        set(answer.headers_mut(), header::CACHE_CONTROL, "public, max-age=31536000, immutable");
        Ok(answer)
    }

    async fn known_person(&self, who: &str) -> Result<PersonId, Trouble> {
        self.desk.find(who).await?.ok_or(NO_PERSON)
    }

    async fn known_profile(&self, who: &str) -> Result<Profile, Trouble> {
        self.desk.profile(who).await?.ok_or(NO_PERSON)
    }

    async fn home(&self, query: &Pairs, session: &Session) -> Paged {
        let text = query.all("q").to_owned();
        let found = self.desk.search(&text, FOUND).await?;
        let standing = self.desk.standing();
        let came = came(&self.desk, (Offset::START, standing.applied), LAST).await?;
        let last = seen_last(&came).into_iter().take(SEEN);
        let last = last.map(|(who, came)| SeenLast::of(who, came)).collect();
        let frame = self.console.frame("People", "people", Some(session));
        let found: Vec<_> = found.into_iter().map(Hit::of).collect();
        let found_count = format!("{} found", found.len());
        Ok(html(&Home { frame, query: text, found, found_count, last, state: state(standing) }))
    }

    async fn coming_in(&self, session: &Session) -> Paged {
        let rows = came(&self.desk, (Offset::START, self.desk.standing().applied), LAST).await?;
        let frame = self.console.frame("Live", "live", Some(session));
        let stream = Files::are_live().then(|| "/console/live/stream".to_owned());
        Ok(html(&LivePage { frame, rows, is_fresh: false, stream }))
    }

    async fn person(&self, who: &str, query: &Pairs, session: &Session) -> Paged {
        let profile = self.known_profile(who).await?;
        let id = profile.id.to_string();
        let wanted = query.wanted()?;
        let page = self.desk.timeline(&id, wanted.clone()).await?.ok_or(NO_PERSON)?;
        let graph = self.desk.graph(&id).await?.ok_or(NO_PERSON)?;
        let undo = |(a, b): (&str, &str)| {
            format!("{}/merge?a={}&b={}", person_address(&id), part(a), part(b))
        };
        let done = match query.all("done") {
            "merged" => Some(Done { words: "Merged: from now on this is one person.", undo: None }),
            "taken-back" => Some(Done {
                words: "Taken back: as if it had never been said.",
                undo: Some(undo((query.all("a"), query.all("b")))),
            }),
            _ => None,
        };
        Ok(html(&PersonPage {
            frame: self.console.frame(profile.name.clone(), "person", Some(session)),
            done,
            s: person_story(&profile, &wanted, page),
            p: PersonView::of(&profile),
            g: GraphView::of(&graph),
        }))
    }

    async fn account_page(&self, id: &str, query: &Pairs, session: &Session) -> Paged {
        let account = self.desk.account(id).await?.ok_or(NO_ACCOUNT)?;
        let wanted = query.wanted()?;
        let page = self.desk.account_timeline(id, wanted.clone()).await?.ok_or(NO_ACCOUNT)?;
        Ok(html(&AccountPage {
            frame: self.console.frame(account.name.clone(), "account", Some(session)),
            s: account_story(&account, &wanted, page),
            a: AccountView::of(&account),
        }))
    }

    async fn preview_unmerge(&self, who: &str, query: &Pairs, session: &Session) -> Paged {
        let profile = self.known_profile(who).await?;
        let (a, b) = two(query)?;
        let back = person_address(&profile.id.to_string());
        let order = Order::Unmerge(a.clone(), b.clone());
        let preview = self.desk.preview(&order).await?.ok_or(NO_PERSON)?;
        let cards: Vec<_> = preview.people.iter().map(Card::of).collect();
        let afterwards = match cards.len() {
            1 => "It would still be one person, by what else was said".to_owned(),
            many => format!("There would be {many} people"),
        };
        let explanation = format!(
            "It was said that {a} and {b} are the same person. Taken back, everybody's profile, timeline and accounts are as \
             if it had never been said. That can be undone."
        );
        Ok(html(&Decision {
            frame: self.console.frame("Take this back?", "person", Some(session)),
            action: format!("{back}/unmerge"),
            back,
            back_name: profile.name,
            explanation,
            refused: preview.refused,
            afterwards,
            cards,
            conflicts: Vec::new(),
            left: String::new(),
            right: String::new(),
            fields: vec![("a", a.to_string()), ("b", b.to_string())],
            confirm: "Take it back",
        }))
    }

    async fn preview_merge(&self, who: &str, query: &Pairs, session: &Session) -> Paged {
        let profile = self.known_profile(who).await?;
        let back = person_address(&profile.id.to_string());
        let base = format!("{back}/merge");
        if query.all("with").is_empty() && query.all("a").is_empty() {
            let text = query.all("q").to_owned();
            let found = self.desk.search(&text, FOUND).await?.into_iter().map(Hit::of);
            let found = found.filter_map(|hit| {
                let id = hit.id.filter(|id| *id != profile.id)?;
                Some(Hit { href: format!("{base}?with={}", part(&id.to_string())), ..hit })
            });
            let found = found.collect();
            let frame = self.console.frame("Merge", "person", Some(session));
            return Ok(html(&MergePage {
                frame,
                back,
                base,
                name: profile.name,
                query: text,
                found,
            }));
        }
        let (a, b) = match query.given("with") {
            Some(with) => {
                let ends = (self.desk.identifier(who).await?, self.desk.identifier(&with).await?);
                ends.0.zip(ends.1).ok_or(NO_PERSON)?
            }
            None => two(query)?,
        };
        let order = Order::Merge(a.clone(), b.clone());
        let preview = self.desk.preview(&order).await?.ok_or(NO_PERSON)?;
        let (left, right) =
            (self.known_profile(&a.to_string()).await?, self.known_profile(&b.to_string()).await?);
        let explanation = "Everything that either of them did becomes one person's, and so does what they do from now on. \
             That can be taken back.";
        Ok(html(&Decision {
            frame: self.console.frame("Are these the same person?", "person", Some(session)),
            action: base,
            back,
            back_name: profile.name,
            explanation: explanation.to_owned(),
            refused: preview.refused.clone(),
            afterwards: "There would be one person".to_owned(),
            cards: preview.people.iter().map(Card::of).collect(),
            conflicts: kept(&preview, &left, &right),
            left: left.name,
            right: right.name,
            fields: vec![("a", a.to_string()), ("b", b.to_string())],
            confirm: "Merge them",
        }))
    }

    /// The two that a form names, as long as somebody is known by each.
    async fn both(
        &self,
        form: &Pairs,
    ) -> Result<(Identifier<'static>, Identifier<'static>), Trouble> {
        let (a, b) = two(form)?;
        self.known_person(&a.to_string()).await?;
        self.known_person(&b.to_string()).await?;
        Ok((a, b))
    }

    /// The page that says why there is no other.
    fn explain(&self, trouble: Trouble, headers: &HeaderMap) -> Answer {
        let (status, title, text) = match trouble {
            Trouble::SignIn { next } => {
                if headers.contains_key("hx-request") {
                    // A redirect would put the whole page into a part of another.
                    let mut answer = empty(StatusCode::UNAUTHORIZED);
                    let to = HeaderName::from_static("hx-redirect");
                    set(answer.headers_mut(), to, "/console/sign-in");
                    return answer;
                }
                if is_followed_link(headers) {
                    return html(&Onward { to: own_page(&next).to_owned() });
                }
                return see(&format!("/console/sign-in?next={}", part(&next)));
            }
            Trouble::Forged => {
                let text = "It came from another page or an earlier session. Go back, load the page again, and repeat it.";
                (StatusCode::FORBIDDEN, "This form does not count", text.to_owned())
            }
            Trouble::NotFound(text) => (StatusCode::NOT_FOUND, "Not here", text.to_owned()),
            Trouble::Wrong(text) => (StatusCode::BAD_REQUEST, "Not understood", text.to_owned()),
            Trouble::Method(allowed) => {
                let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
                set(answer.headers_mut(), header::ALLOW, allowed);
                return answer;
            }
            Trouble::Desk(DeskError::Refused(why)) => {
                (StatusCode::CONFLICT, "Nothing was changed", format!("{why}."))
            }
            Trouble::Desk(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Not now", format!("{error}. Try again soon."))
            }
            Trouble::Failure(failure) => return failure.into_answer(),
        };
        let session = self.session(headers);
        let frame = self.console.frame(title, "problem", session.as_ref());
        let mut answer = html(&Problem { frame, text });
        *answer.status_mut() = status;
        answer
    }
}

const NO_PERSON: Trouble = Trouble::NotFound("Nobody is known by this.");
const NO_ACCOUNT: Trouble = Trouble::NotFound("No account has this id.");

/// A person's timeline, with its filter and where to follow it.
pub(super) fn person_story(profile: &Profile, wanted: &Wanted, page: Page) -> StoryView {
    let base = person_address(&profile.id.to_string());
    let story = StoryView::of("Timeline", base, wanted, page, Files::are_live());
    let sources = profile.channels.iter().map(|channel| channel.source.clone()).collect();
    StoryView { sources, ..story }
}

/// An account's.
pub(super) fn account_story(account: &Account, wanted: &Wanted, page: Page) -> StoryView {
    let base = account_address(&account.id);
    let sources = page.chapters.iter().flat_map(|chapter| chapter.sources.iter().cloned());
    let mut sources: Vec<_> = sources.chain(wanted.source.clone()).collect();
    sources.sort();
    sources.dedup();
    let people = account.members.iter();
    let people = people.map(|member| (member.person.to_string(), member.name.clone())).collect();
    let story = StoryView::of("What its people did", base, wanted, page, Files::are_live());
    StoryView { sources, people, ..story }
}

fn state(standing: Standing) -> State {
    let behind = standing.end.since(standing.applied);
    let rebuild = standing.rebuild.map(|rebuild| {
        let (done, all) = (rebuild.applied.since(Offset::START), rebuild.end.since(Offset::START));
        done.min(all) * 100 / all.max(1)
    });
    let words = match behind {
        0 => "Up to date with everything that is stored.".to_owned(),
        1 => "1 event behind what is stored.".to_owned(),
        many => format!("{many} events behind what is stored."),
    };
    let every = if rebuild.is_some() || behind > 0 { "1s" } else { "5s" };
    State { rebuild, behind, words, every }
}

/// The two identifiers of a query or form.
fn two(pairs: &Pairs) -> Result<(Identifier<'static>, Identifier<'static>), Trouble> {
    let one = |name: &str| {
        let identifier = pairs.all(name).parse::<Identifier<'_>>();
        identifier.map(Identifier::into_owned)
    };
    match (one("a"), one("b")) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        _ => Err(Trouble::Wrong("Two identifiers are wanted, each with its kind: follow a link.")),
    }
}

/// Whether a form was sent by a page of ours. Browsers say it since 2023 at the latest; the session's own secret counts anyway.
fn is_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Whether someone followed a link of another site, to which browsers do not send the cookie: a page of ours that goes on to the
/// same address is of this site, and gets it.
fn is_followed_link(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    is("sec-fetch-site", "cross-site") && is("sec-fetch-mode", "navigate")
}

/// An address within these pages; another's is not gone to.
fn own_page(next: &str) -> &str {
    let rest = next.strip_prefix("/console");
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if is_own && next.bytes().all(|byte| byte.is_ascii_graphic()) { next } else { "/console" }
}

/// Goes on there.
fn see(place: &str) -> Answer {
    let mut answer = empty(StatusCode::SEE_OTHER);
    let place = HeaderValue::try_from(place);
    let home = HeaderValue::from_static("/console");
    answer.headers_mut().insert(header::LOCATION, place.unwrap_or(home));
    answer
}

fn set_cookie(answer: &mut Answer, cookie: &str) {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn html(page: &impl Template) -> Answer {
    match page.render() {
        Ok(text) => ok("text/html; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_pages_are_gone_to() {
        for own in ["/console", "/console/people/p_1?type=track", "/console?q=a"] {
            assert_eq!(own_page(own), own);
        }
        for other in ["", "//evil.example", "/consoles", "https://evil.example", "/console\r\nx: y"]
        {
            assert_eq!(own_page(other), "/console", "{other}");
        }
    }

    #[test]
    fn a_form_of_another_site_does_not_count() {
        let from = |site: &'static str| {
            let site = HeaderValue::from_static(site);
            is_from_here(&HeaderMap::from_iter([(HeaderName::from_static("sec-fetch-site"), site)]))
        };
        assert!(from("same-origin") && is_from_here(&HeaderMap::new()));
        assert!(!from("cross-site") && !from("same-site"));
    }
}
