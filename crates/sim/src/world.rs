//! The world: nodes, devices and the network between them, and the order in which they take turns.
//!
//! Invariants: time moves only when nobody has anything left to do; who takes a turn first at one
//! instant is fixed: tasks, nodes by number, the network, devices by seat; the first seats are those of the
//! people's primary devices, by person, and a seat is never given to anybody else.

use crate::{
    bugs::Planted,
    calls::{Answer, Call, CallId, Calls},
    chance::Chance,
    chronicle::Chronicle,
    device::{Device, Outside, Owner, Post, Seat},
    executor::Executor,
    network::{Arrival, Network, Way},
    node::{Node, Site, Turn},
    pairing::Pairing,
    plan::{self, Plan},
};
use client::Fault;
use server_core::{Config, Core};
use server_edge::session::SessionLimits;
use server_ports::{
    Clock as _,
    fake::{FakeClock, FakeEntropy, FakeTexter, FaultPlan, Setup},
};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};
use testkit::{
    event::{Node as NodeName, Person},
    fixture,
    history::Fact,
};
use types::{EnvelopeId, Millis, NodeId, PhoneNumber, Timestamp};

mod faults;
mod stores;

use faults::CALM_NETWORK;
use stores::Stores;

/// Turns at one instant after which the run counts as one that never ends.
const TURNS_AT_ONE_INSTANT_MAX: u32 = 10_000;
/// Tasks of one node that may be under way at the end: its duties, and what the last frames caused.
const TASKS_MAX: u64 = 32;

/// Everything that there is in one run.
pub struct World {
    /// What the seed decided.
    pub plan: Plan,
    /// True time.
    pub clock: FakeClock,
    /// Where facts are written.
    pub chronicle: Chronicle,
    /// The devices, by seat.
    pub devices: Vec<Device>,
    /// Decides what the plan left open.
    pub chance: Chance,
    /// The texts that the texter sent.
    pub texter: Arc<FakeTexter>,
    /// Devices that people are linking.
    pub pairings: Vec<Pairing>,
    calls: Calls,
    nodes: Vec<Node>,
    network: Network,
    site: Site,
    stores: Stores,
    executor: Executor,
    post: BTreeMap<EnvelopeId, Post>,
    done: Arc<Done>,
    planted: Planted,
    /// Nodes that are down, and when they come back.
    restarts: BTreeMap<usize, Timestamp>,
    lives: u64,
}

/// What tasks that belong to no session hand over.
#[derive(Default)]
struct Done(Mutex<VecDeque<Handed>>);

enum Handed {
    Started(usize, Box<Core>, Arc<FakeEntropy>),
    NotStarted(usize),
    Answered(Seat, CallId, Answer),
}

impl Done {
    fn put(&self, handed: Handed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(handed);
    }

    fn take(&self) -> Option<Handed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The number of a person's telephone.
pub fn phone(person: Person) -> PhoneNumber {
    fixture::phone(100 + person.0 as u16)
}

impl World {
    /// A world without faults, whose nodes are about to start and whose people have new devices.
    pub fn new(plan: Plan, planted: Planted) -> Result<Self, Fault> {
        let setup = Setup {
            clock: FakeClock::new(fixture::EPOCH),
            plan: FaultPlan { seed: plan.faults.seed, ..FaultPlan::default() },
            bugs: planted.ports.clone(),
        };
        let chronicle = Chronicle::new(setup.clock.clone());
        let stores = Stores::new(&plan, &setup, &chronicle);
        let texter = Arc::new(FakeTexter::new(&setup));
        let ports = stores.ports(&setup, &texter, &chronicle, &plan, &planted);
        let limits = SessionLimits { drain: planted.drain, ..SessionLimits::default() };
        let site = Site { exchange: stores.exchange.clone(), ports, limits, chronicle: chronicle.clone() };
        let mut world = Self {
            clock: setup.clock,
            chronicle,
            devices: Vec::new(),
            chance: Chance::new(plan.seed, plan::WORLD),
            texter,
            pairings: Vec::new(),
            calls: Calls::default(),
            nodes: Vec::new(),
            network: Network::new(CALM_NETWORK, Chance::new(plan.seed, plan::NETWORK)),
            site,
            stores,
            executor: Executor::default(),
            post: BTreeMap::new(),
            done: Arc::default(),
            planted,
            restarts: BTreeMap::new(),
            lives: 0,
            plan,
        };
        world.make_nodes();
        for person in world.plan.people() {
            world.add_device(person)?;
        }
        Ok(world)
    }

    /// True time.
    pub fn now(&self) -> Timestamp {
        self.clock.true_now()
    }

    /// Takes another device out of its box, with an empty disk and a clock that is as wrong as people's are.
    pub fn add_device(&mut self, person: Person) -> Result<Seat, Fault> {
        let seat = Seat(self.devices.len());
        let device = self.new_device(person, seat)?;
        self.devices.push(device);
        Ok(seat)
    }

    /// Puts a new device with an empty disk in the place of another one; gives that one.
    pub fn replace_device(&mut self, seat: Seat) -> Result<Device, Fault> {
        let device = self.new_device(self.devices[seat.0].person(), seat)?;
        Ok(std::mem::replace(&mut self.devices[seat.0], device))
    }

    /// Somebody's primary device is lost: it goes on elsewhere, and a new one with an empty disk takes its place.
    pub fn lose_primary(&mut self, person: Person) -> Result<(), Fault> {
        let (primary, elsewhere) = (Seat::primary(person), Seat(self.devices.len()));
        self.with_device(primary, |device, outside| device.lose(elsewhere, outside));
        let lost = self.replace_device(primary)?;
        self.devices.push(lost);
        Ok(())
    }

    fn new_device(&mut self, person: Person, seat: Seat) -> Result<Device, Fault> {
        self.lives += 1;
        let skew_ms = match seat.0 < self.plan.homes.len() {
            true => self.plan.device_skews_ms[person.0],
            false => plan::device_skew(&mut self.chance),
        };
        let seed = self.plan.seed.wrapping_add(self.lives << 32);
        let owner = Owner { person, seat, home: self.plan.homes[person.0] };
        Device::new(owner, self.clock.skewed(skew_ms), self.chronicle.clone(), seed, self.planted.client)
    }

    /// A place for another device of a person: one that has no account stands there.
    pub fn unused_seat(&mut self, person: Person) -> Result<Seat, Fault> {
        let is_unused = |device: &&Device| {
            device.person() == person
                && device.mailbox().is_none()
                && !self.pairings.iter().any(|pairing| pairing.new == device.seat())
        };
        match self.devices.iter().find(is_unused).map(Device::seat) {
            Some(seat) => self.replace_device(seat).map(|_| seat),
            None => self.add_device(person),
        }
    }

    /// The devices of a person that have an account and are in use, the primary first.
    pub fn devices_of(&self, person: Person) -> Vec<Seat> {
        let is_theirs = |device: &&Device| device.person() == person && device.is_in_use();
        self.devices.iter().filter(is_theirs).map(Device::seat).collect()
    }

    /// The device at a seat.
    pub fn device(&self, seat: Seat) -> &Device {
        &self.devices[seat.0]
    }

    /// Lets everything run for so long.
    pub fn run_for(&mut self, length: Millis) -> Result<(), Fault> {
        let until = self.now() + length;
        self.run_until(until, |_| false).map(drop)
    }

    /// Lets everything run until something is true, or until a time. Says whether it became true.
    pub fn run_until(&mut self, until: Timestamp, is_done: impl Fn(&Self) -> bool) -> Result<bool, Fault> {
        loop {
            self.take_turns()?;
            if is_done(self) {
                return Ok(true);
            }
            match self.next_time().filter(|next| *next <= until) {
                Some(next) => self.clock.advance_to(next),
                None => {
                    self.clock.advance_to(until);
                    self.take_turns()?;
                    return Ok(is_done(self));
                }
            }
        }
    }

    /// Something that a device does.
    pub fn with_device<T>(&mut self, seat: Seat, act: impl FnOnce(&mut Device, &mut Outside<'_>) -> T) -> T {
        let mut outside = Outside {
            network: &mut self.network,
            calls: &mut self.calls,
            post: &mut self.post,
            now: self.clock.true_now(),
            nodes: self.nodes.len(),
        };
        act(&mut self.devices[seat.0], &mut outside)
    }

    /// Lets a node that serves do something beside its sessions.
    pub fn ask<F>(&mut self, ask: impl FnOnce(Arc<Core>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serving: Vec<_> = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_running()).collect();
        if serving.is_empty() {
            return;
        }
        let at = self.chance.one_of(&serving);
        if let Some(core) = self.nodes[at].core() {
            self.executor.spawn(NodeName(at), ask(core));
        }
    }

    // ---- the end

    /// Writes down what everybody shows, what the stores hold, and what is in use.
    pub fn take_stock(&self) -> Result<(), Fault> {
        for device in self.devices.iter().filter(|device| device.is_in_use()) {
            device.show_views()?;
            device.show_groups()?;
            device.record_resources();
        }
        self.stores.watched.take_inventory();
        for (at, node) in self.nodes.iter().enumerate() {
            let owner = format!("node {at}");
            let resource = |name: &str, value: usize, bound| Fact::Resource {
                owner: owner.clone(),
                name: name.to_owned(),
                value: value as u64,
                bound,
            };
            self.chronicle.record(resource("sessions", node.session_count(), self.devices.len() as u64));
            self.chronicle.record(resource("tasks", self.executor.count(NodeName(at)), TASKS_MAX));
        }
        Ok(())
    }

    // ---- what needs no session

    /// Lets a node do something, and everything run until it is done; `None` if it is not done in time.
    pub fn wait_for<T, F>(
        &mut self,
        within: Millis,
        ask: impl FnOnce(Arc<Core>) -> F,
    ) -> Result<Option<T>, Fault>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let slot = answer.clone();
        self.ask(|core| {
            let asked = ask(core);
            async move {
                let done = asked.await;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
        });
        let until = self.now() + within;
        let is_there = || answer.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.run_until(until, |_| is_there())?;
        Ok(answer.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    // ---- turns

    fn take_turns(&mut self) -> Result<(), Fault> {
        let mut busy = "nobody";
        for _ in 0..TURNS_AT_ONE_INSTANT_MAX {
            match self.take_one_turn_each()? {
                None => return Ok(()),
                Some(who) => busy = who,
            }
        }
        panic!("time stands still at {:?}: {busy} never rests", self.now());
    }

    /// Who had something to do, if anybody had.
    fn take_one_turn_each(&mut self) -> Result<Option<&'static str>, Fault> {
        let mut busy = self.executor.run().then_some("a task");
        if self.take_handed()? | self.start_nodes() {
            busy = Some("a starting node");
        }
        for at in 0..self.nodes.len() {
            if self.with_node(at, Node::proceed) {
                busy = Some("a node");
            }
        }
        while let Some(arrival) = self.network.arrived(self.now()) {
            busy = Some("the network");
            self.arrived(arrival)?;
        }
        for at in 0..self.devices.len() {
            if self.with_device(Seat(at), |device, outside| device.proceed(outside))? {
                busy = Some("a device");
            }
        }
        if self.proceed_pairings()? {
            busy = Some("a person");
        }
        self.carry_calls();
        Ok(busy)
    }

    fn next_time(&self) -> Option<Timestamp> {
        let nodes = self.nodes.iter().filter_map(|node| node.wake_at(&self.site.limits));
        let devices = self.devices.iter().filter_map(Device::wake_at);
        let devices = devices.chain(self.pairings.iter().map(Pairing::acts_at));
        let others = [self.clock.next_timer(), self.network.next_arrival()].into_iter().flatten();
        let next = nodes.chain(devices).chain(others).chain(self.restarts.values().copied()).min()?;
        Some(next.max(self.now() + Millis(1)))
    }

    fn arrived(&mut self, Arrival { link, way, parcel }: Arrival) -> Result<(), Fault> {
        let Some(ends) = self.network.ends(link) else { return Ok(()) };
        let over = parcel == crate::network::Parcel::Close;
        match way {
            Way::Up => self.with_node(ends.node.0, |node, turn| node.arrived(link, parcel, turn)),
            Way::Down => {
                self.with_device(ends.seat, |device, outside| device.arrived(link, parcel, outside))?
            }
        }
        let device_listens = self.devices[ends.seat.0].link() == Some(link);
        if over && !device_listens && !self.nodes[ends.node.0].has_session(link) {
            self.network.forget(link);
        }
        Ok(())
    }

    /// What devices asked without a connection goes to some node that serves, or is lost.
    fn carry_calls(&mut self) {
        for Call { id, from, asked } in self.calls.take() {
            asked.bytes().iter().for_each(|bytes| self.chronicle.server_has("a request", bytes));
            let (there, back) = (self.network.way_of_call(), self.network.way_of_call());
            let (Some(there), clock, done) = (there, self.clock.clone(), self.done.clone()) else { continue };
            self.ask(|core| async move {
                clock.sleep(there).await;
                let answer = asked.put_to(&core).await;
                if let Some(back) = back {
                    clock.sleep(back).await;
                    done.put(Handed::Answered(from, id, answer));
                }
            });
        }
    }

    fn take_handed(&mut self) -> Result<bool, Fault> {
        let mut busy = false;
        while let Some(handed) = self.done.take() {
            busy = true;
            match handed {
                Handed::Started(at, core, entropy) => self.nodes[at].started(*core, entropy, &self.site),
                Handed::NotStarted(at) => {
                    self.restarts.insert(at, self.now() + Millis(200));
                }
                Handed::Answered(seat, id, answer) => {
                    self.with_device(seat, |device, outside| device.answered(id, answer, outside))?
                }
            }
        }
        Ok(busy)
    }

    fn start_nodes(&mut self) -> bool {
        let now = self.now();
        let due: Vec<_> = self.restarts.iter().filter(|(_, at)| **at <= now).map(|(at, _)| *at).collect();
        for at in &due {
            self.restarts.remove(at);
            let (ports, config, entropy) = self.nodes[*at].wiring(&self.site);
            let (done, node) = (self.done.clone(), *at);
            self.executor.spawn(NodeName(node), async move {
                done.put(match Core::start(ports, config).await {
                    Ok(core) => Handed::Started(node, Box::new(core), entropy),
                    Err(_) => Handed::NotStarted(node),
                });
            });
        }
        !due.is_empty()
    }

    fn with_node<T>(&mut self, at: usize, act: impl FnOnce(&mut Node, &mut Turn<'_>) -> T) -> T {
        let now = self.clock.true_now();
        let (site, executor, network) = (&self.site, &mut self.executor, &mut self.network);
        act(&mut self.nodes[at], &mut Turn { site, executor, network, now })
    }

    fn make_nodes(&mut self) {
        let now = self.now();
        for at in 0..self.plan.nodes {
            let clock = self.clock.skewed(self.plan.node_skews_ms[at]);
            let mut config = Config::new(NodeId(at as u16 + 1)).with_bugs(self.planted.core);
            // All devices of a simulation seem to live behind one address, and register often.
            config.quotas.registrations_per_address.limit = u32::MAX;
            config.quotas.codes_per_number.limit = u32::MAX;
            config.quotas.codes_per_address.limit = u32::MAX;
            config.quotas.restorations_per_address.limit = u32::MAX;
            config.quotas.links_per_address.limit = u32::MAX;
            config.quotas.link_invitations.limit = u32::MAX;
            config.settle = plan::LATE_MAX;
            let seed = self.plan.seed.wrapping_add(2_000 + at as u64);
            self.nodes.push(Node::new(NodeName(at), clock, config, seed));
            self.restarts.insert(at, now);
        }
    }
}
