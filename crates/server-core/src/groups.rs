//! Group chains: the server orders operations and can neither forge nor insert one.
//!
//! An operation is verified from its own bytes, held to the rules that every member replays, appended if its head
//! is still the chain's, and then delivered to every device of every member before and after it. Sends that were
//! admitted before it have ended when it begins, and those that come meanwhile wait: "after the removal" counts
//! from the answer.
//!
//! Invariants: an operation is appended only to a head whose rows are in the mailboxes, so that members get
//! operations in the order of the chain; the answer comes after the rows; who is no member learns nothing of a
//! group, not even its head. Its actor is checked by whoever is alone with the group, and the chain is read by nobody
//! meanwhile: who has learned a device list finds every operation that an older one allowed, and none comes later.
//! Members hold a removed device to what the chain had when they first fetched it, so otherwise they would disagree.

use crate::{
    Core,
    accept::{Committed, SendError},
    acquaintance,
    fan_out::{self, Members},
    group_state::{self, Group},
    quota::{self, Count},
    refusal::Rejection,
    wake,
};
use bytes::Bytes;
use server_ports::{
    Caller, StoreError,
    group_log::{AppendOperation, AppendOutcome, GroupHead, StoredOperation},
    mailboxes::{Append, AppendError, WhenFull},
};
use signed::{ChainError, GroupChange, GroupState, OperationError, Signature, SignedOperation};
use std::collections::BTreeSet;
use types::{AccountId, EnvelopeId, GroupId, Stamp, limits};
use wire::{Envelope, EnvelopeKind, Response, Urgency};

/// Operations that are delivered late at one go.
const LATE_AT_A_TIME: usize = 100;

/// Operations of a chain that are read in one go: of the largest ones as many as one answer has.
const READ_AT_A_TIME: usize = 16;

/// An answer to `GetGroup` stays below half a socket message.
const ANSWER_BYTES_MAX: usize = limits::SOCKET_MESSAGE_BYTES_MAX / 2;

/// Why a group did not take an operation or a message. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("the operation is another device's")]
    OtherActor,
    #[error(transparent)]
    Chain(ChainError),
    #[error("an account that would join does not exist")]
    UnknownMember,
    #[error("there is no such group, or none that the caller may know of")]
    NoSuchGroup,
    #[error("the caller may not do this in the group")]
    NotAllowed,
    #[error("the chain has another head")]
    HeadMoved(GroupHead),
    #[error("the device lists are not those that the sender has in view")]
    StaleLists(Vec<(AccountId, u64)>),
}

/// Appends an operation to its chain and delivers it, or says that this was done before.
pub(crate) async fn apply(
    core: &Core,
    caller: &Caller,
    carried: Bytes,
    highest_stamp: Option<Stamp>,
) -> Result<Response, Rejection> {
    let operation = SignedOperation::verify(&carried).map_err(GroupError::Operation)?;
    if (operation.actor(), operation.actor_device()) != (caller.mailbox.account, caller.mailbox.device) {
        return Err(GroupError::OtherActor.into());
    }
    let applied = {
        let _alone = match core.config.bugs.skip_settling {
            true => None,
            // Always the group first, so that no two operations wait for each other.
            false => Some((
                core.admissions.change(operation.group()).await,
                core.admissions.admit_actor(operation.actor()).await,
            )),
        };
        check_actor(core, caller, &operation).await?;
        apply_alone(core, caller, &operation, carried, highest_stamp).await?
    };
    for committed in &applied.committed {
        wake::hint(core, committed, |account| account != caller.mailbox.account).await;
    }
    core.ports.clock.sleep(core.config.settle).await;
    let skipped = applied.committed.last().map(Committed::skipped).unwrap_or_default();
    Ok(Response::Accepted { stamp: applied.stamp, skipped })
}

/// Operations of a group from an epoch on, as far as the caller may read them.
pub(crate) async fn get(
    core: &Core,
    caller: &Caller,
    group: GroupId,
    from_epoch: u64,
    link_signature: Option<[u8; 64]>,
) -> Result<Response, Rejection> {
    spend_read(core, caller).await?;
    let _admission = core.admissions.admit_to_group(group).await;
    let found = group_state::current(core, group).await?.ok_or(GroupError::NoSuchGroup)?;
    let account = caller.mailbox.account;
    let link = link_signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
    let last = match core.ports.groups.membership(group, account).await? {
        Some(membership) if membership.is_current() => found.head.epoch,
        _ if link.is_some_and(|signature| found.state.admits(account, &signature)) => found.head.epoch,
        Some(membership) => membership.until.unwrap_or_default(),
        None => return Err(GroupError::NoSuchGroup.into()),
    };
    let operations = read_up_to(core, group, from_epoch, last).await?;
    let next = from_epoch.saturating_add(operations.len() as u64);
    Ok(Response::GroupState { more: !operations.is_empty() && next <= last, operations })
}

/// The operations of these epochs, or the first of them that fit one answer. What does not fit is hardly read.
async fn read_up_to(core: &Core, group: GroupId, from: u64, last: u64) -> Result<Vec<Bytes>, StoreError> {
    let (mut operations, mut next, mut bytes) = (Vec::new(), from, 0);
    while next <= last && operations.len() < limits::GROUP_OPERATIONS_MAX {
        let wanted = usize::try_from(last - next).unwrap_or(usize::MAX).saturating_add(1);
        let stored = core.ports.groups.operations(group, next, wanted.min(READ_AT_A_TIME)).await?;
        if stored.is_empty() {
            break;
        }
        for operation in stored {
            bytes += operation.bytes.len();
            if bytes > ANSWER_BYTES_MAX && !operations.is_empty() {
                return Ok(operations);
            }
            next = operation.epoch.saturating_add(1);
            operations.push(operation.bytes);
        }
    }
    Ok(operations)
}

/// Delivers what was appended and not delivered: a node died, or a store failed, in between.
pub(crate) async fn deliver_late(core: &Core) -> Result<(), StoreError> {
    for (group, operation) in core.ports.groups.undelivered(LATE_AT_A_TIME).await? {
        match deliver_head(core, group).await {
            Ok(()) => tracing::info!(epoch = operation.epoch, "a group operation was delivered late"),
            Err(error @ StoreError::Poisoned(_)) => return Err(error),
            // Others can go on; this one is tried again.
            Err(error) => core.note(&error),
        }
    }
    Ok(())
}

/// Delivers the newest operation of a group, if it was not.
pub(crate) async fn deliver_head(core: &Core, group: GroupId) -> Result<(), StoreError> {
    let committed = {
        let _alone = core.admissions.change(group).await;
        match group_state::current(core, group).await? {
            Some(found) => deliver_outstanding(core, &found).await?,
            None => None,
        }
    };
    if let Some(committed) = committed {
        wake::hint(core, &committed, |_| true).await;
    }
    Ok(())
}

/// An operation is in its chain, and its rows are in the mailboxes.
struct Applied {
    stamp: Stamp,
    /// What was written: the operation, and before it one that another had left behind.
    committed: Vec<Committed>,
}

/// Load, decide, append, deliver: alone with the group.
async fn apply_alone(
    core: &Core,
    caller: &Caller,
    operation: &SignedOperation,
    carried: Bytes,
    highest_stamp: Option<Stamp>,
) -> Result<Applied, Rejection> {
    let group = operation.group();
    let before = group_state::current(core, group).await?;
    let mut committed = Vec::new();
    if let Some(found) = &before {
        committed.extend(deliver_outstanding(core, found).await?);
    }
    if let Some(stored) = core.ports.groups.find_operation(group, operation.id().0).await? {
        return repeated(caller, stored, committed);
    }
    let after = match &before {
        Some(found) => {
            may_act(core, found, operation).await?;
            found.state.apply(operation).map_err(|error| of_chain(error, found.head))?
        }
        None => GroupState::found(operation).map_err(|error| match error {
            ChainError::NotTheBeginning => GroupError::NoSuchGroup,
            other => GroupError::Chain(other),
        })?,
    };
    let (joined, left) = difference(before.as_ref().map(|found| &*found.state), &after);
    check_exist(core, &joined).await?;
    spend(core, caller, operation).await?;
    spend_on_strangers(core, operation).await?;

    let above = highest_stamp.max(before.as_ref().map(|found| found.head.stamp));
    let stamp = core.stamps.give(&*core.ports.mailboxes, core.now(), above).await?;
    let append = AppendOperation {
        group,
        expected: before.as_ref().map(|found| found.head.head),
        hash: operation.hash(),
        operation_id: operation.id().0,
        actor: caller.mailbox,
        bytes: carried,
        stamp,
        joined,
        left,
    };
    match core.ports.groups.append(append.clone()).await? {
        AppendOutcome::Appended { .. } => {}
        AppendOutcome::Repeat { stamp, .. } => {
            // Another node was faster with the same bytes, and may have died before their rows were written.
            let found = group_state::current(core, group).await?.ok_or(GroupError::NoSuchGroup)?;
            committed.extend(deliver_outstanding(core, &found).await?);
            return Ok(Applied { stamp, committed });
        }
        AppendOutcome::Moved(head) => return Err(GroupError::HeadMoved(head).into()),
        AppendOutcome::NoGroup => return Err(GroupError::NoSuchGroup.into()),
    }
    metrics::counter!("waxwing_group_operations_total").increment(1);
    core.group_states.keep(&after.clone().into());
    let stored = StoredOperation {
        epoch: after.epoch(),
        hash: append.hash,
        operation_id: append.operation_id,
        actor: append.actor,
        stamp,
        bytes: append.bytes,
    };
    committed.push(deliver(core, &stored, operation, &after).await?);
    Ok(Applied { stamp, committed })
}

/// The caller's device signed the operation, as it is listed now.
async fn check_actor(core: &Core, caller: &Caller, operation: &SignedOperation) -> Result<(), Rejection> {
    let record = core.ports.directory.device(caller.address()).await?;
    let record = record.filter(|record| record.mailbox == caller.mailbox).ok_or(SendError::SenderRevoked)?;
    if record.device_key == *operation.certificate().device_key().as_bytes() {
        Ok(())
    } else {
        Err(GroupError::OtherActor.into())
    }
}

/// Whether the actor may know of the group at all: where its chain stands is for members, and for who joins now.
async fn may_act(core: &Core, found: &Group, operation: &SignedOperation) -> Result<(), Rejection> {
    let (state, actor) = (&found.state, operation.actor());
    if state.members().contains_key(&actor) {
        return Ok(());
    }
    if let GroupChange::Join(signature) = operation.change() {
        let admitted = state.admits(actor, signature);
        return if admitted { Ok(()) } else { Err(GroupError::Chain(ChainError::BadLink).into()) };
    }
    Err(not_a_member(core, state.id(), actor).await?.into())
}

/// What somebody is told who is not a member: former ones know that the group is there.
pub(crate) async fn not_a_member(
    core: &Core,
    group: GroupId,
    account: AccountId,
) -> Result<GroupError, StoreError> {
    let former = core.ports.groups.membership(group, account).await?.is_some();
    Ok(if former { GroupError::NotAllowed } else { GroupError::NoSuchGroup })
}

/// Whether the race was lost or the rules were broken: pure.
fn of_chain(error: ChainError, head: GroupHead) -> GroupError {
    match error {
        ChainError::Ahead | ChainError::Fork | ChainError::TooOld | ChainError::AlreadyApplied => {
            GroupError::HeadMoved(head)
        }
        ChainError::NotAllowed => GroupError::NotAllowed,
        other => GroupError::Chain(other),
    }
}

/// An operation of this id is in the chain. Its actor's retry, also one that was signed anew, is the same change.
fn repeated(
    caller: &Caller,
    stored: StoredOperation,
    committed: Vec<Committed>,
) -> Result<Applied, Rejection> {
    if stored.actor.account == caller.mailbox.account {
        Ok(Applied { stamp: stored.stamp, committed })
    } else {
        Err(GroupError::Chain(ChainError::AlreadyApplied).into())
    }
}

/// Who joins and who leaves: pure.
fn difference(before: Option<&GroupState>, after: &GroupState) -> (Vec<AccountId>, Vec<AccountId>) {
    let members = |state: &GroupState| state.members().keys().copied().collect::<BTreeSet<_>>();
    let (before, after) = (before.map(members).unwrap_or_default(), members(after));
    (after.difference(&before).copied().collect(), before.difference(&after).copied().collect())
}

/// A chain never loses an operation, so it gets no member that is nobody. An account that was closed meanwhile
/// harms nothing.
async fn check_exist(core: &Core, joined: &[AccountId]) -> Result<(), Rejection> {
    let accounts = core.ports.directory.accounts(joined).await?;
    if accounts.iter().all(Option::is_some) { Ok(()) } else { Err(GroupError::UnknownMember.into()) }
}

async fn spend(core: &Core, caller: &Caller, operation: &SignedOperation) -> Result<(), Rejection> {
    let quotas = &core.config.quotas;
    let (quota, allowance) = match operation.change() {
        GroupChange::Create { .. } => ("new_groups", quotas.new_groups),
        _ => ("group_changes", quotas.group_changes),
    };
    quota::spend(core, Count { quota, subject: &[caller.mailbox.account.as_bytes()], allowance }, 1).await
}

async fn spend_read(core: &Core, caller: &Caller) -> Result<(), Rejection> {
    let (subject, allowance): (&[&[u8]], _) =
        (&[caller.mailbox.account.as_bytes()], core.config.quotas.group_reads);
    quota::spend(core, Count { quota: "group_reads", subject, allowance }, 1).await
}

/// Whoever is named as a member can be written to without a first message: the actor names only so many whom it does
/// not know.
async fn spend_on_strangers(core: &Core, operation: &SignedOperation) -> Result<(), Rejection> {
    let (GroupChange::Create { members: named, .. } | GroupChange::Add(named)) = operation.change() else {
        return Ok(());
    };
    let (quotas, actor) = (&core.config.quotas, operation.actor());
    let mut strangers = 0;
    for member in named {
        strangers += u32::from(!acquaintance::are_acquainted(core, actor, *member).await?);
    }
    let subject: &[&[u8]] = &[actor.as_bytes()];
    quota::spend(core, Count { quota: "new_members", subject, allowance: quotas.new_members }, strangers)
        .await
}

/// Delivers the head, if nobody has. Whoever calls this is alone with the group.
async fn deliver_outstanding(core: &Core, found: &Group) -> Result<Option<Committed>, StoreError> {
    if found.head.delivered {
        return Ok(None);
    }
    let stored = core.ports.groups.operations(found.state.id(), found.head.epoch, 1).await?;
    let missing = || StoreError::Unavailable("the newest operation of a group is missing".to_owned());
    let stored = stored.into_iter().next().ok_or_else(missing)?;
    let operation = SignedOperation::verify(&stored.bytes).map_err(|_| missing())?;
    deliver(core, &stored, &operation, &found.state).await.map(Some)
}

/// Writes the rows of an operation, and then down that they are written. Doing it twice is doing it once.
async fn deliver(
    core: &Core,
    stored: &StoredOperation,
    operation: &SignedOperation,
    after: &GroupState,
) -> Result<Committed, StoreError> {
    let now = core.now();
    let mut recipients: BTreeSet<_> = after.members().keys().copied().collect();
    recipients.extend(gone_by(operation));
    let devices = Members::load(core, recipients).await?.devices(core, now).await;
    let envelope = |to| Envelope {
        envelope_id: envelope_id(stored.hash),
        from: stored.actor.address(),
        to,
        kind: EnvelopeKind::GroupOperation,
        urgency: Urgency::Normal,
        stamp: stored.stamp,
        ciphertext: Bytes::new(),
        group: Some(after.id()),
    };
    let mut append = Append {
        sender: stored.actor,
        envelope_id: envelope_id(stored.hash),
        digest: stored.hash,
        stamp: stored.stamp,
        rows: fan_out::rows(&devices, stored.bytes.clone(), now + limits::ENVELOPE_LIFE, envelope),
        when_full: WhenFull::Skip,
        now,
    };
    if core.config.bugs.lose_late_operations {
        core.ports.groups.delivered(after.id(), stored.epoch).await?;
    }
    let mut appended = core.ports.mailboxes.append(append.clone()).await;
    if matches!(appended, Err(AppendError::Conflict)) {
        // The actor used this id for a message of its own. The rows are written all the same.
        append.envelope_id = EnvelopeId::from_bytes(core.ports.entropy.array());
        appended = core.ports.mailboxes.append(append.clone()).await;
    }
    let appended = appended.map_err(|error| match error {
        AppendError::Store(error) => error,
        other => StoreError::Unavailable(other.to_string()),
    })?;
    core.ports.groups.delivered(after.id(), stored.epoch).await?;
    Ok(Committed { stamp: stored.stamp, rows: append.rows, placed: appended.placed })
}

/// Who is no member any more because of the operation.
fn gone_by(operation: &SignedOperation) -> BTreeSet<AccountId> {
    match operation.change() {
        GroupChange::Remove(accounts) => accounts.clone(),
        GroupChange::Leave => BTreeSet::from([operation.actor()]),
        _ => BTreeSet::new(),
    }
}

/// The envelope id of an operation's rows: the first half of its hash, so that delivering twice is once.
fn envelope_id(hash: [u8; 32]) -> EnvelopeId {
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    EnvelopeId::from_bytes(id)
}
