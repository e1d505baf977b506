//! `/console`: the pages for people, and who may see them.
//! Promises that nothing is shown and nothing changed without a session, and nothing changed without that session's own form.
//! Deliberately draws nothing: `console` does; and decides nothing: the desk does.

use std::str::FromStr as _;

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
    body,
    client::{Client, Peer},
    console_decisions::done,
    console_live::{FollowAccount, FollowAll, FollowPerson},
    console_rules::{account_signals, person_signals},
    console_sign_in::{is_followed_link, is_from_here, own_page},
    door::Front,
};
use crate::{
    console::{
        AccountPage, AccountView, Around, Files, GraphView, Hit, Home, LivePage, Onward,
        PersonPage, PersonView, Problem, SeenLast, Session, State, StoryView, account_address,
        came, part, person_address, seen_last,
    },
    desk::{DeskError, Standing},
    event_log::Offset,
    limits::MAX_ORDER_BYTES,
    people::{Account, Page, PersonId, Profile, Wanted},
};

/// Scripts, styles and requests of our own only, none of them inline, and no page around ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Events of a timeline's page: more than a screen, less than a book.
pub(super) const PAGE: usize = 40;
/// What a search shows.
pub(super) const FOUND: usize = 12;
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

    /// Of several the last.
    fn last(&self, name: &str) -> &str {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn all(&self, name: &str) -> &str {
        self.last(name).trim()
    }

    /// As it was given: an id may begin or end with a space.
    pub(super) fn exact(&self, name: &str) -> Option<String> {
        Some(self.last(name)).filter(|value| !value.trim().is_empty()).map(str::to_owned)
    }

    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.all(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// What is given, in its order, also twice.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn has_empty(&self) -> bool {
        self.0.iter().any(|(_, value)| value.trim().is_empty())
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
                // From where the page ends, so that nothing falls between the two.
                let after = query.all("after").parse();
                let after = after.unwrap_or_else(|_| self.desk.standing().applied);
                self.follow_console(session, FollowAll::from(after))
            }
            ["people", who] => self.person(who, query, session).await,
            ["people", who, "live"] => {
                self.known_person(who).await?;
                let person =
                    FollowPerson::of(who, query.wanted()?, *self.ingest.log.end().borrow());
                self.follow_console(session, person)
            }
            ["people", who, "merge"] => self.preview_merge(who, query, session).await,
            ["people", who, "unmerge"] => self.preview_unmerge(who, query, session).await,
            ["firings"] => self.firings(query, session).await,
            ["firings", "live"] => self.follow_firings(query, session).await,
            ["consumers"] => self.consumers_page(session).await,
            ["suppressions"] => self.suppressions_page(query, session).await,
            ["rules"] => self.rules_page(session).await,
            ["rules", rule] => self.rule(rule, session).await,
            ["rules", rule, "why"] => self.why(rule, query, session).await,
            ["accounts", id] => self.account_page(id, query, session).await,
            ["accounts", id, "live"] => {
                self.desk.account(id).await?.ok_or(NO_ACCOUNT)?;
                let account =
                    FollowAccount::of(id, query.wanted()?, *self.ingest.log.end().borrow());
                self.follow_console(session, account)
            }
            _ => Err(Trouble::NotFound("There is no such page.")),
        }
    }

    /// What changes something.
    async fn order(&self, parts: &[&str], form: &Pairs, session: &Session) -> Paged {
        match *parts {
            ["sign-out"] => Ok(self.sign_out(session)),
            ["rebuild"] => {
                self.desk.rebuild().await?;
                Ok(see("/console"))
            }
            ["rules"] => self.switch(None, form, session).await,
            ["rules", rule] => self.switch(Some(rule), form, session).await,
            ["people", who, "merge"] => self.merge(who, form, &session.name).await,
            ["people", who, "unmerge"] => self.unmerge(who, form, &session.name).await,
            _ => Err(Trouble::NotFound("There is no such page.")),
        }
    }

    fn console_file(&self, name: &str) -> Paged {
        let file =
            self.console.files.at(name).ok_or(Trouble::NotFound("There is no such file."))?;
        let mut answer = ok(file.content_type, file.bytes.clone());
        // Its address changes with it.
        set(answer.headers_mut(), header::CACHE_CONTROL, "public, max-age=31536000, immutable");
        Ok(answer)
    }

    pub(super) async fn known_person(&self, who: &str) -> Result<PersonId, Trouble> {
        self.desk.find(who).await?.ok_or(NO_PERSON)
    }

    pub(super) async fn known_profile(&self, who: &str) -> Result<Profile, Trouble> {
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
        let end = self.desk.standing().applied;
        let rows = came(&self.desk, (Offset::START, end), LAST).await?;
        let frame = self.console.frame("Live", "live", Some(session));
        let stream = Files::are_live().then(|| format!("/console/live/stream?after={end}"));
        Ok(html(&LivePage { frame, rows, is_fresh: false, stream }))
    }

    async fn person(&self, who: &str, query: &Pairs, session: &Session) -> Paged {
        let profile = self.known_profile(who).await?;
        let id = profile.id.to_string();
        let wanted = query.wanted()?;
        let page = self.desk.timeline(&id, wanted.clone()).await?.ok_or(NO_PERSON)?;
        let graph = self.desk.graph(&id).await?.ok_or(NO_PERSON)?;
        let suppressions = self.desk.suppressions_of(&profile).await?;
        Ok(html(&PersonPage {
            frame: self.console.frame(profile.name.clone(), "person", Some(session)),
            done: done(&id, query),
            signals: person_signals(&self.desk, &mut Around::default(), &id).await?,
            s: person_story(&profile, &wanted, page),
            p: PersonView::of(&profile, &suppressions),
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
            signals: account_signals(&self.desk, &mut Around::default(), id).await?,
            a: AccountView::of(&account),
        }))
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

pub(super) const NO_PERSON: Trouble = Trouble::NotFound("Nobody is known by this.");
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

/// Goes on there.
pub(super) fn see(place: &str) -> Answer {
    let mut answer = empty(StatusCode::SEE_OTHER);
    let place = HeaderValue::try_from(place);
    let home = HeaderValue::from_static("/console");
    answer.headers_mut().insert(header::LOCATION, place.unwrap_or(home));
    answer
}

/// A page as an answer.
pub(super) fn html(page: &impl Template) -> Answer {
    match page.render() {
        Ok(text) => ok("text/html; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
