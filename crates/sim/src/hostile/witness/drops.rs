//! What is judged in the end: the order of what is shown, and that what is missing shows.

use super::{Missing, Property, Witness};
use crate::hostile::device::Device;
use client::Fault;
use std::collections::{BTreeMap, BTreeSet};
use types::{ChatId, DeviceNumber, MessageId, Timestamp};

impl Witness {
    /// Judges what every device shows in the end; its order, if the server's stamps were true.
    pub fn conclude(&mut self, devices: &[Device], now: Timestamp, true_stamps: bool) -> Result<(), Fault> {
        for reader in devices.iter().filter(|reader| !self.is_former(reader.mailbox)).collect::<Vec<_>>() {
            for writer in devices.iter().filter(|writer| writer.mailbox.account != reader.mailbox.account) {
                self.conclude_pair(reader, writer, now, true_stamps)?;
            }
            for writer in devices.iter().filter(|writer| writer.mailbox != reader.mailbox) {
                self.conclude_pair_in_group(reader, writer, now)?;
            }
        }
        Ok(())
    }

    fn conclude_pair(
        &mut self,
        reader: &Device,
        writer: &Device,
        now: Timestamp,
        true_stamps: bool,
    ) -> Result<(), Fault> {
        let history = reader.engine.view().history(writer.mailbox.account.into(), u32::MAX >> 1, now)?;
        let places: BTreeMap<MessageId, usize> =
            history.iter().enumerate().map(|(at, message)| (message.message_id, at)).collect();
        let mut written: Vec<_> = self
            .written
            .iter()
            .filter(|(_, one)| {
                one.sender == writer.mailbox && one.to == ChatId::Direct(reader.mailbox.account)
            })
            .map(|(message, one)| (one.order, *message))
            .collect();
        written.sort_unstable();
        let seen: Vec<_> = written.iter().filter_map(|(_, message)| places.get(message).copied()).collect();
        self.judge(Property::Once, places.len() == history.len(), || {
            format!("{:?} lists a message twice in its chat with {:?}", reader.mailbox, writer.mailbox)
        });
        if true_stamps {
            self.judge(Property::InOrder, seen.is_sorted(), || {
                format!("{:?} shows what {:?} wrote in the order {seen:?}", reader.mailbox, writer.mailbox)
            });
        }
        let is_seen = |(_, message): &(usize, MessageId)| places.contains_key(message);
        let last_seen = written.iter().rposition(is_seen).unwrap_or(0);
        for (_, message) in &written[self.heard_from(reader, &written, is_seen)..last_seen] {
            let was_meant = self.sealed.get(message).is_some_and(|to| to.contains(&reader.mailbox));
            if was_meant && !places.contains_key(message) {
                self.drop_shows(reader, writer, writer.mailbox.account.into(), *message);
            } else {
                self.judge(Property::DropsShow, true, String::new);
            }
        }
        Ok(())
    }

    /// A device that was linked counts from the first message on that it hears; what was before may be in its archive.
    fn heard_from<T>(&self, reader: &Device, written: &[T], is_seen: impl Fn(&T) -> bool) -> usize {
        let is_first = reader.mailbox.device == DeviceNumber::PRIMARY;
        if is_first { 0 } else { written.iter().position(is_seen).unwrap_or(0) }
    }

    fn drop_shows(&mut self, reader: &Device, writer: &Device, chat: ChatId, message: MessageId) {
        let counter = writer.disk.counter(message).unwrap_or(0);
        let gaps = self.gaps.get(&reader.mailbox).into_iter().flatten();
        let covers = |gap: &&Missing| {
            gap.0 == chat && gap.1 == writer.mailbox.address() && (gap.2..=gap.3).contains(&counter)
        };
        let is_covered = gaps.filter(covers).count() > 0;
        self.judge(Property::DropsShow, is_covered, || {
            format!(
                "{:?} misses message {message} ({counter}) of {:?} and does not say so",
                reader.mailbox, writer.mailbox
            )
        });
    }

    /// The same of what one device wrote to the group, for a reader who was there from the first: of what was encrypted on
    /// the reader's own chain, all that is missing before the last that is shown.
    fn conclude_pair_in_group(
        &mut self,
        reader: &Device,
        writer: &Device,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(group) = self.group() else { return Ok(()) };
        if !self.was_always_in(reader.mailbox) {
            return Ok(());
        }
        let history = reader.engine.view().history(group.into(), u32::MAX >> 1, now)?;
        let seen: BTreeSet<MessageId> = history.iter().map(|message| message.message_id).collect();
        let of_writer = |one: &super::Written| one.sender == writer.mailbox && one.to == ChatId::Group(group);
        let mut written: Vec<(u64, MessageId)> = self
            .written
            .iter()
            .filter(|(_, one)| of_writer(one))
            .filter_map(|(message, _)| Some((writer.disk.counter(*message)?, *message)))
            .collect();
        written.sort_unstable();
        let is_seen = |(_, message): &(u64, MessageId)| seen.contains(message);
        let last_seen = written.iter().rposition(is_seen).unwrap_or(0);
        for (_, message) in &written[self.heard_from(reader, &written, is_seen)..last_seen] {
            if self.was_meant_in_group(reader.mailbox, *message) && !seen.contains(message) {
                self.drop_shows(reader, writer, group.into(), *message);
            } else {
                self.judge(Property::DropsShow, true, String::new);
            }
        }
        Ok(())
    }
}
