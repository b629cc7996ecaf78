//! A person's device: the client's own engine on a disk that survives, driven by the simulation.
//!
//! Owns: the engine's process, and the one way in which a turn of it is carried out: here what the engine
//! wants done becomes true, or dies with the process. Its connection is in `connection`, what its owner does
//! in `owner` and, in groups, in `groups`, its way into an account in `linking`, other devices' way into its
//! account in `adding`, the blobs that it carries in `transfers`, what is written down of it in `facts` and
//! `group_facts`.
//! Invariants: what the engine wants transmitted leaves in order or dies with its process; a process
//! that died comes back with nothing but the disk.
//! Must not know: servers.

mod adding;
mod connection;
mod facts;
mod group_facts;
mod groups;
mod linking;
mod owner;
mod transfers;

use crate::{
    calls::{Answer, Asked, CallId, Calls},
    chance::Chance,
    chronicle::Chronicle,
    disk::{Disk, Posted},
    network::{LinkId, Network},
};
use adding::Screen;
use bytes::Bytes;
use client::testing::Bugs;
use client::{Closed, Effect, Engine, Event, Fault, SendText};
use linking::Linking;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use server_ports::{Clock as _, fake::FakeClock};
use std::collections::{BTreeMap, BTreeSet};
use testkit::{
    event::{Node, Person},
    history::Fact,
};
use transfers::Transfer;
use types::{EnvelopeId, MailboxId, MessageId, Millis, PhoneNumber, Timestamp};

/// A process that died is started again within this time.
const RESTART_WITHIN: Millis = Millis::from_secs(15);

/// The place of a device among all devices of a run. What stands there may be lost and replaced; the place
/// stays its person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat(pub usize);

impl Seat {
    /// Where a person's primary device is.
    pub const fn primary(person: Person) -> Self {
        Self(person.0)
    }
}

/// Whose a device is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The person.
    pub person: Person,
    /// Its place.
    pub seat: Seat,
    /// The node that it prefers.
    pub home: Node,
}

/// What a device has around it.
pub struct Outside<'a> {
    /// Carries frames.
    pub network: &'a mut Network,
    /// Carries what is asked without a connection.
    pub calls: &'a mut Calls,
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
    seat: Seat,
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
    /// Processes that it had so far.
    processes: u64,
    mailbox: Option<MailboxId>,
    link: Option<LinkId>,
    /// Sends without an answer on this connection, by request.
    asked: BTreeMap<u64, EnvelopeId>,
    /// When device lists were asked for, by request.
    lists_asked: BTreeMap<u64, Millis>,
    /// Lists of its own account that it has asked to be put in force, by request.
    lists_put: BTreeMap<u64, (Bytes, Millis)>,
    /// On its way into an account.
    linking: Option<Linking>,
    screen: Screen,
    transfer: Option<Transfer>,
    is_retired: bool,
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
    /// Numbers that were shown to belong to another account now.
    moved: Vec<PhoneNumber>,
    /// What it has asked for of groups.
    groups: groups::Asked,
    bugs: Bugs,
}

impl Device {
    /// A new device with an empty disk.
    pub fn new(
        Owner { person, seat, home }: Owner,
        clock: FakeClock,
        chronicle: Chronicle,
        seed: u64,
        bugs: Bugs,
    ) -> Result<Self, Fault> {
        let now = clock.true_now();
        let mut chance = Chance::new(seed, 1_000 + seat.0 as u64);
        let mut key = [0; 32];
        rand_core::RngCore::fill_bytes(chance.rng(), &mut key);
        let mut device = Self {
            person,
            seat,
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
            processes: 0,
            mailbox: None,
            link: None,
            asked: BTreeMap::new(),
            lists_asked: BTreeMap::new(),
            lists_put: BTreeMap::new(),
            linking: None,
            screen: Screen::default(),
            transfer: None,
            is_retired: false,
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
            moved: Vec::new(),
            groups: groups::Asked::default(),
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

    /// Whose it is.
    pub const fn person(&self) -> Person {
        self.person
    }

    /// Its place.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// The device's mailbox, once registered.
    pub const fn mailbox(&self) -> Option<MailboxId> {
        self.mailbox
    }

    /// Whether it has an account, and its person uses it.
    pub const fn is_in_use(&self) -> bool {
        self.mailbox.is_some() && !self.is_retired
    }

    /// Whether its disk says that it may not be there any more.
    pub fn is_revoked(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.view().is_revoked().unwrap_or(false))
    }

    /// Its person uses it no more.
    pub const fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Whoever has found the device goes on with it at another place. What it shows nobody sees.
    pub fn lose(&mut self, seat: Seat, outside: &mut Outside<'_>) {
        self.hang_up(outside);
        self.retry_at = Some(outside.now);
        if let Some(mailbox) = self.mailbox.filter(|_| self.online) {
            self.chronicle.record(Fact::Offline { device: mailbox.address() });
        }
        self.is_retired = true;
        self.online = true;
        self.seat = seat;
    }

    /// Its process is killed and started again.
    pub fn start_again(&mut self) -> Result<(), Fault> {
        self.engine = None;
        self.start()
    }

    /// Names the process that runs on it, if one does.
    pub fn process(&self) -> Option<(MailboxId, u64)> {
        self.engine.as_ref()?;
        Some((self.mailbox?, self.processes))
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

    // ---- its process

    fn start(&mut self) -> Result<(), Fault> {
        self.restart_at = None;
        if self.engine.is_none() {
            let engine = Engine::open(self.disk.connect()).expect("a disk that an engine left can be opened");
            self.engine = Some(engine.with_bugs(self.bugs));
            self.processes += 1;
            // What the process before had stored and not shown.
            self.print_events()?;
        }
        Ok(())
    }

    fn die(&mut self, outside: &mut Outside<'_>) {
        self.engine = None;
        self.transfer = None;
        self.screen = Screen::default();
        self.linking_interrupted();
        self.dies_in = None;
        self.wishes.clear();
        self.groups.process_died();
        self.retry_at = None;
        if let Some(mailbox) = self.mailbox {
            self.chronicle.record(Fact::Crashed { device: mailbox.address() });
        }
        if let Some(link) = self.link.take() {
            outside.network.cut(link, outside.now);
        }
        self.forget_requests();
        self.restart_at = Some(outside.now + Millis(self.chance.below(RESTART_WITHIN.0)));
    }

    fn handle(&mut self, event: Event, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.handle(event, self.clock.now(), &mut self.rng)?;
        self.turn_done(outside)
    }

    /// What it asked for without a connection was answered.
    pub fn answered(&mut self, call: CallId, answer: Answer, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.link_answered(call, &answer, outside)?;
        self.transferred(call, answer, outside)
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
            Effect::AddingDevice(adding) => {
                self.adding(adding);
                Ok(())
            }
            Effect::Upload { transfer, url, bytes } => {
                self.transfer(transfer, Asked::Put { url, bytes }, outside);
                Ok(())
            }
            Effect::Download { transfer, url } => {
                self.transfer(transfer, Asked::Get { url }, outside);
                Ok(())
            }
            // The list says it, too.
            Effect::DeviceRemoved { .. } | Effect::History(_) => Ok(()),
            Effect::GroupChangeDone { change, .. } => {
                self.groups.change_is_done(change);
                Ok(())
            }
        }
    }

    fn true_time(&self, shown: Timestamp) -> Timestamp {
        let (shows, is) = (self.clock.now(), self.clock.true_now());
        if shown <= shows { is } else { is + shown.since(shows) }
    }
}
