//! What the owner of a device does with it, and what it shows.

use super::{Device, Outside};
use client::{DeliveryState, Fault, SendText};
use server_ports::Clock as _;
use testkit::{
    digest,
    history::{Fact, Line},
};
use types::{AccountId, MessageId, PhoneNumber};

impl Device {
    /// Takes the device out, or tries to connect at once if it is out already.
    pub fn go_online(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if !self.online {
            self.online = true;
            self.record_presence();
        }
        self.start()?;
        self.failures = 0;
        if self.link.is_none() {
            self.connect(outside)?;
        }
        Ok(())
    }

    /// Writes down again that the device is in use: another life of its number has said that it is not.
    pub fn stays_online(&self) {
        if self.online {
            self.record_presence();
        }
    }

    /// Tries to connect, whatever the device was told the last time.
    pub fn dial_all_the_same(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.ended = None;
        self.connect(outside)
    }

    /// Puts the device away: what can still be said is said, then the process ends.
    pub fn go_offline(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if self.online {
            self.online = false;
            self.record_presence();
        }
        if let Some(engine) = &mut self.engine {
            engine.flush(self.clock.now(), &mut self.rng)?;
            self.turn_done(outside)?;
        }
        self.hang_up(outside);
        self.retry_at = None;
        self.wishes.clear();
        Ok(())
    }

    /// Writes a text to a number; it is looked up first if it has to be.
    pub fn write(&mut self, to: &PhoneNumber, text: String, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let now = self.clock.now();
        let message = MessageId::new(now, &mut self.rng);
        match engine.view().resolve(&client::ChatName::Phone(to.clone()))? {
            client::Resolved::Known(chat) => self.send(SendText { chat, message_id: message, text }, outside),
            client::Resolved::Stranger(account) => {
                self.send(SendText { chat: account.into(), message_id: message, text }, outside)
            }
            client::Resolved::LookUp | client::Resolved::Unknown | client::Resolved::Ambiguous => {
                self.wishes.push((to.clone(), message, text));
                engine.look_up(to.clone(), now, &mut self.rng)?;
                self.turn_done(outside)
            }
        }
    }

    /// Writes a text to an account.
    pub fn write_to(
        &mut self,
        chat: AccountId,
        text: String,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let message_id = MessageId::new(self.clock.now(), &mut self.rng);
        self.send(SendText { chat: chat.into(), message_id, text }, outside)
    }

    /// Repeats the last command to send.
    pub fn send_again(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        match self.last_sent.clone() {
            Some(text) => self.send(text, outside),
            None => Ok(()),
        }
    }

    /// Reads every chat.
    pub fn read(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        for chat in engine.view().chats()? {
            let marked = engine.mark_read(chat.chat, self.clock.now(), &mut self.rng)?;
            if let (Some(up_to), Some(mailbox)) = (marked.up_to, self.mailbox) {
                self.chronicle.record(Fact::MarkedRead { device: mailbox.address(), chat: chat.chat, up_to });
            }
        }
        self.turn_done(outside)
    }

    /// Takes note of numbers that belong to other accounts now: what waited for that is sent.
    pub(super) fn accept_changes(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        for phone in std::mem::take(&mut self.moved) {
            let Some(engine) = &mut self.engine else { return Ok(()) };
            let accepted = engine.accept_key_change(&phone, self.clock.now(), &mut self.rng)?;
            if let (Some(change), Some(mailbox)) = (accepted, self.mailbox) {
                let (device, from, to) = (mailbox.address(), change.old_account, change.account);
                self.chronicle.record(Fact::Readdressed { device, from, to });
            }
            self.turn_done(outside)?;
        }
        Ok(())
    }

    /// The process dies after so many more turns of its engine.
    pub const fn die_in(&mut self, turns: u64) {
        self.dies_in = Some(turns);
    }

    /// The process dies no more, unless something makes it.
    pub const fn live(&mut self) {
        self.dies_in = None;
    }

    /// Copies the disk. The next time, the process dies and the copy takes the disk's place, if the
    /// server has admitted a later connection since: until then a copy cannot be told from its original.
    ///
    /// A copy that dials often enough without hearing the answer would pass the original's number; its
    /// owner gives up before.
    pub fn restore(&mut self, outside: &mut Outside<'_>) {
        let Some(copy) = self.copy.take() else {
            self.copy = Some(self.disk.copy());
            return;
        };
        let behind = self.admitted.saturating_sub(copy.connection_number());
        if behind > 0 {
            self.die(outside);
            self.disk = copy;
            self.last_sent = None;
            self.dials_left = Some(behind);
        }
    }

    /// Writes down what the device shows.
    pub fn show_views(&self) -> Result<(), Fault> {
        let (Some(engine), Some(mailbox)) = (&self.engine, self.mailbox) else { return Ok(()) };
        for chat in engine.view().chats()? {
            let history = engine.view().history(chat.chat, u32::MAX >> 1, self.clock.now())?;
            for message in history.iter().filter(|message| message.state == DeliveryState::Failed) {
                // A process that died may have been told, and nobody after it.
                self.chronicle.record(Fact::Refused { message: message.message_id });
            }
            let lines = history.into_iter().map(|one| Line { message: one.message_id, stamp: one.stamp });
            self.chronicle.record(Fact::View {
                device: mailbox.address(),
                chat: chat.chat,
                lines: lines.collect(),
                gaps: self.disk.gaps(chat.chat),
            });
            if let Some(up_to) = self.disk.read_up_to(chat.chat) {
                let (device, chat) = (mailbox.address(), chat.chat);
                self.chronicle.record(Fact::ReadUpTo { device, chat, up_to });
            }
        }
        Ok(())
    }

    /// Writes down what is in use on the device.
    pub fn record_resources(&self) {
        let resource = |name: &'static str, bound| Fact::Resource {
            owner: format!("{:?} of {:?}", self.seat, self.person),
            name: name.to_owned(),
            value: self.disk.rows(name),
            bound,
        };
        for (table, bound) in [("receipt_due", 0), ("resend_wanted", 0)] {
            self.chronicle.record(resource(table, bound));
        }
    }
    pub(super) fn send(&mut self, text: SendText, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let (Some(engine), Some(mailbox)) = (&mut self.engine, self.mailbox) else { return Ok(()) };
        let body = digest::of(text.text.as_bytes());
        self.chronicle.add_canary(&format!("the text of message {}", text.message_id), text.text.as_bytes());
        let repeats = self.last_sent.as_ref() == Some(&text);
        let sent = engine.send_text(text.clone(), self.clock.now(), &mut self.rng);
        match sent {
            Ok(_) if !repeats => self.chronicle.record(Fact::Composed {
                message: text.message_id,
                sender: mailbox.address(),
                to: text.chat,
                body,
            }),
            Ok(_) => {}
            Err(client::SendError::Fault(fault)) => return Err(fault),
            Err(_) => return Ok(()),
        }
        self.last_sent = Some(text);
        self.turn_done(outside)
    }
    pub(super) fn looked_up(
        &mut self,
        phone: &PhoneNumber,
        account: Option<AccountId>,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let (found, waiting) =
            std::mem::take(&mut self.wishes).into_iter().partition(|(asked, ..)| asked == phone);
        self.wishes = waiting;
        let found: Vec<(PhoneNumber, MessageId, String)> = found;
        let Some(chat) = account else { return Ok(()) };
        for (_, message_id, text) in found {
            self.send(SendText { chat: chat.into(), message_id, text }, outside)?;
        }
        Ok(())
    }
}
