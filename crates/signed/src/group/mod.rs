//! Group chains: a group is a hash-chained log of operations, each signed by a member's device.
//!
//! The server orders operations and can neither forge, insert nor change one; every member replays
//! the chain by the same rules ([`GroupState::apply`]) and comes to the same members and roles.
//!
//! Must not know: names and pictures (sealed with a secret that only members have), device lists
//! (whether the acting device is *still* listed is checked beside the chain, by those who hold the list).

mod change;
mod operation;
mod snapshot;
mod state;

pub use change::{GroupChange, Permissions, join_signature};
pub use operation::{OperationDraft, OperationError, OperationId, SEALED_INFO_BYTES_MAX, SignedOperation};
pub use state::{ChainError, GroupState, OPERATIONS_REMEMBERED, Role};
pub use types::limits::GROUP_OPERATION_BYTES_MAX;
