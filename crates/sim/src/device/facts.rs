//! What is written down of a device: what left it, what reached it, what is on its disk, what it printed.

use super::{Device, Outside, Post};
use crate::{
    chronicle::{Chronicle, digest_of},
    disk::Posted,
    watch::{record_bundle, record_upload},
};
use bytes::Bytes;
use client::{DeliveryState, EventView, Fault, LoggedEvent, ReceiptKind};
use server_ports::Clock as _;
use signed::DeviceList;
use testkit::{
    digest,
    history::{Fact, SignedLog},
    ratchet,
};
use types::{EnvelopeId, MailboxId, MessageId, Millis, Position, Stamp};
use wire::{ClientFrame, Envelope, Push, Request, Response, ServerFrame};

impl Device {
    pub(super) fn record_presence(&self) {
        let Some(mailbox) = self.mailbox.filter(|_| !self.is_retired) else { return };
        let device = mailbox.address();
        let fact = if self.online { Fact::Online { device } } else { Fact::Offline { device } };
        self.chronicle.record(fact);
    }

    pub(super) fn note_request(&mut self, frame: &ClientFrame, outside: &mut Outside<'_>) {
        let Some(mailbox) = self.mailbox else { return };
        match &frame.request {
            Request::Send(send) => {
                let posted =
                    self.disk.posted(send.envelope_id).unwrap_or(Posted { message: None, resend: false });
                let to = send.sealed.iter().map(|sealed| sealed.to).collect();
                outside.post.entry(send.envelope_id).or_insert(Post { posted, to });
                self.asked.insert(frame.id, send.envelope_id);
                for sealed in &send.sealed {
                    self.chronicle.record(Fact::Sealed {
                        envelope: send.envelope_id,
                        message: posted.message.filter(|_| !posted.resend),
                        sender: mailbox.address(),
                        to: sealed.to,
                        step: ratchet::step(sealed.kind, &sealed.ciphertext),
                        ciphertext: digest_of(&sealed.ciphertext),
                    });
                }
                self.note_sender_key(send);
            }
            Request::Ack(positions) => {
                for position in positions {
                    self.chronicle.record(Fact::Acked { mailbox, position: *position });
                }
            }
            Request::UploadKeys(keys) => record_upload(&self.chronicle, mailbox, keys),
            Request::PutDeviceList(list) | Request::CompleteLink { device_list: list, .. } => {
                self.note_signed(list);
                self.lists_put.insert(frame.id, (list.clone(), self.chronicle.since_start(outside.now)));
            }
            Request::FetchKeys(_) | Request::GetDeviceLists(_) => {
                self.lists_asked.insert(frame.id, self.chronicle.since_start(outside.now));
            }
            request => self.note_group_request(frame.id, request, outside),
        }
    }

    pub(super) fn note_delivered(&self, frame: &ServerFrame) -> Vec<(Position, Envelope)> {
        let ServerFrame::Push(Push::Deliver(deliveries)) = frame else { return Vec::new() };
        let Some(mailbox) = self.mailbox else { return Vec::new() };
        let mut delivered = Vec::new();
        for delivery in deliveries {
            let Ok(envelope) = Envelope::decode(delivery.envelope.clone()) else { continue };
            self.chronicle.record(Fact::Delivered {
                mailbox,
                envelope: envelope.envelope_id,
                position: delivery.position,
                ciphertext: digest_of(&envelope.ciphertext),
            });
            delivered.push((delivery.position, envelope));
        }
        delivered
    }

    pub(super) fn note_answer(&mut self, frame: &ServerFrame) -> Option<(EnvelopeId, Stamp)> {
        let (ServerFrame::Answer { id, result }, Some(mailbox)) = (frame, self.mailbox) else { return None };
        let envelope = self.asked.remove(id);
        let asked_at = self.lists_asked.remove(id);
        let put = self.lists_put.remove(id);
        let accepted = self.note_group_answer(*id, envelope, result);
        match result {
            Ok(Response::Accepted { stamp, .. }) => Some((accepted?, *stamp)),
            Ok(Response::Done) => {
                if let Some((list, asked_at)) = put {
                    self.note_in_force(&list, asked_at);
                }
                None
            }
            Ok(Response::Keys(accounts)) => {
                for keys in accounts {
                    self.note_list(asked_at, &keys.device_list);
                    for bundle in &keys.bundles {
                        let owner = types::DeviceAddress::new(keys.account, bundle.device)
                            .mailbox(bundle.registration);
                        record_bundle(&self.chronicle, owner, mailbox, bundle);
                    }
                }
                None
            }
            Ok(Response::DeviceLists(lists)) => {
                lists.iter().for_each(|list| self.note_list(asked_at, &list.device_list));
                None
            }
            _ => None,
        }
    }

    /// A list of the account leaves the device that signed it.
    pub fn note_signed(&self, bytes: &Bytes) {
        let Ok(list) = DeviceList::verify(bytes) else { return };
        // The primary signs; one that is being restored has no mailbox but on its list.
        let Some(by) = list.mailboxes().next() else { return };
        let (log, version) = (SignedLog::DeviceList(list.account()), list.version());
        self.chronicle.record(Fact::LogSigned { by, log, version, digest: digest_of(bytes) });
    }

    /// The device is told that a list which it had signed is in force.
    pub fn note_in_force(&self, bytes: &Bytes, asked_at: Millis) {
        let (Some(by), Ok(list)) = (self.mailbox, DeviceList::verify(bytes)) else { return };
        self.chronicle.record(Fact::LogAnswered {
            by: by.address(),
            log: SignedLog::DeviceList(list.account()),
            version: list.version(),
            digest: digest_of(bytes),
            asked_at_ms: asked_at.0,
        });
    }

    fn note_list(&self, asked_at: Option<Millis>, bytes: &Bytes) {
        let (Some(asked_at), Some(mailbox), Ok(list)) = (asked_at, self.mailbox, DeviceList::verify(bytes))
        else {
            return;
        };
        self.chronicle.record(Fact::LogRead {
            by: mailbox.address(),
            log: SignedLog::DeviceList(list.account()),
            version: list.version(),
            digest: digest_of(bytes),
            asked_at_ms: asked_at.0,
        });
    }

    pub(super) fn note_accepted(&self, envelope: EnvelopeId, stamp: Stamp, outside: &Outside<'_>) {
        let (Some(post), Some(mailbox)) = (outside.post.get(&envelope), self.mailbox) else { return };
        self.chronicle.record(Fact::Accepted {
            envelope: Some(envelope),
            message: post.posted.message,
            resend: post.posted.resend && post.posted.message.is_some(),
            sender: mailbox.address(),
            to: post.to.clone(),
            stamp,
        });
    }

    /// What a delivery brought is on disk, as far as the disk shows it.
    pub(super) fn note_stored(&mut self, delivered: &[(Position, Envelope)], outside: &Outside<'_>) {
        let Some(mailbox) = self.mailbox else { return };
        for (_, envelope) in delivered {
            let id = envelope.envelope_id;
            if let Some(failure) = self.disk.failure(id).filter(|_| self.failed.insert(id)) {
                let (device, sender) = (mailbox.address(), envelope.from);
                self.chronicle.record(Fact::DecryptFailed { device, sender, envelope: id, failure });
            }
            if self.disk.has_quarantined(id) {
                self.chronicle.record(Fact::Quarantined { device: mailbox.address(), envelope: id });
            }
            // What is sent again because one device asked for it says nothing to the others.
            let posted = outside.post.get(&id).map(|post| post.posted).filter(|posted| !posted.resend);
            let message = posted.and_then(|posted| posted.message);
            let committed = message.is_none_or(|message| {
                self.disk.has_seen(envelope.from.account, message)
                    || self.failed.contains(&id)
                    || self.disk.has_held(id)
            });
            if committed {
                self.chronicle.record(Fact::Stored { mailbox, envelope: id });
            }
        }
    }

    pub(super) fn state_changed(&self, message: MessageId) -> Result<(), Fault> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let status = engine.view().status(message, self.clock.now())?;
        if status.is_some_and(|status| status.state == DeliveryState::Failed) {
            self.chronicle.record(Fact::Refused { message });
        }
        Ok(())
    }

    pub(super) fn print_events(&mut self) -> Result<(), Fault> {
        let (Some(engine), Some(mailbox)) = (&mut self.engine, self.mailbox) else { return Ok(()) };
        let events = engine.view().unprinted_events(10_000)?;
        let seen = if self.is_retired { &[] } else { events.as_slice() };
        for LoggedEvent { event, .. } in seen {
            record_event(&self.chronicle, mailbox, event);
            if let EventView::KeyChanged { phone, .. } = event {
                self.moved.push(phone.clone());
            }
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        engine.mark_printed(&ids)
    }
}

fn record_event(chronicle: &Chronicle, mailbox: MailboxId, event: &EventView) {
    let device = mailbox.address();
    match event {
        EventView::Message(message) => {
            let (Some(stamp), body) = (message.stamp, digest::of(message.text.as_bytes())) else { return };
            let sender = types::DeviceAddress::new(message.sender.account, message.sender.device);
            chronicle.record(Fact::Shown { device, message: message.message_id, sender, stamp, body });
        }
        EventView::Receipt { kind, message_ids, from } => {
            let kind = match kind {
                ReceiptKind::Delivered => testkit::history::ReceiptKind::Delivered,
                ReceiptKind::Read => testkit::history::ReceiptKind::Read,
            };
            for message in message_ids {
                chronicle.record(Fact::Receipt { device, message: *message, from: *from, kind });
            }
        }
        EventView::Gap { .. }
        | EventView::SplitView { .. }
        | EventView::KeyChanged { .. }
        | EventView::DeviceChanged { .. }
        | EventView::GroupChanged { .. } => {}
    }
}
