//! Frames, envelopes and uploaded keys. What was read is written and read again as the same value.

use crate::{Outcome, Sample, Target};
use bytes::Bytes;
use std::fmt::Debug;
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, IncarnationId, LinkId, MailboxId,
    Millis, NodeId, Position, Redact, RegistrationId, Stamp, Timestamp,
};
use wire::{
    AccountKeys, AccountList, Authenticate, Authenticated, BlobTicket, Bundle, ClientFrame, Code, Delivery,
    Envelope, EnvelopeKind, FetchKeys, GroupHead, GroupSend, Hello, KemPrekey, KeyCounts, KeyUpload,
    LinkState, ListVersion, Malformed, OneTimePrekey, Push, Refusal, Request, Response, SealedFor, Send,
    ServerFrame, SignedPrekey, Stale, Urgency, version,
};

const SHORT_RUNS: u32 = 20_000;
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// What a client sends.
pub(super) const CLIENT_FRAME: Target = Target {
    name: "wire_client_frame",
    run: |bytes| round_trip(bytes, ClientFrame::decode, ClientFrame::encode),
    samples: client_frames,
    short_runs: SHORT_RUNS,
    input_bytes_max: INPUT_BYTES_MAX,
};

/// What a server sends.
pub(super) const SERVER_FRAME: Target = Target {
    name: "wire_server_frame",
    run: |bytes| round_trip(bytes, ServerFrame::decode, ServerFrame::encode),
    samples: server_frames,
    short_runs: SHORT_RUNS,
    input_bytes_max: INPUT_BYTES_MAX,
};

/// A row of a mailbox.
pub(super) const ENVELOPE: Target = Target {
    name: "wire_envelope",
    run: |bytes| round_trip(bytes, Envelope::decode, Envelope::encode),
    samples: || {
        let in_group = Envelope { group: Some(GroupId::from_bytes([6; 16])), ..envelope() };
        vec![Sample::new("direct", envelope().encode()), Sample::new("group", in_group.encode())]
    },
    short_runs: SHORT_RUNS,
    input_bytes_max: INPUT_BYTES_MAX,
};

/// The keys inside a registration.
pub(super) const KEY_UPLOAD: Target = Target {
    name: "wire_key_upload",
    run: |bytes| round_trip(bytes, KeyUpload::decode, KeyUpload::encode),
    samples: || vec![Sample::new("all_kinds", key_upload().encode())],
    short_runs: SHORT_RUNS,
    input_bytes_max: INPUT_BYTES_MAX,
};

fn round_trip<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: fn(Bytes) -> Result<T, Malformed>,
    encode: fn(&T) -> Bytes,
) -> Outcome {
    let read = decode(Bytes::copy_from_slice(bytes));
    if let Ok(value) = &read {
        let written = encode(value);
        let again = decode(written.clone()).expect("what was written can be read");
        assert_eq!(&again, value, "what was written is what was read");
        assert_eq!(encode(&again), written, "one value has one encoding");
    }
    Outcome::of(&read)
}

fn account(seed: u8) -> AccountId {
    AccountId::from_bytes([seed; 16])
}

fn mailbox(seed: u8) -> MailboxId {
    let registration = RegistrationId::new(300).expect("a registration id is at most 16,380");
    DeviceAddress::new(account(seed), DeviceNumber::PRIMARY).mailbox(registration)
}

fn stamp() -> Stamp {
    Stamp::new(0x0123_4567_89ab_0001, NodeId(2))
}

fn sealed() -> Vec<SealedFor> {
    [(2, EnvelopeKind::Prekey), (3, EnvelopeKind::Ratchet)]
        .map(|(seed, kind)| SealedFor { to: mailbox(seed), kind, ciphertext: Bytes::from_static(b"sealed") })
        .to_vec()
}

fn envelope() -> Envelope {
    Envelope {
        envelope_id: EnvelopeId::from_bytes([9; 16]),
        from: mailbox(1).address(),
        to: mailbox(2),
        kind: EnvelopeKind::Ratchet,
        urgency: Urgency::Normal,
        stamp: stamp(),
        ciphertext: Bytes::from_static(b"sealed"),
        group: None,
    }
}

fn signed_prekey() -> SignedPrekey {
    SignedPrekey { id: 1, public_key: vec![5; 33].into(), signature: vec![6; 64].into() }
}

fn kem_prekey(last_resort: bool) -> KemPrekey {
    KemPrekey { id: 2, public_key: vec![8; 1_569].into(), signature: vec![6; 64].into(), last_resort }
}

fn one_time() -> OneTimePrekey {
    OneTimePrekey { id: 3, public_key: vec![5; 33].into() }
}

fn key_upload() -> KeyUpload {
    KeyUpload {
        signed_prekey: Some(signed_prekey()),
        last_resort: Some(kem_prekey(true)),
        one_time: vec![one_time()],
        one_time_kem: vec![kem_prekey(false)],
    }
}

fn client_frames() -> Vec<Sample> {
    let authenticate = Authenticate {
        version: 1,
        origin: "https://chat.example.org".to_owned(),
        address: mailbox(1).address(),
        connection_number: 7,
        token: Redact::new([3; 32]),
        signature: [4; 64],
    };
    let send = Send {
        envelope_id: EnvelopeId::from_bytes([9; 16]),
        recipient: account(2),
        urgency: Urgency::Normal,
        ttl: Some(Millis::from_secs(60)),
        sealed: sealed(),
        highest_stamp: Some(stamp()),
    };
    let send_group = GroupSend {
        envelope_id: EnvelopeId::from_bytes([9; 16]),
        group: GroupId::from_bytes([6; 16]),
        epoch: 3,
        head: [7; 32],
        lists_digest: [8; 32],
        urgency: Urgency::Normal,
        ttl: None,
        ciphertext: Bytes::from_static(b"sealed"),
        highest_stamp: None,
    };
    let fetch = FetchKeys { accounts: vec![account(2)], reset: true, device: Some(DeviceNumber::PRIMARY) };
    let number = "+15552000100".parse().expect("an example number is a number");
    let operation = Bytes::from_static(b"signed operation");
    let link = LinkId::from_bytes([4; 16]);
    [
        Request::Authenticate(authenticate),
        Request::Send(send),
        Request::Ack(vec![Position::from_u128(1), Position::from_u128(1 << 100)]),
        Request::FetchKeys(fetch),
        Request::UploadKeys(key_upload()),
        Request::KeyCount,
        Request::GetDeviceLists(vec![account(2), account(3)]),
        Request::PutDeviceList(Bytes::from_static(b"signed list")),
        Request::Lookup { numbers: vec![number], verify_sender: true },
        Request::Sync,
        Request::SendGroup(send_group),
        Request::ApplyGroup { operation, highest_stamp: Some(stamp()) },
        Request::GetGroup {
            group: GroupId::from_bytes([6; 16]),
            from_epoch: 1,
            link_signature: Some([7; 64]),
        },
        Request::GetLink(link),
        Request::InviteLink { link, invitation: Bytes::from_static(b"invitation") },
        Request::RefuseLink(link),
        Request::CompleteLink {
            link,
            device_list: Bytes::from_static(b"signed list"),
            completion: Bytes::from_static(b"completion"),
        },
        Request::CreateBlob { size: 4_096, sha256: [8; 32] },
        Request::GetBlob(BlobId::from_bytes([9; 16])),
        Request::Ephemeral { recipient: account(2), sealed: sealed() },
        Request::CloseAccount,
        Request::Unknown,
    ]
    .map(|request| Sample::new(request.name(), ClientFrame { id: 5, request }.encode()))
    .to_vec()
}

fn server_frames() -> Vec<Sample> {
    let pushes = pushes().into_iter().map(|(name, push)| (name, ServerFrame::Push(push)));
    let answers = answers().into_iter().map(|(name, result)| (name, ServerFrame::Answer { id: 5, result }));
    pushes.chain(answers).map(|(name, frame)| Sample::new(name, frame.encode())).collect()
}

fn answers() -> Vec<(&'static str, Result<Response, Refusal>)> {
    let authenticated =
        Authenticated { version: 1, registration: mailbox(1).registration, device_list_version: 4 };
    let bundle = Bundle {
        device: DeviceNumber::PRIMARY,
        registration: mailbox(2).registration,
        signed_prekey: signed_prekey(),
        kem_prekey: kem_prekey(false),
        one_time_prekey: Some(one_time()),
    };
    let device_list = Bytes::from_static(b"signed list");
    let keys = AccountKeys {
        account: account(2),
        device_list: device_list.clone(),
        bundles: vec![bundle],
        closed: false,
    };
    let list = AccountList { account: account(2), device_list, closed: true };
    let stale = Stale { missing: vec![mailbox(2)], extra: vec![mailbox(3)], stale: vec![mailbox(4)] };
    let refused = Refusal {
        code: Code::StaleDevices,
        retry_after: Some(Millis(1_500)),
        stale: Some(Box::new(stale)),
        full: vec![mailbox(5)],
        group: None,
    };
    let lists = Refusal::stale_lists(vec![ListVersion { account: account(2), version: 3 }]);
    let moved = Refusal::head_moved(GroupHead { epoch: 7, head: [5; 32] });
    let link = LinkState {
        offer: Bytes::from_static(b"offer"),
        answer: Some(Bytes::from_static(b"answer")),
        expires_in: Millis(60_000),
    };
    let ticket = BlobTicket { blob: BlobId::from_bytes([9; 16]), url: "/v1/blobs/9?signature=1".into() };
    let operations = vec![Bytes::from_static(b"signed operation")];
    vec![
        ("authenticated", Ok(Response::Authenticated(authenticated))),
        ("accepted", Ok(Response::Accepted { stamp: stamp(), skipped: vec![mailbox(2)] })),
        ("done", Ok(Response::Done)),
        ("keys", Ok(Response::Keys(vec![keys]))),
        ("device_lists", Ok(Response::DeviceLists(vec![list]))),
        ("lookup_result", Ok(Response::LookupResult(vec![Some(account(2)), None]))),
        ("group_state", Ok(Response::GroupState { operations, more: true })),
        ("key_counts", Ok(Response::KeyCounts(KeyCounts { one_time: 9, one_time_kem: 8 }))),
        ("link_state", Ok(Response::LinkState(link))),
        ("blob_ticket", Ok(Response::BlobTicket(ticket))),
        ("refused", Err(refused)),
        ("stale_lists", Err(lists)),
        ("head_moved", Err(moved)),
    ]
}

fn pushes() -> Vec<(&'static str, Push)> {
    let hello = Hello {
        versions: version::Range { min: 1, max: 1 },
        nonce: [1; 32],
        time: Timestamp::from_millis(1_800_000_000_000),
        incarnation: IncarnationId::from_bytes([2; 16]),
    };
    let row = Delivery { position: Position::from_u128(0x1_0000), envelope: envelope().encode() };
    vec![
        ("hello", Push::Hello(hello)),
        ("deliver", Push::Deliver(vec![row])),
        ("drained", Push::Drained),
        ("keys_low", Push::KeysLow(KeyCounts { one_time: 1, one_time_kem: 2 })),
        ("device_list_changed", Push::DeviceListChanged { account: account(2), version: 3 }),
        ("reconnect", Push::Reconnect { after: Millis(2_000) }),
        ("ephemeral", Push::Ephemeral(envelope().encode())),
        ("closing", Push::Closing(Refusal::new(Code::Replaced))),
        ("unknown", Push::Unknown),
    ]
}
