//! From a change that somebody waits for to the operation that makes it, on the known head, and out.

use super::{
    Asking, ChangeId, GroupCommand, GroupError,
    change::{Running, Step, What},
    rules, secrets,
};
use crate::{
    Fault,
    live::Asked,
    store::{Stored, group_changes, group_changes::ChangeRow, group_secrets, groups, profile},
    turn::Turn,
};
use seal::GroupSecret;
use signed::{
    AccountKey, DeviceCertificate, GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, join_signature},
    keys::LinkSecret,
};
use types::{AccountId, limits::GROUP_MEMBERS_MAX};
use wire::Request;

impl Turn<'_> {
    /// Signs and sends what can be.
    pub(super) fn advance_changes(&mut self) -> Stored<()> {
        let now = self.now;
        let due = |running: &Running| match running.step {
            Step::Send => true,
            Step::Pause(at) => at <= now,
            Step::Asked | Step::Fetch => false,
        };
        let changes = &self.live.groups.changes;
        let due: Vec<ChangeId> =
            changes.iter().filter(|(_, running)| due(running)).map(|(id, _)| *id).collect();
        due.into_iter().try_for_each(|id| self.send_change(id))
    }

    fn send_change(&mut self, id: ChangeId) -> Stored<()> {
        let (Some(row), Some(running)) =
            (group_changes::get(self.db, id)?, self.live.groups.changes.get(&id))
        else {
            self.live.groups.changes.remove(&id);
            return Ok(());
        };
        let group = running.group;
        if groups::has_operation(self.db, group, row.operation_id)? {
            return self.finish(id, group, Ok(()));
        }
        match self.operation_for(&row)? {
            Ok(Some(operation)) => {
                group_changes::set_sent(self.db, id, &operation)?;
                let request = Request::ApplyGroup {
                    operation: operation.into(),
                    highest_stamp: profile::highest_stamp(self.db)?,
                };
                self.request(request, Asked::Group(Asking::Change(id)));
                self.step(id, Step::Asked);
                Ok(())
            }
            Ok(None) => self.fetch_first(id),
            Err(error) => self.finish(id, group, Err(error)),
        }
    }

    /// The operation on the known head; none if the chain has to be fetched first.
    pub(super) fn operation_for(&mut self, row: &ChangeRow) -> Stored<Result<Option<Vec<u8>>, GroupError>> {
        let state = self.group(row.group)?;
        let Some(running) = self.live.groups.changes.get(&row.id) else { return Ok(Ok(None)) };
        let wanted = match (&running.what, &state) {
            (What::Create, _) => return Ok(Ok(row.operation.clone())),
            (What::Join(_), None) => return Ok(Ok(None)),
            (What::Command(_), None) => return Ok(Err(GroupError::NoSuchGroup)),
            (What::Join(link), Some(state)) => match is_whole(row, state) {
                true => join(state, self.me.account(), link),
                false => Err(GroupError::DeadLink),
            },
            (What::Command(command), Some(state)) => {
                rules::check(state, self.me.account(), command).map(|()| Wanted::Command(command.clone()))
            }
        };
        let (wanted, state) = match (wanted, state) {
            (Ok(wanted), Some(state)) => (wanted, state),
            (Ok(_), None) => return Ok(Ok(None)),
            (Err(error), _) => return Ok(Err(error)),
        };
        // The very bytes that may be there already, as long as they fit the head.
        let again = row.operation.as_deref().and_then(|bytes| SignedOperation::verify(bytes).ok());
        if let Some(again) = again.filter(|again| state.apply(again).is_ok()) {
            return Ok(Ok(Some(again.as_bytes().to_vec())));
        }
        let change = match wanted {
            Wanted::Join(change) => change,
            Wanted::Command(command) => self.change_of(row, &command)?,
        };
        let operation = self.sign(Some(&state), row.operation_id, change)?;
        Ok(Ok(Some(operation.as_bytes().to_vec())))
    }

    fn change_of(&mut self, row: &ChangeRow, command: &GroupCommand) -> Stored<GroupChange> {
        let set = |accounts: &[AccountId]| accounts.iter().copied().collect();
        Ok(match command {
            GroupCommand::Add(accounts) => GroupChange::Add(set(accounts)),
            GroupCommand::Remove(accounts) => GroupChange::Remove(set(accounts)),
            GroupCommand::Promote(accounts) => GroupChange::Promote(set(accounts)),
            GroupCommand::Demote(accounts) => GroupChange::Demote(set(accounts)),
            GroupCommand::Leave => GroupChange::Leave,
            GroupCommand::Rename(name) => {
                let secret = group_secrets::get(self.db, row.group)?;
                let secret = secret.ok_or(Fault::Bug("a group was renamed without its secret"))?;
                GroupChange::SetInfo(self.seal_name(&secret, name)?)
            }
            GroupCommand::MakeLink | GroupCommand::ResetLink => {
                let seed = row.link_seed.as_deref().ok_or(Fault::Bug("a link was made without a seed"))?;
                GroupChange::SetInviteLink(Some(LinkSecret::from_bytes(seed).public()))
            }
        })
    }

    pub(super) fn sign(
        &mut self,
        state: Option<&GroupState>,
        id: OperationId,
        change: GroupChange,
    ) -> Stored<SignedOperation> {
        let (actor_key, certificate) = self.certificate()?;
        let draft = OperationDraft {
            follows: state.map(GroupState::follows),
            id,
            actor_key,
            certificate,
            at: self.now,
            change,
        };
        draft.sign(&self.me.device_secret).map_err(|_| Fault::Bug("an operation of ours breaks a rule"))
    }

    /// Our account key, and its word for this device.
    fn certificate(&mut self) -> Stored<(AccountKey, DeviceCertificate)> {
        if let Some(secret) = &self.me.account_secret {
            let (number, key) = (self.me.address.device, self.me.device_secret.public());
            return Ok((secret.public(), DeviceCertificate::sign(secret, number, key)));
        }
        let own =
            self.list(self.me.account())?.ok_or(Fault::Bug("a linked device has no list of its account"))?;
        let key = *own.account_key();
        let carried =
            profile::certificate(self.db)?.ok_or(Fault::Bug("a linked device has no certificate"))?;
        let certificate = DeviceCertificate::verify(&carried, &key).map_err(|_| Fault::Damaged)?;
        Ok((key, certificate))
    }
}

/// What is to be signed.
enum Wanted {
    Join(GroupChange),
    Command(GroupCommand),
}

/// Whether the secret that came with a link opens the group's name: with another one, which a damaged link has, this
/// device would be a member that can neither read the name nor write.
fn is_whole(row: &ChangeRow, state: &GroupState) -> bool {
    let secret = row.secret.as_deref().and_then(|bytes| GroupSecret::from_slice(bytes).ok());
    secret.is_some_and(|secret| secrets::opens_name(&secret, state))
}

/// A join by a link, if the link is the chain's.
fn join(state: &GroupState, me: AccountId, link: &LinkSecret) -> Result<Wanted, GroupError> {
    if state.link() != Some(&link.public()) {
        return Err(GroupError::DeadLink);
    }
    let members = state.members().len() + 1;
    if members > GROUP_MEMBERS_MAX {
        return Err(GroupError::TooManyMembers { members });
    }
    Ok(Wanted::Join(GroupChange::Join(join_signature(link, state.id(), me))))
}
