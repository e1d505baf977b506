//! Who is asking: reads the authorization header.
//! Promises that a secret is compared in constant time, by its hash. Deliberately does not know which
//! write keys there are: see `sources`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::answer::Failure;
use crate::state::AdminToken;

/// The write key of `Authorization: Basic base64(KEY:)`, if there is such a header.
///
/// A header of that kind that cannot be read is an error: falling back to the body's key would let a
/// broken client go unnoticed.
pub(super) fn basic_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(encoded) = credentials(headers, "basic") else { return Ok(None) };
    let decoded =
        BASE64_STANDARD.decode(encoded).ok().and_then(|text| String::from_utf8(text).ok());
    let Some(mut key) = decoded else {
        let message = "Basic authorization is the base64 of the write key and a colon";
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "bad_authorization", message));
    };
    if let Some(colon) = key.find(':') {
        key.truncate(colon);
    }
    Ok(Some(key))
}

/// The hash of an admin token, if it is known. Each is compared, so that none's place can be measured.
pub(super) fn admin(given: &[u8], tokens: &[AdminToken]) -> Option<[u8; 32]> {
    let hash: [u8; 32] = Sha256::digest(given).into();
    let known = tokens.iter().fold(Choice::from(0), |known, token| known | hash.ct_eq(&token.hash));
    bool::from(known).then_some(hash)
}

/// The name of the token with this hash.
pub(super) fn name_of(hash: &[u8; 32], tokens: &[AdminToken]) -> Option<String> {
    tokens.iter().find(|token| token.hash == *hash).map(|token| token.name.clone())
}

/// Lets only the holder of an admin token pass; says the token's name.
pub(super) fn require_admin(headers: &HeaderMap, tokens: &[AdminToken]) -> Result<String, Failure> {
    let given = credentials(headers, "bearer");
    let known = given.and_then(|given| admin(given, tokens));
    if let Some(name) = known.and_then(|hash| name_of(&hash, tokens)) {
        return Ok(name);
    }
    let message = match given {
        Some(_) => {
            "this admin token is not known here, or not any more; `headwater token list DATA` shows which there are, \
             and a new one counts within a second"
        }
        None => {
            "this needs an admin token: `Authorization: Bearer TOKEN`; `headwater token add NAME DATA` makes one"
        }
    };
    let failure = Failure::new(StatusCode::UNAUTHORIZED, "admin_token_needed", message);
    Err(failure.with_header(header::WWW_AUTHENTICATE, "Bearer"))
}

fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let [b' ', rest @ ..] = rest else { return None };
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn the_key_is_the_user_of_basic_authorization() {
        assert_eq!(basic_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(basic_key(&with("Bearer x")).unwrap(), None);
        assert_eq!(basic_key(&with("basic a2V5Og==")).unwrap().as_deref(), Some("key"));
        assert_eq!(basic_key(&with("Basic a2V5OnB3")).unwrap().as_deref(), Some("key"));
        assert_eq!(basic_key(&with("Basic a2V5")).unwrap().as_deref(), Some("key"));
        basic_key(&with("Basic %")).unwrap_err();
        basic_key(&with("Basic /w==")).unwrap_err();
    }

    #[test]
    fn only_the_token_reads() {
        let hash = |text: &str| Sha256::digest(text).into();
        let token = |name: &str, text| AdminToken {
            name: name.to_owned(),
            made_at: None,
            hash: hash(text),
        };
        let tokens = [token("a", "token"), token("b", "second")];
        assert_eq!(require_admin(&with("Bearer token"), &tokens).unwrap(), "a");
        assert_eq!(require_admin(&with("Bearer second"), &tokens).unwrap(), "b");
        require_admin(&with("Bearer token"), &[]).unwrap_err();
        for wrong in ["Bearer tokem", "Bearer", "Bearer ", "Basic token", "token"] {
            require_admin(&with(wrong), &tokens).unwrap_err();
        }
        require_admin(&HeaderMap::new(), &tokens).unwrap_err();
    }
}
