//! Frames as domain types: requests, responses and pushes of one session.

use crate::{EnvelopeKind, Malformed, Refusal, Urgency, convert, proto::frames as pb, version};
use bytes::Bytes;
use prost::Message as _;
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, IncarnationId, LinkId, MailboxId,
    Millis, PhoneNumber, Position, Redact, RegistrationId, Stamp, Timestamp,
};

/// What a client sends: a request and the number by which it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// Increasing within a connection, from 1.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

impl ClientFrame {
    /// The bytes of one socket message.
    pub fn encode(&self) -> Bytes {
        convert::client_frame(self).encode_to_vec().into()
    }

    /// Reads one socket message. An unknown request is [`Request::Unknown`], to be answered `Unsupported`.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let frame = pb::ClientFrame::decode(bytes).map_err(|_| Malformed::Protobuf)?;
        convert::read_client_frame(frame)
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Must come first.
    Authenticate(Authenticate),
    /// Accept one send. Answered [`Response::Accepted`].
    Send(Send),
    /// Delete delivered rows. Answered [`Response::Done`] once queued for the next commit.
    Ack(Vec<Position>),
    /// Prekey bundles. Answered [`Response::Keys`].
    FetchKeys(FetchKeys),
    /// Answered [`Response::Done`].
    UploadKeys(KeyUpload),
    /// How many one-time prekeys are left. Answered [`Response::KeyCounts`].
    KeyCount,
    /// Signed device lists. Answered [`Response::DeviceLists`].
    GetDeviceLists(Vec<AccountId>),
    /// A new list of one's own account. Answered [`Response::Done`].
    PutDeviceList(Bytes),
    /// Which accounts have these numbers. Answered [`Response::LookupResult`].
    Lookup {
        /// The numbers.
        numbers: Vec<PhoneNumber>,
        /// The one number came in content from a new chat: not counted against the budget.
        verify_sender: bool,
    },
    /// Answered [`Response::Done`] once every earlier request was answered.
    Sync,
    /// Accept one send to a group. Answered [`Response::Accepted`].
    SendGroup(GroupSend),
    /// Extend a group's chain. Answered [`Response::Accepted`], with the operation's place in the order.
    ApplyGroup {
        /// The signed operation; at most [`types::limits::GROUP_OPERATION_BYTES_MAX`].
        operation: Bytes,
        /// The highest stamp seen.
        highest_stamp: Option<Stamp>,
    },
    /// A part of a group's chain. Answered [`Response::GroupState`] to members, to former members up to the
    /// operation that removed them, and to whoever holds the invite link.
    GetGroup {
        /// Which group.
        group: GroupId,
        /// The first epoch wanted.
        from_epoch: u64,
        /// Of one who is not a member yet: `signed::join_signature` by the link key.
        link_signature: Option<[u8; 64]>,
    },
    /// What a new device offers. Answered [`Response::LinkState`]; for the primary device only.
    GetLink(LinkId),
    /// Answered [`Response::Done`]. The first inviter has the link.
    InviteLink {
        /// Which link.
        link: LinkId,
        /// `waxwing.link.v1.LinkInvitation`; at most [`types::limits::LINK_MESSAGE_BYTES_MAX`].
        invitation: Bytes,
    },
    /// The link is dead. Answered [`Response::Done`].
    RefuseLink(LinkId),
    /// Stores a list that adds the device of a link, with the device's token and keys, and completes the
    /// link, all at once. Answered [`Response::Done`].
    CompleteLink {
        /// Which link.
        link: LinkId,
        /// The signed device list.
        device_list: Bytes,
        /// `waxwing.link.v1.LinkCompletion`; at most [`types::limits::LINK_COMPLETION_BYTES_MAX`].
        completion: Bytes,
    },
    /// A place for sealed bytes. Answered [`Response::BlobTicket`], where to PUT them.
    CreateBlob {
        /// At most [`types::limits::BLOB_BYTES_MAX`].
        size: u32,
        /// Of the sealed bytes.
        sha256: [u8; 32],
    },
    /// Answered [`Response::BlobTicket`], where to GET the bytes.
    GetBlob(BlobId),
    /// Delivered if a socket is there, dropped otherwise. Answered [`Response::Done`].
    Ephemeral {
        /// The recipient.
        recipient: AccountId,
        /// One ciphertext a device.
        sealed: Vec<SealedFor>,
    },
    /// Closes one's own account. Answered [`Response::Done`].
    CloseAccount,
    /// A request of a later version.
    Unknown,
}

impl Request {
    /// The request's name in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Authenticate(_) => "authenticate",
            Self::Send(_) => "send",
            Self::Ack(_) => "ack",
            Self::FetchKeys(_) => "fetch_keys",
            Self::UploadKeys(_) => "upload_keys",
            Self::KeyCount => "key_count",
            Self::GetDeviceLists(_) => "get_device_lists",
            Self::PutDeviceList(_) => "put_device_list",
            Self::Lookup { .. } => "lookup",
            Self::Sync => "sync",
            Self::SendGroup(_) => "send_group",
            Self::ApplyGroup { .. } => "apply_group",
            Self::GetGroup { .. } => "get_group",
            Self::GetLink(_) => "get_link",
            Self::InviteLink { .. } => "invite_link",
            Self::RefuseLink(_) => "refuse_link",
            Self::CompleteLink { .. } => "complete_link",
            Self::CreateBlob { .. } => "create_blob",
            Self::GetBlob(_) => "get_blob",
            Self::Ephemeral { .. } => "ephemeral",
            Self::CloseAccount => "close_account",
            Self::Unknown => "unknown",
        }
    }
}

/// Proof that this socket belongs to a device (docs/protocol.md, Connecting).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// The version picked from the server's range.
    pub version: u32,
    /// `scheme://host[:port]` that the client dialled; at most 256 bytes.
    pub origin: String,
    /// The device.
    pub address: DeviceAddress,
    /// Greater than every number that this device used before.
    pub connection_number: u64,
    /// Given at registration.
    pub token: Redact<[u8; 32]>,
    /// By the device key, over the session proof.
    pub signature: [u8; 64],
}

/// One send: the ciphertexts for the recipient's devices and for the sender's own other devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Random; a retry has the same one.
    pub envelope_id: EnvelopeId,
    /// The recipient.
    pub recipient: AccountId,
    /// What it may wake.
    pub urgency: Urgency,
    /// Life of the rows, if shorter than [`types::limits::ENVELOPE_LIFE`].
    pub ttl: Option<Millis>,
    /// At most [`types::limits::SEND_DEVICES_MAX`], each device once. What is silent may leave out the
    /// sender's own devices, all of them or none.
    pub sealed: Vec<SealedFor>,
    /// The highest stamp that the sender has seen.
    pub highest_stamp: Option<Stamp>,
}

/// A ciphertext for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFor {
    /// The mailbox.
    pub to: MailboxId,
    /// Which protocol opens it.
    pub kind: EnvelopeKind,
    /// At most [`types::limits::CIPHERTEXT_BYTES_MAX`].
    pub ciphertext: Bytes,
}

/// One send to a group under a sender key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSend {
    /// Random; a retry has the same one.
    pub envelope_id: EnvelopeId,
    /// Which group.
    pub group: GroupId,
    /// The sender's view of the chain.
    pub epoch: u64,
    /// The sender's view of the chain's head.
    pub head: [u8; 32],
    /// Over the sorted (account, list version).
    pub lists_digest: [u8; 32],
    /// What it may wake.
    pub urgency: Urgency,
    /// Life of the rows, if shorter than the full one.
    pub ttl: Option<Millis>,
    /// One for all members.
    pub ciphertext: Bytes,
    /// The highest stamp that the sender has seen.
    pub highest_stamp: Option<Stamp>,
}

/// Which prekey bundles a device wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchKeys {
    /// At most [`types::limits::FETCH_KEYS_ACCOUNTS_MAX`].
    pub accounts: Vec<AccountId>,
    /// The session broke: without one-time keys.
    pub reset: bool,
    /// Only this device of each account.
    pub device: Option<DeviceNumber>,
}

/// A prekey signed by the identity key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPrekey {
    /// Chosen by its owner.
    pub id: u32,
    /// 33 bytes, type byte first.
    pub public_key: Bytes,
    /// 64 bytes.
    pub signature: Bytes,
}

/// A post-quantum prekey (ML-KEM 1024) signed by the identity key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemPrekey {
    /// Chosen by its owner.
    pub id: u32,
    /// 1,569 bytes, type byte first.
    pub public_key: Bytes,
    /// 64 bytes.
    pub signature: Bytes,
    /// Given to anyone when the pool is empty.
    pub last_resort: bool,
}

/// A classical one-time prekey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimePrekey {
    /// Chosen by its owner.
    pub id: u32,
    /// 33 bytes, type byte first.
    pub public_key: Bytes,
}

/// Keys of one device: what is present replaces (signed, last resort) or adds (one-time).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUpload {
    /// Replaces.
    pub signed_prekey: Option<SignedPrekey>,
    /// Replaces.
    pub last_resort: Option<KemPrekey>,
    /// Adds.
    pub one_time: Vec<OneTimePrekey>,
    /// Adds.
    pub one_time_kem: Vec<KemPrekey>,
}

impl KeyUpload {
    /// The bytes of `waxwing.frames.v1.UploadKeys` by itself, as a registration carries them.
    pub fn encode(&self) -> Bytes {
        convert::upload_keys(self).encode_to_vec().into()
    }

    /// Reads what [`KeyUpload::encode`] wrote, with the limits of a frame.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let upload = pb::UploadKeys::decode(bytes).map_err(|_| Malformed::Protobuf)?;
        convert::read_upload_keys(upload)
    }
}

/// One-time prekeys left on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Classical.
    pub one_time: u32,
    /// Post-quantum.
    pub one_time_kem: u32,
}

/// What a client needs to open a session with one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The device.
    pub device: DeviceNumber,
    /// Which life of it.
    pub registration: RegistrationId,
    /// Always there.
    pub signed_prekey: SignedPrekey,
    /// One-time, or the last-resort one.
    pub kem_prekey: KemPrekey,
    /// Absent when the pool was empty, or on a reset.
    pub one_time_prekey: Option<OneTimePrekey>,
}

impl Bundle {
    /// The bytes of `waxwing.frames.v1.Bundle` by itself, as a store keeps them.
    pub fn encode(&self) -> Bytes {
        convert::bundle(self).encode_to_vec().into()
    }

    /// Reads what [`Bundle::encode`] wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let bundle = pb::Bundle::decode(bytes).map_err(|_| Malformed::Protobuf)?;
        convert::read_bundle(bundle)
    }
}

/// The device list and bundles of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKeys {
    /// The account.
    pub account: AccountId,
    /// The signed device list; empty where there is no such account, or it is closed.
    pub device_list: Bytes,
    /// One a device.
    pub bundles: Vec<Bundle>,
    /// The account was closed.
    pub closed: bool,
}

/// The device list of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountList {
    /// The account.
    pub account: AccountId,
    /// The signed device list; empty where there is no such account.
    pub device_list: Bytes,
    /// The account was closed.
    pub closed: bool,
}

/// A device, in one life of its number.
pub type DeviceRef = MailboxId;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// The answer to a request.
    Answer {
        /// The request's number.
        id: u64,
        /// The response or the refusal.
        result: Result<Response, Refusal>,
    },
    /// Something that was not asked for.
    Push(Push),
}

impl ServerFrame {
    /// The bytes of one socket message.
    pub fn encode(&self) -> Bytes {
        convert::server_frame(self).encode_to_vec().into()
    }

    /// Reads one socket message. An unknown push is [`Push::Unknown`], to be ignored.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let frame = pb::ServerFrame::decode(bytes).map_err(|_| Malformed::Protobuf)?;
        convert::read_server_frame(frame)
    }
}

/// The answer to a request that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To `Authenticate`.
    Authenticated(Authenticated),
    /// To `Send` and `SendGroup`: on disk.
    Accepted {
        /// The message's place in the order of its conversation.
        stamp: Stamp,
        /// Group sends: devices whose mailboxes were full.
        skipped: Vec<DeviceRef>,
    },
    /// Nothing to say.
    Done,
    /// To `FetchKeys`, in the order asked.
    Keys(Vec<AccountKeys>),
    /// To `GetDeviceLists`, in the order asked.
    DeviceLists(Vec<AccountList>),
    /// To `Lookup`, in the order asked.
    LookupResult(Vec<Option<AccountId>>),
    /// To `GetGroup`.
    GroupState {
        /// Signed operations from the epoch asked on.
        operations: Vec<Bytes>,
        /// Ask again for the rest.
        more: bool,
    },
    /// To `KeyCount`.
    KeyCounts(KeyCounts),
    /// To `GetLink`.
    LinkState(LinkState),
    /// To `CreateBlob` and `GetBlob`.
    BlobTicket(BlobTicket),
}

/// How a link stands, for the primary device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// `waxwing.link.v1.LinkOffer`, as the new device gave it; the code has its hash.
    pub offer: Bytes,
    /// `waxwing.link.v1.LinkAnswer`, once the new device has answered the invitation.
    pub answer: Option<Bytes>,
    /// How long the link still lives.
    pub expires_in: Millis,
}

/// Where the bytes of a blob are to be PUT or can be had, for
/// [`types::limits::BLOB_TICKET_LIFE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobTicket {
    /// The blob.
    pub blob: BlobId,
    /// Absolute, or beginning with `/`: at the origin that was dialled. At most 2,048 bytes.
    pub url: String,
}

/// The session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// The version that both sides speak now.
    pub version: u32,
    /// Which life of the device number the server knows.
    pub registration: RegistrationId,
    /// The version of one's own device list that the server has; 0 asks for an upload.
    pub device_list_version: u64,
}

/// The server's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the server speaks.
    pub versions: version::Range,
    /// To be signed.
    pub nonce: [u8; 32],
    /// The server's clock.
    pub time: Timestamp,
    /// New after a restore from backup.
    pub incarnation: IncarnationId,
}

/// One row of the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To be acknowledged.
    pub position: Position,
    /// An encoded [`crate::Envelope`], as it was stored.
    pub envelope: Bytes,
}

/// What a server says unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// The first frame of a connection.
    Hello(Hello),
    /// Rows of the mailbox, in the order of positions within one push.
    Deliver(Vec<Delivery>),
    /// Everything that was in the mailbox when the session began has been delivered. Once a session.
    Drained,
    /// Time to upload one-time prekeys.
    KeysLow(KeyCounts),
    /// An account's device list changed.
    DeviceListChanged {
        /// Whose.
        account: AccountId,
        /// To which version.
        version: u64,
    },
    /// The server is about to stop: connect again after this long.
    Reconnect {
        /// How long.
        after: Millis,
    },
    /// A signal that was never stored.
    Ephemeral(Bytes),
    /// The session ends for this reason.
    Closing(Refusal),
    /// A push of a later version.
    Unknown,
}
