//! Changes: from a command to a signed operation to an answer.
//!
//! ```text
//! command -> checked -> stored -> signed on the known head -> sent -> accepted
//!               ^                                               |
//!               +------------- chain fetched <- head moved -----+
//! ```
//! The operation's id is drawn with the command and stays: whatever happens on the way, the change is made once.
//! What left and was not answered is stored, and found on the chain by the next connection; what never left is gone
//! with the process that asked for it.

use super::{ChangeId, GroupCommand, GroupError, InviteLink, chain::Extent, rules};
use crate::{
    Effect, Fault,
    live::Asked,
    store::{
        Stored, group_changes,
        group_changes::{ChangeRow, NewChange, Outcome},
        group_secrets, groups, profile,
    },
    turn::Turn,
};
use rand_core::CryptoRng;
use seal::GroupSecret;
use sha2::{Digest, Sha256};
use signed::{
    AccountKey, DeviceCertificate, GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, Permissions, join_signature},
    keys::LinkSecret,
};
use std::collections::BTreeSet;
use types::{AccountId, GroupId, Millis, Stamp, Timestamp, limits::GROUP_MEMBERS_MAX};
use wire::{Code, Refusal, Request};

/// Lost races and passing refusals that one change survives: with 1,024 admins at work, one of them is through by then.
const TRIES_MAX: u32 = 50;
/// The pause after an answer that leaves the outcome unknown.
const PAUSE: Millis = Millis::from_secs(1);
/// What came of a change is remembered this long for somebody who asks for it again.
const KEEP_OUTCOME: Millis = Millis::from_hours(24);

/// A change that somebody waits for.
pub(crate) struct Running {
    group: GroupId,
    what: What,
    step: Step,
    tries: u32,
    /// A try has left whose answer was never heard: it may turn up on the chain.
    unsure: bool,
    /// What the server said before the chain was fetched to see why.
    refused: Option<Code>,
}

enum What {
    Create,
    Command(GroupCommand),
    Join(LinkSecret),
}

enum Step {
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
            (Some(row), Err(_)) => return self.resume(&row, What::Command(command)).map(Ok),
            (None, Err(error)) => return Ok(Err(error)),
            (Some(row), Ok(())) => group_changes::remove(self.db, row.id)?,
            (None, Ok(())) => {}
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
        let what = What::Join(link.link.clone());
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
            secret: Some(link.secret.as_bytes()),
            link_seed: Some(&link.link.to_bytes()),
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
        Ok(id)
    }

    /// The link that a command makes, if it makes one.
    fn link_wanted(
        &mut self,
        state: &GroupState,
        command: &GroupCommand,
    ) -> Stored<Result<Option<LinkSecret>, LinkAnswer>> {
        let known = self.known_link(state)?;
        Ok(match command {
            GroupCommand::MakeLink if known.is_some() => Err(LinkAnswer::Known),
            GroupCommand::MakeLink if state.link().is_some() => Err(LinkAnswer::Elsewhere),
            GroupCommand::MakeLink | GroupCommand::ResetLink => Ok(Some(LinkSecret::random(self.rng))),
            _ => Ok(None),
        })
    }

    /// The secret of the link that the chain has now, where this device knows it.
    fn known_link(&self, state: &GroupState) -> Stored<Option<LinkSecret>> {
        let seed = group_secrets::link_seed(self.db, state.id())?;
        let link = seed.map(|seed| LinkSecret::from_bytes(&seed));
        Ok(link.filter(|link| state.link() == Some(&link.public())))
    }
}

/// Why a link need not, or cannot, be made.
enum LinkAnswer {
    /// The chain has one, and this device knows it.
    Known,
    /// The chain has one that this device does not know.
    Elsewhere,
}

// ---- going out

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
                self.request(request, Asked::Group(super::Asking::Change(id)));
                self.step(id, Step::Asked);
                Ok(())
            }
            Ok(None) => self.fetch_first(id),
            Err(error) => self.finish(id, group, Err(error)),
        }
    }

    /// The operation on the known head; none if the chain has to be fetched first.
    fn operation_for(&mut self, row: &ChangeRow) -> Stored<Result<Option<Vec<u8>>, GroupError>> {
        let state = self.group(row.group)?;
        let Some(running) = self.live.groups.changes.get(&row.id) else { return Ok(Ok(None)) };
        let wanted = match (&running.what, &state) {
            (What::Create, _) => return Ok(Ok(row.operation.clone())),
            (What::Join(_), None) => return Ok(Ok(None)),
            (What::Command(_), None) => return Ok(Err(GroupError::NoSuchGroup)),
            (What::Join(link), Some(state)) => join(state, self.me.account(), link),
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

    fn sign(
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

// ---- answers

impl Turn<'_> {
    /// The server has appended it to the chain, now or before.
    pub(crate) fn change_accepted(&mut self, id: ChangeId, stamp: Stamp) -> Stored<()> {
        profile::raise_highest_stamp(self.db, stamp)?;
        let (Some(row), Some(running)) =
            (group_changes::get(self.db, id)?, self.live.groups.changes.get(&id))
        else {
            return Ok(());
        };
        // Only bytes that were sent once are surely those that the chain has.
        let only_try = !running.unsure;
        let operation = row.operation.as_deref().and_then(|bytes| SignedOperation::verify(bytes).ok());
        if let Some(operation) = operation.filter(|_| only_try) {
            let epoch = operation.epoch();
            if self.fits_head(&operation)?
                && self.extend(row.group, vec![operation], Some(stamp))? == Extent::Whole
            {
                return groups::set_stamp(self.db, row.group, epoch, stamp);
            }
        }
        self.fetch_first(id)
    }

    fn fits_head(&mut self, operation: &SignedOperation) -> Stored<bool> {
        let state = self.group(operation.group())?;
        Ok(match state {
            None => operation.epoch() == 0,
            Some(state) => state.epoch().checked_add(1) == Some(operation.epoch()),
        })
    }

    pub(crate) fn change_refused(&mut self, id: ChangeId, refusal: &Refusal) -> Stored<()> {
        let Some(running) = self.live.groups.changes.get_mut(&id) else { return Ok(()) };
        running.tries += 1;
        let (group, tries) = (running.group, running.tries);
        let explained = running.refused.is_some();
        if tries > TRIES_MAX {
            return self.finish(id, group, Err(GroupError::Refused(refusal.code)));
        }
        match refusal.code {
            Code::GroupHeadMoved => {
                self.head_moved(group, refusal.group.as_ref().and_then(|group| group.head))?;
                self.fetch_first(id)
            }
            Code::RetryAfter => self.finish(id, group, Err(GroupError::RetryAfter(refusal.retry_after))),
            Code::BadStamp => {
                profile::forget_highest_stamp(self.db)?;
                self.pause(id, refusal)
            }
            Code::KeysRequired => {
                self.upload_everything_again()?;
                self.pause(id, refusal)
            }
            Code::Unavailable | Code::Unspecified => {
                if let Some(running) = self.live.groups.changes.get_mut(&id) {
                    running.unsure = true;
                }
                self.pause(id, refusal)
            }
            code if explained || self.group(group)?.is_none() => self.finish(id, group, Err(refused(code))),
            // The chain may say why.
            code => {
                if let Some(running) = self.live.groups.changes.get_mut(&id) {
                    running.refused = Some(code);
                }
                self.fetch_first(id)
            }
        }
    }

    fn pause(&mut self, id: ChangeId, refusal: &Refusal) -> Stored<()> {
        let at = self.now + refusal.retry_after.unwrap_or(PAUSE);
        self.step(id, Step::Pause(at));
        Ok(())
    }

    fn fetch_first(&mut self, id: ChangeId) -> Stored<()> {
        let Some(running) = self.live.groups.changes.get_mut(&id) else { return Ok(()) };
        running.step = Step::Fetch;
        let group = running.group;
        if !self.is_fetching(group) {
            self.live.groups.wanted.insert(group);
        }
        Ok(())
    }

    /// The chain is known as far as the server gives it: changes of this group go on.
    pub(super) fn changes_after_fetch(&mut self, group: GroupId, result: Result<(), Code>) -> Stored<()> {
        let fetching = |running: &Running| running.group == group && matches!(running.step, Step::Fetch);
        let changes = &self.live.groups.changes;
        let waiting: Vec<ChangeId> =
            changes.iter().filter(|(_, running)| fetching(running)).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(running) = self.live.groups.changes.get_mut(&id) else { continue };
            running.step = Step::Send;
            let is_join = matches!(running.what, What::Join(_));
            let refused_before = running.refused;
            let error = match (result, refused_before) {
                (Err(_), _) if is_join => Some(GroupError::DeadLink),
                (Err(code), _) => Some(refused(code)),
                // A command that the rules allow, and that the server refuses all the same, is over.
                (Ok(()), Some(code)) => self.still_refused(id, code)?,
                (Ok(()), None) => None,
            };
            if let Some(error) = error {
                self.finish(id, group, Err(error))?;
            }
        }
        Ok(())
    }

    /// Why a change that the server refused cannot be made, unless the chain has moved on since.
    fn still_refused(&mut self, id: ChangeId, code: Code) -> Stored<Option<GroupError>> {
        let Some(row) = group_changes::get(self.db, id)? else { return Ok(None) };
        let sent = row.operation.clone();
        Ok(match self.operation_for(&row)? {
            Err(error) => Some(error),
            Ok(again) if again == sent => Some(refused(code)),
            Ok(_) => None,
        })
    }

    /// An operation is on the chain: if this device made it, what belongs to it is done, once.
    pub(super) fn notice_own_operation(&mut self, operation: &SignedOperation) -> Stored<()> {
        if !self.is_ours(operation) {
            return Ok(());
        }
        let group = operation.group();
        if let Some(row) = group_changes::with_operation(self.db, operation.id())? {
            if let Some(secret) = row.secret.as_deref().and_then(|bytes| GroupSecret::from_slice(bytes).ok())
            {
                self.secret_came(group, &secret)?;
            }
            if let Some(seed) = row.link_seed.as_deref() {
                group_secrets::set_link_seed(self.db, group, seed)?;
            }
            group_changes::set_applied(self.db, row.id)?;
            if self.live.groups.changes.contains_key(&row.id) {
                self.finish(row.id, group, Ok(()))?;
            }
        }
        match operation.change() {
            GroupChange::Create { members, .. } | GroupChange::Add(members) => {
                let members: Vec<AccountId> = members.iter().copied().collect();
                self.give_secret(group, &members)
            }
            _ => Ok(()),
        }
    }

    /// Tells the outcome of a change to whoever waits for it.
    fn finish(&mut self, id: ChangeId, group: GroupId, result: Result<(), GroupError>) -> Stored<()> {
        let running = self.live.groups.changes.remove(&id);
        // A try whose answer was never heard may still turn up on the chain; its id stays known.
        let unsure = result.is_err() && running.is_some_and(|running| running.unsure);
        if !unsure {
            group_changes::remove(self.db, id)?;
        }
        self.effect(Effect::GroupChangeDone { change: id, result: result.map(|()| group) });
        Ok(())
    }

    fn step(&mut self, id: ChangeId, step: Step) {
        if let Some(running) = self.live.groups.changes.get_mut(&id) {
            running.step = step;
        }
    }

    /// The link by which somebody here is joining a group.
    pub(super) fn joining(&self, group: GroupId) -> Option<LinkSecret> {
        let mut running = self.live.groups.changes.values().filter(|running| running.group == group);
        running.find_map(|running| match &running.what {
            What::Join(link) => Some(link.clone()),
            What::Create | What::Command(_) => None,
        })
    }

    /// Forgets what came of old changes.
    pub(crate) fn prune_changes(&self) -> Stored<()> {
        group_changes::prune(self.db, self.server_now() - KEEP_OUTCOME)
    }
}

const fn refused(code: Code) -> GroupError {
    match code {
        Code::NoSuchGroup => GroupError::NoSuchGroup,
        Code::Forbidden => GroupError::NotAdmin,
        code => GroupError::Refused(code),
    }
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
