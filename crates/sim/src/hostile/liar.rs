//! Everything that a server can do beside its duty, drawn from a seed.
//!
//! Owns: which lies there are, when the next one is told, what was held back, and a memory of every envelope
//! that ever came.
//! Must not know: engines, and what they make of it.

mod groups;
mod links;

use super::{forger, office::Office};
use crate::chance::Chance;
use bytes::Bytes;
use links::LinkLies;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use seal::Peer;
use signed::{AccountSecret, DeviceList};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, DeviceAddress, EnvelopeId, MailboxId, Millis, NodeId, Stamp};
use wire::{
    AccountKeys, AccountList, Bundle, Code, Envelope, EnvelopeKind, FetchKeys, Refusal, Request, Response,
    Stale,
};

/// What a server did against its duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// A row was never written.
    Dropped,
    /// A row was written twice.
    Doubled,
    /// A row was held back for a while.
    HeldBack,
    /// A bit of a ciphertext was changed.
    Tampered,
    /// A row was given to another device, or said to come from another.
    Misaddressed,
    /// A row was given another stamp than its sender was told.
    Restamped,
    /// A row came again, under another envelope id.
    Replayed,
    /// Rows came in another order.
    Reordered,
    /// A request was refused without cause.
    Refused,
    /// A request was answered as unknown after it was done.
    Forgotten,
    /// A send was refused in favour of a ghost.
    GhostNamed,
    /// An older list was given as the newest.
    RolledBack,
    /// A list of the server's own making was given.
    ListForged,
    /// Two lists of one version, signed with a stolen account key.
    ListForked,
    /// Prekeys of the server's own were given.
    KeysSwapped,
    /// A message was written with keys of the server's own.
    Injected,
    /// Pushes that mean nothing.
    Babble,
    /// A group operation that adds a ghost, signed by nobody who may, or by nobody at all.
    GhostAdded,
    /// A group's chain was split: some members see one continuation, others another or none.
    ChainForked,
    /// A chain was given without its newest operations.
    ChainRolledBack,
    /// A message to a group was refused for a head that had been left behind.
    HeadRolledBack,
    /// A message to a group was given to those who are not in it.
    Leaked,
    /// A sender key of the server's own was given in the name of somebody, and a message under it.
    KeyForged,
    /// A device that was removed is served on, as if it had not been.
    FormerServed,
    /// Other keys than the new device's were given as its offer.
    OfferSwapped,
    /// Another invitation was given, also into an account of the server's own.
    InvitationSwapped,
    /// Another answer was given as the new device's.
    AnswerSwapped,
    /// Another completion was given.
    CompletionSwapped,
    /// A new device was told something else of its link than is true.
    LinkDenied,
    /// A person got the code of a device of the server's own.
    CodeSwapped,
    /// The server saw a code.
    CodeOverheard,
    /// With the code of the new device, and one of its own in the person's hands, the server stood in the middle and
    /// looked for an invitation that makes both sides show the same digits.
    DigitsGround,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Self; 32] = [
        Self::Dropped,
        Self::Doubled,
        Self::HeldBack,
        Self::Tampered,
        Self::Misaddressed,
        Self::Restamped,
        Self::Replayed,
        Self::Reordered,
        Self::Refused,
        Self::Forgotten,
        Self::GhostNamed,
        Self::RolledBack,
        Self::ListForged,
        Self::ListForked,
        Self::KeysSwapped,
        Self::Injected,
        Self::Babble,
        Self::GhostAdded,
        Self::ChainForked,
        Self::ChainRolledBack,
        Self::HeadRolledBack,
        Self::Leaked,
        Self::KeyForged,
        Self::FormerServed,
        Self::OfferSwapped,
        Self::InvitationSwapped,
        Self::AnswerSwapped,
        Self::CompletionSwapped,
        Self::LinkDenied,
        Self::CodeSwapped,
        Self::CodeOverheard,
        Self::DigitsGround,
    ];
}

/// Passing refusals: a server that refuses for good only denies service, which nobody can prevent.
const REFUSALS: [Code; 4] = [Code::Unavailable, Code::RetryAfter, Code::MailboxFull, Code::BadStamp];
/// Between two forms of a lie: how many envelopes back a replay reaches.
const REPLAY_REACH: u64 = 40;

/// The liar.
pub struct Liar {
    chance: Chance,
    rng: ChaCha20Rng,
    /// How many in a thousand chances are taken; 0 once it has turned honest.
    per_mille: u32,
    /// What it did.
    pub told: BTreeMap<Lie, u64>,
    /// The account whose key it has.
    stolen: Option<(AccountId, AccountSecret)>,
    /// The account key of a plain member of the group who is in league with the server.
    traitor: Option<AccountSecret>,
    past: Vec<Envelope>,
    held: Vec<Envelope>,
    links: LinkLies,
    /// How eager it is when it is not asleep.
    eagerness: u32,
}

impl Liar {
    /// A liar of so much eagerness, perhaps with somebody's account key.
    pub fn new(
        seed: u64,
        per_mille: u32,
        stolen: Option<(AccountId, AccountSecret)>,
        traitor: Option<AccountSecret>,
    ) -> Self {
        Self {
            chance: Chance::new(seed, 77),
            rng: ChaCha20Rng::seed_from_u64(seed ^ 0x11a5),
            per_mille,
            told: BTreeMap::new(),
            stolen,
            traitor,
            past: Vec::new(),
            held: Vec::new(),
            links: LinkLies::default(),
            eagerness: per_mille,
        }
    }

    /// It is honest for now.
    pub const fn sleep(&mut self) {
        self.per_mille = 0;
    }

    /// It lies from now on.
    pub const fn wake(&mut self) {
        self.per_mille = self.eagerness;
    }

    /// Whether a device that is removed now is served on.
    pub fn serves_former(&mut self) -> bool {
        let serves = self.per_mille > 0 && self.chance.per_mille(600);
        if serves {
            self.note(Lie::FormerServed);
        }
        serves
    }

    /// Whose account key it has.
    pub fn stolen(&self) -> Option<AccountId> {
        self.stolen.as_ref().map(|(account, _)| *account)
    }

    /// From now on it is honest. What it held back comes now.
    pub fn repent(&mut self, office: &mut Office) {
        self.per_mille = 0;
        office.serves_formers = false;
        self.held.drain(..).for_each(|row| office.put(&row));
    }

    fn tells(&mut self, lie: Lie) -> bool {
        let tells = self.chance.per_mille(self.per_mille);
        if tells {
            self.note(lie);
        }
        tells
    }

    fn note(&mut self, lie: Lie) {
        *self.told.entry(lie).or_default() += 1;
    }

    // ---- requests

    /// A refusal instead of service, or none.
    pub fn refusal(&mut self, caller: MailboxId, request: &Request, office: &Office) -> Option<Refusal> {
        if let Request::SendGroup(send) = request {
            return self.group_refusal(send, office);
        }
        let Request::Send(send) = request else {
            let refusable = matches!(
                request,
                Request::FetchKeys(_)
                    | Request::GetDeviceLists(_)
                    | Request::ApplyGroup { .. }
                    | Request::GetGroup { .. }
                    | Request::GetLink(_)
                    | Request::InviteLink { .. }
                    | Request::CompleteLink { .. }
                    | Request::PutDeviceList(_)
            );
            return (refusable && self.tells(Lie::Refused)).then(|| Refusal::new(Code::Unavailable));
        };
        if self.tells(Lie::GhostNamed) {
            let other = if self.chance.per_mille(300) { caller.account } else { send.recipient };
            let mut stale = Stale { missing: vec![forger::ghost_of(other)], ..Stale::default() };
            if self.chance.per_mille(300) {
                stale.extra = send.sealed.iter().map(|sealed| sealed.to).collect();
            }
            if let Some(device) = self.somebody(office).filter(|_| self.chance.per_mille(300)) {
                stale.missing.push(device);
            }
            return Some(Refusal::stale(stale));
        }
        if !self.tells(Lie::Refused) {
            return None;
        }
        let code = self.chance.one_of(&REFUSALS);
        let refusal = Refusal::new(code);
        Some(Refusal { retry_after: (code == Code::RetryAfter).then_some(Millis(500)), ..refusal })
    }

    /// Whether a request that was done is answered as if nobody knew.
    pub fn forgets(&mut self, request: &Request) -> Option<Refusal> {
        let is_send =
            matches!(request, Request::Send(_) | Request::SendGroup(_) | Request::ApplyGroup { .. })
                || matches!(
                    request,
                    Request::InviteLink { .. } | Request::CompleteLink { .. } | Request::PutDeviceList(_)
                );
        (is_send && self.tells(Lie::Forgotten)).then(|| Refusal::new(Code::Unavailable))
    }

    /// An answer, improved.
    pub fn answer(&mut self, response: Response, office: &mut Office) -> Response {
        match response {
            Response::Keys(keys) => {
                Response::Keys(keys.into_iter().map(|keys| self.keys(keys, office)).collect())
            }
            Response::DeviceLists(lists) => {
                Response::DeviceLists(lists.into_iter().map(|list| self.list(list, office)).collect())
            }
            Response::GroupState { operations, .. } => self.chain(operations, office),
            Response::LinkState(state) => self.link_state(state),
            other => other,
        }
    }

    fn keys(&mut self, mut keys: AccountKeys, office: &Office) -> AccountKeys {
        if let Some(list) = self.other_list(keys.account, office) {
            keys.device_list = list;
        }
        if let Ok(list) = DeviceList::verify(&keys.device_list) {
            let ghost = list.device(forger::ghost_number());
            keys.bundles.extend(ghost.map(|ghost| forger::bundle(ghost.number(), ghost.registration())));
        }
        if self.tells(Lie::KeysSwapped) {
            for bundle in &mut keys.bundles {
                *bundle = forger::bundle(bundle.device, bundle.registration);
            }
            if self.chance.per_mille(300) {
                let ghost = forger::ghost_of(keys.account);
                keys.bundles.push(forger::bundle(ghost.device, ghost.registration));
            }
        }
        keys
    }

    fn list(&mut self, mut list: AccountList, office: &Office) -> AccountList {
        if let Some(other) = self.other_list(list.account, office) {
            list.device_list = other;
        }
        list
    }

    /// Another list than the one in force.
    fn other_list(&mut self, account: AccountId, office: &Office) -> Option<Bytes> {
        let known = office.accounts.get(&account)?;
        let bytes = |list: &DeviceList| Bytes::copy_from_slice(list.as_bytes());
        if let Some((_, secret)) = self.stolen.clone().filter(|(of, _)| *of == account)
            && self.tells(Lie::ListForked)
        {
            let forked = forger::list_with_ghost(known.list(), known.list().version(), Some(&secret));
            return forked.as_ref().map(bytes);
        }
        if known.lists.len() > 1 && self.tells(Lie::RolledBack) {
            let older = self.chance.below(known.lists.len() as u64 - 1) as usize;
            return known.lists.get(older).map(bytes);
        }
        if !self.tells(Lie::ListForged) {
            return None;
        }
        match self.chance.below(3) {
            0 => forger::list_with_ghost(known.list(), known.list().version() + 1, None).as_ref().map(bytes),
            1 => {
                let mut flipped = known.list().as_bytes().to_vec();
                let at = self.chance.below(flipped.len() as u64) as usize;
                flipped[at] ^= 1 << self.chance.below(8);
                Some(flipped.into())
            }
            _ => {
                let others = office.accounts.iter().filter(|(id, _)| **id != account);
                others.map(|(_, other)| bytes(other.list())).next()
            }
        }
    }

    // ---- rows

    /// Writes rows, or something like them.
    pub fn write(&mut self, rows: Vec<Envelope>, office: &mut Office) {
        for row in rows {
            self.past.push(row.clone());
            self.leak(&row, office);
            self.write_one(row, office);
        }
    }

    fn write_one(&mut self, row: Envelope, office: &mut Office) {
        if self.tells(Lie::Dropped) {
            return;
        }
        if self.tells(Lie::HeldBack) {
            return self.held.push(row);
        }
        if self.tells(Lie::Doubled) {
            office.put(&row);
        }
        let row = if self.tells(Lie::Tampered) { self.tampered(row) } else { row };
        let row = if self.tells(Lie::Restamped) { self.restamped(row, office) } else { row };
        let row = if self.tells(Lie::Misaddressed) { self.misaddressed(row, office) } else { row };
        office.put(&row);
    }

    fn tampered(&mut self, row: Envelope) -> Envelope {
        let mut ciphertext = row.ciphertext.to_vec();
        match self.chance.below(4) {
            0 => ciphertext.truncate(self.chance.below(ciphertext.len() as u64) as usize),
            1 => return Envelope { kind: EnvelopeKind::Prekey, ..row },
            _ => {
                let at = self.chance.below(ciphertext.len() as u64) as usize;
                ciphertext[at] ^= 1 << self.chance.below(8);
            }
        }
        Envelope { ciphertext: ciphertext.into(), ..row }
    }

    fn restamped(&mut self, row: Envelope, office: &Office) -> Envelope {
        let wall = office.now.as_millis() << 16;
        let far = self.chance.below(60_000) << 16;
        let clock = if self.chance.per_mille(500) { wall + far } else { wall.saturating_sub(far) };
        Envelope { stamp: Stamp::new(clock, NodeId(self.chance.below(9) as u16)), ..row }
    }

    fn misaddressed(&mut self, row: Envelope, office: &Office) -> Envelope {
        let Some(other) = self.somebody(office) else { return row };
        match self.chance.below(3) {
            0 => Envelope { to: other, ..row },
            1 => Envelope { from: other.address(), ..row },
            _ => Envelope { from: row.to.address(), to: row.from.mailbox(other.registration), ..row },
        }
    }

    fn somebody(&mut self, office: &Office) -> Option<MailboxId> {
        let all: BTreeSet<_> = office.accounts.values().flat_map(|one| one.list().mailboxes()).collect();
        let all: Vec<_> = all.into_iter().collect();
        (!all.is_empty()).then(|| self.chance.one_of(&all))
    }

    // ---- by itself

    /// Something that nobody asked for: replays, injections, what was held back.
    pub fn stir(&mut self, office: &mut Office) {
        if !self.held.is_empty() && self.chance.per_mille(300) {
            let at = self.chance.below(self.held.len() as u64) as usize;
            let row = self.held.swap_remove(at);
            office.put(&row);
        }
        if self.tells(Lie::Replayed) {
            self.replay(office);
        }
        if self.tells(Lie::Injected) {
            self.inject(office);
        }
        self.stir_groups(office);
    }

    fn replay(&mut self, office: &mut Office) {
        let reach = (self.past.len() as u64).min(REPLAY_REACH);
        let Some(row) = self.past.iter().rev().nth(self.chance.below(reach) as usize).cloned() else {
            return;
        };
        let same_id = self.chance.per_mille(500);
        let envelope_id = if same_id { row.envelope_id } else { EnvelopeId::random(&mut self.rng) };
        let row = Envelope { envelope_id, ..row };
        let row = if self.tells(Lie::Restamped) { self.restamped(row, office) } else { row };
        office.put(&row);
    }

    /// Somebody writes who is not on anybody's list, and says to be another person's device.
    fn inject(&mut self, office: &mut Office) {
        let Some((from, peer, bundle)) = self.victim(office) else { return };
        let (now, stamp) = (office.now, office.stamp(None));
        let counter = 1 + self.chance.below(12);
        let row = forger::Ghost::claiming(from).write(&peer, &bundle, (now, stamp), counter, &mut self.rng);
        if let Some(row) = row {
            office.put(&row);
        }
    }

    /// Whom to write to, with which keys, and as whom.
    fn victim(&mut self, office: &mut Office) -> Option<(DeviceAddress, Peer, Bundle)> {
        let (claimed, to) = (self.somebody(office)?, self.somebody(office)?);
        let from = match self.chance.below(3) {
            0 => forger::ghost_of(claimed.account).address(),
            _ => claimed.address(),
        };
        let list = office.accounts.get(&to.account)?.list().clone();
        let peer = Peer::on_list(&list, to.device)?;
        let fetch = FetchKeys { accounts: vec![to.account], reset: true, device: Some(to.device) };
        let bundle = office.keys(to.account, &fetch).bundles.pop()?;
        Some((from, peer, bundle))
    }

    /// Whether the rows of one push come in another order than written.
    pub fn reorders(&mut self) -> bool {
        self.tells(Lie::Reordered)
    }

    /// A push that means nothing.
    pub fn babble(&mut self, office: &Office) -> Option<wire::Push> {
        if !self.tells(Lie::Babble) {
            return None;
        }
        let account = self.somebody(office)?.account;
        Some(match self.chance.below(4) {
            0 => wire::Push::DeviceListChanged { account, version: 2 + self.chance.below(3) },
            1 => wire::Push::KeysLow(wire::KeyCounts { one_time: 50, one_time_kem: 50 }),
            2 => wire::Push::Ephemeral(Bytes::from_static(b"nothing")),
            _ => wire::Push::Drained,
        })
    }
}
