//! Who looks inside everything: what was written, what was sealed for whom, what was shown, what was said to
//! be missing. And the judgement.
//!
//! Invariant: a property that judged nothing has not been tested, so judgements are counted.

mod drops;
mod former;
mod groups;
mod links;

use super::{device::Device, forger, office::Office};
use client::{EventView, Fault};
use former::Formers;
use groups::GroupFacts;
use links::LinkFacts;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use types::{AccountId, ChatId, DeviceAddress, MailboxId, MessageId, Timestamp};
use wire::{ClientFrame, EnvelopeKind, Request, Send};

/// What must hold whatever the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// No ciphertext is made for a device that its account never listed.
    NothingForGhosts,
    /// Nothing is shown that its sender did not write, where and to whom it was written.
    NothingForged,
    /// Nothing is shown twice.
    Once,
    /// What one device wrote stands in its order, where no stamp was a lie.
    InOrder,
    /// Two lists of one version are found with the first message between those who hold them.
    ForksFound,
    /// What was kept from a device shows as a gap once a later message of the same sender is shown.
    DropsShow,
    /// Once the server is honest, what is written arrives.
    Heals,
    /// Engines come to rest.
    Rests,
    /// A group's chain has only what those signed who may, and is never another one than it was.
    ChainTrue,
    /// No key and no message of a group is for anybody who is not in it.
    NothingForOutsiders,
    /// The list that is held of an account is never older than it was.
    NeverOlder,
    /// Nothing is shown that a removed device or member wrote, or that was stamped, after a removal that its reader
    /// has seen.
    NothingFromRemoved,
    /// A primary lists true devices only, and a new device becomes one of its person's account.
    LinksTrue,
    /// Both sides of a link show the same digits if they are the two sides of one link, and else others.
    DigitsTell,
    /// Private keys stay on the device that made them.
    KeysStay,
}

impl Property {
    /// Every property.
    pub const ALL: [Self; 15] = [
        Self::NothingForGhosts,
        Self::NothingForged,
        Self::Once,
        Self::InOrder,
        Self::ForksFound,
        Self::DropsShow,
        Self::Heals,
        Self::Rests,
        Self::ChainTrue,
        Self::NothingForOutsiders,
        Self::NeverOlder,
        Self::NothingFromRemoved,
        Self::LinksTrue,
        Self::DigitsTell,
        Self::KeysStay,
    ];
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.what)
    }
}

struct Written {
    sender: MailboxId,
    to: ChatId,
    text: String,
    order: usize,
}

/// A run of counters that a device says it misses: in which chat, of which device.
type Missing = (ChatId, DeviceAddress, u64, u64);
/// One device's view of an account's list: version and hash.
type ListView = (u64, [u8; 32]);

/// The witness.
pub struct Witness {
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// How often each property was judged.
    pub judged: BTreeMap<Property, u64>,
    /// The account whose key is in two hands: what it lists is listed.
    stolen: Option<AccountId>,
    written: BTreeMap<MessageId, Written>,
    /// For whom each message was sealed, and what its sender held for the list of each side.
    sealed: BTreeMap<MessageId, BTreeSet<MailboxId>>,
    held_views: BTreeMap<MessageId, BTreeMap<AccountId, ListView>>,
    shown: BTreeSet<(MailboxId, MessageId)>,
    gaps: BTreeMap<MailboxId, Vec<Missing>>,
    splits: BTreeSet<(MailboxId, AccountId)>,
    /// The newest version that each device held of the list that changes.
    versions: BTreeMap<MailboxId, u64>,
    groups: GroupFacts,
    formers: Formers,
    links: LinkFacts,
    rng: ChaCha20Rng,
}

impl Witness {
    /// A witness of a run in which this account's key was stolen.
    pub fn new(stolen: Option<AccountId>) -> Self {
        Self {
            violations: Vec::new(),
            judged: BTreeMap::new(),
            stolen,
            written: BTreeMap::new(),
            sealed: BTreeMap::new(),
            held_views: BTreeMap::new(),
            shown: BTreeSet::new(),
            gaps: BTreeMap::new(),
            splits: BTreeSet::new(),
            versions: BTreeMap::new(),
            groups: GroupFacts::default(),
            formers: Formers::default(),
            links: LinkFacts::default(),
            rng: ChaCha20Rng::seed_from_u64(1),
        }
    }

    /// Whether a property was found not to hold.
    pub fn has_seen_broken(&self, property: Property) -> bool {
        self.violations.iter().any(|violation| violation.property == property)
    }

    /// Judges one thing.
    pub fn judge(&mut self, property: Property, holds: bool, what: impl FnOnce() -> String) {
        *self.judged.entry(property).or_default() += 1;
        if !holds {
            self.violations.push(Violation { property, what: what() });
        }
    }

    /// Somebody wrote a message.
    pub fn wrote(&mut self, message: MessageId, sender: MailboxId, to: ChatId, text: String) {
        let order = self.written.len();
        self.written.insert(message, Written { sender, to, text, order });
    }

    /// A request left a device.
    pub fn left(&mut self, devices: &[Device], at: usize, request: &Request, office: &Office) {
        match request {
            Request::Send(send) => self.sent(&devices[at], send, office),
            Request::SendGroup(send) => self.sends(devices, at, send),
            Request::ApplyGroup { operation, .. } => self.changes(devices[at].mailbox, operation),
            _ => {}
        }
    }

    /// A device made a request, which may never leave.
    pub fn made(&mut self, devices: &[Device], at: usize, frame: &ClientFrame) {
        let request = &frame.request;
        match request {
            Request::Send(send) => {
                self.gives_key(&devices[at], send);
                self.encrypts(&devices[at], request);
            }
            Request::SendGroup(_) => self.encrypts(&devices[at], request),
            Request::InviteLink { .. } | Request::CompleteLink { .. } | Request::PutDeviceList(_) => {
                self.manages_devices(devices, at, request, &frame.encode());
            }
            _ => {}
        }
    }

    /// Looks at what a device holds for the list of an account that changes.
    pub fn look_at_list(&mut self, device: &Device, account: AccountId) {
        let Some(version) = device.disk.list_version(account) else { return };
        let before = self.versions.insert(device.mailbox, version).unwrap_or(0);
        self.judge(Property::NeverOlder, before <= version, || {
            format!("{:?} went from version {before} of {account} back to {version}", device.mailbox)
        });
    }

    fn sent(&mut self, device: &Device, send: &Send, office: &Office) {
        let message = device.disk.posted(send.envelope_id).and_then(|posted| posted.message);
        for sealed in &send.sealed {
            let account = office.accounts.get(&sealed.to.account);
            let is_listed = account.is_some_and(|account| {
                account.lists.iter().any(|list| list.mailboxes().any(|one| one == sealed.to))
            });
            let is_stolen = self.stolen == Some(sealed.to.account);
            self.judge(Property::NothingForGhosts, is_listed || is_stolen, || {
                format!("{:?} sealed envelope {} for {:?}", device.mailbox, send.envelope_id, sealed.to)
            });
            if sealed.kind == EnvelopeKind::Prekey && !is_stolen {
                let (from, to) = (device.mailbox.address(), sealed.to.address());
                let is_open = forger::opens(from, to, &sealed.ciphertext, &mut self.rng);
                self.judge(Property::NothingForGhosts, !is_open, || {
                    format!("{from} sealed envelope {} for {to} with the server's keys", send.envelope_id)
                });
            }
        }
        let Some(message) = message else { return };
        self.sealed.entry(message).or_default().extend(send.sealed.iter().map(|sealed| sealed.to));
        let both = [device.mailbox.account, send.recipient];
        let views = both.into_iter().filter_map(|account| Some((account, device.disk.list_view(account)?)));
        self.held_views.insert(message, views.collect());
    }

    /// Looks at what a device has to say, as its owner does.
    pub fn look(&mut self, device: &mut Device) -> Result<(), Fault> {
        device.has_news = false;
        self.remember_known(device);
        self.follow(device);
        let events = device.engine.view().unprinted_events(10_000)?;
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let (notices, messages): (Vec<_>, Vec<_>) = events
            .into_iter()
            .map(|event| event.event)
            .partition(|event| !matches!(event, EventView::Message(_)));
        for event in notices.into_iter().chain(messages) {
            self.told(device, event);
        }
        self.remember_lists(device);
        device.engine.mark_printed(&ids)
    }

    fn told(&mut self, device: &Device, event: EventView) {
        match event {
            EventView::Message(message) => {
                let sender = DeviceAddress::new(message.sender.account, message.sender.device);
                self.shown(device, message.message_id, sender, message.chat, &message.text);
                if let (ChatId::Group(group), Some(stamp)) = (message.chat, message.stamp) {
                    self.stamped_in_time(device, group, message.message_id, stamp);
                }
            }
            EventView::Gap { sender, first, last, chat, .. } => {
                let sender = DeviceAddress::new(sender.account, sender.device);
                self.gaps.entry(device.mailbox).or_default().push((chat, sender, first, last));
            }
            EventView::SplitView { chat: ChatId::Group(_), .. } => {
                self.groups.splits.insert(device.mailbox);
            }
            EventView::SplitView { account, .. } => {
                self.splits.insert((device.mailbox, account));
            }
            _ => {}
        }
    }

    fn shown(
        &mut self,
        device: &Device,
        message: MessageId,
        sender: DeviceAddress,
        chat: ChatId,
        text: &str,
    ) {
        let at = device.mailbox;
        let is_true = self.written.get(&message).is_some_and(|written| {
            written.sender.address() == sender
                && written.text == text
                && match written.to {
                    ChatId::Direct(to) => to == at.account || written.sender.account == at.account,
                    ChatId::Group(_) => written.to == chat,
                }
        });
        // What a stolen key has put on the list is listed, as far as anybody can know.
        let is_stolen = self.stolen == Some(sender.account) && sender.device == forger::ghost_number();
        self.judge(Property::NothingForged, is_true || is_stolen, || {
            format!("{at:?} showed {text:?} of {sender}, who never wrote that to it")
        });
        let is_first = self.shown.insert((at, message));
        self.judge(Property::Once, is_first, || format!("{at:?} showed message {message} twice"));
        self.fork_is_found(device, message);
        if let Some((writer, order)) = self.written.get(&message).map(|one| (one.sender, one.order)) {
            self.shown_of_former(device, writer, order);
        }
        if let (ChatId::Group(_), Some(written)) = (chat, self.written.get(&message)) {
            let writer = written.sender;
            self.shown_in_group(device, message, writer);
        }
    }

    fn fork_is_found(&mut self, device: &Device, message: MessageId) {
        let Some(views) = self.held_views.get(&message) else { return };
        for (account, (version, hash)) in views.clone() {
            let Some((own_version, own_hash)) = device.disk.list_view(account) else { continue };
            if own_version == version && own_hash != hash {
                let found = self.splits.contains(&(device.mailbox, account));
                self.judge(Property::ForksFound, found, || {
                    format!("{:?} showed message {message} and no fork of {account}", device.mailbox)
                });
            }
        }
    }

    /// Judges whether a message that was written when the server was honest again arrived.
    pub fn arrived(&mut self, message: MessageId, reader: &Device, now: Timestamp) -> Result<(), Fault> {
        let Some(written) = self.written.get(&message) else { return Ok(()) };
        let (sender, text) = (written.sender, written.text.clone());
        let history = reader.engine.view().history(sender.account.into(), u32::MAX >> 1, now)?;
        let is_there = history.iter().any(|line| line.message_id == message);
        self.judge(Property::Heals, is_there, || {
            format!("{:?} never saw {text:?} of {sender:?}", reader.mailbox)
        });
        Ok(())
    }
}
