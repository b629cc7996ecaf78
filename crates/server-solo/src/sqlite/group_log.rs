//! The chains of groups, and who is a member by them.

use super::{SqliteDirectory, columns};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use server_ports::{
    GroupLog, StoreError,
    group_log::{AppendOperation, AppendOutcome, GroupHead, Membership, OperationId, StoredOperation},
};
use types::{AccountId, DeviceAddress, GroupId};

#[async_trait::async_trait]
impl GroupLog for SqliteDirectory {
    async fn append(&self, operation: AppendOperation) -> Result<AppendOutcome, StoreError> {
        self.write(move |transaction, _| append(transaction, &operation)).await
    }

    async fn head(&self, group: GroupId) -> Result<Option<GroupHead>, StoreError> {
        self.read(move |connection| head(connection, group)).await
    }

    async fn operations(
        &self,
        group: GroupId,
        from_epoch: u64,
        limit: usize,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        self.read(move |connection| operations(connection, group, from_epoch, limit)).await
    }

    async fn find_operation(
        &self,
        group: GroupId,
        operation_id: OperationId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.read(move |connection| find(connection, group, operation_id)).await
    }

    async fn membership(&self, group: GroupId, account: AccountId) -> Result<Option<Membership>, StoreError> {
        self.read(move |connection| membership(connection, group, account)).await
    }

    async fn groups_of(&self, account: AccountId) -> Result<Vec<GroupId>, StoreError> {
        self.read(move |connection| groups_of(connection, account)).await
    }

    async fn in_one_group(&self, one: AccountId, other: AccountId) -> Result<bool, StoreError> {
        self.read(move |connection| in_one_group(connection, one, other)).await
    }

    async fn undelivered(&self, limit: usize) -> Result<Vec<(GroupId, StoredOperation)>, StoreError> {
        self.read(move |connection| undelivered(connection, limit)).await
    }

    async fn delivered(&self, group: GroupId, epoch: u64) -> Result<(), StoreError> {
        self.write(move |transaction, _| {
            let sql = "UPDATE group_operations SET delivered = 1
                       WHERE group_id = ? AND epoch = ? AND delivered = 0";
            let key = params![group.as_bytes(), columns::integer(epoch)];
            transaction.prepare_cached(sql)?.execute(key).map(drop)
        })
        .await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.poison.check()
    }
}

/// What is read of an operation, after its group.
const OPERATION: &str =
    "epoch, hash, operation_id, actor, actor_device, actor_registration, stamp, bytes FROM group_operations";

/// The columns of [`OPERATION`], the first of which is at `first`.
fn read_operation(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredOperation> {
    let actor = DeviceAddress::new(columns::account(row, first + 3)?, columns::device(row, first + 4)?);
    Ok(StoredOperation {
        epoch: columns::unsigned(row, first)?,
        hash: row.get(first + 1)?,
        operation_id: row.get(first + 2)?,
        actor: actor.mailbox(columns::registration(row, first + 5)?),
        stamp: columns::stamp(row, first + 6)?,
        bytes: columns::bytes(row, first + 7)?,
    })
}

/// SQLite reads a negative limit as none.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn head(connection: &Connection, group: GroupId) -> rusqlite::Result<Option<GroupHead>> {
    let sql = "SELECT epoch, hash, stamp, delivered FROM group_operations
               WHERE group_id = ? ORDER BY epoch DESC LIMIT 1";
    let read = |row: &Row<'_>| {
        Ok(GroupHead {
            epoch: columns::unsigned(row, 0)?,
            head: row.get(1)?,
            stamp: columns::stamp(row, 2)?,
            delivered: row.get(3)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([group.as_bytes()], read).optional()
}

fn operations(
    connection: &Connection,
    group: GroupId,
    from_epoch: u64,
    limit: usize,
) -> rusqlite::Result<Vec<StoredOperation>> {
    let sql = format!("SELECT {OPERATION} WHERE group_id = ? AND epoch >= ? ORDER BY epoch LIMIT ?");
    // Epochs are counted up from 0, so none is ever above what the column can order.
    let Ok(from_epoch) = i64::try_from(from_epoch) else { return Ok(Vec::new()) };
    let key = params![group.as_bytes(), from_epoch, rows(limit)];
    connection.prepare_cached(&sql)?.query_map(key, |row| read_operation(row, 0))?.collect()
}

fn find(
    connection: &Connection,
    group: GroupId,
    operation_id: OperationId,
) -> rusqlite::Result<Option<StoredOperation>> {
    let sql = format!("SELECT {OPERATION} WHERE group_id = ? AND operation_id = ?");
    let key = params![group.as_bytes(), operation_id];
    connection.prepare_cached(&sql)?.query_row(key, |row| read_operation(row, 0)).optional()
}

fn append(connection: &Connection, new: &AppendOperation) -> rusqlite::Result<AppendOutcome> {
    if let Some(known) = find(connection, new.group, new.operation_id)? {
        return Ok(AppendOutcome::Repeat { epoch: known.epoch, stamp: known.stamp });
    }
    let epoch = match (head(connection, new.group)?, new.expected) {
        (Some(head), Some(expected)) if head.head == expected && new.stamp > head.stamp => head.epoch + 1,
        (Some(head), _) => return Ok(AppendOutcome::Moved(head)),
        (None, None) => 0,
        (None, Some(_)) => return Ok(AppendOutcome::NoGroup),
    };
    let sql = "INSERT INTO group_operations (group_id, epoch, operation_id, hash, actor, actor_device,
               actor_registration, stamp, delivered, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)";
    connection.prepare_cached(sql)?.execute(params![
        new.group.as_bytes(),
        columns::integer(epoch),
        new.operation_id,
        new.hash,
        new.actor.account.as_bytes(),
        new.actor.device.get(),
        new.actor.registration.get(),
        new.stamp.to_bytes(),
        &new.bytes[..],
    ])?;
    change_members(connection, new, epoch)?;
    Ok(AppendOutcome::Appended { epoch })
}

fn change_members(connection: &Connection, new: &AppendOperation, epoch: u64) -> rusqlite::Result<()> {
    let (group, epoch) = (new.group.as_bytes(), columns::integer(epoch));
    let join = "INSERT INTO group_members VALUES (?, ?, ?, NULL)
                ON CONFLICT DO UPDATE SET since = excluded.since, until = NULL";
    let mut join = connection.prepare_cached(join)?;
    for account in &new.joined {
        join.execute(params![group, account.as_bytes(), epoch])?;
    }
    let leave = "UPDATE group_members SET until = ? WHERE group_id = ? AND account = ?";
    let mut leave = connection.prepare_cached(leave)?;
    for account in &new.left {
        leave.execute(params![epoch, group, account.as_bytes()])?;
    }
    Ok(())
}

fn membership(
    connection: &Connection,
    group: GroupId,
    account: AccountId,
) -> rusqlite::Result<Option<Membership>> {
    let sql = "SELECT since, until FROM group_members WHERE group_id = ? AND account = ?";
    let read = |row: &Row<'_>| {
        let until: Option<i64> = row.get(1)?;
        Ok(Membership { since: columns::unsigned(row, 0)?, until: until.map(|epoch| epoch as u64) })
    };
    connection.prepare_cached(sql)?.query_row([group.as_bytes(), account.as_bytes()], read).optional()
}

fn groups_of(connection: &Connection, account: AccountId) -> rusqlite::Result<Vec<GroupId>> {
    let sql = "SELECT group_id FROM group_members WHERE account = ? AND until IS NULL ORDER BY group_id";
    let read = |row: &Row<'_>| row.get(0).map(GroupId::from_bytes);
    connection.prepare_cached(sql)?.query_map([account.as_bytes()], read)?.collect()
}

fn in_one_group(connection: &Connection, one: AccountId, other: AccountId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM group_members mine JOIN group_members theirs
                   ON theirs.group_id = mine.group_id AND theirs.account = ? AND theirs.until IS NULL
               WHERE mine.account = ? AND mine.until IS NULL)";
    let accounts = [other.as_bytes(), one.as_bytes()];
    connection.prepare_cached(sql)?.query_row(accounts, |row| row.get(0))
}

fn undelivered(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(GroupId, StoredOperation)>> {
    let sql = format!("SELECT group_id, {OPERATION} WHERE delivered = 0 ORDER BY group_id, epoch LIMIT ?");
    let read = |row: &Row<'_>| Ok((GroupId::from_bytes(row.get(0)?), read_operation(row, 1)?));
    connection.prepare_cached(&sql)?.query_map([rows(limit)], read)?.collect()
}
