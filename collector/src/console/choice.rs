//! Somebody to choose from several who begin alike, with what tells them apart: a name alone does not.
//! Promises a line that fits a narrow page. Deliberately finds nobody: it is given who was found.

use super::{
    drawing::kind_name,
    views::initial,
    words::{When, both_ends, count, short},
};
use crate::people::{Account, Known, Profile};

/// A person or an account that may be meant.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) href: String,
    /// `person` or `account`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) initial: String,
    /// What tells it from the others, the strongest first.
    pub(crate) apart: Vec<String>,
    pub(crate) last_seen: Option<When>,
}

/// Several of them, or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// What was asked for.
    pub(crate) text: String,
    pub(crate) all: Vec<Choice>,
    /// Whether there are more than are listed.
    pub(crate) has_more: bool,
    /// What is said where there is none.
    pub(crate) none: &'static str,
}

/// Kinds of identifiers that people recognise somebody by, and by sight.
const TELLING: [&str; 3] = ["user", "email", "phone"];
/// Identifiers and accounts that are told of a person, and letters of each.
const IDENTIFIERS: usize = 3;
const ACCOUNTS: usize = 2;
const LETTERS: usize = 40;

impl Choice {
    /// `because` is what begins with what was asked for.
    pub(crate) fn of_person(profile: &Profile, because: &str, href: String) -> Self {
        let accounts = profile.accounts.iter().map(|it| it.name.as_str());
        Self {
            href,
            kind: "person",
            name: profile.name.clone(),
            initial: initial(&profile.name),
            apart: apart(&profile.name, &profile.identifiers, accounts, because),
            last_seen: profile.last_seen.as_deref().map(When::of),
        }
    }

    pub(crate) fn of_account(account: &Account, href: String) -> Self {
        let members = account.members.len() as u64;
        let more = if account.partial { " and more" } else { "" };
        Self {
            href,
            kind: "account",
            name: account.name.clone(),
            initial: initial(&account.name),
            apart: vec![
                format!("Account {}", both_ends(&account.id, LETTERS)),
                format!("{}{more}", count(members, "member", "members")),
            ],
            last_seen: account.last_seen.as_deref().map(When::of),
        }
    }
}

/// What of a person is no other's: why it was found, unless that is said anyway, what it is known by, and where it belongs.
fn apart<'a>(
    name: &str,
    identifiers: &[Known],
    accounts: impl Iterator<Item = &'a str>,
    because: &str,
) -> Vec<String> {
    let strength = |it: &&Known| TELLING.iter().position(|kind| *kind == it.kind);
    let mut known: Vec<_> = identifiers.iter().filter(|it| strength(it).is_some()).collect();
    // An id of a program's tells people apart only where nothing else does.
    if known.is_empty() {
        known = identifiers.iter().collect();
    }
    known.sort_by_key(strength);
    let known = known.into_iter().filter(|it| it.value != name).take(IDENTIFIERS);
    let known = known.map(|it| match strength(&it) {
        Some(_) => both_ends(&it.value, LETTERS),
        None => format!("{} {}", kind_name(it.kind), both_ends(&it.value, LETTERS)),
    });
    let is_identifier = identifiers
        .iter()
        .any(|it| it.value == because || because == format!("{}:{}", it.kind, it.value));
    let is_said = is_identifier || because.is_empty() || because.starts_with("name: ");
    let found_by = (!is_said).then(|| short(because, LETTERS));
    let accounts = accounts.take(ACCOUNTS).map(|it| short(it, LETTERS));
    found_by.into_iter().chain(known).chain(accounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_told_apart_by_what_they_are_known_by() {
        let known = |it: &(&'static str, &str)| Known { kind: it.0, value: it.1.to_owned() };
        let of = |identifiers: &[(&'static str, &str)], because: &str| {
            let identifiers: Vec<_> = identifiers.iter().map(known).collect();
            apart("A shopper", &identifiers, ["Acme", "Globex", "Third"].into_iter(), because)
        };
        let shopper = [
            ("anonymous", "d-1"),
            ("external", "stripe:cus_1"),
            ("email", "a@b.example"),
            ("user", "u-1"),
        ];
        let both = ["u-1", "a@b.example", "Acme", "Globex"];
        assert_eq!(of(&shopper, "name: A shopper"), both);
        assert_eq!(of(&shopper, "email:a@b.example"), both, "nothing is said twice");
        assert_eq!(of(&shopper, "u-1"), both);
        assert_eq!(of(&shopper, "city: Berlin")[..2], ["city: Berlin", "u-1"]);
        assert_eq!(of(&shopper[..1], "name: A shopper")[0], "Device d-1", "all that there is");
    }
}
