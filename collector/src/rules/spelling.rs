//! Names that sources make up, as rules and their fixtures write them: events, traits, properties. Nobody can tell that one of them is wrong; but one that stands
//! alone beside another that is all but the same, or that no source may send, is hardly meant.
//! Promises doubts, and no mistakes. Deliberately asks no log.

mod fixtures;

use std::{collections::BTreeMap, path::Path};

use super::{file::RuleError, rule::What, set::RuleSet};

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Track,
    Page,
    Screen,
    Trait,
    Property,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Track => "event",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Trait => "trait",
            Self::Property => "property",
        }
    }

    /// Of an event as a rule names it: its kind and its name; `None` for one that is of any name.
    pub(super) fn of(key: &str) -> Option<(Self, &str)> {
        let (call, name) = key.split_once(':')?;
        let kind = match call {
            "track" => Self::Track,
            "page" => Self::Page,
            "screen" => Self::Screen,
            _ => return None,
        };
        (!name.is_empty() && name != "*").then_some((kind, name))
    }
}

/// One place where a name stands.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// Shorter names are often much like another.
const SHORTEST: usize = 5;

/// The names of a folder's rules that are hardly meant, beside its fixtures; `admits` tells whether a source may send a track event.
pub(crate) fn doubts(
    set: &RuleSet,
    folder: &Path,
    admits: Option<&dyn Fn(&str) -> bool>,
) -> Vec<RuleError> {
    let mut times: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    for written in &set.written {
        *times.entry((written.kind, written.name.clone())).or_default() += 1;
    }
    let emitted = set.rules.iter().flat_map(|rule| &rule.then).filter_map(|it| match &it.what {
        What::Emit { event } => Some((Kind::Track, event.clone())),
        _ => None,
    });
    let emitted: Vec<_> = emitted.collect();
    let mut found = Vec::new();
    let in_fixtures = fixtures::names(folder, &mut found);
    let named = in_fixtures.iter().map(|it| (it.kind, it.name.clone()));
    for name in emitted.iter().cloned().chain(named) {
        *times.entry(name).or_default() += 1;
    }
    // Names of rules that are hardly meant, each with the one that is.
    let mut settled = Vec::new();
    let plain: Vec<_> =
        times.iter().map(|((of, name), times)| (*of, name, *times, Plain::of(name))).collect();
    // Most names of a large folder are no proof that another is wrong.
    let often: Vec<_> = plain.iter().filter(|(_, _, times, _)| *times > 1).collect();
    for Written { kind, name, file, line } in &set.written {
        let is_sent = |name: &str| {
            let is_ours = emitted.iter().any(|(_, event)| event == name);
            is_ours || admits.is_none_or(|admits| admits(name))
        };
        let is_refused = *kind == Kind::Track && !is_sent(name);
        let is_alone = times.get(&(*kind, name.clone())) == Some(&1);
        if !is_refused && !is_alone {
            continue;
        }
        let this = Plain::of(name);
        let is_meant = |of: Kind, other: &String, plain: &Plain| {
            of == *kind && this.is_like(plain) && other != name && (!is_refused || is_sent(other))
        };
        let meant = match is_refused {
            true => plain.iter().find(|(of, other, _, plain)| is_meant(*of, other, plain)),
            false => {
                often.iter().copied().find(|(of, other, _, plain)| is_meant(*of, other, plain))
            }
        };
        let word = kind.word();
        settled.extend(meant.map(|(of, other, ..)| (*of, name.as_str(), other.as_str())));
        let message = match (is_refused, meant) {
            (true, Some((_, other, ..))) => {
                format!("no source may send the event `{name}`; did you mean `{other}`?")
            }
            (true, None) => {
                format!("no source may send the event `{name}`: see `events` of the `[sources.…]`")
            }
            (false, Some((_, other, times, _))) => {
                format!(
                    "the {word} `{name}` is named here alone, and `{other}` {times} times; did you mean `{other}`?"
                )
            }
            (false, None) => continue,
        };
        found.push(RuleError { file: file.clone(), line: *line, message });
    }
    let known = set.written.iter().map(|it| (it.kind, it.name.as_str()));
    let known = known.chain(emitted.iter().map(|(of, name)| (*of, name.as_str())));
    fixtures::doubt(&in_fixtures, &known.collect(), &settled, &mut found);
    found
}

/// A name without how its words are put together.
struct Plain {
    letters: Vec<char>,
    digits: String,
}

impl Plain {
    fn of(name: &str) -> Self {
        let letters = name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase);
        let digits = name.chars().filter(char::is_ascii_digit).collect();
        Self { letters: letters.collect(), digits }
    }

    /// Whether one is the other but for a letter, or two that changed places. Numbers are no letters: `step_1` is not `step_2`. A pass
    /// over the two: there may be thousands of names.
    fn is_like(&self, other: &Self) -> bool {
        let (a, b) = (&self.letters[..], &other.letters[..]);
        if a.len().min(b.len()) < SHORTEST || a.len().abs_diff(b.len()) > 1 {
            return false;
        }
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let (a, b) = (&a[same..], &b[same..]);
        let same = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
        let is_near = match (&a[..a.len() - same], &b[..b.len() - same]) {
            ([] | [_], [] | [_]) => true,
            ([a, b], [c, d]) => (a, b) == (d, c),
            _ => false,
        };
        is_near && self.digits == other.digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_but_for_a_letter_or_two_that_changed_places() {
        let alike = |one: &str, other: &str| {
            let found = Plain::of(one).is_like(&Plain::of(other));
            assert_eq!(found, Plain::of(other).is_like(&Plain::of(one)), "{one}, {other}");
            found
        };
        for other in
            ["Prodct Added", "Producct Added", "Produkt Added", "Prodcut Added", "product_added"]
        {
            assert!(alike("Product Added", other), "{other}");
        }
        for other in ["Prodkt Addedd", "Product Adding", "Prdouct Aded", "Product"] {
            assert!(!alike("Product Added", other), "{other}");
        }
        assert!(!alike("step_1", "step_2") && !alike("cart", "card") && alike("aaaaa", "aaaa aa"));
    }

    fn doubted(rules: &str, fixtures: &str, admitted: Option<&[&str]>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), rules).unwrap();
        std::fs::write(folder.path().join("a.test.toml"), fixtures).unwrap();
        let set = RuleSet::read(folder.path()).unwrap();
        let admits = admitted.map(|all| move |name: &str| all.contains(&name));
        let admits = admits.as_ref().map(|it| it as &dyn Fn(&str) -> bool);
        let before = format!("{}/", folder.path().display());
        let all = doubts(&set, folder.path(), admits);
        all.iter().map(|it| it.to_string().replace(&before, "")).collect()
    }

    const FIXTURE: &str = "[[test]]\nname = 'x'\nexpect = []\nevents = [\n\
        { at = '0s', track = 'Product Added', user = 'u', properties = { cart_id = 1 } },\n\
        { at = '0s', track = 'Product Added', user = 'u', properties = { cart_id = 1 } },\n\
        { at = '1s', identify = { company = 'x' }, user = 'u' },\n\
        { at = '2s', identify = { company = 'x' }, user = 'u' },\n]\n";

    #[test]
    fn a_name_that_stands_alone_beside_one_that_is_all_but_the_same_is_doubted() {
        let rules = "[rules.a]\non = ['Order Paid', 'Prodct Added']\nif = [\n'event.properties.cartId == 1',\n'traits.compny == 1',\n]\nthen = []\n";
        let found = doubted(rules, FIXTURE, None);
        let expected = [
            "a.toml:2: the event `Prodct Added` is named here alone, and `Product Added` 2 times; did you mean `Product Added`?",
            "a.toml:4: the property `cartId` is named here alone, and `cart_id` 2 times; did you mean `cart_id`?",
            "a.toml:5: the trait `compny` is named here alone, and `company` 2 times; did you mean `company`?",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_of_a_fixture_that_no_rule_knows_is_doubted_beside_one_that_a_rule_does() {
        let rules = "[rules.a]\non = ['Product Added', '*']\nif = [\n'event.properties.cart_id == 1',\n\
            'traits.company == 1',\n]\nthen = [{ emit = 'Cart Begun' }]\n[rules.b]\non = 'page:Pricing'\nthen = []\n";
        let fixture = "[[test]]\nname = 'x'\nexpect = []\nevents = [\n\
            { at = '0s', track = 'Prodct Added', user = 'u', properties = { cartId = 1, sku = 1 } },\n\
            { at = '0s', track = 'Prodct Added', user = 'u' },\n\
            { at = '1s', track = 'Product Added', user = 'u', properties = { cart_id = 1 } },\n\
            { at = '1s', track = 'Cart Bgun', user = 'u', context = { traits = { compny = 'x' } } },\n\
            { at = '1s', identify = { compnay = 'x', company = 'x' }, user = 'u' },\n\
            { at = '2s', page = 'Pricin', user = 'u' },\n{ at = '2s', screen = 'Pricin', user = 'u' },\n\
            { at = '2s', track = 'Zebra', user = 'u' },\n]\n";
        let expected = [
            "5: no rule knows the event `Prodct Added`; did you mean `Product Added`?",
            "5: no rule knows the property `cartId`; did you mean `cart_id`?",
            "8: no rule knows the event `Cart Bgun`; did you mean `Cart Begun`?",
            "8: no rule knows the trait `compny`; did you mean `company`?",
            "9: no rule knows the trait `compnay`; did you mean `company`?",
            "10: no rule knows the page `Pricin`; did you mean `Pricing`?",
        ];
        let expected = expected.map(|it| format!("a.test.toml:{it}"));
        assert_eq!(doubted(rules, fixture, None), expected);
    }

    #[test]
    fn a_fixture_file_of_too_many_bytes_is_doubted_and_not_read() {
        let rules = "[rules.a]\non = ['Order Paid', 'Prodct Added']\nthen = []\n";
        let large = format!("{FIXTURE}{}\n", "#".repeat(1 << 20));
        let whole = doubted(rules, &large[..1 << 20], None);
        assert!(whole[0].contains("`Prodct Added` is named here alone"), "{whole:?}");
        let expected = "a.test.toml: a fixture file has at most 1048576 bytes; split it: `rules test` does not run it";
        assert_eq!(doubted(rules, &large, None), [expected]);
    }

    #[test]
    fn names_that_are_others_are_not_doubted() {
        let rules = "[rules.a]\non = ['Product Added', 'Product Viewed', 'Step 1', 'page:Product Addd']\nthen = []\n\
                     [rules.b]\non = ['Step 2', 'Step 2']\nif = 'event.properties.cost == 1 && event.properties.costs == 1'\nthen = []\n";
        assert_eq!(doubted(rules, FIXTURE, None), Vec::<String>::new());
    }

    #[test]
    fn what_no_source_may_send_is_doubted_unless_a_rule_emits_it() {
        let rules = "[rules.a]\non = 'Product Added'\nthen = [{ emit = 'Cart Begun' }]\n\
                     [rules.b]\non = ['Cart Begun', 'Prodct Added', 'Zebra']\nthen = []\n";
        let found = doubted(rules, "", Some(&["Product Added"]));
        let expected = [
            "a.toml:5: no source may send the event `Prodct Added`; did you mean `Product Added`?",
            "a.toml:5: no source may send the event `Zebra`: see `events` of the `[sources.…]`",
        ];
        assert_eq!(found, expected);
    }
}
