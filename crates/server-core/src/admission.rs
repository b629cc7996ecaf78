//! Which sends are under way for which accounts and groups, so that a change of a device list or of a group can
//! wait for those that were admitted before it.

use crate::Core;
use server_ports::StoreError;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use types::{AccountId, GroupId};

/// Returns once everything to or from the account that was admitted before has ended: direct sends, its changes of
/// groups, also of one that it is only joining, and sends to its groups. Where other nodes admit too, waits as long
/// as the operator says.
pub(crate) async fn settle(core: &Core, account: AccountId) -> Result<(), StoreError> {
    core.admissions.settle(Subject::Account(account)).await;
    for group in core.ports.groups.groups_of(account).await? {
        core.admissions.settle(Subject::Group(group)).await;
    }
    core.ports.clock.sleep(core.config.settle).await;
    Ok(())
}

/// What a send belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Its sender or its recipient; the actor of a group operation.
    Account(AccountId),
    /// The group that it goes to, or that is read.
    Group(GroupId),
}

/// The sends under way on this node.
#[derive(Default)]
pub(crate) struct Admissions {
    /// Only subjects with a send or a change under way have an entry.
    locks: Mutex<BTreeMap<Subject, Arc<RwLock<()>>>>,
}

/// One admitted send; over when dropped.
pub(crate) struct Admission<'a> {
    admissions: &'a Admissions,
    subjects: [Subject; 2],
    guards: Vec<OwnedRwLockReadGuard<()>>,
}

/// One change of a group, alone with it; over when dropped.
pub(crate) struct Change<'a> {
    admissions: &'a Admissions,
    group: Subject,
    guard: Option<OwnedRwLockWriteGuard<()>>,
}

impl Admissions {
    /// Admits a send between two accounts. Lists loaded after this are at least as new as any change
    /// that was answered before.
    pub(crate) async fn admit(&self, one: AccountId, other: AccountId) -> Admission<'_> {
        // Always in the same order, so that no two sends wait for each other.
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        self.admit_to([Subject::Account(low), Subject::Account(high)]).await
    }

    /// Admits what one account does alone: a change of its list that comes meanwhile waits for the end of it.
    pub(crate) async fn admit_actor(&self, account: AccountId) -> Admission<'_> {
        self.admit_to([Subject::Account(account); 2]).await
    }

    /// Admits a send to a group, or a look at its chain. Chain and lists loaded after this are at least as new as any
    /// change that was answered before, and no operation that was checked against older lists is still to come.
    pub(crate) async fn admit_to_group(&self, group: GroupId) -> Admission<'_> {
        self.admit_to([Subject::Group(group); 2]).await
    }

    /// Begins a change of a group once every send that was admitted before has ended. Sends that come meanwhile
    /// wait for its end.
    pub(crate) async fn change(&self, group: GroupId) -> Change<'_> {
        let group = Subject::Group(group);
        let guard = self.lock_of(group).write_owned().await;
        Change { admissions: self, group, guard: Some(guard) }
    }

    /// Returns once every send for `subject` that was admitted before has ended. Sends that come
    /// meanwhile wait, briefly, and then see the new list.
    pub(crate) async fn settle(&self, subject: Subject) {
        drop(self.lock_of(subject).write_owned().await);
        self.forget_idle(&[subject]);
    }

    async fn admit_to(&self, subjects: [Subject; 2]) -> Admission<'_> {
        let mut admission = Admission { admissions: self, subjects, guards: Vec::with_capacity(2) };
        admission.guards.push(self.lock_of(subjects[0]).read_owned().await);
        if subjects[0] != subjects[1] {
            admission.guards.push(self.lock_of(subjects[1]).read_owned().await);
        }
        admission
    }

    fn lock_of(&self, subject: Subject) -> Arc<RwLock<()>> {
        Arc::clone(self.locks().entry(subject).or_default())
    }

    fn forget_idle(&self, subjects: &[Subject]) {
        let mut table = self.locks();
        for subject in subjects {
            // Clones are made only under this lock, so a count of one means that nobody holds or waits.
            if table.get(subject).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                table.remove(subject);
            }
        }
    }

    fn locks(&self) -> MutexGuard<'_, BTreeMap<Subject, Arc<RwLock<()>>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.guards.clear();
        self.admissions.forget_idle(&self.subjects);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.guard = None;
        self.admissions.forget_idle(&[self.group]);
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

    fn of(byte: u8) -> Subject {
        Subject::Account(account(byte))
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
        let mut change = pin!(admissions.settle(of(2)));
        assert_eq!(now(&mut change), None);
        assert_eq!(now(admissions.settle(of(5))), Some(()));
        drop(before);
        assert_eq!(now(&mut change), Some(()));
    }

    #[test]
    fn a_send_after_the_change_waits_for_it() {
        let admissions = Admissions::default();
        let before = now(admissions.admit(account(1), account(2)));
        let mut change = pin!(admissions.settle(of(1)));
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
        assert!(admissions.locks().is_empty());
    }

    #[test]
    fn a_change_of_a_group_is_alone_with_it() {
        let admissions = Admissions::default();
        let group = GroupId::from_bytes([1; 16]);
        let before = [now(admissions.admit_to_group(group)), now(admissions.admit_to_group(group))];
        assert!(before.iter().all(Option::is_some), "sends do not wait for each other");
        let mut change = pin!(admissions.change(group));
        assert!(now(&mut change).is_none());
        drop(before);
        let change = now(&mut change);
        assert!(change.is_some());
        let mut later = pin!(admissions.admit_to_group(group));
        assert!(now(&mut later).is_none(), "a send during the change waits for its end");
        assert!(now(admissions.admit(account(1), account(1))).is_some(), "an account is no group");
        drop(change);
        assert!(now(&mut later).is_some());
        assert!(admissions.locks().is_empty());
    }
}
