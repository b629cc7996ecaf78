//! Changes: from a command to a signed operation to an answer.
//!
//! ```text
//! command -> checked -> stored -> signed on the known head -> sent -> accepted
//!               ^                                               |
//!               +------------- chain fetched <- head moved -----+
//! ```
//! The operation's id is drawn with the command and stays: whatever happens on the way, the change is made once.
//! What left and was not answered is stored, and found on the chain by the next connection; what was made is kept
//! until somebody was told; what never left is gone with the process that asked for it.

use super::{ChangeId, GroupCommand, GroupError, InviteLink, rules, secrets::known_link};
use crate::{
    store::{
        Stored, group_changes,
        group_changes::{ChangeRow, NewChange, Outcome},
        group_secrets, groups,
    },
    turn::Turn,
};
use rand_core::CryptoRng;
use seal::GroupSecret;
use sha2::{Digest, Sha256};
use signed::{
    GroupChange, GroupState, SignedOperation,
    group::{OperationId, Permissions},
    keys::LinkSecret,
};
use std::collections::BTreeSet;
use types::{AccountId, GroupId, Timestamp};
use wire::Code;

/// A change that somebody waits for.
pub(crate) struct Running {
    pub(super) group: GroupId,
    pub(super) what: What,
    pub(super) step: Step,
    pub(super) tries: u32,
    /// A try has left whose answer was never heard: it may turn up on the chain.
    pub(super) unsure: bool,
    /// What the server said before the chain was fetched to see why.
    pub(super) refused: Option<Code>,
}

/// What is to be changed.
pub(super) enum What {
    Create,
    Command(GroupCommand),
    Join(LinkSecret),
}

/// Where a change stands.
pub(super) enum Step {
    /// To be signed and sent.
    Send,
    /// Its answer is awaited.
    Asked,
    /// The chain is fetched first.
    Fetch,
    /// The outcome is unknown; tried again then.
    Pause(Timestamp),
}

impl Running {
    fn new(group: GroupId, what: What, unsure: bool) -> Self {
        Self { group, what, step: Step::Send, tries: 0, unsure, refused: None }
    }

    /// After the connection was lost.
    pub(super) fn begin_again(&mut self) {
        self.unsure = true;
        self.step = Step::Send;
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match self.step {
            Step::Pause(at) => Some(at),
            Step::Send | Step::Asked | Step::Fetch => None,
        }
    }
}

// ---- commands

impl Turn<'_> {
    pub(crate) fn create_group(
        &mut self,
        name: &str,
        members: &[AccountId],
    ) -> Stored<Result<ChangeId, GroupError>> {
        let members = match rules::check_creation(self.me.account(), name, members) {
            Ok(members) => members,
            Err(error) => return Ok(Err(error)),
        };
        let command = command_hash(&["create", name], None, &members);
        if let Some(row) = group_changes::with_command(self.db, command)? {
            return self.resume(&row, What::Create).map(Ok);
        }
        let unreachable = self.unreachable(&Vec::from_iter(members.iter().copied()))?;
        if !unreachable.is_empty() {
            return Ok(Err(GroupError::Unreachable(unreachable)));
        }
        let secret = GroupSecret::random(self.rng);
        let sealed_info = self.seal_name(&secret, name)?;
        let change = GroupChange::Create { members, sealed_info, permissions: Permissions::default() };
        let operation_id = new_operation_id(self.rng);
        let operation = self.sign(None, operation_id, change)?;
        let new = NewChange {
            group: operation.group(),
            operation_id: operation.id(),
            command,
            operation: Some(operation.as_bytes()),
            secret: Some(secret.as_bytes()),
            link_seed: None,
        };
        self.begin(&new, What::Create).map(Ok)
    }

    pub(crate) fn change_group(
        &mut self,
        group: GroupId,
        command: GroupCommand,
    ) -> Stored<Result<ChangeId, GroupError>> {
        let Some(state) = self.group(group)? else { return Ok(Err(GroupError::NoSuchGroup)) };
        let hash = hash_of(group, &command);
        let earlier = group_changes::with_command(self.db, hash)?;
        let checked = rules::check(&state, self.me.account(), &command);
        match (earlier, checked) {
            (Some(row), _) if row.outcome != Outcome::Applied => {
                return self.resume(&row, What::Command(command)).map(Ok);
            }
            // It was asked for before, and what stands in its way now is that it has happened.
            (Some(row), Err(_)) if stands(&state, &row) => {
                return self.resume(&row, What::Command(command)).map(Ok);
            }
            // It has happened, and was undone since.
            (Some(row), Err(error)) => {
                group_changes::remove(self.db, row.id)?;
                return Ok(Err(error));
            }
            (None, Err(error)) => return Ok(Err(error)),
            (Some(row), Ok(())) => group_changes::remove(self.db, row.id)?,
            (None, Ok(())) => {}
        }
        if let GroupCommand::Add(accounts) = &command {
            let unreachable = self.unreachable(accounts)?;
            if !unreachable.is_empty() {
                return Ok(Err(GroupError::Unreachable(unreachable)));
            }
        }
        // A link that was asked for and not heard of since may be in force: it is the one to show, not the one before.
        if matches!(command, GroupCommand::MakeLink)
            && let Some(row) = group_changes::unsettled_link(self.db, group)?
        {
            return self.resume(&row, What::Command(GroupCommand::ResetLink)).map(Ok);
        }
        let link = match self.link_wanted(&state, &command)? {
            Ok(link) => link,
            Err(LinkAnswer::Known) => return self.already_so(group).map(Ok),
            Err(LinkAnswer::Elsewhere) => return Ok(Err(GroupError::LinkElsewhere)),
        };
        if matches!(command, GroupCommand::Rename(_)) && group_secrets::get(self.db, group)?.is_none() {
            return Ok(Err(GroupError::SecretMissing));
        }
        let seed = link.map(|link| link.to_bytes());
        let new = NewChange {
            group,
            operation_id: new_operation_id(self.rng),
            command: hash,
            operation: None,
            secret: None,
            link_seed: seed.as_deref(),
        };
        self.begin(&new, What::Command(command)).map(Ok)
    }

    pub(crate) fn join_group(&mut self, link: &InviteLink) -> Stored<Result<ChangeId, GroupError>> {
        if link.origin != self.me.server {
            return Ok(Err(GroupError::OtherServer));
        }
        let group = link.group;
        let command = command_hash(&["join", &link.to_string()], Some(group), &BTreeSet::new());
        let what = What::Join(link.secret.link.clone());
        let is_member = groups::is_member(self.db, group, self.me.account())?;
        let earlier = group_changes::with_command(self.db, command)?;
        match earlier {
            Some(row) if is_member || row.outcome != Outcome::Applied => {
                return self.resume(&row, what).map(Ok);
            }
            Some(row) => group_changes::remove(self.db, row.id)?,
            None if is_member => return self.already_so(group).map(Ok),
            None => {}
        }
        let new = NewChange {
            group,
            operation_id: new_operation_id(self.rng),
            command,
            operation: None,
            secret: Some(link.secret.group.as_bytes()),
            link_seed: Some(&link.secret.link.to_bytes()),
        };
        let id = self.begin(&new, what)?;
        // What is known of the chain, if anything, is from an earlier membership.
        self.fetch_first(id)?;
        Ok(Ok(id))
    }

    fn begin(&mut self, new: &NewChange<'_>, what: What) -> Stored<ChangeId> {
        let id = group_changes::insert(self.db, new, self.server_now())?;
        self.live.groups.changes.insert(id, Running::new(new.group, what, false));
        Ok(id)
    }

    /// Goes on with a change that was asked for before.
    fn resume(&mut self, row: &ChangeRow, what: What) -> Stored<ChangeId> {
        if row.outcome == Outcome::Applied {
            self.finish(row.id, row.group, Ok(()))?;
        } else {
            let unsure = row.outcome == Outcome::Unknown;
            let running = || Running::new(row.group, what, unsure);
            self.live.groups.changes.entry(row.id).or_insert_with(running);
        }
        Ok(row.id)
    }

    /// What was asked for is so already; nothing has to be sent.
    fn already_so(&mut self, group: GroupId) -> Stored<ChangeId> {
        let new = NewChange {
            group,
            operation_id: new_operation_id(self.rng),
            command: command_hash(&["already so"], Some(group), &BTreeSet::new()),
            operation: None,
            secret: None,
            link_seed: None,
        };
        let id = group_changes::insert(self.db, &new, self.server_now())?;
        self.finish(id, group, Ok(()))?;
        group_changes::remove(self.db, id)?;
        Ok(id)
    }

    /// The link that a command makes, if it makes one.
    fn link_wanted(
        &mut self,
        state: &GroupState,
        command: &GroupCommand,
    ) -> Stored<Result<Option<LinkSecret>, LinkAnswer>> {
        let known = known_link(self.db, state)?;
        Ok(match command {
            GroupCommand::MakeLink if known.is_some() => Err(LinkAnswer::Known),
            GroupCommand::MakeLink if state.link().is_some() => Err(LinkAnswer::Elsewhere),
            GroupCommand::MakeLink | GroupCommand::ResetLink => Ok(Some(LinkSecret::random(self.rng))),
            _ => Ok(None),
        })
    }
}

/// Why a link need not, or cannot, be made.
enum LinkAnswer {
    /// The chain has one, and this device knows it.
    Known,
    /// The chain has one that this device does not know.
    Elsewhere,
}

/// Whether the group still is as this applied change made it.
fn stands(state: &GroupState, row: &ChangeRow) -> bool {
    let operation = row.operation.as_deref().and_then(|bytes| SignedOperation::verify(bytes).ok());
    operation.is_some_and(|operation| rules::stands(state, operation.actor(), operation.change()))
}

fn new_operation_id(rng: &mut dyn CryptoRng) -> OperationId {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    OperationId(id)
}

fn hash_of(group: GroupId, command: &GroupCommand) -> [u8; 32] {
    let accounts = |accounts: &[AccountId]| accounts.iter().copied().collect();
    let (words, accounts): (Vec<&str>, BTreeSet<AccountId>) = match command {
        GroupCommand::Add(named) => (vec!["add"], accounts(named)),
        GroupCommand::Remove(named) => (vec!["remove"], accounts(named)),
        GroupCommand::Promote(named) => (vec!["promote"], accounts(named)),
        GroupCommand::Demote(named) => (vec!["demote"], accounts(named)),
        GroupCommand::Rename(name) => (vec!["rename", name], BTreeSet::new()),
        GroupCommand::Leave => (vec!["leave"], BTreeSet::new()),
        GroupCommand::MakeLink => (vec!["link"], BTreeSet::new()),
        GroupCommand::ResetLink => (vec!["reset link"], BTreeSet::new()),
    };
    command_hash(&words, Some(group), &accounts)
}

/// Names what was asked for, so that the same again is recognised.
fn command_hash(words: &[&str], group: Option<GroupId>, accounts: &BTreeSet<AccountId>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word);
    }
    hash.update(group.as_ref().map_or(&[0; 16], GroupId::as_bytes));
    for account in accounts {
        hash.update(account.as_bytes());
    }
    hash.finalize().into()
}
