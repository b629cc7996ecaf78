//! What is remembered of groups only as long as the engine runs. All of it can be lost at any time.

use super::{ChangeId, audience::Audience, change::Running};
use crate::store::outbox::OutboxId;
use signed::GroupState;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use types::{AccountId, GroupId, Timestamp};

/// States that are kept in memory; a person writes in few groups at a time.
const STATES_MAX: usize = 64;

/// What a request about groups was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// More of a chain.
    Chain(GroupId),
    /// A change of ours.
    Change(ChangeId),
}

/// A fetch of a chain that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetching {
    /// The first epoch that the page which is on its way may have.
    pub(super) from_epoch: u64,
    /// Something has come since that may need what was appended after the server read the chain.
    pub(super) again: bool,
    /// The last device that was known to be gone when the page was asked for: once there is nothing more to fetch,
    /// all that it did is known.
    pub(super) removed: u64,
}

#[derive(Default)]
pub(crate) struct LiveGroups {
    states: BTreeMap<GroupId, Arc<GroupState>>,
    /// Chains of which something is missing here.
    pub(crate) wanted: BTreeSet<GroupId>,
    /// Chains of which a page is on its way.
    pub(super) fetching: BTreeMap<GroupId, Fetching>,
    /// Chains that the server could not give, and when they are asked for again.
    pub(crate) retry_at: BTreeMap<GroupId, Timestamp>,
    /// Changes that somebody waits for in this process.
    pub(super) changes: BTreeMap<ChangeId, Running>,
    /// Groups whose next message waits for device lists or for its sender key to be distributed.
    pub(super) waiting: BTreeSet<GroupId>,
    /// Whom a message to a group goes to, for as long as nothing changes.
    pub(super) audiences: BTreeMap<GroupId, Audience>,
    /// Of those, the ones for which something has just come.
    pub(super) due: BTreeSet<GroupId>,
    /// Lists that were asked for on this connection: what is still lacking the server does not give.
    pub(super) lists_tried: BTreeSet<AccountId>,
    /// Groups whose secret is missing, and whose chains were asked for on this connection.
    pub(super) without_secret: BTreeSet<GroupId>,
    /// Lists have come since the waiting groups were looked at.
    pub(super) lists_came: bool,
    /// Heads of lanes behind which no group waits for its key, by the account that they cannot be given to.
    pub(super) stuck: BTreeMap<AccountId, OutboxId>,
    /// The group whose chain was fetched as far as the server gives it, while what waited for it is looked at.
    pub(super) fetched: Option<GroupId>,
    /// When messages under unknown keys have to be asked for.
    pub(crate) ask_at: Option<Timestamp>,
}

impl LiveGroups {
    pub(super) fn state(&self, group: GroupId) -> Option<Arc<GroupState>> {
        self.states.get(&group).cloned()
    }

    pub(super) fn keep_state(&mut self, state: Arc<GroupState>) {
        if self.states.len() >= STATES_MAX {
            self.states.clear();
        }
        self.states.insert(state.id(), state);
    }

    /// The server was asked for these lists, and has answered.
    pub(crate) fn lists_came(&mut self, asked: &[AccountId]) {
        self.lists_tried.extend(asked);
        self.lists_came = true;
    }

    /// What waits for lists is looked at once more, though none has come.
    pub(crate) fn look_again_at_lists(&mut self) {
        self.lists_came = true;
    }

    /// Whether a group that waits can be looked at again.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self) {
        self.lists_tried.clear();
        self.without_secret.clear();
        self.retry_at.clear();
        self.fetching.clear();
    }

    /// A request about groups that was lost with its connection: what it was for is done again.
    pub(crate) fn lost(&mut self, asking: &Asking) {
        match asking {
            Asking::Chain(group) => {
                self.wanted.insert(*group);
            }
            Asking::Change(change) => {
                if let Some(running) = self.changes.get_mut(change) {
                    running.begin_again();
                }
            }
        }
    }

    /// When something here has to be done by itself.
    pub(crate) fn wake_at(&self, draining: bool) -> Option<Timestamp> {
        let changes = self.changes.values().filter_map(Running::wake_at);
        let asks = self.ask_at.into_iter().filter(|_| !draining);
        changes.chain(self.retry_at.values().copied()).chain(asks).min()
    }

    /// Whether something of a chain can be asked for at once.
    pub(crate) fn wants_now(&self) -> bool {
        self.wanted.iter().any(|group| !self.retry_at.contains_key(group))
    }

    /// Whether nothing of groups is to be asked for, but for what the server wants to be asked later.
    pub(crate) fn is_settled(&self) -> bool {
        !self.wants_now() && self.changes.is_empty()
    }
}
