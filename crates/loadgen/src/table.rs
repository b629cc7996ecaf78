//! Figures of several runs, as one table: medians, with the least and the greatest.

use crate::report::Report;

/// A row of the table: what it says, which figure of which scenario, and how many decimals it has.
type Row = (&'static str, &'static str, &'static str, usize);

const ROWS: &[Row] = &[
    ("durable 1:1 messages a second", "throughput", "messages_per_second", 0),
    ("- server CPU a message, us", "throughput", "server_cpu_us_per_message", 1),
    ("- server cores used", "throughput", "server_cores", 2),
    ("- generator cores used", "throughput", "generator_cores", 2),
    ("- sent to accepted under that load, p50 ms", "throughput", "accepted_p50_ms", 2),
    ("sent to received at the fixed rate, p50 ms", "latency", "delivered_p50_ms", 2),
    ("- p99 ms", "latency", "delivered_p99_ms", 2),
    ("- longest ms", "latency", "delivered_max_ms", 2),
    ("- sent to accepted, p50 ms", "latency", "accepted_p50_ms", 2),
    ("- server CPU a message, us", "latency", "server_cpu_us_per_message", 1),
    ("server memory of an idle TLS connection, bytes", "idle", "resident_bytes_per_connection", 0),
    ("- kernel memory of it, both ends, bytes", "idle", "kernel_bytes_per_connection_both_ends", 0),
    ("- server memory before, MB", "idle", "resident_before_mb", 1),
    ("- login over TLS, server CPU us", "idle", "login_cpu_us", 0),
    ("drain of one full mailbox, ms", "drain", "drained_ms", 1),
    ("- server CPU a row, us", "drain", "server_cpu_us_per_message", 1),
    ("one message to a group, until the last of its members has it, ms", "group", "last_receive_p50_ms", 1),
    ("- longest ms", "group", "last_receive_max_ms", 1),
    ("- sent to accepted, ms", "group", "accepted_p50_ms", 1),
    ("- server CPU a row, us", "group", "server_cpu_us_per_message", 1),
    ("a new sender key for every device of a group, client CPU s", "rotation", "cpu_s", 2),
    ("- seconds on the clock", "rotation", "seconds", 2),
    ("- sent by the client, MB", "rotation", "megabytes", 2),
    ("- a message under a key that everybody has, client CPU s", "rotation", "send_cpu_s", 2),
    ("- the group's creation and first message, client CPU s", "rotation", "create_cpu_s", 2),
    ("- seconds on the clock", "rotation", "create_s", 2),
    ("history on a linked device, s", "history", "seconds", 2),
    ("- until the primary had handed it over, s", "history", "handed_over_s", 2),
    ("- CPU of both devices, s", "history", "both_cpu_s", 2),
    ("messages accepted before kill -9", "durability", "accepted_before_kill", 0),
    ("- of these lost", "durability", "lost", 0),
    ("- delivered twice in one drain", "durability", "twice", 0),
];

/// The table in Markdown.
pub(crate) fn markdown(reports: &[Report]) -> String {
    let mut lines =
        vec!["| figure | median | least | greatest | runs |".to_owned(), "|---|---|---|---|---|".to_owned()];
    for (title, scenario, figure, decimals) in ROWS {
        let valid = reports.iter().filter(|report| report.scenario() == *scenario && report.is_valid());
        let mut numbers: Vec<f64> = valid.filter_map(|report| report.number(figure)).collect();
        numbers.sort_by(f64::total_cmp);
        if let (Some(least), Some(greatest)) = (numbers.first(), numbers.last()) {
            let (median, runs) = (median(&numbers), numbers.len());
            lines.push(format!(
                "| {title} | {median:.decimals$} | {least:.decimals$} | {greatest:.decimals$} | {runs} |"
            ));
        }
    }
    let void = reports.iter().filter(|report| !report.is_valid()).count();
    if void > 0 {
        lines.push(format!("\n{void} more runs are void: their generator was busier than 80% of its core."));
    }
    lines.join("\n") + "\n"
}

fn median(sorted: &[f64]) -> f64 {
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drain(ms: f64, valid: bool) -> Report {
        Report::new("drain").figure("drained_ms", ms).figure("valid", valid)
    }

    #[test]
    fn medians_are_of_valid_runs_and_void_ones_are_counted() {
        let table = markdown(&[drain(5.0, true), drain(1.0, true), drain(2.0, true), drain(900.0, false)]);
        assert!(table.contains("| drain of one full mailbox, ms | 2.0 | 1.0 | 5.0 | 3 |"), "{table}");
        assert!(table.ends_with("1 more runs are void: their generator was busier than 80% of its core.\n"));
        assert!(markdown(&[drain(1.0, true), drain(2.0, true)]).contains("| 1.5 | 1.0 | 2.0 | 2 |"));
    }
}
