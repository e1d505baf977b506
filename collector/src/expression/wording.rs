//! What the crate says of an expression, in the words of who writes rules and mappings.
//! Promises to say no value that was sent, and to say what to write instead where that is known. Deliberately understands no expression.

use cel::{ExecutionError, Value};

/// What is said of a value that there is none of.
pub(crate) const NOTHING: &str = "nothing (null)";

/// What a function says that knows no such place.
pub(crate) const NO_ZONE: &str = "there is no time zone of this name";

/// Whether what is wrong is that a value is null.
pub(crate) fn is_of_nothing(said: &str) -> bool {
    said.contains(NOTHING)
}

/// Why what a condition comes to is no answer.
pub(crate) fn no_truth(value: &Value) -> String {
    format!("it comes to {}, and not to true or false", kind(&value.type_of().to_string()))
}

/// Why a text is no expression; `at` is the line from 0 and the column from 1, in characters, that the parser names.
pub(super) fn unread(message: &str, text: &str, (line, column): (usize, usize)) -> String {
    let message = one_line(message);
    let syntax = message.strip_prefix("Syntax error: ");
    let said = syntax.unwrap_or(&message);
    let quoted = || said.split('\'').nth(1).unwrap_or_default();
    let rest: String =
        text.lines().nth(line).unwrap_or_default().chars().skip(column.saturating_sub(1)).collect();
    let before: String =
        text.lines().nth(line).unwrap_or_default().chars().take(column.saturating_sub(1)).collect();
    if text.trim().is_empty() {
        return "it is empty".to_owned();
    }
    if said.starts_with("Incomplete `ExprContext` for `_?_:_`") {
        return "a choice has two sides: `condition ? this : that`".to_owned();
    }
    if said.starts_with("missing ") {
        return format!("a `{}` is missing", quoted());
    }
    if said.starts_with("token recognition error") {
        return match rest.chars().next() {
            Some('=') => "two values are compared with `==`".to_owned(),
            Some('"' | '\'') => "a text has no end: its closing quote is missing".to_owned(),
            Some('&') => "\"and\" is written `&&`".to_owned(),
            Some('|') => "\"or\" is written `||`".to_owned(),
            Some(sign) => format!("`{sign}` means nothing here"),
            None => "something is missing here".to_owned(),
        };
    }
    let found = ["mismatched input ", "extraneous input ", "no viable alternative at input "];
    if found.iter().any(|it| said.starts_with(it)) {
        // Where texts stand in the message, they are the operator's own.
        let word: String =
            rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').take(40).collect();
        let is_digit = |text: &str| text.trim_end().ends_with(|it: char| it.is_ascii_digit());
        return match (word.as_str(), rest.trim_start().chars().next()) {
            (_, None) => "it ends where a value is expected".to_owned(),
            ("and" | "AND", _) => "\"and\" is written `&&`".to_owned(),
            ("or" | "OR", _) => "\"or\" is written `||`".to_owned(),
            ("not" | "NOT", _) => "\"not\" is written `!`".to_owned(),
            ("is", _) => "two values are compared with `==`".to_owned(),
            (_, Some(',')) if is_digit(&before) => {
                "a number has a point and no comma: `1.5`".to_owned()
            }
            (digits, _) if digits.starts_with('_') && is_digit(&before) => {
                "a number is written in digits alone: `1000`".to_owned()
            }
            ("", Some(sign)) => format!("`{sign}` does not stand here"),
            (word, _) => format!(
                "`{word}` does not stand here: between two values there is an operator, as `&&`, `==` or `+`"
            ),
        };
    }
    match said {
        "argument must be a simple name" => {
            "a macro names its variable first: `list.exists(x, x > 1)`".to_owned()
        }
        "invalid argument to has() macro" => {
            "`has` asks for a member: `has(event.properties.x)`".to_owned()
        }
        "invalid int literal" | "invalid uint literal" => "the number is too large".to_owned(),
        _ => "it cannot be read from here on".to_owned(),
    }
}

/// Why there is no value, without any value. A key may be one, unless the expression itself has it.
pub(super) fn without_value(error: &ExecutionError, source: &str) -> String {
    use ExecutionError as E;
    match error {
        E::NoSuchKey(key) if !source.contains(key.as_str()) => {
            "there is nothing under the key that it looks for".to_owned()
        }
        E::NoSuchKey(key) => {
            format!("there is no `{key}`; where it may be missing, write `.?{key}`")
        }
        E::NoSuchOverload(error) => no_overload(error.function(), error.argument_types()),
        E::UndeclaredReference(name) => format!("`{name}` is not known"),
        // Some places of the crate put the value there.
        E::UnexpectedType { got, want } => match got.bytes().all(|b| b.is_ascii_lowercase()) {
            true => format!("expected {}, found {}", kind(want), kind(got)),
            false => format!("expected {}, found something else", kind(want)),
        },
        E::FunctionError { function, message } if message == NOTHING => {
            format!("`{function}` does not work on {NOTHING}")
        }
        E::FunctionError { function, message } if message == NO_ZONE => {
            format!("`{function}`: {NO_ZONE}")
        }
        E::FunctionError { function, .. } => format!("`{function}` cannot work on this"),
        E::IndexOutOfBounds(_) => "a list has no so many elements".to_owned(),
        E::DivisionByZero(_) | E::RemainderByZero(_) => "divided by zero".to_owned(),
        E::Overflow(..) => "the number is too large".to_owned(),
        E::ValuesNotComparable(a, b) => {
            let (a, b) = (a.type_of().to_string(), b.type_of().to_string());
            format!("{} and {} cannot be compared", kind(&a), kind(&b))
        }
        E::UnsupportedBinaryOperator(operator, a, b) => {
            let (a, b) = (a.type_of().to_string(), b.type_of().to_string());
            format!("`{}` does not work on {} and {}", sign(operator), kind(&a), kind(&b))
        }
        E::UnsupportedTargetType { target } => {
            format!("does not work on {}", kind(&target.type_of().to_string()))
        }
        E::NotSupportedAsMethod { method, target } => {
            format!("`{method}` does not work on {}", kind(&target.type_of().to_string()))
        }
        E::UnsupportedIndex(index, _) => {
            format!("{} is no index", kind(&index.type_of().to_string()))
        }
        E::InvalidArgumentCount { expected, actual } => {
            format!("a function is given {expected} things, and not {actual}")
        }
        _ => "cannot be worked out for this".to_owned(),
    }
}

/// An operator or a function that is not for these types.
fn no_overload(function: &str, given: &[String]) -> String {
    let given: Vec<_> = given.iter().map(|name| kind(name)).collect();
    match given.is_empty() {
        true => format!("`{}` is given nothing to work on", sign(function)),
        false => format!("`{}` does not work on {}", sign(function), given.join(" and ")),
    }
}

/// An operator as it is written.
fn sign(operator: &str) -> &str {
    match operator {
        "_[_]" | "index" => "[…]",
        "_?_:_" => "? :",
        "@in" | "_in_" => "in",
        "add" => "+",
        "sub" | "subtract" => "-",
        "mul" | "multiply" => "*",
        "div" | "divide" => "/",
        "rem" | "modulo" => "%",
        "neg" | "negate" => "-",
        "not" => "!",
        other => other.trim_matches('_'),
    }
}

/// A type of the crate's, in words.
fn kind(name: &str) -> &str {
    match name {
        "int" | "uint" => "a whole number",
        "double" | "float" => "a number with a fraction",
        "string" => "a text",
        "bool" => "true or false",
        "list" => "a list",
        "map" => "a map",
        "null" | "null_type" => NOTHING,
        _ => "something else",
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, Vocabulary};

    #[test]
    fn why_a_text_is_no_expression_is_said_without_the_words_of_a_parser() {
        for (text, said) in [
            ("x.a >", "column 6: it ends where a value is expected"),
            ("x.a = 3", "column 5: two values are compared with `==`"),
            ("x.a === 3", "column 7: two values are compared with `==`"),
            ("(x.a", "column 5: a `)` is missing"),
            ("x.a[0", "a `]` is missing"),
            ("x.a and true", "column 5: \"and\" is written `&&`"),
            ("x.a == 'éé' and true", "\"and\" is written `&&`"),
            ("x.a & true", "\"and\" is written `&&`"),
            ("x.a | true", "\"or\" is written `||`"),
            ("x.a == 'y", "column 8: a text has no end"),
            ("x.a > 3)", "column 8: `)` does not stand here"),
            ("", "it is empty"),
            ("x y", "column 3: `y` does not stand here: between two values"),
            ("x.a ? true", "a choice has two sides"),
            ("x.a.exists(1, true)", "a macro names its variable first"),
            ("x.a > 1,5", "a number has a point and no comma"),
            ("x.a > 1_000", "digits alone"),
            ("x.# > 1", "`#` means nothing here"),
            ("has(x)", "`has` asks for a member"),
            ("x.a > 99999999999999999999", "the number is too large"),
            ("x.a == 'é' &&\n  x.b >", "it ends where a value is expected"),
        ] {
            let (_, error) = Expression::read(text, &Vocabulary::of(&["x"])).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
            let is_dump = |word: &str| error.contains(word);
            assert!(!["EOF", "IDENTIFIER", "Syntax", "token", "literal"].into_iter().any(is_dump));
        }
    }
}
