//! The connection of a device: when to dial, when to try again, what goes up and what comes down.

use super::{Device, Outside, linking::Linking};
use crate::network::{Ends, LinkId, Parcel, Way};
use bytes::Bytes;
use client::{Closed, Engine, Event, Fault};
use server_ports::Clock as _;
use testkit::event::Node;
use types::{Millis, Timestamp, limits};
use wire::{ClientFrame, ServerFrame};

/// Two pings without an answer, and the connection counts as lost.
const SILENCE_MAX: Millis = Millis(2 * limits::KEEP_ALIVE_INTERVAL.0);
/// The longest wait between two attempts to connect.
const BACK_OFF_SECONDS_MAX: u64 = 60;

impl Device {
    /// When something becomes due by itself.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let tick = self.engine.as_ref().and_then(Engine::wake_at).map(|at| self.true_time(at));
        let keep_alive = self.link.map(|_| self.ping_at.min(self.heard_at + SILENCE_MAX));
        let moved = (!self.moved.is_empty() && self.engine.is_some()).then(|| self.clock.true_now());
        let is_running = self.engine.is_some() && self.online;
        let linking = self.linking.as_ref().filter(|_| is_running).and_then(Linking::wake_at);
        let transfer = self.transfer.map(|transfer| transfer.until);
        let all = [tick, keep_alive, self.retry_at, self.restart_at, moved, linking, transfer];
        all.into_iter().flatten().min()
    }

    /// Does what has become due. Says whether there was anything.
    pub fn proceed(&mut self, outside: &mut Outside<'_>) -> Result<bool, Fault> {
        let now = outside.now;
        let mut busy = false;
        if self.restart_at.is_some_and(|at| at <= now) {
            busy = true;
            self.start()?;
            self.is_linked(outside)?;
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
        if !self.moved.is_empty() && self.engine.is_some() {
            busy = true;
            self.accept_changes(outside)?;
        }
        busy |= self.proceed_linking(outside)? | self.proceed_transfer(outside)?;
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
    pub(super) fn connect(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
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
        self.forget_requests();
        self.heard_at = outside.now;
        self.ping_at = outside.now + limits::KEEP_ALIVE_INTERVAL;
        self.link = Some(outside.network.open(Ends { seat: self.seat, node }, outside.now));
        self.turn_done(outside)
    }

    /// What was asked on a connection that is over has no answer.
    pub(super) fn forget_requests(&mut self) {
        self.asked.clear();
        self.lists_asked.clear();
        self.lists_put.clear();
        self.groups.connection_ended();
    }

    pub(super) fn hang_up(&mut self, outside: &mut Outside<'_>) {
        if let Some(link) = self.link.take() {
            outside.network.send(link, Way::Up, Parcel::Close, outside.now);
        }
        self.forget_requests();
        if let Some(engine) = &mut self.engine {
            // Its outcome does not matter to a process that goes away.
            let _ = engine.handle(Event::ConnectionLost, self.clock.now(), &mut self.rng);
            while engine.poll_effect().is_some() {}
        }
    }

    fn lost(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.forget_requests();
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

    pub(super) fn received(&mut self, bytes: Bytes, outside: &mut Outside<'_>) -> Result<(), Fault> {
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
    pub(super) fn close(&mut self, closed: Closed, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if let Some(link) = self.link.take() {
            outside.network.send(link, Way::Up, Parcel::Close, outside.now);
        }
        self.forget_requests();
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

    pub(super) fn transmit(&mut self, bytes: Bytes, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if let Ok(frame) = ClientFrame::decode(bytes.clone()) {
            self.note_request(&frame, outside);
        }
        if let Some(link) = self.link {
            outside.network.send(link, Way::Up, Parcel::Frame(bytes), outside.now);
        }
        Ok(())
    }
}
