//! Accounts in memory, because every send asks for two of them.
//!
//! Invariant: only the directory's thread writes here, in the order of its transactions, and before it
//! answers; so whoever was told of a change never reads what was before it.

use server_ports::directory::Account;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use types::AccountId;

/// Accounts kept; about a kilobyte each.
const ACCOUNTS_MAX: usize = 4_096;

/// Accounts that were asked for lately.
#[derive(Default, Clone)]
pub(super) struct AccountCache(Arc<Mutex<HashMap<AccountId, Account>>>);

impl AccountCache {
    pub(super) fn get(&self, id: AccountId) -> Option<Account> {
        self.lock().get(&id).cloned()
    }

    pub(super) fn put(&self, account: Account) {
        let mut accounts = self.lock();
        if accounts.len() >= ACCOUNTS_MAX {
            // Rare, and what is in use comes back at once.
            accounts.clear();
        }
        accounts.insert(account.id, account);
    }

    pub(super) fn forget(&self, id: AccountId) {
        self.lock().remove(&id);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
