//! What the chains say now: the state of each group, read once and then caught up from the log.
//!
//! Invariants: a state is what the verified operations of its chain imply, never more; a state that is handed
//! out is the one of the head that the log named; the cache is bounded and may be lost at any time.

use crate::Core;
use bytes::Bytes;
use server_ports::{
    StoreError,
    group_log::{GroupHead, StoredOperation},
};
use signed::{GroupState, SignedOperation};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use types::GroupId;

/// Operations that are read, and verified, in one go: some milliseconds.
const OPERATIONS_AT_A_TIME: usize = 64;

/// What all kept states may weigh, in members: 256 full groups, some 20 MB.
const WEIGHT_MAX: usize = 256 * 1_024;

/// What a state weighs beside its members: the operations that it remembers.
const WEIGHT_BASE: usize = 64;

/// A group as its chain says it is, with what the log knows of its head.
pub(crate) struct Group {
    pub(crate) head: GroupHead,
    pub(crate) state: Arc<GroupState>,
}

/// States that were read before.
#[derive(Default)]
pub(crate) struct GroupStates(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    states: BTreeMap<GroupId, (u64, Arc<GroupState>)>,
    /// The groups by the turn in which they were used last.
    by_use: BTreeMap<u64, GroupId>,
    turn: u64,
    weight: usize,
}

/// The group as it is now; `None` for one that does not exist.
pub(crate) async fn current(core: &Core, group: GroupId) -> Result<Option<Group>, StoreError> {
    let Some(head) = core.ports.groups.head(group).await? else { return Ok(None) };
    let kept = core.group_states.get(group).filter(|state| state.epoch() <= head.epoch);
    let state = match kept {
        Some(state) if state.head() == head.head => state,
        kept => Arc::new(read(core, group, kept.as_deref().cloned(), head.epoch).await?),
    };
    if state.head() != head.head {
        return Err(damaged(group, "its head is not the newest operation's hash"));
    }
    core.group_states.keep(&state);
    Ok(Some(Group { head, state }))
}

/// Goes on from a state, or begins, with the operations of the log up to an epoch.
async fn read(
    core: &Core,
    group: GroupId,
    mut state: Option<GroupState>,
    epoch: u64,
) -> Result<GroupState, StoreError> {
    loop {
        let next = match &state {
            Some(state) if state.epoch() >= epoch => return Ok(state.clone()),
            Some(state) => state.epoch() + 1,
            None => 0,
        };
        let operations = core.ports.groups.operations(group, next, OPERATIONS_AT_A_TIME).await?;
        if operations.is_empty() {
            return Err(damaged(group, "operations are missing"));
        }
        for StoredOperation { bytes, .. } in operations.iter().take_while(|stored| stored.epoch <= epoch) {
            state = Some(extend(group, state.as_ref(), bytes)?);
        }
    }
}

fn extend(group: GroupId, state: Option<&GroupState>, bytes: &Bytes) -> Result<GroupState, StoreError> {
    let operation = SignedOperation::verify(bytes).map_err(|error| damaged(group, &error.to_string()))?;
    let next = match state {
        None => GroupState::found(&operation),
        Some(state) => state.apply(&operation),
    };
    next.map_err(|error| damaged(group, &error.to_string()))
}

/// Every operation was verified before it was appended.
fn damaged(group: GroupId, what: &str) -> StoreError {
    tracing::error!(what, "a stored group chain does not verify");
    StoreError::Unavailable(format!("the chain of group {group} does not verify: {what}"))
}

impl GroupStates {
    fn get(&self, group: GroupId) -> Option<Arc<GroupState>> {
        let mut kept = self.kept();
        kept.turn += 1;
        let turn = kept.turn;
        let (used, state) = kept.states.get_mut(&group)?;
        let (before, state) = (std::mem::replace(used, turn), Arc::clone(state));
        kept.by_use.remove(&before);
        kept.by_use.insert(turn, group);
        Some(state)
    }

    /// Keeps a state, unless a newer one is there, and lets go what was not used for longest.
    pub(crate) fn keep(&self, state: &Arc<GroupState>) {
        let (mut kept, group) = (self.kept(), state.id());
        if kept.states.get(&group).is_some_and(|(_, newer)| newer.epoch() >= state.epoch()) {
            return;
        }
        kept.remove(group);
        kept.turn += 1;
        let turn = kept.turn;
        kept.weight += weight(state);
        kept.states.insert(group, (turn, Arc::clone(state)));
        kept.by_use.insert(turn, group);
        while kept.weight > WEIGHT_MAX
            && let Some(oldest) = kept.by_use.first_key_value().map(|(_, group)| *group)
        {
            kept.remove(oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, group: GroupId) {
        if let Some((used, state)) = self.states.remove(&group) {
            self.by_use.remove(&used);
            self.weight -= weight(&state);
        }
    }
}

fn weight(state: &GroupState) -> usize {
    WEIGHT_BASE + state.members().len()
}
