//! Refusals: every error that a peer must act on, in one table.

use crate::frame::DeviceRef;
use types::{AccountId, Millis};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why a request was refused or a session ended. docs/protocol.md says what a client does on each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code's name in logs, metrics and JSON: lower case with underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reads a number from the wire; one that this version does not know becomes
            /// [`Code::Unspecified`], which a client treats as "try again later".
            pub const fn from_number(number: i32) -> Self {
                match number { $($number => Self::$name,)* _ => Self::Unspecified }
            }
        }
    };
}

codes! {
    /// A code that this version does not know.
    Unspecified = 0, "unspecified";
    /// A quota or overload: try again after the given time. Nothing was stored.
    RetryAfter = 1, "retry_after";
    /// The outcome is unknown: send the same bytes again.
    Unavailable = 2, "unavailable";
    /// The frame or a field in it is not valid.
    Malformed = 3, "malformed";
    /// The server does not offer this request.
    Unsupported = 4, "unsupported";
    /// No protocol version in common.
    VersionUnsupported = 5, "version_unsupported";
    /// Wrong token or signature, or a request before authentication.
    Unauthenticated = 6, "unauthenticated";
    /// This device is not listed any more, or its account was closed.
    Revoked = 7, "revoked";
    /// The connection number was used before: somebody copied the database.
    Cloned = 8, "cloned";
    /// A newer connection of this device took over.
    Replaced = 9, "replaced";
    /// More unanswered sends than allowed.
    TooManyInFlight = 10, "too_many_in_flight";
    /// The send's devices are not the listed ones. Nothing was stored.
    StaleDevices = 11, "stale_devices";
    /// The recipient's account was closed.
    AccountClosed = 12, "account_closed";
    /// There is no such account.
    NoSuchAccount = 13, "no_such_account";
    /// A recipient device's mailbox is full. Nothing was stored.
    MailboxFull = 14, "mailbox_full";
    /// The presented stamp is too far in the future.
    BadStamp = 15, "bad_stamp";
    /// The same envelope id came before with other bytes or recipients.
    EnvelopeConflict = 16, "envelope_conflict";
    /// Something is over its limit.
    TooLarge = 17, "too_large";
    /// The device list breaks a rule.
    BadDeviceList = 18, "bad_device_list";
    /// Another device list or group operation was first.
    VersionConflict = 19, "version_conflict";
    /// Not allowed for this device.
    Forbidden = 20, "forbidden";
    /// A key is not valid.
    BadKeys = 21, "bad_keys";
    /// The group operation breaks a rule.
    BadGroupOperation = 22, "bad_group_operation";
    /// The server was restored: upload the device list and keys first.
    KeysRequired = 23, "keys_required";
    /// The session was silent for too long, or too slow to authenticate.
    Idle = 24, "idle";
    /// There is no such link here, or it expired, was refused or used.
    LinkUnavailable = 25, "link_unavailable";
    /// There is no such group, or it is not for this account to see.
    NoSuchGroup = 26, "no_such_group";
    /// The group's chain has another head than the one that was named. Nothing was stored.
    GroupHeadMoved = 27, "group_head_moved";
    /// There is no such blob, or it has expired.
    NoSuchBlob = 28, "no_such_blob";
}

/// A request was refused. Unless the code is [`Code::Unavailable`], nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", code.name())]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// When to try again, for codes where that helps.
    pub retry_after: Option<Millis>,
    /// With [`Code::StaleDevices`]: what differs.
    pub stale: Option<Box<Stale>>,
    /// With [`Code::MailboxFull`]: whose.
    pub full: Vec<DeviceRef>,
    /// To a group send or operation: where the group really stands.
    pub group: Option<Box<GroupStanding>>,
}

impl Refusal {
    /// A refusal without details.
    pub const fn new(code: Code) -> Self {
        Self { code, retry_after: None, stale: None, full: Vec::new(), group: None }
    }

    /// A refusal that says when to come back.
    pub fn retry_after(after: Millis) -> Self {
        Self { retry_after: Some(after), ..Self::new(Code::RetryAfter) }
    }

    /// A send whose devices are not the listed ones.
    pub fn stale(stale: Stale) -> Self {
        Self { stale: Some(Box::new(stale)), ..Self::new(Code::StaleDevices) }
    }

    /// A group send whose digest of device lists is not the server's: these are the versions it has.
    pub fn stale_lists(lists: Vec<ListVersion>) -> Self {
        let group = Some(Box::new(GroupStanding { lists, head: None }));
        Self { group, ..Self::new(Code::StaleDevices) }
    }

    /// A group send or operation that names another head than the chain has.
    pub fn head_moved(head: GroupHead) -> Self {
        let group = Some(Box::new(GroupStanding { lists: Vec::new(), head: Some(head) }));
        Self { group, ..Self::new(Code::GroupHeadMoved) }
    }

    /// A send to full mailboxes.
    pub fn mailbox_full(full: Vec<DeviceRef>) -> Self {
        Self { full, ..Self::new(Code::MailboxFull) }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// Where a group stands, as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStanding {
    /// With [`Code::StaleDevices`]: the version of every member's device list.
    pub lists: Vec<ListVersion>,
    /// With [`Code::GroupHeadMoved`]: the newest operation.
    pub head: Option<GroupHead>,
}

/// The version of an account's device list that the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListVersion {
    /// The account.
    pub account: AccountId,
    /// The version; 0 once the account was closed.
    pub version: u64,
}

/// The newest operation of a group's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// Its epoch.
    pub epoch: u64,
    /// SHA-256 of the signed operation.
    pub head: [u8; 32],
}

/// How the devices of a send differ from the listed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Listed, not in the send.
    pub missing: Vec<DeviceRef>,
    /// In the send, not listed.
    pub extra: Vec<DeviceRef>,
    /// Listed under another registration id, which is the one given here.
    pub stale: Vec<DeviceRef>,
}
