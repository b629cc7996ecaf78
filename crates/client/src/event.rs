//! What a shell tells the engine, and what the engine asks of its shell.

use crate::{AddingDevice, ChangeId, GroupError, HistorySync, RemoveDeviceError, TransferId};
use bytes::Bytes;
use types::{AccountId, DeviceNumber, GroupId, MessageId, Millis, PhoneNumber};

/// Something happened outside.
#[derive(Clone, Debug)]
pub enum Event {
    /// The socket that [`crate::Engine::dial`] asked for is open; the server speaks first.
    Connected,
    /// One socket message came, whole.
    Received(Bytes),
    /// The socket is gone, or could not be opened. May be told more than once.
    ConnectionLost,
    /// [`crate::Engine::wake_at`] has come.
    Tick,
    /// The bytes of an [`Effect::Upload`] were taken, or not.
    Uploaded {
        /// Which transfer.
        transfer: TransferId,
        /// Whether they were taken.
        ok: bool,
    },
    /// The bytes of an [`Effect::Download`] are here, or cannot be had now.
    Downloaded {
        /// Which transfer.
        transfer: TransferId,
        /// The bytes; none if they could not be had.
        result: Option<Bytes>,
    },
}

/// Something is to be done outside, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes as one binary socket message.
    Transmit(Bytes),
    /// Close the socket. Nothing is sent or heard on it after this.
    Close(Closed),
    /// The server knows us: what is asked for from now on goes out at once.
    Authenticated,
    /// Everything that was in the mailbox when this connection began was fetched and committed, and nothing of it
    /// waits for its sender's list or number. Once a connection.
    Drained,
    /// There are new lines in [`crate::View::unprinted_events`].
    EventsLogged,
    /// One of our own messages has a new state.
    StateChanged(MessageId),
    /// The answer to [`crate::Engine::look_up`].
    LookedUp {
        /// The number that was asked for.
        phone: PhoneNumber,
        /// The account that it leads to, or why that is not known.
        result: Result<Option<AccountId>, LookupRefused>,
    },
    /// How [`crate::Engine::add_device`] goes on.
    AddingDevice(AddingDevice),
    /// How [`crate::Engine::remove_device`] ended.
    DeviceRemoved {
        /// The device.
        device: DeviceNumber,
        /// Whether it is gone.
        result: Result<(), RemoveDeviceError>,
    },
    /// How the import of this device's history goes on.
    History(HistorySync),
    /// PUT these bytes, then tell [`Event::Uploaded`]. One transfer at a time.
    Upload {
        /// Which transfer.
        transfer: TransferId,
        /// Absolute, or begins with `/`: at the profile's origin.
        url: String,
        /// At most [`types::limits::BLOB_BYTES_MAX`].
        bytes: Bytes,
    },
    /// GET these bytes, then tell [`Event::Downloaded`]. One transfer at a time.
    Download {
        /// Which transfer.
        transfer: TransferId,
        /// Absolute, or begins with `/`: at the profile's origin.
        url: String,
    },
    /// The outcome of a change of a group.
    GroupChangeDone {
        /// The change.
        change: ChangeId,
        /// The group, or why nothing was changed.
        result: Result<GroupId, GroupError>,
    },
}

/// The server did not answer a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupRefused {
    /// Ask again after this long, if the server said so (the discovery budget is used up).
    pub retry_after: Option<Millis>,
}

/// Why the engine ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The server goes away; connect again after this long.
    Reconnect {
        /// How long.
        after: Millis,
    },
    /// The server spoke out of turn, or not this protocol; try again with back-off.
    Protocol,
    /// The session was silent for too long, or the server closed it for a passing reason.
    Idle,
    /// The server speaks only versions that this program does not. Final for this program.
    VersionUnsupported,
    /// The server does not accept our token or signature. Final.
    Unauthenticated,
    /// This device is not listed any more, or its account was closed. Final.
    Revoked,
    /// The connection number was used before: this database was copied. Final.
    Cloned,
    /// A newer connection of this device took over. Do not connect again by yourself.
    Replaced,
}

impl Closed {
    /// True if connecting again cannot help.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::VersionUnsupported | Self::Unauthenticated | Self::Revoked | Self::Cloned | Self::Replaced
        )
    }
}

/// Where to connect, after the connection's number was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// `scheme://host[:port]` as the profile was registered with; the socket is at `/v1/socket`.
    pub origin: String,
    /// SHA-256 of the server's certificate, if the profile trusts exactly that one.
    pub server_pin: Option<[u8; 32]>,
}
