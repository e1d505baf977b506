//! What an expression comes to, as far as it can be told before it is asked.
//! Promises that what it refuses can never work, whatever the event. Deliberately is no whole type system: what an event holds is
//! not known here, and anything may come of it.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::{Function, Takes};

/// What comes of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Fraction,
    Text,
    Truth,
    List,
    Map,
    /// Nobody can tell yet.
    Any,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Fraction => "a number with a fraction",
            Self::Text => "a text",
            Self::Truth => "true or false",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Any => "anything",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Fraction)
    }

    /// Whether it may turn out to be this.
    pub(crate) fn may_be(self, other: Self) -> bool {
        self == Self::Any || self == other
    }

    /// Whether it may turn out to be a number.
    pub(crate) fn may_be_number(self) -> bool {
        self == Self::Any || self.is_number()
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words())
    }
}

/// What is known of a variable's member.
pub(crate) type Known<'a> = &'a dyn Fn(&str, &str) -> Kind;

/// What is known, to tell what comes of an expression.
pub(super) struct Typing<'a> {
    pub(super) known: Known<'a>,
    pub(super) functions: &'a [Function],
}

impl Typing<'_> {
    /// What comes of it, or of which part nothing ever will, and why.
    pub(super) fn kind<'e>(
        &self,
        expression: &'e IdedExpr,
    ) -> Result<Kind, (&'e IdedExpr, String)> {
        let of = |expression: &'e IdedExpr| self.kind(expression);
        Ok(match &expression.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Kind::Truth,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Whole,
                LiteralValue::Double(_) => Kind::Fraction,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Bytes(_) | LiteralValue::Null => Kind::Any,
            },
            Expr::Select(select) if select.test => Kind::Truth,
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(variable) => (self.known)(variable, &select.field),
                _ => {
                    of(&select.operand)?;
                    Kind::Any
                }
            },
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| of(element).map(drop))?;
                Kind::List
            }
            Expr::Map(_) => Kind::Map,
            Expr::Call(call) => {
                let args = call.args.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                let target = call.target.as_deref().map(of).transpose()?;
                let name = call.func_name.as_str();
                let given = Given { target, args: &args };
                let called = match self.functions.iter().find(|it| it.name == name) {
                    Some(function) => given.to(function),
                    None => given.to_standard(name).and_then(|()| called(name, &args)),
                };
                called.map_err(|message| (expression, message))?
            }
            // Of a macro only what it runs over is known.
            Expr::Comprehension(macros) => {
                let range = of(&macros.iter_range)?;
                if !range.may_be(Kind::List) && !range.may_be(Kind::Map) {
                    let message = format!("a macro runs over a list, and not over {range}");
                    return Err((&macros.iter_range, message));
                }
                match macros.accu_init.expr {
                    Expr::Literal(LiteralValue::Boolean(_)) => Kind::Truth,
                    Expr::List(_) => Kind::List,
                    _ => Kind::Any,
                }
            }
            Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => Kind::Any,
        })
    }

    /// Both sides of each choice, with where they stand.
    pub(super) fn outcomes<'e>(
        &self,
        expression: &'e IdedExpr,
        found: &mut Vec<(Kind, &'e IdedExpr)>,
    ) {
        match &expression.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args.iter().skip(1).for_each(|side| self.outcomes(side, found));
            }
            _ => found.extend(self.kind(expression).ok().map(|kind| (kind, expression))),
        }
    }
}

/// What a function is called with.
struct Given<'a> {
    target: Option<Kind>,
    args: &'a [Kind],
}

impl Given<'_> {
    fn to(&self, function: &Function) -> Result<Kind, String> {
        let Function { name, takes, gives, example } = function;
        if self.target.is_some() {
            return Err(format!("`{name}` stands before what it is given: `{example}`"));
        }
        if self.args.len() != takes.len() {
            let takes = match takes.len() {
                0 => "nothing".to_owned(),
                1 => "one thing".to_owned(),
                many => format!("{many} things"),
            };
            let given = self.args.len();
            return Err(format!("`{name}` is given {takes}, and not {given}: write `{example}`"));
        }
        for (takes, kind) in takes.iter().zip(self.args) {
            let (fits, wanted) = match takes {
                Takes::Text => (kind.may_be(Kind::Text), "a text"),
                Takes::Time => {
                    (kind.may_be_number() || *kind == Kind::Text, "a time, as text or number")
                }
            };
            if !fits {
                return Err(format!("`{name}` is given {wanted}, and not {kind}: `{example}`"));
            }
        }
        Ok(*gives)
    }

    /// Of CEL's own, those that take a fixed number of things.
    fn to_standard(&self, name: &str) -> Result<(), String> {
        let expected = match name {
            "size" | "int" | "uint" | "double" | "string" | "bool" | "bytes" | "type" | "dyn" => 1,
            "contains" | "startsWith" | "endsWith" => 2,
            _ => return Ok(()),
        };
        let given = self.args.len() + usize::from(self.target.is_some());
        if given == expected {
            return Ok(());
        }
        let example = match expected {
            2 => format!("x.{name}(\"y\")"),
            _ => format!("{name}(x)"),
        };
        let given = if self.target.is_some() { given - 1 } else { given };
        Err(format!("`{name}` is given one thing, and not {given}: write `{example}`"))
    }
}

fn called(name: &str, args: &[Kind]) -> Result<Kind, String> {
    let truths = |what: &str| match args.iter().find(|kind| !kind.may_be(Kind::Truth)) {
        Some(other) => Err(format!("{what} needs true or false, and not {other}")),
        None => Ok(Kind::Truth),
    };
    match (name, args) {
        (operators::LOGICAL_AND, _) => truths("`&&`"),
        (operators::LOGICAL_OR, _) => truths("`||`"),
        (operators::LOGICAL_NOT, _) => truths("`!`"),
        (operators::CONDITIONAL, [condition, yes, no]) => {
            if !condition.may_be(Kind::Truth) {
                return Err(format!(
                    "what stands before `?` is true or false, and not {condition}"
                ));
            }
            Ok(if yes == no { *yes } else { Kind::Any })
        }
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => match (a, b) {
            (Kind::Any, _) | (_, Kind::Any) => Ok(Kind::Truth),
            (a, b) if a == b || a.is_number() && b.is_number() => Ok(Kind::Truth),
            (a, b) => Err(format!("{a} and {b} are never equal")),
        },
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [a, b],
        ) => match (a, b) {
            (Kind::Any, _) | (_, Kind::Any) | (Kind::Text, Kind::Text) => Ok(Kind::Truth),
            (a, b) if a.is_number() && b.is_number() => Ok(Kind::Truth),
            (a, b) => Err(format!("{a} and {b} cannot be compared")),
        },
        (
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO,
            [a, b],
        ) => match (a, b) {
            (Kind::Any, other) | (other, Kind::Any) => Ok(match other {
                Kind::Whole | Kind::Fraction => *other,
                _ => Kind::Any,
            }),
            (Kind::Text | Kind::List, _) if a == b && name == operators::ADD => Ok(*a),
            (a, b) if a == b && a.is_number() => Ok(*a),
            (a, b) if a.is_number() && b.is_number() => Err(format!(
                "{a} and {b} do not mix in CEL: make both alike, with `double(…)` or by writing 2.0 for 2"
            )),
            (a, b) => Err(format!("{} does not work on {a} and {b}", sign(name))),
        },
        (operators::NEGATE, [a]) if !a.may_be_number() => Err(format!("`-` does not work on {a}")),
        (operators::NEGATE, [a]) => Ok(*a),
        (operators::IN, [_, b]) => match b.may_be(Kind::List) || b.may_be(Kind::Map) {
            true => Ok(Kind::Truth),
            false => Err(format!("`in` looks into a list, and not into {b}")),
        },
        ("size" | "int" | "uint", _) => Ok(Kind::Whole),
        ("double", _) => Ok(Kind::Fraction),
        ("string", _) => Ok(Kind::Text),
        ("contains" | "startsWith" | "endsWith" | "bool" | "hasValue", _) => Ok(Kind::Truth),
        _ => Ok(Kind::Any),
    }
}

fn sign(operator: &str) -> String {
    format!("`{}`", operator.trim_matches('_'))
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    const OWN: [Function; 3] = [
        Function {
            name: "days_since",
            takes: &[Takes::Time],
            gives: Kind::Fraction,
            example: "days_since(features.last)",
        },
        Function { name: "local_hour", takes: &[], gives: Kind::Whole, example: "local_hour()" },
        Function {
            name: "hour_in",
            takes: &[Takes::Text],
            gives: Kind::Whole,
            example: "hour_in(\"Europe/Paris\")",
        },
    ];

    fn kind_of(text: &str) -> Result<Kind, String> {
        let variables = ["event", "features"];
        let words = Vocabulary { variables: &variables, functions: &OWN };
        let expression = Expression::read(text, &words).map_err(|(_, message)| message)?;
        let known = |name: &str, member: &str| match (name, member) {
            ("features", "count") => Kind::Whole,
            ("features", "sum") => Kind::Fraction,
            ("features", "countries") => Kind::List,
            ("features", "plan") => Kind::Text,
            _ => Kind::Any,
        };
        expression.kind(&known, &OWN).map_err(|(_, message)| message)
    }

    #[test]
    fn the_place_of_what_cannot_work_is_told_as_it_was_written() {
        for (text, part) in [
            ("event.x == 'é' && features.plan > 3", "in `features.plan > 3`: a text"),
            ("true || (features.count * 0.5 > 2.0)", "in `features.count * 0.5`: a whole number"),
            (
                "event.x == 1 && local_hour(1) > 3",
                "in `local_hour(1)`: `local_hour` is given nothing",
            ),
            ("features.plan > 3", "a text and a whole number cannot be compared"),
        ] {
            let error = kind_of(text).unwrap_err();
            assert!(error.starts_with(part), "{text}: {error}");
        }
        let words = Vocabulary { variables: &["event"], functions: &OWN };
        let text = "event.x == 1\n  && 1 + 'a' == 2";
        let two = Expression::read(text, &words).unwrap();
        assert_eq!(two.kind(&|_, _| Kind::Any, &OWN).unwrap_err().0, 1);
    }

    #[test]
    fn functions_are_given_what_they_take() {
        for (text, part) in [
            (
                "local_hour(1, 2) > 3",
                "`local_hour` is given nothing, and not 2: write `local_hour()`",
            ),
            ("days_since() > 3.0", "`days_since` is given one thing, and not 0"),
            ("days_since(true) > 3.0", "is given a time, as text or number, and not true or false"),
            ("hour_in(3) > 3", "is given a text, and not a whole number"),
            ("event.x.days_since() > 3.0", "stands before what it is given"),
            ("size(event.x, 1) > 3", "`size` is given one thing, and not 2: write `size(x)`"),
            (
                "event.x.startsWith() ",
                "`startsWith` is given one thing, and not 0: write `x.startsWith(\"y\")`",
            ),
            ("double() > 1.0", "`double` is given one thing, and not 0"),
        ] {
            let error = kind_of(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in ["event.x.size() > 1", "size(event.x) > 1", "event.x.contains('a')"] {
            assert_eq!(kind_of(text), Ok(Kind::Truth), "{text}");
        }
    }

    #[test]
    fn what_can_work_is_told_as_far_as_it_can_be() {
        for (text, kind) in [
            ("features.count > 3", Kind::Truth),
            ("features.count + 1", Kind::Whole),
            ("features.sum / 2.0", Kind::Fraction),
            ("double(features.count) * 0.5", Kind::Fraction),
            ("days_since(features.sum) > 11.0 && event.x", Kind::Truth),
            ("event.a + event.b", Kind::Any),
            ("event.list.exists(x, x > 1)", Kind::Truth),
            ("event.country in features.countries", Kind::Truth),
            ("event.n > features.sum ? 1 : 0", Kind::Whole),
            ("event.n + 1 == features.count", Kind::Truth),
            ("features.plan + '!'", Kind::Text),
            ("has(event.x)", Kind::Truth),
            ("!(features.plan == 'pro')", Kind::Truth),
        ] {
            assert_eq!(kind_of(text), Ok(kind), "{text}");
        }
    }

    #[test]
    fn what_can_never_work_is_said_before_it_is_asked() {
        for (text, part) in [
            ("1 + 'a'", "`+` does not work on a whole number and a text"),
            ("features.count * 0.5", "do not mix in CEL"),
            ("features.plan > 3", "cannot be compared"),
            ("features.plan == 3", "are never equal"),
            ("features.count && true", "`&&` needs true or false"),
            ("!features.count", "`!` needs"),
            ("features.count ? 1 : 2", "before `?`"),
            ("-features.plan", "`-` does not work"),
            ("'x' in features.count", "looks into a list"),
            ("features.count.exists(x, x > 1)", "runs over a list"),
            ("(features.plan > 3) || event.x", "cannot be compared"),
        ] {
            let error = kind_of(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
