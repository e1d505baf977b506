//! What an expression comes to, as far as it can be told before it is asked.
//! Promises that what it refuses can never work, whatever the event. Deliberately is no whole type system: what an event holds is
//! not known here, and anything may come of it.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

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

/// What is known of a variable's member, or of what a function gives (then without a member).
pub(crate) type Known<'a> = &'a dyn Fn(&str, Option<&str>) -> Kind;

/// What comes of it, or why nothing ever will.
pub(super) fn kind(expression: &IdedExpr, known: Known<'_>) -> Result<Kind, String> {
    let of = |expression: &IdedExpr| kind(expression, known);
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
            Expr::Ident(variable) => known(variable, Some(&select.field)),
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
            if let Some(target) = &call.target {
                of(target)?;
            }
            called(&call.func_name, &args, known)?
        }
        // Of a macro only what it runs over is known.
        Expr::Comprehension(macros) => {
            let range = of(&macros.iter_range)?;
            if !range.may_be(Kind::List) && !range.may_be(Kind::Map) {
                return Err(format!("a macro runs over a list, and not over {range}"));
            }
            match macros.accu_init.expr {
                Expr::Literal(LiteralValue::Boolean(_)) => Kind::Truth,
                Expr::List(_) => Kind::List,
                _ => Kind::Any,
            }
        }
        Expr::Ident(variable) => known(variable, None),
        Expr::Struct(_) | Expr::Unspecified => Kind::Any,
    })
}

fn called(name: &str, args: &[Kind], known: Known<'_>) -> Result<Kind, String> {
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
        _ => Ok(known(name, None)),
    }
}

fn sign(operator: &str) -> String {
    format!("`{}`", operator.trim_matches('_'))
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    fn kind_of(text: &str) -> Result<Kind, String> {
        let variables = ["event", "features"];
        let words = Vocabulary { variables: &variables, functions: &["days_since"] };
        let expression = Expression::read(text, &words).map_err(|(_, message)| message)?;
        expression.kind(&|name, member| match (name, member) {
            ("features", Some("count")) => Kind::Whole,
            ("features", Some("sum")) | ("days_since", None) => Kind::Fraction,
            ("features", Some("countries")) => Kind::List,
            ("features", Some("plan")) => Kind::Text,
            _ => Kind::Any,
        })
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
