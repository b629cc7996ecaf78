//! Sessions of a shard: events go in, effects are carried out.

use super::{FLUSH_AT_BYTES, Key, Shard, entry::Stage, find};
use crate::{
    budget::Share,
    connection::Event as Received,
    session::{CloseReason, Effect, Event, Session},
    websocket::CloseCode,
};
use bytes::Bytes;
use std::mem;
use types::Millis;
use wire::{ClientFrame, Code, Push, ServerFrame};

impl Shard {
    pub(super) fn has_session(&mut self, key: Key) -> bool {
        self.entry(key).is_some_and(|entry| entry.session.is_some())
    }

    pub(super) fn open_session(&mut self, key: Key) {
        self.meters.upgrades.increment(1);
        let mut effects = mem::take(&mut self.buffers.effects);
        let session = Session::new(
            self.shared.entropy.array(),
            self.shared.clock.now(),
            self.shared.incarnation,
            self.now,
            &self.shared.limits.session,
            &mut effects,
        );
        if let Some(entry) = self.entry(key) {
            entry.session = Some(Box::new(session));
            entry.stage = Stage::Socket;
        }
        self.buffers.effects = effects;
        self.effects(key);
        if let Some(reconnect_within) = self.stopping {
            self.stop_session(key, reconnect_within);
        }
    }

    pub(super) fn message(&mut self, key: Key, message: Bytes) {
        let bytes = message.len();
        let event = match ClientFrame::decode(message) {
            Ok(frame) => {
                self.meters.frame_in(frame.request.name());
                self.arriving = self.shared.budget.share(bytes);
                match self.arriving {
                    Some(_) => Event::Frame(frame),
                    None => {
                        self.meters.without_room.increment(1);
                        Event::NoRoom(frame)
                    }
                }
            }
            Err(_) => {
                self.meters.frame_in("malformed");
                Event::Malformed
            }
        };
        self.tell(key, event);
        // Of what was answered at once nothing is held.
        self.arriving = None;
    }

    /// A call has ended: its request is held no more, and others may be read.
    pub(super) fn answered(&mut self, key: Key, bytes: usize) {
        let Some(entry) = find(&mut self.entries, key) else { return };
        entry.answering -= bytes;
        if mem::take(&mut entry.read_later) {
            self.readable.push(key);
        }
    }

    /// Gives an event to a connection's session, if both are still there.
    pub(super) fn tell(&mut self, key: Key, event: Event) {
        let mut effects = mem::take(&mut self.buffers.effects);
        let (now, limits) = (self.now, &self.shared.limits.session);
        let entry = find(&mut self.entries, key);
        if let Some(session) = entry.and_then(|entry| entry.session.as_mut()) {
            session.handle(event, now, limits, &mut effects);
        }
        self.buffers.effects = effects;
        self.effects(key);
    }

    /// Does what a session wants done.
    pub(super) fn effects(&mut self, key: Key) {
        let mut effects = mem::take(&mut self.buffers.effects);
        for effect in effects.drain(..) {
            self.effect(key, effect);
        }
        self.buffers.effects = effects;
        self.session_changed(key);
        self.wants_flush(key);
    }

    fn effect(&mut self, key: Key, effect: Effect) {
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        match effect {
            Effect::Write(frame) => self.write(key, &frame),
            Effect::Authenticate(proof, nonce) => {
                self.calls.authenticate(key, entry.permit.peer().ip(), *proof, nonce);
            }
            Effect::Open(caller) => {
                if self.shared.registry.insert(caller, key, &self.inbox) {
                    self.calls.opened(key, caller);
                } else {
                    self.calls.refused(key, caller, Code::Replaced.into());
                }
            }
            Effect::Call { id, request } => {
                if let Some(caller) = entry.caller() {
                    let share = self.arriving.take();
                    entry.answering += share.as_ref().map_or(0, Share::bytes);
                    self.calls.call(key, id, caller, request, share);
                }
            }
            Effect::ReadMailbox(read) => {
                if let Some(caller) = entry.caller() {
                    self.calls.read_mailbox(key, caller, read);
                }
            }
            Effect::WindowClosed => self.meters.windows_closed.increment(1),
            Effect::Close(reason) => self.close(key, reason),
        }
    }

    pub(super) fn write(&mut self, key: Key, frame: &ServerFrame) {
        self.meters.frame_out(frame);
        if matches!(frame, ServerFrame::Push(Push::Drained)) {
            self.meters.drains.increment(1);
        }
        let message = frame.encode();
        // Much that is written in one turn leaves in pieces, so that only what the socket refuses counts as waiting.
        if self.entry(key).is_some_and(|entry| {
            !entry.blocked && entry.connection.pending_output() + message.len() > FLUSH_AT_BYTES
        }) {
            self.flush(key);
        }
        let output_max = self.shared.limits.output_bytes_max;
        let shard_full = self.output_waiting > self.shared.limits.output_bytes_max_per_shard;
        if let Some(entry) = self.entry(key)
            && (entry.connection.send(&message, output_max).is_err() || shard_full && entry.blocked)
        {
            self.remove(key, Some("output_full"));
        }
    }

    fn close(&mut self, key: Key, reason: CloseReason) {
        let code = match reason {
            CloseReason::Refused(_) => CloseCode::Policy,
            CloseReason::Stopping => CloseCode::GoingAway,
        };
        let mut received = Vec::new();
        if let Some(entry) = self.entry(key) {
            entry.connection.end(code, &mut received);
        }
        for event in received {
            if let Received::Ended(ended) = event {
                self.meters.ended(match reason {
                    CloseReason::Refused(code) => code.name(),
                    CloseReason::Stopping => ended.name(),
                });
            }
        }
        self.end_session(key);
    }

    /// Follows a session's authentication and its next time limit.
    fn session_changed(&mut self, key: Key) {
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        let Some(session) = &entry.session else { return };
        if entry.unauthenticated && session.is_open() {
            entry.unauthenticated = false;
            entry.connection.authenticated();
            self.unauthenticated -= 1;
            self.meters.sessions.increment(1);
        }
        self.appoint(key);
    }

    pub(super) fn end_session(&mut self, key: Key) {
        let until = self.now + self.shared.limits.linger_timeout;
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        // What is queued gets the time to leave, and no more.
        entry.stage = Stage::Lingering;
        entry.until = until;
        let session = entry.session.take();
        let was_open = session.is_some() && !entry.unauthenticated;
        self.appoint(key);
        self.session_ended(key, session, was_open);
    }

    /// Takes leave of a session, for the registry and the core.
    pub(super) fn session_ended(&mut self, key: Key, session: Option<Box<Session>>, was_open: bool) {
        if was_open {
            self.meters.sessions.decrement(1);
        }
        let Some(session) = session else { return };
        let Some(caller) = session.caller() else { return };
        self.shared.registry.remove(caller, key, &self.inbox);
        // A route that is being claimed is given up after it was, or it would stay.
        if !session.is_opening() {
            self.calls.closed(key, caller);
        }
    }

    pub(super) fn stop_session(&mut self, key: Key, reconnect_within: Millis) {
        let reconnect_after = self.jitter(reconnect_within);
        self.tell(key, Event::Stop { reconnect_after });
    }

    /// A wait that spreads the return of many clients evenly.
    fn jitter(&self, within: Millis) -> Millis {
        Millis(u64::from_be_bytes(self.shared.entropy.array()) % (within.0 + 1))
    }
}
