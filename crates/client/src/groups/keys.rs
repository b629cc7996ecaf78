//! This device's sender keys: made, given to every device of the group over one-to-one sessions, and replaced.
//!
//! A key is used only while every device that has it, or that it was ever sealed to, belongs to the group: so
//! whoever left opens nothing that is sent by one who knows it.

use crate::{
    Fault,
    live::Asked,
    sealing::{Sealing, store_failed},
    store::{
        Stored, group_keys,
        group_keys::{OwnKey, Parcel},
        group_secrets, groups, outbox,
        outbox::{Lane, LaneClass, OutboxId, OutboxRow},
    },
    turn::Turn,
};
use seal::{Body, Content, Peer, SealError, SenderKeyDistribution};
use types::{AccountId, DeviceAddress, GroupId, MessageId, Millis, limits::FETCH_KEYS_ACCOUNTS_MAX};
use wire::{Code, FetchKeys, Request};

/// Messages under one key.
const MESSAGES_MAX: u64 = 1_000;
/// Life of a key.
const LIFE: Millis = Millis::from_days(7);
/// Tries of one distribution for which a group waits: after them the others come first.
const TRIES_WAITED_FOR: u32 = 4;

/// Whether a key is where it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distributing {
    Done,
    OnTheWay,
}

impl Turn<'_> {
    /// Gives our sender key to every device that lacks it, after it was replaced if it must be.
    pub(super) fn distribute(&mut self, group: GroupId, before: u64) -> Stored<Distributing> {
        let key = match group_keys::own(self.db, group)? {
            Some(key) if !self.must_rotate(group, key)? => key,
            other => self.rotate(group, other)?,
        };
        let mut lacking = group_keys::without_key(self.db, group, key.number, self.me.address)?;
        if self.live.planted.bugs.skip_distribution {
            lacking.pop();
        }
        if !lacking.is_empty() {
            // Without it a new member could not read the group's name; it comes with the chain or with a key.
            let Some(secret) = group_secrets::get(self.db, group)? else {
                self.doubt_membership(group);
                return Ok(Distributing::OnTheWay);
            };
            let distribution = self.distribution(group)?;
            for account in &lacking {
                let body = Body::SenderKeyDistribution(SenderKeyDistribution {
                    group,
                    distribution: distribution.clone(),
                    secret: secret.clone(),
                    counter: before,
                });
                self.queue_parcel(group, *account, body, Some(key))?;
            }
            self.prefetch_keys(&lacking)?;
        }
        let waits = group_keys::is_on_its_way(self.db, group, key.number)?;
        Ok(if waits { Distributing::OnTheWay } else { Distributing::Done })
    }

    /// Whoever was given no secret may be no member any more, and the row that said so may have ended: the chain knows.
    fn doubt_membership(&mut self, group: GroupId) {
        if self.live.groups.without_secret.insert(group) {
            self.fetch_soon(group);
        }
    }

    fn must_rotate(&self, group: GroupId, key: OwnKey) -> Stored<bool> {
        if self.live.planted.bugs.keep_sender_key {
            return Ok(false);
        }
        Ok(self.is_worn(key) || group_keys::is_held_by_others(self.db, group, key.number)?)
    }

    /// Whether the present key has served long enough.
    pub(super) fn is_key_worn(&self, group: GroupId) -> Stored<bool> {
        Ok(group_keys::own(self.db, group)?.is_none_or(|key| self.is_worn(key)))
    }

    fn is_worn(&self, key: OwnKey) -> bool {
        key.served >= MESSAGES_MAX || self.server_now().since(key.made_at) >= LIFE
    }

    /// Makes a key that nobody has.
    pub(super) fn rotate(&mut self, group: GroupId, before: Option<OwnKey>) -> Stored<OwnKey> {
        let key = OwnKey {
            number: before.map_or(1, |before| before.number + 1),
            served: 0,
            made_at: self.server_now(),
        };
        let made = seal::rotate_sender_key(&mut self.encryption(), group, self.rng);
        made.map_err(own_fault)?;
        group_keys::set_own(self.db, group, key)?;
        self.live.groups.audiences.remove(&group);
        Ok(key)
    }

    /// A device that has our key, as far as we know, could not open what was encrypted with it: it gets the key, and the
    /// group's secret with it, once more before the next message.
    pub(crate) fn doubt_key(&mut self, group: GroupId, device: DeviceAddress) -> Stored<()> {
        let Some(key) = group_keys::own(self.db, group)? else { return Ok(()) };
        group_keys::doubt_holder(self.db, group, key.number, device)?;
        self.live.groups.audiences.remove(&group);
        Ok(())
    }

    fn distribution(&mut self, group: GroupId) -> Stored<Vec<u8>> {
        seal::sender_key_distribution(&mut self.encryption(), group, self.rng).map_err(own_fault)
    }

    /// Fetches what new sessions with these accounts need, for many at once: each lane by itself would ask for one.
    pub(super) fn prefetch_keys(&mut self, accounts: &[AccountId]) -> Stored<()> {
        if !self.live.is_open() {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for account in accounts {
            let is_asked =
                self.live.is_asked(|asked| matches!(asked, Asked::Keys(of) if of.contains(account)));
            if !is_asked && self.lacks_session(*account)? {
                wanted.push(*account);
            }
        }
        for accounts in wanted.chunks(FETCH_KEYS_ACCOUNTS_MAX) {
            let fetch = FetchKeys { accounts: accounts.to_vec(), reset: false, device: None };
            self.request(Request::FetchKeys(fetch), Asked::Keys(accounts.to_vec()));
        }
        Ok(())
    }

    /// Whether an account's list, or a session with one of its devices, is missing.
    fn lacks_session(&mut self, account: AccountId) -> Stored<bool> {
        if self.list(account)?.is_none() {
            return Ok(true);
        }
        let peers = self.peers(&[account])?;
        let missing = self.missing_session(&peers)?;
        // A session that broke is opened anew by its own lane.
        Ok(matches!(missing, Some(Sealing::NeedsKeys { reset: None, .. })))
    }

    // ---- parcels

    /// Queues something of a group for all devices of one of its members (of our own account: for the other ones).
    pub(super) fn queue_parcel(
        &mut self,
        group: GroupId,
        account: AccountId,
        body: Body,
        key: Option<OwnKey>,
    ) -> Stored<()> {
        let id = MessageId::new(self.now, self.rng);
        let content = self.content(account.into(), id, body);
        let lane = parcel_lane(account);
        crate::store::chats::ensure(self.db, self.me.account(), account.into())?;
        let row = outbox::push(self.db, lane, None, &crate::send::encoded(&content)?)?;
        self.register_parcel(group, account, row, key)?;
        self.live.ready.insert(lane);
        Ok(())
    }

    /// Marks a row of the outbox as something that only a member may get.
    pub(crate) fn register_parcel(
        &mut self,
        group: GroupId,
        account: AccountId,
        row: OutboxId,
        key: Option<OwnKey>,
    ) -> Stored<()> {
        let served = key.map_or(0, |key| key.served);
        let parcel = Parcel { group, account, key: key.map(|key| key.number), served };
        let is_stuck = self.is_stuck(account)?;
        if is_stuck {
            self.note_meant(&parcel)?;
        }
        group_keys::add_parcel(self.db, row, &parcel, is_stuck)
    }

    /// What leaves before a key has arrived is meant for every device that is listed now: it may be sent to them again,
    /// also if the key is replaced before they have it.
    fn note_meant(&mut self, parcel: &Parcel) -> Stored<()> {
        let (Some(key), Some(list)) = (parcel.key, self.list(parcel.account)?) else { return Ok(()) };
        let peers = crate::sealing::peers_of(&list);
        group_keys::add_holders(self.db, parcel, key, &peers.iter().collect::<Vec<_>>())
    }

    /// Whether a parcel must not leave any more: its account left, or is no admin any more and it carries a link; or,
    /// before it was sealed, the key that it carries was replaced.
    pub(crate) fn is_parcel_void(&self, row: &OutboxRow) -> Stored<bool> {
        let Some(parcel) = group_keys::parcel(self.db, row.id)? else { return Ok(false) };
        if !groups::is_member(self.db, parcel.group, parcel.account)? {
            return Ok(true);
        }
        let is_admin = groups::is_admin(self.db, parcel.group, parcel.account)?;
        if !is_admin && carries_link(&row.content) {
            return Ok(true);
        }
        if row.envelope_id.is_some() {
            // Whoever it was sealed to counts as a holder of its key, whatever becomes of it.
            return Ok(false);
        }
        let current = group_keys::own(self.db, parcel.group)?.map(|key| key.number);
        Ok(parcel.key.is_some() && parcel.key != current)
    }

    /// From now on these devices may have the key that a parcel carries.
    pub(crate) fn parcel_sealed(&self, row: OutboxId, peers: &[&Peer]) -> Stored<()> {
        let Some(parcel) = group_keys::parcel(self.db, row)? else { return Ok(()) };
        match parcel.key {
            Some(key) => group_keys::add_holders(self.db, &parcel, key, peers),
            None => Ok(()),
        }
    }

    /// The server has stored a parcel: what waited for it may leave.
    pub(crate) fn parcel_accepted(&mut self, row: OutboxId) -> Stored<()> {
        let Some(parcel) = group_keys::parcel(self.db, row)? else { return Ok(()) };
        if let Some(key) = parcel.key {
            group_keys::accept_holders(self.db, &parcel, key, row)?;
        }
        self.wake_group_if_waiting(parcel.group);
        Ok(())
    }

    /// The head of a lane did not leave, and no parcel behind it will before it does.
    pub(crate) fn head_delayed(&mut self, row: &OutboxRow, code: Option<Code>) -> Stored<()> {
        let (Some(account), LaneClass::Silent) = (row.lane.chat.account(), row.lane.class) else {
            return Ok(());
        };
        if code == Some(Code::MailboxFull) || row.tries >= TRIES_WAITED_FOR {
            self.head_stuck(account, row.id)?;
        }
        Ok(())
    }

    /// The keys of an account cannot be had: nothing leaves for it, whatever the head of its lane is.
    pub(crate) fn keys_delayed(&mut self, account: AccountId) -> Stored<()> {
        match outbox::head(self.db, parcel_lane(account))? {
            Some(head) => self.head_stuck(account, head.id),
            None => Ok(()),
        }
    }

    /// Groups do not wait without end for one member whose mailbox is full or whose keys cannot be had: that one asks
    /// for what it could not open.
    fn head_stuck(&mut self, account: AccountId, head: OutboxId) -> Stored<()> {
        self.live.groups.stuck.insert(account, head);
        for parcel in group_keys::waive(self.db, account)? {
            self.note_meant(&parcel)?;
            self.wake_group_if_waiting(parcel.group);
        }
        Ok(())
    }

    /// Whether what is queued for an account now stands behind a head that no group waits for.
    fn is_stuck(&self, account: AccountId) -> Stored<bool> {
        let head = outbox::head(self.db, parcel_lane(account))?;
        let stuck = self.live.groups.stuck.get(&account);
        Ok(head.is_some_and(|head| head.tries >= TRIES_WAITED_FOR || stuck == Some(&head.id)))
    }

    /// A parcel is over, whatever came of it.
    pub(crate) fn parcel_over(&mut self, row: OutboxId) -> Stored<()> {
        if let Some(parcel) = group_keys::parcel(self.db, row)? {
            self.wake_group_if_waiting(parcel.group);
        }
        Ok(())
    }
}

fn carries_link(content: &[u8]) -> bool {
    let content = Content::decode(content);
    content.is_ok_and(|content| matches!(content.body, Body::GroupSecret { link: Some(_), .. }))
}

/// Parcels share the lane of receipts and requests.
fn parcel_lane(account: AccountId) -> Lane {
    Lane { chat: account.into(), class: LaneClass::Silent }
}

pub(super) fn own_fault(error: SealError) -> Fault {
    match error {
        SealError::Store(error) => store_failed(error),
        _ => Fault::Bug("our own sender key is of no use"),
    }
}
