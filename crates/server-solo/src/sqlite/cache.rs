//! Accounts in memory: accepting a send asks for both accounts each time.
//!
//! Invariants: an account found here is the one on disk. While a commit that touches an account is
//! under way it is not here and cannot come here; a reader may add only what it read entirely after
//! the last commit that touched anything.

use server_ports::directory::Account;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use types::AccountId;

/// Accounts kept: one takes about a kilobyte, most of it its signed list.
const ACCOUNTS_MAX: usize = 8_192;

#[derive(Default)]
pub(super) struct AccountCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    accounts: HashMap<AccountId, Arc<Account>>,
    /// Accounts that a commit under way touches.
    writing: BTreeSet<AccountId>,
    /// Counts beginnings and ends of commits.
    changes: u64,
}

/// When a reader began.
#[derive(Clone, Copy)]
pub(super) struct ReadBegun(u64);

impl AccountCache {
    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: AccountId) -> Option<Arc<Account>> {
        self.lock().accounts.get(&id).cloned()
    }

    /// Those of these accounts that are here, in the order asked.
    pub(super) fn get_all(&self, ids: &[AccountId]) -> Vec<Option<Account>> {
        let cached = self.lock();
        ids.iter().map(|id| cached.accounts.get(id).map(|account| Account::clone(account))).collect()
    }

    pub(super) fn begin_read(&self) -> ReadBegun {
        ReadBegun(self.lock().changes)
    }

    /// Keeps what was read since `begun`, if nothing was written since.
    pub(super) fn insert(&self, begun: ReadBegun, account: &Account) {
        let mut cached = self.lock();
        if cached.changes != begun.0 || cached.writing.contains(&account.id) {
            return;
        }
        if cached.accounts.len() >= ACCOUNTS_MAX {
            // Whichever the map names first: any is as good, and the next send reads it again.
            let any = cached.accounts.keys().next().copied();
            any.and_then(|any| cached.accounts.remove(&any));
        }
        cached.accounts.insert(account.id, Arc::new(account.clone()));
    }

    pub(super) fn begin_write(&self, touched: &[AccountId]) {
        if touched.is_empty() {
            return;
        }
        let mut cached = self.lock();
        cached.changes += 1;
        for id in touched {
            cached.accounts.remove(id);
            cached.writing.insert(*id);
        }
    }

    pub(super) fn end_write(&self, touched: &[AccountId]) {
        if touched.is_empty() {
            return;
        }
        let mut cached = self.lock();
        cached.changes += 1;
        for id in touched {
            cached.writing.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn account(n: u8, list_version: u64) -> Account {
        Account {
            id: AccountId::from_bytes([n; 16]),
            key: [0; 32],
            phone: None,
            closed: true,
            list_version,
            list: Bytes::new(),
            devices: Vec::new(),
        }
    }

    fn version(cache: &AccountCache, n: u8) -> Option<u64> {
        cache.get(AccountId::from_bytes([n; 16])).map(|account| account.list_version)
    }

    #[test]
    fn what_was_read_is_kept_until_it_is_written() {
        let cache = AccountCache::default();
        cache.insert(cache.begin_read(), &account(1, 1));
        cache.insert(cache.begin_read(), &account(2, 1));
        assert_eq!(version(&cache, 1), Some(1));
        cache.begin_write(&[account(1, 0).id]);
        assert_eq!(version(&cache, 1), None, "from before the commit on");
        assert_eq!(version(&cache, 2), Some(1));
        cache.end_write(&[account(1, 0).id]);
        assert_eq!(version(&cache, 1), None);
        cache.insert(cache.begin_read(), &account(1, 2));
        assert_eq!(version(&cache, 1), Some(2));
    }

    #[test]
    fn a_read_that_a_write_overtook_is_not_kept() {
        let cache = AccountCache::default();
        let before = cache.begin_read();
        cache.begin_write(&[account(1, 0).id]);
        let during = cache.begin_read();
        cache.insert(before, &account(1, 1));
        cache.insert(during, &account(1, 1));
        assert_eq!(version(&cache, 1), None);
        cache.end_write(&[account(1, 0).id]);
        cache.insert(before, &account(1, 1));
        cache.insert(during, &account(1, 1));
        assert_eq!(version(&cache, 1), None, "nobody knows whether they saw the write");
    }

    #[test]
    fn memory_is_bounded() {
        let cache = AccountCache::default();
        for n in 0..2 * ACCOUNTS_MAX {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            cache.insert(cache.begin_read(), &Account { id: AccountId::from_bytes(id), ..account(0, 1) });
        }
        assert_eq!(cache.lock().accounts.len(), ACCOUNTS_MAX);
    }
}
