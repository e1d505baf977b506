//! What the functions of an expression are given, where that stands there. Deliberately does not know what they do with it.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::{Expression, children};

impl Expression {
    /// Of each call of this function the text that it is given; `None` of one that is given something else, or not first.
    pub(crate) fn given(&self, function: &str) -> Vec<Option<&str>> {
        let mut found = Vec::new();
        given_in(self.program.expression(), function, &mut found);
        found
    }
}

fn given_in<'e>(expression: &'e IdedExpr, function: &str, found: &mut Vec<Option<&'e str>>) {
    if let Expr::Call(call) = &expression.expr
        && call.func_name == function
    {
        found.push(match (&call.target, &call.args[..]) {
            (None, [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }]) => {
                Some(text.inner())
            }
            _ => None,
        });
    }
    children(expression).into_iter().for_each(|it| given_in(it, function, found));
}
