//! Full-text search with plain words.

use crate::{
    Fault, MessageView,
    reading::{self, COLUMNS, JOINED},
};
use rusqlite::{Connection, params};
use types::Timestamp;

/// Messages that contain every word, or a word that begins with it; newest first, queued ones before all.
pub(crate) fn search(
    db: &Connection,
    words: &str,
    limit: u32,
    server_now: Timestamp,
) -> Result<Vec<MessageView>, Fault> {
    let Some(query) = query_of(words) else { return Ok(Vec::new()) };
    let order = "message.stamp IS NULL DESC, message.stamp DESC, message.seq DESC";
    let sql = format!(
        "SELECT {COLUMNS} FROM {JOINED}
         WHERE message.seq IN (SELECT rowid FROM message_text WHERE message_text MATCH ?1) ORDER BY {order} LIMIT ?2"
    );
    reading::select(db, &sql, params![query, limit], server_now)
}

/// The words as the index's query language says "all of these, literally": each one quoted, so that operators,
/// column names and brackets in them are text. None if there is no letter or digit to look for.
fn query_of(words: &str) -> Option<String> {
    let quoted: Vec<String> = words
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        // The index knows no zero byte, and ends its query there.
        .map(|word| format!("\"{}\"*", word.replace('"', "\"\"").replace('\0', " ")))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}
