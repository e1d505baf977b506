//! The part of the language that most rules are written in: members, numbers and texts that are compared, reckoned with, and joined by
//! and, or, not. Promises the value that the crate would come to, or none at all; then the crate is asked, which says what is wrong, too.
//! Deliberately makes nothing of lists and objects, and no error: it is here for the speed with which each event is looked at.

use std::{borrow::Cow, cmp::Ordering};

use cel::{
    Value,
    common::ast::{Expr, IdedExpr, LiteralValue, operators},
};
use serde_json::Value as Json;

use super::Function;

/// A value that needs no more than a look.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain<'v> {
    Null,
    Truth(bool),
    Whole(i64),
    Fraction(f64),
    Text(Cow<'v, str>),
    /// A list, of which nothing is known but how long it is.
    Many(usize),
}

/// What an expression finds around it. `None` is not known here, missing, or not plain.
pub(crate) trait Around {
    /// What stands under a variable's member, or under the member's own.
    fn member(&self, variable: &str, path: &[String]) -> Option<Plain<'_>>;
    /// Whether anything does.
    fn has(&self, variable: &str, path: &[String]) -> Option<bool>;
    /// What a function of the place's own gives.
    fn call(&self, function: &str, of: Plain<'_>) -> Option<Plain<'_>>;
}

/// An expression of this part of the language.
#[derive(Debug)]
pub(super) enum Steps {
    Literal(Plain<'static>),
    Member(String, Vec<String>),
    Has(String, Vec<String>),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Choice(Box<[Self; 3]>),
    Equal(bool, Box<[Self; 2]>),
    /// Whether the order of the two is one of these.
    Ordered([bool; 3], Box<[Self; 2]>),
    Negated(Box<Self>),
    Reckoned(Reckoning, Box<[Self; 2]>),
    Size(Box<Self>),
    Double(Box<Self>),
    Call(String, Box<Self>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reckoning {
    Sum,
    Difference,
    Product,
    Quotient,
    Remainder,
}

/// Less, equal, greater.
const LESS: [bool; 3] = [true, false, false];
const LESS_EQUALS: [bool; 3] = [true, true, false];
const GREATER: [bool; 3] = [false, false, true];
const GREATER_EQUALS: [bool; 3] = [false, true, true];

impl Steps {
    /// Reads an expression; `functions` are the place's own. `None` if it says more than this part of the language can.
    pub(super) fn of(expression: &IdedExpr, functions: &[Function]) -> Option<Self> {
        let of = |expression: &IdedExpr| Self::of(expression, functions);
        let one = |expression: &IdedExpr| of(expression).map(Box::new);
        match &expression.expr {
            Expr::Literal(literal) => Some(Self::Literal(match literal {
                LiteralValue::Boolean(is) => Plain::Truth(*is.inner()),
                LiteralValue::Int(number) => Plain::Whole(*number.inner()),
                LiteralValue::Double(number) => Plain::Fraction(*number.inner()),
                LiteralValue::String(text) => Plain::Text(Cow::Owned(text.inner().to_owned())),
                LiteralValue::Null => Plain::Null,
                LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return None,
            })),
            Expr::Select(select) => {
                let (variable, mut path) = path(&select.operand)?;
                path.push(select.field.clone());
                Some(match select.test {
                    true => Self::Has(variable, path),
                    false => Self::Member(variable, path),
                })
            }
            Expr::Call(call) if call.target.is_none() => {
                let name = call.func_name.as_str();
                match &call.args[..] {
                    [a] => Some(match name {
                        operators::LOGICAL_NOT => Self::Not(one(a)?),
                        operators::NEGATE => Self::Negated(one(a)?),
                        "size" => Self::Size(one(a)?),
                        "double" => Self::Double(one(a)?),
                        _ if functions.iter().any(|it| it.name == name) => {
                            Self::Call(name.to_owned(), one(a)?)
                        }
                        _ => return None,
                    }),
                    [a, b] => {
                        let both = Box::new([of(a)?, of(b)?]);
                        let reckoned = |how, both| Self::Reckoned(how, both);
                        Some(match name {
                            operators::LOGICAL_AND => Self::And(both),
                            operators::LOGICAL_OR => Self::Or(both),
                            operators::EQUALS => Self::Equal(true, both),
                            operators::NOT_EQUALS => Self::Equal(false, both),
                            operators::LESS => Self::Ordered(LESS, both),
                            operators::LESS_EQUALS => Self::Ordered(LESS_EQUALS, both),
                            operators::GREATER => Self::Ordered(GREATER, both),
                            operators::GREATER_EQUALS => Self::Ordered(GREATER_EQUALS, both),
                            operators::ADD => reckoned(Reckoning::Sum, both),
                            operators::SUBSTRACT => reckoned(Reckoning::Difference, both),
                            operators::MULTIPLY => reckoned(Reckoning::Product, both),
                            operators::DIVIDE => reckoned(Reckoning::Quotient, both),
                            operators::MODULO => reckoned(Reckoning::Remainder, both),
                            _ => return None,
                        })
                    }
                    [a, b, c] if name == operators::CONDITIONAL => {
                        Some(Self::Choice(Box::new([of(a)?, of(b)?, of(c)?])))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What it comes to.
    pub(super) fn ask<'v>(&'v self, around: &'v impl Around) -> Option<Plain<'v>> {
        let truth = |steps: &'v Self| match steps.ask(around)? {
            Plain::Truth(is) => Some(is),
            _ => None,
        };
        Some(match self {
            Self::Literal(Plain::Text(text)) => Plain::Text(Cow::Borrowed(text)),
            Self::Literal(plain) => plain.clone(),
            Self::Member(variable, path) => around.member(variable, path)?,
            Self::Has(variable, path) => Plain::Truth(around.has(variable, path)?),
            Self::Not(a) => Plain::Truth(!truth(a)?),
            Self::And(both) => Plain::Truth(truth(&both[0])? && truth(&both[1])?),
            Self::Or(both) => Plain::Truth(truth(&both[0])? || truth(&both[1])?),
            Self::Choice(of) => return of[if truth(&of[0])? { 1 } else { 2 }].ask(around),
            Self::Equal(wanted, both) => {
                let is = equal(&both[0].ask(around)?, &both[1].ask(around)?)?;
                Plain::Truth(is == *wanted)
            }
            Self::Ordered(orders, both) => {
                let order = ordered(&both[0].ask(around)?, &both[1].ask(around)?)?;
                Plain::Truth(match order {
                    Ordering::Less => orders[0],
                    Ordering::Equal => orders[1],
                    Ordering::Greater => orders[2],
                })
            }
            Self::Negated(a) => match a.ask(around)? {
                Plain::Whole(number) => Plain::Whole(number.checked_neg()?),
                Plain::Fraction(number) => Plain::Fraction(-number),
                _ => return None,
            },
            Self::Reckoned(how, both) => how.of(&both[0].ask(around)?, &both[1].ask(around)?)?,
            Self::Size(a) => match a.ask(around)? {
                Plain::Many(count) => Plain::Whole(i64::try_from(count).ok()?),
                _ => return None,
            },
            Self::Double(a) => match a.ask(around)? {
                #[allow(clippy::cast_precision_loss, reason = "as the crate has it")]
                Plain::Whole(number) => Plain::Fraction(number as f64),
                Plain::Fraction(number) => Plain::Fraction(number),
                _ => return None,
            },
            Self::Call(function, a) => around.call(function, a.ask(around)?)?,
        })
    }

    /// What it looks at, by variable and path.
    pub(super) fn paths<'a>(&'a self, found: &mut Vec<(&'a str, &'a [String])>) {
        match self {
            Self::Literal(_) => {}
            Self::Member(variable, path) | Self::Has(variable, path) => {
                found.push((variable, path));
            }
            Self::Not(a)
            | Self::Negated(a)
            | Self::Size(a)
            | Self::Double(a)
            | Self::Call(_, a) => a.paths(found),
            Self::And(both)
            | Self::Or(both)
            | Self::Equal(_, both)
            | Self::Ordered(_, both)
            | Self::Reckoned(_, both) => both.iter().for_each(|it| it.paths(found)),
            Self::Choice(of) => of.iter().for_each(|it| it.paths(found)),
        }
    }
}

/// The variable and the path that an expression names, if it does nothing else.
fn path(expression: &IdedExpr) -> Option<(String, Vec<String>)> {
    match &expression.expr {
        Expr::Ident(variable) => Some((variable.clone(), Vec::new())),
        Expr::Select(select) if !select.test => {
            let (variable, mut path) = path(&select.operand)?;
            path.push(select.field.clone());
            Some((variable, path))
        }
        _ => None,
    }
}

/// Numbers are what they amount to, whatever their kind; all else is equal to its own kind only.
fn equal(a: &Plain<'_>, b: &Plain<'_>) -> Option<bool> {
    use Plain as P;
    Some(match (a, b) {
        (P::Many(_), _) | (_, P::Many(_)) => return None,
        (P::Null, P::Null) => true,
        (P::Truth(a), P::Truth(b)) => a == b,
        (P::Text(a), P::Text(b)) => a == b,
        (P::Whole(_) | P::Fraction(_), P::Whole(_) | P::Fraction(_)) => ordered(a, b)?.is_eq(),
        _ => false,
    })
}

#[allow(clippy::cast_precision_loss, reason = "as the crate has it")]
fn ordered(a: &Plain<'_>, b: &Plain<'_>) -> Option<Ordering> {
    use Plain as P;
    match (a, b) {
        (P::Whole(a), P::Whole(b)) => Some(a.cmp(b)),
        (P::Whole(a), P::Fraction(b)) => (*a as f64).partial_cmp(b),
        (P::Fraction(a), P::Whole(b)) => a.partial_cmp(&(*b as f64)),
        (P::Fraction(a), P::Fraction(b)) => a.partial_cmp(b),
        (P::Text(a), P::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

impl Reckoning {
    /// Of two of a kind: others the crate refuses.
    fn of(self, a: &Plain<'_>, b: &Plain<'_>) -> Option<Plain<'static>> {
        match (a, b) {
            (Plain::Whole(a), Plain::Whole(b)) => Some(Plain::Whole(match self {
                Self::Sum => a.checked_add(*b)?,
                Self::Difference => a.checked_sub(*b)?,
                Self::Product => a.checked_mul(*b)?,
                Self::Quotient => a.checked_div(*b)?,
                Self::Remainder => a.checked_rem(*b)?,
            })),
            (Plain::Fraction(a), Plain::Fraction(b)) => Some(Plain::Fraction(match self {
                Self::Sum => a + b,
                Self::Difference => a - b,
                Self::Product => a * b,
                Self::Quotient => a / b,
                Self::Remainder => return None,
            })),
            _ => None,
        }
    }
}

impl<'v> Plain<'v> {
    /// Of JSON, as `value::of_json` has it.
    pub(crate) fn of_json(json: &'v Json) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Bool(is) => Self::Truth(*is),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Whole(number),
                (_, Some(_)) => return None,
                _ => Self::Fraction(number.as_f64()?),
            },
            Json::Array(_) | Json::Object(_) => return None,
        })
    }

    /// The same, whoever it was borrowed from.
    pub(crate) fn into_owned(self) -> Plain<'static> {
        match self {
            Self::Null => Plain::Null,
            Self::Truth(is) => Plain::Truth(is),
            Self::Whole(number) => Plain::Whole(number),
            Self::Fraction(number) => Plain::Fraction(number),
            Self::Text(text) => Plain::Text(Cow::Owned(text.into_owned())),
            Self::Many(count) => Plain::Many(count),
        }
    }

    /// As the crate has it; none of a list, of which only the length is known.
    pub(crate) fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Truth(is) => Value::Bool(is),
            Self::Whole(number) => Value::Int(number),
            Self::Fraction(number) => Value::Float(number),
            Self::Text(text) => Value::String(text.into_owned().into()),
            Self::Many(_) => return None,
        })
    }
}

impl TryFrom<Plain<'_>> for Json {
    type Error = ();

    /// As `value::to_json` has it, with null for a number that JSON does not have; not of a list.
    fn try_from(plain: Plain<'_>) -> Result<Self, ()> {
        Ok(match plain {
            Plain::Null => Self::Null,
            Plain::Truth(is) => Self::Bool(is),
            Plain::Whole(number) => Self::from(number),
            Plain::Fraction(number) => Self::from(number + 0.0),
            Plain::Text(text) => Self::String(text.into_owned()),
            Plain::Many(_) => return Err(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Expression, Vocabulary, empty_context, value};
    use super::*;

    /// An event's members as JSON.
    struct Event(Json);

    impl Around for Event {
        fn member(&self, variable: &str, path: &[String]) -> Option<Plain<'_>> {
            assert_eq!(variable, "event");
            let found = path.iter().try_fold(&self.0, |json, name| json.get(name))?;
            match found {
                Json::Array(list) => Some(Plain::Many(list.len())),
                found => Plain::of_json(found),
            }
        }

        fn has(&self, _: &str, path: &[String]) -> Option<bool> {
            let (last, above) = path.split_last()?;
            let above = above.iter().try_fold(&self.0, |json, name| json.get(name))?;
            above.as_object().map(|object| object.contains_key(last))
        }

        fn call(&self, _: &str, _: Plain<'_>) -> Option<Plain<'_>> {
            None
        }
    }

    /// Texts of expressions: truths made of what is compared, and of what is reckoned; now and then of what does not fit.
    fn expressions() -> impl Strategy<Value = String> {
        const ANY: &[&str] = &[
            "event.a",
            "event.b",
            "event.c.d",
            "event.c",
            "event.none",
            "null",
            "'x'",
            "'é'",
            "true",
        ];
        const NUMBERS: &[&str] = &[
            "event.a",
            "event.b",
            "event.c.d",
            "0",
            "1",
            "-3",
            "7",
            "9223372036854775807",
            "0.0",
            "0.5",
            "-2.5",
            "3.0",
            "1e300",
        ];
        let one = |of| prop::sample::select(of).prop_map(str::to_owned);
        let number = one(NUMBERS).prop_recursive(2, 8, 2, |inner| {
            let operator = prop::sample::select(vec!["+", "-", "*", "/", "%"]);
            let call = prop::sample::select(vec!["-", "size", "double"]);
            prop_oneof![
                3 => (inner.clone(), operator, inner.clone()).prop_map(|(a, by, b)| format!("({a} {by} {b})")),
                1 => (call, inner).prop_map(|(call, a)| format!("{call}({a})")),
            ]
        });
        let order = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
        let equal = prop::sample::select(vec!["==", "!=", "<"]);
        let truth = prop_oneof![
            4 => (number.clone(), order, number).prop_map(|(a, by, b)| format!("({a} {by} {b})")),
            2 => (one(ANY), equal, one(ANY)).prop_map(|(a, by, b)| format!("({a} {by} {b})")),
            1 => one(&["has(event.a)", "has(event.c.d)", "has(event.none)", "has(event.a.b)", "event.b"]),
        ];
        truth.prop_recursive(2, 8, 3, |inner| {
            let joined = prop::sample::select(vec!["&&", "||", "=="]);
            prop_oneof![
                3 => (inner.clone(), joined, inner.clone()).prop_map(|(a, by, b)| format!("({a} {by} {b})")),
                1 => inner.clone().prop_map(|a| format!("!({a})")),
                1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            ]
        })
    }

    fn values() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (-4..9_i64).prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            (-4.0..9.0_f64).prop_map(Json::from),
            prop::sample::select(vec!["x", "", "é"]).prop_map(Json::from),
            Just(json!([1, "x"])),
            Just(json!({"b": 1})),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        /// What is told without the crate is what the crate tells.
        #[test]
        fn it_is_what_the_crate_says_or_nothing(
            text in expressions(),
            (a, b, d) in (values(), values(), values()),
        ) {
            let body = json!({"a": a, "b": b, "c": {"d": d}});
            let Ok(expression) = Expression::read(&text, &Vocabulary::of(&["event"])) else {
                return Ok(());
            };
            let around = Event(body.clone());
            let Some(plain) = expression.plain(&around) else { return Ok(()) };
            let Some(value) = plain.clone().into_value() else { return Ok(()) };
            let mut context = empty_context();
            context.add_variable_from_value("event", value::of_json(&body));
            let wanted = expression.ask(&context);
            let wanted = wanted.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let same = |a: &Value, b: &Value| match (a, b) {
                (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
                _ => a == b,
            };
            let wanted = wanted.unwrap_or(Value::Null);
            prop_assert!(same(&value, &wanted), "{} of {}: {:?}, and the crate has {:?}", text, body, plain, wanted);
        }
    }

    #[test]
    fn what_rules_are_mostly_made_of_is_plain() {
        let event = Event(json!({"a": 5, "b": "x", "c": {"d": 2.5}, "l": [1, 2]}));
        for (text, wanted) in [
            ("event.a > 3", Plain::Truth(true)),
            ("event.a >= 5 && event.b == 'x'", Plain::Truth(true)),
            ("has(event.c.e) || event.b != null", Plain::Truth(true)),
            ("has(event.c.e)", Plain::Truth(false)),
            ("event.c.d * 2.0 - 1.0", Plain::Fraction(4.0)),
            ("double(event.a) / 2.0", Plain::Fraction(2.5)),
            ("size(event.l) > 1 ? -event.a : 0", Plain::Whole(-5)),
            ("event.a < 5.5 && !(event.c.d == 3)", Plain::Truth(true)),
        ] {
            let expression = Expression::read(text, &Vocabulary::of(&["event"])).unwrap();
            assert_eq!(expression.plain(&event), Some(wanted), "{text}");
        }
        for text in ["event.none > 1", "event.a + 1.0", "event.b", "event.a / 0"] {
            let expression = Expression::read(text, &Vocabulary::of(&["event"])).unwrap();
            let plain = expression.plain(&event);
            assert_eq!(plain.is_some(), text == "event.b", "{text}: {plain:?}");
        }
    }
}
