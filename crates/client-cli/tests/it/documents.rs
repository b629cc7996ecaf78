//! docs/exit-codes.md says what the program does.

use client_cli::failure::Reason;
use std::{collections::BTreeMap, fs};

#[test]
fn the_table_of_codes_is_the_programs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md");
    let text = fs::read_to_string(path).unwrap();
    let documented: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let code = cells.next()?.trim().trim_matches('`');
            Some((code, cells.next()?.trim()))
        })
        .collect();
    let exits: Vec<(&str, String)> =
        Reason::ALL.iter().map(|reason| (reason.name(), u8::from(reason.exit()).to_string())).collect();
    let programmed: BTreeMap<&str, &str> = exits.iter().map(|(name, exit)| (*name, exit.as_str())).collect();
    assert_eq!(documented, programmed);
}
