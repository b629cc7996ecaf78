//! The log of what people are told, until it was printed.

use super::{Stored, messages::MessageSeq, number};
use crate::{EventId, EventView, ReceiptKind};
use rusqlite::{Connection, params};
use types::{ChatId, DeviceNumber, GroupId, MessageId, Stamp};

/// Which events are printed together: those of one drain, in stamp order, or those between two drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Batch(pub(crate) i64);

/// The number after every batch that was used.
pub(crate) fn next_batch(db: &Connection) -> Stored<Batch> {
    Ok(Batch(db.query_row("SELECT coalesce(max(batch), 0) + 1 FROM event", [], |row| row.get(0))?))
}

/// Logs a message that came in.
pub(crate) fn log_message(
    db: &Connection,
    batch: Batch,
    chat: ChatId,
    message: MessageSeq,
    stamp: Stamp,
) -> Stored<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO event (batch, stamp, kind, chat, message) VALUES (?1, ?2, 'message', ?3, ?4)",
    )?;
    statement.execute(params![batch.0, stamp.to_bytes(), chat.as_bytes(), message.0])?;
    Ok(())
}

/// Logs anything else. `stamp` says where it belongs among the messages of a drain.
pub(crate) fn log(db: &Connection, batch: Batch, stamp: Option<Stamp>, event: &EventView) -> Stored<()> {
    let stamp = stamp.map(Stamp::to_bytes);
    match event {
        // Messages are logged by reference, so that their text is stored once.
        EventView::Message(_) => {}
        EventView::Receipt { kind, message_ids, from } => {
            let ids: Vec<u8> = message_ids.iter().flat_map(MessageId::as_bytes).copied().collect();
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, word, ids) VALUES (?1, ?2, 'receipt', ?3, ?4, ?5)",
                params![batch.0, stamp, from.as_bytes(), receipt_word(*kind), ids],
            )?;
        }
        EventView::Gap { chat, sender, first, last, permanent, reason } => {
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, account, device, first, last, flag, word)
                 VALUES (?1, ?2, 'gap', ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    batch.0,
                    stamp,
                    chat.as_bytes(),
                    sender.account.as_bytes(),
                    sender.device.get(),
                    number(*first),
                    number(*last),
                    permanent,
                    reason
                ],
            )?;
        }
        EventView::SplitView { chat, account } => {
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, account) VALUES (?1, ?2, 'split_view', ?3, ?4)",
                params![batch.0, stamp, chat.as_bytes(), account.as_bytes()],
            )?;
        }
        EventView::GroupChanged { group, epoch, change, by } => {
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, account, first, word)
                 VALUES (?1, ?2, 'group_changed', ?3, ?4, ?5, ?6)",
                params![batch.0, stamp, group.as_bytes(), by.as_bytes(), number(*epoch), change],
            )?;
        }
        EventView::KeyChanged { phone, account, old_account } => {
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, account, word)
                 VALUES (?1, ?2, 'key_changed', ?3, ?4, ?5)",
                params![batch.0, stamp, account.as_bytes(), old_account.as_bytes(), phone.e164()],
            )?;
        }
        EventView::DeviceChanged { account, added, removed } => {
            db.execute(
                "INSERT INTO event (batch, stamp, kind, chat, account, ids, removed)
                 VALUES (?1, ?2, 'device_changed', ?3, ?3, ?4, ?5)",
                params![batch.0, stamp, account.as_bytes(), numbers(added), numbers(removed)],
            )?;
        }
    }
    Ok(())
}

/// An operation that was fetched before its row came has its place among the messages now.
pub(crate) fn set_group_stamp(db: &Connection, group: GroupId, epoch: u64, stamp: Stamp) -> Stored<()> {
    db.prepare_cached(
        "UPDATE event SET stamp = ?3 WHERE kind = 'group_changed' AND chat = ?1 AND first = ?2",
    )?
    .execute(params![group.as_bytes(), number(epoch), stamp.to_bytes()])?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, event: EventId) -> Stored<()> {
    db.prepare_cached("DELETE FROM event WHERE id = ?1")?.execute([event.0])?;
    Ok(())
}

/// Device numbers, a byte each.
fn numbers(devices: &[DeviceNumber]) -> Vec<u8> {
    devices.iter().map(|device| device.get()).collect()
}

const fn receipt_word(kind: ReceiptKind) -> &'static str {
    kind.name()
}
