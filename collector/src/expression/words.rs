//! A condition for who does not write rules: `features.orders == 0` as `orders is 0`.
//! Promises words only where they say just what is written, and nothing otherwise: then it is shown as it is. Deliberately knows the
//! common shapes (comparisons, `&&`, `||`, `!`, `in`, `size`, times since and until), no arithmetic, and evaluates nothing.

/// What is longer, or nests deeper, is not read at a glance in any words.
const MAX_BYTES: usize = 400;
const MAX_DEPTH: u8 = 4;

/// In words; `None` where it is more than these shapes.
pub(crate) fn in_words(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { rest: &tokens, depth: 0 };
    let said = reader.any()?;
    if reader.eat("?") {
        let one = reader.operand()?.value()?;
        let other = if reader.eat(":") { reader.operand()?.value()? } else { return None };
        return reader.rest.is_empty().then(|| format!("{one} if {}, else {other}", said.text));
    }
    reader.rest.is_empty().then_some(said.text)
}

/// What a call gives, in words: `days_since(features.core_last)` as `days since core last`.
pub(crate) fn call_in_words(text: &str) -> Option<String> {
    let tokens = tokens(text.get(..MAX_BYTES.min(text.len()))?)?;
    let mut reader = Reader { rest: &tokens, depth: 0 };
    let said = reader.operand()?.plain()?;
    reader.rest.is_empty().then_some(said)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// A number or a text, as it is shown.
    Value(String),
    Sign(&'static str),
}

/// Longest first.
const SIGNS: [&str; 20] = [
    "&&", "||", "==", "!=", ">=", "<=", ">", "<", "!", "(", ")", "[", "]", ",", ".", "?", ":", "-",
    "+", "*",
];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '\'' => {
                let (inner, _) = rest[1..].split_once(first)?;
                if inner.contains('\\') {
                    return None;
                }
                (Token::Value(format!("“{inner}”")), inner.len() + 2)
            }
            '0'..='9' => {
                let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '.');
                let digits = &rest[..end.unwrap_or(rest.len())];
                (Token::Value(number(digits)?), digits.len())
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                (Token::Name(name.to_owned()), name.len())
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

fn number(digits: &str) -> Option<String> {
    if digits.parse::<i64>().is_ok() {
        return Some(digits.to_owned());
    }
    let number = digits.parse::<f64>().ok().filter(|it| it.is_finite())?;
    Some(number.to_string())
}

/// How what was said is joined: what stands beside it may have to say where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    One,
    All,
    Any,
}

struct Said {
    text: String,
    joined: Joined,
}

/// Something that is compared.
struct Operand {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    LookedAt,
    Value,
    Null,
    List,
    /// `has`.
    There,
    /// A length of time in this unit, `since` or `until` what the text names.
    Span(String, String),
}

impl Operand {
    fn value(self) -> Option<String> {
        (self.kind == Kind::Value).then_some(self.text)
    }

    /// In a place where a number or a thing is wanted.
    fn plain(&self) -> Option<String> {
        match &self.kind {
            Kind::LookedAt | Kind::Value => Some(self.text.clone()),
            Kind::Span(unit, way) => Some(format!("{unit} {way} {}", self.text)),
            Kind::Null | Kind::List | Kind::There => None,
        }
    }
}

struct Reader<'a> {
    rest: &'a [Token],
    depth: u8,
}

impl Reader<'_> {
    fn eat(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.rest.first(), Some(Token::Sign(next)) if *next == sign);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn any(&mut self) -> Option<Said> {
        let mut all = vec![self.all()?];
        while self.eat("||") {
            all.push(self.all()?);
        }
        Some(joined(all, Joined::Any))
    }

    fn all(&mut self) -> Option<Said> {
        let mut all = vec![self.one()?];
        while self.eat("&&") {
            all.push(self.one()?);
        }
        Some(joined(all, Joined::All))
    }

    fn one(&mut self) -> Option<Said> {
        let is_not = self.eat("!");
        if !self.eat("(") {
            return self.comparison(is_not);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let said = if is_not { self.comparison(true)? } else { self.any()? };
        self.depth -= 1;
        self.eat(")").then_some(said)
    }

    fn comparison(&mut self, is_not: bool) -> Option<Said> {
        let left = self.operand()?;
        let text = match self.rest.first() {
            Some(Token::Sign(sign @ ("==" | "!=" | ">=" | "<=" | ">" | "<"))) => {
                self.rest = &self.rest[1..];
                let right = self.operand()?;
                compared(&left, if is_not { opposite(sign) } else { sign }, &right)?
            }
            Some(Token::Name(name)) if name == "in" => {
                self.rest = &self.rest[1..];
                let right = self.operand()?;
                let words = match (&right.kind, is_not) {
                    (Kind::List, false) => "is one of",
                    (Kind::List, true) => "is none of",
                    (Kind::LookedAt, false) => "is among",
                    (Kind::LookedAt, true) => "is not among",
                    _ => return None,
                };
                format!("{} {words} {}", left.plain()?, right.text)
            }
            Some(Token::Sign(".")) => {
                self.rest = &self.rest[1..];
                let words = match (self.name()?.as_str(), is_not) {
                    ("startsWith", false) => "begins with",
                    ("startsWith", true) => "does not begin with",
                    ("endsWith", false) => "ends with",
                    ("endsWith", true) => "does not end with",
                    ("contains", false) => "contains",
                    ("contains", true) => "does not contain",
                    _ => return None,
                };
                let with = if self.eat("(") { self.operand()?.plain()? } else { return None };
                self.eat(")").then(|| format!("{} {words} {with}", left.text))?
            }
            _ => match (left.kind, is_not) {
                (Kind::There, false) => format!("{} is known", left.text),
                (Kind::There, true) => format!("{} is not known", left.text),
                (Kind::LookedAt, is_not) => format!("{} is {}", left.text, !is_not),
                _ => return None,
            },
        };
        Some(Said { text, joined: Joined::One })
    }

    fn name(&mut self) -> Option<String> {
        let (Token::Name(name), rest) = self.rest.split_first()? else { return None };
        self.rest = rest;
        Some(name.clone())
    }

    fn operand(&mut self) -> Option<Operand> {
        let operand = |text, kind| Some(Operand { text, kind });
        if self.eat("[") {
            let mut all = Vec::new();
            while !self.eat("]") {
                if !all.is_empty() && !self.eat(",") {
                    return None;
                }
                all.push(self.operand()?.value()?);
            }
            return (!all.is_empty()).then(|| Operand { text: all.join(", "), kind: Kind::List });
        }
        let minus = if self.eat("-") { "-" } else { "" };
        if let Some((Token::Value(value), rest)) = self.rest.split_first() {
            self.rest = rest;
            let is_sound = minus.is_empty() || !value.starts_with('“');
            return is_sound
                .then(|| Operand { text: format!("{minus}{value}"), kind: Kind::Value });
        }
        if !minus.is_empty() {
            return None;
        }
        let name = self.name()?;
        match name.as_str() {
            "true" | "false" => return operand(name, Kind::Value),
            "null" => return operand(name, Kind::Null),
            _ => {}
        }
        if self.eat("(") { self.called(&name) } else { self.looked_at(name) }
    }

    /// What a function gives, behind its `(`.
    fn called(&mut self, name: &str) -> Option<Operand> {
        let here = match name {
            "local_hour" => Some("the hour where they are"),
            "local_weekday" => Some("the weekday where they are"),
            "event_hour" => Some("the hour where it happened"),
            "event_weekday" => Some("the weekday where it happened"),
            _ => None,
        };
        if let ("hour_in", [Token::Value(zone), Token::Sign(")"), rest @ ..]) = (name, self.rest) {
            self.rest = rest;
            let text = format!("the hour in {zone}");
            return Some(Operand { text, kind: Kind::LookedAt });
        }
        if let Some(here) = here {
            return self.eat(")").then(|| Operand { text: here.to_owned(), kind: Kind::LookedAt });
        }
        let is_feature = matches!(self.rest.first(), Some(Token::Name(of)) if of == "features");
        let of = self.operand().filter(|of| of.kind == Kind::LookedAt)?;
        let (text, kind) = match (name, name.split_once('_')) {
            // Of what is kept as a list; else it may be a text.
            ("size", _) if is_feature => (format!("the number of {}", of.text), Kind::LookedAt),
            ("size", _) => (format!("the length of {}", of.text), Kind::LookedAt),
            ("double", _) => (of.text, Kind::LookedAt),
            ("has", _) => (of.text, Kind::There),
            (_, Some((unit @ ("days" | "hours" | "minutes"), way @ ("since" | "until")))) => {
                (of.text, Kind::Span(unit.to_owned(), way.to_owned()))
            }
            _ => return None,
        };
        self.eat(")").then_some(Operand { text, kind })
    }

    /// Something with a name: `features.orders`.
    fn looked_at(&mut self, of: String) -> Option<Operand> {
        let mut path = vec![of];
        // A method is no part of it.
        while let [Token::Sign("."), Token::Name(name), rest @ ..] = self.rest {
            if matches!(rest.first(), Some(Token::Sign("("))) {
                break;
            }
            path.push(name.clone());
            self.rest = rest;
        }
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let (of, name) = match path[..] {
            ["event", "trust"] => ("the source’s ", "trust"),
            ["event", "properties", name] => ("", name),
            ["trigger", "properties", name] => ("the first event’s ", name),
            ["event", name] => ("the event’s ", name),
            ["features" | "traits", name] => ("", name),
            ["scores", name] => ("the score ", name),
            ["person", name] => ("the person’s ", name),
            ["account", name] => ("the account’s ", name),
            _ => return None,
        };
        Some(Operand { text: format!("{of}{}", name.replace('_', " ")), kind: Kind::LookedAt })
    }
}

/// A list of them as one; what is joined in another way says where it begins, and a comma where it ends.
fn joined(mut all: Vec<Said>, by: Joined) -> Said {
    if all.len() == 1 {
        return all.remove(0);
    }
    let (word, other, opens) = match by {
        Joined::Any => ("or", Joined::All, "both "),
        _ => ("and", Joined::Any, "either "),
    };
    let comma = if all.iter().any(|it| it.joined == other) { "," } else { "" };
    let all: Vec<_> = all
        .into_iter()
        .map(|it| if it.joined == other { format!("{opens}{}", it.text) } else { it.text })
        .collect();
    Said { text: all.join(&format!("{comma} {word} ")), joined: by }
}

fn opposite(sign: &str) -> &'static str {
    match sign {
        "==" => "!=",
        "!=" => "==",
        ">=" => "<",
        "<=" => ">",
        ">" => "<=",
        _ => ">=",
    }
}

fn compared(left: &Operand, sign: &str, right: &Operand) -> Option<String> {
    if left.kind == Kind::Value {
        return None;
    }
    if right.kind == Kind::Null {
        let words = match sign {
            "==" => "is not known",
            "!=" => "is known",
            _ => return None,
        };
        return Some(format!("{} {words}", left.plain()?));
    }
    let how = match sign {
        "==" => "",
        "!=" => "not ",
        ">=" => "at least ",
        "<=" => "at most ",
        ">" => "more than ",
        _ => "less than ",
    };
    if let (Kind::Span(unit, way), Kind::Value, false) = (&left.kind, &right.kind, how == "not ") {
        let how = if how.is_empty() { "exactly " } else { how };
        let (is_one, is_since) = (right.text == "1", way == "since");
        let what = match (is_one, is_since) {
            (true, true) => "has passed since",
            (false, true) => "have passed since",
            (true, false) => "is left until",
            (false, false) => "are left until",
        };
        let unit = if is_one { unit.trim_end_matches('s') } else { unit };
        return Some(format!("{how}{} {unit} {what} {}", right.text, left.text));
    }
    Some(format!("{} is {how}{}", left.plain()?, right.plain()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_shapes_are_said_in_words() {
        for (text, words) in [
            ("features.orders == 0", "orders is 0"),
            ("event.properties.amount > 500.0", "amount is more than 500"),
            (
                "event.properties.amount > features.largest_before",
                "amount is more than largest before",
            ),
            (
                "local_hour() >= 8 && local_hour() < 20",
                "the hour where they are is at least 8 and the hour where they are is less than 20",
            ),
            (
                "days_since(features.last_seen) >= 7.0",
                "at least 7 days have passed since last seen",
            ),
            ("hours_since(features.a) < 1", "less than 1 hour has passed since a"),
            ("days_until(features.ends) <= 3", "at most 3 days are left until ends"),
            ("days_since(features.a) > features.b", "days since a is more than b"),
            ("features.first == null", "first is not known"),
            ("has(event.properties.coupon)", "coupon is known"),
            ("!has(traits.plan)", "plan is not known"),
            ("traits.plan != 'pro'", "plan is not “pro”"),
            ("traits.plan in ['pro', \"team\"]", "plan is one of “pro”, “team”"),
            ("!(event.properties.country in features.countries)", "country is not among countries"),
            ("!(features.a > 1)", "a is at most 1"),
            ("event.trust == \"server\"", "the source’s trust is “server”"),
            ("traits.paying", "paying is true"),
            ("!person.bot", "the person’s bot is false"),
            ("traits.paying == true", "paying is true"),
            ("scores.risk <= -0.5", "the score risk is at most -0.5"),
            ("size(features.cards_10m) >= 2", "the number of cards 10m is at least 2"),
            ("size(event.properties.code) == 4", "the length of code is 4"),
            ("traits.email.endsWith('@a.example')", "email ends with “@a.example”"),
            ("!traits.name.contains('&&')", "name does not contain “&&”"),
            ("features.a == 1 || features.b == 2", "a is 1 or b is 2"),
            (
                "traits.paying && (features.a == 1 || features.b == 2)",
                "paying is true, and either a is 1 or b is 2",
            ),
            (
                "features.a == 1 && features.b == 2 || traits.paying",
                "both a is 1 and b is 2, or paying is true",
            ),
            ("(features.a == 1)", "a is 1"),
            ("features.looks_1h > 1 ? 0.5 : 0.0", "0.5 if looks 1h is more than 1, else 0"),
        ] {
            assert_eq!(in_words(text).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_is_more_than_that_is_left_as_it_is() {
        let deep = format!("{}features.a == 1{}", "(".repeat(9), ")".repeat(9));
        let long = vec!["features.a == 1"; 100].join(" && ");
        for text in [
            "features.a + 1 > 2",
            "features.a > 1 + 2",
            "(features.a) > 1",
            "!(features.a == 1 && features.b == 2)",
            "features.a > 1 > 2",
            "event.properties.tags[0] == 'x'",
            "features.tags.exists(tag, tag == 'x')",
            "features.a > 1 ? traits.b : features.c",
            "features.a > 1 ? 1",
            "'a' == 'a'",
            "5 < features.a",
            "traits.name == 'it\\'s'",
            "traits.name == r'a'",
            "traits.name == 'open",
            "event.context.page.path == '/x'",
            "string(features.a) == '1'",
            "features.a == 1u",
            "traits.plan in []",
            "features.a &&",
            "features.a == 1 )",
            "-features.a > 1",
            "size() > 1",
            "",
            deep.as_str(),
            long.as_str(),
        ] {
            assert_eq!(in_words(text), None, "{text}");
        }
    }
}
