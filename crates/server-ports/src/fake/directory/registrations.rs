//! Registration sessions.

use super::{FakeDirectory, Tables};
use crate::{
    StoreError,
    directory::{Attempt, RegistrationSession, Registrations, SessionId},
    fake::Bug,
};
use types::{PhoneNumber, Timestamp, limits};

#[derive(Debug)]
pub(super) struct StoredSession {
    session: RegistrationSession,
    wrong_tries: u32,
    proved: bool,
}

impl StoredSession {
    fn expired(&self, now: Timestamp) -> bool {
        now >= self.session.expires_at
    }

    fn attempt(&mut self, code_hash: [u8; 32], now: Timestamp, counts: bool) -> Attempt {
        if self.expired(now) {
            return Attempt::Expired;
        }
        if self.wrong_tries >= limits::CODE_TRIES_MAX {
            return Attempt::Exhausted;
        }
        if self.session.code_hash == code_hash {
            self.proved = true;
            return Attempt::Proved(self.session.phone.clone());
        }
        self.wrong_tries += u32::from(counts);
        let left = limits::CODE_TRIES_MAX - self.wrong_tries;
        Attempt::Wrong { phone: self.session.phone.clone(), left }
    }
}

impl Tables {
    pub(super) fn proved(&self, id: SessionId, phone: &PhoneNumber, now: Timestamp) -> bool {
        let session = self.sessions.get(&id);
        session.is_some_and(|stored| stored.proved && !stored.expired(now) && stored.session.phone == *phone)
    }
}

#[async_trait::async_trait]
impl Registrations for FakeDirectory {
    async fn begin(&self, session: RegistrationSession) -> Result<(), StoreError> {
        self.write(|tables| {
            tables.sessions.retain(|_, other| other.session.phone != session.phone);
            let stored = StoredSession { wrong_tries: 0, proved: false, session };
            tables.sessions.insert(stored.session.id, stored);
        })
        .await
    }

    async fn attempt(
        &self,
        session: SessionId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let counts = !self.makes(Bug::TriesNotCounted);
        self.write(|tables| match tables.sessions.get_mut(&session) {
            Some(stored) => stored.attempt(code_hash, now, counts),
            None => Attempt::Unknown,
        })
        .await
    }

    async fn expire_registrations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|tables| {
            let before = tables.sessions.len();
            tables.sessions.retain(|_, stored| !stored.expired(now));
            (before - tables.sessions.len()) as u64
        })
        .await
    }
}
