//! What tests of groups do again and again.

use crate::{group_server::Chain, world::World};
use client::{
    ChangeId, DeliveryState, Effect, EventView, GroupCommand, GroupError, GroupInfo, InviteLink, MessageView,
    SendText,
};
use signed::{
    AccountSecret, DeviceCertificate, DeviceSecret, GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId},
};
use types::{AccountId, ChatId, DeviceNumber, GroupId, MessageId};

/// Everybody but the first, as members of a group that the first one makes.
pub fn others(people: usize) -> Vec<usize> {
    (1..people).collect()
}

impl World {
    pub fn accounts(&self, who: &[usize]) -> Vec<AccountId> {
        who.iter().map(|who| self.account(*who)).collect()
    }

    /// A connected world whose first person has made a group with everybody, and everybody knows it.
    pub fn with_group(people: usize) -> (Self, GroupId) {
        let mut world = Self::new(people);
        world.settle();
        let group = world.create(0, "Friends", &others(people)).unwrap();
        world.settle();
        (world, group)
    }

    pub fn begin_create(
        &mut self,
        who: usize,
        name: &str,
        members: &[usize],
    ) -> Result<ChangeId, GroupError> {
        let (now, members) = (self.now, self.accounts(members));
        let change = self.people[who].with_rng(|engine, rng| engine.create_group(name, &members, now, rng));
        self.poll(who);
        change
    }

    pub fn begin_change(
        &mut self,
        who: usize,
        group: GroupId,
        command: GroupCommand,
    ) -> Result<ChangeId, GroupError> {
        let now = self.now;
        let change = self.people[who].with_rng(|engine, rng| engine.change_group(group, command, now, rng));
        self.poll(who);
        change
    }

    pub fn begin_join(&mut self, who: usize, url: &str) -> Result<ChangeId, GroupError> {
        let (now, link) = (self.now, url.parse::<InviteLink>().unwrap());
        let change = self.people[who].with_rng(|engine, rng| engine.join_group(&link, now, rng));
        self.poll(who);
        change
    }

    /// What came of a change, if that is known by now.
    pub fn outcome(&self, who: usize, change: ChangeId) -> Option<Result<GroupId, GroupError>> {
        self.people[who].effects.iter().find_map(|effect| match effect {
            Effect::GroupChangeDone { change: of, result } if *of == change => Some(result.clone()),
            _ => None,
        })
    }

    /// The person has seen what came of a change.
    pub fn told(&mut self, who: usize, change: ChangeId) {
        self.people[who].engine().change_told(change).unwrap();
    }

    /// A command to its end: what came of it was printed.
    fn finish(&mut self, who: usize, change: ChangeId) -> Result<GroupId, GroupError> {
        self.run();
        let outcome = self.outcome(who, change).unwrap();
        self.told(who, change);
        outcome
    }

    pub fn create(&mut self, who: usize, name: &str, members: &[usize]) -> Result<GroupId, GroupError> {
        let change = self.begin_create(who, name, members)?;
        self.finish(who, change)
    }

    pub fn change(
        &mut self,
        who: usize,
        group: GroupId,
        command: GroupCommand,
    ) -> Result<GroupId, GroupError> {
        let change = self.begin_change(who, group, command)?;
        self.finish(who, change)
    }

    pub fn add(&mut self, who: usize, group: GroupId, whom: usize) -> Result<GroupId, GroupError> {
        let account = self.account(whom);
        self.change(who, group, GroupCommand::Add(vec![account]))
    }

    pub fn remove(&mut self, who: usize, group: GroupId, whom: usize) -> Result<GroupId, GroupError> {
        let account = self.account(whom);
        self.change(who, group, GroupCommand::Remove(vec![account]))
    }

    pub fn promote(&mut self, who: usize, group: GroupId, whom: usize) -> Result<GroupId, GroupError> {
        let account = self.account(whom);
        self.change(who, group, GroupCommand::Promote(vec![account]))
    }

    pub fn join(&mut self, who: usize, url: &str) -> Result<GroupId, GroupError> {
        let change = self.begin_join(who, url)?;
        self.finish(who, change)
    }

    /// Makes the group's link and gives its URL.
    pub fn link(&mut self, who: usize, group: GroupId, command: GroupCommand) -> String {
        self.change(who, group, command).unwrap();
        self.people[who].engine().view().group_link(group).unwrap().unwrap()
    }

    pub fn try_send_group(
        &mut self,
        who: usize,
        group: GroupId,
        text: &str,
    ) -> Result<MessageId, client::SendError> {
        let now = self.now;
        let message_id = self.people[who].with_rng(|_, rng| MessageId::new(now, rng));
        let text = SendText { chat: group.into(), message_id, text: text.to_owned() };
        self.try_send(who, text).map(|sent| sent.message_id)
    }

    pub fn send_group(&mut self, who: usize, group: GroupId, text: &str) -> MessageId {
        self.try_send_group(who, group, text).unwrap()
    }

    pub fn group_history(&mut self, who: usize, group: GroupId) -> Vec<MessageView> {
        let now = self.now;
        self.people[who].engine().view().history(group.into(), 100_000, now).unwrap()
    }

    pub fn group_texts(&mut self, who: usize, group: GroupId) -> Vec<String> {
        self.group_history(who, group).into_iter().map(|message| message.text).collect()
    }

    pub fn info(&mut self, who: usize, group: GroupId) -> GroupInfo {
        self.people[who].engine().view().group(group).unwrap().unwrap()
    }

    /// Each other member's state, in the order of accounts, and the worst of them.
    pub fn group_status(
        &mut self,
        who: usize,
        message: MessageId,
    ) -> (DeliveryState, Vec<(AccountId, DeliveryState)>) {
        let now = self.now;
        let status = self.people[who].engine().view().status(message, now).unwrap().unwrap();
        let recipients = status.recipients.iter().map(|one| (one.account, one.state)).collect();
        (status.state, recipients)
    }

    pub fn read_group(&mut self, who: usize, group: GroupId) {
        let now = self.now;
        self.people[who].with_rng(|engine, rng| engine.mark_read(ChatId::Group(group), now, rng)).unwrap();
        self.poll(who);
    }

    /// Changes of groups that were printed: epoch, word, who did it.
    pub fn print_changes(&mut self, who: usize) -> Vec<(u64, &'static str, AccountId)> {
        let events = self.print(who);
        let change = |event: &EventView| match event {
            EventView::GroupChanged { epoch, change, by, .. } => Some((*epoch, *change, *by)),
            _ => None,
        };
        events.iter().filter_map(change).collect()
    }

    /// How many forks of this group were ever printed.
    pub fn forks(&mut self, who: usize, group: GroupId) -> usize {
        self.print(who);
        let fork =
            |event: &&EventView| matches!(event, EventView::SplitView { chat, .. } if *chat == group.into());
        self.people[who].printed.iter().filter(fork).count()
    }

    pub fn chain(&mut self, group: GroupId) -> &mut Chain {
        self.server.groups.chains.get_mut(&group).unwrap()
    }
}

/// An operation that a person's device would sign on a state, made outside its engine.
pub fn sign_as(world: &mut World, who: usize, state: &GroupState, change: GroupChange) -> SignedOperation {
    let secrets = secrets(world, who);
    let draft = OperationDraft {
        follows: Some(state.follows()),
        id: OperationId([state.epoch() as u8 + 100 + who as u8; 16]),
        actor_key: secrets.0.public(),
        certificate: DeviceCertificate::sign(&secrets.0, DeviceNumber::PRIMARY, secrets.1.public()),
        at: world.now,
        change,
    };
    draft.sign(&secrets.1).unwrap()
}

/// A person's account and device secrets, which only the test can see.
pub fn secrets(world: &mut World, who: usize) -> (AccountSecret, DeviceSecret) {
    let mut seeds = None;
    world.with_database(who, |database| {
        let sql = "SELECT account_secret, device_secret FROM profile";
        let row: ([u8; 32], [u8; 32]) =
            database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        seeds = Some(row);
    });
    let (account, device) = seeds.unwrap();
    (AccountSecret::from_bytes(&account), DeviceSecret::from_bytes(&device))
}

/// Everybody whom anything was ever encrypted to by a person.
pub fn encrypted_to(world: &World, who: usize) -> Vec<AccountId> {
    let account = world.account(who);
    let sends = world.server.record.iter().filter(|((from, _), _)| from.account == account);
    sends.flat_map(|(_, recorded)| recorded.send.sealed.iter().map(|sealed| sealed.to.account)).collect()
}
