//! Who is signed in: a random id in a cookie stands for an admin token, for as long as that token is known.
//! Promises that neither an id nor a token is kept, only their hashes; that sessions end by themselves, and are bounded in number.
//! Deliberately knows no HTTP, and reads no clock: `now` is given.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use lru::LruCache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::state::AdminToken;

/// Without a request for so long, a session ends: a working day, and not the night after it.
pub(crate) const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Sessions at once; of more, the one that was used least recently ends. 200 KiB.
const MOST: NonZeroUsize = NonZeroUsize::new(1000).expect("1,000 is not 0");
/// Nobody guesses 256 bits.
const SECRET_BYTES: usize = 32;

type Hash = [u8; 32];

/// All sessions. They are in memory only: a restart signs everybody out.
#[derive(Debug)]
pub(crate) struct Sessions(Mutex<LruCache<Hash, Kept>>);

#[derive(Debug)]
struct Kept {
    /// Of the admin token.
    token: Hash,
    csrf: String,
    used: Instant,
}

/// A session that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Goes into every form that changes something.
    pub(crate) csrf: String,
    /// What the operator calls the token.
    pub(crate) name: String,
    id: Hash,
}

impl Session {
    /// Whether a form is one of this session's.
    pub(crate) fn sent(&self, csrf: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(csrf.as_bytes()))
    }
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }

    /// Begins one, and gives its id, for the cookie; `None` if the system has no randomness.
    pub(crate) fn begin(&self, token: Hash, now: Instant) -> Option<String> {
        let (id, csrf) = (secret()?, secret()?);
        self.kept().push(hash(&id), Kept { token, csrf, used: now });
        Some(id)
    }

    /// The session of this id, used now.
    pub(crate) fn of(&self, id: &str, tokens: &[AdminToken], now: Instant) -> Option<Session> {
        let id = hash(id);
        let mut all = self.kept();
        let kept = all.get_mut(&id)?;
        let Some(name) = name_of(kept, tokens, now) else {
            all.pop(&id);
            return None;
        };
        kept.used = now;
        Some(Session { csrf: kept.csrf.clone(), name, id })
    }

    /// Whether it goes on: to look is not to use it.
    pub(crate) fn goes_on(&self, session: &Session, tokens: &[AdminToken], now: Instant) -> bool {
        self.kept().peek(&session.id).is_some_and(|kept| name_of(kept, tokens, now).is_some())
    }

    /// Ends it.
    pub(crate) fn end(&self, session: &Session) {
        self.kept().pop(&session.id);
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<Hash, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its token is called, unless it has ended: by itself, or with the token.
fn name_of(kept: &Kept, tokens: &[AdminToken], now: Instant) -> Option<String> {
    let token = tokens.iter().find(|token| token.hash == kept.token)?;
    (now.saturating_duration_since(kept.used) < IDLE).then(|| token.name.clone())
}

fn secret() -> Option<String> {
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(random))
}

fn hash(id: &str) -> Hash {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(of: u8) -> AdminToken {
        AdminToken { name: format!("n{of}"), made_at: None, hash: [of; 32] }
    }

    #[test]
    fn a_session_lasts_while_it_is_used_and_its_token_is_known() {
        let (sessions, start) = (Sessions::new(), Instant::now());
        let tokens = [token(1), token(2)];
        let id = sessions.begin([2; 32], start).unwrap();
        let session = sessions.of(&id, &tokens, start).unwrap();
        assert_eq!(session.name, "n2");
        assert_eq!(sessions.of(&format!("{id}x"), &tokens, start), None);
        let nearly = IDLE - Duration::from_secs(1);
        assert!(sessions.of(&id, &tokens, start + nearly).is_some());
        assert!(sessions.of(&id, &tokens, start + 2 * nearly).is_some(), "it was used meanwhile");
        assert!(sessions.goes_on(&session, &tokens, start + 3 * nearly));
        assert_eq!(sessions.of(&id, &tokens, start + 2 * nearly + IDLE), None, "looking is no use");
        assert_eq!(sessions.of(&id, &tokens, start), None, "what has ended does not begin again");

        let id = sessions.begin([2; 32], start).unwrap();
        let session = sessions.of(&id, &tokens, start).unwrap();
        assert!(!sessions.goes_on(&session, &tokens[..1], start), "its token is revoked");
        assert_eq!(sessions.of(&id, &tokens[..1], start), None);
    }

    #[test]
    fn ended_is_ended_and_the_least_used_makes_room() {
        let (sessions, now, tokens) = (Sessions::new(), Instant::now(), [token(1)]);
        let ids: Vec<_> = (0..MOST.get()).map(|_| sessions.begin([1; 32], now).unwrap()).collect();
        let first = sessions.of(&ids[0], &tokens, now).unwrap();
        sessions.begin([1; 32], now).unwrap();
        assert_eq!(sessions.of(&ids[1], &tokens, now), None);
        assert!(sessions.of(&ids[0], &tokens, now).is_some());
        sessions.end(&first);
        assert_eq!(sessions.of(&ids[0], &tokens, now), None);
    }

    #[test]
    fn a_form_is_of_one_session() {
        let (sessions, now, tokens) = (Sessions::new(), Instant::now(), [token(1)]);
        let session = |_| {
            let id = sessions.begin([1; 32], now).unwrap();
            sessions.of(&id, &tokens, now).unwrap()
        };
        let [one, other] = [0, 1].map(session);
        assert!(one.sent(&one.csrf) && !one.sent(&other.csrf) && !one.sent(""));
    }
}
