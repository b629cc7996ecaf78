//! Sealing: the one place where a ratchet steps forward to send. The step, the ciphertext and the row that
//! will carry it are written together, and never twice for one envelope id.

use crate::{
    Fault,
    device_lists::view_of,
    store::{Stored, contacts, device_lists, encryption, outbox, outbox::OutboxRow, sent, sent::SentRow},
    turn::Turn,
};
use seal::{Content, Peer, SealError, SealKind, Sealed};
use signed::DeviceList;
use types::{AccountId, ChatId, DeviceNumber, EnvelopeId};
use wire::{Code, EnvelopeKind, SealedFor};

/// What came of sealing a row.
pub(crate) enum Sealing {
    /// It has its ciphertexts.
    Done,
    /// First the recipient's list, or keys for a new session, must be fetched.
    NeedsKeys {
        /// The session with this device broke, so the bundle must come without one-time keys.
        reset: Option<DeviceNumber>,
    },
    /// It can never be sent.
    Refused(Code),
    /// It can never be sent, for a reason of our own.
    Ended(&'static str),
    /// It waits for something that is on its way, and is looked at then.
    Waits,
    /// It is tried again after a while.
    Later,
}

impl Turn<'_> {
    /// Encrypts the head of a lane to every listed device of its recipient, if all of them can be reached.
    pub(crate) fn seal(&mut self, row: &OutboxRow) -> Stored<Sealing> {
        let recipient = match row.lane.chat {
            ChatId::Direct(recipient) => recipient,
            ChatId::Group(group) => return self.seal_for_group(row, group),
        };
        if contacts::is_closed(self.db, recipient)? {
            return Ok(Sealing::Refused(Code::AccountClosed));
        }
        let list = self.list(recipient)?;
        let Some(list) = list.filter(|list| !list.devices().is_empty()) else {
            return Ok(Sealing::NeedsKeys { reset: None });
        };
        if device_lists::is_stale(self.db, recipient)? {
            return Ok(Sealing::NeedsKeys { reset: None });
        }
        let peers = peers_of(&list);
        if let Some(missing) = self.missing_session(&peers)? {
            return Ok(missing);
        }
        let content = self.finished_content(row, recipient, &list)?;
        self.seal_to(row, &peers, &content)
    }

    /// Whether a session must be opened before all these devices can be written to.
    fn missing_session(&self, peers: &[Peer]) -> Stored<Option<Sealing>> {
        for peer in peers {
            if encryption::is_renewal_wanted(self.db, peer.address())? {
                return Ok(Some(Sealing::NeedsKeys { reset: Some(peer.address().device) }));
            }
            let needed = seal::session_needed(&self.encryption(), peer, self.now).map_err(store_failed)?;
            if needed.is_some() {
                return Ok(Some(Sealing::NeedsKeys { reset: None }));
            }
        }
        Ok(None)
    }

    /// The row's content with the views of both lists, and our number until the other side has answered.
    fn finished_content(
        &mut self,
        row: &OutboxRow,
        recipient: AccountId,
        list: &DeviceList,
    ) -> Stored<Content> {
        let own = self.list(self.me.account())?;
        let content = Content::decode(&row.content).map_err(|_| Fault::Damaged)?;
        let introduced = contacts::is_heard(self.db, recipient)?;
        Ok(Content {
            own_list: own.as_deref().map(view_of),
            recipient_list: Some(view_of(list)),
            sender_phone: (!introduced).then(|| self.me.phone.clone()),
            ..content
        })
    }

    fn seal_to(&mut self, row: &OutboxRow, peers: &[Peer], content: &Content) -> Stored<Sealing> {
        let envelope = EnvelopeId::random(self.rng);
        let mut sealed = Vec::with_capacity(peers.len());
        let before = self.ratchets_before(peers);
        for peer in peers {
            match seal::encrypt(&mut self.encryption(), peer, content, self.now, self.rng) {
                Ok(one) => sealed.push(self.sealed_for(peer, one)?),
                Err(SealError::SessionNeeded(_)) => return Ok(Sealing::NeedsKeys { reset: None }),
                Err(SealError::Library(_) | SealError::NoSenderKey) => {
                    // The state of this session is of no use to the library: a new one heals it.
                    encryption::want_renewal(self.db, peer.address(), self.server_now())?;
                    return Ok(Sealing::NeedsKeys { reset: Some(peer.address().device) });
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
        sent::insert(self.db, envelope, &sent, peers)?;
        self.parcel_sealed(row.id, peers)?;
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
