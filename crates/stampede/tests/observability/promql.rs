//! What an expression asks for: which series, and which values it compares.

use std::convert::Infallible;

use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};

/// A selector of an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// The metric.
    pub name: String,
    /// The whole selector, without range and offset.
    pub text: String,
    /// The same, for any value of the labels that it names.
    pub any_value: String,
}

struct Selectors(Vec<Selector>);

impl ExprVisitor for Selectors {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        let selector = match expr {
            Expr::VectorSelector(selector) => selector,
            Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(true),
        };
        let name = selector.name.clone().unwrap_or_else(|| panic!("{selector} names its metric"));
        let labels: Vec<String> =
            selector.matchers.matchers.iter().map(|matcher| format!("{}!=\"\"", matcher.name)).collect();
        let text = format!("{name}{{{}}}", selector.matchers);
        self.0.push(Selector { any_value: format!("{name}{{{}}}", labels.join(",")), name, text });
        Ok(true)
    }
}

/// Every selector of an expression.
pub fn selectors(expr: &str) -> Vec<Selector> {
    let mut found = Selectors(Vec::new());
    let Ok(_) = walk_expr(&mut found, &parse(expr));
    found.0
}

/// The expressions whose values decide: both sides of each comparison and of each `and`, `or` and `unless`.
///
/// An alert's expression is empty while all is well. These are not.
pub fn compared(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    gather(&parse(expr), &mut found);
    found
}

fn gather(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Paren(inner) => gather(&inner.expr, found),
        Expr::Binary(binary) if binary.op.is_comparison_operator() || binary.op.is_set_operator() => {
            gather(&binary.lhs, found);
            gather(&binary.rhs, found);
        }
        Expr::Call(call) if call.func.name == "absent" => call.args.args.iter().for_each(|inner| gather(inner, found)),
        Expr::NumberLiteral(_) => {}
        other => found.push(other.to_string()),
    }
}

fn parse(expr: &str) -> Expr {
    parser::parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"))
}

#[test]
fn selectors_are_found_wherever_they_stand() {
    let expr =
        "sum by (a) (rate(x_total{b=\"c\"}[5m])) / on () group_left () max(y) > 0.5 or absent(z{d=~\"e|f\"} == 1)";
    let found: Vec<(String, String)> = selectors(expr).into_iter().map(|found| (found.name, found.any_value)).collect();
    let expected = [("x_total", "x_total{b!=\"\"}"), ("y", "y{}"), ("z", "z{d!=\"\"}")];
    assert_eq!(found, expected.map(|(name, any)| (name.to_owned(), any.to_owned())));
    assert_eq!(compared(expr).len(), 2);
    assert_eq!(compared(expr)[1], "z{d=~\"e|f\"}");
}
