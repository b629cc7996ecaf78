//! The WebSocket protocol (RFC 6455) of a server, without I/O and without buffers.
//!
//! Owns: the upgrade request, frames, fragmentation, control frames, close codes and their limits.
//! Invariant: a refusal is decided from the header of a frame, before its payload is waited for.
//! Must not know: TLS, sessions, what a message means.

mod assembly;
mod frame;
mod upgrade;

pub use assembly::{Assembly, Incoming};
pub use frame::{Frame, Opcode, encode_close, encode_control, encode_message, next_frame};
pub use upgrade::{HEAD_BYTES_MAX, Head, SOCKET_PATH, read_head, switching_protocols};

/// Why a connection ends, as the peer is told (RFC 6455, section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the peer closed, or all is said.
    Normal,
    /// 1001: the server is going away.
    GoingAway,
    /// 1002: the peer broke the framing.
    Protocol,
    /// 1003: the peer sent text; this protocol is binary.
    Unsupported,
    /// 1008: a rule of this service was broken (time limits, authentication, replaced session).
    Policy,
    /// 1009: a frame or message is too large, or has too many fragments.
    TooLarge,
    /// 1011: the server failed.
    Internal,
    /// 1013: the server is at a bound; try again later.
    TryAgainLater,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::TryAgainLater => 1013,
        }
    }
}

/// What a peer must not send. The connection ends with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit without a negotiated extension.
    #[error("reserved bit set")]
    ReservedBit,
    /// An opcode that the protocol does not define.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A client's frame without a mask.
    #[error("frame not masked")]
    NotMasked,
    /// A length that is not written in the fewest bytes.
    #[error("length not in its shortest form")]
    LengthForm,
    /// A control frame that is fragmented or longer than 125 bytes, or a malformed close.
    #[error("malformed control frame")]
    Control,
    /// A continuation of nothing, or a new message inside another.
    #[error("fragments out of order")]
    Fragments,
    /// A text message.
    #[error("text message")]
    Text,
    /// A frame, a message or a number of fragments above its limit.
    #[error("message too large")]
    TooLarge,
}

impl Violation {
    /// The code that tells the peer.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::TooLarge => CloseCode::TooLarge,
            _ => CloseCode::Protocol,
        }
    }
}
