//! Every frame that can be written can be read back, and is the same.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, IncarnationId, LinkId, MailboxId,
    Millis, NodeId, Position, Redact, RegistrationId, Stamp, Timestamp,
};
use wire::{
    AccountKeys, AccountList, Authenticate, Authenticated, BlobTicket, Bundle, ClientFrame, Code, Delivery,
    Envelope, EnvelopeKind, FetchKeys, GroupHead, GroupSend, GroupStanding, Hello, KemPrekey, KeyCounts,
    KeyUpload, LinkState, ListVersion, OneTimePrekey, Push, Refusal, Request, Response, SealedFor, Send,
    ServerFrame, SignedPrekey, Stale, Urgency, version,
};

fn account() -> impl Strategy<Value = AccountId> {
    // Sixteen zero bytes stand for "no account" in a lookup; no key hashes to them.
    any::<[u8; 16]>().prop_filter("not the miss", |id| *id != [0; 16]).prop_map(AccountId::from_bytes)
}

fn mailbox() -> impl Strategy<Value = MailboxId> {
    (account(), 1..=127_u32, 1..=RegistrationId::MAX).prop_map(|(account, device, registration)| {
        DeviceAddress::new(account, DeviceNumber::new(device).unwrap())
            .mailbox(RegistrationId::new(registration).unwrap())
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u16>()).prop_map(|(clock, node)| Stamp::new(clock, NodeId(node)))
}

fn position() -> impl Strategy<Value = Position> {
    (1..=u128::MAX).prop_map(Position::from_u128)
}

fn bytes(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn urgency() -> impl Strategy<Value = Urgency> {
    prop::sample::select(vec![Urgency::Urgent, Urgency::Normal, Urgency::Silent, Urgency::OnlineOnly])
}

fn kind() -> impl Strategy<Value = EnvelopeKind> {
    (0..=5).prop_map(EnvelopeKind::from_number)
}

fn seconds() -> impl Strategy<Value = Option<Millis>> {
    option::of((1..=u64::from(u32::MAX)).prop_map(Millis::from_secs))
}

fn sealed() -> impl Strategy<Value = Vec<SealedFor>> {
    vec((mailbox(), kind(), bytes(0..50)), 0..=16).prop_map(|list| {
        let mut seen = std::collections::BTreeSet::new();
        list.into_iter()
            .filter(|(to, ..)| seen.insert(to.address()))
            .map(|(to, kind, ciphertext)| SealedFor { to, kind, ciphertext })
            .collect()
    })
}

fn signed_prekey() -> impl Strategy<Value = SignedPrekey> {
    (any::<u32>(), bytes(33), bytes(64)).prop_map(|(id, public_key, signature)| SignedPrekey {
        id,
        public_key,
        signature,
    })
}

fn kem_prekey() -> impl Strategy<Value = KemPrekey> {
    (any::<u32>(), bytes(1_569), bytes(64), any::<bool>()).prop_map(
        |(id, public_key, signature, last_resort)| KemPrekey { id, public_key, signature, last_resort },
    )
}

fn one_time() -> impl Strategy<Value = OneTimePrekey> {
    (any::<u32>(), bytes(33)).prop_map(|(id, public_key)| OneTimePrekey { id, public_key })
}

fn counts() -> impl Strategy<Value = KeyCounts> {
    (any::<u32>(), any::<u32>()).prop_map(|(one_time, one_time_kem)| KeyCounts { one_time, one_time_kem })
}

fn send() -> impl Strategy<Value = Send> {
    (any::<[u8; 16]>(), account(), urgency(), seconds(), sealed(), option::of(stamp())).prop_map(
        |(id, recipient, urgency, ttl, sealed, highest_stamp)| Send {
            envelope_id: EnvelopeId::from_bytes(id),
            recipient,
            urgency,
            ttl,
            sealed,
            highest_stamp,
        },
    )
}

fn group_send() -> impl Strategy<Value = GroupSend> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        any::<u64>(),
        urgency(),
        seconds(),
        bytes(0..50),
        option::of(stamp()),
    )
        .prop_map(|(id, head, epoch, urgency, ttl, ciphertext, highest_stamp)| GroupSend {
            envelope_id: EnvelopeId::from_bytes(id),
            group: GroupId::from_bytes(id),
            epoch,
            head,
            lists_digest: head,
            urgency,
            ttl,
            ciphertext,
            highest_stamp,
        })
}

fn authenticate() -> impl Strategy<Value = Authenticate> {
    (any::<u32>(), "[a-z:/.]{0,256}", mailbox(), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(version, origin, device, connection_number, token)| Authenticate {
            version,
            origin,
            address: device.address(),
            connection_number,
            token: Redact::new(token),
            signature: [token[0]; 64],
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        authenticate().prop_map(Request::Authenticate),
        send().prop_map(Request::Send),
        vec(position(), 0..50).prop_map(Request::Ack),
        (vec(account(), 0..=16), any::<bool>(), option::of(1..=127_u32)).prop_map(
            |(accounts, reset, device)| {
                let device = device.map(|number| DeviceNumber::new(number).unwrap());
                Request::FetchKeys(FetchKeys { accounts, reset, device })
            }
        ),
        (
            option::of(signed_prekey()),
            option::of(kem_prekey()),
            vec(one_time(), 0..5),
            vec(kem_prekey(), 0..3)
        )
            .prop_map(|(signed_prekey, last_resort, one_time, one_time_kem)| {
                Request::UploadKeys(KeyUpload { signed_prekey, last_resort, one_time, one_time_kem })
            }),
        Just(Request::KeyCount),
        vec(account(), 0..=16).prop_map(Request::GetDeviceLists),
        bytes(0..100).prop_map(Request::PutDeviceList),
        (vec("\\+[1-9][0-9]{6,14}", 0..5), any::<bool>()).prop_map(|(numbers, verify_sender)| {
            Request::Lookup {
                numbers: numbers.iter().map(|number| number.parse().unwrap()).collect(),
                verify_sender,
            }
        }),
        Just(Request::Sync),
        group_send().prop_map(Request::SendGroup),
        (bytes(0..100), option::of(stamp()))
            .prop_map(|(operation, highest_stamp)| Request::ApplyGroup { operation, highest_stamp }),
        (any::<[u8; 16]>(), any::<u64>(), option::of(any::<[u8; 32]>())).prop_map(
            |(id, from_epoch, signature)| Request::GetGroup {
                group: GroupId::from_bytes(id),
                from_epoch,
                link_signature: signature.map(|half| [half, half].concat().try_into().unwrap()),
            }
        ),
        link().prop_map(Request::GetLink),
        (link(), bytes(0..=1_024)).prop_map(|(link, invitation)| Request::InviteLink { link, invitation }),
        link().prop_map(Request::RefuseLink),
        (link(), bytes(0..100), bytes(0..100)).prop_map(|(link, device_list, completion)| {
            Request::CompleteLink { link, device_list, completion }
        }),
        (0..=4_259_840_u32, any::<[u8; 32]>())
            .prop_map(|(size, sha256)| Request::CreateBlob { size, sha256 }),
        any::<[u8; 16]>().prop_map(|id| Request::GetBlob(BlobId::from_bytes(id))),
        (account(), sealed()).prop_map(|(recipient, sealed)| Request::Ephemeral { recipient, sealed }),
        Just(Request::CloseAccount),
        Just(Request::Unknown),
    ]
}

fn link() -> impl Strategy<Value = LinkId> {
    any::<[u8; 16]>().prop_map(LinkId::from_bytes)
}

fn bundle() -> impl Strategy<Value = Bundle> {
    (mailbox(), signed_prekey(), kem_prekey(), option::of(one_time())).prop_map(
        |(device, signed_prekey, kem_prekey, one_time_prekey)| Bundle {
            device: device.device,
            registration: device.registration,
            signed_prekey,
            kem_prekey,
            one_time_prekey,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (any::<u32>(), mailbox(), any::<u64>()).prop_map(|(version, device, device_list_version)| {
            Response::Authenticated(Authenticated {
                version,
                registration: device.registration,
                device_list_version,
            })
        }),
        (stamp(), vec(mailbox(), 0..5)).prop_map(|(stamp, skipped)| Response::Accepted { stamp, skipped }),
        Just(Response::Done),
        vec(
            (account(), bytes(0..50), vec(bundle(), 0..3), any::<bool>()).prop_map(
                |(account, device_list, bundles, closed)| AccountKeys {
                    account,
                    device_list,
                    bundles,
                    closed
                }
            ),
            0..3
        )
        .prop_map(Response::Keys),
        vec(
            (account(), bytes(0..50), any::<bool>()).prop_map(|(account, device_list, closed)| AccountList {
                account,
                device_list,
                closed
            }),
            0..3
        )
        .prop_map(Response::DeviceLists),
        vec(option::of(account()), 0..5).prop_map(Response::LookupResult),
        (vec(bytes(0..50), 0..3), any::<bool>())
            .prop_map(|(operations, more)| Response::GroupState { operations, more }),
        counts().prop_map(Response::KeyCounts),
        (bytes(0..=1_024), option::of(bytes(1..=1_024)), any::<u32>()).prop_map(
            |(offer, answer, expires)| Response::LinkState(LinkState {
                offer,
                answer,
                expires_in: Millis(expires.into()),
            })
        ),
        (any::<[u8; 16]>(), "[a-z:/.?=]{0,100}")
            .prop_map(|(id, url)| Response::BlobTicket(BlobTicket { blob: BlobId::from_bytes(id), url })),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let devices = || vec(mailbox(), 0..4);
    let stale = (devices(), devices(), devices())
        .prop_map(|(missing, extra, stale)| Box::new(Stale { missing, extra, stale }));
    (
        prop::sample::select(Code::ALL),
        option::of((1..=u64::from(u32::MAX)).prop_map(Millis)),
        option::of(stale),
        devices(),
        option::of(group_standing()),
    )
        .prop_map(|(code, retry_after, stale, full, group)| Refusal {
            code,
            retry_after,
            stale,
            full,
            group: group.map(Box::new),
        })
}

fn group_standing() -> impl Strategy<Value = GroupStanding> {
    let version = (account(), any::<u64>()).prop_map(|(account, version)| ListVersion { account, version });
    let head = (any::<u64>(), any::<[u8; 32]>()).prop_map(|(epoch, head)| GroupHead { epoch, head });
    (vec(version, 0..5), option::of(head))
        .prop_map(|(lists, head)| GroupStanding { lists, head })
        .prop_filter("says something", |standing| !standing.lists.is_empty() || standing.head.is_some())
}

fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        (any::<u32>(), any::<u32>(), any::<[u8; 32]>(), any::<u64>(), any::<[u8; 16]>()).prop_map(
            |(min, max, nonce, time, incarnation)| Push::Hello(Hello {
                versions: version::Range { min, max },
                nonce,
                time: Timestamp::from_millis(time),
                incarnation: IncarnationId::from_bytes(incarnation),
            })
        ),
        vec(
            (position(), bytes(0..50)).prop_map(|(position, envelope)| Delivery { position, envelope }),
            0..5
        )
        .prop_map(Push::Deliver),
        Just(Push::Drained),
        counts().prop_map(Push::KeysLow),
        (account(), any::<u64>()).prop_map(|(account, version)| Push::DeviceListChanged { account, version }),
        any::<u32>().prop_map(|after| Push::Reconnect { after: Millis(after.into()) }),
        bytes(0..50).prop_map(Push::Ephemeral),
        refusal().prop_map(Push::Closing),
        Just(Push::Unknown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_client_frame_survives(id in 1..=u64::MAX, request in request()) {
        let frame = ClientFrame { id, request };
        prop_assert_eq!(ClientFrame::decode(frame.encode()).unwrap(), frame);
    }

    #[test]
    fn a_server_frame_survives(
        id in 1..=u64::MAX,
        said in prop_oneof![
            response().prop_map(|response| Ok(Ok(response))),
            refusal().prop_map(|refusal| Ok(Err(refusal))),
            push().prop_map(Err),
        ],
    ) {
        let frame = match said {
            Ok(result) => ServerFrame::Answer { id, result },
            Err(push) => ServerFrame::Push(push),
        };
        prop_assert_eq!(ServerFrame::decode(frame.encode()).unwrap(), frame);
    }

    #[test]
    fn an_envelope_survives(
        from in mailbox(), to in mailbox(), kind in kind(), urgency in urgency(), stamp in stamp(),
        id in any::<[u8; 16]>(), ciphertext in bytes(0..200), grouped in any::<bool>(),
    ) {
        let envelope = Envelope {
            envelope_id: EnvelopeId::from_bytes(id),
            from: from.address(),
            to,
            kind,
            urgency,
            stamp,
            ciphertext,
            group: grouped.then(|| GroupId::from_bytes(id)),
        };
        prop_assert_eq!(Envelope::decode(envelope.encode()).unwrap(), envelope);
    }
}
