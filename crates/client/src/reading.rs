//! Messages as people see them: the one query behind history, search and events.

use crate::{
    DeliveryState, Fault, MessageView, SenderView,
    status::{self, Progress},
    store::{Columns, Stored, profile},
};
use rusqlite::{Connection, Row, ToSql, params};
use types::{AccountId, ChatId, Timestamp};

/// What the shown state of a message depends on beside its row.
pub(crate) struct Reading {
    me: AccountId,
    server_now: Timestamp,
}

impl Reading {
    pub(crate) fn new(db: &Connection, server_now: Timestamp) -> Stored<Self> {
        let me = profile::account(db)?;
        Ok(Self { me, server_now })
    }

    /// Reads the columns of [`COLUMNS`], which begin at `first`.
    pub(crate) fn message(&self, row: &Row<'_>, first: usize) -> rusqlite::Result<MessageView> {
        let column = |offset| first + offset;
        let sender = row.account(column(3))?;
        let own = sender == self.me;
        let stamp = row.stamp(column(5))?;
        let time = |at: usize| -> rusqlite::Result<Option<Timestamp>> {
            row.get::<_, Option<i64>>(at)?.map(|_| row.time(at)).transpose()
        };
        let state = if own {
            let progress = Progress { delivered_at: time(column(9))?, read_at: time(column(10))? };
            status::state(stamp, row.get::<_, bool>(column(8))?, progress, self.server_now)
        } else if stamp <= row.stamp(column(12))? {
            DeliveryState::Read
        } else {
            DeliveryState::Delivered
        };
        Ok(MessageView {
            message_id: row.message_id(column(0))?,
            chat: row.chat(column(1))?,
            sender: SenderView {
                account: sender,
                device: row.device(column(4))?,
                phone: row
                    .read(column(11), |text: Option<String>| text.map(|text| text.parse()).transpose())?,
            },
            stamp,
            sent_at: row.time(column(6))?,
            text: row.get(column(7))?,
            state,
        })
    }
}

/// What [`Reading::message`] reads, from `message` joined as in [`JOINED`].
pub(crate) const COLUMNS: &str =
    "message.id, message.chat, chat.kind, message.sender, message.device, message.stamp,
    message.sent_at, message.text, message.failure IS NOT NULL,
    CASE WHEN chat.kind = 0
      THEN (SELECT min(delivered_at) FROM delivery WHERE message = message.seq AND account = message.chat)
      WHEN NOT EXISTS (SELECT 1 FROM group_member AS member LEFT JOIN contact USING (account)
                       WHERE member.group_id = message.chat AND member.account <> message.sender
                         AND member.since <= coalesce(message.group_epoch, group_chain.epoch)
                         AND (member.until IS NULL OR member.until > coalesce(message.group_epoch, group_chain.epoch))
                         AND NOT coalesce(contact.closed, 0)
                         AND NOT EXISTS (SELECT 1 FROM delivery
                                         WHERE message = message.seq AND delivery.account = member.account))
      THEN (SELECT max(coalesce(delivered_at, read_at)) FROM delivery WHERE message = message.seq) END,
    CASE WHEN chat.kind = 0
      THEN (SELECT min(read_at) FROM delivery WHERE message = message.seq AND account = message.chat)
      WHEN NOT EXISTS (SELECT 1 FROM group_member AS member LEFT JOIN contact USING (account)
                       WHERE member.group_id = message.chat AND member.account <> message.sender
                         AND member.since <= coalesce(message.group_epoch, group_chain.epoch)
                         AND (member.until IS NULL OR member.until > coalesce(message.group_epoch, group_chain.epoch))
                         AND NOT coalesce(contact.closed, 0)
                         AND NOT EXISTS (SELECT 1 FROM delivery
                                         WHERE message = message.seq AND delivery.account = member.account
                                           AND read_at IS NOT NULL))
      THEN (SELECT max(read_at) FROM delivery WHERE message = message.seq) END,
    coalesce(number.phone, (SELECT phone FROM profile WHERE account = message.sender)), chat.read_up_to";

/// The tables of [`COLUMNS`].
pub(crate) const JOINED: &str =
    "message JOIN chat ON chat.id = message.chat LEFT JOIN number ON number.account = message.sender
    LEFT JOIN group_chain ON group_chain.group_id = message.chat";

/// The last messages of a chat, oldest first; what has no stamp yet is last, in the order of writing.
pub(crate) fn history(
    db: &Connection,
    chat: ChatId,
    limit: u32,
    server_now: Timestamp,
) -> Result<Vec<MessageView>, Fault> {
    let order = "message.stamp IS NULL DESC, message.stamp DESC, message.seq DESC";
    let mut messages = select(
        db,
        &format!("SELECT {COLUMNS} FROM {JOINED} WHERE message.chat = ?1 ORDER BY {order} LIMIT ?2"),
        params![chat.as_bytes(), limit],
        server_now,
    )?;
    messages.reverse();
    Ok(messages)
}

/// Runs a query whose columns are [`COLUMNS`].
pub(crate) fn select(
    db: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    server_now: Timestamp,
) -> Result<Vec<MessageView>, Fault> {
    let reading = Reading::new(db, server_now)?;
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| reading.message(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
