//! A [`Store`] in memory, for tests and the simulator. It can be cloned, which is a snapshot of a disk.

use crate::{KemPrekey, OneTimePrekey, SignedPrekey};
use crate::{KemPrekeyRecord, LastResortUse, LocalDevice, NewPrekey, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use types::{DeviceAddress, GroupId};
use zeroize::Zeroizing;

/// The state of one device in memory.
#[derive(Clone)]
pub struct MemoryStore {
    local: LocalDevice,
    sessions: BTreeMap<DeviceAddress, Vec<u8>>,
    one_time: BTreeMap<u32, Vec<u8>>,
    signed: BTreeMap<u32, Vec<u8>>,
    kem: BTreeMap<u32, KemPrekeyRecord>,
    last_resort_uses: BTreeSet<LastResortUse>,
    sender_keys: BTreeMap<(GroupId, DeviceAddress), Vec<u8>>,
}

impl MemoryStore {
    /// The empty state of a device.
    pub fn new(local: LocalDevice) -> Self {
        Self {
            local,
            sessions: BTreeMap::new(),
            one_time: BTreeMap::new(),
            signed: BTreeMap::new(),
            kem: BTreeMap::new(),
            last_resort_uses: BTreeSet::new(),
            sender_keys: BTreeMap::new(),
        }
    }

    /// Keeps the private half of a one-time prekey.
    pub fn insert_one_time(&mut self, prekey: &NewPrekey<OneTimePrekey>) {
        self.one_time.insert(prekey.public.id, prekey.record.to_vec());
    }

    /// Keeps the private half of a signed prekey.
    pub fn insert_signed(&mut self, prekey: &NewPrekey<SignedPrekey>) {
        self.signed.insert(prekey.public.id, prekey.record.to_vec());
    }

    /// Keeps the private half of a post-quantum prekey.
    pub fn insert_kem(&mut self, prekey: &NewPrekey<KemPrekey>) {
        let record =
            KemPrekeyRecord { record: prekey.record.clone(), last_resort: prekey.public.last_resort };
        self.kem.insert(prekey.public.id, record);
    }

    /// Forgets the session with a device, as a device does that lost its database.
    pub fn remove_session(&mut self, peer: DeviceAddress) {
        self.sessions.remove(&peer);
    }

    /// True if both hold the same state, byte for byte.
    pub fn same_state(&self, other: &Self) -> bool {
        self.sessions == other.sessions
            && self.one_time == other.one_time
            && self.signed == other.signed
            && self.kem.keys().eq(other.kem.keys())
            && self.last_resort_uses == other.last_resort_uses
            && self.sender_keys == other.sender_keys
    }
}

impl Store for MemoryStore {
    fn local(&self) -> Result<LocalDevice, StoreError> {
        Ok(self.local.clone())
    }

    fn session(&self, peer: DeviceAddress) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.sessions.get(&peer).cloned().map(Zeroizing::new))
    }

    fn store_session(&mut self, peer: DeviceAddress, record: &[u8]) -> Result<(), StoreError> {
        self.sessions.insert(peer, record.to_vec());
        Ok(())
    }

    fn one_time_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.one_time.get(&id).cloned().map(Zeroizing::new))
    }

    fn remove_one_time_prekey(&mut self, id: u32) -> Result<(), StoreError> {
        self.one_time.remove(&id);
        Ok(())
    }

    fn signed_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.signed.get(&id).cloned().map(Zeroizing::new))
    }

    fn kem_prekey(&self, id: u32) -> Result<Option<KemPrekeyRecord>, StoreError> {
        Ok(self.kem.get(&id).cloned())
    }

    fn remove_kem_prekey(&mut self, id: u32) -> Result<(), StoreError> {
        self.kem.remove(&id);
        Ok(())
    }

    fn remember_last_resort_use(&mut self, used: &LastResortUse) -> Result<bool, StoreError> {
        Ok(self.last_resort_uses.insert(*used))
    }

    fn sender_key(
        &self,
        group: GroupId,
        sender: DeviceAddress,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.sender_keys.get(&(group, sender)).cloned().map(Zeroizing::new))
    }

    fn store_sender_key(
        &mut self,
        group: GroupId,
        sender: DeviceAddress,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.sender_keys.insert((group, sender), record.to_vec());
        Ok(())
    }
}
