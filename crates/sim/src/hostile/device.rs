//! A device between a person and the server: an engine and its wire.

use super::{
    profiles::Profile,
    server::{Server, Session},
};
use crate::disk::Disk;
use bytes::Bytes;
use client::{AddingDevice, Closed, Effect, Engine, Event, Fault};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use std::collections::VecDeque;
use types::{MailboxId, Timestamp};
use wire::ClientFrame;

/// One device.
pub struct Device {
    /// What is committed, for whoever looks inside.
    pub disk: Disk,
    /// Its mailbox.
    pub mailbox: MailboxId,
    /// Why it will never connect again.
    pub ended: Option<Closed>,
    /// The engine, for commands.
    pub engine: Engine,
    /// Its randomness.
    pub rng: ChaCha20Rng,
    bugs: client::testing::Bugs,
    /// How the adding of a device went on, for its person.
    pub adding: Vec<AddingDevice>,
    /// There is something new to say to its person.
    pub has_news: bool,
    session: Option<Session>,
    up: VecDeque<Bytes>,
    written: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
}

impl Device {
    /// Opens a profile.
    ///
    /// # Panics
    /// If the ready-made profile cannot be opened.
    pub fn new(profile: Profile, seed: u64, bugs: client::testing::Bugs) -> Self {
        let engine = Engine::open(profile.disk.connect()).expect("a ready-made profile can be opened");
        Self {
            mailbox: profile.mailbox,
            ended: None,
            engine: engine.with_bugs(bugs),
            rng: ChaCha20Rng::seed_from_u64(seed),
            disk: profile.disk,
            bugs,
            adding: Vec::new(),
            has_news: false,
            session: None,
            up: VecDeque::new(),
            written: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    /// A device that has just become one of an account.
    pub fn linked(
        disk: Disk,
        engine: Engine,
        mailbox: MailboxId,
        rng: ChaCha20Rng,
        bugs: client::testing::Bugs,
    ) -> Self {
        Self {
            disk,
            mailbox,
            ended: None,
            engine: engine.with_bugs(bugs),
            rng,
            bugs,
            adding: Vec::new(),
            has_news: true,
            session: None,
            up: VecDeque::new(),
            written: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    /// Begins anew with another list of its own account on its disk, as after a device came or went. It gives
    /// that list to the server with its next connection.
    ///
    /// # Panics
    /// If its database cannot be opened a second time.
    pub fn begin_anew_with(&mut self, list: &signed::DeviceList) {
        self.cut();
        self.disk.hold_list(list);
        let engine = Engine::open(self.disk.connect()).expect("a database that was open can be opened");
        self.engine = engine.with_bugs(self.bugs);
    }

    /// Whether there is a connection.
    pub const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Begins a connection; an older one is lost with what is on it.
    pub fn connect(&mut self, server: &mut Server, now: Timestamp) -> Result<(), Fault> {
        self.disconnect(now)?;
        if self.ended.is_some() {
            return Ok(());
        }
        self.engine.dial()?;
        let (session, hello) = server.connect();
        self.session = Some(session);
        self.down.push_back(hello.encode());
        self.handle(Event::Connected, now)
    }

    /// The connection is lost.
    pub fn disconnect(&mut self, now: Timestamp) -> Result<(), Fault> {
        self.cut();
        self.handle(Event::ConnectionLost, now)
    }

    /// Tells the engine something, and carries out what it wants.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Result<(), Fault> {
        self.engine.handle(event, now, &mut self.rng)?;
        self.poll();
        Ok(())
    }

    /// Carries out what the engine wants.
    pub fn poll(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Transmit(bytes) => {
                    self.written.push_back(bytes.clone());
                    self.up.push_back(bytes);
                }
                Effect::AddingDevice(adding) => self.adding.push(adding),
                Effect::EventsLogged => self.has_news = true,
                Effect::Close(why) => {
                    self.ended = self.ended.or(Some(why).filter(|why| why.is_final()));
                    self.cut();
                }
                _ => {}
            }
        }
    }

    /// The next frame that the engine made, whether or not it will leave.
    pub fn writes(&mut self) -> Option<ClientFrame> {
        let bytes = self.written.pop_front()?;
        Some(ClientFrame::decode(bytes).expect("an engine writes frames"))
    }

    /// The next frame that leaves, if there is one.
    pub fn leaves(&mut self) -> Option<ClientFrame> {
        let bytes = self.up.pop_front()?;
        Some(ClientFrame::decode(bytes).expect("an engine writes frames"))
    }

    /// A frame is answered.
    pub fn asked(&mut self, frame: ClientFrame, server: &mut Server) {
        if let Some(session) = &mut self.session {
            self.down.push_back(server.ask(session, frame).encode());
        }
    }

    /// The server speaks by itself. True if it did.
    pub fn listens(&mut self, server: &mut Server) -> bool {
        let Some(session) = &mut self.session else { return false };
        let frames = server.deliver(session);
        self.down.extend(frames.iter().map(wire::ServerFrame::encode));
        !frames.is_empty()
    }

    /// The next frame that arrives. True if there was one.
    pub fn hears(&mut self, now: Timestamp) -> Result<bool, Fault> {
        let Some(bytes) = self.down.pop_front() else { return Ok(false) };
        self.handle(Event::Received(bytes), now)?;
        Ok(true)
    }

    fn cut(&mut self) {
        self.session = None;
        self.up.clear();
        self.down.clear();
    }
}
