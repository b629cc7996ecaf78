//! Frames: headers, masks, and the frames that the server writes.

use super::{CloseCode, Violation};
use std::ops::Range;
use types::limits;

/// Largest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_PAYLOAD_MAX: usize = 125;
/// Length field that announces two more bytes of length.
const LENGTH_16: u8 = 126;
/// Length field that announces eight more bytes of length.
const LENGTH_64: u8 = 127;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const MASK_LEN: usize = 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with the message that was begun.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Ends the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, Violation> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(Violation::ReservedOpcode),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether the frame concerns the connection and not a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A whole frame at the front of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Where the unmasked payload lies; its end is the end of the frame.
    pub payload: Range<usize>,
}

/// Finds the frame at the front of `bytes` and removes its mask in place; `None` if it is not whole.
///
/// `payload_max` bounds the payload of a data frame. Every other rule about a single frame is
/// checked here too, as soon as its header is there.
pub fn next_frame(bytes: &mut [u8], payload_max: usize) -> Result<Option<Frame>, Violation> {
    let Some(header) = Header::read(bytes)? else { return Ok(None) };
    header.check(payload_max)?;
    let Some(length) = header.length else { return Ok(None) };
    let payload_at = header.length_end + MASK_LEN;
    let (Some(mask), Some(payload)) =
        (bytes.get(header.length_end..payload_at), payload_at.checked_add(length).map(|end| payload_at..end))
    else {
        return Ok(None);
    };
    let Ok(mask) = <[u8; MASK_LEN]>::try_from(mask) else { return Ok(None) };
    let Some(masked) = bytes.get_mut(payload.clone()) else { return Ok(None) };
    unmask(masked, mask);
    Ok(Some(Frame { fin: header.fin, opcode: header.opcode, payload }))
}

/// The fixed part of a header, and its length as far as it has arrived.
struct Header {
    fin: bool,
    opcode: Opcode,
    /// `None` while bytes of the length are missing.
    length: Option<usize>,
    length_end: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBit);
        }
        if second & MASKED == 0 {
            return Err(Violation::NotMasked);
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let (length, length_bytes) = match second & !MASKED {
            LENGTH_16 => (rest.first_chunk().map(|&bytes| u64::from(u16::from_be_bytes(bytes))), 2),
            LENGTH_64 => (rest.first_chunk().map(|&bytes| u64::from_be_bytes(bytes)), 8),
            short => (Some(u64::from(short)), 0),
        };
        let shortest = match length_bytes {
            2 => u64::from(LENGTH_16),
            8 => u64::from(u16::MAX) + 1,
            _ => 0,
        };
        // A control frame that needs a longer length field is wrong whatever the length says. This comes before the
        // rule that needs the length, so that a header in pieces is refused as the whole one is.
        if opcode.is_control() && (length_bytes > 0 || first & FIN == 0) {
            return Err(Violation::Control);
        }
        if length.is_some_and(|length| length < shortest) {
            return Err(Violation::LengthForm);
        }
        let length = length.map(usize::try_from).transpose().map_err(|_| Violation::TooLarge)?;
        Ok(Some(Self { fin: first & FIN != 0, opcode, length, length_end: 2 + length_bytes }))
    }

    fn check(&self, payload_max: usize) -> Result<(), Violation> {
        match self.length {
            Some(length) if !self.opcode.is_control() && length > payload_max => Err(Violation::TooLarge),
            _ => Ok(()),
        }
    }
}

/// Removes (or applies) a mask, eight bytes at a time where it can.
fn unmask(payload: &mut [u8], mask: [u8; MASK_LEN]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a binary message, in frames of at most [`limits::SOCKET_FRAME_BYTES_MAX`].
pub fn encode_message(payload: &[u8], out: &mut Vec<u8>) {
    let mut opcode = Opcode::Binary;
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(limits::SOCKET_FRAME_BYTES_MAX));
        encode_frame(later.is_empty(), opcode, now, out);
        if later.is_empty() {
            return;
        }
        (opcode, rest) = (Opcode::Continuation, later);
    }
}

/// Appends a control frame; a payload above 125 bytes is cut.
pub fn encode_control(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    encode_frame(true, opcode, payload.get(..CONTROL_PAYLOAD_MAX).unwrap_or(payload), out);
}

/// Appends a close frame.
pub fn encode_close(code: CloseCode, out: &mut Vec<u8>) {
    encode_control(Opcode::Close, &code.code().to_be_bytes(), out);
}

fn encode_frame(fin: bool, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(if fin { FIN } else { 0 } | opcode.bits());
    match payload.len() {
        short @ 0..=CONTROL_PAYLOAD_MAX => out.push(short as u8),
        medium if medium <= usize::from(u16::MAX) => {
            out.push(LENGTH_16);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(LENGTH_64);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}
