//! The blobs that a device carries for its engine, one at a time.

use super::{Device, Outside};
use crate::calls::{ANSWER_WITHIN, Answer, Asked, CallId};
use client::{Event, Fault, TransferId};
use types::Timestamp;

/// A transfer under way.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    call: CallId,
    pub(super) until: Timestamp,
    id: TransferId,
    is_upload: bool,
}

impl Transfer {
    /// What the engine is told of a transfer that came to nothing.
    const fn lost(self) -> Event {
        match self.is_upload {
            true => Event::Uploaded { transfer: self.id, ok: false },
            false => Event::Downloaded { transfer: self.id, result: None },
        }
    }
}

impl Device {
    pub(super) fn transfer(&mut self, id: TransferId, asked: Asked, outside: &mut Outside<'_>) {
        let is_upload = matches!(asked, Asked::Put { .. });
        let call = outside.calls.ask(self.seat, asked);
        self.transfer = Some(Transfer { call, until: outside.now + ANSWER_WITHIN, id, is_upload });
    }

    /// Gives up a transfer of which nothing was heard. Says whether there was one.
    pub(super) fn proceed_transfer(&mut self, outside: &mut Outside<'_>) -> Result<bool, Fault> {
        let Some(lost) = self.transfer.take_if(|transfer| transfer.until <= outside.now) else {
            return Ok(false);
        };
        self.handle(lost.lost(), outside)?;
        Ok(true)
    }

    pub(super) fn transferred(
        &mut self,
        call: CallId,
        answer: Answer,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let Some(transfer) = self.transfer.take_if(|transfer| transfer.call == call) else { return Ok(()) };
        let event = match answer {
            Answer::Stored(ok) => Event::Uploaded { transfer: transfer.id, ok },
            Answer::Found(result) => Event::Downloaded { transfer: transfer.id, result },
            Answer::Http(_) => transfer.lost(),
        };
        self.handle(event, outside)
    }
}
