//! Looks into a mailbox file from outside: every number that is kept beside the rows must be theirs.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const MAILBOXES: TableDefinition<'_, &[u8; 19], (u64, u64, u64, u64, u32)> =
    TableDefinition::new("mailboxes");
const ROWS: TableDefinition<'_, &[u8; 27], &[u8]> = TableDefinition::new("rows");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const BODY_USERS: TableDefinition<'_, u64, u32> = TableDefinition::new("body_users");
const DAYS: TableDefinition<'_, &[u8; 23], ()> = TableDefinition::new("days");
const SENDS: TableDefinition<'_, &[u8; 35], &[u8]> = TableDefinition::new("sends");
const SENDERS: TableDefinition<'_, &[u8; 19], (u64, u64)> = TableDefinition::new("senders");
/// Sends remembered for a device.
const RECORDED: u64 = types::limits::SENDS_RECORDED_MAX as u64;

/// Panics unless counters, shared bodies, days and records fit the rows. The file must not be open.
pub fn mailboxes(path: &Path) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let (mut counted, mut users) = (BTreeMap::<[u8; 19], (u64, u64)>::new(), BTreeMap::<u64, u32>::new());
    let days: BTreeSet<[u8; 23]> = keys(transaction.open_table(DAYS).unwrap().iter().unwrap());
    let bodies = transaction.open_table(BODIES).unwrap();
    for entry in transaction.open_table(ROWS).unwrap().iter().unwrap() {
        let (key, value) = entry.unwrap();
        let (mailbox, value) = (*key.value().first_chunk::<19>().unwrap(), value.value());
        let expires_at = u64::from_le_bytes(value[..8].try_into().unwrap());
        let body = u64::from_le_bytes(value[8..16].try_into().unwrap());
        let size = u32::from_le_bytes(value[16..20].try_into().unwrap());
        let mut length = value.len() - 20;
        if body != 0 {
            *users.entry(body).or_default() += 1;
            length +=
                ReadableTable::get(&bodies, body).unwrap().expect("a row's body is there").value().len();
        }
        assert_eq!(length, size as usize, "a row knows its size");
        let of_mailbox = counted.entry(mailbox).or_default();
        *of_mailbox = (of_mailbox.0 + 1, of_mailbox.1 + u64::from(size));
        let mut day = [0; 23];
        day[..4].copy_from_slice(&u32::try_from(expires_at / 86_400_000).unwrap().to_be_bytes());
        day[4..].copy_from_slice(&mailbox);
        assert!(days.contains(&day), "a row that will never expire");
    }
    let mut open = BTreeSet::new();
    for entry in transaction.open_table(MAILBOXES).unwrap().iter().unwrap() {
        let (mailbox, state) = entry.unwrap();
        let (start, last, rows, bytes, _) = state.value();
        open.insert(*mailbox.value());
        let counted = counted.remove(mailbox.value()).unwrap_or_default();
        assert_eq!((rows, bytes), counted, "counters are exact");
        assert!(last - start >= rows);
    }
    assert_eq!(counted, BTreeMap::new(), "rows of closed mailboxes");
    assert!(days.iter().all(|day| open.contains(&day[4..])), "days of closed mailboxes");
    let stored = transaction.open_table(BODY_USERS).unwrap();
    let stored: BTreeMap<u64, u32> = stored
        .iter()
        .unwrap()
        .map(|entry| entry.map(|(body, users)| (body.value(), users.value())).unwrap())
        .collect();
    assert_eq!(stored, users, "bodies are counted exactly");
    let kept: BTreeSet<u64> = bodies.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect();
    assert_eq!(kept, users.into_keys().collect(), "a body without rows");
    let mut numbers = BTreeMap::<[u8; 19], BTreeSet<u64>>::new();
    for entry in transaction.open_table(SENDS).unwrap().iter().unwrap() {
        let (key, send) = entry.unwrap();
        let number = u64::from_le_bytes(*send.value().first_chunk().unwrap());
        let of_sender = numbers.entry(*key.value().first_chunk().unwrap()).or_default();
        assert!(of_sender.insert(number), "two sends of one number");
    }
    for entry in transaction.open_table(SENDERS).unwrap().iter().unwrap() {
        let (sender, state) = entry.unwrap();
        let (last, deleted) = state.value();
        let numbers = numbers.remove(sender.value()).unwrap_or_default();
        assert!(numbers.iter().all(|number| (deleted + 1..=last).contains(number)), "records of nobody");
        let remembered = last.saturating_sub(RECORDED) + 1..=last;
        assert!(remembered.into_iter().all(|number| numbers.contains(&number)), "a record is missing");
        assert!(last - deleted < RECORDED + 200, "records that are never deleted");
    }
    assert_eq!(numbers, BTreeMap::new(), "records of closed mailboxes");
}

fn keys<const N: usize, V: redb::Value + 'static>(
    entries: redb::Range<'_, &'static [u8; N], V>,
) -> BTreeSet<[u8; N]> {
    entries.map(|entry| *entry.unwrap().0.value()).collect()
}
