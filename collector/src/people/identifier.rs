//! What a person is known by: a user id, an id at another system, an e-mail address, a phone number, a device's id.
//! Promises one spelling for each, and that words which name nobody name nobody. Deliberately knows nothing of who has which.

use std::{borrow::Cow, fmt, str::FromStr};

/// What kind of identifier it is, the surest first: an event that names several belongs to the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `userId`: the customer's own.
    User = 1,
    /// `context.externalIds`: another system's, as `stripe_customer_id:cus_1`.
    External = 2,
    /// `traits.email`.
    Email = 3,
    /// `traits.phone`.
    Phone = 4,
    /// `anonymousId`: a browser or an installed app.
    Anonymous = 5,
}

impl Kind {
    /// All, in their order.
    pub const ALL: [Self; 5] =
        [Self::User, Self::External, Self::Email, Self::Phone, Self::Anonymous];

    /// The word in addresses, JSON and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::External => "external",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Anonymous => "anonymous",
        }
    }

    /// As it is kept in the database.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// One of them, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier<'a> {
    /// What kind it is.
    pub kind: Kind,
    /// The identifier itself.
    pub value: Cow<'a, str>,
}

/// Bytes of one identifier. An address of e-mail has at most 254 (RFC 5321, 4.5.3.1.3), a UUID 36.
pub const MAX_IDENTIFIER_BYTES: usize = 256;

/// Texts that programs send where they have no identifier. Compared without case.
const NOBODY: [&str; 24] = [
    "null",
    "nil",
    "undefined",
    "none",
    "n/a",
    "na",
    "nan",
    "unknown",
    "anonymous",
    "guest",
    "user",
    "userid",
    "test",
    "true",
    "false",
    "0",
    "-1",
    "-",
    "[object object]",
    "{}",
    "00000000-0000-0000-0000-000000000000",
    "not set",
    "(not set)",
    "default",
];

impl<'a> Identifier<'a> {
    /// In its one spelling; `None` if this names nobody.
    pub fn new(kind: Kind, given: impl Into<Cow<'a, str>>) -> Option<Self> {
        let value = trimmed(given.into());
        // Of zero-width marks alone, of dashes alone.
        let says_nothing = !value.chars().any(char::is_alphanumeric);
        if says_nothing || value.len() > MAX_IDENTIFIER_BYTES || names_nobody(&value) {
            return None;
        }
        let value = match kind {
            Kind::Email => email(value)?,
            Kind::Phone => phone(&value)?.into(),
            Kind::External if names_nobody(value.split_once(':')?.1) => return None,
            Kind::User | Kind::External | Kind::Anonymous => value,
        };
        Some(Self { kind, value })
    }

    /// The same with a text of its own.
    pub fn into_owned(self) -> Identifier<'static> {
        Identifier { kind: self.kind, value: Cow::Owned(self.value.into_owned()) }
    }
}

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.value)
    }
}

/// The text has no kind of identifier in front, or names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an identifier is written as `user:ID`, `email:ADDRESS`, `phone:NUMBER`, `anonymous:ID` or `external:TYPE:ID`"
)]
pub struct NotAnIdentifier;

impl FromStr for Identifier<'static> {
    type Err = NotAnIdentifier;

    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        let (kind, value) = text.split_once(':').ok_or(NotAnIdentifier)?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        Identifier::new(kind.ok_or(NotAnIdentifier)?, value.to_owned()).ok_or(NotAnIdentifier)
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) if text.trim().len() == text.len() => text.into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

fn names_nobody(value: &str) -> bool {
    // Longer than any of them: nearly all.
    value.len() <= 36 && NOBODY.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// In lower case, all of it: the part before the `@` has case by RFC 5321, 2.4, and no provider of mailboxes goes by it.
fn email(value: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let value = match value.strip_prefix("mailto:") {
        Some(address) => address.to_owned().into(),
        None => value,
    };
    let (mailbox, domain) = value.rsplit_once('@')?;
    let is_plausible = !names_nobody(domain)
        && !mailbox.is_empty()
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !value.contains(|c: char| c.is_whitespace() || c.is_control() || ",;<>\"".contains(c));
    if !is_plausible {
        return None;
    }
    Some(match value.chars().any(char::is_uppercase) {
        true => value.to_lowercase().into(),
        false => value,
    })
}

/// Digits, with a `+` where the country is said. What has another country's prefix, or none, is left as it is: which country
/// is meant cannot be known here.
fn phone(value: &str) -> Option<String> {
    let value = value.strip_prefix("tel:").unwrap_or(value);
    // As it is written for those at home and abroad: the trunk's zero is not dialled after a country's number.
    let is_abroad = value.starts_with('+') || value.starts_with("00");
    let abroad = is_abroad.then(|| value.replace("(0)", ""));
    let value = abroad.as_deref().unwrap_or(value);
    if value.contains(|c: char| !c.is_ascii_digit() && !"+-. ()/\u{a0}".contains(c)) {
        return None;
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    // E.164 has at most fifteen; below seven it is an extension.
    if !(7..=15).contains(&digits.trim_start_matches("00").len()) {
        return None;
    }
    match (value.starts_with('+'), digits.strip_prefix("00")) {
        (true, _) => Some(format!("+{digits}")),
        (false, Some(international)) => Some(format!("+{international}")),
        (false, None) => Some(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_spelling() {
        for (kind, given, value) in [
            (Kind::User, " u-1 ", "u-1"),
            (Kind::User, "U-1", "U-1"),
            (Kind::Email, "Shopper@Example.COM", "shopper@example.com"),
            (Kind::Phone, "+49 (30) 1234-567", "+49301234567"),
            (Kind::Phone, "+49 (0)30 1234567", "+49301234567"),
            (Kind::Email, "mailto:a@example.com", "a@example.com"),
            (Kind::Phone, "0049 30 1234567", "+49301234567"),
            (Kind::Phone, "0049 (0)30 1234567", "+49301234567"),
            (Kind::Phone, "tel:030/1234567", "0301234567"),
            (Kind::External, "stripe_customer_id:cus_1", "stripe_customer_id:cus_1"),
        ] {
            let identifier = Identifier::new(kind, given).unwrap();
            assert_eq!(identifier.value, value, "{given}");
            assert_eq!(identifier.to_string().parse(), Ok(identifier));
        }
    }

    #[test]
    fn what_names_nobody_is_no_identifier() {
        let long = "x".repeat(MAX_IDENTIFIER_BYTES + 1);
        for (kind, given) in [
            (Kind::User, ""),
            (Kind::User, "  "),
            (Kind::User, "NULL"),
            (Kind::User, "[object Object]"),
            (Kind::Anonymous, "undefined"),
            (Kind::Anonymous, &long),
            (Kind::User, "\u{200b}"),
            (Kind::Email, "null@null"),
            (Kind::Email, "shopper"),
            (Kind::Email, "@example.com"),
            (Kind::Email, "a@b@"),
            (Kind::Email, "a b@example.com"),
            (Kind::Phone, "12345"),
            (Kind::Phone, "call me"),
            (Kind::External, "cus_1"),
            (Kind::External, "stripe:null"),
        ] {
            assert_eq!(Identifier::new(kind, given.to_owned()), None, "{given}");
        }
        for text in ["u-1", "fax:1", "email:nobody", ""] {
            assert_eq!(text.parse::<Identifier<'_>>(), Err(NotAnIdentifier), "{text}");
        }
    }
}
