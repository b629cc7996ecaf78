//! The other devices of our own account: what they sent, what was read on them, and what they are told.

use crate::{
    Effect,
    live::Asked,
    receive::Intake,
    store::{Stored, chats, contacts, events, inbox, messages, messages::NewMessage},
    turn::Turn,
};
use seal::{
    BlockState, Body, ContactState, Content, Opened, ReadUpTo, SYNC_ENTRIES_MAX, SentTranscript, SyncState,
    Text,
};
use types::{AccountId, ChatId, Stamp, Timestamp};
use wire::Envelope;

impl Turn<'_> {
    /// What a verified content of another device of ours does.
    pub(crate) fn apply_own(
        &mut self,
        envelope: &Envelope,
        opened: &Opened,
        content: &Content,
        stamp: Stamp,
    ) -> Stored<Intake> {
        let from = envelope.from;
        match &content.body {
            Body::SentTranscript(transcript) if written_chat(content, transcript).is_none() => {
                self.put_aside(envelope, Some(opened), "unknown_conversation")
            }
            Body::SentTranscript(transcript) if !matches!(transcript.content.get().body, Body::Text(_)) => {
                // A later version may show it; that it takes a place in the order is known now.
                if let Some(chat) = written_chat(content, transcript) {
                    self.count(chat, from, transcript.content.get().counter, stamp)?;
                }
                self.put_aside(envelope, Some(opened), "unsupported_body")
            }
            Body::Text(_) => self.put_aside(envelope, Some(opened), "unknown_conversation"),
            _ => {
                let is_new = inbox::see(self.db, from.account, content.message_id, self.server_now())?;
                if is_new {
                    self.forward(content, stamp)?;
                }
                match &content.body {
                    // The envelope may be another one: the message inside is the same.
                    Body::SentTranscript(transcript) => {
                        self.transcript_came(envelope, content, transcript, stamp)?;
                    }
                    Body::Sync(state) if is_new => self.sync_came(state)?,
                    Body::ResendRequest(request) if is_new => self.resend_asked(from, request)?,
                    Body::Void(void) if is_new => self.void_came(from, void)?,
                    _ => {}
                }
                Ok(Intake::Done)
            }
        }
    }

    /// A message that another device of ours wrote: it takes its place as if it had been written here.
    fn transcript_came(
        &mut self,
        envelope: &Envelope,
        content: &Content,
        transcript: &SentTranscript,
        stamp: Stamp,
    ) -> Stored<()> {
        let (Some(chat), Body::Text(text)) =
            (written_chat(content, transcript), &transcript.content.get().body)
        else {
            return Ok(());
        };
        let written = transcript.content.get();
        let me = self.me.account();
        if !inbox::see(self.db, me, written.message_id, self.server_now())? {
            if let Some(known) = messages::own(self.db, me, written.message_id)?
                && messages::lower_stamp(self.db, known.seq, stamp)?
            {
                self.settle_receipts(known.seq)?;
            }
            return Ok(());
        }
        self.show_own(envelope, chat, written, text, stamp)
    }

    fn show_own(
        &mut self,
        envelope: &Envelope,
        chat: ChatId,
        written: &Content,
        text: &Text,
        stamp: Stamp,
    ) -> Stored<()> {
        chats::ensure(self.db, self.me.account(), chat)?;
        let message = NewMessage {
            id: written.message_id,
            chat,
            sender: envelope.from,
            counter: written.counter,
            sent_at: written.sent_at,
            stamp: Some(stamp),
            text: &text.text,
            envelope: Some(envelope.envelope_id),
        };
        let Some(seq) = messages::insert_new(self.db, &message)? else { return Ok(()) };
        self.count(chat, envelope.from, written.counter, stamp)?;
        events::log_message(self.db, self.live.batch, chat, seq, stamp)?;
        self.effect(Effect::EventsLogged);
        // Who has read beyond it has read it, too.
        self.settle_receipts(seq)
    }

    fn sync_came(&mut self, state: &SyncState) -> Stored<()> {
        for ReadUpTo { conversation, stamp } in &state.read {
            if let Some(chat) = chats::of_conversation(self.db, *conversation)? {
                chats::raise_read_up_to(self.db, chat, *stamp)?;
            }
        }
        for contact in &state.contacts {
            self.contact_came(contact)?;
        }
        for block in state.blocks.iter().filter(|block| block.account != self.me.account()) {
            contacts::decide_block(self.db, block.account, block.blocked, block.decided_at)?;
        }
        Ok(())
    }

    /// Another device of ours has looked a number up, or its person has compared keys. Where the number led elsewhere
    /// before, that was for the person to accept on one of the devices.
    fn contact_came(&mut self, contact: &ContactState) -> Stored<()> {
        if contact.account == self.me.account() {
            return Ok(());
        }
        contacts::ensure(self.db, contact.account)?;
        if let Some(phone) = &contact.phone {
            self.set_number(phone, contact.account)?;
            if contact.accepted {
                self.move_number(phone)?;
            }
        }
        if contact.verified {
            contacts::set_verified(self.db, contact.account)?;
        }
        Ok(())
    }

    /// Remembers that our other devices are to be told what this one knows of a contact.
    pub(crate) fn tell_contact(&mut self, account: AccountId, accepted: bool) -> Stored<()> {
        contacts::set_untold(self.db, account, accepted)?;
        self.live.has_untold = true;
        Ok(())
    }

    /// Tells our other devices what became known of contacts: of many at once, when several numbers are looked up.
    pub(crate) fn advance_contacts(&mut self) -> Stored<()> {
        let is_asking = self.live.is_asked(|asked| matches!(asked, Asked::LookUp(_)));
        while self.live.has_untold && !is_asking {
            let untold = contacts::take_untold(self.db, SYNC_ENTRIES_MAX)?;
            if untold.is_empty() {
                self.live.has_untold = false;
                break;
            }
            let mut state = SyncState::default();
            for (account, accepted) in untold {
                let (blocked, decided_at) = contacts::block(self.db, account)?;
                if decided_at > Timestamp::from_millis(0) {
                    state.blocks.push(BlockState { account, blocked, decided_at });
                }
                let phone = contacts::phone_of(self.db, account)?;
                let verified = contacts::is_verified(self.db, account)?;
                state.contacts.push(ContactState { account, phone, verified, accepted });
            }
            self.tell_own_devices(Body::Sync(state))?;
        }
        Ok(())
    }

    /// Queues something for all our other devices, if there are any.
    pub(crate) fn tell_own_devices(&mut self, body: Body) -> Stored<()> {
        let me = self.me.account();
        if self.peers(&[me])?.is_empty() {
            return Ok(());
        }
        self.send_silently(me, body)
    }

    /// Lets our other devices know how far a chat was read here.
    pub(crate) fn tell_read(&mut self, chat: ChatId, stamp: Stamp) -> Stored<()> {
        if self.live.planted.bugs.skip_read_sync {
            return Ok(());
        }
        let conversation = chats::conversation(self.me.account(), chat);
        let read = vec![ReadUpTo { conversation, stamp }];
        self.tell_own_devices(Body::Sync(SyncState { read, ..SyncState::default() }))
    }
}

/// The direct chat that a transcript belongs to, if what it says of itself is right: the device that tells of it
/// has sealed it, for another account, in the conversation with that one.
pub(crate) fn written_chat(outer: &Content, transcript: &SentTranscript) -> Option<ChatId> {
    let written = transcript.content.get();
    let to = transcript.to().filter(|to| *to != outer.sender.account)?;
    let fits = written.sender == outer.sender
        && written.group.is_none()
        && written.conversation == signed::direct_conversation(outer.sender.account, to);
    fits.then_some(ChatId::Direct(to))
}
