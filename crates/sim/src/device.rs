//! A person's device: the client's own engine on a disk that survives, driven by the simulation.
//!
//! Owns: the engine's process and its connection, when to try again, and what the device's owner wants.
//! Invariants: what the engine wants transmitted leaves in order or dies with its process; a process
//! that died comes back with nothing but the disk.
//! Must not know: servers.

use crate::{
    chance::Chance,
    chronicle::{Chronicle, digest_of},
    disk::{Disk, Posted},
    network::{Ends, LinkId, Network, Parcel, Way},
    watch::{record_bundle, record_upload},
};
use bytes::Bytes;
use client::testing::Bugs;
use client::{
    Closed, DeliveryState, Effect, Engine, Event, EventView, Fault, LoggedEvent, ReceiptKind, SendText,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use server_ports::{Clock as _, fake::FakeClock};
use std::collections::{BTreeMap, BTreeSet};
use testkit::{
    digest,
    event::{Node, Person},
    history::{Fact, Line},
    ratchet,
};
use types::{
    AccountId, EnvelopeId, MailboxId, MessageId, Millis, PhoneNumber, Position, Stamp, Timestamp, limits,
};
use wire::{ClientFrame, Envelope, Push, Request, Response, ServerFrame};

/// Two pings without an answer, and the connection counts as lost.
const SILENCE_MAX: Millis = Millis(2 * limits::KEEP_ALIVE_INTERVAL.0);
/// The longest wait between two attempts to connect.
const BACK_OFF_SECONDS_MAX: u64 = 60;
/// A process that died is started again within this time.
const RESTART_WITHIN: Millis = Millis::from_secs(15);

/// What a device has around it.
pub struct Outside<'a> {
    /// Carries frames.
    pub network: &'a mut Network,
    /// What is known of every envelope that ever left a device.
    pub post: &'a mut BTreeMap<EnvelopeId, Post>,
    /// The true time.
    pub now: Timestamp,
    /// How many nodes there are.
    pub nodes: usize,
}

/// An envelope, as it left.
#[derive(Clone, Debug)]
pub struct Post {
    posted: Posted,
    to: Vec<MailboxId>,
}

/// One device.
pub struct Device {
    person: Person,
    home: Node,
    clock: FakeClock,
    chronicle: Chronicle,
    chance: Chance,
    rng: ChaCha20Rng,
    /// Survives crashes.
    pub disk: Disk,
    /// A copy of the disk, made a while ago.
    copy: Option<Disk>,
    /// The number of the last connection that the server admitted.
    admitted: u64,
    /// A restored copy dials so many times more.
    dials_left: Option<u64>,
    engine: Option<Engine>,
    mailbox: Option<MailboxId>,
    link: Option<LinkId>,
    /// Sends without an answer on this connection, by request.
    asked: BTreeMap<u64, EnvelopeId>,
    online: bool,
    failures: u32,
    retry_at: Option<Timestamp>,
    restart_at: Option<Timestamp>,
    heard_at: Timestamp,
    ping_at: Timestamp,
    /// The process dies after so many more turns of the engine.
    dies_in: Option<u64>,
    /// Why no connection can help any more.
    ended: Option<Closed>,
    /// Texts whose recipient is being looked up.
    wishes: Vec<(PhoneNumber, MessageId, String)>,
    last_sent: Option<SendText>,
    failed: BTreeSet<EnvelopeId>,
    bugs: Bugs,
}

impl Device {
    /// A new device with an empty disk.
    pub fn new(
        person: Person,
        home: Node,
        clock: FakeClock,
        chronicle: Chronicle,
        seed: u64,
        bugs: Bugs,
    ) -> Result<Self, Fault> {
        let now = clock.true_now();
        let mut chance = Chance::new(seed, 1_000 + person.0 as u64);
        let mut key = [0; 32];
        rand_core::RngCore::fill_bytes(chance.rng(), &mut key);
        let mut device = Self {
            person,
            home,
            clock,
            chronicle,
            chance,
            rng: ChaCha20Rng::from_seed(key),
            disk: Disk::new(),
            copy: None,
            admitted: 0,
            dials_left: None,
            engine: None,
            mailbox: None,
            link: None,
            asked: BTreeMap::new(),
            online: false,
            failures: 0,
            retry_at: None,
            restart_at: None,
            heard_at: now,
            ping_at: now,
            dies_in: None,
            ended: None,
            wishes: Vec::new(),
            last_sent: None,
            failed: BTreeSet::new(),
            bugs,
        };
        device.start()?;
        Ok(device)
    }

    /// The engine, for what only its owner does; none while the process is dead.
    pub fn engine(&mut self) -> Option<(&mut Engine, Timestamp, &mut ChaCha20Rng)> {
        let now = self.clock.now();
        Some((self.engine.as_mut()?, now, &mut self.rng))
    }

    /// The registration is finished.
    pub fn registered(&mut self, mailbox: MailboxId) {
        self.mailbox = Some(mailbox);
        for secret in self.disk.secrets() {
            self.chronicle.add_canary(&format!("a secret key of {:?}", self.person), &secret);
        }
    }

    /// The device's mailbox, once registered.
    pub const fn mailbox(&self) -> Option<MailboxId> {
        self.mailbox
    }

    /// Its connection.
    pub const fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Whether its owner has it in use.
    pub const fn is_online(&self) -> bool {
        self.online
    }

    /// Why it will never connect again.
    pub const fn ended(&self) -> Option<Closed> {
        self.ended
    }

    // ---- what its owner does

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
            client::Resolved::Known(chat) | client::Resolved::Stranger(chat) => {
                self.send(SendText { chat, message_id: message, text }, outside)
            }
            client::Resolved::LookUp => {
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
        self.send(SendText { chat, message_id, text }, outside)
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
            engine.mark_read(chat.chat, self.clock.now(), &mut self.rng)?;
        }
        self.turn_done(outside)
    }

    /// The process dies after so many more turns of its engine.
    pub const fn die_in(&mut self, turns: u64) {
        self.dies_in = Some(turns);
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
        }
        Ok(())
    }

    /// Writes down what is in use on the device.
    pub fn record_resources(&self) {
        let resource = |name: &'static str, bound| Fact::Resource {
            owner: format!("device of {:?}", self.person),
            name: name.to_owned(),
            value: self.disk.rows(name),
            bound,
        };
        for (table, bound) in [("held", 0), ("receipt_due", 0), ("resend_wanted", 0)] {
            self.chronicle.record(resource(table, bound));
        }
    }

    // ---- what happens to it

    /// When something becomes due by itself.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let tick = self.engine.as_ref().and_then(Engine::wake_at).map(|at| self.true_time(at));
        let keep_alive = self.link.map(|_| self.ping_at.min(self.heard_at + SILENCE_MAX));
        [tick, keep_alive, self.retry_at, self.restart_at].into_iter().flatten().min()
    }

    /// Does what has become due. Says whether there was anything.
    pub fn proceed(&mut self, outside: &mut Outside<'_>) -> Result<bool, Fault> {
        let now = outside.now;
        let mut busy = false;
        if self.restart_at.is_some_and(|at| at <= now) {
            busy = true;
            self.start()?;
            if self.online {
                self.connect(outside)?;
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            busy = true;
            self.connect(outside)?;
        }
        if let Some(link) = self.link {
            if now >= self.heard_at + SILENCE_MAX {
                busy = true;
                self.hang_up(outside);
                self.lost(outside)?;
            } else if now >= self.ping_at {
                busy = true;
                self.ping_at = now + limits::KEEP_ALIVE_INTERVAL;
                outside.network.send(link, Way::Up, Parcel::Ping, now);
            }
        }
        let tick_due =
            self.engine.as_ref().and_then(Engine::wake_at).is_some_and(|at| self.true_time(at) <= now);
        if tick_due {
            busy = true;
            self.handle(Event::Tick, outside)?;
        }
        Ok(busy)
    }

    /// A parcel came on a connection.
    pub fn arrived(&mut self, link: LinkId, parcel: Parcel, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if self.link != Some(link) {
            return Ok(());
        }
        self.heard_at = outside.now;
        match parcel {
            Parcel::Open => self.handle(Event::Connected, outside),
            Parcel::Ping => Ok(()),
            Parcel::Frame(bytes) => self.received(bytes, outside),
            Parcel::Close => {
                self.link = None;
                self.lost(outside)
            }
        }
    }

    fn start(&mut self) -> Result<(), Fault> {
        self.restart_at = None;
        if self.engine.is_none() {
            let engine = Engine::open(self.disk.connect()).expect("a disk that an engine left can be opened");
            self.engine = Some(engine.with_bugs(self.bugs));
            // What the process before had stored and not shown.
            self.print_events()?;
        }
        Ok(())
    }

    fn die(&mut self, outside: &mut Outside<'_>) {
        self.engine = None;
        self.dies_in = None;
        self.wishes.clear();
        self.retry_at = None;
        if let Some(mailbox) = self.mailbox {
            self.chronicle.record(Fact::Crashed { device: mailbox.address() });
        }
        if let Some(link) = self.link.take() {
            outside.network.cut(link, outside.now);
        }
        self.asked.clear();
        self.restart_at = Some(outside.now + Millis(self.chance.below(RESTART_WITHIN.0)));
    }

    fn connect(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.retry_at = None;
        let Some(engine) = &mut self.engine else { return Ok(()) };
        if self.ended.is_some() || self.link.is_some() || self.mailbox.is_none() {
            return Ok(());
        }
        if self.dials_left == Some(0) {
            self.ended = Some(Closed::Cloned);
            return Ok(());
        }
        self.dials_left = self.dials_left.map(|dials| dials - 1);
        engine.dial()?;
        // Mostly the nearest node; after a failure, any.
        let anywhere = self.failures > 0 && self.chance.per_mille(500);
        let node = if anywhere { Node(self.chance.below(outside.nodes as u64) as usize) } else { self.home };
        self.asked.clear();
        self.heard_at = outside.now;
        self.ping_at = outside.now + limits::KEEP_ALIVE_INTERVAL;
        self.link = Some(outside.network.open(Ends { person: self.person, node }, outside.now));
        self.turn_done(outside)
    }

    fn hang_up(&mut self, outside: &mut Outside<'_>) {
        if let Some(link) = self.link.take() {
            outside.network.send(link, Way::Up, Parcel::Close, outside.now);
        }
        self.asked.clear();
        if let Some(engine) = &mut self.engine {
            // Its outcome does not matter to a process that goes away.
            let _ = engine.handle(Event::ConnectionLost, self.clock.now(), &mut self.rng);
            while engine.poll_effect().is_some() {}
        }
    }

    fn lost(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.asked.clear();
        self.wait_to_retry(outside.now);
        self.handle(Event::ConnectionLost, outside)
    }

    /// At once the first time, then exponential with full jitter.
    fn wait_to_retry(&mut self, now: Timestamp) {
        if !self.online {
            return;
        }
        let ceiling = match self.failures {
            0 => 0,
            failures => (1_u64 << (failures - 1).min(6)).min(BACK_OFF_SECONDS_MAX),
        };
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + Millis(self.chance.below(ceiling * 1_000 + 1)));
    }

    fn received(&mut self, bytes: Bytes, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.chronicle.trace("down", &bytes);
        let Ok(frame) = ServerFrame::decode(bytes.clone()) else {
            return self.handle(Event::Received(bytes), outside);
        };
        let delivered = self.note_delivered(&frame);
        let accepted = self.note_answer(&frame);
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.handle(Event::Received(bytes), self.clock.now(), &mut self.rng)?;
        if let Some((envelope, stamp)) = accepted {
            self.note_accepted(envelope, stamp, outside);
        }
        self.note_stored(&delivered, outside);
        self.turn_done(outside)
    }

    fn handle(&mut self, event: Event, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.handle(event, self.clock.now(), &mut self.rng)?;
        self.turn_done(outside)
    }

    fn send(&mut self, text: SendText, outside: &mut Outside<'_>) -> Result<(), Fault> {
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

    // ---- one turn of the engine is committed

    /// Carries out what the engine wants done, unless the process dies in between.
    fn turn_done(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let mut effects = Vec::new();
        if let Some(engine) = &mut self.engine {
            effects.extend(std::iter::from_fn(|| engine.poll_effect()));
        }
        let dies = self.dies_in == Some(0);
        if dies {
            let survive = self.chance.below(effects.len() as u64 + 1) as usize;
            effects.truncate(survive);
        }
        self.dies_in = self.dies_in.map(|turns| turns.saturating_sub(1));
        for effect in effects {
            self.carry_out(effect, outside)?;
        }
        if dies {
            self.die(outside);
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect, outside: &mut Outside<'_>) -> Result<(), Fault> {
        match effect {
            Effect::Transmit(bytes) => self.transmit(bytes, outside),
            Effect::Close(closed) => self.close(closed, outside),
            Effect::Authenticated => {
                self.failures = 0;
                self.admitted = self.disk.connection_number();
                Ok(())
            }
            Effect::Drained | Effect::EventsLogged => self.print_events(),
            Effect::StateChanged(message) => self.state_changed(message),
            Effect::LookedUp { phone, result } => self.looked_up(&phone, result.ok().flatten(), outside),
        }
    }

    fn close(&mut self, closed: Closed, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if let Some(link) = self.link.take() {
            outside.network.send(link, Way::Up, Parcel::Close, outside.now);
        }
        self.asked.clear();
        match closed {
            // Somebody else's newer connection: in a simulation without clones it is our own, from
            // before a crash, that was heard of late. A person would simply try again.
            Closed::Replaced => self.wait_to_retry(outside.now),
            closed if closed.is_final() => self.ended = Some(closed),
            Closed::Reconnect { after } => {
                self.retry_at = Some(outside.now + Millis(self.chance.below(after.0 + 1)))
            }
            _ => {
                self.failures = self.failures.max(1);
                self.wait_to_retry(outside.now);
            }
        }
        self.handle(Event::ConnectionLost, outside)
    }

    fn transmit(&mut self, bytes: Bytes, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if let Ok(frame) = ClientFrame::decode(bytes.clone()) {
            self.note_request(&frame, outside);
        }
        if let Some(link) = self.link {
            outside.network.send(link, Way::Up, Parcel::Frame(bytes), outside.now);
        }
        Ok(())
    }

    fn looked_up(
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
            self.send(SendText { chat, message_id, text }, outside)?;
        }
        Ok(())
    }

    // ---- facts

    fn record_presence(&self) {
        let Some(mailbox) = self.mailbox else { return };
        let device = mailbox.address();
        let fact = if self.online { Fact::Online { device } } else { Fact::Offline { device } };
        self.chronicle.record(fact);
    }

    fn note_request(&mut self, frame: &ClientFrame, outside: &mut Outside<'_>) {
        let Some(mailbox) = self.mailbox else { return };
        match &frame.request {
            Request::Send(send) => {
                let posted =
                    self.disk.posted(send.envelope_id).unwrap_or(Posted { message: None, resend: false });
                let to = send.sealed.iter().map(|sealed| sealed.to).collect();
                outside.post.entry(send.envelope_id).or_insert(Post { posted, to });
                self.asked.insert(frame.id, send.envelope_id);
                for sealed in &send.sealed {
                    self.chronicle.record(Fact::Sealed {
                        envelope: send.envelope_id,
                        message: posted.message.filter(|_| !posted.resend),
                        sender: mailbox.address(),
                        to: sealed.to,
                        step: ratchet::step(sealed.kind, &sealed.ciphertext),
                        ciphertext: digest_of(&sealed.ciphertext),
                    });
                }
            }
            Request::Ack(positions) => {
                for position in positions {
                    self.chronicle.record(Fact::Acked { mailbox, position: *position });
                }
            }
            Request::UploadKeys(keys) => record_upload(&self.chronicle, mailbox, keys),
            _ => {}
        }
    }

    fn note_delivered(&self, frame: &ServerFrame) -> Vec<(Position, Envelope)> {
        let ServerFrame::Push(Push::Deliver(deliveries)) = frame else { return Vec::new() };
        let Some(mailbox) = self.mailbox else { return Vec::new() };
        let mut delivered = Vec::new();
        for delivery in deliveries {
            let Ok(envelope) = Envelope::decode(delivery.envelope.clone()) else { continue };
            self.chronicle.record(Fact::Delivered {
                mailbox,
                envelope: envelope.envelope_id,
                position: delivery.position,
                ciphertext: digest_of(&envelope.ciphertext),
            });
            delivered.push((delivery.position, envelope));
        }
        delivered
    }

    fn note_answer(&mut self, frame: &ServerFrame) -> Option<(EnvelopeId, Stamp)> {
        let (ServerFrame::Answer { id, result }, Some(mailbox)) = (frame, self.mailbox) else { return None };
        let envelope = self.asked.remove(id);
        match result {
            Ok(Response::Accepted { stamp, .. }) => Some((envelope?, *stamp)),
            Ok(Response::Keys(accounts)) => {
                for keys in accounts {
                    for bundle in &keys.bundles {
                        let owner = types::DeviceAddress::new(keys.account, bundle.device)
                            .mailbox(bundle.registration);
                        record_bundle(&self.chronicle, owner, mailbox, bundle);
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn note_accepted(&self, envelope: EnvelopeId, stamp: Stamp, outside: &Outside<'_>) {
        let (Some(post), Some(mailbox)) = (outside.post.get(&envelope), self.mailbox) else { return };
        self.chronicle.record(Fact::Accepted {
            envelope: Some(envelope),
            message: post.posted.message,
            resend: post.posted.resend && post.posted.message.is_some(),
            sender: mailbox.address(),
            to: post.to.clone(),
            stamp,
        });
    }

    /// What a delivery brought is on disk, as far as the disk shows it.
    fn note_stored(&mut self, delivered: &[(Position, Envelope)], outside: &Outside<'_>) {
        let Some(mailbox) = self.mailbox else { return };
        for (_, envelope) in delivered {
            let id = envelope.envelope_id;
            if let Some(failure) = self.disk.failure(id).filter(|_| self.failed.insert(id)) {
                let (device, sender) = (mailbox.address(), envelope.from);
                self.chronicle.record(Fact::DecryptFailed { device, sender, envelope: id, failure });
            }
            if self.disk.has_quarantined(id) {
                self.chronicle.record(Fact::Quarantined { device: mailbox.address(), envelope: id });
            }
            let message = outside.post.get(&id).and_then(|post| post.posted.message);
            let committed = message.is_none_or(|message| {
                self.disk.has_seen(envelope.from.account, message)
                    || self.failed.contains(&id)
                    || self.disk.has_held(id)
            });
            if committed {
                self.chronicle.record(Fact::Stored { mailbox, envelope: id });
            }
        }
    }

    fn state_changed(&self, message: MessageId) -> Result<(), Fault> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let status = engine.view().status(message, self.clock.now())?;
        if status.is_some_and(|status| status.state == DeliveryState::Failed) {
            self.chronicle.record(Fact::Refused { message });
        }
        Ok(())
    }

    fn print_events(&mut self) -> Result<(), Fault> {
        let (Some(engine), Some(mailbox)) = (&mut self.engine, self.mailbox) else { return Ok(()) };
        let events = engine.view().unprinted_events(10_000)?;
        for LoggedEvent { event, .. } in &events {
            record_event(&self.chronicle, mailbox, event);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        engine.mark_printed(&ids)
    }

    fn true_time(&self, shown: Timestamp) -> Timestamp {
        let (shows, is) = (self.clock.now(), self.clock.true_now());
        if shown <= shows { is } else { is + shown.since(shows) }
    }
}

fn record_event(chronicle: &Chronicle, mailbox: MailboxId, event: &EventView) {
    let device = mailbox.address();
    match event {
        EventView::Message(message) => {
            let (Some(stamp), body) = (message.stamp, digest::of(message.text.as_bytes())) else { return };
            let sender = types::DeviceAddress::new(message.sender.account, message.sender.device);
            chronicle.record(Fact::Shown { device, message: message.message_id, sender, stamp, body });
        }
        EventView::Receipt { kind, message_ids, from } => {
            let kind = match kind {
                ReceiptKind::Delivered => testkit::history::ReceiptKind::Delivered,
                ReceiptKind::Read => testkit::history::ReceiptKind::Read,
            };
            for message in message_ids {
                chronicle.record(Fact::Receipt { device, message: *message, from: *from, kind });
            }
        }
        EventView::Gap { .. } | EventView::SplitView { .. } | EventView::NumberMoved { .. } => {}
    }
}
