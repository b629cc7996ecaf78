//! Devices of several accounts, a server, one clock, and wires that carry one thing at a time. Every carried thing is
//! a step, and any step can be the one after which a device dies or what it carried is lost.

mod shells;

use crate::{
    answers::{CODE, ORIGIN},
    link_server::{Server, Session},
};
use bytes::Bytes;
use client::{
    AddingDevice, Closed, Effect, Engine, Event, EventView, Linked, MessageView, NewAccount, SendText,
    database,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rusqlite::Connection;
use std::collections::{BTreeSet, VecDeque};
use types::{AccountId, ChatId, DeviceNumber, MessageId, Millis, Timestamp};
use wire::ClientFrame;

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What goes wrong at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies, and with it everything on its wires.
    Crash(usize),
    /// The wire is cut before what it carries has arrived.
    Cut(usize),
    /// The same, after it has arrived and before the answer.
    CutAnswer(usize),
}

impl Fault {
    fn who(self) -> usize {
        match self {
            Self::Crash(who) | Self::Cut(who) | Self::CutAnswer(who) => who,
        }
    }
}

/// A transfer between a device and the blob store.
enum Carried {
    Put { transfer: client::TransferId, url: String, bytes: Bytes },
    Get { transfer: client::TransferId, url: String },
}

pub struct Machine {
    engine: Option<Engine>,
    rng: ChaCha20Rng,
    session: Option<Session>,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    carried: VecDeque<Carried>,
    pub account: Option<AccountId>,
    pub device: Option<DeviceNumber>,
    pub closed: Option<Closed>,
    pub effects: Vec<Effect>,
    pub printed: Vec<EventView>,
    /// What the shell of a device that is being linked remembers.
    pub code: Option<String>,
    pub digits: Option<String>,
    pub linked: Option<Linked>,
}

impl Machine {
    pub fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    pub fn adding(&self) -> Vec<AddingDevice> {
        let adding = |effect: &Effect| match effect {
            Effect::AddingDevice(adding) => Some(adding.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(adding).collect()
    }
}

pub struct World {
    pub now: Timestamp,
    pub server: Server,
    pub machines: Vec<Machine>,
    /// Carried things so far, by machine; the fault happens at one of them.
    pub steps: Vec<usize>,
    pub fault: Option<(usize, Fault)>,
    /// Devices whose mailboxes the server does not deliver for now.
    pub held: BTreeSet<usize>,
    /// Whether the fault has happened.
    pub struck: bool,
}

impl World {
    /// Registers so many people with one device each.
    pub fn new(people: usize) -> Self {
        let mut world = Self {
            now: START,
            server: Server::new(START),
            machines: Vec::new(),
            steps: Vec::new(),
            fault: None,
            held: BTreeSet::new(),
            struck: false,
        };
        for _ in 0..people {
            world.register();
        }
        world
    }

    /// A device without an account.
    pub fn machine(&mut self) -> usize {
        let number = self.machines.len();
        self.machines.push(Machine {
            engine: Some(Engine::open(database::open_in_memory().unwrap()).unwrap()),
            rng: ChaCha20Rng::seed_from_u64(number as u64),
            session: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            carried: VecDeque::new(),
            account: None,
            device: None,
            closed: None,
            effects: Vec::new(),
            printed: Vec::new(),
            code: None,
            digits: None,
            linked: None,
        });
        self.steps.push(0);
        number
    }

    pub fn register(&mut self) -> usize {
        let phone = format!("+1555000{:04}", self.machines.len());
        self.register_as(&phone)
    }

    /// A new account, which has this number from now on.
    pub fn register_as(&mut self, phone: &str) -> usize {
        let who = self.machine();
        let account = NewAccount {
            server: ORIGIN.to_owned(),
            server_pin: None,
            phone: phone.parse().unwrap(),
            name: Some(format!("person {who}")),
        };
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let engine = engine.as_mut().unwrap();
        let ask = engine.begin_registration(&account, now, rng).unwrap();
        engine.code_sent(&self.server.http(&ask)).unwrap();
        let finish = engine.finish_registration(CODE, false).unwrap();
        let registered = engine.registered(&self.server.http(&finish)).unwrap();
        self.machines[who].account = Some(registered.account);
        self.machines[who].device = Some(registered.device);
        who
    }

    pub fn account(&self, who: usize) -> AccountId {
        self.machines[who].account.unwrap()
    }

    pub fn plant(&mut self, who: usize, bugs: client::testing::Bugs) {
        let engine = self.machines[who].engine.take().unwrap();
        self.machines[who].engine = Some(engine.with_bugs(bugs));
    }

    // ---- faults

    /// Counts a step of this machine; true if the fault strikes there.
    fn strikes(&mut self, who: usize) -> Option<Fault> {
        self.steps[who] += 1;
        let (step, fault) = self.fault.filter(|(_, fault)| fault.who() == who)?;
        let strikes = self.steps[who] == step;
        self.struck |= strikes;
        strikes.then_some(fault)
    }

    pub fn crash(&mut self, who: usize) {
        let machine = &mut self.machines[who];
        let connection = machine.engine.take().unwrap().close();
        machine.engine = Some(Engine::open(connection).unwrap());
        machine.carried.clear();
        self.cut(who);
    }

    /// Looks into a device's database, as only a test can.
    pub fn with_database(&mut self, who: usize, work: impl FnOnce(&Connection)) {
        let connection = self.machines[who].engine.take().unwrap().close();
        work(&connection);
        self.machines[who].engine = Some(Engine::open(connection).unwrap());
        self.cut(who);
    }

    fn cut(&mut self, who: usize) {
        let machine = &mut self.machines[who];
        machine.session = None;
        machine.up.clear();
        machine.down.clear();
    }

    fn strike(&mut self, who: usize, fault: Fault) {
        match fault {
            Fault::Crash(_) => self.crash(who),
            Fault::Cut(_) | Fault::CutAnswer(_) => {
                self.cut(who);
                self.handle(who, Event::ConnectionLost);
            }
        }
    }

    // ---- connections

    pub fn is_connected(&self, who: usize) -> bool {
        self.machines[who].session.is_some()
    }

    pub fn connect(&mut self, who: usize) {
        self.cut(who);
        self.machines[who].engine().dial().unwrap();
        let (session, hello) = self.server.connect();
        self.machines[who].session = Some(session);
        self.machines[who].down.push_back(hello.encode());
        self.machines[who].closed = None;
        self.handle(who, Event::Connected);
    }

    pub fn handle(&mut self, who: usize, event: Event) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let engine = engine.as_mut().unwrap();
        if engine.view().whoami().unwrap().is_none() {
            return;
        }
        engine.handle(event, now, rng).unwrap();
        self.poll(who);
    }

    pub fn poll(&mut self, who: usize) {
        while let Some(effect) = self.machines[who].engine().poll_effect() {
            let machine = &mut self.machines[who];
            match effect {
                Effect::Transmit(bytes) => machine.up.push_back(bytes),
                Effect::Close(why) => {
                    machine.closed = Some(why);
                    self.cut(who);
                }
                Effect::Upload { transfer, url, bytes } => {
                    machine.carried.push_back(Carried::Put { transfer, url, bytes });
                }
                Effect::Download { transfer, url } => {
                    machine.carried.push_back(Carried::Get { transfer, url })
                }
                other => machine.effects.push(other),
            }
        }
    }

    // ---- steps

    fn step_up(&mut self, who: usize) -> bool {
        let Some(bytes) = self.machines[who].up.pop_front() else { return false };
        let fault = self.strikes(who);
        if let Some(fault @ (Fault::Cut(_) | Fault::Crash(_))) = fault {
            self.strike(who, fault);
            return true;
        }
        let Some(session) = &mut self.machines[who].session else { return true };
        let answer = self.server.ask(session, ClientFrame::decode(bytes).unwrap());
        self.machines[who].down.push_back(answer.encode());
        if let Some(fault) = fault {
            self.strike(who, fault);
        }
        true
    }

    fn step_down(&mut self, who: usize) -> bool {
        if let (Some(session), false) = (&mut self.machines[who].session, self.held.contains(&who)) {
            let frames = self.server.deliver(session);
            self.machines[who].down.extend(frames.iter().map(wire::ServerFrame::encode));
        }
        let Some(bytes) = self.machines[who].down.pop_front() else { return false };
        match self.strikes(who) {
            // What was on its way is lost with the wire; what was taken in is on disk.
            Some(fault @ Fault::Crash(_)) => {
                self.handle(who, Event::Received(bytes));
                self.strike(who, fault);
            }
            Some(fault) => self.strike(who, fault),
            None => self.handle(who, Event::Received(bytes)),
        }
        true
    }

    fn step_carried(&mut self, who: usize) -> bool {
        let Some(carried) = self.machines[who].carried.pop_front() else { return false };
        let fault = self.strikes(who);
        let lost = matches!(fault, Some(Fault::Cut(_) | Fault::Crash(_)));
        let event = match carried {
            Carried::Put { transfer, url, bytes } => {
                let ok = !lost && self.server.put(&url, bytes) && fault.is_none();
                Event::Uploaded { transfer, ok }
            }
            Carried::Get { transfer, url } => {
                let result = if lost { None } else { self.server.get(&url).filter(|_| fault.is_none()) };
                Event::Downloaded { transfer, result }
            }
        };
        if let Some(fault @ Fault::Crash(_)) = fault {
            self.strike(who, fault);
        } else {
            self.handle(who, event);
        }
        true
    }

    /// Carries everything until all wires are quiet.
    pub fn run(&mut self) {
        for _ in 0..1_000_000 {
            let mut moved = false;
            for who in 0..self.machines.len() {
                moved |= self.step_up(who) | self.step_down(who) | self.step_carried(who);
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
            let next = (0..self.machines.len())
                .filter_map(|who| self.machines[who].engine().wake_at())
                .filter(|at| *at > self.now && *at < end)
                .min();
            self.now = next.unwrap_or(end);
            self.server.now = self.now;
            for who in 0..self.machines.len() {
                self.handle(who, Event::Tick);
            }
            if self.now == end {
                return self.run();
            }
        }
    }

    /// Connects everybody who can be, and lets everything settle.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            for who in 0..self.machines.len() {
                let machine = &self.machines[who];
                let may = machine.account.is_some() && !machine.closed.is_some_and(Closed::is_final);
                if may && machine.session.is_none() {
                    self.connect(who);
                }
            }
            self.pass(Millis::from_secs(10));
        }
    }

    // ---- messages

    pub fn send_to(&mut self, who: usize, chat: AccountId, text: &str) -> MessageId {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let message_id = MessageId::new(now, rng);
        let text = SendText { chat: ChatId::Direct(chat), message_id, text: text.to_owned() };
        engine.as_mut().unwrap().send_text(text, now, rng).unwrap();
        self.poll(who);
        message_id
    }

    /// The safety number was compared.
    pub fn mark_verified(&mut self, who: usize, account: AccountId) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        assert!(engine.as_mut().unwrap().mark_verified(account, now, rng).unwrap());
        self.poll(who);
    }

    pub fn set_blocked(&mut self, who: usize, account: AccountId, blocked: bool) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        assert!(engine.as_mut().unwrap().set_blocked(account, blocked, now, rng).unwrap());
        self.poll(who);
    }

    pub fn look_up(&mut self, who: usize, phone: &str) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        engine.as_mut().unwrap().look_up(phone.parse().unwrap(), now, rng).unwrap();
        self.poll(who);
        self.run();
    }

    /// The person believes where a number leads now; how many messages that sets free on this device.
    pub fn accept(&mut self, who: usize, phone: &str) -> u64 {
        let (now, phone) = (self.now, phone.parse().unwrap());
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let accepted = engine.as_mut().unwrap().accept_key_change(&phone, now, rng).unwrap();
        self.poll(who);
        accepted.expect("the number has moved").released
    }

    pub fn send(&mut self, who: usize, to: usize, text: &str) -> MessageId {
        self.send_to(who, self.account(to), text)
    }

    pub fn history(&mut self, who: usize, with: AccountId) -> Vec<MessageView> {
        let now = self.now;
        self.machines[who].engine().view().history(ChatId::Direct(with), 1_000_000, now).unwrap()
    }

    pub fn texts(&mut self, who: usize, with: usize) -> Vec<String> {
        let account = self.account(with);
        self.history(who, account).into_iter().map(|message| message.text).collect()
    }

    /// Prints what was not printed yet.
    pub fn print(&mut self, who: usize) -> Vec<EventView> {
        let events = self.machines[who].engine().view().unprinted_events(1_000_000).unwrap();
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        self.machines[who].engine().mark_printed(&ids).unwrap();
        let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
        self.machines[who].printed.extend(events.clone());
        events
    }

    /// The texts among the events.
    pub fn printed_texts(&mut self, who: usize) -> Vec<String> {
        let text = |event: EventView| match event {
            EventView::Message(message) => Some(message.text),
            _ => None,
        };
        self.print(who).into_iter().filter_map(text).collect()
    }
}
