//! Groups in an archive: their secrets, and their chains from the first operation on. A chain verifies from its own
//! bytes, so what an archive says of a group is checked like what a server says.

use super::records::Record;
use crate::{
    groups,
    store::{Stored, groups as chains},
};
use rusqlite::Connection;
use seal::GroupSecret;
use types::AccountId;

/// Writes every group that this device knows.
pub(crate) fn export(db: &Connection, mut write: impl FnMut(Record)) -> Stored<()> {
    for (group, secret) in groups::known(db)? {
        if let Some(secret) = secret {
            write(Record::Group { group, secret: *secret.as_bytes() });
        }
        for epoch in 0..=chains::epoch(db, group)?.unwrap_or(0) {
            let Some(operation) = chains::operation_at(db, group, epoch)? else { break };
            write(Record::GroupOperation { group, operation });
        }
    }
    Ok(())
}

/// Takes in a group's secret, or the next operation of its chain.
pub(crate) fn import(db: &Connection, me: AccountId, record: &Record) -> Stored<()> {
    match record {
        Record::Group { group, secret } => match GroupSecret::from_slice(secret) {
            Ok(secret) => groups::adopt_secret(db, *group, &secret),
            Err(_) => Ok(()),
        },
        Record::GroupOperation { operation, .. } => groups::adopt_operation(db, me, operation),
        _ => Ok(()),
    }
}
