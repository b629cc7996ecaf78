//! The engine itself: its state, its commands, and the one way in which they become transactions.

mod frames;
mod groups;
mod own_devices;
mod people;

use crate::{
    CodeSent, DeliveryState, Dial, Effect, Event, EventId, Fault, HttpAnswer, HttpRequest, NewAccount,
    OpenError, Registered, RegistrationError, View, database,
    linking::Linking,
    live::{Live, Phase},
    registration,
    restore::Restore,
    store::{Stored, events, outbox, outbox::LaneClass, profile, profile::Me},
    turn::Turn,
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use std::collections::VecDeque;
use types::{ChatId, MessageId, Millis, Stamp, Timestamp};

/// A device's engine. See the [crate documentation](crate).
pub struct Engine {
    connection: Connection,
    me: Option<Me>,
    live: Live,
    effects: VecDeque<Effect>,
    poisoned: bool,
    /// Between its first request and its end.
    restore: Option<Restore>,
}

/// A text to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendText {
    /// The chat, from [`View::resolve`].
    pub chat: ChatId,
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
    pub chat: ChatId,
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
    /// The chat is a group that one is not a member of.
    #[error("you are not a member of this group")]
    NotAMember,
    /// The chat is with an account that one has blocked.
    #[error("you have blocked this account")]
    Blocked,
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
    pub fn open(mut connection: Connection) -> Result<Self, OpenError> {
        database::prepare(&mut connection)?;
        let me = profile::load(&connection)?;
        crate::groups::prepare(&connection)?;
        let live = Live::new(
            profile::clock(&connection)?,
            outbox::lanes(&connection)?,
            events::next_batch(&connection)?,
            Linking::load(&connection)?,
        );
        Ok(Self { connection, me, live, effects: VecDeque::new(), poisoned: false, restore: None })
    }

    /// Gives the database back, as a crash at this point would leave it. What was not polled is lost.
    pub fn close(self) -> Connection {
        self.connection
    }

    /// Plants faults, for a test that must find them.
    #[doc(hidden)]
    pub fn with_bugs(mut self, bugs: crate::testing::Bugs) -> Self {
        self.live.planted.bugs = bugs;
        self
    }

    /// What can be asked.
    pub fn view(&self) -> View<'_> {
        View {
            connection: &self.connection,
            draining: self.live.is_draining().then_some(self.live.batch),
            clock: Some(self.live.clock),
        }
    }

    // ---- getting an account

    /// Makes all keys and stores them, then says how to ask the server for a code. Asking again voids the
    /// earlier code and, if server and number are the same, keeps the keys.
    pub fn begin_registration(
        &mut self,
        account: &NewAccount,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<HttpRequest, RegistrationError> {
        let (me, request) = self.write(|db| registration::begin(db, account, now, rng))?;
        self.me = Some(me);
        Ok(request)
    }

    /// The answer to [`Engine::begin_registration`]'s request.
    pub fn code_sent(&mut self, answer: &HttpAnswer) -> Result<CodeSent, RegistrationError> {
        self.write(|db| registration::code_sent(db, answer))
    }

    /// How to make the account with the code. May be repeated with the same or another code: the keys stay.
    pub fn finish_registration(
        &mut self,
        code: &str,
        replace: bool,
    ) -> Result<HttpRequest, RegistrationError> {
        self.write(|db| registration::finish(db, code, replace))
    }

    /// The answer to [`Engine::finish_registration`]'s request.
    pub fn registered(&mut self, answer: &HttpAnswer) -> Result<Registered, RegistrationError> {
        let registered = self.write(|db| registration::registered(db, answer))?;
        self.me = profile::load(&self.connection)?;
        Ok(registered)
    }

    // ---- being connected

    /// Stores the next connection number and says where to connect. To be called before every connection.
    pub fn dial(&mut self) -> Result<Dial, Fault> {
        let (number, me) = self.write(|db| -> Stored<_> {
            let me = profile::require(db)?;
            Ok((profile::next_connection_number(db)?, me))
        })?;
        self.live.disconnect();
        self.live.phase = Phase::Dialled { number };
        Ok(Dial { origin: me.server, server_pin: me.server_pin })
    }

    /// Takes in what happened. Then poll [`Engine::poll_effect`] until it is empty.
    pub fn handle(&mut self, event: Event, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            match event {
                Event::Connected => turn.connected(),
                Event::ConnectionLost => turn.lost(),
                Event::Tick => {}
                Event::Received(bytes) => turn.received(bytes)?,
                transferred @ (Event::Uploaded { .. } | Event::Downloaded { .. }) => {
                    turn.transferred(transferred)?;
                }
            }
            turn.advance()
        })
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Event::Tick`] is wanted next, at the latest. None while there is no session.
    pub fn wake_at(&self) -> Option<Timestamp> {
        Turn::wake_at(&self.live)
    }

    /// True if this connection has nothing left to wait for: mailbox drained, acknowledgements answered,
    /// outbox empty, receipts accepted. What waits for a time that the server named does not count.
    pub fn is_settled(&self) -> bool {
        let live = &self.live;
        live.is_open()
            && live.drain_told
            && live.asked.is_empty()
            && live.ready.is_empty()
            && live.lists_wanted.is_empty()
            && live.groups.is_settled()
            && live.receipts_at.is_none()
            && live.reads_at.is_none()
            && live.refill_at.is_none()
            && !live.upload_keys
            && !live.put_list
            && live.linking.is_settled()
    }

    /// How long the server wants no more messages from this account, if it has said so: it was sent too many.
    pub fn is_to_wait(&self, now: Timestamp) -> Option<Millis> {
        let until = self.live.paused.get(&LaneClass::Messages)?;
        (*until > now).then(|| until.since(now))
    }

    /// Whether this connection has seen the end of the drain.
    pub fn is_drained(&self) -> bool {
        self.live.is_open() && self.live.drain_told
    }

    // ---- commands

    /// Stores a text, and seals and sends it as soon as it can be. The same id again is the same send.
    pub fn send_text(
        &mut self,
        text: SendText,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Sent, SendError> {
        self.store_text(&text, false, now, rng)
    }

    /// The same for a chat that the person named by the account's id, and not by a number: where a number leads
    /// changes nothing, and if the account is closed, the message fails.
    pub fn send_to_account(
        &mut self,
        text: SendText,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Sent, SendError> {
        self.store_text(&text, true, now, rng)
    }

    fn store_text(
        &mut self,
        text: &SendText,
        to_account: bool,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Sent, SendError> {
        self.turn(now, rng, |turn| {
            let sent = turn.send_text(text, to_account)?;
            turn.advance()?;
            Ok(sent)
        })?
    }

    /// Marks everything in a chat as read, and lets the other side know.
    pub fn mark_read(
        &mut self,
        chat: ChatId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<MarkedRead, Fault> {
        self.turn(now, rng, |turn| {
            let marked = turn.mark_read(chat)?;
            turn.advance()?;
            Ok(marked)
        })
    }

    /// Forgets events whose lines were written and flushed.
    pub fn mark_printed(&mut self, printed: &[EventId]) -> Result<(), Fault> {
        self.write(|db| printed.iter().try_for_each(|event| events::remove(db, *event)))
    }

    /// Sends at once what would wait for a moment (receipts, requests, keys): the process is about to end.
    pub fn flush(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            for moment in [&mut turn.live.receipts_at, &mut turn.live.refill_at] {
                *moment = moment.map(|at| at.min(now));
            }
            turn.flush_gaps();
            turn.advance()
        })
    }

    /// Runs one turn in one transaction. Its effects exist only once it is on disk.
    fn turn<T>(
        &mut self,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
        work: impl FnOnce(&mut Turn<'_>) -> Stored<T>,
    ) -> Result<T, Fault> {
        if self.poisoned {
            return Err(Fault::Poisoned);
        }
        let me = self.me.as_ref().filter(|me| me.registered).ok_or(Fault::NotRegistered)?;
        // From here on, memory and disk agree again only if all of it succeeds.
        self.poisoned = true;
        if self.live.is_open() {
            self.live.clock.carry(now);
        }
        let transaction = self.connection.transaction()?;
        let mut turn = Turn { db: &transaction, me, live: &mut self.live, now, rng, effects: Vec::new() };
        turn.catch_up()?;
        let result = work(&mut turn)?;
        let effects = turn.effects;
        transaction.commit()?;
        self.effects.extend(effects);
        if std::mem::take(&mut self.live.linking.profile_changed) {
            self.me = profile::load(&self.connection)?;
        }
        self.poisoned = false;
        Ok(result)
    }

    /// Writes without a turn: nothing here touches what is remembered between turns.
    fn write<T, E: From<Fault>>(&mut self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        if self.poisoned {
            return Err(Fault::Poisoned.into());
        }
        let transaction = self.connection.transaction().map_err(Fault::from)?;
        let result = work(&transaction)?;
        // A commit that failed may be on disk or not.
        let committed = transaction.commit();
        self.poisoned = committed.is_err();
        committed.map_err(Fault::from)?;
        Ok(result)
    }
}
