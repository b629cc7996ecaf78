//! Session records as the library stores them: taken apart into states, and read as far as needed.
//!
//! The library's own loop over a peer's sessions computes up to 25,000 hash steps in each of 41 of them
//! before it refuses a message. Here the states are taken out one by one, the guard says what each would
//! cost, and the library only ever sees a record with a single state.
//!
//! ```text
//! record = { 1: state (current), 2*: state (archived, newest first) }
//! ```

use crate::guard::{FORWARD_MAX, MessageHeader};
use libsignal_protocol_syft::{SessionRecord, SignalProtocolError};
use prost::Message;
use zeroize::Zeroizing;

/// Archived states that are kept: enough for both sides to open sessions at the same time, several times
/// over, while older messages are still under way. The library keeps 40, each of which a forger can make us try.
const ARCHIVED_MAX: usize = 8;

/// The states of all sessions with one peer device, each as the library encoded it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(bytes = "vec", optional, tag = "1")]
    current: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    archived: Vec<Vec<u8>>,
}

/// What is read of one state. Field numbers are those of the library's `storage.proto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct State {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) remote_identity: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    sender_chain: Option<Chain>,
    #[prost(message, repeated, tag = "7")]
    receiver_chains: Vec<Chain>,
    #[prost(uint32, tag = "10")]
    pub(crate) remote_registration: u32,
    #[prost(bytes = "vec", tag = "13")]
    pub(crate) base_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "15")]
    pq_ratchet: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Chain {
    #[prost(bytes = "vec", tag = "1")]
    ratchet_key: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    key: Option<ChainKey>,
}

#[derive(Clone, PartialEq, Message)]
struct ChainKey {
    #[prost(uint32, tag = "1")]
    index: u32,
}

/// Field numbers are those of SPQR's `pq_ratchet.proto`.
#[derive(Clone, PartialEq, Message)]
struct PqState {
    #[prost(message, optional, tag = "2")]
    chain: Option<PqChain>,
}

#[derive(Clone, PartialEq, Message)]
struct PqChain {
    #[prost(uint64, tag = "2")]
    current_epoch: u64,
    #[prost(message, repeated, tag = "3")]
    links: Vec<PqLink>,
}

#[derive(Clone, PartialEq, Message)]
struct PqLink {
    #[prost(message, optional, tag = "2")]
    received: Option<PqDirection>,
}

#[derive(Clone, PartialEq, Message)]
struct PqDirection {
    #[prost(uint32, tag = "1")]
    counter: u32,
}

/// One state taken out of a record.
pub(crate) struct Candidate {
    /// A record with this state alone, for the library.
    pub(crate) alone: Vec<u8>,
    /// What is read of it.
    pub(crate) state: State,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Current,
    Archived(usize),
}

impl Record {
    /// Takes a stored record apart.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// The form that is stored.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.encode_to_vec())
    }

    /// The state that messages are encrypted with.
    pub(crate) fn current_state(&self) -> Option<Candidate> {
        candidate(self.current.as_ref()?, Place::Current)
    }

    /// All states, in the order in which they are tried. A damaged one is left out.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        let archived = self.archived.iter().enumerate();
        let archived = archived.filter_map(|(at, state)| candidate(state, Place::Archived(at)));
        self.current_state().into_iter().chain(archived)
    }

    /// Puts back a state that the library has advanced; it becomes the current one.
    pub(crate) fn advance(
        mut self,
        candidate: &Candidate,
        advanced: &[u8],
    ) -> Result<Self, SignalProtocolError> {
        match candidate.place {
            Place::Current => self.current = None,
            Place::Archived(at) => drop(self.archived.remove(at)),
        }
        self.add(advanced)
    }

    /// Puts a new state into the current place; the one that stood there is archived.
    pub(crate) fn add(mut self, single: &[u8]) -> Result<Self, SignalProtocolError> {
        if let Some(state) = self.current.take() {
            self.archived.insert(0, archive(state)?);
            self.archived.truncate(ARCHIVED_MAX);
        }
        let state = Self::read(single).and_then(|record| record.current);
        self.current = Some(state.ok_or(SignalProtocolError::InvalidProtobufEncoding)?);
        Ok(self)
    }
}

impl Candidate {
    /// True if the state has received under this ratchet key before.
    pub(crate) fn knows(&self, ratchet_key: &[u8]) -> bool {
        self.state.chain(ratchet_key).is_some()
    }
}

impl State {
    fn chain(&self, ratchet_key: &[u8]) -> Option<&Chain> {
        self.receiver_chains.iter().find(|chain| chain.ratchet_key == ratchet_key)
    }

    /// Opened with PQXDH (version 4), and on the post-quantum ratchet.
    pub(crate) fn is_post_quantum(&self) -> bool {
        self.version == 4 && !self.pq_ratchet.is_empty()
    }

    /// Messages encrypted since the other side last answered.
    pub(crate) fn unanswered(&self) -> u32 {
        self.sender_chain.as_ref().and_then(|chain| chain.key.as_ref()).map_or(0, |key| key.index)
    }

    /// How many hash steps the library will compute before it can check the MAC: on the ratchet, and on the
    /// post-quantum ratchet. `None` if either is more than [`FORWARD_MAX`].
    pub(crate) fn steps(&self, header: &MessageHeader) -> Option<u32> {
        let received =
            self.chain(&header.ratchet_key).and_then(|chain| chain.key.as_ref()).map_or(0, |key| key.index);
        let ratchet = header.counter.saturating_sub(received);
        let pq = header.pq.index.saturating_sub(self.pq_received(header.pq.epoch - 1)?);
        (ratchet <= FORWARD_MAX && pq <= FORWARD_MAX).then(|| ratchet + pq)
    }

    /// The last position received in an epoch's chain: 0 for an epoch that is still to come. `None` if the
    /// state cannot be read.
    fn pq_received(&self, key_epoch: u64) -> Option<u32> {
        let Some(chain) = PqState::decode(self.pq_ratchet.as_slice()).ok()?.chain else { return Some(0) };
        let back = chain.current_epoch.checked_sub(key_epoch);
        let at = back.and_then(|back| chain.links.len().checked_sub(usize::try_from(back).ok()? + 1));
        let received = at.and_then(|at| chain.links.get(at)).and_then(|link| link.received.as_ref());
        Some(received.map_or(0, |direction| direction.counter))
    }
}

fn candidate(state: &[u8], place: Place) -> Option<Candidate> {
    let alone = Record { current: Some(state.to_vec()), archived: Vec::new() }.encode_to_vec();
    Some(Candidate { alone, state: State::decode(state).ok()?, place })
}

/// As the library archives: what belongs to an unanswered opening is dropped.
fn archive(state: Vec<u8>) -> Result<Vec<u8>, SignalProtocolError> {
    let single = Record { current: Some(state), archived: Vec::new() }.encode_to_vec();
    let mut record = SessionRecord::deserialize(&single)?;
    record.archive_current_state()?;
    let archived = Record::read(&record.serialize()?).and_then(|record| record.archived.into_iter().next());
    archived.ok_or(SignalProtocolError::InvalidProtobufEncoding)
}

#[derive(Clone, PartialEq, Message)]
struct SenderKeyRecord {
    #[prost(message, repeated, tag = "1")]
    states: Vec<SenderKeyState>,
}

#[derive(Clone, PartialEq, Message)]
struct SenderKeyState {
    #[prost(uint32, tag = "1")]
    chain: u32,
    #[prost(message, optional, tag = "2")]
    key: Option<ChainKey>,
}

/// How far a sender key's chain was received; `None` if the record does not know the chain.
pub(crate) fn sender_key_received(record: &[u8], chain: u32) -> Option<u32> {
    let states = SenderKeyRecord::decode(record).ok()?.states;
    let state = states.into_iter().find(|state| state.chain == chain)?;
    Some(state.key.map_or(0, |key| key.index))
}
