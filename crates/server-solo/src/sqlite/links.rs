//! Links.

use super::{SqliteDirectory, columns};
use bytes::Bytes;
use rusqlite::{
    Connection, OptionalExtension as _, Row, params,
    types::{FromSqlError, Type},
};
use server_ports::{
    StoreError,
    directory::{
        AnswerLink, CompleteLink, CreateLinkOutcome, InviteLink, Link, LinkOutcome, LinkState, Links, NewLink,
    },
};
use types::{AccountId, DeviceAddress, LinkId, MailboxId, Timestamp};
use wire::KeyUpload;

#[async_trait::async_trait]
impl Links for SqliteDirectory {
    async fn create_link(&self, link: NewLink) -> Result<CreateLinkOutcome, StoreError> {
        self.write(move |transaction, _| create(transaction, &link)).await
    }

    async fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError> {
        self.read(move |connection| link(connection, id)).await
    }

    async fn invite(&self, invite: InviteLink) -> Result<LinkOutcome, StoreError> {
        self.write(move |transaction, _| invite_link(transaction, &invite)).await
    }

    async fn answer_link(&self, answer: AnswerLink) -> Result<LinkOutcome, StoreError> {
        self.write(move |transaction, _| answer_link(transaction, &answer)).await
    }

    async fn refuse_link(
        &self,
        id: LinkId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<LinkOutcome, StoreError> {
        self.write(move |transaction, _| refuse(transaction, id, account, now)).await
    }

    async fn expire_links(&self, ended: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction, _| {
            let mut delete = transaction.prepare_cached("DELETE FROM links WHERE expires_at <= ?")?;
            Ok(delete.execute([columns::millis(ended)])? as u64)
        })
        .await
    }
}

/// What a link gives to the device that it becomes.
pub(super) struct Linked {
    pub(super) token_hash: [u8; 32],
    pub(super) keys: KeyUpload,
}

const fn phase_number(phase: LinkState) -> u8 {
    match phase {
        LinkState::Waiting => 1,
        LinkState::Invited => 2,
        LinkState::Answered => 3,
        LinkState::Linked => 4,
        // A link that expired stays in the phase in which it did.
        LinkState::Refused | LinkState::Expired => 5,
    }
}

fn read_phase(row: &Row<'_>, at: usize) -> rusqlite::Result<LinkState> {
    match row.get::<_, u8>(at)? {
        1 => Ok(LinkState::Waiting),
        2 => Ok(LinkState::Invited),
        3 => Ok(LinkState::Answered),
        4 => Ok(LinkState::Linked),
        5 => Ok(LinkState::Refused),
        other => Err(FromSqlError::OutOfRange(other.into()).into()),
    }
}

fn link(connection: &Connection, id: LinkId) -> rusqlite::Result<Option<Link>> {
    let sql = "SELECT token_hash, offer, phase, inviter, invitation, answer, completion,
                      device, registration, expires_at FROM links WHERE id = ?";
    let read = |row: &Row<'_>| {
        let inviter = row.get::<_, Option<[u8; 16]>>(3)?.map(AccountId::from_bytes);
        Ok(Link {
            token_hash: row.get(0)?,
            offer: columns::bytes(row, 1)?,
            phase: read_phase(row, 2)?,
            inviter,
            invitation: optional_bytes(row, 4)?,
            answer: optional_bytes(row, 5)?,
            completion: optional_bytes(row, 6)?,
            device: linked_device(row, inviter)?,
            expires_at: columns::time(row, 9)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], read).optional()
}

fn optional_bytes(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Bytes>> {
    Ok(row.get::<_, Option<Vec<u8>>>(at)?.map(Bytes::from))
}

/// The device belongs to the account that invited it.
fn linked_device(row: &Row<'_>, inviter: Option<AccountId>) -> rusqlite::Result<Option<MailboxId>> {
    let (Some(account), Some(_)) = (inviter, row.get::<_, Option<u32>>(7)?) else { return Ok(None) };
    let address = DeviceAddress::new(account, columns::device(row, 7)?);
    Ok(Some(address.mailbox(columns::registration(row, 8)?)))
}

fn keys(connection: &Connection, id: LinkId) -> rusqlite::Result<KeyUpload> {
    let sql = "SELECT keys FROM links WHERE id = ?";
    let bytes = connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| columns::bytes(row, 0))?;
    KeyUpload::decode(bytes)
        .map_err(|damage| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(damage)))
}

fn create(connection: &Connection, new: &NewLink) -> rusqlite::Result<CreateLinkOutcome> {
    if let Some(stored) = link(connection, new.id)? {
        let same = stored.token_hash == new.token_hash && stored.offer == new.offer;
        return Ok(match same && keys(connection, new.id)? == new.keys {
            true => CreateLinkOutcome::Repeat { expires_at: stored.expires_at },
            false => CreateLinkOutcome::Exists,
        });
    }
    let sql = "INSERT INTO links (id, token_hash, offer, keys, phase, expires_at) VALUES (?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        new.id.as_bytes(),
        new.token_hash,
        &new.offer[..],
        &new.keys.encode()[..],
        phase_number(LinkState::Waiting),
        columns::millis(new.expires_at),
    ])?;
    Ok(CreateLinkOutcome::Created)
}

fn invite_link(connection: &Connection, invite: &InviteLink) -> rusqlite::Result<LinkOutcome> {
    let Some(stored) = link(connection, invite.id)? else { return Ok(LinkOutcome::Unavailable) };
    let invited_so =
        stored.inviter == Some(invite.account) && stored.invitation.as_ref() == Some(&invite.invitation);
    match stored.state(invite.now) {
        LinkState::Waiting => {}
        LinkState::Invited | LinkState::Answered | LinkState::Linked if invited_so => {
            return Ok(LinkOutcome::Repeat);
        }
        _ => return Ok(LinkOutcome::Unavailable),
    }
    let sql = "UPDATE links SET phase = ?, inviter = ?, invitation = ?, expires_at = ? WHERE id = ?";
    connection.prepare_cached(sql)?.execute(params![
        phase_number(LinkState::Invited),
        invite.account.as_bytes(),
        &invite.invitation[..],
        columns::millis(invite.expires_at),
        invite.id.as_bytes(),
    ])?;
    Ok(LinkOutcome::Done)
}

fn answer_link(connection: &Connection, answer: &AnswerLink) -> rusqlite::Result<LinkOutcome> {
    let stored = link(connection, answer.id)?.filter(|stored| stored.token_hash == answer.token_hash);
    let Some(stored) = stored else { return Ok(LinkOutcome::Unavailable) };
    let answered_so = stored.answer.as_ref() == Some(&answer.answer);
    match stored.state(answer.now) {
        LinkState::Invited => {}
        LinkState::Answered | LinkState::Linked if answered_so => return Ok(LinkOutcome::Repeat),
        _ => return Ok(LinkOutcome::Unavailable),
    }
    let sql = "UPDATE links SET phase = ?, answer = ? WHERE id = ?";
    let phase = phase_number(LinkState::Answered);
    connection.prepare_cached(sql)?.execute(params![phase, &answer.answer[..], answer.id.as_bytes()])?;
    Ok(LinkOutcome::Done)
}

fn refuse(
    connection: &Connection,
    id: LinkId,
    account: AccountId,
    now: Timestamp,
) -> rusqlite::Result<LinkOutcome> {
    let stored = link(connection, id)?;
    let stored = stored.filter(|stored| stored.inviter.is_none_or(|inviter| inviter == account));
    match stored.map(|stored| stored.state(now)) {
        Some(LinkState::Waiting | LinkState::Invited | LinkState::Answered) => {}
        Some(LinkState::Refused) => return Ok(LinkOutcome::Repeat),
        _ => return Ok(LinkOutcome::Unavailable),
    }
    let sql = "UPDATE links SET phase = ?, inviter = ? WHERE id = ?";
    let phase = phase_number(LinkState::Refused);
    connection.prepare_cached(sql)?.execute(params![phase, account.as_bytes(), id.as_bytes()])?;
    Ok(LinkOutcome::Done)
}

/// Completes a link that this account has and that was answered; `None` for any other.
pub(super) fn complete(
    connection: &Connection,
    account: AccountId,
    complete: &CompleteLink,
) -> rusqlite::Result<Option<Linked>> {
    let stored = link(connection, complete.id)?.filter(|stored| {
        stored.inviter == Some(account) && stored.state(complete.now) == LinkState::Answered
    });
    let Some(stored) = stored else { return Ok(None) };
    let keys = keys(connection, complete.id)?;
    let sql = "UPDATE links SET phase = ?, completion = ?, device = ?, registration = ?, expires_at = ?
               WHERE id = ?";
    connection.prepare_cached(sql)?.execute(params![
        phase_number(LinkState::Linked),
        &complete.completion[..],
        complete.device.device.get(),
        complete.device.registration.get(),
        columns::millis(complete.expires_at),
        complete.id.as_bytes(),
    ])?;
    Ok(Some(Linked { token_hash: stored.token_hash, keys }))
}
