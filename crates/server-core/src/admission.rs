//! Which sends are under way for which accounts, so that a device-list change can wait for those
//! that were admitted with the list before it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use types::AccountId;

/// The sends under way on this node.
#[derive(Default)]
pub(crate) struct Admissions {
    /// Only accounts with a send or a change under way have an entry.
    accounts: Mutex<BTreeMap<AccountId, Arc<RwLock<()>>>>,
}

/// One admitted send; over when dropped.
pub(crate) struct Admission<'a> {
    admissions: &'a Admissions,
    accounts: [AccountId; 2],
    guards: Vec<OwnedRwLockReadGuard<()>>,
}

impl Admissions {
    /// Admits a send between two accounts. Lists loaded after this are at least as new as any change
    /// that was answered before.
    pub(crate) async fn admit(&self, one: AccountId, other: AccountId) -> Admission<'_> {
        // Always in the same order, so that no two sends wait for each other.
        let accounts = if one <= other { [one, other] } else { [other, one] };
        let mut admission = Admission { admissions: self, accounts, guards: Vec::with_capacity(2) };
        admission.guards.push(self.lock_of(accounts[0]).read_owned().await);
        if accounts[0] != accounts[1] {
            admission.guards.push(self.lock_of(accounts[1]).read_owned().await);
        }
        admission
    }

    /// Returns once every send for `account` that was admitted before has ended. Sends that come
    /// meanwhile wait, briefly, and then see the new list.
    pub(crate) async fn settle(&self, account: AccountId) {
        drop(self.lock_of(account).write_owned().await);
        self.forget_idle(&[account]);
    }

    fn lock_of(&self, account: AccountId) -> Arc<RwLock<()>> {
        Arc::clone(self.accounts().entry(account).or_default())
    }

    fn forget_idle(&self, accounts: &[AccountId]) {
        let mut table = self.accounts();
        for account in accounts {
            // Clones are made only under this lock, so a count of one means that nobody holds or waits.
            if table.get(account).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                table.remove(account);
            }
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<AccountId, Arc<RwLock<()>>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.guards.clear();
        self.admissions.forget_idle(&self.accounts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join};
    use std::pin::pin;

    fn account(byte: u8) -> AccountId {
        AccountId::from_bytes([byte; 16])
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        future.now_or_never()
    }

    #[test]
    fn a_change_waits_for_the_sends_before_it_and_for_no_others() {
        let admissions = Admissions::default();
        let before = now(admissions.admit(account(1), account(2)));
        let elsewhere = now(admissions.admit(account(3), account(4)));
        assert!(before.is_some() && elsewhere.is_some());
        let mut change = pin!(admissions.settle(account(2)));
        assert_eq!(now(&mut change), None);
        assert_eq!(now(admissions.settle(account(5))), Some(()));
        drop(before);
        assert_eq!(now(&mut change), Some(()));
    }

    #[test]
    fn a_send_after_the_change_waits_for_it() {
        let admissions = Admissions::default();
        let before = now(admissions.admit(account(1), account(2)));
        let mut change = pin!(admissions.settle(account(1)));
        assert_eq!(now(&mut change), None);
        let mut later = pin!(admissions.admit(account(1), account(3)));
        assert!(now(&mut later).is_none());
        drop(before);
        assert!(now(&mut change).is_some() && now(&mut later).is_some());
    }

    #[test]
    fn sends_in_both_directions_do_not_wait_for_each_other_and_leave_nothing_behind() {
        let admissions = Admissions::default();
        let both = join(admissions.admit(account(1), account(2)), admissions.admit(account(2), account(1)));
        assert!(now(both).is_some());
        assert!(now(admissions.admit(account(1), account(1))).is_some());
        assert!(admissions.accounts().is_empty());
    }
}
