//! Reads rows of limits from Markdown tables.

use std::collections::BTreeMap;

use super::Value;

/// The rows of every table that has at least one known limit, by name, each with its value or why it has none.
pub(super) fn rows(
    markdown: &str,
    is_limit: impl Fn(&str) -> bool,
) -> BTreeMap<String, Result<Value, String>> {
    let mut found = BTreeMap::new();
    for table in tables(markdown) {
        let rows: Vec<(&str, &str)> = table.iter().filter_map(|line| row(line)).collect();
        if rows.iter().any(|(name, _)| is_limit(name)) {
            found.extend(rows.into_iter().map(|(name, value)| (name.to_owned(), parse(value))));
        }
    }
    found
}

/// Runs of lines that begin with a bar.
fn tables(markdown: &str) -> Vec<Vec<&str>> {
    let mut tables = vec![Vec::new()];
    for line in markdown.lines().map(str::trim) {
        if line.starts_with('|') {
            tables.last_mut().expect("it is never empty").push(line);
        } else {
            tables.push(Vec::new());
        }
    }
    tables
}

/// The name and the value of ``| `NAME` | value |``; no other row has a name like a constant's.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    let is_constant = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_constant.then_some((name, cells.next()?))
}

/// A number, perhaps with thousands in groups, and the unit that follows it.
fn parse(cell: &str) -> Result<Value, String> {
    let cell = cell.replace('`', "");
    let end = cell.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '_').unwrap_or(cell.len());
    let (digits, rest) = cell.split_at(end);
    let number: u64 = digits
        .replace([',', '_'], "")
        .parse()
        .map_err(|_| format!("the value `{cell}` does not begin with a number"))?;
    let unit: String = rest.trim_start().chars().take_while(|c| c.is_ascii_alphabetic()).collect();
    let (factor, is_time) = match unit.as_str() {
        "ms" => (1, true),
        "s" | "second" | "seconds" => (1_000, true),
        "min" | "minute" | "minutes" => (60_000, true),
        "h" | "hour" | "hours" => (3_600_000, true),
        "d" | "day" | "days" => (86_400_000, true),
        "KiB" => (1 << 10, false),
        "MiB" => (1 << 20, false),
        "GiB" => (1 << 30, false),
        // A noun that is counted: rows, bytes, members.
        _ => (1, false),
    };
    let amount = number.checked_mul(factor).ok_or_else(|| format!("the value `{cell}` is too large"))?;
    Ok(if is_time { Value::Millis(amount) } else { Value::Count(amount) })
}
