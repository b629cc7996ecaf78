//! Which connection of this node holds a device's session.
//!
//! Owns: the map from device to connection; the node's end of the exchange.
//! Invariants: one session a device, that of the highest connection number; a newer one ends the
//! older; an end that was meant for one connection never ends another.
//! Must not know: sockets, what signals mean to a session.

use crate::inbox::{Inbox, Key};
use server_ports::{Caller, NodeInbox, Signal};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use types::MailboxId;
use wire::Code;

/// Locks of the map: signals from several threads rarely meet.
const STRIPES: usize = 16;

/// Device to connection, for this node. Give it to the exchange as the node's inbox.
pub struct Registry {
    stripes: [Mutex<HashMap<MailboxId, Holder>>; STRIPES],
}

#[derive(Clone)]
struct Holder {
    connection: u64,
    key: Key,
    inbox: Arc<Inbox>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { stripes: Default::default() })
    }

    /// Devices that have a session.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).len()).sum()
    }

    /// Whether no device has a session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Signals for the caller's device go to this connection from now on. An older connection of the
    /// device is ended. `false` if a newer one is there already: then this one is to be ended.
    pub(crate) fn insert(&self, caller: Caller, key: Key, inbox: &Arc<Inbox>) -> bool {
        let mut holders = self.stripe(caller.mailbox);
        if holders.get(&caller.mailbox).is_some_and(|holder| holder.connection >= caller.connection) {
            return false;
        }
        let holder = Holder { connection: caller.connection, key, inbox: inbox.clone() };
        let older = holders.insert(caller.mailbox, holder);
        drop(holders);
        if let Some(older) = older {
            older.inbox.signal(older.key, Signal::Ended(Code::Replaced));
        }
        true
    }

    /// The caller's connection is gone; one that took its place is left as it is.
    pub(crate) fn remove(&self, caller: Caller, key: Key, inbox: &Arc<Inbox>) {
        let mut holders = self.stripe(caller.mailbox);
        let same = |holder: &Holder| holder.key == key && Arc::ptr_eq(&holder.inbox, inbox);
        if holders.get(&caller.mailbox).is_some_and(same) {
            holders.remove(&caller.mailbox);
        }
    }

    fn stripe(&self, mailbox: MailboxId) -> MutexGuard<'_, HashMap<MailboxId, Holder>> {
        // Account ids are hashes: any byte spreads them evenly.
        let [first, ..] = *mailbox.account.as_bytes();
        lock(&self.stripes[usize::from(first) % STRIPES])
    }
}

impl NodeInbox for Registry {
    fn deliver(&self, device: MailboxId, connection: u64, signal: Signal) {
        let holder = self.stripe(device).get(&device).cloned();
        let Some(holder) = holder else { return };
        // Whoever holds the device wants its hints; that it was replaced is meant for one connection alone.
        if holder.connection == connection || !signal.is_for_one_connection() {
            holder.inbox.signal(holder.key, signal);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::inbox::{Alarm, Letter};
    use mio::{Poll, Token, Waker};
    use types::{AccountId, DeviceAddress, DeviceNumber, RegistrationId};

    fn inbox() -> (Arc<Inbox>, Poll) {
        let poll = Poll::new().unwrap();
        let alarm = Alarm::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (Arc::new(Inbox::new(Arc::new(alarm))), poll)
    }

    fn caller(connection: u64) -> Caller {
        let address = DeviceAddress::new(AccountId::from_bytes([7; 16]), DeviceNumber::PRIMARY);
        Caller { mailbox: address.mailbox(RegistrationId::new(9).unwrap()), connection }
    }

    fn key(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    fn received(inbox: &Inbox) -> Vec<(u32, Signal)> {
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        let signal = |letter| match letter {
            Letter::Signal(key, signal) => Some((key.slot, signal)),
            _ => None,
        };
        letters.into_iter().filter_map(signal).collect()
    }

    #[test]
    fn a_newer_connection_ends_the_older_and_not_the_other_way_round() {
        let (registry, (inbox, _poll)) = (Registry::new(), inbox());
        assert!(registry.insert(caller(5), key(1), &inbox));
        assert!(registry.insert(caller(6), key(2), &inbox));
        assert_eq!(received(&inbox), [(1, Signal::Ended(Code::Replaced))]);
        assert!(!registry.insert(caller(5), key(3), &inbox), "an older number does not come back");
        assert!(!registry.insert(caller(6), key(3), &inbox), "nor does the same one");
        assert_eq!(received(&inbox), []);
        registry.remove(caller(5), key(1), &inbox);
        registry.deliver(caller(6).mailbox, 6, Signal::Read);
        assert_eq!(received(&inbox), [(2, Signal::Read)], "the older one's leaving changes nothing");
        registry.remove(caller(6), key(3), &inbox);
        assert!(!registry.is_empty(), "nor does that of one that was refused");
        registry.remove(caller(6), key(2), &inbox);
        assert!(registry.is_empty());
    }

    #[test]
    fn an_end_reaches_only_its_connection_and_a_hint_whoever_is_there() {
        let (registry, (inbox, _poll)) = (Registry::new(), inbox());
        assert!(registry.insert(caller(6), key(2), &inbox));
        registry.deliver(caller(5).mailbox, 5, Signal::Ended(Code::Replaced));
        registry.deliver(caller(5).mailbox, 5, Signal::Read);
        registry.deliver(caller(6).mailbox, 6, Signal::Ended(Code::Replaced));
        assert_eq!(received(&inbox), [(2, Signal::Read), (2, Signal::Ended(Code::Replaced))]);
        registry.deliver(caller(5).mailbox, 0, Signal::Ended(Code::Revoked));
        assert_eq!(
            received(&inbox),
            [(2, Signal::Ended(Code::Revoked))],
            "who is gone has no connection left"
        );
    }
}
