//! Handing a linked device what it has missed, on the primary.
//!
//! ```text
//! list accepted -> drained -> archive cut -> each part sealed, stored, uploaded -> parts named in a message -> done
//! ```
//! The archive is cut after the list was accepted and the mailbox was drained, and whatever was sealed to an older list
//! and comes later is forwarded. So everything that was ever accepted is in the archive, forwarded, or was sealed to the
//! new device by its sender. Every step is on disk before the next one begins; what was uploaded is not uploaded again.

use crate::{
    AddDeviceError, AddingDevice, Effect, Fault,
    archive::{export, records::Beginning},
    linking::LinkingAsked,
    send::encoded,
    store::{
        Stored, chats, handovers,
        handovers::{Handover, SealedPart},
        messages,
        messages::MessageSeq,
        outbox,
        outbox::{Audience, Lane, LaneClass, OutboxId},
        sent,
    },
    transfers::Transfer,
    turn::Turn,
};
use bytes::Bytes;
use seal::{
    ARCHIVE_PARTS_MAX, ArchiveId, ArchiveKey, Body, Content, Forward, GroupView, HistoryArchive,
    InnerContent, SentTranscript, Text, archive::PartSealer,
};
use types::{BlobId, DeviceNumber, EnvelopeId, GroupId, MessageId, Millis, Stamp, limits::ENVELOPE_LIFE};
use wire::{BlobTicket, Request};

/// What was sealed to an older list is forwarded if it was accepted within this time after the new one: a sender whose
/// send was on its way meanwhile, at a node that had not heard of the list.
const FORWARDED_WITHIN: Millis = Millis::from_mins(10);
/// A group message names no list of ours: what was accepted up to this long after the list may have missed the device.
const GROUPS_FORWARDED_WITHIN: Millis = Millis::from_secs(10);

impl Turn<'_> {
    /// Goes on with the hand-over of the device that was linked first.
    pub(crate) fn advance_handover(&mut self) -> Stored<()> {
        while self.live.linking.is_handing_over && !self.live.is_draining() && self.may_transfer() {
            let Some(handover) = handovers::unfinished(self.db)? else {
                self.live.linking.is_handing_over = false;
                break;
            };
            if !self.hand_over(&handover)? {
                break;
            }
        }
        Ok(())
    }

    /// One step; false if it has to be waited for.
    fn hand_over(&mut self, handover: &Handover) -> Stored<bool> {
        let Some(archive) = &handover.archive else {
            self.cut(handover)?;
            return Ok(true);
        };
        if let Some(part) = handovers::to_upload(self.db, handover.device)? {
            let size = u32::try_from(part.sealed.len()).map_err(|_| Fault::Bug("a part is too large"))?;
            let asked = LinkingAsked::CreateBlob { device: handover.device, part: part.part };
            self.ask_for_ticket(Request::CreateBlob { size, sha256: part.digest }, asked);
            return Ok(false);
        }
        if let Some(before) = handover.messages_before {
            self.next_part(handover.device, archive, before)?;
            return Ok(true);
        }
        match handover.announced {
            None => self.announce(handover, archive)?,
            Some(row) if outbox::get(self.db, row)?.is_some() => return Ok(false),
            Some(_) => {
                handovers::finish(self.db, handover.device)?;
                self.effect(Effect::AddingDevice(AddingDevice::Done { device: handover.device }));
            }
        }
        Ok(true)
    }

    /// Writes what has to agree with itself, and marks where the messages end.
    fn cut(&mut self, handover: &Handover) -> Stored<()> {
        let archive = (ArchiveId::random(self.rng), ArchiveKey::random(self.rng));
        let newest = export::newest(self.db)?;
        let total = if handover.with_messages { export::count(self.db, newest)? } else { 0 };
        let beginning = Beginning {
            account: self.me.account(),
            cut_at: self.server_now(),
            with_messages: handover.with_messages,
        };
        let state = export::state(self.db, self.me.address, beginning, None)?;
        let messages = (total > 0).then_some(newest);
        let last = state.len() - 1;
        for (index, part) in state.iter().enumerate() {
            self.seal_part(handover.device, &archive, part, 0, messages.is_none() && index == last)?;
        }
        handovers::set_cut(self.db, handover.device, &archive, messages, total)
    }

    fn next_part(
        &mut self,
        device: DeviceNumber,
        archive: &(ArchiveId, ArchiveKey),
        before: export::Before,
    ) -> Stored<()> {
        let messages = export::messages(self.db, self.me.account(), before)?;
        // Messages beyond a gigabyte stay where they are; the newest were written first.
        let is_full = handovers::parts_sealed(self.db, device)? as usize + 1 >= ARCHIVE_PARTS_MAX;
        let rest = messages.rest.filter(|_| !is_full);
        self.seal_part(device, archive, &messages.part, messages.count, rest.is_none())?;
        handovers::set_messages_before(self.db, device, rest)
    }

    fn seal_part(
        &mut self,
        device: DeviceNumber,
        (archive, key): &(ArchiveId, ArchiveKey),
        plaintext: &[u8],
        messages: u64,
        is_last: bool,
    ) -> Stored<()> {
        let part = handovers::parts_sealed(self.db, device)?;
        let mut sealer = PartSealer::resume(key.clone(), *archive, part);
        let sealed = sealer
            .seal(plaintext, is_last, self.rng)
            .map_err(|_| Fault::Bug("a part of an archive is too large"))?;
        let digest = seal::archive::digest(&sealed);
        handovers::insert_part(self.db, device, &SealedPart { part, sealed, digest }, messages)
    }

    /// Where the part goes.
    pub(crate) fn upload_ticket_came(
        &mut self,
        device: DeviceNumber,
        part: u32,
        ticket: BlobTicket,
    ) -> Stored<()> {
        let Some(sealed) = handovers::to_upload(self.db, device)?.filter(|sealed| sealed.part == part) else {
            return Ok(());
        };
        let transfer = Transfer::Upload { device, part, blob: ticket.blob };
        self.begin_transfer(transfer, ticket.url, Some(Bytes::from(sealed.sealed)));
        Ok(())
    }

    pub(crate) fn part_uploaded(&mut self, device: DeviceNumber, part: u32, blob: BlobId) -> Stored<()> {
        if let Some((done, total)) = handovers::set_uploaded(self.db, device, part, blob)? {
            self.effect(Effect::AddingDevice(AddingDevice::HandingOver { done, total }));
        }
        Ok(())
    }

    /// Tells the device where its archive lies, and what opens it.
    fn announce(&mut self, handover: &Handover, (archive, key): &(ArchiveId, ArchiveKey)) -> Stored<()> {
        let history = HistoryArchive {
            archive: *archive,
            key: key.clone(),
            parts: handovers::parts(self.db, handover.device)?,
            with_messages: handover.with_messages,
        };
        let content = self.own_content(Body::HistoryArchive(history));
        let row = self.hand(&content, Audience::Device(handover.device))?;
        handovers::set_announced(self.db, handover.device, row)
    }

    /// The transfers of this connection have failed; the next one goes on.
    pub(crate) fn handover_interrupted(&mut self) {
        if self.live.linking.is_handing_over {
            let failed = AddingDevice::Failed(AddDeviceError::Interrupted);
            self.effect(Effect::AddingDevice(failed));
        }
    }

    /// Queues something for one other device of our account, or all; gives its row.
    fn hand(&mut self, content: &Content, audience: Audience) -> Stored<OutboxId> {
        let lane = Lane { chat: self.me.account().into(), class: LaneClass::Silent };
        chats::ensure(self.db, self.me.account(), lane.chat)?;
        let row = outbox::push_for(self.db, lane, None, &encoded(content)?, audience)?;
        self.live.ready.insert(lane);
        Ok(row)
    }

    // ---- what was sealed to older lists

    /// Forwards a content whose sender did not know of a device that was linked since.
    pub(crate) fn forward(&mut self, content: &Content, stamp: Stamp) -> Stored<()> {
        if !self.has_missed_a_device(content, stamp) || !is_forwarded(&content.body) {
            return Ok(());
        }
        let Ok(content) = InnerContent::new(content.clone()) else { return Ok(()) };
        let forward = self.own_content(Body::Forward(Forward { stamp, content }));
        self.hand(&forward, Audience::All)?;
        Ok(())
    }

    /// A message of ours was accepted, perhaps by a try of which nothing was heard: a device of ours that it was not
    /// sealed to, because it was linked since, is told of it now.
    pub(crate) fn make_up_for(&mut self, message: MessageSeq, envelope: EnvelopeId) -> Stored<()> {
        for peer in self.peers(&[self.me.account()])? {
            if !sent::was_sealed_to(self.db, envelope, &peer)? {
                let own = messages::own_by_seq(self.db, message)?;
                let Some(stamp) = own.stamp else { return Ok(()) };
                let text = Body::Text(Text::from(own.text.as_str()));
                let (counter, sent_at) = (own.counter, own.sent_at);
                let written = Content { counter, sent_at, ..self.content(own.chat, own.id, text) };
                let Ok(content) = InnerContent::new(written) else { return Ok(()) };
                let transcript = self.own_content(Body::SentTranscript(SentTranscript { content }));
                let transcript = Content { original_stamp: Some(stamp), ..transcript };
                self.hand(&transcript, Audience::Device(peer.address().device))?;
            }
        }
        Ok(())
    }

    /// The same for a message to a group, which the server gives to the devices that were listed when it was accepted.
    pub(crate) fn make_up_in_group(&mut self, message: MessageSeq, group: GroupId) -> Stored<()> {
        if self.live.linking.window.is_none() {
            return Ok(());
        }
        let own = messages::own_by_seq(self.db, message)?;
        let (Some(state), Some(stamp)) = (self.group(group)?, own.stamp) else { return Ok(()) };
        let text = Body::Text(Text::from(own.text.as_str()));
        let content = Content {
            counter: own.counter,
            sent_at: own.sent_at,
            group: Some(GroupView { epoch: state.epoch(), head: state.head() }),
            ..self.content(own.chat, own.id, text)
        };
        self.forward(&content, stamp)
    }

    fn own_content(&mut self, body: Body) -> Content {
        let id = MessageId::new(self.now, self.rng);
        self.content(self.me.account().into(), id, body)
    }

    fn has_missed_a_device(&self, content: &Content, stamp: Stamp) -> bool {
        let window = self.live.linking.window.filter(|_| !self.live.planted.bugs.skip_forwards);
        let Some(window) = window else { return false };
        let after = |time: Millis| stamp.time() <= window.accepted_at + time;
        // Sent again, and only to those who could have read it at first: the archive was cut before it was here.
        if content.original_stamp.is_some_and(|original| original.time() <= window.accepted_at) {
            return true;
        }
        match content.recipient_list {
            Some(view) => view.version < window.version && after(FORWARDED_WITHIN),
            None => content.group.is_some() && after(GROUPS_FORWARDED_WITHIN),
        }
    }

    /// Forgets hand-overs once nothing more can come that was first sent before them. To be asked after a drain.
    pub(crate) fn close_windows(&mut self) -> Stored<()> {
        handovers::prune(self.db, self.server_now() - ENVELOPE_LIFE)?;
        self.live.linking.window = handovers::window(self.db)?;
        Ok(())
    }
}

/// Whether a body concerns a device that was not there when it was sent.
fn is_forwarded(body: &Body) -> bool {
    match body {
        // These answer what one device asked for, or belong to its own sessions and archive.
        Body::ResendRequest(_)
        | Body::Void(_)
        | Body::SessionReset
        | Body::SenderKeyDistribution(_)
        | Body::Forward(_)
        | Body::HistoryArchive(_) => false,
        _ => true,
    }
}
