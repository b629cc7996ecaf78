//! From what went wrong in a role to what the peer is told. The only place that does.

use crate::{
    accept::SendError, accounts::AccountError, connect::ConnectError, groups::GroupError, keys::KeyError,
    lists::ListRefused, stamp::StampError,
};
use server_ports::{StoreError, mailboxes::AppendError};
use types::Millis;
use wire::{Code, GroupHead, ListVersion, Refusal};

/// Why a role did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("over a quota")]
    Quota { retry_after: Millis },
    #[error("{}", .0.name())]
    Code(Code),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    List(#[from] ListRefused),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Rejection {
    pub(crate) fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            // The outcome is unknown; the retry with the same id settles it.
            Self::Store(_) => Refusal::new(Code::Unavailable),
            Self::Quota { retry_after } => Refusal::retry_after(retry_after),
            Self::Code(code) => Refusal::new(code),
            Self::Send(error) => of_send(error),
            Self::Key(error) => Refusal::new(of_key(&error)),
            Self::List(error) => Refusal::new(of_list(&error)),
            Self::Account(AccountError::Closed) => Refusal::new(Code::Revoked),
            Self::Connect(error) => Refusal::new(of_connect(&error)),
            Self::Group(error) => of_group(error),
        }
    }
}

fn of_send(error: SendError) -> Refusal {
    match error {
        SendError::Malformed(_) => Refusal::new(Code::Malformed),
        SendError::Conflict => Refusal::new(Code::EnvelopeConflict),
        SendError::SenderRevoked => Refusal::new(Code::Revoked),
        SendError::SenderUnknown => Refusal::new(Code::KeysRequired),
        SendError::RecipientUnknown => Refusal::new(Code::NoSuchAccount),
        SendError::RecipientClosed => Refusal::new(Code::AccountClosed),
        SendError::RecipientNotReady { retry_after } => Refusal::retry_after(retry_after),
        SendError::Stale(stale) => Refusal::stale(stale),
        SendError::StampAhead { by } => Refusal { retry_after: Some(by), ..Refusal::new(Code::BadStamp) },
        SendError::Full(full) => Refusal::mailbox_full(full),
    }
}

fn of_key(error: &KeyError) -> Code {
    match error {
        KeyError::Length | KeyError::Type | KeyError::Weak | KeyError::Kind | KeyError::RepeatedId => {
            Code::BadKeys
        }
        KeyError::TooMany => Code::TooLarge,
        KeyError::NotListed => Code::Revoked,
    }
}

fn of_list(error: &ListRefused) -> Code {
    match error {
        ListRefused::List(_)
        | ListRefused::KeysChanged
        | ListRefused::NotLinked
        | ListRefused::NotTheOffered => Code::BadDeviceList,
        ListRefused::OtherAccount | ListRefused::NotThePrimary => Code::Forbidden,
        ListRefused::NotNewer | ListRefused::Overtaken => Code::VersionConflict,
        ListRefused::NoAccount => Code::Revoked,
    }
}

fn of_group(error: GroupError) -> Refusal {
    match error {
        GroupError::Operation(_) | GroupError::Chain(_) | GroupError::UnknownMember => {
            Refusal::new(Code::BadGroupOperation)
        }
        GroupError::OtherActor | GroupError::NotAllowed => Refusal::new(Code::Forbidden),
        GroupError::NoSuchGroup => Refusal::new(Code::NoSuchGroup),
        GroupError::HeadMoved(head) => Refusal::head_moved(GroupHead { epoch: head.epoch, head: head.head }),
        GroupError::StaleLists(lists) => {
            let version = |(account, version)| ListVersion { account, version };
            Refusal::stale_lists(lists.into_iter().map(version).collect())
        }
    }
}

fn of_connect(error: &ConnectError) -> Code {
    match error {
        ConnectError::Version => Code::VersionUnsupported,
        ConnectError::Origin | ConnectError::Unknown | ConnectError::Token | ConnectError::Signature => {
            Code::Unauthenticated
        }
        ConnectError::Revoked => Code::Revoked,
        ConnectError::Cloned => Code::Cloned,
        ConnectError::Replaced => Code::Replaced,
    }
}

impl From<AppendError> for Rejection {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict => Self::Send(SendError::Conflict),
            AppendError::Full(full) => Self::Send(SendError::Full(full)),
            AppendError::Store(error) => Self::Store(error),
        }
    }
}

impl From<StampError> for Rejection {
    fn from(error: StampError) -> Self {
        match error {
            StampError::Ahead { by } => Self::Send(SendError::StampAhead { by }),
            StampError::Store(error) => Self::Store(error),
        }
    }
}
