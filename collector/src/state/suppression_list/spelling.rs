//! The one spelling of an address on the suppression list, and those that it may stand there by.
//! Promises that a domain is the same however it is written: in its own letters or as mail servers have it (`xn--…`), in full width,
//! with another dot, or with the dot at the end. Deliberately leaves people alone, who are known by what was said of them, and the part
//! before the `@`, which only its mail server can read.

use idna::{AsciiDenyList, domain_to_ascii_cow, domain_to_unicode};

use crate::people::{Identifier, Kind};

/// How an address may be spelled on the list, the spelling that is written from now on first. The others are those of releases that
/// wrote what they were given: where the person was erased only the hash of that is left, which nothing can spell anew.
pub(super) fn spellings(address: &Identifier<'_>) -> Vec<Identifier<'static>> {
    let given = address.clone().into_owned();
    let Some((first, in_letters)) = of_mail(address) else { return vec![given] };
    let mut all = vec![first];
    for other in [Some(given), in_letters].into_iter().flatten() {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// An e-mail address as mail servers have it, and in its domain's own letters; `None` for a number, and where the domain is none.
fn of_mail(address: &Identifier<'_>) -> Option<(Identifier<'static>, Option<Identifier<'static>>)> {
    if address.kind != Kind::Email {
        return None;
    }
    let (mailbox, domain) = address.value.rsplit_once('@')?;
    let ascii = domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::EMPTY).ok()?;
    let ascii = without_last_dot(&ascii);
    let at = |domain: &str| Identifier::new(Kind::Email, format!("{mailbox}@{domain}"));
    let (letters, read) = domain_to_unicode(ascii);
    Some((at(ascii)?, read.ok().and_then(|()| at(&letters))))
}

/// A text with the dot taken off that ends a domain which is written in full: `b.example.` is `b.example`.
pub(super) fn without_last_dot(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::{
        super::{State, SuppressionReason, address, hash},
        *,
    };
    use crate::event_log::Timestamp;

    /// The same mailbox, as somebody may write it.
    const ONE: [&str; 9] = [
        "shopper@xn--bcher-kva.example",
        "shopper@bücher.example",
        "Shopper@BÜCHER.Example",
        "shopper@XN--BCHER-KVA.example",
        "shopper@bu\u{308}cher.example",
        "shopper@ｂücher.ｅｘａｍｐｌｅ",
        "shopper@bücher。example",
        "shopper@bücher.example.",
        "shopper@bü\u{ad}cher.example。",
    ];

    fn of(text: &str) -> Identifier<'static> {
        address(text).unwrap()
    }

    fn add(state: &State, text: &str) -> usize {
        let all = [(&of(text), SuppressionReason::Bounced)];
        state.add_to_suppression_list(all, "first", Timestamp::from_unix_ms(1)).unwrap()
    }

    #[test]
    fn an_address_is_on_the_list_once_and_found_in_each_spelling_of_its_domain() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        for put in ONE {
            assert_eq!(add(&state, put), 1, "{put}");
            for asked in ONE {
                assert_eq!(add(&state, asked), 0, "{asked} after {put}");
                let found = state.not_sent_to(&of(asked)).unwrap().unwrap();
                assert_eq!(found.address.unwrap().value, ONE[0], "{asked} after {put}");
            }
            for other in ["other@bücher.example", "shopper@bucher.example", "shopper@b.example"] {
                assert_eq!(state.not_sent_to(&of(other)).unwrap(), None, "{other}");
            }
            assert_eq!(state.suppression_list_length().unwrap(), 1);
            let all = ONE.map(of);
            assert_eq!(state.remove_from_suppression_list(&all).unwrap(), 1, "{put}");
            assert_eq!(state.suppression_list_length().unwrap(), 0);
        }
    }

    #[test]
    fn a_row_of_a_release_that_wrote_what_it_was_given_is_found_too() {
        for stored in [ONE[0], ONE[1], ONE[5]] {
            for is_erased in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let state = State::open(&folder.path().join("state.db")).unwrap();
                let (key, given) = (state.suppression_key().unwrap(), of(stored));
                let text = (!is_erased).then(|| given.to_string());
                let row = params![hash(&key, &given), text, "bounced", "old", 1];
                let sql = "INSERT INTO suppression_list VALUES (?1, ?2, ?3, ?4, ?5)";
                state.with(|database| database.execute(sql, row)).unwrap();
                // What is in neither of the two spellings of a domain is found by itself alone.
                let asked = [ONE[0], ONE[1], stored];
                let asked = if stored == ONE[5] { &asked[2..] } else { &asked[..] };
                for asked in asked {
                    let found = state.not_sent_to(&of(asked)).unwrap().unwrap();
                    assert_eq!(&*found.by, "old", "{asked} is {stored}");
                    assert_eq!(add(&state, asked), 0, "{asked} is {stored}");
                }
                let last = of(asked[0]);
                state.forget_names_on_suppression_list([&last]).unwrap();
                let left = state.suppression_list(None, None, 9).unwrap();
                assert_eq!((left.len(), left[0].address.as_ref()), (1, None), "{stored}");
                assert_eq!(state.remove_from_suppression_list([&last]).unwrap(), 1);
                assert_eq!(state.suppression_list_length().unwrap(), 0);
            }
        }
    }

    #[test]
    fn what_is_no_international_domain_has_one_spelling_and_stays_as_it_is() {
        // As mail servers have it, it is longer than any address.
        let long = format!("a@{}example", "ü.".repeat(60));
        for text in [
            "ann@b.example",
            "ann@foo_bar.example",
            "ann@-.example",
            "ann@[192.0.2.1]",
            "ann@xn--.example",
            "ann@xn--a.example",
            "ann@b\u{fffd}.example",
            &long,
        ] {
            assert_eq!(spellings(&of(text)), [of(text)], "{text}");
        }
        assert_eq!(spellings(&of("+49301234567")), [of("+49301234567")]);
    }
}
