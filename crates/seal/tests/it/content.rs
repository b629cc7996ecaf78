//! The content: read back as it was written, within its limits, and nothing of it lost.

use crate::protobuf::{Field, decode, encode};
use crate::support::{NOW, Party, pair};
use expect_test::expect;
use proptest::prelude::*;
use seal::{
    ArchiveId, ArchiveKey, ArchivePart, BlockState, Body, ContactState, Content, ContentInvalid,
    DeliveredMessage, GroupSecret, GroupView, HistoryArchive, LinkPreview, LinkSeed, ListView, Mention,
    Quote, ReadUpTo, Receipt, ReceiptKind, ResendRequest, SenderKeyDistribution, SyncState, Text, Void,
};
use types::{
    AccountId, BlobId, ConversationId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MessageId, NodeId,
    PhoneNumber, Stamp, Timestamp, limits,
};

fn id<T>(from: fn([u8; 16]) -> T) -> impl Strategy<Value = T>
where
    T: std::fmt::Debug,
{
    any::<[u8; 16]>().prop_map(from)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u16>()).prop_map(|(clock, node)| Stamp::new(clock, NodeId(node)))
}

fn text() -> impl Strategy<Value = Text> {
    let quote = (id(MessageId::from_bytes), id(AccountId::from_bytes), ".{0,40}")
        .prop_map(|(message_id, author, excerpt)| Quote { message_id, author, excerpt });
    let mention = (any::<u32>(), any::<u32>(), id(AccountId::from_bytes))
        .prop_map(|(start, length, account)| Mention { start, length, account });
    let preview = (".{0,20}", ".{0,20}", ".{0,20}", prop::collection::vec(any::<u8>(), 0..50))
        .prop_map(|(url, title, description, thumbnail)| LinkPreview { url, title, description, thumbnail });
    (".{0,200}", prop::option::of(quote), prop::collection::vec(mention, 0..4), prop::option::of(preview))
        .prop_map(|(text, quote, mentions, preview)| Text { text, quote, mentions, preview })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let message = (id(MessageId::from_bytes), stamp())
        .prop_map(|(message_id, stamp)| DeliveredMessage { message_id, stamp });
    let delivered = (prop::collection::vec(message, 1..20), id(ConversationId::from_bytes)).prop_map(
        |(delivered, conversation)| Receipt {
            kind: ReceiptKind::Delivered,
            delivered,
            up_to: None,
            conversation,
        },
    );
    let kind = prop_oneof![Just(ReceiptKind::Read), Just(ReceiptKind::Played)];
    let up_to = (kind, stamp(), id(ConversationId::from_bytes)).prop_map(|(kind, stamp, conversation)| {
        Receipt { kind, delivered: Vec::new(), up_to: Some(stamp), conversation }
    });
    prop_oneof![delivered, up_to]
}

fn body() -> impl Strategy<Value = Body> {
    let counters = || prop::collection::vec(any::<u64>(), 0..50);
    let request = (
        prop::option::of(id(ConversationId::from_bytes)),
        counters(),
        prop::option::of(id(EnvelopeId::from_bytes)),
        prop::option::of(id(MessageId::from_bytes)),
    )
        .prop_map(|(conversation, counters, envelope_id, message_id)| ResendRequest {
            conversation,
            counters,
            envelope_id,
            message_id,
        });
    let void = (
        prop::option::of(id(ConversationId::from_bytes)),
        counters(),
        prop::option::of(id(EnvelopeId::from_bytes)),
    )
        .prop_map(|(conversation, counters, envelope_id)| Void { conversation, counters, envelope_id });
    prop_oneof![
        text().prop_map(Body::Text),
        receipt().prop_map(Body::Receipt),
        request.prop_map(Body::ResendRequest),
        void.prop_map(Body::Void),
        Just(Body::SessionReset),
        sync_state().prop_map(Body::Sync),
        archive().prop_map(Body::HistoryArchive),
        group_keys(),
    ]
}

fn sync_state() -> impl Strategy<Value = SyncState> {
    let read = (id(ConversationId::from_bytes), stamp())
        .prop_map(|(conversation, stamp)| ReadUpTo { conversation, stamp });
    let contact = (id(AccountId::from_bytes), phone(), any::<bool>(), any::<bool>())
        .prop_map(|(account, phone, verified, accepted)| ContactState { account, phone, verified, accepted });
    let block =
        (id(AccountId::from_bytes), any::<bool>(), any::<u64>()).prop_map(|(account, blocked, at)| {
            BlockState { account, blocked, decided_at: Timestamp::from_millis(at) }
        });
    let settings = prop::collection::vec(any::<u8>(), 0..40);
    (several(read), several(contact), several(block), settings)
        .prop_map(|(read, contacts, blocks, settings)| SyncState { read, contacts, blocks, settings })
}

fn archive() -> impl Strategy<Value = HistoryArchive> {
    let part = (id(BlobId::from_bytes), 1..1_000_000_u64, any::<[u8; 32]>())
        .prop_map(|(blob, size, digest)| ArchivePart { blob, size, digest });
    (id(ArchiveId::from_bytes), any::<[u8; 32]>(), prop::collection::vec(part, 1..5), any::<bool>()).prop_map(
        |(archive, key, parts, with_messages)| {
            let key = ArchiveKey::from_slice(&key).unwrap();
            HistoryArchive { archive, key, parts, with_messages }
        },
    )
}

fn group_keys() -> impl Strategy<Value = Body> {
    let distribution = prop::collection::vec(any::<u8>(), 1..200);
    (id(GroupId::from_bytes), any::<[u8; 32]>(), prop::option::of(distribution), any::<u64>()).prop_map(
        |(group, secret, distribution, counter)| {
            let secret = GroupSecret::from_slice(&secret).unwrap();
            match distribution {
                Some(distribution) => Body::SenderKeyDistribution(SenderKeyDistribution {
                    group,
                    distribution,
                    secret,
                    counter,
                }),
                None => {
                    let link = (counter % 2 == 0).then(|| LinkSeed::from_slice(secret.as_bytes()).unwrap());
                    Body::GroupSecret { group, secret, link }
                }
            }
        },
    )
}

fn several<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..4)
}

fn phone() -> impl Strategy<Value = Option<PhoneNumber>> {
    prop::option::of("\\+[1-9][0-9]{6,14}".prop_map(|number| number.parse().unwrap()))
}

pub(crate) fn content() -> impl Strategy<Value = Content> {
    let view = || {
        prop::option::of(
            (any::<u64>(), any::<[u8; 32]>()).prop_map(|(version, hash)| ListView { version, hash }),
        )
    };
    let group = prop::option::of(
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(epoch, head)| GroupView { epoch, head }),
    );
    let sender = (id(AccountId::from_bytes), 1..=127_u32)
        .prop_map(|(account, device)| DeviceAddress::new(account, DeviceNumber::new(device).unwrap()));
    let names = (
        id(MessageId::from_bytes),
        id(ConversationId::from_bytes),
        sender,
        prop::option::of(id(AccountId::from_bytes)),
    );
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>());
    let views = (view(), view(), group, phone(), prop::option::of(stamp()));
    (names, numbers, views, body()).prop_map(|(names, numbers, views, body)| Content {
        message_id: names.0,
        conversation: names.1,
        sender: names.2,
        recipient: names.3,
        sent_at: Timestamp::from_millis(numbers.0),
        counter: numbers.1,
        expire_after_seconds: numbers.2,
        own_list: views.0,
        recipient_list: views.1,
        group: views.2,
        sender_phone: views.3,
        original_stamp: views.4,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(content in content()) {
        prop_assert_eq!(Content::decode(&content.encode().unwrap()), Ok(content));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(content) = Content::decode(&bytes) {
            prop_assert_eq!(Content::decode(&content.encode().unwrap()), Ok(content));
        }
    }
}

fn example() -> Content {
    let (alice, bob) = (AccountId::from_bytes([0xa1; 16]), AccountId::from_bytes([0xb0; 16]));
    Content {
        message_id: MessageId::from_bytes([0x11; 16]),
        conversation: signed::direct_conversation(alice, bob),
        sent_at: NOW,
        sender: DeviceAddress::new(alice, DeviceNumber::PRIMARY),
        recipient: Some(bob),
        counter: 7,
        own_list: Some(ListView { version: 3, hash: [0x33; 32] }),
        recipient_list: Some(ListView { version: 4, hash: [0x44; 32] }),
        group: None,
        expire_after_seconds: 0,
        sender_phone: Some("+15552000100".parse().unwrap()),
        original_stamp: None,
        body: Body::Text(Text::from("hello")),
    }
}

#[test]
fn the_bytes_of_a_text_do_not_change() {
    let bytes = hex::encode(example().encode().unwrap());
    expect!["0a101111111111111111111111111111111112103b2729f043e315518f952298c3af6a6b1880a0f1c2b1342210a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a128013210b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0380742240803122033333333333333333333333333333333333333333333333333333333333333334a240804122044444444444444444444444444444444444444444444444444444444444444446a0c2b31353535323030303130308202070a0568656c6c6f"].assert_eq(&bytes);
}

#[test]
fn limits_hold_in_both_directions() {
    let mut longest = example();
    longest.body = Body::Text(Text::from("x".repeat(limits::TEXT_BYTES_MAX).as_str()));
    assert_eq!(Content::decode(&longest.encode().unwrap()), Ok(longest.clone()));
    let mut too_long = example();
    too_long.body = Body::Text(Text::from("x".repeat(limits::TEXT_BYTES_MAX + 1).as_str()));
    let message = DeliveredMessage { message_id: example().message_id, stamp: Stamp::ZERO };
    let receipt = |kind, count, up_to| {
        Body::Receipt(Receipt {
            kind,
            delivered: vec![message; count],
            up_to,
            conversation: example().conversation,
        })
    };
    let gaps =
        ResendRequest { conversation: None, counters: vec![1; 51], envelope_id: None, message_id: None };
    let too_much = [
        too_long.body,
        receipt(ReceiptKind::Delivered, 501, None),
        receipt(ReceiptKind::Delivered, 0, None),
        receipt(ReceiptKind::Read, 0, None),
        Body::ResendRequest(gaps.clone()),
        Body::Void(Void { conversation: None, counters: gaps.counters, envelope_id: None }),
    ];
    for body in too_much {
        let content = Content { body, ..example() };
        assert!(content.encode().is_err());
    }
    assert!(Content { body: receipt(ReceiptKind::Delivered, 500, None), ..example() }.encode().is_ok());
    // What an encoder without limits writes is refused as well.
    let text = |length: usize| Field::Bytes(32, encode(&[Field::Bytes(1, vec![b'x'; length])]));
    let mut fields = decode(&example().encode().unwrap());
    fields.retain(|field| field.tag() != 32);
    fields.push(text(limits::TEXT_BYTES_MAX + 1));
    assert_eq!(Content::decode(&encode(&fields)), Err(ContentInvalid("text")));
    fields.pop();
    fields.push(text(limits::TEXT_BYTES_MAX));
    assert!(Content::decode(&encode(&fields)).is_ok());
}

#[test]
fn required_fields_are_required() {
    let fields = decode(&example().encode().unwrap());
    for tag in [1, 2, 4, 5] {
        let mut fields = fields.clone();
        fields.retain(|field| field.tag() != tag);
        assert!(Content::decode(&encode(&fields)).is_err(), "without field {tag}");
    }
}

/// A body that this version does not know travels through it unharmed.
#[test]
fn an_unknown_body_is_kept_as_it_came() {
    let mut fields = decode(&example().encode().unwrap());
    fields.retain(|field| field.tag() != 32);
    let reaction =
        Field::Bytes(47 - 2, encode(&[Field::Bytes(1, vec![0x11; 16]), Field::Bytes(3, b"!".to_vec())]));
    for body in [reaction, Field::Bytes(200, b"from the future".to_vec())] {
        let mut fields = fields.clone();
        fields.push(body);
        let bytes = encode(&fields);
        let content = Content::decode(&bytes).unwrap();
        assert_eq!(content.message_id, example().message_id);
        assert_eq!(content.counter, 7);
        assert_eq!(content.body, Body::Unsupported(bytes.clone()));
        assert_eq!(content.encode().unwrap(), bytes);
    }
}

#[test]
fn an_unknown_body_arrives() {
    let (mut alice, mut bob) = pair(1);
    let mut fields = decode(&alice.content(bob.id(), "").encode().unwrap());
    fields.retain(|field| field.tag() != 32);
    fields.push(Field::Bytes(200, b"from the future".to_vec()));
    let bytes = encode(&fields);
    let content = Content::decode(&bytes).unwrap();
    let sealed = alice.seal(&bob.peer(), &content).unwrap();
    let opened = bob.open(&alice.peer(), &sealed).unwrap().verify(Some(&alice.peer())).unwrap();
    assert_eq!(opened.body, Body::Unsupported(bytes));
    assert!(Party::new(1).content(bob.id(), "x").encode().is_ok());
}
