//! What is shown of groups. Nothing here writes, and nothing needs a connection.

use super::{GroupInfo, InviteLink, MemberView, secrets::known_link};
use crate::{
    DeliveryState, Fault, RecipientView,
    status::{self, Progress},
    store::{Stored, contacts, group_changes, group_secrets, groups, messages::OwnMessage, profile},
};
use rusqlite::{Connection, params};
use seal::InviteSecret;
use signed::{GroupChange, SignedOperation, keys::LinkSecret};
use types::{AccountId, GroupId, Stamp, Timestamp, limits::ENVELOPE_LIFE};

/// A group that this account is or was a member of.
pub(crate) fn group(db: &Connection, group: GroupId) -> Stored<Option<GroupInfo>> {
    let Some(state) = groups::state(db, group)? else { return Ok(None) };
    let me = profile::account(db)?;
    let mut members = Vec::with_capacity(state.members().len());
    for (account, role) in state.members() {
        members.push(MemberView {
            account: *account,
            phone: phone_of(db, me, *account)?,
            role: (*role).into(),
            closed: contacts::is_closed(db, *account)?,
        });
    }
    Ok(Some(GroupInfo {
        group,
        name: groups::name(db, group)?,
        epoch: state.epoch(),
        i_am_member: state.members().contains_key(&me),
        members,
    }))
}

fn phone_of(db: &Connection, me: AccountId, account: AccountId) -> Stored<Option<types::PhoneNumber>> {
    if account == me {
        return Ok(profile::load(db)?.map(|me| me.phone));
    }
    contacts::phone_of(db, account)
}

/// All groups that this account is or was a member of, by id.
pub(crate) fn all(db: &Connection) -> Stored<Vec<GroupInfo>> {
    let rows = groups::joined(db)?;
    rows.into_iter().filter_map(|id| group(db, id).transpose()).collect()
}

/// The URL of the group's invite link, if there is one and this device knows it. While another one was asked for and
/// may be in force, nobody knows.
pub(crate) fn link(db: &Connection, group: GroupId) -> Stored<Option<String>> {
    if group_changes::unsettled_link(db, group)?.is_some() {
        return Ok(None);
    }
    let Some(state) = groups::state(db, group)? else { return Ok(None) };
    let (seed, secret) = (known_link(db, &state)?, group_secrets::get(db, group)?);
    let (Some(seed), Some(secret)) = (seed, secret) else { return Ok(None) };
    let Some(me) = profile::load(db)? else { return Ok(None) };
    let secret = InviteSecret { link: LinkSecret::from_bytes(seed.as_bytes()), group: secret };
    Ok(Some(InviteLink { origin: me.server, group, secret }.to_string()))
}

/// Whether the operation that led to this epoch names this account: it was added, removed, made an admin or a member.
pub(crate) fn names_me(db: &Connection, group: GroupId, epoch: u64) -> Stored<bool> {
    let operation = groups::operation_at(db, group, epoch)?;
    let Some(operation) = operation.and_then(|bytes| SignedOperation::verify(&bytes).ok()) else {
        return Ok(false);
    };
    let me = profile::account(db)?;
    Ok(match operation.change() {
        GroupChange::Add(named)
        | GroupChange::Remove(named)
        | GroupChange::Promote(named)
        | GroupChange::Demote(named) => named.contains(&me),
        _ => false,
    })
}

/// How far a message got at every other member: one entry an account, and the worst of those that are still there.
pub(crate) fn recipients(
    db: &Connection,
    message: &OwnMessage,
    group: GroupId,
    server_now: Timestamp,
) -> Result<(DeliveryState, Vec<RecipientView>), Fault> {
    let me = profile::account(db)?;
    let epoch = match crate::store::messages::group_epoch(db, message.seq)? {
        Some(epoch) => epoch,
        None => groups::state(db, group)?.map_or(0, |state| state.epoch()),
    };
    let failed = message.failure.is_some();
    let mut recipients = Vec::new();
    let mut worst: Option<DeliveryState> = None;
    for account in groups::members_at(db, group, epoch)? {
        if account == me {
            continue;
        }
        let progress = status::progress(db, message.seq, account)?;
        let state = status::state(message.stamp, failed, progress, server_now);
        recipients.push(RecipientView { account, state, at: reached_at(message.stamp, state, progress) });
        if !contacts::is_closed(db, account)? {
            worst = Some(worst.map_or(state, |worst| worst.min(state)));
        }
    }
    let alone = || status::state(message.stamp, failed, Progress::default(), server_now);
    Ok((worst.unwrap_or_else(alone), recipients))
}

/// When a recipient reached a state, by the server's clock.
pub(crate) fn reached_at(
    stamp: Option<Stamp>,
    state: DeliveryState,
    progress: Progress,
) -> Option<Timestamp> {
    match state {
        DeliveryState::Failed | DeliveryState::Queued => None,
        DeliveryState::Accepted => stamp.map(Stamp::time),
        DeliveryState::Expired => stamp.map(|stamp| stamp.time() + ENVELOPE_LIFE),
        DeliveryState::Delivered => progress.delivered_at,
        DeliveryState::Read => progress.read_at,
    }
}

/// Whether no read receipt of this group waits to be accepted.
pub(crate) fn is_read_accepted(db: &Connection, group: GroupId) -> Stored<bool> {
    let conversation = crate::store::chats::conversation(profile::account(db)?, group.into());
    let mut statement = db.prepare_cached("SELECT content FROM outbox WHERE lane = 1")?;
    let mut rows = statement.query(params![])?;
    while let Some(row) = rows.next()? {
        let content: Vec<u8> = row.get(0)?;
        let Ok(content) = seal::Content::decode(&content) else { continue };
        if let seal::Body::Receipt(receipt) = content.body
            && receipt.kind == seal::ReceiptKind::Read
            && receipt.conversation == conversation
        {
            return Ok(false);
        }
    }
    Ok(true)
}
