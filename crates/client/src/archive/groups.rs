//! Groups in an archive: their secrets, and their chains from the first operation on. A chain verifies from its own
//! bytes, so what an archive says of a group is checked like what a server says.

use super::records::Record;
use crate::{
    groups,
    store::{Stored, group_secrets, groups as chains},
};
use rusqlite::Connection;
use types::AccountId;

/// Writes every group that this device knows, and then which devices are known to be gone.
pub(crate) fn export(db: &Connection, mut write: impl FnMut(Record)) -> Stored<()> {
    for group in chains::joined(db)? {
        if let (Some(secret), Some(state)) = (group_secrets::get(db, group)?, chains::state(db, group)?) {
            write(Record::Group { group, secret, link: groups::known_link(db, &state)? });
        }
        for epoch in 0..=chains::epoch(db, group)?.unwrap_or(0) {
            let Some(operation) = chains::operation_at(db, group, epoch)? else { break };
            write(Record::GroupOperation { group, operation });
        }
    }
    for (account, device_key) in chains::removed_devices(db)? {
        write(Record::RemovedDevice { account, device_key });
    }
    Ok(())
}

/// Takes in what opens a group, the next operation of its chain, or a device whose word does not count any more.
pub(crate) fn import(db: &Connection, me: AccountId, record: &Record) -> Stored<()> {
    match record {
        Record::Group { group, secret, link } => groups::adopt_secrets(db, *group, secret, link.as_ref()),
        Record::GroupOperation { operation, .. } => groups::adopt_operation(db, me, operation),
        Record::RemovedDevice { account, device_key } => chains::note_removed(db, *account, device_key),
        _ => Ok(()),
    }
}
