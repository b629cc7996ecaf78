//! Messages from frames: fragments are joined, control frames pass between them.

use super::{CloseCode, Frame, Opcode, Violation, next_frame};
use bytes::Bytes;
use types::limits;

/// What a frame meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole binary message.
    Message(Bytes),
    /// A ping that wants this payload back.
    Ping(Bytes),
    /// The peer closes; the code is to be echoed.
    Close(CloseCode),
}

/// The message of which some fragments have arrived. Empty, it owns no memory.
#[derive(Debug, Default)]
pub struct Assembly {
    /// Bytes so far; `None` between messages.
    begun: Option<Vec<u8>>,
    fragments: usize,
}

impl Assembly {
    /// Whether no message has been begun.
    pub fn is_empty(&self) -> bool {
        self.begun.is_none()
    }

    /// Reads frames from the front of `bytes` until one means something to the connection.
    ///
    /// Returns how many bytes are done with, and what was found. Called again with the rest until it
    /// finds nothing; then the rest is the beginning of a frame, at most
    /// [`limits::SOCKET_FRAME_BYTES_MAX`] and a header. `message_max` bounds the joined message.
    pub fn next(
        &mut self,
        bytes: &mut [u8],
        message_max: usize,
    ) -> Result<(usize, Option<Incoming>), Violation> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..) {
            let room = message_max.saturating_sub(self.begun.as_ref().map_or(0, Vec::len));
            let Some(frame) = next_frame(rest, room.min(limits::SOCKET_FRAME_BYTES_MAX))? else { break };
            done += frame.payload.end;
            let payload = rest.get(frame.payload.clone()).unwrap_or_default();
            let found = self.accept(&frame, payload)?;
            if found.is_some() {
                return Ok((done, found));
            }
        }
        Ok((done, None))
    }

    fn accept(&mut self, frame: &Frame, payload: &[u8]) -> Result<Option<Incoming>, Violation> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(Bytes::copy_from_slice(payload)))),
            Opcode::Pong => Ok(None),
            Opcode::Close => close_code(payload).map(|code| Some(Incoming::Close(code))),
            Opcode::Text => Err(Violation::Text),
            Opcode::Binary if self.begun.is_some() => Err(Violation::Fragments),
            Opcode::Binary if frame.fin => Ok(Some(Incoming::Message(Bytes::copy_from_slice(payload)))),
            Opcode::Binary => {
                self.begun = Some(payload.to_vec());
                self.fragments = 1;
                Ok(None)
            }
            Opcode::Continuation => self.continued(frame.fin, payload),
        }
    }

    fn continued(&mut self, fin: bool, payload: &[u8]) -> Result<Option<Incoming>, Violation> {
        let mut message = self.begun.take().ok_or(Violation::Fragments)?;
        self.fragments += 1;
        if self.fragments > limits::SOCKET_FRAGMENTS_MAX {
            return Err(Violation::TooLarge);
        }
        message.extend_from_slice(payload);
        if fin {
            return Ok(Some(Incoming::Message(message.into())));
        }
        self.begun = Some(message);
        Ok(None)
    }
}

/// The code to echo: the peer's own where we have a name for it, else a normal end.
fn close_code(payload: &[u8]) -> Result<CloseCode, Violation> {
    let Some(code) = payload.first_chunk() else {
        return if payload.is_empty() { Ok(CloseCode::Normal) } else { Err(Violation::Control) };
    };
    match u16::from_be_bytes(*code) {
        1001 => Ok(CloseCode::GoingAway),
        1000 | 1002 | 1003 | 1007..=1014 | 3000..=4999 => Ok(CloseCode::Normal),
        _ => Err(Violation::Control),
    }
}
