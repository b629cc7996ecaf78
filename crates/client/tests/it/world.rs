//! People with engines, one server, one clock, and wires that carry a frame at a time.

use crate::{
    answers::{CODE, ORIGIN},
    server::{Server, Session},
};
use bytes::Bytes;
use client::{
    Closed, DeliveryState, Effect, Engine, Event, EventView, MessageView, NewAccount, SendText, Sent,
    database,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rusqlite::Connection;
use signed::{AccountSecret, DeviceList, DeviceListDraft, DeviceSecret, ListedDevice};
use std::collections::VecDeque;
use types::{
    AccountId, DeviceNumber, MessageId, Millis, PhoneNumber, Timestamp, limits::REQUESTS_UNANSWERED_MAX,
};
use wire::{ClientFrame, Request};

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A person with one device.
pub struct Person {
    engine: Option<Engine>,
    rng: ChaCha20Rng,
    pub account: AccountId,
    session: Option<Session>,
    /// From the engine to the server, and back.
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    /// How the last connection ended.
    pub closed: Option<Closed>,
    /// Every effect but frames, as it came.
    pub effects: Vec<Effect>,
    /// Everything that was printed.
    pub printed: Vec<EventView>,
}

impl Person {
    pub fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    /// Gives the engine together with its randomness.
    pub fn with_rng<T>(&mut self, work: impl FnOnce(&mut Engine, &mut ChaCha20Rng) -> T) -> T {
        work(self.engine.as_mut().unwrap(), &mut self.rng)
    }

    /// Plants faults in the engine.
    pub fn plant(&mut self, bugs: client::testing::Bugs) {
        self.engine = self.engine.take().map(|engine| engine.with_bugs(bugs));
    }

    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    fn poll(&mut self) {
        while let Some(effect) = self.engine.as_mut().unwrap().poll_effect() {
            match effect {
                Effect::Transmit(bytes) => self.up.push_back(bytes),
                Effect::Close(why) => {
                    self.closed = Some(why);
                    self.cut();
                }
                other => self.effects.push(other),
            }
        }
    }

    /// The wire is cut; what was on it is lost.
    fn cut(&mut self) {
        self.session = None;
        self.up.clear();
        self.down.clear();
    }
}

pub struct World {
    pub now: Timestamp,
    pub server: Server,
    pub people: Vec<Person>,
}

impl World {
    /// Registers this many people: +1 555 000 0000 and up.
    pub fn new(people: usize) -> Self {
        let mut world = Self { now: START, server: Server::new(START), people: Vec::new() };
        for _ in 0..people {
            world.register();
        }
        world
    }

    pub fn register(&mut self) -> usize {
        let number = self.people.len();
        self.register_phone(&format!("+1555000{number:04}"))
    }

    pub fn register_phone(&mut self, phone: &str) -> usize {
        let number = self.people.len();
        let mut rng = ChaCha20Rng::seed_from_u64(number as u64);
        let mut engine = Engine::open(database::open_in_memory().unwrap()).unwrap();
        let phone: PhoneNumber = phone.parse().unwrap();
        let account = NewAccount { server: ORIGIN.to_owned(), server_pin: None, phone, name: None };
        let ask = engine.begin_registration(&account, self.now, &mut rng).unwrap();
        engine.code_sent(&self.server.http(&ask)).unwrap();
        let finish = engine.finish_registration(CODE, true).unwrap();
        let registered = engine.registered(&self.server.http(&finish)).unwrap();
        self.people.push(Person {
            engine: Some(engine),
            rng,
            account: registered.account,
            session: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            closed: None,
            effects: Vec::new(),
            printed: Vec::new(),
        });
        number
    }

    /// Adds a device to a person's account, as its primary would; it is a person of its own here. Its keys are made
    /// by a registration that never was.
    pub fn link_device(&mut self, primary: usize) -> usize {
        let who = self.register_phone("+15559990000");
        let account = self.account(primary);
        let made = self.server.accounts.remove(&self.people[who].account).unwrap();
        self.server.numbers.retain(|_, holder| *holder != made.list.account());
        let listed = self.server.accounts[&account].list.clone();
        let number = (2..).map(|number| DeviceNumber::new(number).unwrap());
        let number = number.into_iter().find(|number| listed.device(*number).is_none()).unwrap();
        let mut entry = None;
        self.with_database(who, |database| {
            let (secret, identity): ([u8; 32], Vec<u8>) = database
                .query_row("SELECT device_secret, identity FROM profile", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            let identity = seal::IdentityKeyPair::from_slice(&identity).unwrap();
            let registration = made.list.devices()[0].registration();
            let secret = DeviceSecret::from_bytes(&secret);
            entry = Some(ListedDevice::sign(account, number, registration, *identity.public(), &secret));
        });
        let mut devices = listed.devices().to_vec();
        devices.push(entry.unwrap());
        devices.sort_by_key(ListedDevice::number);
        self.sign_list(primary, devices);
        let device = made.devices[&DeviceNumber::PRIMARY].clone();
        self.server.accounts.get_mut(&account).unwrap().devices.insert(number, device);
        let list = self.server.accounts[&account].list.clone();
        self.with_database(who, |database| {
            let sql = "UPDATE profile SET account = ?1, account_secret = NULL, device = ?2, joined = 1";
            database.execute(sql, rusqlite::params![account.as_bytes(), number.get()]).unwrap();
            database.execute("DELETE FROM device_list", []).unwrap();
            write_list(database, &list);
        });
        self.people[who].account = account;
        who
    }

    /// Takes a device off its account's list, as the primary would.
    pub fn unlink_device(&mut self, primary: usize, device: DeviceNumber) {
        let account = self.account(primary);
        let mut devices = self.server.accounts[&account].list.devices().to_vec();
        devices.retain(|listed| listed.number() != device);
        self.sign_list(primary, devices);
        self.server.accounts.get_mut(&account).unwrap().devices.remove(&device);
    }

    /// The primary's engine takes a device off its account's list.
    pub fn remove_device(&mut self, primary: usize, device: DeviceNumber) {
        let now = self.now;
        let person = &mut self.people[primary];
        person.engine.as_mut().unwrap().remove_device(device, now, &mut person.rng).unwrap().unwrap();
        person.poll();
        self.run();
    }

    /// The primary signs its account's next list, and the server has it.
    fn sign_list(&mut self, primary: usize, devices: Vec<ListedDevice>) {
        let (account, now) = (self.account(primary), self.now);
        let version = self.server.accounts[&account].list.version() + 1;
        let mut signed = None;
        self.with_database(primary, |database| {
            let secret: [u8; 32] =
                database.query_row("SELECT account_secret FROM profile", [], |row| row.get(0)).unwrap();
            let draft = DeviceListDraft { version, issued_at: now, devices, sealed_names: Vec::new() };
            let list = draft.sign(&AccountSecret::from_bytes(&secret)).unwrap();
            database.execute("UPDATE profile SET list_version = ?1", [version as i64]).unwrap();
            write_list(database, &list);
            signed = Some(list);
        });
        self.server.accounts.get_mut(&account).unwrap().list = signed.unwrap();
    }

    pub fn account(&self, who: usize) -> AccountId {
        self.people[who].account
    }

    // ---- connections

    pub fn connect(&mut self, who: usize) {
        self.disconnect(who);
        self.people[who].engine().dial().unwrap();
        self.people[who].closed = None;
        let (session, hello) = self.server.connect();
        self.people[who].session = Some(session);
        self.people[who].down.push_back(hello.encode());
        self.handle(who, Event::Connected);
    }

    pub fn disconnect(&mut self, who: usize) {
        self.people[who].cut();
        self.handle(who, Event::ConnectionLost);
    }

    /// The process dies: what it had not written is lost, and so is everything on the wire.
    pub fn crash(&mut self, who: usize) {
        let person = &mut self.people[who];
        let connection = person.engine.take().unwrap().close();
        person.engine = Some(Engine::open(connection).unwrap());
        person.cut();
    }

    /// Takes a person's database away, to be changed or copied.
    pub fn with_database(&mut self, who: usize, work: impl FnOnce(&Connection)) {
        let person = &mut self.people[who];
        let connection = person.engine.take().unwrap().close();
        work(&connection);
        person.engine = Some(Engine::open(connection).unwrap());
        person.cut();
    }

    /// Puts another database in the place of a person's.
    pub fn replace_database(&mut self, who: usize, work: impl FnOnce(Connection) -> Connection) {
        let person = &mut self.people[who];
        let connection = work(person.engine.take().unwrap().close());
        person.engine = Some(Engine::open(connection).unwrap());
        person.cut();
    }

    pub fn poll(&mut self, who: usize) {
        self.people[who].poll();
    }

    pub fn handle(&mut self, who: usize, event: Event) {
        let now = self.now;
        let person = &mut self.people[who];
        person.engine.as_mut().unwrap().handle(event, now, &mut person.rng).unwrap();
        person.poll();
    }

    // ---- the wires

    /// One frame to the server, answered; true if there was one.
    pub fn step_up(&mut self, who: usize) -> bool {
        let person = &mut self.people[who];
        let (Some(session), Some(bytes)) = (&mut person.session, person.up.pop_front()) else { return false };
        let frame = ClientFrame::decode(bytes).unwrap();
        let waiting = person.up.iter().filter(|bytes| is_send(bytes)).count();
        let others = person.up.len() - waiting + usize::from(!is_send_frame(&frame));
        assert!(others <= REQUESTS_UNANSWERED_MAX, "a server refuses the next request");
        self.server.unanswered_max = self.server.unanswered_max.max(waiting);
        let answer = self.server.ask(session, frame);
        person.down.push_back(answer.encode());
        true
    }

    /// The server looks at its mailbox; true if there was something.
    pub fn step_mailbox(&mut self, who: usize) -> bool {
        let person = &mut self.people[who];
        let Some(session) = &mut person.session else { return false };
        let frames = self.server.deliver(session);
        person.down.extend(frames.iter().map(wire::ServerFrame::encode));
        !frames.is_empty()
    }

    /// One frame to the engine; true if there was one.
    pub fn step_down(&mut self, who: usize) -> bool {
        let Some(bytes) = self.people[who].down.pop_front() else { return false };
        self.handle(who, Event::Received(bytes));
        true
    }

    /// Takes the newest frame off the wire to an engine: what the server says next overtakes it.
    pub fn delay_last(&mut self, who: usize) -> Bytes {
        self.people[who].down.pop_back().unwrap()
    }

    /// A frame that was delayed arrives.
    pub fn arrive(&mut self, who: usize, frame: Bytes) {
        self.handle(who, Event::Received(frame));
    }

    /// Carries everything until all wires are quiet.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            let mut moved = false;
            for who in 0..self.people.len() {
                moved |= self.step_up(who) | self.step_mailbox(who) | self.step_down(who);
            }
            if !moved {
                return;
            }
        }
        panic!("the engines do not come to rest");
    }

    /// Lets time go by, waking engines when they want.
    pub fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        loop {
            self.run();
            let next = (0..self.people.len())
                .filter_map(|who| self.people[who].engine().wake_at())
                .filter(|at| *at > self.now && *at < end)
                .min();
            self.now = next.unwrap_or(end);
            self.server.now = self.now;
            for who in 0..self.people.len() {
                self.handle(who, Event::Tick);
            }
            if self.now == end {
                return self.run();
            }
        }
    }

    /// Lets time go by while the wires stand still.
    pub fn tick(&mut self, time: Millis) {
        self.now = self.now + time;
        self.server.now = self.now;
        for who in 0..self.people.len() {
            self.handle(who, Event::Tick);
        }
    }

    /// Connects everybody and lets everything settle.
    pub fn settle(&mut self) {
        for who in 0..self.people.len() {
            if !self.people[who].is_connected() {
                self.connect(who);
            }
        }
        self.pass(Millis::from_secs(5));
        for who in 0..self.people.len() {
            self.flush(who);
        }
        self.pass(Millis::from_secs(5));
    }

    /// Sends on the wire that the server has not seen yet.
    pub fn waiting_sends(&self, who: usize) -> usize {
        self.people[who].up.iter().filter(|bytes| is_send(bytes)).count()
    }

    // ---- commands

    pub fn flush(&mut self, who: usize) {
        let now = self.now;
        let person = &mut self.people[who];
        person.engine.as_mut().unwrap().flush(now, &mut person.rng).unwrap();
        person.poll();
    }

    pub fn try_send(&mut self, who: usize, text: SendText) -> Result<Sent, client::SendError> {
        let now = self.now;
        let person = &mut self.people[who];
        let sent = person.engine.as_mut().unwrap().send_text(text, now, &mut person.rng);
        person.poll();
        sent
    }

    pub fn send(&mut self, who: usize, to: usize, text: &str) -> MessageId {
        let message_id = MessageId::new(self.now, &mut self.people[who].rng);
        let text = SendText { chat: self.account(to).into(), message_id, text: text.to_owned() };
        self.try_send(who, text).unwrap().message_id
    }

    /// The same to the account, as somebody who types its id.
    pub fn send_to_account(&mut self, who: usize, to: usize, text: &str) -> MessageId {
        let (now, chat) = (self.now, self.account(to).into());
        let person = &mut self.people[who];
        let message_id = MessageId::new(now, &mut person.rng);
        let text = SendText { chat, message_id, text: text.to_owned() };
        person.engine.as_mut().unwrap().send_to_account(text, now, &mut person.rng).unwrap();
        person.poll();
        message_id
    }

    pub fn mark_read(&mut self, who: usize, chat: usize) -> client::MarkedRead {
        let (now, chat) = (self.now, self.account(chat).into());
        let person = &mut self.people[who];
        let marked = person.engine.as_mut().unwrap().mark_read(chat, now, &mut person.rng).unwrap();
        person.poll();
        marked
    }

    /// The safety number was compared; false if nobody is known by this account.
    pub fn mark_verified(&mut self, who: usize, account: AccountId) -> bool {
        let now = self.now;
        let known = self.people[who].with_rng(|engine, rng| engine.mark_verified(account, now, rng));
        self.poll(who);
        known.unwrap()
    }

    pub fn set_blocked(&mut self, who: usize, whom: usize, blocked: bool) -> bool {
        let (now, account) = (self.now, self.account(whom));
        let changed = self.people[who].with_rng(|engine, rng| engine.set_blocked(account, blocked, now, rng));
        self.poll(who);
        changed.unwrap()
    }

    pub fn accept(&mut self, who: usize, phone: &str) -> Option<client::AcceptedChange> {
        let now = self.now;
        let person = &mut self.people[who];
        let phone = phone.parse().unwrap();
        let accepted =
            person.engine.as_mut().unwrap().accept_key_change(&phone, now, &mut person.rng).unwrap();
        person.poll();
        accepted
    }

    pub fn look_up(&mut self, who: usize, phone: &str) {
        let now = self.now;
        let person = &mut self.people[who];
        person.engine.as_mut().unwrap().look_up(phone.parse().unwrap(), now, &mut person.rng).unwrap();
        person.poll();
    }

    // ---- what people see

    pub fn history(&mut self, who: usize, with: usize) -> Vec<MessageView> {
        let (now, chat) = (self.now, self.account(with).into());
        self.people[who].engine().view().history(chat, 100_000, now).unwrap()
    }

    pub fn texts(&mut self, who: usize, with: usize) -> Vec<String> {
        self.history(who, with).into_iter().map(|message| message.text).collect()
    }

    pub fn state(&mut self, who: usize, message: MessageId) -> DeliveryState {
        let now = self.now;
        self.people[who].engine().view().status(message, now).unwrap().unwrap().state
    }

    /// Prints what was not printed yet, and gives it.
    pub fn print(&mut self, who: usize) -> Vec<EventView> {
        let events = self.people[who].engine().view().unprinted_events(100_000).unwrap();
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        self.people[who].engine().mark_printed(&ids).unwrap();
        let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
        self.people[who].printed.extend(events.clone());
        events
    }
}

fn write_list(database: &Connection, list: &DeviceList) {
    // The engine reads the devices of the list anew when it is opened.
    database.execute("DELETE FROM list_device WHERE account = ?1", [list.account().as_bytes()]).unwrap();
    let sql =
        "INSERT OR REPLACE INTO device_list (account, version, list, fetched_at) VALUES (?1, ?2, ?3, 0)";
    let (account, version) = (list.account(), list.version() as i64);
    database.execute(sql, rusqlite::params![account.as_bytes(), version, list.as_bytes()]).unwrap();
    let sql = "INSERT OR REPLACE INTO list_seen (account, version, hash) VALUES (?1, ?2, ?3)";
    database.execute(sql, rusqlite::params![account.as_bytes(), version, list.hash()]).unwrap();
}

fn is_send(frame: &Bytes) -> bool {
    ClientFrame::decode(frame.clone()).is_ok_and(|frame| is_send_frame(&frame))
}

fn is_send_frame(frame: &ClientFrame) -> bool {
    matches!(frame.request, Request::Send(_) | Request::SendGroup(_))
}
