//! The engine itself: its state, its commands, and the one way in which they become transactions.

use crate::{
    CodeSent, DeliveryState, Dial, Effect, Event, EventId, Fault, HttpAnswer, HttpRequest, NewAccount,
    OpenError, Registered, RegistrationError, View,
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use types::{AccountId, MessageId, PhoneNumber, Stamp, Timestamp};

/// A device's engine. See the [crate documentation](crate).
pub struct Engine {
    connection: Connection,
}

/// A text to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendText {
    /// The other account, from [`View::resolve`].
    pub chat: AccountId,
    /// Made by the caller before it asks, so that a repeated command is the same message.
    pub message_id: MessageId,
    /// At most 65,536 bytes.
    pub text: String,
}

/// The message is stored, and goes out by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub message_id: MessageId,
    /// The chat.
    pub chat: AccountId,
    /// The stamp, if it was accepted before.
    pub stamp: Option<Stamp>,
    /// `Queued`, `Accepted` or `Failed`; finer states are [`View::status`]'s.
    pub state: DeliveryState,
}

/// The message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Longer than 65,536 bytes.
    #[error("the text is too long ({bytes} bytes; at most 65536)")]
    TextTooLong {
        /// How long.
        bytes: usize,
    },
    /// There is another message with this id: in another chat, or with another text.
    #[error("the message id was used for another message")]
    MessageIdUsed,
    /// The chat is one's own account.
    #[error("one cannot write to oneself")]
    ToOneself,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A chat was marked read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedRead {
    /// The newest message's stamp; none for an empty chat. The receipt, if one is due, goes out by itself:
    /// [`View::is_read_accepted`].
    pub up_to: Option<Stamp>,
}

impl Engine {
    /// Takes a database that [`crate::database::open`] opened, and brings its format up to date.
    pub fn open(connection: Connection) -> Result<Self, OpenError> {
        Ok(Self { connection })
    }

    /// What can be asked.
    pub fn view(&self) -> View<'_> {
        View { connection: &self.connection }
    }

    // ---- getting an account

    /// Makes all keys and stores them, then says how to ask the server for a code. Asking again voids the
    /// earlier code and, if server and number are the same, keeps the keys.
    pub fn begin_registration(
        &mut self,
        _account: &NewAccount,
        _now: Timestamp,
        _rng: &mut dyn CryptoRng,
    ) -> Result<HttpRequest, RegistrationError> {
        todo!()
    }

    /// The answer to [`Engine::begin_registration`]'s request.
    pub fn code_sent(&mut self, _answer: &HttpAnswer) -> Result<CodeSent, RegistrationError> {
        todo!()
    }

    /// How to make the account with the code. May be repeated with the same or another code: the keys stay.
    pub fn finish_registration(
        &mut self,
        _code: &str,
        _replace: bool,
    ) -> Result<HttpRequest, RegistrationError> {
        todo!()
    }

    /// The answer to [`Engine::finish_registration`]'s request.
    pub fn registered(&mut self, _answer: &HttpAnswer) -> Result<Registered, RegistrationError> {
        todo!()
    }

    // ---- being connected

    /// Stores the next connection number and says where to connect. To be called before every connection.
    pub fn dial(&mut self) -> Result<Dial, Fault> {
        todo!()
    }

    /// Takes in what happened. Then poll [`Engine::poll_effect`] until it is empty.
    pub fn handle(&mut self, _event: Event, _now: Timestamp, _rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        todo!()
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// When [`Event::Tick`] is wanted next, at the latest.
    pub fn wake_at(&self) -> Option<Timestamp> {
        todo!()
    }

    /// True if this connection has nothing left to wait for: mailbox drained, acknowledgements answered,
    /// outbox empty, receipts accepted. What waits for a time that the server named does not count.
    pub fn is_settled(&self) -> bool {
        todo!()
    }

    /// Whether this connection has seen the end of the drain.
    pub fn is_drained(&self) -> bool {
        todo!()
    }

    // ---- commands

    /// Stores a text, and seals and sends it as soon as it can be. The same id again is the same send.
    pub fn send_text(
        &mut self,
        _text: SendText,
        _now: Timestamp,
        _rng: &mut dyn CryptoRng,
    ) -> Result<Sent, SendError> {
        todo!()
    }

    /// Marks everything in a chat as read, and lets the other side know.
    pub fn mark_read(
        &mut self,
        _chat: AccountId,
        _now: Timestamp,
        _rng: &mut dyn CryptoRng,
    ) -> Result<MarkedRead, Fault> {
        todo!()
    }

    /// Asks the server which account a number leads to: [`Effect::LookedUp`]. Forgotten with the process.
    pub fn look_up(
        &mut self,
        _phone: PhoneNumber,
        _now: Timestamp,
        _rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        todo!()
    }

    /// Asks for an account's device list if it is not known yet, so that [`View::safety`] can answer.
    pub fn fetch_device_list(
        &mut self,
        _chat: AccountId,
        _now: Timestamp,
        _rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        todo!()
    }

    /// Remembers that the safety number with this account was compared. False if the account is not known.
    pub fn mark_verified(&mut self, _chat: AccountId) -> Result<bool, Fault> {
        todo!()
    }

    /// Forgets events whose lines were written and flushed.
    pub fn mark_printed(&mut self, _events: &[EventId]) -> Result<(), Fault> {
        todo!()
    }

    /// Sends at once what would wait for a moment (receipts, acknowledgements, keys): the process is about to end.
    pub fn flush(&mut self, _now: Timestamp, _rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        todo!()
    }
}
