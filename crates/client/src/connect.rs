//! A connection's life up to the first request, and its end.
//!
//! ```text
//! dial (number stored) -> Connected -> Hello -> Authenticate -> Authenticated -> open -> Closing or lost
//! ```

use crate::{
    Closed, Effect,
    live::{Asked, Phase},
    store::{Stored, device_lists, events, gaps, groups, inbox, outbox, prekeys, profile},
    turn::Turn,
};
use signed::SessionProof;
use types::Timestamp;
use wire::{Authenticate, Authenticated, Code, Hello, Refusal, Request};

impl Turn<'_> {
    pub(crate) fn connected(&mut self) {
        match self.live.phase {
            Phase::Dialled { number } => {
                self.live.last_request = 0;
                self.live.phase = Phase::Greeting { number };
            }
            _ => self.close(Closed::Protocol),
        }
    }

    /// The server's first word: versions, its time, a nonce to sign.
    pub(crate) fn greeted(&mut self, hello: &Hello) -> Stored<()> {
        let Phase::Greeting { number } = self.live.phase else {
            self.close(Closed::Protocol);
            return Ok(());
        };
        let Some(version) = wire::version::SUPPORTED.common(hello.versions) else {
            self.close(Closed::VersionUnsupported);
            return Ok(());
        };
        self.live.clock.hear(hello.time, self.now);
        profile::set_clock(self.db, &self.live.clock)?;
        let proof = SessionProof {
            version,
            origin: &self.me.server,
            account: self.me.account(),
            device: self.me.address.device,
            connection_number: number,
            nonce: hello.nonce,
        };
        let request = Request::Authenticate(Authenticate {
            version,
            origin: self.me.server.clone(),
            address: self.me.address,
            connection_number: number,
            token: self.me.token.clone(),
            signature: *proof.sign(&self.me.device_secret).as_bytes(),
        });
        self.request(request, Asked::Authenticate);
        self.live.phase = Phase::Authenticating { incarnation: hello.incarnation };
        Ok(())
    }

    pub(crate) fn authenticated(&mut self, answer: Authenticated) -> Stored<()> {
        let Phase::Authenticating { incarnation } = self.live.phase else {
            self.close(Closed::Protocol);
            return Ok(());
        };
        if answer.registration != self.me.registration {
            // The device number lives another life by now.
            return self.refused_as_revoked();
        }
        let is_primary = self.me.account_secret.is_some();
        let own = self.list(self.me.account())?.map_or(0, |list| list.version());
        if answer.device_list_version > own && !self.settle_list_change(answer.device_list_version)? {
            if is_primary {
                // Only this device can sign a list, so an older copy of this database is at work here.
                return self.refused_as_copy();
            }
            device_lists::mark_stale(self.db, self.me.account())?;
        }
        self.live.phase = Phase::Open;
        self.live.drained = false;
        self.live.drain_told = false;
        self.live.batch = events::next_batch(self.db)?;
        self.live.put_list = is_primary && answer.device_list_version < own;
        self.notice_incarnation(incarnation)?;
        self.live.ready = outbox::lanes(self.db)?.into_iter().collect();
        self.live.postponed.clear();
        // Beside those that somebody asked for while there was no connection.
        self.live.lists_wanted.extend(device_lists::wanted(self.db)?);
        self.live.groups.wanted.extend(groups::all_wanted(self.db)?);
        self.live.has_claims = true;
        self.live.gaps_at = gaps::next_ask_at(self.db)?;
        self.live.upkeep_at = Some(self.now);
        if inbox::has_receipts_due(self.db)? {
            self.live.receipts_at = Some(self.now);
        }
        if prekeys::is_unsure(self.db)? {
            self.request(Request::KeyCount, Asked::KeyCount);
        }
        self.live.linking.begin_anew();
        self.effect(Effect::Authenticated);
        self.retry_quarantined()
    }

    /// The server ends the session, or refuses to begin one.
    pub(crate) fn closing(&mut self, refusal: &Refusal) -> Stored<()> {
        match refusal.code {
            Code::Cloned => return self.refused_as_copy(),
            Code::Revoked => return self.refused_as_revoked(),
            _ => {}
        }
        self.close(match refusal.code {
            Code::VersionUnsupported => Closed::VersionUnsupported,
            Code::Unauthenticated => Closed::Unauthenticated,
            Code::Replaced => Closed::Replaced,
            Code::RetryAfter => match refusal.retry_after {
                Some(after) => Closed::Reconnect { after },
                None => Closed::Idle,
            },
            Code::Idle | Code::Unavailable => Closed::Idle,
            _ => Closed::Protocol,
        });
        Ok(())
    }

    /// Another copy of this database is ahead. The number that was refused is taken back: if a copy went on
    /// counting, its next number would be accepted, and it would use keys that the other one has used.
    fn refused_as_copy(&mut self) -> Stored<()> {
        if self.live.phase != Phase::Offline {
            profile::take_back_connection_number(self.db)?;
        }
        self.close(Closed::Cloned);
        Ok(())
    }

    /// This device is not on the list any more, or the account is closed. What is here stays readable; what was to be
    /// sent never leaves.
    pub(crate) fn refused_as_revoked(&mut self) -> Stored<()> {
        profile::set_revoked(self.db)?;
        self.fail_everything(Code::Revoked)?;
        self.close(Closed::Revoked);
        Ok(())
    }

    /// Ends the connection from our side.
    pub(crate) fn close(&mut self, why: Closed) {
        self.live.disconnect();
        self.effect(Effect::Close(why));
    }

    pub(crate) fn lost(&mut self) {
        self.live.disconnect();
    }

    /// When something here has to be done by itself.
    pub(crate) fn wake_at(live: &crate::live::Live) -> Option<Timestamp> {
        if !live.is_open() {
            return None;
        }
        let lanes = live.postponed.values().chain(live.paused.values()).copied();
        let held = live.retry_at.values().copied();
        // Both wait for the end of a drain, which looks at them by itself.
        let batched = [live.receipts_at, live.gaps_at].into_iter().flatten().filter(|_| !live.is_draining());
        let others =
            [live.refill_at, live.upkeep_at, live.reads_at, live.linking.wake_at()].into_iter().flatten();
        let groups = live.groups.wake_at(live.is_draining());
        lanes.chain(held).chain(batched).chain(others).chain(groups).min()
    }
}
