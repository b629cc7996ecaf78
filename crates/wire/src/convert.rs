//! Between generated protobuf and domain types, with every limit: the one file where they meet.

use crate::{
    Code, EnvelopeKind, GroupHead, GroupStanding, ListVersion, Malformed, Refusal, Stale, Urgency,
    frame::{
        AccountKeys, AccountList, Authenticate, Authenticated, BlobTicket, Bundle, ClientFrame, Delivery,
        DeviceRef, FetchKeys, GroupSend, Hello, KemPrekey, KeyCounts, KeyUpload, LinkState, OneTimePrekey,
        Push, Request, Response, SealedFor, Send, ServerFrame, SignedPrekey,
    },
    proto::frames::{self as pb, client_frame::Body as Asked, server_frame::Body as Said},
    version,
};
use bytes::Bytes;
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, IncarnationId, Invalid, LinkId,
    MailboxId, Millis, PhoneNumber, Position, Redact, RegistrationId, Stamp, Timestamp, limits,
};

type Read<T> = Result<T, Malformed>;

const ORIGIN_BYTES_MAX: usize = 256;
const PREKEY_BYTES: usize = 33;
const KEM_PREKEY_BYTES: usize = 1_569;
const SIGNATURE_BYTES: usize = 64;
const BLOB_URL_BYTES_MAX: usize = 2_048;
/// The answer to an unknown account in a `Lookup`: as long as a hit, so that sizes say nothing.
const LOOKUP_MISS: [u8; 16] = [0; 16];

// ---- small fields

pub(crate) fn id(bytes: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn stamp(stamp: Stamp) -> Bytes {
    Bytes::copy_from_slice(&stamp.to_bytes())
}

fn optional_stamp(highest: Option<Stamp>) -> Bytes {
    highest.map(stamp).unwrap_or_default()
}

fn position(position: Position) -> Bytes {
    let bytes = position.as_u128().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Bytes::copy_from_slice(&bytes[zeros..])
}

fn read_position(bytes: &[u8]) -> Read<Position> {
    if bytes.is_empty() || bytes.len() > 16 || bytes.first() == Some(&0) {
        return Err(Malformed::Field("position"));
    }
    let value = bytes.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    Ok(Position::from_u128(value))
}

pub(crate) fn optional<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> Result<T, Invalid>) -> Read<Option<T>> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(read(bytes)?)) }
}

fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Read<[u8; N]> {
    bytes.try_into().map_err(|_| Malformed::Field(what))
}

fn sized(bytes: Bytes, size: usize, what: &'static str) -> Read<Bytes> {
    if bytes.len() == size { Ok(bytes) } else { Err(Malformed::Field(what)) }
}

fn at_most(bytes: Bytes, max: usize, what: &'static str) -> Read<Bytes> {
    if bytes.len() <= max { Ok(bytes) } else { Err(Malformed::TooLarge(what)) }
}

fn list<T, U>(items: Vec<T>, max: usize, what: &'static str, read: impl FnMut(T) -> Read<U>) -> Read<Vec<U>> {
    if items.len() > max {
        return Err(Malformed::TooLarge(what));
    }
    items.into_iter().map(read).collect()
}

pub(crate) fn read_address(account: &[u8], device: u32) -> Read<DeviceAddress> {
    Ok(DeviceAddress::new(AccountId::from_slice(account)?, DeviceNumber::new(device)?))
}

pub(crate) fn read_mailbox(account: &[u8], device: u32, registration: u32) -> Read<MailboxId> {
    Ok(read_address(account, device)?.mailbox(RegistrationId::new(registration)?))
}

fn read_account(bytes: Bytes) -> Read<AccountId> {
    Ok(AccountId::from_slice(&bytes)?)
}

fn device_ref(device: &DeviceRef) -> pb::DeviceRef {
    pb::DeviceRef {
        account: id(device.account.as_bytes()),
        device: device.device.get().into(),
        registration: device.registration.get(),
    }
}

fn read_device_ref(device: pb::DeviceRef) -> Read<DeviceRef> {
    read_mailbox(&device.account, device.device, device.registration)
}

fn device_refs(devices: &[DeviceRef]) -> Vec<pb::DeviceRef> {
    devices.iter().map(device_ref).collect()
}

fn read_device_refs(devices: Vec<pb::DeviceRef>) -> Read<Vec<DeviceRef>> {
    list(devices, limits::GROUP_MEMBERS_MAX * limits::DEVICES_MAX, "devices", read_device_ref)
}

fn seconds(ttl: Option<Millis>) -> u32 {
    ttl.map_or(0, |ttl| u32::try_from(ttl.0.div_ceil(1_000)).unwrap_or(u32::MAX))
}

fn read_seconds(ttl_seconds: u32) -> Option<Millis> {
    (ttl_seconds > 0).then(|| Millis::from_secs(ttl_seconds.into()))
}

fn millis_u32(time: Millis) -> u32 {
    u32::try_from(time.0).unwrap_or(u32::MAX)
}

fn read_urgency(number: u32) -> Read<Urgency> {
    i32::try_from(number).ok().and_then(Urgency::from_number).ok_or(Malformed::Field("urgency"))
}

// ---- what clients say

pub(crate) fn client_frame(frame: &ClientFrame) -> pb::ClientFrame {
    let body = match &frame.request {
        Request::Authenticate(proof) => Some(Asked::Authenticate(authenticate(proof))),
        Request::Send(send) => Some(Asked::Send(self::send(send))),
        Request::Ack(positions) => {
            Some(Asked::Ack(pb::Ack { positions: positions.iter().copied().map(position).collect() }))
        }
        Request::FetchKeys(fetch) => Some(Asked::FetchKeys(pb::FetchKeys {
            accounts: accounts(&fetch.accounts),
            reset: fetch.reset,
            device: fetch.device.map_or(0, |device| device.get().into()),
        })),
        Request::UploadKeys(upload) => Some(Asked::UploadKeys(upload_keys(upload))),
        Request::KeyCount => Some(Asked::KeyCount(pb::KeyCount {})),
        Request::GetDeviceLists(of) => {
            Some(Asked::GetDeviceLists(pb::GetDeviceLists { accounts: accounts(of) }))
        }
        Request::PutDeviceList(list) => {
            Some(Asked::PutDeviceList(pb::PutDeviceList { device_list: list.clone() }))
        }
        Request::Lookup { numbers, verify_sender } => Some(Asked::Lookup(pb::Lookup {
            numbers: numbers.iter().map(|number| number.e164().to_owned()).collect(),
            verify_sender: *verify_sender,
        })),
        Request::Sync => Some(Asked::Sync(pb::Sync {})),
        Request::SendGroup(send) => Some(Asked::SendGroup(group_send(send))),
        Request::ApplyGroup { operation, highest_stamp } => Some(Asked::ApplyGroup(pb::ApplyGroup {
            operation: operation.clone(),
            highest_stamp: optional_stamp(*highest_stamp),
        })),
        Request::GetGroup { group, from_epoch, link_signature } => Some(Asked::GetGroup(pb::GetGroup {
            group: id(group.as_bytes()),
            from_epoch: *from_epoch,
            link_signature: link_signature.map(|bytes| Bytes::copy_from_slice(&bytes)).unwrap_or_default(),
        })),
        Request::GetLink(link) => Some(Asked::GetLink(pb::GetLink { link: id(link.as_bytes()) })),
        Request::InviteLink { link, invitation } => Some(Asked::InviteLink(pb::InviteLink {
            link: id(link.as_bytes()),
            invitation: invitation.clone(),
        })),
        Request::RefuseLink(link) => Some(Asked::RefuseLink(pb::RefuseLink { link: id(link.as_bytes()) })),
        Request::CompleteLink { link, device_list, completion } => {
            Some(Asked::CompleteLink(pb::CompleteLink {
                link: id(link.as_bytes()),
                device_list: device_list.clone(),
                completion: completion.clone(),
            }))
        }
        Request::CreateBlob { size, sha256 } => {
            Some(Asked::CreateBlob(pb::CreateBlob { size: *size, sha256: Bytes::copy_from_slice(sha256) }))
        }
        Request::GetBlob(blob) => Some(Asked::GetBlob(pb::GetBlob { blob: id(blob.as_bytes()) })),
        Request::Ephemeral { recipient, sealed } => Some(Asked::Ephemeral(pb::Ephemeral {
            recipient: id(recipient.as_bytes()),
            sealed: sealed.iter().map(sealed_for).collect(),
        })),
        Request::CloseAccount => Some(Asked::CloseAccount(pb::CloseAccount {})),
        Request::Unknown => None,
    };
    pb::ClientFrame { id: frame.id, body }
}

pub(crate) fn read_client_frame(frame: pb::ClientFrame) -> Read<ClientFrame> {
    if frame.id == 0 {
        return Err(Malformed::Field("frame id"));
    }
    let request = match frame.body {
        None => Request::Unknown,
        Some(Asked::Authenticate(proof)) => Request::Authenticate(read_authenticate(proof)?),
        Some(Asked::Send(send)) => Request::Send(read_send(send)?),
        Some(Asked::Ack(ack)) => {
            Request::Ack(list(ack.positions, limits::ACK_POSITIONS_MAX, "positions", |p| read_position(&p))?)
        }
        Some(Asked::FetchKeys(fetch)) => Request::FetchKeys(FetchKeys {
            accounts: read_accounts(fetch.accounts)?,
            reset: fetch.reset,
            device: if fetch.device == 0 { None } else { Some(DeviceNumber::new(fetch.device)?) },
        }),
        Some(Asked::UploadKeys(upload)) => Request::UploadKeys(read_upload_keys(upload)?),
        Some(Asked::KeyCount(_)) => Request::KeyCount,
        Some(Asked::GetDeviceLists(get)) => Request::GetDeviceLists(read_accounts(get.accounts)?),
        Some(Asked::PutDeviceList(put)) => {
            Request::PutDeviceList(at_most(put.device_list, limits::DEVICE_LIST_BYTES_MAX, "device list")?)
        }
        Some(Asked::Lookup(lookup)) => Request::Lookup {
            numbers: list(lookup.numbers, limits::LOOKUP_NUMBERS_MAX, "numbers", |number| {
                Ok(number.parse::<PhoneNumber>()?)
            })?,
            verify_sender: lookup.verify_sender,
        },
        Some(Asked::Sync(_)) => Request::Sync,
        Some(Asked::SendGroup(send)) => Request::SendGroup(read_group_send(send)?),
        Some(Asked::ApplyGroup(apply)) => Request::ApplyGroup {
            operation: at_most(apply.operation, limits::GROUP_OPERATION_BYTES_MAX, "group operation")?,
            highest_stamp: optional(&apply.highest_stamp, Stamp::from_slice)?,
        },
        Some(Asked::GetGroup(get)) => Request::GetGroup {
            group: GroupId::from_slice(&get.group)?,
            from_epoch: get.from_epoch,
            link_signature: optional(&get.link_signature, |bytes| {
                bytes.try_into().map_err(|_| Invalid { what: "link signature" })
            })?,
        },
        Some(Asked::GetLink(get)) => Request::GetLink(LinkId::from_slice(&get.link)?),
        Some(Asked::InviteLink(invite)) => Request::InviteLink {
            link: LinkId::from_slice(&invite.link)?,
            invitation: at_most(invite.invitation, limits::LINK_MESSAGE_BYTES_MAX, "invitation")?,
        },
        Some(Asked::RefuseLink(refuse)) => Request::RefuseLink(LinkId::from_slice(&refuse.link)?),
        Some(Asked::CompleteLink(complete)) => Request::CompleteLink {
            link: LinkId::from_slice(&complete.link)?,
            device_list: at_most(complete.device_list, limits::DEVICE_LIST_BYTES_MAX, "device list")?,
            completion: at_most(complete.completion, limits::LINK_COMPLETION_BYTES_MAX, "completion")?,
        },
        Some(Asked::CreateBlob(create)) => {
            if usize::try_from(create.size).is_ok_and(|size| size > limits::BLOB_BYTES_MAX) {
                return Err(Malformed::TooLarge("blob"));
            }
            Request::CreateBlob { size: create.size, sha256: array(&create.sha256, "digest of a blob")? }
        }
        Some(Asked::GetBlob(get)) => Request::GetBlob(BlobId::from_slice(&get.blob)?),
        Some(Asked::Ephemeral(signal)) => Request::Ephemeral {
            recipient: AccountId::from_slice(&signal.recipient)?,
            sealed: read_sealed(signal.sealed)?,
        },
        Some(Asked::CloseAccount(_)) => Request::CloseAccount,
    };
    Ok(ClientFrame { id: frame.id, request })
}

fn authenticate(proof: &Authenticate) -> pb::Authenticate {
    pb::Authenticate {
        version: proof.version,
        origin: proof.origin.clone(),
        account: id(proof.address.account.as_bytes()),
        device: proof.address.device.get().into(),
        connection_number: proof.connection_number,
        token: Bytes::copy_from_slice(proof.token.expose()),
        signature: Bytes::copy_from_slice(&proof.signature),
    }
}

fn read_authenticate(proof: pb::Authenticate) -> Read<Authenticate> {
    if proof.origin.len() > ORIGIN_BYTES_MAX {
        return Err(Malformed::TooLarge("origin"));
    }
    Ok(Authenticate {
        version: proof.version,
        origin: proof.origin,
        address: read_address(&proof.account, proof.device)?,
        connection_number: proof.connection_number,
        token: Redact::new(array(&proof.token, "token")?),
        signature: array(&proof.signature, "signature")?,
    })
}

fn send(send: &Send) -> pb::Send {
    pb::Send {
        envelope_id: id(send.envelope_id.as_bytes()),
        recipient: id(send.recipient.as_bytes()),
        urgency: send.urgency as u32,
        ttl_seconds: seconds(send.ttl),
        sealed: send.sealed.iter().map(sealed_for).collect(),
        highest_stamp: optional_stamp(send.highest_stamp),
    }
}

fn read_send(send: pb::Send) -> Read<Send> {
    Ok(Send {
        envelope_id: EnvelopeId::from_slice(&send.envelope_id)?,
        recipient: AccountId::from_slice(&send.recipient)?,
        urgency: read_urgency(send.urgency)?,
        ttl: read_seconds(send.ttl_seconds),
        sealed: read_sealed(send.sealed)?,
        highest_stamp: optional(&send.highest_stamp, Stamp::from_slice)?,
    })
}

fn sealed_for(sealed: &SealedFor) -> pb::SealedFor {
    pb::SealedFor {
        account: id(sealed.to.account.as_bytes()),
        device: sealed.to.device.get().into(),
        registration: sealed.to.registration.get(),
        kind: sealed.kind as u32,
        ciphertext: sealed.ciphertext.clone(),
    }
}

fn read_sealed(sealed: Vec<pb::SealedFor>) -> Read<Vec<SealedFor>> {
    let sealed = list(sealed, limits::SEND_DEVICES_MAX, "devices of a send", |sealed| {
        Ok(SealedFor {
            to: read_mailbox(&sealed.account, sealed.device, sealed.registration)?,
            kind: i32::try_from(sealed.kind).map_or(EnvelopeKind::Unknown, EnvelopeKind::from_number),
            ciphertext: at_most(sealed.ciphertext, limits::CIPHERTEXT_BYTES_MAX, "ciphertext")?,
        })
    })?;
    let each_once = sealed.iter().enumerate().all(|(index, one)| {
        sealed.iter().skip(index + 1).all(|other| one.to.address() != other.to.address())
    });
    if each_once { Ok(sealed) } else { Err(Malformed::Field("devices of a send (one is named twice)")) }
}

fn group_send(send: &GroupSend) -> pb::SendGroup {
    pb::SendGroup {
        envelope_id: id(send.envelope_id.as_bytes()),
        group: id(send.group.as_bytes()),
        epoch: send.epoch,
        head: Bytes::copy_from_slice(&send.head),
        lists_digest: Bytes::copy_from_slice(&send.lists_digest),
        urgency: send.urgency as u32,
        ttl_seconds: seconds(send.ttl),
        ciphertext: send.ciphertext.clone(),
        highest_stamp: optional_stamp(send.highest_stamp),
    }
}

fn read_group_send(send: pb::SendGroup) -> Read<GroupSend> {
    Ok(GroupSend {
        envelope_id: EnvelopeId::from_slice(&send.envelope_id)?,
        group: GroupId::from_slice(&send.group)?,
        epoch: send.epoch,
        head: array(&send.head, "head")?,
        lists_digest: array(&send.lists_digest, "digest of device lists")?,
        urgency: read_urgency(send.urgency)?,
        ttl: read_seconds(send.ttl_seconds),
        ciphertext: at_most(send.ciphertext, limits::CIPHERTEXT_BYTES_MAX, "ciphertext")?,
        highest_stamp: optional(&send.highest_stamp, Stamp::from_slice)?,
    })
}

fn accounts(accounts: &[AccountId]) -> Vec<Bytes> {
    accounts.iter().map(|account| id(account.as_bytes())).collect()
}

fn read_accounts(accounts: Vec<Bytes>) -> Read<Vec<AccountId>> {
    list(accounts, limits::FETCH_KEYS_ACCOUNTS_MAX, "accounts", read_account)
}

// ---- keys

pub(crate) fn upload_keys(upload: &KeyUpload) -> pb::UploadKeys {
    pb::UploadKeys {
        signed_prekey: upload.signed_prekey.as_ref().map(signed_prekey),
        last_resort: upload.last_resort.as_ref().map(kem_prekey),
        one_time: upload.one_time.iter().map(one_time_prekey).collect(),
        one_time_kem: upload.one_time_kem.iter().map(kem_prekey).collect(),
    }
}

pub(crate) fn read_upload_keys(upload: pb::UploadKeys) -> Read<KeyUpload> {
    Ok(KeyUpload {
        signed_prekey: upload.signed_prekey.map(read_signed_prekey).transpose()?,
        last_resort: upload.last_resort.map(read_kem_prekey).transpose()?,
        one_time: list(upload.one_time, limits::ONE_TIME_KEYS_MAX, "one-time prekeys", read_one_time_prekey)?,
        one_time_kem: list(
            upload.one_time_kem,
            limits::ONE_TIME_KEYS_MAX,
            "one-time prekeys",
            read_kem_prekey,
        )?,
    })
}

fn signed_prekey(key: &SignedPrekey) -> pb::SignedPrekey {
    pb::SignedPrekey { id: key.id, public_key: key.public_key.clone(), signature: key.signature.clone() }
}

fn read_signed_prekey(key: pb::SignedPrekey) -> Read<SignedPrekey> {
    Ok(SignedPrekey {
        id: key.id,
        public_key: sized(key.public_key, PREKEY_BYTES, "signed prekey")?,
        signature: sized(key.signature, SIGNATURE_BYTES, "signature of the signed prekey")?,
    })
}

fn one_time_prekey(key: &OneTimePrekey) -> pb::OneTimePrekey {
    pb::OneTimePrekey { id: key.id, public_key: key.public_key.clone() }
}

fn read_one_time_prekey(key: pb::OneTimePrekey) -> Read<OneTimePrekey> {
    Ok(OneTimePrekey { id: key.id, public_key: sized(key.public_key, PREKEY_BYTES, "one-time prekey")? })
}

fn kem_prekey(key: &KemPrekey) -> pb::KemPrekey {
    pb::KemPrekey {
        id: key.id,
        public_key: key.public_key.clone(),
        signature: key.signature.clone(),
        last_resort: key.last_resort,
    }
}

fn read_kem_prekey(key: pb::KemPrekey) -> Read<KemPrekey> {
    Ok(KemPrekey {
        id: key.id,
        public_key: sized(key.public_key, KEM_PREKEY_BYTES, "post-quantum prekey")?,
        signature: sized(key.signature, SIGNATURE_BYTES, "signature of a post-quantum prekey")?,
        last_resort: key.last_resort,
    })
}

pub(crate) fn bundle(bundle: &Bundle) -> pb::Bundle {
    pb::Bundle {
        device: bundle.device.get().into(),
        registration: bundle.registration.get(),
        signed_prekey: Some(signed_prekey(&bundle.signed_prekey)),
        kem_prekey: Some(kem_prekey(&bundle.kem_prekey)),
        one_time_prekey: bundle.one_time_prekey.as_ref().map(one_time_prekey),
    }
}

pub(crate) fn read_bundle(bundle: pb::Bundle) -> Read<Bundle> {
    Ok(Bundle {
        device: DeviceNumber::new(bundle.device)?,
        registration: RegistrationId::new(bundle.registration)?,
        signed_prekey: read_signed_prekey(bundle.signed_prekey.ok_or(Malformed::Missing("signed prekey"))?)?,
        kem_prekey: read_kem_prekey(bundle.kem_prekey.ok_or(Malformed::Missing("post-quantum prekey"))?)?,
        one_time_prekey: bundle.one_time_prekey.map(read_one_time_prekey).transpose()?,
    })
}

fn account_keys(keys: &AccountKeys) -> pb::AccountKeys {
    pb::AccountKeys {
        account: id(keys.account.as_bytes()),
        device_list: keys.device_list.clone(),
        bundles: keys.bundles.iter().map(bundle).collect(),
        closed: keys.closed,
    }
}

fn read_account_keys(keys: pb::AccountKeys) -> Read<AccountKeys> {
    Ok(AccountKeys {
        account: AccountId::from_slice(&keys.account)?,
        device_list: at_most(keys.device_list, limits::DEVICE_LIST_BYTES_MAX, "device list")?,
        bundles: list(keys.bundles, limits::DEVICES_MAX, "bundles", read_bundle)?,
        closed: keys.closed,
    })
}

fn account_list(list: &AccountList) -> pb::AccountList {
    pb::AccountList {
        account: id(list.account.as_bytes()),
        device_list: list.device_list.clone(),
        closed: list.closed,
    }
}

fn read_account_list(list: pb::AccountList) -> Read<AccountList> {
    Ok(AccountList {
        account: AccountId::from_slice(&list.account)?,
        device_list: at_most(list.device_list, limits::DEVICE_LIST_BYTES_MAX, "device list")?,
        closed: list.closed,
    })
}

// ---- what servers say

pub(crate) fn server_frame(frame: &ServerFrame) -> pb::ServerFrame {
    match frame {
        ServerFrame::Answer { id, result: Ok(response) } => {
            pb::ServerFrame { id: *id, body: Some(self::response(response)) }
        }
        ServerFrame::Answer { id, result: Err(refusal) } => {
            pb::ServerFrame { id: *id, body: Some(Said::Error(error(refusal))) }
        }
        ServerFrame::Push(push) => pb::ServerFrame { id: 0, body: self::push(push) },
    }
}

pub(crate) fn read_server_frame(frame: pb::ServerFrame) -> Read<ServerFrame> {
    let id = frame.id;
    let Some(body) = frame.body else {
        return match id {
            0 => Ok(ServerFrame::Push(Push::Unknown)),
            _ => Err(Malformed::Missing("answer")),
        };
    };
    if id == 0 {
        return read_push(body).map(ServerFrame::Push);
    }
    let result = match body {
        Said::Error(error) => Err(read_error(error)?),
        other => Ok(read_response(other)?),
    };
    Ok(ServerFrame::Answer { id, result })
}

fn response(response: &Response) -> Said {
    match response {
        Response::Authenticated(session) => Said::Authenticated(pb::Authenticated {
            version: session.version,
            registration: session.registration.get(),
            device_list_version: session.device_list_version,
        }),
        Response::Accepted { stamp, skipped } => {
            Said::Accepted(pb::Accepted { stamp: self::stamp(*stamp), skipped: device_refs(skipped) })
        }
        Response::Done => Said::Done(pb::Done {}),
        Response::Keys(keys) => Said::Keys(pb::Keys { accounts: keys.iter().map(account_keys).collect() }),
        Response::DeviceLists(lists) => {
            Said::DeviceLists(pb::DeviceLists { lists: lists.iter().map(account_list).collect() })
        }
        Response::LookupResult(found) => Said::LookupResult(pb::LookupResult {
            accounts: found
                .iter()
                .map(|account| account.map_or(self::id(&LOOKUP_MISS), |a| id(a.as_bytes())))
                .collect(),
        }),
        Response::GroupState { operations, more } => {
            Said::GroupState(pb::GroupState { operations: operations.clone(), more: *more })
        }
        Response::KeyCounts(counts) => {
            Said::KeyCounts(pb::KeyCounts { one_time: counts.one_time, one_time_kem: counts.one_time_kem })
        }
        Response::LinkState(link) => Said::LinkState(pb::LinkState {
            offer: link.offer.clone(),
            answer: link.answer.clone().unwrap_or_default(),
            expires_in_ms: millis_u32(link.expires_in),
        }),
        Response::BlobTicket(ticket) => Said::BlobTicket(pb::BlobTicket {
            blob: self::id(ticket.blob.as_bytes()),
            url: ticket.url.clone(),
        }),
    }
}

fn read_response(body: Said) -> Read<Response> {
    Ok(match body {
        Said::Authenticated(session) => Response::Authenticated(Authenticated {
            version: session.version,
            registration: RegistrationId::new(session.registration)?,
            device_list_version: session.device_list_version,
        }),
        Said::Accepted(accepted) => Response::Accepted {
            stamp: Stamp::from_slice(&accepted.stamp)?,
            skipped: read_device_refs(accepted.skipped)?,
        },
        Said::Done(_) => Response::Done,
        Said::Keys(keys) => Response::Keys(list(
            keys.accounts,
            limits::FETCH_KEYS_ACCOUNTS_MAX,
            "accounts",
            read_account_keys,
        )?),
        Said::DeviceLists(lists) => Response::DeviceLists(list(
            lists.lists,
            limits::FETCH_KEYS_ACCOUNTS_MAX,
            "accounts",
            read_account_list,
        )?),
        Said::LookupResult(found) => {
            Response::LookupResult(list(found.accounts, limits::LOOKUP_NUMBERS_MAX, "accounts", |account| {
                let miss = account.as_ref() == LOOKUP_MISS.as_slice();
                if miss { Ok(None) } else { read_account(account).map(Some) }
            })?)
        }
        Said::GroupState(state) => Response::GroupState {
            operations: list(state.operations, usize::MAX, "operations", |operation| {
                at_most(operation, limits::GROUP_OPERATION_BYTES_MAX, "group operation")
            })?,
            more: state.more,
        },
        Said::KeyCounts(counts) => {
            Response::KeyCounts(KeyCounts { one_time: counts.one_time, one_time_kem: counts.one_time_kem })
        }
        Said::LinkState(link) => {
            let answer = at_most(link.answer, limits::LINK_MESSAGE_BYTES_MAX, "answer of a link")?;
            Response::LinkState(LinkState {
                offer: at_most(link.offer, limits::LINK_MESSAGE_BYTES_MAX, "offer of a link")?,
                answer: (!answer.is_empty()).then_some(answer),
                expires_in: Millis(link.expires_in_ms.into()),
            })
        }
        Said::BlobTicket(ticket) => {
            if ticket.url.len() > BLOB_URL_BYTES_MAX {
                return Err(Malformed::TooLarge("address of a blob"));
            }
            Response::BlobTicket(BlobTicket { blob: BlobId::from_slice(&ticket.blob)?, url: ticket.url })
        }
        _ => return Err(Malformed::Field("answer (a push with a request's number)")),
    })
}

fn push(push: &Push) -> Option<Said> {
    Some(match push {
        Push::Hello(hello) => Said::Hello(pb::Hello {
            version_min: hello.versions.min,
            version_max: hello.versions.max,
            nonce: Bytes::copy_from_slice(&hello.nonce),
            time_ms: hello.time.as_millis(),
            incarnation: id(hello.incarnation.as_bytes()),
        }),
        Push::Deliver(deliveries) => Said::Deliver(pb::Deliver {
            deliveries: deliveries
                .iter()
                .map(|row| pb::Delivery { position: position(row.position), envelope: row.envelope.clone() })
                .collect(),
        }),
        Push::Drained => Said::Drained(pb::Drained {}),
        Push::KeysLow(counts) => {
            Said::KeysLow(pb::KeysLow { one_time: counts.one_time, one_time_kem: counts.one_time_kem })
        }
        Push::DeviceListChanged { account, version } => Said::DeviceListChanged(pb::DeviceListChanged {
            account: id(account.as_bytes()),
            version: *version,
        }),
        Push::Reconnect { after } => Said::Reconnect(pb::Reconnect { after_ms: millis_u32(*after) }),
        Push::Ephemeral(envelope) => {
            Said::EphemeralSignal(pb::EphemeralSignal { envelope: envelope.clone() })
        }
        Push::Closing(refusal) => Said::Error(error(refusal)),
        Push::Unknown => return None,
    })
}

fn read_push(body: Said) -> Read<Push> {
    Ok(match body {
        Said::Hello(hello) => Push::Hello(Hello {
            versions: version::Range { min: hello.version_min, max: hello.version_max },
            nonce: array(&hello.nonce, "nonce")?,
            time: Timestamp::from_millis(hello.time_ms),
            incarnation: IncarnationId::from_slice(&hello.incarnation)?,
        }),
        Said::Deliver(deliver) => {
            Push::Deliver(list(deliver.deliveries, limits::DELIVER_ENVELOPES_MAX, "deliveries", |row| {
                Ok(Delivery { position: read_position(&row.position)?, envelope: row.envelope })
            })?)
        }
        Said::Drained(_) => Push::Drained,
        Said::KeysLow(low) => {
            Push::KeysLow(KeyCounts { one_time: low.one_time, one_time_kem: low.one_time_kem })
        }
        Said::DeviceListChanged(changed) => Push::DeviceListChanged {
            account: AccountId::from_slice(&changed.account)?,
            version: changed.version,
        },
        Said::Reconnect(reconnect) => Push::Reconnect { after: Millis(reconnect.after_ms.into()) },
        Said::EphemeralSignal(signal) => Push::Ephemeral(signal.envelope),
        Said::Error(error) => Push::Closing(read_error(error)?),
        _ => return Err(Malformed::Field("push (an answer without a request's number)")),
    })
}

fn error(refusal: &Refusal) -> pb::Error {
    pb::Error {
        code: refusal.code as i32,
        retry_after_ms: refusal.retry_after.map_or(0, millis_u32),
        stale: refusal.stale.as_deref().map(|stale| pb::Stale {
            missing: device_refs(&stale.missing),
            extra: device_refs(&stale.extra),
            stale: device_refs(&stale.stale),
        }),
        full: device_refs(&refusal.full),
        group_lists: refusal.group.iter().flat_map(|group| &group.lists).map(list_version).collect(),
        group_head: refusal
            .group
            .as_ref()
            .and_then(|group| group.head)
            .map(|head| pb::GroupHead { epoch: head.epoch, head: Bytes::copy_from_slice(&head.head) }),
    }
}

fn list_version(list: &ListVersion) -> pb::ListVersion {
    pb::ListVersion { account: id(list.account.as_bytes()), version: list.version }
}

fn read_group_standing(
    lists: Vec<pb::ListVersion>,
    head: Option<pb::GroupHead>,
) -> Read<Option<Box<GroupStanding>>> {
    if lists.is_empty() && head.is_none() {
        return Ok(None);
    }
    let lists = list(lists, limits::GROUP_MEMBERS_MAX, "members", |list| {
        Ok(ListVersion { account: AccountId::from_slice(&list.account)?, version: list.version })
    })?;
    let head = head.map(|head| -> Read<GroupHead> {
        Ok(GroupHead { epoch: head.epoch, head: array(&head.head, "head")? })
    });
    Ok(Some(Box::new(GroupStanding { lists, head: head.transpose()? })))
}

fn read_error(error: pb::Error) -> Read<Refusal> {
    let stale = error.stale.map(|stale| -> Read<Box<Stale>> {
        Ok(Box::new(Stale {
            missing: read_device_refs(stale.missing)?,
            extra: read_device_refs(stale.extra)?,
            stale: read_device_refs(stale.stale)?,
        }))
    });
    Ok(Refusal {
        code: Code::from_number(error.code),
        retry_after: (error.retry_after_ms > 0).then(|| Millis(error.retry_after_ms.into())),
        stale: stale.transpose()?,
        full: read_device_refs(error.full)?,
        group: read_group_standing(error.group_lists, error.group_head)?,
    })
}
