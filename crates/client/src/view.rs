//! Questions about what is stored. Nothing here writes, so another process may ask beside the engine's.

use crate::{
    Chat, ChatName, Fault, LoggedEvent, MessageView, OpenError, Resolved, Safety, StatusView, Whoami,
};
use rusqlite::Connection;
use types::{AccountId, MessageId, Timestamp};

/// A database opened for reading only, beside the process whose engine writes it.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Checks the format of a database that [`crate::database::open_read_only`] opened.
    pub fn open(connection: Connection) -> Result<Self, OpenError> {
        Ok(Self { connection })
    }

    /// What can be asked.
    pub fn view(&self) -> View<'_> {
        View { connection: &self.connection }
    }
}

/// The queries.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) connection: &'a Connection,
}

impl View<'_> {
    /// This device; none before the registration is finished.
    pub fn whoami(&self) -> Result<Option<Whoami>, Fault> {
        todo!()
    }

    /// What a name leads to. A number that is not in the contacts is [`Resolved::LookUp`].
    pub fn resolve(&self, _name: &ChatName) -> Result<Resolved, Fault> {
        todo!()
    }

    /// All chats, the one with the newest message first.
    pub fn chats(&self) -> Result<Vec<Chat>, Fault> {
        todo!()
    }

    /// The last `limit` messages of a chat, oldest first, queued ones last. `now` decides what has expired.
    pub fn history(&self, _chat: AccountId, _limit: u32, _now: Timestamp) -> Result<Vec<MessageView>, Fault> {
        todo!()
    }

    /// Messages with all of these words, newest first. Words are plain: nothing in them is query syntax.
    pub fn search(&self, _words: &str, _limit: u32, _now: Timestamp) -> Result<Vec<MessageView>, Fault> {
        todo!()
    }

    /// How far one of our own messages got; none if there is no such message of ours.
    pub fn status(&self, _message: MessageId, _now: Timestamp) -> Result<Option<StatusView>, Fault> {
        todo!()
    }

    /// The safety number with another account; none until its device list is known.
    pub fn safety(&self, _chat: AccountId) -> Result<Option<Safety>, Fault> {
        todo!()
    }

    /// The first `limit` events that were not printed yet, messages in stamp order within what one drain
    /// brought. What a drain brings is given once the drain is over.
    pub fn unprinted_events(&self, _limit: u32) -> Result<Vec<LoggedEvent>, Fault> {
        todo!()
    }

    /// Whether the read receipts of this chat were accepted by the server.
    pub fn is_read_accepted(&self, _chat: AccountId) -> Result<bool, Fault> {
        todo!()
    }
}
