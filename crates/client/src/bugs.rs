//! Faults that a test plants to see whether it would be caught. All off unless a test sets one.

use crate::{
    Effect, Fault,
    store::{Stored, chats, events, messages::MessageSeq, outbox, outbox::OutboxId},
    turn::Turn,
};
use rusqlite::{OptionalExtension as _, params};
use seal::{Peer, Store as _, SyncKey};
use signed::{DeviceList, GroupState, SignedOperation};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, ChatId, DeviceAddress, Millis, Stamp};
use wire::{Delivery, Envelope};
use zeroize::Zeroizing;

/// Which faults are planted. Each breaks one promise of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Rows are acknowledged when they come, and stored only with what comes next.
    pub ack_before_commit: bool,
    /// A ratchet's step is on disk only one turn after its ciphertext left.
    pub save_ratchet_late: bool,
    /// A send whose outcome is unknown is sealed again under the same envelope id.
    pub seal_again_on_retry: bool,
    /// A send whose outcome is unknown is sealed again under another envelope id.
    pub new_envelope_on_retry: bool,
    /// What was delivered a second time is shown a second time.
    pub show_redelivered: bool,
    /// A message takes its place by arrival, whatever its stamp.
    pub order_by_arrival: bool,
    /// Receipts that are due are forgotten.
    pub lose_receipts: bool,
    /// What was sealed to a list before a device was linked is not forwarded to it.
    pub skip_forwards: bool,
    /// A list version is not written as used: the next list that adds or removes a device has it again.
    pub reuse_list_versions: bool,
    /// The newest message of a chat leaves first.
    pub overtake_outbox: bool,
    /// Nobody notices that a counter is missing.
    pub overlook_gaps: bool,
    /// Nobody is told of two lists of one version.
    pub overlook_forks: bool,
    /// A sender key serves on after one who has it was removed.
    pub keep_sender_key: bool,
    /// The last of the members who lack our sender key is not given it.
    pub skip_distribution: bool,
    /// What a member wrote counts however long ago it left.
    pub hear_former_members: bool,
    /// Whatever head a group message names is taken for one of the known chain.
    pub trust_any_head: bool,
    /// Our own other devices are not told what was sent.
    pub skip_transcripts: bool,
    /// Our own other devices are not told what was read.
    pub skip_read_sync: bool,
    /// The messages that an archive brings are written once more, under other ids.
    pub import_twice: bool,
    /// The last part of a backup is left out.
    pub skip_backup_end: bool,
    /// An older list of an account takes the place of the newer one.
    pub take_older_lists: bool,
    /// A device that was removed from a list is written to as before.
    pub seal_to_removed: bool,
    /// What a device sends is shown after it was removed from its list.
    pub show_removed: bool,
    /// A version that the server has announced is asked for until it comes.
    pub believe_announcements: bool,
    /// Whoever is a member of a group decides like an admin.
    pub obey_any_member: bool,
    /// A device that is linked gets the account key as the key that the account's devices share.
    pub share_account_key: bool,
}

/// The planted faults, and what they keep back until the next turn.
#[derive(Default)]
pub(crate) struct Planted {
    pub(crate) bugs: Bugs,
    rows: Vec<Delivery>,
    ratchets: Ratchets,
    sent: BTreeSet<OutboxId>,
    /// Lists that newer ones have taken the place of.
    old_lists: Vec<DeviceList>,
    /// Versions of lists that the server has announced.
    announced: BTreeMap<AccountId, u64>,
}

type Ratchets = Vec<(DeviceAddress, Zeroizing<Vec<u8>>)>;

impl Turn<'_> {
    /// Does late what should have been done in the turn before.
    pub(crate) fn catch_up(&mut self) -> Stored<()> {
        for (peer, record) in std::mem::take(&mut self.live.planted.ratchets) {
            self.encryption().store_session(peer, &record).map_err(crate::sealing::store_failed)?;
        }
        for row in std::mem::take(&mut self.live.planted.rows) {
            self.take_in(&row.envelope)?;
        }
        Ok(())
    }

    /// [`Bugs::ack_before_commit`]
    pub(crate) fn ack_unstored(&mut self, rows: &[Delivery]) {
        self.live.acks.extend(rows.iter().map(|row| row.position));
        self.live.planted.rows.extend_from_slice(rows);
    }

    /// [`Bugs::save_ratchet_late`]: the ratchets as they are before a send.
    pub(crate) fn ratchets_before(&self, peers: &[Peer]) -> Ratchets {
        if !self.live.planted.bugs.save_ratchet_late {
            return Vec::new();
        }
        let record = |peer: &Peer| Some((peer.address(), self.encryption().session(peer.address()).ok()??));
        peers.iter().filter_map(record).collect()
    }

    /// [`Bugs::save_ratchet_late`]: puts them back, and keeps what they are after it for the next turn.
    pub(crate) fn keep_ratchets_back(&mut self, before: Ratchets) -> Stored<()> {
        for (peer, record) in before {
            let after = self.encryption().session(peer).map_err(crate::sealing::store_failed)?;
            self.encryption().store_session(peer, &record).map_err(crate::sealing::store_failed)?;
            self.live.planted.ratchets.extend(after.map(|after| (peer, after)));
        }
        Ok(())
    }

    /// [`Bugs::seal_again_on_retry`] and [`Bugs::new_envelope_on_retry`]
    pub(crate) fn seal_again(&mut self, id: OutboxId) -> Stored<()> {
        let bugs = self.live.planted.bugs;
        let asked = bugs.seal_again_on_retry || bugs.new_envelope_on_retry;
        if !asked || self.live.planted.sent.insert(id) {
            return Ok(());
        }
        let Some(row) = outbox::get(self.db, id)?.filter(|row| row.lane.chat.group().is_none()) else {
            return Ok(());
        };
        outbox::unseal(self.db, id)?;
        self.seal(&row)?;
        if let (true, Some(envelope)) = (bugs.seal_again_on_retry, row.envelope_id) {
            let sql = "UPDATE outbox SET envelope_id = ?2 WHERE id = ?1";
            self.db.execute(sql, params![id.0, envelope.as_bytes()])?;
        }
        Ok(())
    }

    /// [`Bugs::import_twice`]
    pub(crate) fn import_again(&self) -> Stored<()> {
        if self.live.planted.bugs.import_twice {
            self.db.execute(
                "INSERT OR IGNORE INTO message (id, chat, sender, device, counter, sent_at, stamp, text)
                 SELECT CAST(substr(id, 9) || substr(id, 1, 8) AS BLOB), chat, sender, device, 0, sent_at, stamp, text
                 FROM message WHERE envelope_id IS NULL AND stamp IS NOT NULL",
                [],
            )?;
        }
        Ok(())
    }

    /// [`Bugs::seal_to_removed`] and [`Bugs::show_removed`]: keeps a list that is not the newest any more.
    pub(crate) fn remember_removed(&mut self, known: &DeviceList) {
        if self.keeps_removed() {
            self.live.planted.old_lists.push(known.clone());
        }
    }

    /// [`Bugs::seal_to_removed`] and [`Bugs::show_removed`]: sessions with removed devices stay, too.
    pub(crate) fn keeps_removed(&self) -> bool {
        let bugs = self.live.planted.bugs;
        bugs.seal_to_removed || bugs.show_removed
    }

    /// [`Bugs::seal_to_removed`]
    pub(crate) fn add_removed(&self, account: AccountId, peers: &mut Vec<Peer>) {
        if !self.live.planted.bugs.seal_to_removed {
            return;
        }
        for list in self.live.planted.old_lists.iter().filter(|list| list.account() == account) {
            for peer in crate::sealing::peers_of(list) {
                if !peers.iter().any(|known| known.address() == peer.address()) {
                    peers.push(peer);
                }
            }
        }
    }

    /// [`Bugs::show_removed`]
    pub(crate) fn removed_peer(&self, from: DeviceAddress) -> Option<Peer> {
        let mut lists = self.live.planted.old_lists.iter().rev();
        let peer = lists.find_map(|list| {
            (list.account() == from.account).then(|| Peer::on_list(list, from.device)).flatten()
        });
        peer.filter(|_| self.live.planted.bugs.show_removed)
    }

    /// [`Bugs::believe_announcements`]: remembers a version that there is said to be.
    pub(crate) fn believe(&mut self, account: AccountId, version: u64) {
        if self.live.planted.bugs.believe_announcements {
            self.live.planted.announced.insert(account, version);
        }
    }

    /// [`Bugs::believe_announcements`]: asks once more for a list that has not come.
    pub(crate) fn insist(&mut self, account: AccountId) -> Stored<()> {
        let Some(announced) = self.live.planted.announced.get(&account).copied() else { return Ok(()) };
        if self.list(account)?.is_some_and(|list| list.version() < announced) {
            self.want_list(account);
        }
        Ok(())
    }

    /// [`Bugs::obey_any_member`]: what an operation would lead to if its actor were an admin.
    pub(crate) fn obey(&self, state: &GroupState, operation: &SignedOperation) -> Option<GroupState> {
        const ADMIN: u8 = 1;
        let actor = operation.actor();
        let mut snapshot = state.to_snapshot();
        let at = snapshot.windows(16).position(|account| account == actor.as_bytes())?;
        *snapshot.get_mut(at + 16)? = ADMIN;
        let state = GroupState::from_snapshot(&snapshot).ok()?;
        state.apply(operation).ok().filter(|_| self.live.planted.bugs.obey_any_member)
    }

    /// [`Bugs::share_account_key`]
    pub(crate) fn shared_key(&mut self) -> Stored<SyncKey> {
        if self.live.planted.bugs.share_account_key {
            let secret = crate::devices::account_secret(self.me)?.to_bytes();
            return SyncKey::from_slice(secret.as_slice()).map_err(|_| Fault::Bug("a key has 32 bytes"));
        }
        crate::devices::sync_key(self.db, self.rng)
    }

    /// [`Bugs::show_redelivered`]
    pub(crate) fn show_again(&mut self, envelope: &Envelope) -> Stored<()> {
        let sql = "SELECT seq FROM message WHERE envelope_id = ?1";
        let seq = self.db.query_row(sql, [envelope.envelope_id.as_bytes()], |row| row.get(0)).optional()?;
        if let Some(seq) = seq {
            let (batch, chat) = (self.live.batch, envelope.from.account.into());
            events::log_message(self.db, batch, chat, MessageSeq(seq), envelope.stamp)?;
            self.effect(Effect::EventsLogged);
        }
        Ok(())
    }

    /// [`Bugs::order_by_arrival`]: a stamp after all that the chat shows.
    pub(crate) fn stamp_by_arrival(&self, chat: ChatId, stamp: Stamp) -> Stored<Stamp> {
        let newest = chats::newest_stamp(self.db, chat)?.unwrap_or(Stamp::ZERO);
        Ok(stamp.max(Stamp::new(newest.clock() + (Millis(1).0 << 16), newest.node())))
    }
}
