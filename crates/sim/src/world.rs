//! The world: nodes, devices and the network between them, and the order in which they take turns.
//!
//! Invariants: time moves only when nobody has anything left to do; who takes a turn first at one
//! instant is fixed: tasks, nodes by number, the network, devices by number.

use crate::{
    bugs::Planted,
    chance::Chance,
    chronicle::Chronicle,
    device::{Device, Outside, Post},
    executor::Executor,
    network::{Arrival, Delays, Network, Way},
    node::{Node, Site, Turn},
    plan::{self, Plan},
    watch::{WatchedDirectory, WatchedGroupLog, WatchedMailboxes},
};
use client::Fault;
use server_core::{Config, Core, Ports};
use server_edge::session::SessionLimits;
use server_ports::fake::{
    FakeBlobs, FakeClock, FakeDirectory, FakeEntropy, FakeExchange, FakeGroupLog, FakeMailboxes, FakePusher,
    FakeTexter, FaultPlan, Setup,
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

/// Turns at one instant after which the run counts as one that never ends.
const TURNS_AT_ONE_INSTANT_MAX: u32 = 10_000;
/// A network on which nothing is slow.
const CALM_NETWORK: Delays = Delays { usual_max: Millis(40), slow_max: Millis(40), slow: 0 };
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
    /// The devices, by person.
    pub devices: Vec<Device>,
    /// Decides what the plan left open.
    pub chance: Chance,
    /// The texts that the texter sent.
    pub texter: Arc<FakeTexter>,
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

/// The fakes behind the ports, whose faults begin and end.
struct Stores {
    mailboxes: Arc<FakeMailboxes>,
    watched: Arc<WatchedMailboxes>,
    directory: Arc<FakeDirectory>,
    groups: Arc<FakeGroupLog>,
    blobs: Arc<FakeBlobs>,
    exchange: Arc<FakeExchange>,
}

/// What tasks that belong to no session hand over.
#[derive(Default)]
struct Done(Mutex<VecDeque<Handed>>);

enum Handed {
    Started(usize, Box<Core>, Arc<FakeEntropy>),
    NotStarted(usize),
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
            let device = world.new_device(person)?;
            world.devices.push(device);
        }
        Ok(world)
    }

    /// True time.
    pub fn now(&self) -> Timestamp {
        self.clock.true_now()
    }

    /// A new device for a person, with an empty disk.
    pub fn new_device(&mut self, person: Person) -> Result<Device, Fault> {
        self.lives += 1;
        let clock = self.clock.skewed(self.plan.device_skews_ms[person.0]);
        let seed = self.plan.seed.wrapping_add(self.lives << 32);
        Device::new(
            person,
            self.plan.homes[person.0],
            clock,
            self.chronicle.clone(),
            seed,
            self.planted.client,
        )
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
    pub fn with_device<T>(
        &mut self,
        person: Person,
        act: impl FnOnce(&mut Device, &mut Outside<'_>) -> T,
    ) -> T {
        let mut outside = Outside {
            network: &mut self.network,
            post: &mut self.post,
            now: self.clock.true_now(),
            nodes: self.nodes.len(),
        };
        act(&mut self.devices[person.0], &mut outside)
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

    // ---- faults

    /// From now on things break as planned.
    pub fn begin_faults(&mut self) {
        self.set_faults(&self.plan.faults.clone());
        self.network.set_delays(self.plan.delays);
    }

    /// Nothing breaks from now on, and everything that is down comes up.
    pub fn end_faults(&mut self) {
        let seed = self.plan.faults.seed;
        self.set_faults(&FaultPlan { seed, ..FaultPlan::default() });
        self.network.set_delays(CALM_NETWORK);
        let now = self.now();
        for link in self.network.links_where(|_| true) {
            self.network.unsilence(link, now);
        }
        self.restarts.values_mut().for_each(|at| *at = now);
        self.devices.iter_mut().for_each(Device::live);
    }

    fn set_faults(&self, faults: &FaultPlan) {
        self.stores.mailboxes.faults().set(faults.clone());
        self.stores.directory.faults().set(faults.clone());
        self.stores.groups.faults().set(faults.clone());
        self.stores.exchange.faults().set(faults.clone());
    }

    /// A node dies, or is told to leave, and comes back after a while.
    pub fn crash_node(&mut self, node: NodeName, back_after: Millis) {
        let back_at = self.now() + back_after;
        self.with_node(node.0, Node::crash);
        self.restarts.insert(node.0, back_at);
    }

    /// A node is told to leave; what it has begun, it finishes.
    pub fn stop_node(&mut self, node: NodeName) {
        let after = Millis(self.chance.below(5_000));
        self.with_node(node.0, |node, turn| node.stop(after, turn));
    }

    /// The machine of the stores loses power, and every node's store with it.
    pub fn cut_power(&mut self) {
        for at in 0..self.nodes.len() {
            let back_after = Millis(500 + self.chance.below(5_000));
            self.crash_node(NodeName(at), back_after);
        }
        self.stores.mailboxes.power_cut();
    }

    /// The nodes' soft state is lost.
    pub fn lose_soft_state(&self) {
        self.stores.exchange.power_cut();
    }

    /// A node's clock steps.
    pub fn set_clock(&mut self, node: NodeName, skew_ms: i64) {
        self.nodes[node.0].clock.set_skew(skew_ms);
    }

    /// A device's connection is cut.
    pub fn cut(&mut self, person: Person) {
        let now = self.now();
        if let Some(link) = self.devices[person.0].link() {
            self.network.cut(link, now);
        }
    }

    /// A device's connection goes silent, or speaks again.
    pub fn set_silent(&mut self, person: Person, silent: bool) {
        let now = self.now();
        match self.devices[person.0].link() {
            Some(link) if silent => self.network.silence(link),
            Some(link) => self.network.unsilence(link, now),
            None => {}
        }
    }

    /// How often nodes do their duties from now on.
    pub fn set_duties_every(&mut self, every: Option<Millis>) {
        self.nodes.iter_mut().for_each(|node| node.set_duties_every(every));
    }

    // ---- the end

    /// Writes down what everybody shows, what the stores hold, and what is in use.
    pub fn take_stock(&self) -> Result<(), Fault> {
        for device in &self.devices {
            device.show_views()?;
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
        if self.take_handed() | self.start_nodes() {
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
            if self.with_device(Person(at), |device, outside| device.proceed(outside))? {
                busy = Some("a device");
            }
        }
        Ok(busy)
    }

    fn next_time(&self) -> Option<Timestamp> {
        let nodes = self.nodes.iter().filter_map(|node| node.wake_at(&self.site.limits));
        let devices = self.devices.iter().filter_map(Device::wake_at);
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
                self.with_device(ends.person, |device, outside| device.arrived(link, parcel, outside))?
            }
        }
        let device_listens = self.devices[ends.person.0].link() == Some(link);
        if over && !device_listens && !self.nodes[ends.node.0].has_session(link) {
            self.network.forget(link);
        }
        Ok(())
    }

    fn take_handed(&mut self) -> bool {
        let mut busy = false;
        while let Some(handed) = self.done.take() {
            busy = true;
            match handed {
                Handed::Started(at, core, entropy) => self.nodes[at].started(*core, entropy, &self.site),
                Handed::NotStarted(at) => {
                    self.restarts.insert(at, self.now() + Millis(200));
                }
            }
        }
        busy
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
            config.settle = plan::LATE_MAX;
            let seed = self.plan.seed.wrapping_add(2_000 + at as u64);
            self.nodes.push(Node::new(NodeName(at), clock, config, seed));
            self.restarts.insert(at, now);
        }
    }
}

impl Stores {
    fn new(plan: &Plan, setup: &Setup, chronicle: &Chronicle) -> Self {
        let mailboxes = Arc::new(FakeMailboxes::new(plan.mode, setup));
        Self {
            watched: Arc::new(WatchedMailboxes::new(mailboxes.clone(), chronicle.clone())),
            mailboxes,
            directory: Arc::new(FakeDirectory::new(setup)),
            groups: Arc::new(FakeGroupLog::new(setup)),
            blobs: Arc::new(FakeBlobs::new(setup)),
            exchange: Arc::new(FakeExchange::new(setup)),
        }
    }

    fn ports(
        &self,
        setup: &Setup,
        texter: &Arc<FakeTexter>,
        chronicle: &Chronicle,
        plan: &Plan,
        planted: &Planted,
    ) -> Ports {
        let directory = WatchedDirectory::new(self.directory.clone(), chronicle.clone());
        Ports {
            directory: Arc::new(if planted.accounts_cached { directory.with_cache() } else { directory }),
            groups: Arc::new(WatchedGroupLog::new(self.groups.clone(), chronicle.clone())),
            blobs: self.blobs.clone(),
            mailboxes: self.watched.clone(),
            exchange: self.exchange.clone(),
            pusher: Arc::new(FakePusher::new()),
            texter: texter.clone(),
            clock: Arc::new(setup.clock.clone()),
            entropy: Arc::new(FakeEntropy::new(plan.seed)),
        }
    }
}
