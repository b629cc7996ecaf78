//! Prekeys of listed devices.

use super::{FakeDirectory, Tables};
use crate::{
    StoreError,
    directory::{Prekeys, TakeKeys, TakenKeys},
    fake::Bug,
};
use std::collections::{BTreeMap, BTreeSet};
use types::{MailboxId, Timestamp, limits};
use wire::{Bundle, KemPrekey, KeyCounts, KeyUpload, OneTimePrekey, SignedPrekey};

#[derive(Debug, Default)]
pub(super) struct StoredKeys {
    signed_prekey: Option<SignedPrekey>,
    last_resort: Option<KemPrekey>,
    one_time: Pool<OneTimePrekey>,
    one_time_kem: Pool<KemPrekey>,
    /// What each requester got last, and when.
    given: BTreeMap<MailboxId, (Timestamp, Bundle)>,
}

/// One-time keys by id, and the ids that were given away.
#[derive(Debug)]
struct Pool<K> {
    keys: BTreeMap<u32, K>,
    gone: BTreeSet<u32>,
}

impl<K> Default for Pool<K> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), gone: BTreeSet::new() }
    }
}

impl<K: Clone> Pool<K> {
    fn add(&mut self, id: u32, key: K) {
        if self.keys.len() < limits::ONE_TIME_KEYS_MAX && !self.gone.contains(&id) {
            self.keys.entry(id).or_insert(key);
        }
    }

    fn take(&mut self, keep: bool) -> Option<K> {
        if keep {
            return self.keys.values().next().cloned();
        }
        let (id, key) = self.keys.pop_first()?;
        self.gone.insert(id);
        Some(key)
    }

    fn left(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(u32::MAX)
    }
}

impl StoredKeys {
    pub(super) fn of(upload: KeyUpload) -> Self {
        let mut keys = Self::default();
        keys.put(upload);
        keys
    }

    fn put(&mut self, upload: KeyUpload) {
        self.signed_prekey = upload.signed_prekey.or(self.signed_prekey.take());
        self.last_resort = upload.last_resort.or(self.last_resort.take());
        upload.one_time.into_iter().for_each(|key| self.one_time.add(key.id, key));
        upload.one_time_kem.into_iter().for_each(|key| self.one_time_kem.add(key.id, key));
    }

    fn counts(&self) -> KeyCounts {
        KeyCounts { one_time: self.one_time.left(), one_time_kem: self.one_time_kem.left() }
    }

    fn take(&mut self, take: TakeKeys, keep: bool) -> Option<Bundle> {
        self.given.retain(|_, (at, _)| take.now.since(*at) < limits::BUNDLE_REPEAT_WITHIN);
        if !take.reset
            && let Some((_, bundle)) = self.given.get(&take.requester)
        {
            return Some(bundle.clone());
        }
        let signed_prekey = self.signed_prekey.clone()?;
        let without = take.reset || take.spare_one_time;
        let one_time_kem = if without { None } else { self.one_time_kem.take(keep) };
        let bundle = Bundle {
            device: take.target.device,
            registration: take.target.registration,
            signed_prekey,
            kem_prekey: one_time_kem.or_else(|| self.last_resort.clone())?,
            one_time_prekey: if without { None } else { self.one_time.take(keep) },
        };
        if !take.reset {
            self.given.insert(take.requester, (take.now, bundle.clone()));
        }
        Some(bundle)
    }
}

impl Tables {
    fn take_keys(&mut self, take: TakeKeys, keep: bool) -> Option<TakenKeys> {
        let keys = self.keys.get_mut(&take.target)?;
        let bundle = keys.take(take, keep)?;
        Some(TakenKeys { bundle, left: keys.counts() })
    }

    /// The signed prekey of some other device, for [`Bug::BundleMixedUp`].
    fn foreign_prekey(&self, than: MailboxId) -> Option<SignedPrekey> {
        self.keys
            .iter()
            .filter(|(mailbox, _)| **mailbox != than)
            .find_map(|(_, keys)| keys.signed_prekey.clone())
    }
}

#[async_trait::async_trait]
impl Prekeys for FakeDirectory {
    async fn put_keys(&self, device: MailboxId, upload: KeyUpload) -> Result<Option<KeyCounts>, StoreError> {
        self.write(|tables| {
            let keys = tables.keys.get_mut(&device)?;
            keys.put(upload);
            Some(keys.counts())
        })
        .await
    }

    async fn take_keys(&self, take: TakeKeys) -> Result<Option<TakenKeys>, StoreError> {
        let keep = self.makes(Bug::OneTimeKeyTwice);
        let mix_up = self.makes(Bug::BundleMixedUp);
        self.write(|tables| {
            let mut taken = tables.take_keys(take, keep)?;
            if mix_up && let Some(foreign) = tables.foreign_prekey(take.target) {
                taken.bundle.signed_prekey = foreign;
            }
            Some(taken)
        })
        .await
    }

    async fn key_counts(&self, device: MailboxId) -> Result<Option<KeyCounts>, StoreError> {
        self.read(|tables| tables.keys.get(&device).map(StoredKeys::counts)).await
    }
}
