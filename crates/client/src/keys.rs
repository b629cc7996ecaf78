//! Prekeys: those of others, which open sessions, and our own, which are kept fresh on the server.

use crate::{
    device_lists::ListOutcome,
    devices,
    live::Asked,
    sealing::store_failed,
    store::{
        Stored, device_lists, early_receipts, encryption, inbox, linking, outbox::OutboxRow, prekeys,
        profile, sent,
    },
    turn::Turn,
};
use seal::{Bundle, Peer, SealError};
use types::{AccountId, DeviceAddress, IncarnationId, Millis, limits};
use wire::{AccountKeys, Code, FetchKeys, KeyCounts, Refusal, Request};

/// Signed and last-resort prekeys are replaced at least every 48 hours; a device that connects once a day does
/// it in time.
const ROTATE_AFTER: Millis = Millis::from_hours(24);
/// Private halves of replaced prekeys live as long as an envelope that was sealed with them.
const KEEP_REPLACED: Millis = limits::ENVELOPE_LIFE;
/// Private halves of one-time prekeys: the bundle may be fetched late, and the envelope then lives 30 days.
const KEEP_ONE_TIME: Millis = Millis::from_days(60);
/// Ids of received messages are remembered twice as long as an envelope lives.
const KEEP_SEEN: Millis = Millis::from_days(60);
/// An own list older than this is signed anew, well before others call it old (45 days).
const REFRESH_LIST_AFTER: Millis = Millis::from_days(30);
/// How often a running engine looks at the age of things.
const UPKEEP_INTERVAL: Millis = Millis::from_hours(1);
/// A pool is refilled within this time, so that nobody can tell by the moment who emptied it.
const REFILL_WITHIN: Millis = Millis::from_secs(30);
/// A recipient whose keys the server could not give is tried again after this.
pub(crate) const FETCH_AGAIN_AFTER: Millis = Millis::from_secs(5);
/// The longest pause for keys that do not lead to a session.
const BACK_OFF_LONGEST: Millis = Millis::from_mins(10);

impl Turn<'_> {
    // ---- others' keys

    /// Fetches what the head of a lane needs to be sealed: for several accounts at once.
    pub(crate) fn want_keys(
        &mut self,
        row: &OutboxRow,
        mut accounts: Vec<AccountId>,
        reset: Option<DeviceAddress>,
    ) -> Stored<()> {
        if !self.live.is_open() {
            self.live.ready.insert(row.lane);
            return Ok(());
        }
        if accounts.iter().any(|account| self.live.just_fetched.contains(account)) {
            // What came did not help; the server or the other device needs time.
            return self.back_off(row, BACK_OFF_LONGEST);
        }
        accounts.retain(|account| {
            !self.live.is_asked(|asked| matches!(asked, Asked::Keys(of) if of.contains(account)))
        });
        if !accounts.is_empty() {
            let device = reset.map(|device| device.device);
            let fetch = FetchKeys { accounts: accounts.clone(), reset: reset.is_some(), device };
            self.request(Request::FetchKeys(fetch), Asked::Keys(accounts));
        }
        Ok(())
    }

    /// Verifies each list first and then every bundle against it, and opens the sessions that are missing.
    pub(crate) fn keys_came(&mut self, asked: &[AccountId], keys: &[AccountKeys]) -> Stored<()> {
        self.live.just_fetched.extend(asked);
        for keys in keys.iter().filter(|keys| asked.contains(&keys.account)) {
            let account = keys.account;
            match self.take_list(account, &keys.device_list, keys.closed)? {
                ListOutcome::Known => self.open_sessions(account, &keys.bundles)?,
                ListOutcome::Absent => self.fail_recipient(account, Code::NoSuchAccount)?,
                ListOutcome::Closed | ListOutcome::Refused => {}
            }
            self.retry_held(account)?;
        }
        for account in asked {
            self.wake_lanes(*account)?;
        }
        Ok(())
    }

    pub(crate) fn keys_refused(&mut self, asked: &[AccountId], refusal: &Refusal) -> Stored<()> {
        let until = self.now + refusal.retry_after.unwrap_or(FETCH_AGAIN_AFTER);
        for account in asked {
            for lane in self.lanes_that_need(*account)? {
                self.live.postponed.insert(lane, until);
            }
            self.keys_delayed(*account)?;
        }
        Ok(())
    }

    fn open_sessions(&mut self, account: AccountId, bundles: &[wire::Bundle]) -> Stored<()> {
        let Some(list) = self.list(account)? else { return Ok(()) };
        for bundle in bundles {
            if let Some(peer) = Peer::on_list(&list, bundle.device) {
                self.open_session(&peer, bundle)?;
            }
        }
        Ok(())
    }

    fn open_session(&mut self, peer: &Peer, bundle: &wire::Bundle) -> Stored<()> {
        let address = peer.address();
        let broken = encryption::is_renewal_wanted(self.db, address)?;
        let missing = seal::session_needed(&self.encryption(), peer, self.now).map_err(store_failed)?;
        if !broken && missing.is_none() {
            return Ok(());
        }
        // A bundle that does not verify is as good as none: the lane backs off and asks again.
        let Some(bundle) = sealed_bundle(address, bundle) else { return Ok(()) };
        let Ok(verified) = seal::verify_bundle(peer, bundle) else { return Ok(()) };
        match seal::open_session(&mut self.encryption(), &verified, self.now, self.rng) {
            Ok(()) => encryption::set_renewed(self.db, address, self.server_now()),
            Err(SealError::Store(error)) => Err(store_failed(error)),
            Err(_) => Ok(()),
        }
    }

    // ---- our keys

    /// Compares the life of the server's data with the one that has our keys.
    pub(crate) fn notice_incarnation(&mut self, incarnation: IncarnationId) -> Stored<()> {
        self.live.incarnation = Some(incarnation);
        self.live.upload_keys = true;
        match profile::incarnation(self.db)? {
            None => profile::set_incarnation(self.db, incarnation),
            Some(known) if known == incarnation => Ok(()),
            Some(_) => self.upload_everything_again(),
        }
    }

    /// The server lost what it knew of us: list and prekeys go up before anything is sent. One-time keys that it
    /// had are void, because it may not know any more which of them it gave away.
    pub(crate) fn upload_everything_again(&mut self) -> Stored<()> {
        if self.live.restored.is_some() {
            return Ok(());
        }
        self.live.restored = self.live.incarnation;
        self.live.put_list = devices::is_primary(self.me);
        self.live.upload_keys = true;
        let now = self.server_now();
        prekeys::void_one_time(self.db, now)?;
        prekeys::upload_signed_again(self.db)?;
        let pool = limits::ONE_TIME_KEYS_POOL as u32;
        make_one_time(self, pool, pool)
    }

    pub(crate) fn advance_keys(&mut self) -> Stored<()> {
        if self.live.upkeep_at.is_some_and(|at| at <= self.now) {
            self.upkeep()?;
        }
        if self.live.refill_at.is_some_and(|at| at <= self.now) {
            self.refill()?;
        }
        if self.live.put_list && !self.live.is_asked(|asked| *asked == Asked::PutList) {
            self.put_list()?;
        }
        let is_uploading = self.live.is_asked(|asked| matches!(asked, Asked::UploadKeys { .. }));
        if self.live.upload_keys && !is_uploading {
            self.upload()?;
        }
        self.finish_restore(is_uploading)
    }

    /// What is done by age: rotation, a fresh list, forgetting.
    fn upkeep(&mut self) -> Stored<()> {
        self.live.upkeep_at = Some(self.now + UPKEEP_INTERVAL);
        // Readers in other processes know the time from here.
        profile::set_clock(self.db, &self.live.clock)?;
        let now = self.server_now();
        let made_at = prekeys::newest_signed_made_at(self.db)?;
        if made_at.is_none_or(|made_at| now.since(made_at) >= ROTATE_AFTER) {
            make_replaceable(self)?;
        }
        self.live.upload_keys = true;
        let own = self.list(self.me.account())?;
        let is_old = own.is_some_and(|list| now.since(list.issued_at()) >= REFRESH_LIST_AFTER);
        // A list that adds or removes a device is fresh, too, and has to be settled first.
        if is_old && devices::is_primary(self.me) && !self.live.linking.is_changing {
            self.sign_list()?;
            self.live.put_list = true;
        }
        if !self.live.is_draining() {
            self.close_windows()?;
        }
        prekeys::prune(self.db, now - KEEP_REPLACED, now - KEEP_ONE_TIME)?;
        inbox::prune_seen(self.db, now - KEEP_SEEN)?;
        early_receipts::prune(self.db, now - limits::ENVELOPE_LIFE)?;
        sent::prune(self.db, now - limits::ENVELOPE_LIFE, now - Millis::from_hours(1))?;
        self.prune_groups()
    }

    /// Signs a new version of our list. Its number is written as used before the signature is made.
    fn sign_list(&mut self) -> Stored<()> {
        let now = self.server_now();
        let list = devices::sign_fresh(self.db, self.me, now, self.rng)?;
        device_lists::put(self.db, &list, now)?;
        self.live.lists.remove(&self.me.account());
        Ok(())
    }

    fn put_list(&mut self) -> Stored<()> {
        if let Some(list) = self.list(self.me.account())? {
            self.request(Request::PutDeviceList(list.as_bytes().to_vec().into()), Asked::PutList);
        }
        Ok(())
    }

    /// Whatever the answer, asking again on this connection would not change it.
    pub(crate) fn list_put(&mut self) {
        self.live.put_list = false;
    }

    pub(crate) fn keys_low(&mut self, left: KeyCounts) {
        let low = limits::ONE_TIME_KEYS_LOW as u32;
        if (left.one_time < low || left.one_time_kem < low) && self.live.refill_at.is_none() {
            let after = self.jitter(REFILL_WITHIN);
            self.live.keys_left = left;
            self.live.refill_at = Some(self.now + after);
        }
    }

    pub(crate) fn keys_counted(&mut self, left: KeyCounts) -> Stored<()> {
        self.keys_low(left);
        prekeys::set_unsure(self.db, false)
    }

    fn refill(&mut self) -> Stored<()> {
        self.live.refill_at = None;
        let pool = limits::ONE_TIME_KEYS_POOL as u32;
        let left = self.live.keys_left;
        make_one_time(self, pool.saturating_sub(left.one_time), pool.saturating_sub(left.one_time_kem))?;
        self.live.upload_keys = true;
        Ok(())
    }

    fn upload(&mut self) -> Stored<()> {
        let upload = prekeys::to_upload(self.db)?;
        if upload.is_empty() {
            self.live.upload_keys = false;
            return Ok(());
        }
        if !upload.keys.one_time.is_empty() || !upload.keys.one_time_kem.is_empty() {
            prekeys::set_one_time_uploaded(self.db, &upload, self.server_now())?;
            prekeys::set_unsure(self.db, true)?;
        }
        let asked = Asked::UploadKeys { signed: upload.signed, last_resort: upload.last_resort };
        self.request(Request::UploadKeys(upload.keys), asked);
        Ok(())
    }

    pub(crate) fn keys_uploaded(&mut self, signed: Option<u32>, last_resort: Option<u32>) -> Stored<()> {
        let now = self.server_now();
        if let Some(id) = signed {
            prekeys::set_signed_uploaded(self.db, id, now)?;
        }
        if let Some(id) = last_resort {
            prekeys::set_last_resort_uploaded(self.db, id, now)?;
        }
        prekeys::set_unsure(self.db, false)
    }

    /// What could not be uploaded stays to be uploaded by the next upkeep, and what a restored server has not
    /// taken by the next connection, because its incarnation is not remembered.
    pub(crate) fn upload_refused(&mut self) {
        self.live.upload_keys = false;
        self.live.restored = None;
    }

    /// The restored server has everything again.
    fn finish_restore(&mut self, is_uploading: bool) -> Stored<()> {
        let waiting = self.live.put_list || self.live.upload_keys || is_uploading;
        match self.live.restored {
            Some(incarnation) if !waiting => {
                self.live.restored = None;
                profile::set_incarnation(self.db, incarnation)
            }
            _ => Ok(()),
        }
    }
}

/// Makes one-time prekeys and stores them before anybody hears of them.
fn make_one_time(turn: &mut Turn<'_>, one_time: u32, one_time_kem: u32) -> Stored<()> {
    let now = turn.server_now();
    store_one_time(turn.db, turn.me, (one_time, one_time_kem), now, turn.rng)
}

fn make_replaceable(turn: &mut Turn<'_>) -> Stored<()> {
    let now = turn.server_now();
    store_replaceable(turn.db, turn.me, now, turn.rng)
}

/// Makes and stores one-time prekeys: how many classical, how many post-quantum.
pub(crate) fn store_one_time(
    db: &rusqlite::Connection,
    me: &profile::Me,
    (one_time, one_time_kem): (u32, u32),
    now: types::Timestamp,
    rng: &mut dyn rand_core::CryptoRng,
) -> Stored<()> {
    let first = profile::take_prekey_ids(db, one_time)?;
    for prekey in seal::generate_one_time(first, one_time, rng) {
        prekeys::insert_one_time(db, &prekey, now)?;
    }
    let first = profile::take_prekey_ids(db, one_time_kem)?;
    for prekey in seal::generate_kem_one_time(&me.identity, first, one_time_kem, now, rng) {
        prekeys::insert_kem(db, &prekey, now)?;
    }
    Ok(())
}

/// Everything that a new device keeps of itself before anybody hears of it: its profile and a whole pool of prekeys.
pub(crate) fn store_first(
    db: &rusqlite::Connection,
    me: &profile::Me,
    now: types::Timestamp,
    rng: &mut dyn rand_core::CryptoRng,
) -> Stored<()> {
    // Ids begin anywhere, so that they do not tell how old a device is.
    let prekey_next = rng.next_u32() % 0x00f0_0000 + 1;
    linking::remove_request(db)?;
    prekeys::clear(db)?;
    profile::insert(db, me, prekey_next)?;
    let pool =
        u32::try_from(limits::ONE_TIME_KEYS_POOL).map_err(|_| crate::Fault::Bug("the pool is too large"))?;
    store_replaceable(db, me, now, rng)?;
    store_one_time(db, me, (pool, pool), now, rng)
}

/// Makes and stores a signed and a last-resort prekey.
pub(crate) fn store_replaceable(
    db: &rusqlite::Connection,
    me: &profile::Me,
    now: types::Timestamp,
    rng: &mut dyn rand_core::CryptoRng,
) -> Stored<()> {
    let first = profile::take_prekey_ids(db, 2)?;
    prekeys::insert_signed(db, &seal::generate_signed(&me.identity, first, now, rng), now)?;
    prekeys::insert_kem(db, &seal::generate_last_resort(&me.identity, first + 1, now, rng), now)
}

/// A bundle in the words of `seal`; none if a length is wrong.
fn sealed_bundle(device: DeviceAddress, bundle: &wire::Bundle) -> Option<Bundle> {
    let one_time = match &bundle.one_time_prekey {
        Some(prekey) => Some(seal::OneTimePrekey {
            id: prekey.id,
            public_key: prekey.public_key.as_ref().try_into().ok()?,
        }),
        None => None,
    };
    Some(Bundle {
        device,
        registration: bundle.registration,
        signed: seal::SignedPrekey {
            id: bundle.signed_prekey.id,
            public_key: bundle.signed_prekey.public_key.as_ref().try_into().ok()?,
            signature: bundle.signed_prekey.signature.as_ref().try_into().ok()?,
        },
        kem: seal::KemPrekey {
            id: bundle.kem_prekey.id,
            public_key: bundle.kem_prekey.public_key.to_vec(),
            signature: bundle.kem_prekey.signature.as_ref().try_into().ok()?,
            last_resort: bundle.kem_prekey.last_resort,
        },
        one_time,
    })
}
