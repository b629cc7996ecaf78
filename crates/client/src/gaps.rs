//! What is missing: noticed, asked for within bounds, shown, and given up visibly.

use crate::{
    Effect, EventView, SenderView,
    resend::RESENDS_AN_HOUR_MAX,
    store::{
        Stored, chats, contacts, events, gaps, gaps::Gap, groups, inbox, inbox::Heard, messages, profile,
        sent, sent::Resend,
    },
    turn::Turn,
};
use seal::{Body, Content, ResendRequest, Void};
use std::collections::BTreeMap;
use types::{ChatId, DeviceAddress, GroupId, Millis, Stamp, limits::ENVELOPE_LIFE};

/// How often one gap is asked for.
pub(crate) const ASKS_MAX: u32 = 3;
/// Pauses before the second and the third time: the other side may be asleep.
const ASK_AGAIN_AFTER: [Millis; 2] = [Millis::from_hours(1), Millis::from_hours(24)];
/// When as much was asked for as may be, the rest waits.
const NO_ROOM_PAUSE: Millis = Millis::from_mins(10);
/// A row that came before its turn is not missed yet: stores of a fleet may show rows out of order.
const GRACE: Millis = Millis::from_secs(2);
/// Counters that one request names (the limit of its format).
const COUNTERS_MAX: usize = 50;

/// The counters to ask for, by where they are missing and who sent them.
type Requests = BTreeMap<(ChatId, DeviceAddress), Vec<u64>>;

impl Turn<'_> {
    /// Notes the counter of something that takes a place in the order of its chat.
    pub(crate) fn count(
        &mut self,
        chat: ChatId,
        from: DeviceAddress,
        counter: u64,
        stamp: Stamp,
    ) -> Stored<()> {
        // Zero takes no place, and what the database cannot hold no honest device reaches.
        if counter == 0 || i64::try_from(counter).is_err() {
            return Ok(());
        }
        let heard = match inbox::heard(self.db, chat, from)? {
            Some(heard) => heard,
            None if self.counts_from_the_first(chat)? => Heard { first: 1, highest: 0 },
            // What came before this device did, or before it could, is not missing.
            None => Heard { first: counter, highest: counter - 1 },
        };
        if counter <= heard.highest {
            if let Some(gap) = gaps::containing(self.db, chat, from, counter)? {
                gaps::split(self.db, &gap, counter)?;
            }
            return Ok(());
        }
        inbox::set_heard(self.db, chat, from, Heard { highest: counter, ..heard })?;
        self.miss_counters(chat, from, (heard.highest + 1, counter - 1), stamp)
    }

    /// The same for a content. In a group whoever comes back begins anew, and nothing of the time before counts.
    pub(crate) fn count_content(
        &mut self,
        chat: ChatId,
        from: DeviceAddress,
        content: &Content,
        stamp: Stamp,
    ) -> Stored<()> {
        if let (ChatId::Group(group), Some(view)) = (chat, content.group)
            && self.is_before_our_time(group, Some(view.epoch), stamp)?
        {
            return Ok(());
        }
        self.count(chat, from, content.counter, stamp)
    }

    /// Notes the counter of something that is not to be shown. What is missing before it is not wanted either.
    pub(crate) fn count_unshown(
        &mut self,
        chat: ChatId,
        from: DeviceAddress,
        counter: u64,
        stamp: Stamp,
    ) -> Stored<()> {
        match inbox::heard(self.db, chat, from)? {
            Some(heard) if counter > heard.highest && i64::try_from(counter).is_ok() => {
                inbox::set_heard(self.db, chat, from, Heard { highest: counter, ..heard })
            }
            _ => self.count(chat, from, counter, stamp),
        }
    }

    /// What the archive says of a device: everything that it wrote up to a counter is in there, or missing there too.
    pub(crate) fn follow_archive(&mut self, chat: ChatId, from: DeviceAddress, counter: u64) -> Stored<()> {
        // Something older that was forwarded before the archive was read may have made a gap of what is in it.
        gaps::forget_up_to(self.db, chat, from, counter)?;
        match inbox::heard(self.db, chat, from)? {
            Some(heard) if heard.highest < counter => {
                inbox::set_heard(self.db, chat, from, Heard { first: counter + 1, highest: counter })
            }
            _ => self.set_baseline(chat, from, counter),
        }
    }

    /// What a device wrote up to a counter was before our time, or is known from elsewhere. What came between that and
    /// what was heard here first is missed; what is missing since stays so.
    pub(crate) fn set_baseline(&mut self, chat: ChatId, from: DeviceAddress, counter: u64) -> Stored<()> {
        let Some(heard) = inbox::heard(self.db, chat, from)? else {
            return inbox::set_heard(self.db, chat, from, Heard { first: counter + 1, highest: counter });
        };
        if heard.first <= counter + 1 {
            return Ok(());
        }
        inbox::set_heard(self.db, chat, from, Heard { first: counter + 1, ..heard })?;
        let stamp = profile::highest_stamp(self.db)?.unwrap_or(Stamp::ZERO);
        let mut first = counter + 1;
        // What was forwarded before the archive was read is here.
        for here in messages::counters_below(self.db, chat, from, (first, heard.first))? {
            self.miss_counters(chat, from, (first, here - 1), stamp)?;
            first = here + 1;
        }
        self.miss_counters(chat, from, (first, heard.first - 1), stamp)
    }

    /// A device has sealed something to this very one, so what it wrote from there on was for us, too. The first of
    /// that may come last; what is missing between it and what was heard before is missed then.
    pub(crate) fn wrote_to_us(&mut self, from: DeviceAddress, (chat, counter): (ChatId, u64)) -> Stored<()> {
        let heard = inbox::heard(self.db, chat, from)?;
        if counter == 0 || heard.is_none_or(|heard| heard.first <= counter) {
            return Ok(());
        }
        if contacts::is_blocked(self.db, from.account)? {
            Ok(())
        } else {
            self.set_baseline(chat, from, counter)
        }
    }

    /// Notes a run of counters as missing, if it is not empty.
    fn miss_counters(
        &mut self,
        chat: ChatId,
        sender: DeviceAddress,
        (first, last): (u64, u64),
        stamp: Stamp,
    ) -> Stored<()> {
        if first > last || self.live.planted.bugs.overlook_gaps {
            return Ok(());
        }
        let now = self.server_now();
        let gap = Gap {
            id: 0,
            chat,
            sender,
            first,
            last,
            envelope: None,
            stamp,
            reason: "missing".to_owned(),
            silent: false,
            shown: false,
            asked: 0,
            ask_at: now + GRACE,
            noticed_at: now,
            permanent: false,
        };
        gaps::insert(self.db, &gap)?;
        // Within a drain everything is here once it is over; after it, the row may be a moment behind.
        let at = if self.live.is_draining() { self.now } else { self.now + GRACE };
        self.live.gaps_at = Some(self.live.gaps_at.map_or(at, |known| known.min(at)));
        Ok(())
    }

    /// Does not wait any more for rows that may be a moment behind.
    pub(crate) fn flush_gaps(&mut self) {
        let soon = self.now + GRACE;
        self.live.gaps_at = self.live.gaps_at.map(|at| if at <= soon { self.now } else { at });
    }

    /// Shows what is missing, asks for it, and gives up what is too old.
    pub(crate) fn advance_gaps(&mut self) -> Stored<()> {
        if self.live.is_draining() || self.live.gaps_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        let now = self.server_now();
        let mut requests: Requests = BTreeMap::new();
        for gap in gaps::due(self.db, now + GRACE, now - ENVELOPE_LIFE)? {
            self.advance_gap(gap, &mut requests)?;
        }
        for ((chat, device), counters) in requests {
            if counters.is_empty() {
                continue;
            }
            let request = ResendRequest {
                conversation: Some(chats::conversation(self.me.account(), chat)),
                counters,
                envelope_id: None,
                message_id: None,
            };
            self.send_silently_to(device, Body::ResendRequest(request))?;
        }
        let next = gaps::next_ask_at(self.db)?;
        self.live.gaps_at = next.map(|at| self.now + at.since(now));
        Ok(())
    }

    fn advance_gap(&mut self, mut gap: Gap, requests: &mut Requests) -> Stored<()> {
        let now = self.server_now();
        if now.since(gap.noticed_at) >= ENVELOPE_LIFE {
            return self.give_up(gap, "expired");
        }
        if let (Some(_), ChatId::Group(group)) = (gap.envelope, gap.chat)
            && !groups::was_member(self.db, group, gap.sender.account)?
        {
            return self.doubt(gap, group);
        }
        if !gap.shown && !gap.silent {
            self.log_gap(&gap)?;
            gap.shown = true;
        }
        if gap.asked < ASKS_MAX && self.ask(&gap, requests)? {
            let pause = ASK_AGAIN_AFTER.get(gap.asked as usize).copied();
            gap.ask_at = pause.map_or(gap.noticed_at + ENVELOPE_LIFE, |pause| now + pause);
            gap.asked += 1;
        } else if gap.asked >= ASKS_MAX {
            gap.ask_at = gap.noticed_at + ENVELOPE_LIFE;
        } else {
            gap.ask_at = now + NO_ROOM_PAUSE;
        }
        gaps::update(self.db, &gap)
    }

    /// Somebody who may never have been a member is said to have written in a group: once its chain is known, that is
    /// either so, or there is nothing missing.
    fn doubt(&mut self, gap: Gap, group: GroupId) -> Stored<()> {
        if groups::is_wanted(self.db, group)? {
            return gaps::update(self.db, &Gap { ask_at: self.server_now() + NO_ROOM_PAUSE, ..gap });
        }
        gaps::remove(self.db, gap.id)
    }

    /// Asks for a gap; false if there is no room for it now.
    fn ask(&mut self, gap: &Gap, requests: &mut Requests) -> Stored<bool> {
        let now = self.server_now();
        let asked = sent::resends_since(self.db, Resend::Asked, gap.sender, now - Millis::from_hours(1))?;
        let room = usize::try_from(RESENDS_AN_HOUR_MAX.saturating_sub(asked)).unwrap_or(0);
        if let Some(envelope_id) = gap.envelope.filter(|_| room > 0) {
            sent::count(self.db, Resend::Asked, gap.sender, now)?;
            let request = ResendRequest {
                conversation: gap.chat.group().map(|_| chats::conversation(self.me.account(), gap.chat)),
                counters: Vec::new(),
                envelope_id: Some(envelope_id),
                message_id: None,
            };
            self.send_silently_to(gap.sender, Body::ResendRequest(request))?;
        }
        if gap.envelope.is_some() {
            return Ok(room > 0);
        }
        let counters = requests.entry((gap.chat, gap.sender)).or_default();
        let room = room.min(COUNTERS_MAX - counters.len());
        for counter in (gap.first..=gap.last).take(room) {
            sent::count(self.db, Resend::Asked, gap.sender, now)?;
            counters.push(counter);
        }
        Ok(room > 0)
    }

    /// The sender says that it will not come.
    pub(crate) fn void_came(&mut self, from: DeviceAddress, void: &Void) -> Stored<()> {
        if let Some(envelope) = void.envelope_id
            && let Some(gap) = gaps::of_envelope(self.db, from, envelope)?
        {
            self.give_up(gap, "void")?;
        }
        let Some(chat) = self.chat_of(from.account, void.conversation)? else { return Ok(()) };
        for counter in &void.counters {
            let Some(gap) = gaps::containing(self.db, chat, from, *counter)?.filter(|gap| !gap.permanent)
            else {
                continue;
            };
            gaps::split(self.db, &gap, *counter)?;
            let lost = Gap { first: *counter, last: *counter, ..gap };
            gaps::insert(self.db, &lost)?;
            if let Some(lost) = gaps::containing(self.db, chat, from, *counter)? {
                self.give_up(lost, "void")?;
            }
        }
        Ok(())
    }

    /// A device is gone, or its number has another life: what is missing of it cannot come any more, and counters
    /// begin anew.
    pub(crate) fn end_life(&mut self, device: DeviceAddress) -> Stored<()> {
        for gap in gaps::open_of(self.db, device)? {
            self.give_up(gap, "void")?;
        }
        inbox::forget_heard_of(self.db, device)
    }

    /// Shows a gap for the last time.
    fn give_up(&mut self, gap: Gap, reason: &str) -> Stored<()> {
        let gap = Gap { permanent: true, shown: true, reason: reason.to_owned(), ..gap };
        if !gap.silent {
            self.log_gap(&gap)?;
        }
        gaps::update(self.db, &gap)
    }

    fn log_gap(&mut self, gap: &Gap) -> Stored<()> {
        let event = EventView::Gap {
            chat: gap.chat,
            sender: SenderView {
                account: gap.sender.account,
                device: gap.sender.device,
                phone: contacts::phone_of(self.db, gap.sender.account)?,
            },
            first: gap.first,
            last: gap.last,
            permanent: gap.permanent,
            reason: gap.reason.clone(),
        };
        events::log(self.db, self.live.batch, Some(gap.stamp), &event)?;
        self.effect(Effect::EventsLogged);
        Ok(())
    }
}
