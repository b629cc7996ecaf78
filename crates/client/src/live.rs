//! What the engine remembers only as long as it runs: the connection, requests without an answer, and when
//! to look at something again. Everything here can be lost at any time without losing or doubling a message.

use crate::{
    bugs::Planted,
    groups::{Asking, LiveGroups},
    linking::{Linking, LinkingAsked},
    store::{
        events::Batch,
        outbox::{Lane, LaneClass, OutboxId},
        profile::ClockRecord,
    },
};
use seal::ListView;
use seal::guard::FailureLimiter;
use signed::DeviceList;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use types::{
    AccountId, ChatId, IncarnationId, PhoneNumber, Position, Timestamp, limits::REQUESTS_UNANSWERED_MAX,
};
use wire::Request;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    Offline,
    /// Its number is stored; the socket is not open yet.
    Dialled { number: u64 },
    /// The socket is open; the server's hello is awaited.
    Greeting { number: u64 },
    /// Our proof is with the server.
    Authenticating { incarnation: IncarnationId },
    /// Requests may be made.
    Open,
}

/// A request that was made, and what its answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Authenticate,
    Send {
        row: OutboxId,
        lane: Lane,
    },
    Ack,
    Keys(Vec<AccountId>),
    Lists(Vec<AccountId>),
    PutList,
    UploadKeys {
        signed: Option<u32>,
        last_resort: Option<u32>,
    },
    KeyCount,
    LookUp(Vec<PhoneNumber>),
    CheckClaim {
        account: AccountId,
        phone: PhoneNumber,
    },
    /// Where a number leads whose account was closed.
    Successor {
        account: AccountId,
        phone: PhoneNumber,
    },
    Linking(LinkingAsked),
    Group(Asking),
}

pub(crate) struct Live {
    /// Faults that a test planted, and what they remember.
    pub(crate) planted: Planted,
    pub(crate) phase: Phase,
    pub(crate) last_request: u64,
    pub(crate) asked: BTreeMap<u64, Asked>,
    /// Requests besides sends that are made once others were answered, in order.
    pub(crate) held_back: VecDeque<(Request, Asked)>,
    /// The server has delivered everything that was in the mailbox.
    pub(crate) drained: bool,
    /// And nothing of it waits for an answer any more: the end of the drain was told.
    pub(crate) drain_told: bool,
    /// Where events are logged now.
    pub(crate) batch: Batch,
    /// Lanes whose head may be able to leave.
    pub(crate) ready: BTreeSet<Lane>,
    /// Lanes whose head is unanswered.
    pub(crate) flying: BTreeSet<Lane>,
    /// Lanes whose head must not leave before a time.
    pub(crate) postponed: BTreeMap<Lane, Timestamp>,
    /// The server wants fewer sends of this class until a time.
    pub(crate) paused: BTreeMap<LaneClass, Timestamp>,
    /// Accounts whose keys came in this turn: what needs them again at once must wait.
    pub(crate) just_fetched: BTreeSet<AccountId>,
    /// Verified lists, so that their signatures are not checked again for every message.
    pub(crate) lists: BTreeMap<AccountId, Arc<DeviceList>>,
    /// Versions of our own list that others named and that we do not know: looked at when it was fetched.
    pub(crate) own_views: Vec<(ChatId, ListView)>,
    /// Positions that are committed here and not acknowledged yet.
    pub(crate) acks: Vec<Position>,
    /// Accounts whose lists have to be fetched.
    pub(crate) lists_wanted: BTreeSet<AccountId>,
    /// Numbers that a command wants to know.
    pub(crate) lookups: BTreeSet<PhoneNumber>,
    /// Whether contacts have claimed numbers that were not checked.
    pub(crate) has_claims: bool,
    /// When the receipts that are due leave.
    pub(crate) receipts_at: Option<Timestamp>,
    /// When more of our messages are marked as read.
    pub(crate) reads_at: Option<Timestamp>,
    /// Whether our other devices were not told yet what became known of contacts.
    pub(crate) has_untold: bool,
    /// When gaps have to be looked at.
    pub(crate) gaps_at: Option<Timestamp>,
    /// When the pool of one-time keys is refilled, and what the server has left of it.
    pub(crate) refill_at: Option<Timestamp>,
    pub(crate) keys_left: wire::KeyCounts,
    /// When keys and records have to be looked at for their age.
    pub(crate) upkeep_at: Option<Timestamp>,
    /// When what is held of an account is tried again.
    pub(crate) retry_at: BTreeMap<AccountId, Timestamp>,
    /// The life of the server's data that this connection is with.
    pub(crate) incarnation: Option<IncarnationId>,
    /// The server was restored: list and keys are uploaded before anything else.
    pub(crate) restored: Option<IncarnationId>,
    pub(crate) put_list: bool,
    pub(crate) upload_keys: bool,
    pub(crate) limiter: FailureLimiter,
    pub(crate) clock: ClockRecord,
    /// Devices that are added and removed, and what they are given.
    pub(crate) linking: Linking,
    /// What is remembered of groups.
    pub(crate) groups: LiveGroups,
}

impl Live {
    pub(crate) fn new(clock: ClockRecord, lanes: Vec<Lane>, batch: Batch, linking: Linking) -> Self {
        Self {
            planted: Planted::default(),
            phase: Phase::Offline,
            last_request: 0,
            asked: BTreeMap::new(),
            held_back: VecDeque::new(),
            drained: false,
            drain_told: false,
            batch,
            ready: lanes.into_iter().collect(),
            flying: BTreeSet::new(),
            postponed: BTreeMap::new(),
            paused: BTreeMap::new(),
            just_fetched: BTreeSet::new(),
            lists: BTreeMap::new(),
            own_views: Vec::new(),
            acks: Vec::new(),
            lists_wanted: BTreeSet::new(),
            lookups: BTreeSet::new(),
            has_claims: true,
            receipts_at: None,
            // What an earlier process left undone.
            reads_at: Some(Timestamp::from_millis(0)),
            has_untold: true,
            gaps_at: None,
            refill_at: None,
            keys_left: wire::KeyCounts::default(),
            upkeep_at: None,
            retry_at: BTreeMap::new(),
            incarnation: None,
            restored: None,
            put_list: false,
            upload_keys: false,
            limiter: FailureLimiter::default(),
            clock,
            linking,
            groups: LiveGroups::default(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether an open session is still fetching what was in the mailbox when it began, or what that needs.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_open() && !self.drain_told
    }

    /// Whether a request of this kind has no answer yet.
    pub(crate) fn is_asked(&self, matches: impl Fn(&Asked) -> bool) -> bool {
        self.asked.values().chain(self.held_back.iter().map(|(_, asked)| asked)).any(matches)
    }

    /// Whether the server takes no other request than a send before it has answered one.
    pub(crate) fn is_request_window_full(&self) -> bool {
        let others = self.asked.values().filter(|asked| !matches!(asked, Asked::Send { .. }));
        others.count() >= REQUESTS_UNANSWERED_MAX
    }

    /// Forgets a connection. What was asked on it has an unknown outcome.
    pub(crate) fn disconnect(&mut self) {
        self.phase = Phase::Offline;
        let held_back = std::mem::take(&mut self.held_back).into_iter().map(|(_, asked)| asked);
        for asked in std::mem::take(&mut self.asked).into_values().chain(held_back) {
            match asked {
                Asked::Send { lane, .. } => {
                    self.ready.insert(lane);
                }
                Asked::LookUp(phones) => self.lookups.extend(phones),
                Asked::Lists(accounts) => self.lists_wanted.extend(accounts),
                Asked::Group(asking) => self.groups.lost(&asking),
                _ => {}
            }
        }
        self.flying.clear();
        self.paused.clear();
        self.groups.disconnect();
        // What was delivered and not acknowledged comes again, and is dropped then.
        self.acks.clear();
        self.drained = false;
        self.drain_told = false;
    }
}
