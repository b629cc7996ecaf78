//! Mistakes planted on purpose: a checker that does not find them proves nothing.

use crate::play;
use client::testing::Bugs as ClientBugs;
use server_core::testing::Bugs as CoreBugs;
use server_edge::drain::DrainLimits;
use server_ports::fake::{Bug as PortBug, Bugs as PortBugs};
use std::panic;
use testkit::check::Invariant::{self, *};
use types::Millis;

/// The mistakes of one run; none by default.
#[derive(Clone, Debug, Default)]
pub struct Planted {
    /// In the stores.
    pub ports: PortBugs,
    /// In the server's roles.
    pub core: CoreBugs,
    /// In the drain of sessions.
    pub drain: DrainLimits,
    /// Nodes remember accounts as they once saw them.
    pub accounts_cached: bool,
    /// Nodes remember the heads of chains as they once saw them.
    pub heads_cached: bool,
    /// In the clients' engines.
    pub client: ClientBugs,
}

/// A mistake with a name.
pub struct Bug {
    /// In the words of a command line.
    pub name: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// The invariant that must find it, sooner or later.
    pub found_by: Invariant,
    plant: fn(&mut Planted),
}

impl Bug {
    /// The mistake, planted alone.
    pub fn planted(&self) -> Planted {
        let mut planted = Planted::default();
        (self.plant)(&mut planted);
        planted
    }

    /// Whether a seed shows the mistake by the invariant that must find it. An engine that fails, or a panic, is a
    /// finding too, but not by that invariant.
    pub fn is_found_by(&self, seed: u64) -> bool {
        let played = panic::catch_unwind(|| play::play(seed, &self.planted()));
        matches!(played, Ok(Ok(outcome)) if outcome.report.violates(self.found_by))
    }
}

/// The bug of that name.
pub fn named(name: &str) -> Option<&'static Bug> {
    ALL.iter().find(|bug| bug.name == name)
}

const fn bug(name: &'static str, found_by: Invariant, plant: fn(&mut Planted), what: &'static str) -> Bug {
    Bug { name, what, found_by, plant }
}

/// Every bug that a run can have: in the stores, in the sessions, in the roles, in the engines.
pub const ALL: &[Bug] = &[
    bug(
        "cursor-skips-late-row",
        Settles,
        |planted| planted.ports = PortBugs::of([PortBug::CursorSkipsLateRow]),
        "a fleet's read answers a cursor beyond rows that are not visible yet",
    ),
    bug(
        "position-reused",
        Settles,
        |planted| planted.ports = PortBugs::of([PortBug::PositionReused]),
        "a mailbox that was emptied starts again at its first position",
    ),
    bug(
        "record-forgotten",
        ResendIsOne,
        |planted| planted.ports = PortBugs::of([PortBug::RecordForgotten]),
        "a store does not remember its recent sends",
    ),
    bug(
        "all-or-none-broken",
        Accounting,
        |planted| planted.ports = PortBugs::of([PortBug::AllOrNoneBroken]),
        "only the first row of a send is written",
    ),
    bug(
        "append-not-synced",
        AcceptedArrives,
        |planted| planted.ports = PortBugs::of([PortBug::AppendNotSynced]),
        "an append is answered before it is on disk",
    ),
    bug(
        "ack-deletes-below",
        DeletedAfterCommit,
        |planted| planted.ports = PortBugs::of([PortBug::AckDeletesBelow]),
        "an ack deletes every row up to the highest position named",
    ),
    bug(
        "early-expiry",
        Expiry,
        |planted| planted.ports = PortBugs::of([PortBug::EarlyExpiry]),
        "rows are gone after half of their life",
    ),
    bug(
        "immortal-row",
        Expiry,
        |planted| planted.ports = PortBugs::of([PortBug::ImmortalRow]),
        "rows never expire",
    ),
    bug(
        "one-time-key-twice",
        OneTimeKeyOnce,
        |planted| planted.ports = PortBugs::of([PortBug::OneTimeKeyTwice]),
        "a one-time key stays in the pool after it was given away",
    ),
    bug(
        "bundle-mixed-up",
        BundleUploaded,
        |planted| planted.ports = PortBugs::of([PortBug::BundleMixedUp]),
        "a bundle carries another device's signed prekey",
    ),
    bug(
        "signal-misrouted",
        NothingUnsent,
        |planted| planted.ports = PortBugs::of([PortBug::SignalMisrouted]),
        "a hint reaches another device of the node",
    ),
    bug(
        "hint-overtakes-drain",
        Settles,
        |planted| planted.drain.bugs.hint_overtakes = true,
        "an envelope that came with a hint is sent whatever was sent before",
    ),
    bug(
        "hints-lost-for-good",
        Settles,
        |planted| {
            planted.core.drop_hints = true;
            planted.drain.reread = Millis::from_days(1);
        },
        "no hint arrives, and sessions do not read by themselves",
    ),
    bug(
        "sends-forgotten",
        ResendIsOne,
        |planted| planted.core.forget_sends = true,
        "a retry is a second send",
    ),
    bug(
        "staleness-skipped",
        AcceptedArrives,
        |planted| planted.core.skip_staleness = true,
        "whatever devices a send names are taken for the listed ones",
    ),
    bug(
        "accepted-before-append",
        AcceptedArrives,
        |planted| planted.core.accept_without_append = true,
        "a send is answered, and never stored",
    ),
    bug(
        "presented-stamp-ignored",
        Order,
        |planted| planted.core.ignore_presented_stamp = true,
        "a stamp is the wall clock's alone",
    ),
    bug(
        "stamps-repeated",
        Order,
        |planted| planted.core.repeat_stamps = true,
        "the same stamp is given again",
    ),
    bug(
        "acknowledges-everything-before",
        DeletedAfterCommit,
        |planted| planted.core.acknowledge_everything_before = true,
        "an acknowledgement deletes every row before it",
    ),
    bug("short-life", Expiry, |planted| planted.core.expire_early = true, "rows live one minute"),
    bug(
        "keys-handed-out-twice",
        OneTimeKeyOnce,
        |planted| planted.core.hand_out_keys_twice = true,
        "a bundle goes to the next requester once more",
    ),
    bug(
        "connection-number-skipped",
        Decryptable,
        |planted| {
            planted.core.skip_connection_number = true;
            planted.ports = PortBugs::of([PortBug::ConnectionNumberNotCompared]);
        },
        "a copied database goes unnoticed",
    ),
    bug(
        "ack-before-commit",
        DeletedAfterCommit,
        |planted| planted.client.ack_before_commit = true,
        "rows are acknowledged before they are stored",
    ),
    bug(
        "ratchet-saved-late",
        NoRatchetReuse,
        |planted| planted.client.save_ratchet_late = true,
        "a ratchet's step is on disk only after its ciphertext left",
    ),
    bug(
        "sealed-again-on-retry",
        NoRatchetReuse,
        |planted| planted.client.seal_again_on_retry = true,
        "a retry encrypts again under the same envelope id",
    ),
    bug(
        "new-envelope-on-retry",
        ResendIsOne,
        |planted| planted.client.new_envelope_on_retry = true,
        "a retry is another envelope",
    ),
    bug(
        "redelivered-shown",
        NoDuplicate,
        |planted| planted.client.show_redelivered = true,
        "what was delivered a second time is shown a second time",
    ),
    bug(
        "order-by-arrival",
        Order,
        |planted| planted.client.order_by_arrival = true,
        "a message takes its place by arrival",
    ),
    bug("receipts-lost", Settles, |planted| planted.client.lose_receipts = true, "receipts are forgotten"),
    bug(
        "outbox-overtaken",
        Order,
        |planted| planted.client.overtake_outbox = true,
        "the newest message of a chat leaves first",
    ),
    bug(
        "revoked-kept",
        RemovedGetsNothing,
        |planted| planted.core.keep_revoked = true,
        "a device that was removed keeps its mailbox, and sends to it are stored",
    ),
    bug(
        "departed-overlooked",
        RemovedGetsNothing,
        |planted| planted.core.overlook_departed = true,
        "no node looks for sockets of devices that were removed",
    ),
    bug(
        "transcripts-skipped",
        AcceptedArrives,
        |planted| planted.client.skip_transcripts = true,
        "what is written on one device is not told to the others of its account",
    ),
    bug(
        "removed-sealed-to",
        Settles,
        |planted| planted.client.seal_to_removed = true,
        "devices that were removed from a list are written to as before",
    ),
    bug(
        "forwards-skipped",
        AcceptedArrives,
        |planted| planted.client.skip_forwards = true,
        "what was on its way while a device was linked is not handed on to it",
    ),
    bug(
        "list-version-reused",
        Linearizable,
        |planted| planted.client.reuse_list_versions = true,
        "two device lists are signed under one version",
    ),
    bug(
        "restored-over-newer",
        Linearizable,
        |planted| planted.core.restore_over_newer = true,
        "a restored primary's list takes the place of a newer one",
    ),
    bug(
        "backup-cut-short",
        AcceptedArrives,
        |planted| planted.client.skip_backup_end = true,
        "a restored device leaves out the end of the backup",
    ),
    bug(
        "import-duplicates",
        NothingUnsent,
        |planted| planted.client.import_twice = true,
        "what an archive brings is written a second time, as if its import had begun anew",
    ),
    bug(
        "read-state-kept",
        Settles,
        |planted| planted.client.skip_read_sync = true,
        "what was read on one device stays unread on the others",
    ),
    bug(
        "accounts-cached",
        Linearizable,
        |planted| planted.accounts_cached = true,
        "a node remembers device lists as it once saw them",
    ),
    bug(
        "late-operations-lost",
        FanOutWhole,
        |planted| planted.core.lose_late_operations = true,
        "an operation counts as delivered before its rows are written",
    ),
    bug(
        "chains-forked",
        Linearizable,
        |planted| {
            planted.heads_cached = true;
            planted.ports = PortBugs::of([PortBug::HeadNotCompared]);
        },
        "an operation is judged by an old head, and appended to whatever the chain has",
    ),
    bug(
        "group-head-ignored",
        FanOutWhole,
        |planted| {
            planted.core.skip_group_head = true;
            planted.core.skip_staleness = true;
        },
        "a message for a group is taken whatever the chain is by now",
    ),
    bug(
        "fan-out-shortened",
        FanOutWhole,
        |planted| planted.core.shorten_fan_out = true,
        "one device of a group gets no message",
    ),
    bug(
        "former-members-heard",
        RemovedGetsNothing,
        |planted| {
            planted.core.keep_former_members = true;
            planted.client.hear_former_members = true;
        },
        "who was removed goes on writing, and is shown",
    ),
    bug(
        "sender-key-kept",
        RemovedGetsNothing,
        |planted| planted.client.keep_sender_key = true,
        "a sender key serves on after somebody who has it was removed",
    ),
    bug(
        "distribution-skipped",
        AcceptedArrives,
        |planted| planted.client.skip_distribution = true,
        "one member is not given a sender key",
    ),
];
