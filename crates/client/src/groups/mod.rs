//! Groups: verified chains, the changes that this device makes to them, and messages under sender keys.
//!
//! Owns: what a group's chain is believed to be; who is a member at each of its epochs; which devices hold our
//! sender keys; what a message to a group has to wait for before it is encrypted, once.
//!
//! Invariants:
//! - The known chain only grows: an operation is taken in after it was verified from its own bytes and found to
//!   extend the chain by the rules of [`signed::group`]. Another one in its place is shown and refused.
//! - Nothing is encrypted to an account that is not a member by the known chain, nor to a device that is not on
//!   its account's verified list. A message is encrypted only when its sender key is held by nobody else.
//! - A message is encrypted when it can leave at once, so that no ciphertext waits while members are removed.
//! - A change is one operation, however often it is asked for, until its outcome is known.
//!
//! ```text
//! chain      what extends it, what contradicts it          fetch     what is missing of it
//! change     from a command to a change that is kept       rules     which commands are possible
//! signing    the operation that makes it                   outcome   what became of it
//! secrets    names, and the secret that seals them         link      invite links
//! audience   whom a message goes to, as lists say          keys      our sender key and who holds it
//! send       one message: when it leaves, what is answered
//! receive    operations and messages of others             held      what waits for a chain or a key
//! adopt      what another device or a backup knew
//! receipts   how far our messages got at each member       view      what is shown
//! ```
//!
//! Must not know: how sessions are opened, how rows leave, how an envelope is opened; that is the engine's for all chats.

mod adopt;
mod audience;
mod chain;
mod change;
mod fetch;
mod held;
mod keys;
mod link;
mod live;
mod model;
mod outcome;
mod receipts;
mod receive;
mod rules;
mod secrets;
mod send;
mod signing;
pub(crate) mod view;

pub use link::InviteLink;
pub use model::{ChangeId, FIRST_MEMBERS_MAX, GroupCommand, GroupError, GroupInfo, GroupRole, MemberView};

pub(crate) use adopt::{adopt_operation, adopt_secrets};
use chain::HeadClaim;
pub(crate) use chain::read_change_word;
pub(crate) use live::{Asking, LiveGroups};
pub use seal::group_info::GROUP_NAME_CHARS_MAX;
pub(crate) use secrets::known_link;

use crate::store::{Stored, device_lists, group_changes, group_keys};
use rusqlite::Connection;

/// What groups need of a database that is opened: changes that never left are gone with the process that asked for
/// them, and the devices of every list are known by row.
pub(crate) fn prepare(db: &Connection) -> Stored<()> {
    group_changes::remove_unsent(db)?;
    for account in group_keys::not_indexed(db)? {
        if let Some(list) = device_lists::get(db, account)? {
            group_keys::index_list(db, &list)?;
        }
    }
    Ok(())
}
