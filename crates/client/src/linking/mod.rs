//! Devices of one account: how one is added and removed, on both sides.
//!
//! ```text
//! new device                          primary
//! keys made and stored, code shown
//! offer with the server         ->    offer compared with the code's hash, invitation
//! invitation opened, answer     ->    answer verified; both show the same six digits
//!                                     a person confirms; the list is signed, stored, sent; accepted: hand-over begins
//! list verified: linked         <-    completion
//! ```
//! Owns: the steps of both sides ([`new_device`], [`primary`]), lists that change ([`list_change`]), and what is
//! remembered of all this between turns ([`Linking`]).
//!
//! Invariants:
//! - Private keys never leave the device that made them.
//! - The primary signs only keys whose hash was in the code, and only after a person compared the digits.
//! - A list version is written as used before it is signed, and one change at a time waits for the server's word.
//! - Every step is on disk before the next one begins.

pub(crate) mod list_change;
pub(crate) mod new_device;
pub(crate) mod primary;

use crate::{
    Closed,
    live::Asked,
    store::{Stored, handovers, handovers::Window, imports, list_changes},
    transfers::Transfers,
    turn::Turn,
};
use rusqlite::Connection;
use seal::ArchiveId;
use std::collections::BTreeSet;
use types::{DeviceNumber, Timestamp};
use wire::{Refusal, Response};

pub use new_device::{LinkBegun, LinkError, LinkStep, Linked, NewDevice};
pub use primary::{AddDeviceError, AddingDevice, RemoveDeviceError};

/// What a new device answers that cannot read its invitation: the code that was typed is not the one that it shows. It
/// proves nothing, and ends the link like any answer that is not authentic, but at once.
const DECLINED: &[u8] = b"declined";

/// How far the import of one's own history is, on a device that was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistorySync {
    /// So many parts were read.
    Importing {
        /// Parts that were read.
        done: u64,
        /// All parts.
        total: u64,
    },
    /// All of it was read.
    Imported,
    /// It is not there any more, or damaged. What comes live is not touched by that.
    Failed,
}

/// A request about devices, and what its answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkingAsked {
    Link,
    Invite,
    /// The device is told, in the place of an invitation, that the account has no place left.
    TurnAway,
    Refuse,
    ListChange,
    OwnList,
    CreateBlob {
        device: DeviceNumber,
        part: u32,
    },
    GetBlob {
        archive: ArchiveId,
        part: u32,
    },
}

/// What is remembered between turns; all of it can be read from the database again, or is only about a command
/// that waits.
pub(crate) struct Linking {
    /// A command waits for the device that is being added.
    pub(crate) is_adding: bool,
    /// When the link is looked at again.
    pub(crate) look_at: Option<Timestamp>,
    /// Looks since the command began at which the new device had not answered.
    pub(crate) looks: u32,
    /// When a list is sent again that the server could not take.
    pub(crate) put_at: Option<Timestamp>,
    /// There is a list to sign or to settle.
    pub(crate) is_changing: bool,
    /// Why the server refused the list whose fate is being asked for.
    pub(crate) refused: Option<wire::Code>,
    /// Removals that a command waits for.
    pub(crate) removals: BTreeSet<DeviceNumber>,
    /// The profile row was written in this turn: who we are is read again.
    pub(crate) profile_changed: bool,
    pub(crate) is_handing_over: bool,
    pub(crate) window: Option<Window>,
    pub(crate) is_importing: bool,
    pub(crate) transfers: Transfers,
}

impl Linking {
    pub(crate) fn load(db: &Connection) -> Stored<Self> {
        Ok(Self {
            is_adding: false,
            look_at: None,
            looks: 0,
            put_at: None,
            is_changing: list_changes::is_pending(db)? || list_changes::has_removals(db)?,
            refused: None,
            removals: BTreeSet::new(),
            profile_changed: false,
            is_handing_over: handovers::unfinished(db)?.is_some(),
            window: handovers::window(db)?,
            is_importing: imports::current(db)?.is_some(),
            transfers: Transfers::default(),
        })
    }

    /// Nothing is to be waited for; what has failed on this connection is not.
    pub(crate) fn is_settled(&self) -> bool {
        let transferring = (self.is_handing_over || self.is_importing) && !self.transfers.have_failed();
        !self.is_changing && !transferring
    }

    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        [self.look_at, self.put_at, self.transfers.wake_at()].into_iter().flatten().min()
    }

    /// A connection begins: what failed on the last one is tried again.
    pub(crate) fn begin_anew(&mut self) {
        self.look_at = None;
        self.put_at = None;
        self.transfers.begin_anew();
    }
}

impl Turn<'_> {
    /// Everything that can be done about devices now.
    pub(crate) fn advance_linking(&mut self) -> Stored<()> {
        self.advance_list_change()?;
        self.advance_addition()?;
        self.advance_handover()?;
        self.advance_import()?;
        self.live.linking.transfers.forget_due(self.now);
        Ok(())
    }

    pub(crate) fn ask_linking(&mut self, request: wire::Request, asked: LinkingAsked) {
        self.request(request, Asked::Linking(asked));
    }

    pub(crate) fn is_linking_asked(&self, asked: LinkingAsked) -> bool {
        self.live.is_asked(|other| *other == Asked::Linking(asked))
    }

    /// What each answer leads to.
    pub(crate) fn linking_answered(
        &mut self,
        asked: LinkingAsked,
        result: Result<Response, Refusal>,
    ) -> Stored<()> {
        match (asked, result) {
            (LinkingAsked::Link, Ok(Response::LinkState(state))) => self.link_state_came(&state),
            (LinkingAsked::Invite, Ok(Response::Done)) => self.invited(),
            (LinkingAsked::Link | LinkingAsked::Invite, Err(refusal)) => self.link_refused(&refusal),
            // Whether or not it was heard, it is so.
            (LinkingAsked::TurnAway, Ok(Response::Done) | Err(_)) => {
                self.addition_failed(AddDeviceError::TooManyDevices)
            }
            // Whatever the answer, the link is dead or dies by itself.
            (LinkingAsked::Refuse, Ok(Response::Done) | Err(_)) => Ok(()),
            (LinkingAsked::ListChange, Ok(Response::Done)) => self.list_change_accepted(),
            (LinkingAsked::ListChange, Err(refusal)) => self.list_change_refused(&refusal),
            (LinkingAsked::OwnList, Ok(Response::DeviceLists(lists))) => self.own_list_came(&lists),
            (LinkingAsked::OwnList, Err(refusal)) => {
                self.put_list_change_again(&refusal);
                Ok(())
            }
            (LinkingAsked::CreateBlob { device, part }, Ok(Response::BlobTicket(ticket))) => {
                self.upload_ticket_came(device, part, ticket)
            }
            (LinkingAsked::CreateBlob { .. }, Err(refusal)) => {
                self.ticket_refused(&refusal);
                Ok(())
            }
            (LinkingAsked::GetBlob { archive, part }, Ok(Response::BlobTicket(ticket))) => {
                self.download_ticket_came(archive, part, ticket);
                Ok(())
            }
            (LinkingAsked::GetBlob { archive, .. }, Err(refusal)) => self.download_refused(archive, &refusal),
            (_, Ok(_)) => {
                self.close(Closed::Protocol);
                Ok(())
            }
        }
    }
}
