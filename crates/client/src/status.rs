//! How far our own messages got: from the device's receipts to one word.

use crate::{
    DeliveryState, Fault, RecipientView, StatusView, groups,
    store::{
        Columns, Stored, messages,
        messages::{MessageSeq, OwnMessage},
        profile,
    },
};
use rusqlite::{Connection, params};
use types::{AccountId, ChatId, MessageId, Stamp, Timestamp, limits::ENVELOPE_LIFE};

/// What one account's devices have said of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) read_at: Option<Timestamp>,
}

pub(crate) fn status(
    db: &Connection,
    id: MessageId,
    server_now: Timestamp,
) -> Result<Option<StatusView>, Fault> {
    let me = profile::account(db)?;
    let Some(message) = messages::own(db, me, id)? else { return Ok(None) };
    let account = match message.chat {
        ChatId::Direct(account) => account,
        ChatId::Group(group) => {
            let (state, recipients) = groups::view::recipients(db, &message, group, server_now)?;
            return Ok(Some(StatusView { state, recipients, ..shown(message) }));
        }
    };
    let progress = progress(db, message.seq, account)?;
    let state = state(message.stamp, message.failure.is_some(), progress, server_now);
    let at = groups::view::reached_at(message.stamp, state, progress);
    Ok(Some(StatusView { state, recipients: vec![RecipientView { account, state, at }], ..shown(message) }))
}

/// What is shown of a message whoever its recipients are.
fn shown(message: OwnMessage) -> StatusView {
    StatusView {
        message_id: message.id,
        chat: message.chat,
        stamp: message.stamp,
        state: DeliveryState::Queued,
        failure: message.failure,
        recipients: Vec::new(),
    }
}

/// The best of an account's devices, each state at its first device.
pub(crate) fn progress(db: &Connection, message: MessageSeq, account: AccountId) -> Stored<Progress> {
    let mut statement = db.prepare_cached(
        "SELECT min(delivered_at), min(read_at) FROM delivery WHERE message = ?1 AND account = ?2",
    )?;
    let times = statement.query_row(params![message.0, account.as_bytes()], |row| {
        let time =
            |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(|_| row.time(column)));
        Ok((time(0)?.transpose()?, time(1)?.transpose()?))
    })?;
    Ok(Progress { delivered_at: times.0, read_at: times.1 })
}

/// One word for a message of ours. What a device has said stands, whatever else is known or not known.
pub(crate) fn state(
    stamp: Option<Stamp>,
    failed: bool,
    progress: Progress,
    server_now: Timestamp,
) -> DeliveryState {
    match stamp {
        _ if progress.read_at.is_some() => DeliveryState::Read,
        _ if progress.delivered_at.is_some() => DeliveryState::Delivered,
        _ if failed => DeliveryState::Failed,
        None => DeliveryState::Queued,
        Some(stamp) if server_now.since(stamp.time()) >= ENVELOPE_LIFE => DeliveryState::Expired,
        Some(_) => DeliveryState::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Millis, NodeId};

    #[test]
    fn a_message_expires_only_unheard_of() {
        let accepted = Timestamp::from_millis(1_800_000_000_000);
        let stamp = Some(Stamp::new(accepted.as_millis() << 16, NodeId(1)));
        let month_later = accepted + Millis::from_days(30);
        let delivered = Progress { delivered_at: Some(accepted), read_at: None };
        assert_eq!(state(stamp, false, Progress::default(), accepted), DeliveryState::Accepted);
        assert_eq!(state(stamp, false, Progress::default(), month_later), DeliveryState::Expired);
        assert_eq!(state(stamp, false, delivered, month_later), DeliveryState::Delivered);
        assert_eq!(state(None, false, Progress::default(), month_later), DeliveryState::Queued);
    }
}
