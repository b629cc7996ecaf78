//! A server node: the server's own core and session machines, driven by the simulation instead of by
//! sockets.
//!
//! Owns: the sessions of the node and which of them holds a device.
//! Invariants: a node holds no durable state; after a crash a new one starts with what the ports know.
//! Must not know: people, what a frame means.

use crate::{
    chronicle::Chronicle,
    executor::Executor,
    network::{LinkId, Network, Parcel, Way},
};
use bytes::Bytes;
use server_core::{Config, Core, LOOK_EVERY, Ports};
use server_edge::session::{Effect, Event, Session, SessionLimits};
use server_ports::{
    Caller, Clock as _, Entropy, Exchange as _, NodeInbox, Signal,
    fake::{FakeClock, FakeEntropy, FakeExchange},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};
use testkit::{event::Node as NodeName, history::Fact};
use types::{MailboxId, Millis, Timestamp};
use wire::{ClientFrame, Code};

/// Frames that wait in a connection before the session is told that the socket is full.
const WRITES_QUEUED_MAX: usize = 20;
/// How often the core does its duties, as the shell does it.
const DUTIES_EVERY: Millis = Millis::from_secs(1);

/// What all nodes of a world share.
pub struct Site {
    /// Soft state, signals.
    pub exchange: Arc<FakeExchange>,
    /// The stores and the rest; each node brings its own clock and randomness.
    pub ports: Ports,
    /// Of every session.
    pub limits: SessionLimits,
    /// Where facts are written.
    pub chronicle: Chronicle,
}

/// One node.
pub struct Node {
    name: NodeName,
    /// Shows the node's wall clock, off the true time by its skew.
    pub clock: FakeClock,
    config: Config,
    running: Option<Running>,
    lives: u64,
    seed: u64,
    duties_at: Timestamp,
    duties_every: Millis,
    looks_at: Timestamp,
}

/// What a crash takes away.
struct Running {
    core: Arc<Core>,
    sessions: BTreeMap<LinkId, Session>,
    blocked: BTreeMap<LinkId, bool>,
    holders: BTreeMap<MailboxId, (u64, LinkId)>,
    inbox: Arc<Inbox>,
    entropy: Arc<FakeEntropy>,
}

/// What arrives from elsewhere between two turns of the node.
#[derive(Default)]
struct Inbox(Mutex<VecDeque<Letter>>);

enum Letter {
    Signal(MailboxId, u64, Signal),
    Outcome(LinkId, Box<Event>),
}

impl Inbox {
    fn put(&self, letter: Letter) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
    }

    fn take(&self) -> Option<Letter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl NodeInbox for Inbox {
    fn deliver(&self, device: MailboxId, connection: u64, signal: Signal) {
        self.put(Letter::Signal(device, connection, signal));
    }
}

/// What a node works with during one turn.
pub struct Turn<'a> {
    /// What is shared.
    pub site: &'a Site,
    /// Runs what takes time.
    pub executor: &'a mut Executor,
    /// Carries frames.
    pub network: &'a mut Network,
    /// The true time.
    pub now: Timestamp,
}

impl Node {
    /// A node that is not running yet.
    pub fn new(name: NodeName, clock: FakeClock, config: Config, seed: u64) -> Self {
        let now = clock.true_now();
        Self {
            name,
            clock,
            config,
            running: None,
            lives: 0,
            seed,
            duties_at: now,
            duties_every: DUTIES_EVERY,
            looks_at: now,
        }
    }

    /// Whether the node serves.
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The node's core, while it runs.
    pub fn core(&self) -> Option<Arc<Core>> {
        self.running.as_ref().map(|running| running.core.clone())
    }

    /// What the node is wired with, in its next life.
    pub fn wiring(&mut self, site: &Site) -> (Ports, Config, Arc<FakeEntropy>) {
        self.lives += 1;
        let entropy = Arc::new(FakeEntropy::new(self.seed.wrapping_mul(1_000).wrapping_add(self.lives)));
        let ports =
            Ports { clock: Arc::new(self.clock.clone()), entropy: entropy.clone(), ..site.ports.clone() };
        (ports, self.config.clone(), entropy)
    }

    /// The core has started: the node serves.
    pub fn started(&mut self, core: Core, entropy: Arc<FakeEntropy>, site: &Site) {
        let inbox = Arc::new(Inbox::default());
        site.exchange.subscribe(self.config.node, inbox.clone());
        self.running = Some(Running {
            core: Arc::new(core),
            sessions: BTreeMap::new(),
            blocked: BTreeMap::new(),
            holders: BTreeMap::new(),
            inbox,
            entropy,
        });
        self.duties_at = self.clock.true_now();
        self.looks_at = self.duties_at;
    }

    /// The node dies where it stands.
    pub fn crash(&mut self, turn: &mut Turn<'_>) {
        turn.executor.abort(self.name);
        turn.site.exchange.node_down(self.config.node);
        for session in self.running.take().iter().flat_map(|running| running.sessions.keys()) {
            turn.site.chronicle.record(Fact::SessionEnded { session: session.0 });
        }
        for link in turn.network.links_where(|ends| ends.node == self.name) {
            turn.network.cut(link, turn.now);
        }
    }

    /// The node is asked to leave: sessions finish what they have begun.
    pub fn stop(&mut self, reconnect_after: Millis, turn: &mut Turn<'_>) {
        let links: Vec<_> =
            self.running.iter().flat_map(|running| running.sessions.keys().copied()).collect();
        for link in links {
            self.handle(link, Event::Stop { reconnect_after }, turn);
        }
    }

    /// How often the core does its duties from now on; nothing needs them while everybody is away.
    pub fn set_duties_every(&mut self, every: Option<Millis>) {
        self.duties_every = every.unwrap_or(DUTIES_EVERY);
        let at_latest = self.clock.true_now() + self.duties_every;
        self.duties_at = self.duties_at.min(at_latest);
        self.looks_at = self.looks_at.min(at_latest);
    }

    /// A parcel came from a device.
    pub fn arrived(&mut self, link: LinkId, parcel: Parcel, turn: &mut Turn<'_>) {
        let Some(running) = &mut self.running else {
            if parcel != Parcel::Close {
                turn.network.cut(link, turn.now);
            }
            return;
        };
        match parcel {
            Parcel::Open => {
                turn.network.send(link, Way::Down, Parcel::Open, turn.now);
                let mut effects = Vec::new();
                let nonce = (running.entropy.clone() as Arc<dyn Entropy>).array();
                let incarnation = running.core.incarnation();
                let time = self.clock.now();
                let session =
                    Session::new(nonce, time, incarnation, turn.now, &turn.site.limits, &mut effects);
                running.sessions.insert(link, session);
                self.carry_out(link, effects, turn);
            }
            Parcel::Frame(bytes) => self.frame(link, bytes, turn),
            Parcel::Ping => {
                turn.network.send(link, Way::Down, Parcel::Ping, turn.now);
                self.handle(link, Event::Alive, turn);
            }
            Parcel::Close => self.lost(link, turn),
        }
    }

    /// Does what has become due and takes what has come from elsewhere. Says whether there was anything.
    pub fn proceed(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut busy = self.do_duties(turn);
        while let Some(letter) = self.running.as_ref().and_then(|running| running.inbox.take()) {
            busy = true;
            match letter {
                Letter::Outcome(link, event) => self.handle(link, *event, turn),
                Letter::Signal(device, connection, signal) => self.signal(device, connection, signal, turn),
            }
        }
        busy |= self.unblock(turn);
        busy |= self.tick(turn);
        busy
    }

    /// When something becomes due by itself.
    pub fn wake_at(&self, limits: &SessionLimits) -> Option<Timestamp> {
        let running = self.running.as_ref()?;
        let sessions = running.sessions.values().map(|session| session.deadline(limits));
        sessions.chain([self.duties_at, self.looks_at]).min()
    }

    /// Whether a session of the node is on this connection.
    pub fn has_session(&self, link: LinkId) -> bool {
        self.running.as_ref().is_some_and(|running| running.sessions.contains_key(&link))
    }

    /// Sessions that are not over.
    pub fn session_count(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.sessions.len())
    }

    fn do_duties(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(running) = &self.running else { return false };
        let (ticks, looks) = (turn.now >= self.duties_at, turn.now >= self.looks_at);
        if ticks {
            self.duties_at = turn.now + self.duties_every;
            let core = running.core.clone();
            turn.executor.spawn(self.name, async move { core.tick().await });
        }
        if looks {
            self.looks_at = turn.now + self.duties_every.max(LOOK_EVERY);
            let core = running.core.clone();
            turn.executor.spawn(self.name, async move { core.end_departed().await });
        }
        ticks || looks
    }

    fn tick(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(running) = &self.running else { return false };
        let due = |session: &Session| session.deadline(&turn.site.limits) <= turn.now;
        let links: Vec<_> =
            running.sessions.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        for link in &links {
            self.handle(*link, Event::Tick, turn);
        }
        !links.is_empty()
    }

    fn unblock(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let drained = |link: &LinkId| turn.network.under_way(*link, Way::Down) == 0;
        let links: Vec<_> = running.blocked.keys().filter(|link| drained(link)).copied().collect();
        for link in &links {
            running.blocked.remove(link);
        }
        for link in &links {
            self.handle(*link, Event::WriteDrained, turn);
        }
        !links.is_empty()
    }

    fn frame(&mut self, link: LinkId, bytes: Bytes, turn: &mut Turn<'_>) {
        turn.site.chronicle.server_has("a frame", &bytes);
        turn.site.chronicle.trace("up", &bytes);
        let event = match ClientFrame::decode(bytes) {
            Ok(frame) => Event::Frame(frame),
            Err(_) => Event::Malformed,
        };
        self.handle(link, event, turn);
    }

    fn signal(&mut self, device: MailboxId, connection: u64, signal: Signal, turn: &mut Turn<'_>) {
        let holder = self.running.as_ref().and_then(|running| running.holders.get(&device)).copied();
        // Whoever holds the device wants its hints; that it was replaced is meant for one connection alone.
        if let Some((held, link)) = holder
            && (held == connection || !signal.is_for_one_connection())
        {
            self.handle(link, Event::Signal(signal), turn);
        }
    }

    fn lost(&mut self, link: LinkId, turn: &mut Turn<'_>) {
        if let Some(session) = self.running.as_mut().and_then(|running| running.sessions.remove(&link)) {
            self.left(link, session.caller(), turn);
        }
    }

    fn handle(&mut self, link: LinkId, event: Event, turn: &mut Turn<'_>) {
        let Some(session) = self.running.as_mut().and_then(|running| running.sessions.get_mut(&link)) else {
            return;
        };
        let (caller, was_open) = (session.caller(), session.is_open());
        let mut effects = Vec::new();
        session.handle(event, turn.now, &turn.site.limits, &mut effects);
        let closed = session.is_closed();
        if let Some(caller) = session.caller().filter(|_| !was_open && session.is_open()) {
            let (session, device) = (link.0, caller.mailbox);
            turn.site.chronicle.record(Fact::SessionOpened { session, device });
        }
        self.carry_out(link, effects, turn);
        if closed {
            if let Some(running) = &mut self.running {
                running.sessions.remove(&link);
            }
            self.left(link, caller, turn);
        }
    }

    fn carry_out(&mut self, link: LinkId, effects: Vec<Effect>, turn: &mut Turn<'_>) {
        for effect in effects {
            self.carry_out_one(link, effect, turn);
        }
    }

    fn carry_out_one(&mut self, link: LinkId, effect: Effect, turn: &mut Turn<'_>) {
        let Some(running) = &mut self.running else { return };
        let (core, inbox) = (running.core.clone(), running.inbox.clone());
        let caller = running.sessions.get(&link).and_then(Session::caller);
        let outcome = move |event| inbox.put(Letter::Outcome(link, Box::new(event)));
        match effect {
            Effect::Write(frame) => {
                turn.network.send(link, Way::Down, Parcel::Frame(frame.encode()), turn.now);
                if turn.network.under_way(link, Way::Down) > WRITES_QUEUED_MAX
                    && running.blocked.insert(link, true).is_none()
                {
                    outcome(Event::WriteBlocked);
                }
            }
            Effect::Authenticate(proof, nonce) => turn.executor.spawn(self.name, async move {
                let result = core.authenticate(&proof, nonce).await.map(|admitted| server_edge::Admitted {
                    caller: admitted.caller,
                    device_list_version: admitted.device_list_version,
                });
                outcome(Event::Authenticated(result));
            }),
            Effect::Open(caller) => self.hold(link, caller, turn),
            Effect::Call { id, request } => {
                let Some(caller) = caller else { return };
                turn.executor.spawn(self.name, async move {
                    let result = core.handle(&caller, request).await;
                    outcome(Event::Answered { id, result });
                });
            }
            Effect::ReadMailbox(read) => {
                let Some(caller) = caller else { return };
                turn.executor.spawn(self.name, async move {
                    let page = core.read_mailbox(&caller, read.after, read.rows, read.bytes).await;
                    outcome(Event::PageRead(page));
                });
            }
            Effect::WindowClosed => {}
            Effect::Close(_) => turn.network.send(link, Way::Down, Parcel::Close, turn.now),
        }
    }

    /// Signals for the caller's device reach this connection from now on, and its route is claimed.
    fn hold(&mut self, link: LinkId, caller: Caller, turn: &mut Turn<'_>) {
        let Some(running) = &mut self.running else { return };
        let holder = running.holders.get(&caller.mailbox).copied();
        let inbox = running.inbox.clone();
        if holder.is_some_and(|(connection, _)| connection >= caller.connection) {
            inbox.put(Letter::Outcome(link, Box::new(Event::Signal(Signal::Ended(Code::Replaced)))));
            return;
        }
        running.holders.insert(caller.mailbox, (caller.connection, link));
        if let Some((_, older)) = holder {
            inbox.put(Letter::Outcome(older, Box::new(Event::Signal(Signal::Ended(Code::Replaced)))));
        }
        let core = running.core.clone();
        turn.executor.spawn(self.name, async move {
            let result = core.opened(&caller).await;
            inbox.put(Letter::Outcome(link, Box::new(Event::Opened(result))));
        });
    }

    fn left(&mut self, link: LinkId, caller: Option<Caller>, turn: &mut Turn<'_>) {
        let Some(running) = &mut self.running else { return };
        running.blocked.remove(&link);
        let Some(caller) = caller else { return };
        turn.site.chronicle.record(Fact::SessionEnded { session: link.0 });
        if running.holders.get(&caller.mailbox).is_some_and(|(_, holder)| *holder == link) {
            running.holders.remove(&caller.mailbox);
        }
        let core = running.core.clone();
        turn.executor.spawn(self.name, async move { core.closed(&caller).await });
    }
}
