//! Reads public constants from Rust source: products of numbers, other constants, and `Millis::from_...` of those.

use std::collections::BTreeMap;

use super::Value;

/// The public constants in the order of the source, each with its value or why it has none.
pub(super) fn constants(source: &str) -> Vec<(String, Result<Value, String>)> {
    let code: String = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut known = BTreeMap::new();
    let mut found = Vec::new();
    for statement in code.split("pub const ").skip(1).filter(|statement| !statement.starts_with("fn ")) {
        let Some((head, rest)) = statement.split_once('=') else { continue };
        let name = head.split(':').next().unwrap_or_default().trim().to_owned();
        let expression = rest.split(';').next().unwrap_or_default();
        let value = evaluate(expression.trim(), &known);
        if let Ok(value) = &value {
            known.insert(name.clone(), *value);
        }
        found.push((name, value));
    }
    found
}

fn evaluate(expression: &str, known: &BTreeMap<String, Value>) -> Result<Value, String> {
    if let Some((unit, inner)) = time_constructor(expression) {
        let millis = match unit {
            "millis" => 1,
            "secs" => 1_000,
            "mins" => 60_000,
            "hours" => 3_600_000,
            "days" => 86_400_000,
            _ => return Err(format!("Millis::from_{unit} is unknown to this check")),
        };
        return Ok(Value::Millis(product(inner, known)? * millis));
    }
    match known.get(expression) {
        Some(value) => Ok(*value),
        None => product(expression, known).map(Value::Count),
    }
}

/// `Millis::from_days(30)` as (`days`, `30`).
fn time_constructor(expression: &str) -> Option<(&str, &str)> {
    expression.strip_prefix("Millis::from_")?.strip_suffix(')')?.split_once('(')
}

fn product(expression: &str, known: &BTreeMap<String, Value>) -> Result<u64, String> {
    let mut product = 1_u64;
    for factor in expression.split('*').map(str::trim) {
        let number = match known.get(factor) {
            Some(Value::Count(count)) => *count,
            Some(Value::Millis(_)) => return Err(format!("{factor} is a time inside a product")),
            None => factor.replace('_', "").parse().map_err(|_| format!("`{factor}` is not a number"))?,
        };
        product = product.checked_mul(number).ok_or("the product is too large")?;
    }
    Ok(product)
}
