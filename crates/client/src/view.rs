//! Questions about what is stored. Nothing here writes, so another process may ask beside the engine's.

use crate::{
    Chat, ChatKind, ChatName, DeviceView, Fault, GroupInfo, HeldReason, LoggedEvent, MessageView, OpenError,
    Resolved, Safety, StatusView, Whoami, database, devices, printing, reading, search, status,
    store::{
        Columns, chats, contacts, device_lists, events::Batch, groups, handovers, key_changes,
        key_changes::KeyChange, outbox, profile, profile::ClockRecord,
    },
};
use rusqlite::Connection;
use seal::{Body, ReceiptKind};
use types::{AccountId, ChatId, DeviceNumber, GroupId, MessageId, Millis, PhoneNumber, Timestamp};

/// Primaries sign a fresh list at least every 30 days, when they connect; half as long again is suspicious.
const LIST_OLD_AFTER: Millis = Millis::from_days(45);

/// A database opened for reading only, beside the process whose engine writes it.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Checks the format of a database that [`crate::database::open_read_only`] opened.
    pub fn open(connection: Connection) -> Result<Self, OpenError> {
        database::prepare_reader(&connection)?;
        Ok(Self { connection })
    }

    /// What can be asked.
    pub fn view(&self) -> View<'_> {
        View { connection: &self.connection, draining: None, clock: None }
    }
}

/// The queries.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) connection: &'a Connection,
    /// What the drain that goes on has brought is not printed yet.
    pub(crate) draining: Option<Batch>,
    /// The server's clock as a running engine knows it; else what was written last counts.
    pub(crate) clock: Option<ClockRecord>,
}

impl View<'_> {
    /// This device; none before the registration is finished.
    pub fn whoami(&self) -> Result<Option<Whoami>, Fault> {
        let me = profile::load(self.connection)?.filter(|me| me.registered);
        Ok(me.map(|me| Whoami {
            account: me.account(),
            device: me.address.device,
            phone: me.phone,
            server: me.server,
            name: me.name,
        }))
    }

    /// The server and number of a registration that waits for its code.
    pub fn registering(&self) -> Result<Option<(String, PhoneNumber)>, Fault> {
        if profile::registration_session(self.connection)?.is_none() {
            return Ok(None);
        }
        let me = profile::load(self.connection)?.filter(|me| !me.registered);
        Ok(me.map(|me| (me.server, me.phone)))
    }

    /// What a name leads to. A number that is not in the contacts is [`Resolved::LookUp`].
    pub fn resolve(&self, name: &ChatName) -> Result<Resolved, Fault> {
        match name {
            ChatName::Phone(phone) => match contacts::account_of(self.connection, phone)? {
                Some(account) => Ok(Resolved::Known(account.into())),
                None => Ok(Resolved::LookUp),
            },
            ChatName::Id(id) => {
                let account = AccountId::from_bytes(*id);
                Ok(match chats::with_id(self.connection, *id)? {
                    Some(chat) => Resolved::Known(chat),
                    None if contacts::exists(self.connection, account)? => Resolved::Known(account.into()),
                    None => Resolved::Stranger(account),
                })
            }
            ChatName::Name(name) => self.resolve_group(name),
        }
    }

    /// A group that was left is meant only where no group that this account is in has the name.
    fn resolve_group(&self, name: &str) -> Result<Resolved, Fault> {
        let mut named = groups::with_name(self.connection, name)?;
        let mut joined = Vec::new();
        for group in &named {
            if groups::is_member(self.connection, *group, profile::account(self.connection)?)? {
                joined.push(*group);
            }
        }
        if !joined.is_empty() {
            named = joined;
        }
        Ok(match named[..] {
            [] => Resolved::Unknown,
            [group] => Resolved::Known(group.into()),
            _ => Resolved::Ambiguous,
        })
    }

    /// All chats, the one with the newest message first.
    pub fn chats(&self) -> Result<Vec<Chat>, Fault> {
        let mut statement = self.connection.prepare_cached(
            "SELECT chat.id, chat.kind, coalesce(contact.name, group_chain.name), number.phone,
                    (SELECT max(stamp) FROM message WHERE message.chat = chat.id) AS last,
                    (SELECT count(*) FROM message WHERE message.chat = chat.id AND sender <> (SELECT account FROM profile)
                       AND (read_up_to IS NULL OR stamp > read_up_to))
             FROM chat LEFT JOIN contact ON contact.account = chat.id LEFT JOIN number ON number.account = chat.id
             LEFT JOIN group_chain ON group_chain.group_id = chat.id
             WHERE EXISTS (SELECT 1 FROM message WHERE message.chat = chat.id)
             ORDER BY last DESC NULLS FIRST, chat.id",
        )?;
        let rows = statement.query_map([], |row| {
            let chat = row.chat(0)?;
            Ok(Chat {
                chat,
                kind: ChatKind::of(chat),
                name: row.get(2)?,
                phone: row.read(3, |text: Option<String>| text.map(|text| text.parse()).transpose())?,
                last_stamp: row.stamp(4)?,
                unread: row.number(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The last `limit` messages of a chat, oldest first, queued ones last. `now` decides what has expired.
    pub fn history(&self, chat: ChatId, limit: u32, now: Timestamp) -> Result<Vec<MessageView>, Fault> {
        reading::history(self.connection, chat, limit, self.server_time(now)?)
    }

    /// Messages with all of these words, newest first. Words are plain: nothing in them is query syntax.
    pub fn search(&self, words: &str, limit: u32, now: Timestamp) -> Result<Vec<MessageView>, Fault> {
        search::search(self.connection, words, limit, self.server_time(now)?)
    }

    /// How far one of our own messages got; none if there is no such message of ours.
    pub fn status(&self, message: MessageId, now: Timestamp) -> Result<Option<StatusView>, Fault> {
        status::status(self.connection, message, self.server_time(now)?)
    }

    /// The safety number with another account; none until its device list is known.
    pub fn safety(&self, account: AccountId) -> Result<Option<Safety>, Fault> {
        let me = profile::require(self.connection)?;
        let Some(own) = device_lists::get(self.connection, me.account())? else { return Ok(None) };
        let Some(list) = device_lists::get(self.connection, account)? else { return Ok(None) };
        let number = seal::safety_number(own.account_key(), list.account_key());
        let verified = contacts::is_verified(self.connection, account)?;
        Ok(Some(Safety { safety_number: number.digits().to_owned(), verified }))
    }

    /// Whether the device list of an account is known.
    pub fn is_list_known(&self, account: AccountId) -> Result<bool, Fault> {
        device_lists::is_known(self.connection, account)
    }

    /// The first `limit` events that were not printed yet, messages in stamp order within what one drain
    /// brought. What a drain brings is given once the drain is over.
    pub fn unprinted_events(&self, limit: u32) -> Result<Vec<LoggedEvent>, Fault> {
        printing::unprinted(self.connection, self.draining, limit)
    }

    /// Whether the read receipts of this chat were accepted by the server.
    pub fn is_read_accepted(&self, chat: ChatId) -> Result<bool, Fault> {
        if let ChatId::Group(group) = chat {
            return crate::groups::view::is_read_accepted(self.connection, group);
        }
        let lane = outbox::Lane { chat, class: outbox::LaneClass::Silent };
        let waits = outbox::any(
            self.connection,
            lane,
            |content| matches!(&content.body, Body::Receipt(receipt) if receipt.kind == ReceiptKind::Read),
        )?;
        Ok(!waits)
    }

    /// A group that this account is or was a member of.
    pub fn group(&self, group: GroupId) -> Result<Option<GroupInfo>, Fault> {
        crate::groups::view::group(self.connection, group)
    }

    /// All groups that this account is or was a member of, by id.
    pub fn groups(&self) -> Result<Vec<GroupInfo>, Fault> {
        crate::groups::view::all(self.connection)
    }

    /// Whether the change that led to this epoch of a group added or removed this account, or changed its role.
    pub fn group_change_names_me(&self, group: GroupId, epoch: u64) -> Result<bool, Fault> {
        crate::groups::view::names_me(self.connection, group, epoch)
    }

    /// The URL of a group's invite link; none if it has none, or one whose seed is not here, or if it is not known
    /// whether another one, which was asked for, is in force.
    pub fn group_link(&self, group: GroupId) -> Result<Option<String>, Fault> {
        crate::groups::view::link(self.connection, group)
    }

    /// Whether nothing waits to be sent.
    pub fn is_outbox_empty(&self) -> Result<bool, Fault> {
        outbox::is_empty(self.connection)
    }

    /// What a person knows an account by: the name of the contact, else its checked number.
    pub fn known_as(&self, account: AccountId) -> Result<Option<String>, Fault> {
        contacts::known_as(self.connection, account)
    }

    /// The number that was checked to lead to an account.
    pub fn phone_of(&self, account: AccountId) -> Result<Option<PhoneNumber>, Fault> {
        contacts::phone_of(self.connection, account)
    }

    /// Whether this device was taken off its account's list, or the account is closed. What it has stays readable.
    pub fn is_revoked(&self) -> Result<bool, Fault> {
        Ok(profile::load(self.connection)?.is_some_and(|me| me.revoked))
    }

    /// The device that came by this link code, once it has all that it is to be given. Forgotten some minutes later.
    pub fn device_added_by(&self, code: &str) -> Result<Option<DeviceNumber>, Fault> {
        let Ok(code) = code.parse::<seal::link::LinkCode>() else { return Ok(None) };
        let added = handovers::of_link(self.connection, code.link())?;
        Ok(added.filter(|(_, finished)| *finished).map(|(device, _)| device))
    }

    /// The devices of this account, as its newest known list says.
    pub fn devices(&self) -> Result<Vec<DeviceView>, Fault> {
        devices::view(self.connection)
    }

    /// Why messages of a chat stay queued until the person decides something; none if they do not.
    pub fn held_reason(&self, chat: ChatId) -> Result<Option<HeldReason>, Fault> {
        let ChatId::Direct(old_account) = chat else { return Ok(None) };
        let change = key_changes::of_old_account(self.connection, old_account)?;
        Ok(change.map(|KeyChange { phone, old_account, account }| HeldReason::KeyChanged {
            phone,
            account,
            old_account,
        }))
    }

    /// Whether an account is blocked: nothing that it writes one-to-one is shown.
    pub fn is_blocked(&self, account: AccountId) -> Result<bool, Fault> {
        contacts::is_blocked(self.connection, account)
    }

    /// All blocked accounts, by id, with their checked numbers.
    pub fn blocked(&self) -> Result<Vec<(AccountId, Option<PhoneNumber>)>, Fault> {
        let blocked = contacts::blocked(self.connection)?.into_iter();
        blocked.map(|account| Ok((account, contacts::phone_of(self.connection, account)?))).collect()
    }

    /// Whether an account was closed: its number may lead to another one now.
    pub fn is_closed(&self, account: AccountId) -> Result<bool, Fault> {
        contacts::is_closed(self.connection, account)
    }

    /// Whether the newest list that we know of an account is older than 45 days: it is still used, and the chat
    /// should say so, because a device that was removed since would still be written to.
    pub fn is_device_list_old(&self, account: AccountId, now: Timestamp) -> Result<bool, Fault> {
        let now = self.server_time(now)?;
        let list = device_lists::get(self.connection, account)?;
        Ok(list.is_some_and(|list| now.since(list.issued_at()) >= LIST_OLD_AFTER))
    }

    /// Limits are measured by the server's time.
    pub(crate) fn server_time(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        let clock = match self.clock {
            Some(clock) => clock,
            None => profile::clock(self.connection)?,
        };
        Ok(clock.server_time(now))
    }
}
