//! The engine of a device: everything between what a person types and what a socket carries.
//!
//! Owns: one SQLite database with the account's keys, sessions, contacts, messages, outbox and what is still
//! to be asked or acknowledged; the order of sending; what is shown.
//!
//! A shell drives it. [`Engine::handle`] takes an [`Event`] (bytes came, the connection was lost, time went
//! by), [`Engine::poll_effect`] gives what the shell has to do; [`View`] answers questions. Time and
//! randomness are arguments, so the same inputs give the same outputs.
//!
//! Invariants:
//! - Every event and every command is one transaction, and its effects can be polled only after it
//!   committed: what was received is on disk before it is acknowledged, and a ratchet step, its message and
//!   its ciphertext are on disk before the ciphertext leaves.
//! - A ciphertext is made once for an envelope id, and those bytes are sent again until the outcome is known.
//! - Messages of a conversation leave in the order in which they were written, one unanswered at a time.
//! - Nothing is encrypted to a device, and nothing of a device is shown, that is not on the verified list of
//!   its account.
//! - After a failed transaction the engine refuses everything ([`Fault`]): memory and disk may differ, so it
//!   has to be opened again.
//!
//! Must not know: sockets, clocks, threads, files other than its database, servers' insides.

mod apply;
mod archive;
pub mod backup;
mod blocks;
mod bugs;
mod clock;
mod connect;
pub mod database;
mod device_lists;
mod devices;
mod engine;
mod event;
mod fault;
mod gaps;
mod groups;
mod handover;
mod history;
mod http;
mod key_change;
mod keys;
mod linking;
mod live;
mod lookups;
mod model;
mod own_devices;
mod printing;
mod reading;
mod receipts;
mod receive;
mod registration;
mod resend;
mod restore;
mod room;
mod sealing;
mod search;
mod send;
mod status;
mod store;
mod transfers;
mod transmit;
mod turn;
mod view;

pub use database::OpenError;
pub use devices::DeviceView;
pub use engine::{Engine, MarkedRead, SendError, SendText, Sent};
pub use event::{Closed, Dial, Effect, Event, LookupRefused};
pub use fault::Fault;
pub use groups::{
    ChangeId, FIRST_MEMBERS_MAX, GROUP_NAME_CHARS_MAX, GroupCommand, GroupError, GroupInfo, GroupRole,
    InviteLink, MemberView,
};
pub use http::{HttpAnswer, HttpMethod, HttpRequest, Problem};
pub use linking::{
    AddDeviceError, AddingDevice, HistorySync, LinkBegun, LinkError, LinkStep, Linked, NewDevice,
    RemoveDeviceError,
};
pub use model::{
    AcceptedChange, Chat, ChatKind, ChatName, DeliveryState, EventId, EventView, HeldReason, LoggedEvent,
    MessageView, ReceiptKind, RecipientView, Resolved, Safety, SenderView, StatusView, Whoami,
};
pub use registration::{CodeSent, NewAccount, Registered, RegistrationError};
pub use restore::{RestoreError, RestoreStep};
pub use transfers::TransferId;
pub use view::{Reader, View};

/// What only tests use.
#[doc(hidden)]
pub mod testing {
    pub use crate::bugs::Bugs;

    /// Lets `work` use the keys of a profile, as whoever stole its disk does. None if it has no account.
    pub fn with_keys<T>(
        db: &rusqlite::Connection,
        work: impl FnOnce(&mut dyn seal::Store) -> T,
    ) -> Option<T> {
        let me = crate::store::profile::load(db).ok()??;
        Some(work(&mut crate::store::encryption::EncryptionState { db, me: &me }))
    }
}
