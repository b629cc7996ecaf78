//! Blobs on their way: the server names an address, the shell carries the bytes, one transfer at a time.
//!
//! What a transfer is for stands in the database, so a lost one is only asked for again. A few failures in a row end
//! the tries of this connection: the next one begins anew.

use crate::{Effect, Event, linking::LinkingAsked, live::Asked, store::Stored, turn::Turn};
use bytes::Bytes;
use seal::ArchiveId;
use types::{BlobId, DeviceNumber, Millis, Timestamp};
use wire::{Code, Refusal, Request};

/// Names a transfer as long as this engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// The pause after the first failure; doubles with each.
const AGAIN_AFTER: Millis = Millis::from_secs(1);
/// Failures in a row after which a connection gives up.
const FAILURES_MAX: u32 = 6;

/// What a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    Upload { device: DeviceNumber, part: u32, blob: BlobId },
    Download { archive: ArchiveId, part: u32 },
}

/// The transfer that goes on, and how the last ones went.
#[derive(Default)]
pub(crate) struct Transfers {
    last: u64,
    current: Option<(TransferId, Transfer)>,
    failures: u32,
    /// Not before this time.
    again_at: Option<Timestamp>,
}

impl Transfers {
    /// Forgets how the last ones went: there is a new connection.
    pub(crate) fn begin_anew(&mut self) {
        self.failures = 0;
        self.again_at = None;
    }

    pub(crate) const fn have_failed(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.again_at.filter(|_| !self.have_failed())
    }

    /// What was to be tried again by now has begun, or is over: its device was removed meanwhile, for instance.
    pub(crate) fn forget_due(&mut self, now: Timestamp) {
        self.again_at.take_if(|at| *at <= now);
    }

    fn take(&mut self, transfer: TransferId) -> Option<Transfer> {
        self.current.take_if(|(current, _)| *current == transfer).map(|(_, transfer)| transfer)
    }
}

impl Turn<'_> {
    /// Whether a transfer may be asked for now.
    pub(crate) fn may_transfer(&self) -> bool {
        let transfers = &self.live.linking.transfers;
        let is_asked = self.live.is_asked(|asked| {
            matches!(asked, Asked::Linking(LinkingAsked::CreateBlob { .. } | LinkingAsked::GetBlob { .. }))
        });
        !is_asked
            && transfers.current.is_none()
            && !transfers.have_failed()
            && transfers.again_at.is_none_or(|at| at <= self.now)
    }

    pub(crate) fn ask_for_ticket(&mut self, request: Request, asked: LinkingAsked) {
        self.live.linking.transfers.again_at = None;
        self.request(request, Asked::Linking(asked));
    }

    /// The server said where; now the shell carries the bytes.
    pub(crate) fn begin_transfer(&mut self, transfer: Transfer, url: String, bytes: Option<Bytes>) {
        let transfers = &mut self.live.linking.transfers;
        transfers.last += 1;
        let id = TransferId(transfers.last);
        transfers.current = Some((id, transfer));
        self.effect(match bytes {
            Some(bytes) => Effect::Upload { transfer: id, url, bytes },
            None => Effect::Download { transfer: id, url },
        });
    }

    /// The server could not give a ticket now.
    pub(crate) fn ticket_refused(&mut self, refusal: &Refusal) {
        match (refusal.code, refusal.retry_after) {
            // A quota is no failure.
            (Code::RetryAfter, Some(after)) => {
                self.live.linking.transfers.again_at = Some(self.now + after);
            }
            _ => self.transfer_failed(),
        }
    }

    pub(crate) fn transfer_failed(&mut self) {
        let transfers = &mut self.live.linking.transfers;
        let pause = Millis(AGAIN_AFTER.0 << transfers.failures.min(10));
        transfers.failures += 1;
        transfers.again_at = Some(self.now + pause);
        if transfers.have_failed() {
            self.handover_interrupted();
        }
    }

    /// The shell has carried the bytes, or could not.
    pub(crate) fn transferred(&mut self, event: Event) -> Stored<()> {
        let transfer = match &event {
            Event::Uploaded { transfer, .. } | Event::Downloaded { transfer, .. } => *transfer,
            _ => return Ok(()),
        };
        let Some(transfer) = self.live.linking.transfers.take(transfer) else { return Ok(()) };
        let went_well = match (transfer, event) {
            (Transfer::Upload { device, part, blob }, Event::Uploaded { ok: true, .. }) => {
                self.part_uploaded(device, part, blob)?;
                true
            }
            (Transfer::Download { archive, part }, Event::Downloaded { result: Some(bytes), .. }) => {
                self.part_came(archive, part, &bytes)?
            }
            _ => false,
        };
        if went_well {
            self.live.linking.transfers.failures = 0;
        } else {
            self.transfer_failed();
        }
        Ok(())
    }
}
