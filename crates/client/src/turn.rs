//! One turn of the engine: an event or a command, in one transaction, with everything that follows from it.

use crate::{
    Effect,
    groups::Asking,
    live::{Asked, Live, Phase},
    store::{Stored, encryption::EncryptionState, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use types::{Millis, Timestamp};
use wire::{ClientFrame, Request};

/// What the logic works on. Effects are given out only after the transaction committed.
pub(crate) struct Turn<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) me: &'a Me,
    pub(crate) live: &'a mut Live,
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) effects: Vec<Effect>,
}

impl<'a> Turn<'a> {
    /// The server's time, by which every limit is measured.
    pub(crate) fn server_now(&self) -> Timestamp {
        self.live.clock.server_time(self.now)
    }

    /// The state of the encryption within this transaction.
    pub(crate) fn encryption(&self) -> EncryptionState<'a> {
        EncryptionState { db: self.db, me: self.me }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        if effect != Effect::EventsLogged || self.effects.last() != Some(&effect) {
            self.effects.push(effect);
        }
    }

    /// Makes a request, to be answered as `asked` says: at once, or when the server has answered enough of those before
    /// it. Sends have a window of their own, which the outbox keeps.
    pub(crate) fn request(&mut self, request: Request, asked: Asked) {
        let is_send = matches!(asked, Asked::Send { .. });
        if is_send || (self.live.held_back.is_empty() && !self.live.is_request_window_full()) {
            self.transmit_request(request, asked);
        } else {
            self.live.held_back.push_back((request, asked));
        }
    }

    /// Makes the requests that were held back, as far as the server takes them now.
    fn advance_requests(&mut self) {
        while !self.live.is_request_window_full()
            && let Some((request, asked)) = self.live.held_back.pop_front()
        {
            self.transmit_request(request, asked);
        }
    }

    fn transmit_request(&mut self, request: Request, asked: Asked) {
        self.live.last_request += 1;
        let id = self.live.last_request;
        self.live.asked.insert(id, asked);
        self.effect(Effect::Transmit(ClientFrame { id, request }.encode()));
    }

    /// A random length of time below `bound`, for what must not happen on the dot.
    pub(crate) fn jitter(&mut self, bound: Millis) -> Millis {
        Millis(self.rng.next_u64() % bound.0.max(1))
    }

    /// Does everything that can be done now. The order matters only where one step makes work for the next.
    pub(crate) fn advance(&mut self) -> Stored<()> {
        if self.live.phase == Phase::Open {
            self.advance_requests();
            self.advance_keys()?;
            self.advance_device_lists()?;
            self.advance_linking()?;
            self.advance_lookups()?;
            self.advance_held()?;
            self.advance_groups()?;
            self.advance_gaps()?;
            self.advance_receipts()?;
            self.advance_reads()?;
        }
        self.advance_contacts()?;
        self.advance_outbox()?;
        // A parcel that had nobody to go to was the last one that a group waited for.
        while self.live.is_open() && self.live.groups.has_due() {
            self.advance_waiting()?;
            self.advance_outbox()?;
        }
        if self.live.phase == Phase::Open {
            // A message to a group has found lists that it lacks.
            self.advance_device_lists()?;
            self.advance_acks();
        }
        self.live.just_fetched.clear();
        self.advance_drain()
    }

    /// The end of the drain, once nothing that it brought waits for its sender's list or number: until then
    /// one person's messages would be printed before another's older ones. What comes later is printed as it comes.
    fn advance_drain(&mut self) -> Stored<()> {
        let waits = !self.live.lists_wanted.is_empty()
            || self.live.groups.wants_now()
            || self.live.is_asked(|asked| {
                matches!(asked, Asked::Lists(_) | Asked::CheckClaim { .. } | Asked::Group(Asking::Chain(_)))
            });
        if self.live.phase == Phase::Open && self.live.drained && !self.live.drain_told && !waits {
            self.live.drain_told = true;
            self.live.batch.0 += 1;
            self.effect(Effect::Drained);
            self.groups_drained()?;
            self.advance_lookups()?;
        }
        Ok(())
    }
}
