//! The engine itself: its state, its commands, and the one way in which they become transactions.

mod own_devices;

use crate::{
    AcceptedChange, ChangeId, Closed, CodeSent, DeliveryState, Dial, Effect, Event, EventId, Fault,
    GroupCommand, GroupError, HttpAnswer, HttpRequest, InviteLink, NewAccount, OpenError, Registered,
    RegistrationError, View, database,
    groups::{self, Asking},
    linking::Linking,
    live::{Asked, Live, Phase},
    registration,
    restore::Restore,
    store::{Stored, contacts, device_lists, events, outbox, profile, profile::Me},
    turn::Turn,
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use std::collections::VecDeque;
use types::{AccountId, ChatId, GroupId, MessageId, PhoneNumber, Stamp, Timestamp};
use wire::{Push, Refusal, Response, ServerFrame};

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
        groups::prepare(&connection)?;
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
            && live.refill_at.is_none()
            && !live.upload_keys
            && !live.put_list
            && live.linking.is_settled()
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

    // ---- groups

    /// Makes a group of one's own account and these. Its outcome is an [`Effect::GroupChangeDone`]; asking again
    /// while it is not known is the same change. A change that never left is forgotten with the process.
    pub fn create_group(
        &mut self,
        name: &str,
        members: &[AccountId],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.create_group(name, members)?;
            turn.advance()?;
            Ok(change)
        })?
    }

    /// Changes a group, as [`Engine::create_group`] makes one.
    pub fn change_group(
        &mut self,
        group: GroupId,
        command: GroupCommand,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.change_group(group, command)?;
            turn.advance()?;
            Ok(change)
        })?
    }

    /// Joins a group by its invite link, as [`Engine::create_group`] makes one.
    pub fn join_group(
        &mut self,
        link: &InviteLink,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.join_group(link)?;
            turn.advance()?;
            Ok(change)
        })?
    }

    /// Asks the server which account a number leads to: [`Effect::LookedUp`]. Forgotten with the process.
    pub fn look_up(
        &mut self,
        phone: PhoneNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            turn.live.lookups.insert(phone);
            turn.advance()
        })
    }

    /// Asks for the newest device lists of these accounts, so that [`View::safety`] can answer and [`View::is_closed`] is
    /// up to date.
    pub fn fetch_device_lists(
        &mut self,
        accounts: &[AccountId],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            accounts.iter().for_each(|account| turn.want_list(*account));
            turn.advance()
        })
    }

    /// Remembers that the safety number with this account was compared. False if the account is not known.
    pub fn mark_verified(&mut self, account: AccountId) -> Result<bool, Fault> {
        self.write(|db| contacts::set_verified(db, account))
    }

    /// Accepts the account that a number leads to now: the number moves to it, and what was held for the number
    /// is sent there. None if the number leads where it led.
    pub fn accept_key_change(
        &mut self,
        phone: &PhoneNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<AcceptedChange>, Fault> {
        self.turn(now, rng, |turn| {
            let accepted = turn.accept_key_change(phone)?;
            turn.advance()?;
            Ok(accepted)
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

/// The engine's table of contents: what each frame of the server leads to.
impl Turn<'_> {
    fn received(&mut self, bytes: bytes::Bytes) -> Stored<()> {
        if self.live.phase == Phase::Offline {
            return Ok(());
        }
        match ServerFrame::decode(bytes) {
            Ok(ServerFrame::Push(push)) => self.pushed(push),
            Ok(ServerFrame::Answer { id, result }) => match self.live.asked.remove(&id) {
                Some(asked) => self.answered(asked, result),
                None => {
                    self.close(Closed::Protocol);
                    Ok(())
                }
            },
            Err(_) => {
                self.close(Closed::Protocol);
                Ok(())
            }
        }
    }

    fn pushed(&mut self, push: Push) -> Stored<()> {
        match push {
            Push::Hello(hello) => return self.greeted(&hello),
            Push::Closing(refusal) => return self.closing(&refusal),
            Push::Reconnect { after } => self.close(Closed::Reconnect { after }),
            Push::Ephemeral(_) | Push::Unknown => {}
            _ if !self.live.is_open() => self.close(Closed::Protocol),
            Push::Deliver(rows) => return self.delivered(&rows),
            Push::Drained => self.live.drained = true,
            Push::KeysLow(left) => self.keys_low(left),
            Push::DeviceListChanged { account, version } => return self.list_changed(account, version),
        }
        Ok(())
    }

    fn list_changed(&mut self, account: AccountId, version: u64) -> Stored<()> {
        let known = self.list(account)?;
        // The primary signs its account's lists, so no other is newer.
        let is_ours_to_sign = account == self.me.account() && self.me.account_secret.is_some();
        if known.is_some_and(|list| list.version() < version) && !is_ours_to_sign {
            device_lists::mark_stale(self.db, account)?;
            self.want_list(account);
        }
        Ok(())
    }

    fn answered(&mut self, asked: Asked, result: Result<Response, Refusal>) -> Stored<()> {
        match (asked, result) {
            (Asked::Authenticate, Ok(Response::Authenticated(answer))) => self.authenticated(answer),
            (Asked::Authenticate, Err(refusal)) => self.closing(&refusal),
            (Asked::Send { row, lane }, Ok(Response::Accepted { stamp, .. })) => {
                self.accepted(row, lane, stamp)
            }
            (Asked::Send { row, lane }, Err(refusal)) => self.send_refused(row, lane, &refusal),
            // A row that was not deleted comes again and is dropped then.
            (Asked::Ack, Ok(Response::Done) | Err(_)) => Ok(()),
            (Asked::Keys(accounts), Ok(Response::Keys(keys))) => self.keys_came(&accounts, &keys),
            (Asked::Keys(accounts), Err(refusal)) => self.keys_refused(&accounts, &refusal),
            (Asked::Lists(accounts), Ok(Response::DeviceLists(lists))) => self.lists_came(&accounts, &lists),
            (Asked::Lists(accounts), Err(refusal)) => {
                self.lists_refused(accounts, &refusal);
                Ok(())
            }
            (Asked::PutList, Ok(Response::Done) | Err(_)) => {
                self.list_put();
                Ok(())
            }
            (Asked::UploadKeys { signed, last_resort }, Ok(Response::Done)) => {
                self.keys_uploaded(signed, last_resort)
            }
            (Asked::UploadKeys { .. }, Err(_)) => {
                self.upload_refused();
                Ok(())
            }
            (Asked::KeyCount, Ok(Response::KeyCounts(left))) => self.keys_counted(left),
            (Asked::KeyCount, Err(_)) => Ok(()),
            (Asked::LookUp(phone), Ok(Response::LookupResult(found))) => {
                self.looked_up(phone, found.first().copied().flatten())
            }
            (Asked::LookUp(phone), Err(refusal)) => {
                self.look_up_refused(phone, &refusal);
                Ok(())
            }
            (Asked::CheckClaim { account, phone }, Ok(Response::LookupResult(found))) => {
                self.claim_checked(account, &phone, found.first().copied().flatten())
            }
            // Asked again with the next connection.
            (Asked::CheckClaim { .. }, Err(_)) => Ok(()),
            (Asked::Successor { account, phone }, Ok(Response::LookupResult(found))) => {
                self.successor_found(account, &phone, found.first().copied().flatten())
            }
            (Asked::Successor { account, .. }, Err(refusal)) => {
                self.successor_refused(account, &refusal);
                Ok(())
            }
            (Asked::Linking(asked), result) => self.linking_answered(asked, result),
            (Asked::Group(Asking::Chain(group)), Ok(Response::GroupState { operations, more })) => {
                self.chain_came(group, &operations, more)
            }
            (Asked::Group(Asking::Chain(group)), Err(refusal)) => self.chain_refused(group, &refusal),
            (Asked::Group(Asking::Change(change)), Ok(Response::Accepted { stamp, .. })) => {
                self.change_accepted(change, stamp)
            }
            (Asked::Group(Asking::Change(change)), Err(refusal)) => self.change_refused(change, &refusal),
            (_, Ok(_)) => {
                self.close(Closed::Protocol);
                Ok(())
            }
        }
    }
}
