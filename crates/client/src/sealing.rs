//! Sealing: the one place where a ratchet steps forward to send. The step, the ciphertext and the row that
//! will carry it are written together, and never twice for one envelope id.

use crate::{
    Fault,
    device_lists::view_of,
    store::{
        Stored, contacts, device_lists, encryption, outbox,
        outbox::{Audience, LaneClass, OutboxRow},
        sent,
        sent::SentRow,
    },
    turn::Turn,
};
use seal::{Body, Content, InnerContent, Peer, SealError, SealKind, Sealed, SentTranscript};
use signed::DeviceList;
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, MessageId};
use wire::{Code, EnvelopeKind, SealedFor};

/// What came of sealing a row.
pub(crate) enum Sealing {
    /// It has its ciphertexts.
    Done,
    /// First lists, or keys for new sessions, must be fetched.
    NeedsKeys {
        /// Of these accounts.
        accounts: Vec<AccountId>,
        /// The session with this device broke, so its bundle must come without one-time keys.
        reset: Option<DeviceAddress>,
    },
    /// There is nobody to seal it for.
    Nobody,
    /// It can never be sent.
    Refused(Code),
    /// It can never be sent, for a reason of our own.
    Ended(&'static str),
    /// It waits for something that is on its way, and is looked at then.
    Waits,
    /// It is tried again after a while.
    Later,
}

impl Sealing {
    fn needs_session(peer: &Peer) -> Self {
        Self::NeedsKeys { accounts: vec![peer.address().account], reset: None }
    }

    fn needs_renewal(peer: &Peer) -> Self {
        Self::NeedsKeys { accounts: vec![peer.address().account], reset: Some(peer.address()) }
    }
}

/// What the devices of one send get.
struct Contents {
    /// What was written.
    content: Content,
    /// The same, for our own other devices.
    transcript: Option<Content>,
    /// Says nothing: for devices that are named because all are, and that it is not for.
    cover: Content,
    own_cover: Content,
}

impl Contents {
    fn cover_for(&self, account: AccountId) -> &Content {
        if self.own_cover.recipient == Some(account) { &self.own_cover } else { &self.cover }
    }
}

impl Turn<'_> {
    /// Encrypts the head of a lane to every listed device of its recipient, and what people write to our own
    /// other devices too, if all of them can be reached.
    pub(crate) fn seal(&mut self, row: &OutboxRow) -> Stored<Sealing> {
        let recipient = match row.lane.chat {
            ChatId::Direct(recipient) => recipient,
            ChatId::Group(group) => return self.seal_for_group(row, group),
        };
        if let Some(hindrance) = self.hindrance(row, recipient)? {
            return Ok(hindrance);
        }
        let me = self.me.account();
        // What history shows is not silent, so it names our own devices, too.
        let names_own = row.message.is_some() && recipient != me;
        let accounts = if names_own { vec![recipient, me] } else { vec![recipient] };
        let mut unknown = Vec::new();
        for account in &accounts {
            if self.list(*account)?.is_none() || device_lists::is_stale(self.db, *account)? {
                unknown.push(*account);
            }
        }
        if !unknown.is_empty() {
            return Ok(Sealing::NeedsKeys { accounts: unknown, reset: None });
        }
        let peers = self.peers(&accounts)?;
        if peers.is_empty() {
            return Ok(Sealing::Nobody);
        }
        if let Some(missing) = self.missing_session(&peers)? {
            return Ok(missing);
        }
        // It is sealed in the turn in which it leaves: whoever is removed before that gets nothing of it.
        if self.is_blocked(row.lane) {
            return Ok(Sealing::Waits);
        }
        let contents = match self.contents(row, recipient)? {
            Ok(contents) => contents,
            Err(code) => return Ok(Sealing::Refused(code)),
        };
        self.seal_to(row, &peers, &contents)
    }

    /// The listed devices of these accounts, without this one.
    pub(crate) fn peers(&mut self, accounts: &[AccountId]) -> Stored<Vec<Peer>> {
        let mut peers = Vec::new();
        for account in accounts {
            if let Some(list) = self.list(*account)? {
                peers.extend(peers_of(&list));
            }
            self.add_removed(*account, &mut peers);
        }
        peers.retain(|peer| peer.address() != self.me.address);
        Ok(peers)
    }

    /// Whether a session must be opened before all these devices can be written to.
    pub(crate) fn missing_session(&self, peers: &[Peer]) -> Stored<Option<Sealing>> {
        let mut accounts: Vec<AccountId> = Vec::new();
        for peer in peers {
            if encryption::is_renewal_wanted(self.db, peer.address())? {
                return Ok(Some(Sealing::needs_renewal(peer)));
            }
            let needed = seal::session_needed(&self.encryption(), peer, self.now).map_err(store_failed)?;
            let account = peer.address().account;
            if needed.is_some() && !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        Ok((!accounts.is_empty()).then_some(Sealing::NeedsKeys { accounts, reset: None }))
    }

    /// The row's content with the views of both lists, and our number until the other side has answered; what our
    /// own other devices get of it; and what those get that it is not for.
    fn contents(&mut self, row: &OutboxRow, recipient: AccountId) -> Stored<Result<Contents, Code>> {
        let me = self.me.account();
        let own_list = self.list(me)?.as_deref().map(view_of);
        let recipient_list = self.list(recipient)?.as_deref().map(view_of);
        let content = Content::decode(&row.content).map_err(|_| Fault::Damaged)?;
        let introduced = recipient == me || contacts::is_heard(self.db, recipient)?;
        let sender_phone = (!introduced).then(|| self.me.phone.clone());
        let content = Content { own_list, recipient_list, sender_phone, ..content };
        let mut cover = |account: AccountId, view| {
            let id = MessageId::new(self.now, self.rng);
            let cover = self.content(account.into(), id, Body::SessionReset);
            Content { own_list, recipient_list: view, ..cover }
        };
        let (cover, own_cover) = (cover(recipient, recipient_list), cover(me, own_list));
        let mut transcript = None;
        if row.lane.class == LaneClass::Messages && recipient != me {
            let Ok(inner) = InnerContent::new(content.clone()) else { return Ok(Err(Code::TooLarge)) };
            let id = MessageId::new(self.now, self.rng);
            let body = match self.live.planted.bugs.skip_transcripts {
                true => Body::SessionReset,
                false => Body::SentTranscript(SentTranscript { content: inner }),
            };
            let outer = self.content(me.into(), id, body);
            transcript = Some(Content { own_list, recipient_list: own_list, ..outer });
        }
        Ok(Ok(Contents { content, transcript, cover, own_cover }))
    }

    /// What a device gets of a send; none if nothing of it is for that device.
    fn content_for<'a>(
        &self,
        row: &OutboxRow,
        peer: &Peer,
        contents: &'a Contents,
    ) -> Stored<Option<&'a Content>> {
        let account = peer.address().account;
        if account == self.me.account() && row.lane.chat != account.into() {
            return Ok(contents.transcript.as_ref());
        }
        Ok(self.is_for(row, peer)?.then_some(&contents.content))
    }

    /// Whether what a row carries is for this device.
    fn is_for(&self, row: &OutboxRow, peer: &Peer) -> Stored<bool> {
        match row.audience {
            Audience::All => Ok(true),
            Audience::Device(device) => Ok(peer.address().device == device),
            Audience::ReadersOf(envelope) => {
                self.was_sealed_to(peer, &sent::envelopes_like(self.db, envelope)?)
            }
        }
    }

    fn seal_to(&mut self, row: &OutboxRow, peers: &[Peer], contents: &Contents) -> Stored<Sealing> {
        let envelope = EnvelopeId::random(self.rng);
        let mut sealed = Vec::with_capacity(peers.len());
        let mut readers = Vec::with_capacity(peers.len());
        let before = self.ratchets_before(peers);
        for peer in peers {
            let content = self.content_for(row, peer, contents)?;
            if content.is_some() {
                readers.push(peer);
            }
            let cover = contents.cover_for(peer.address().account);
            match seal::encrypt(&mut self.encryption(), peer, content.unwrap_or(cover), self.now, self.rng) {
                Ok(one) => sealed.push(self.sealed_for(peer, one)?),
                Err(SealError::SessionNeeded(_)) => return Ok(Sealing::needs_session(peer)),
                Err(SealError::Library(_) | SealError::NoSenderKey) => {
                    // The state of this session is of no use to the library: a new one heals it.
                    encryption::want_renewal(self.db, peer.address(), self.server_now())?;
                    return Ok(Sealing::needs_renewal(peer));
                }
                Err(SealError::Content(_)) => return Ok(Sealing::Refused(Code::TooLarge)),
                Err(SealError::WrongAddress) => {
                    return Err(Fault::Bug("a content of ours has a wrong address"));
                }
                Err(SealError::Store(error)) => return Err(store_failed(error)),
            }
        }
        self.keep_ratchets_back(before)?;
        outbox::set_sealed(self.db, row.id, envelope, &sealed)?;
        let sent = SentRow {
            chat: row.lane.chat,
            message: row.message,
            content: row.message.is_none().then(|| row.content.clone()),
            stamp: None,
            at: self.server_now(),
            resends: 0,
        };
        sent::insert(self.db, envelope, &sent, &readers)?;
        self.parcel_sealed(row.id, &readers)?;
        Ok(Sealing::Done)
    }

    fn sealed_for(&self, peer: &Peer, sealed: Sealed) -> Stored<SealedFor> {
        if sealed.renew {
            encryption::want_renewal(self.db, peer.address(), self.server_now())?;
        }
        let kind = match sealed.kind {
            SealKind::Prekey => EnvelopeKind::Prekey,
            SealKind::Ratchet => EnvelopeKind::Ratchet,
            SealKind::SenderKey => EnvelopeKind::SenderKey,
        };
        let to = peer.address().mailbox(peer.registration());
        Ok(SealedFor { to, kind, ciphertext: sealed.ciphertext.into() })
    }
}

/// The devices of a list, as those that something can be encrypted to.
pub(crate) fn peers_of(list: &DeviceList) -> Vec<Peer> {
    list.devices().iter().filter_map(|device| Peer::on_list(list, device.number())).collect()
}

/// A failure of the database under `seal`: the whole turn fails.
pub(crate) fn store_failed(error: seal::StoreError) -> Fault {
    use std::error::Error as _;
    match error.source().and_then(|cause| cause.downcast_ref::<rusqlite::Error>()) {
        Some(cause) => Fault::from_stored(cause),
        None => Fault::Bug("the encryption state could not be stored"),
    }
}
