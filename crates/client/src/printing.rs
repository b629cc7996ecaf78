//! Events that were not printed yet, in the order in which they are to be printed.

use crate::{
    EventId, EventView, Fault, LoggedEvent, ReceiptKind, SenderView,
    reading::{COLUMNS, JOINED, Reading},
    store::{Stored, contacts, events::Batch},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use types::{AccountId, ChatId, DeviceNumber, GroupId, MessageId, Timestamp};

pub(crate) fn unprinted(
    db: &Connection,
    draining: Option<Batch>,
    limit: u32,
) -> Result<Vec<LoggedEvent>, Fault> {
    // What has no stamp belongs before the messages of its batch: it is about the connection as a whole.
    let mut statement = db.prepare_cached(
        "SELECT id, kind, message, chat, account, device, first, last, word, ids, flag, removed,
                (SELECT chat.kind FROM chat WHERE chat.id = event.chat)
         FROM event WHERE batch IS NOT ?1 ORDER BY batch, stamp, id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![draining.map(|batch| batch.0), limit], Logged::read)?;
    let mut events = Vec::new();
    for row in rows {
        let row = row?;
        if let Some(event) = row.event(db)? {
            events.push(LoggedEvent { id: EventId(row.id), event });
        }
    }
    Ok(events)
}

/// A row of the log.
struct Logged {
    id: i64,
    kind: String,
    message: Option<i64>,
    chat: [u8; 16],
    account: Option<[u8; 16]>,
    device: Option<u32>,
    first: Option<i64>,
    last: Option<i64>,
    word: Option<String>,
    ids: Option<Vec<u8>>,
    flag: Option<bool>,
    removed: Option<Vec<u8>>,
    is_group: bool,
}

impl Logged {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            kind: row.get(1)?,
            message: row.get(2)?,
            chat: row.get(3)?,
            account: row.get(4)?,
            device: row.get(5)?,
            first: row.get(6)?,
            last: row.get(7)?,
            word: row.get(8)?,
            ids: row.get(9)?,
            flag: row.get(10)?,
            removed: row.get(11)?,
            is_group: row.get::<_, Option<i64>>(12)?.is_some_and(|kind| kind != 0),
        })
    }

    /// None for a kind of a later version.
    fn event(&self, db: &Connection) -> Stored<Option<EventView>> {
        let account = AccountId::from_bytes(self.account.unwrap_or(self.chat));
        let chat = match self.is_group {
            true => ChatId::Group(GroupId::from_bytes(self.chat)),
            false => ChatId::Direct(AccountId::from_bytes(self.chat)),
        };
        let event = match self.kind.as_str() {
            "message" => return self.message(db),
            "receipt" => EventView::Receipt {
                kind: if self.word.as_deref() == Some("read") {
                    ReceiptKind::Read
                } else {
                    ReceiptKind::Delivered
                },
                message_ids: self.message_ids(),
                from: AccountId::from_bytes(self.chat),
            },
            "gap" => EventView::Gap {
                chat,
                sender: SenderView {
                    account,
                    device: DeviceNumber::new(self.device.unwrap_or(1)).map_err(|_| Fault::Damaged)?,
                    phone: contacts::phone_of(db, account)?,
                },
                first: unsigned(self.first),
                last: unsigned(self.last),
                permanent: self.flag.unwrap_or(false),
                reason: self.word.clone().unwrap_or_default(),
            },
            "split_view" => EventView::SplitView { chat, account },
            "group_changed" => EventView::GroupChanged {
                group: GroupId::from_bytes(self.chat),
                epoch: unsigned(self.first),
                change: crate::groups::read_change_word(self.word.as_deref().unwrap_or_default()),
                by: account,
            },
            "key_changed" => EventView::KeyChanged {
                phone: self.word.as_deref().unwrap_or_default().parse().map_err(|_| Fault::Damaged)?,
                account: AccountId::from_bytes(self.chat),
                old_account: account,
            },
            "device_changed" => EventView::DeviceChanged {
                account,
                added: numbers(self.ids.as_deref())?,
                removed: numbers(self.removed.as_deref())?,
            },
            _ => return Ok(None),
        };
        Ok(Some(event))
    }

    fn message(&self, db: &Connection) -> Stored<Option<EventView>> {
        // Others' messages do not expire here, so any time will do.
        let reading = Reading::new(db, Timestamp::default())?;
        let mut statement =
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM {JOINED} WHERE message.seq = ?1"))?;
        let message = statement.query_row([self.message], |row| reading.message(row, 0)).optional()?;
        Ok(message.map(EventView::Message))
    }

    fn message_ids(&self) -> Vec<MessageId> {
        let ids = self.ids.as_deref().unwrap_or_default();
        ids.chunks_exact(16).filter_map(|id| MessageId::from_slice(id).ok()).collect()
    }
}

/// Device numbers, a byte each.
fn numbers(bytes: Option<&[u8]>) -> Stored<Vec<DeviceNumber>> {
    let numbers = bytes.unwrap_or_default().iter().map(|number| DeviceNumber::new((*number).into()));
    numbers.collect::<Result<_, _>>().map_err(|_| Fault::Damaged)
}

fn unsigned(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}
