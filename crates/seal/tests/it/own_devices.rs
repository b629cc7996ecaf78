//! What the devices of one account say to each other: it arrives, it says only what may be said there, and its
//! bytes do not change.

use crate::content::content;
use crate::protobuf::{Field, decode, encode};
use crate::support::{NOW, Party, devices_of_one};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use seal::{
    ARCHIVE_PARTS_MAX, ArchiveId, ArchiveKey, ArchivePart, BlockState, Body, ContactState, Content,
    ContentInvalid, DecryptFailure, Forward, GroupSecret, GroupView, HistoryArchive, InnerContent, LinkSeed,
    ReadUpTo, SETTINGS_BYTES_MAX, SYNC_ENTRIES_MAX, SenderKeyDistribution, SentTranscript, SyncState, Text,
};
use types::{
    AccountId, BlobId, ConversationId, DeviceAddress, DeviceNumber, GroupId, MessageId, NodeId, Stamp, limits,
};

const ME: AccountId = AccountId::from_bytes([0xa1; 16]);
const YOU: AccountId = AccountId::from_bytes([0xb0; 16]);
const GROUP: GroupId = GroupId::from_bytes([0x66; 16]);

fn device(account: AccountId, number: u32) -> DeviceAddress {
    DeviceAddress::new(account, DeviceNumber::new(number).unwrap())
}

fn said(from: DeviceAddress, to: AccountId, body: Body) -> Content {
    Content {
        message_id: MessageId::from_bytes([0x11; 16]),
        conversation: signed::direct_conversation(from.account, to),
        sent_at: NOW,
        sender: from,
        recipient: Some(to),
        counter: 7,
        own_list: None,
        recipient_list: None,
        group: None,
        expire_after_seconds: 0,
        sender_phone: None,
        original_stamp: None,
        body,
    }
}

fn text(from: DeviceAddress, to: AccountId) -> Content {
    said(from, to, Body::Text(Text::from("hello")))
}

fn group_text(from: DeviceAddress) -> Content {
    Content {
        recipient: None,
        conversation: ConversationId::from_bytes(*GROUP.as_bytes()),
        group: Some(GroupView { epoch: 3, head: [3; 32] }),
        ..text(from, from.account)
    }
}

fn stamp() -> Stamp {
    Stamp::new(0x0123_4567_89ab_0001, NodeId(2))
}

fn to_myself(body: Body) -> Content {
    Content { counter: 0, ..said(device(ME, 1), ME, body) }
}

fn transcript(content: Content) -> Body {
    Body::SentTranscript(SentTranscript { content: InnerContent::new(content).unwrap() })
}

fn forward(content: Content) -> Body {
    Body::Forward(Forward { stamp: stamp(), content: InnerContent::new(content).unwrap() })
}

fn archive(parts: usize, size: u64) -> Body {
    let part = ArchivePart { blob: BlobId::from_bytes([0xb1; 16]), size, digest: [0xd1; 32] };
    Body::HistoryArchive(HistoryArchive {
        archive: ArchiveId::from_bytes([0xac; 16]),
        key: ArchiveKey::from_slice(&[0x4b; 32]).unwrap(),
        parts: vec![part; parts],
        with_messages: true,
    })
}

fn sync_state() -> SyncState {
    SyncState {
        read: vec![ReadUpTo { conversation: signed::direct_conversation(ME, YOU), stamp: stamp() }],
        contacts: vec![ContactState {
            account: YOU,
            phone: Some("+15552000100".parse().unwrap()),
            verified: true,
            accepted: true,
        }],
        blocks: vec![BlockState { account: YOU, blocked: true, decided_at: stamp().time() }],
        settings: b"settings".to_vec(),
    }
}

fn sender_key(distribution: Vec<u8>) -> Body {
    let secret = GroupSecret::from_slice(&[0x5e; 32]).unwrap();
    Body::SenderKeyDistribution(SenderKeyDistribution { group: GROUP, distribution, secret, counter: 7 })
}

fn group_secret(link: Option<LinkSeed>) -> Body {
    Body::GroupSecret { group: GROUP, secret: GroupSecret::from_slice(&[0x5e; 32]).unwrap(), link }
}

fn is_read_back(content: &Content) {
    assert_eq!(Content::decode(&content.encode().unwrap()).as_ref(), Ok(content));
}

/// The bytes of the body alone: what stands around it has its own snapshot.
fn check_bytes(body: Body, expected: Expect) {
    let content = to_myself(body);
    is_read_back(&content);
    let head = to_myself(Body::SessionReset).encode().unwrap().len() - 3;
    expected.assert_eq(&hex::encode(&content.encode().unwrap()[head..]));
}

#[test]
fn the_bytes_do_not_change() {
    check_bytes(
        transcript(text(device(ME, 1), YOU)),
        expect![
            "aa025f0a5d0a101111111111111111111111111111111112103b2729f043e315518f952298c3af6a6b1880a0f1c2b1342210a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a128013210b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b038078202070a0568656c6c6f"
        ],
    );
    check_bytes(
        forward(group_text(device(YOU, 2))),
        expect![
            "ba037d0a0a0123456789ab00010002126f0a10111111111111111111111111111111111210666666666666666666666666666666661880a0f1c2b1342210b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b02802380750035a2003030303030303030303030303030303030303030303030303030303030303038202070a0568656c6c6f"
        ],
    );
    check_bytes(
        Body::Sync(sync_state()),
        expect![
            "b2026d0a1e0a103b2729f043e315518f952298c3af6a6b120a0123456789ab0001000212240a10b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0120c2b3135353532303030313030180120011a1b0a10b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0100118ab939eabb424220873657474696e6773"
        ],
    );
    check_bytes(
        archive(1, 1_000),
        expect![
            "aa036f0a10acacacacacacacacacacacacacacacac12204b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b1a370a10b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b110e8071a20d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d12001"
        ],
    );
    check_bytes(
        sender_key(vec![0xdd; 4]),
        expect![
            "ba023c0a10666666666666666666666666666666661204dddddddd1a205e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e2007"
        ],
    );
    check_bytes(
        group_secret(None),
        expect![
            "b203340a106666666666666666666666666666666612205e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
        ],
    );
    check_bytes(
        group_secret(LinkSeed::from_slice(&[0x11; 32]).ok()),
        expect![
            "b203560a106666666666666666666666666666666612205e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e1a201111111111111111111111111111111111111111111111111111111111111111"
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever can be sent can be told to one's own devices, and handed on to a new one.
    #[test]
    fn what_is_carried_is_what_was_sent(inner in content()) {
        let inner = Content { sender: device(ME, 2), ..inner };
        let sent = Content {
            recipient: Some(YOU),
            conversation: signed::direct_conversation(ME, YOU),
            group: None,
            ..inner.clone()
        };
        if !matches!(sent.body, Body::Sync(_) | Body::HistoryArchive(_)) {
            let told = Content { sender: device(ME, 2), ..to_myself(transcript(sent.clone())) };
            let read = Content::decode(&told.encode().unwrap()).unwrap();
            prop_assert_eq!(&read, &told);
            let Body::SentTranscript(transcript) = read.body else { panic!("another body") };
            prop_assert_eq!(transcript.to(), Some(YOU));
            prop_assert_eq!(transcript.content.into_content(), sent);
            let handed_on = to_myself(forward(told));
            prop_assert_eq!(Content::decode(&handed_on.encode().unwrap()), Ok(handed_on));
        }
    }
}

#[test]
fn fields_of_a_later_version_survive_in_what_is_carried() {
    let mut bytes = text(device(ME, 1), YOU).encode().unwrap();
    bytes.extend(encode(&[Field::Bytes(99, b"from the future".to_vec())]));
    let content = InnerContent::from_bytes(bytes.clone()).unwrap();
    let told = to_myself(Body::SentTranscript(SentTranscript { content }));
    let Body::SentTranscript(read) = Content::decode(&told.encode().unwrap()).unwrap().body else {
        panic!("another body")
    };
    assert_eq!(read.content.as_bytes(), bytes);
}

/// The primary forwards also what it cannot read: the new device may be of a later version.
#[test]
fn a_body_of_a_later_version_can_be_forwarded() {
    let known = text(device(YOU, 1), ME).encode().unwrap();
    let mut fields = decode(&known);
    fields.retain(|field| field.tag() != 32);
    fields.push(Field::Bytes(200, b"from the future".to_vec()));
    let came = encode(&fields);
    let handed_on = to_myself(forward(Content::decode(&came).unwrap()));
    let Body::Forward(read) = Content::decode(&handed_on.encode().unwrap()).unwrap().body else {
        panic!("another body")
    };
    assert_eq!(read.content.as_bytes(), came);
    assert_eq!(read.content.get().body, Body::Unsupported(came));
}

#[test]
fn a_transcript_tells_what_this_device_sent_to_others() {
    let me = device(ME, 1);
    let honest = text(me, YOU);
    is_read_back(&to_myself(transcript(honest.clone())));
    let lies = [
        text(device(ME, 2), YOU),
        text(device(YOU, 1), ME),
        Content { recipient: None, ..honest.clone() },
        Content { conversation: signed::direct_conversation(YOU, YOU), ..honest.clone() },
        Content { group: Some(GroupView { epoch: 1, head: [1; 32] }), ..honest.clone() },
        group_text(me),
        said(me, YOU, transcript(honest.clone())),
        said(me, YOU, Body::Sync(sync_state())),
        said(me, YOU, archive(1, 1)),
        said(me, ME, forward(text(device(YOU, 1), ME))),
    ];
    for lie in lies {
        let told = to_myself(transcript(lie));
        assert_eq!(told.encode(), Err(ContentInvalid("transcript")), "{told:?}");
    }
}

#[test]
fn what_is_forwarded_came_to_this_account() {
    let honest = text(device(YOU, 2), ME);
    let from_another_device_of_mine =
        Content { sender: device(ME, 2), ..to_myself(Body::Sync(sync_state())) };
    let told = Content { sender: device(ME, 2), ..to_myself(transcript(text(device(ME, 2), YOU))) };
    for came in [honest.clone(), group_text(device(YOU, 2)), from_another_device_of_mine, told] {
        is_read_back(&to_myself(forward(came)));
    }
    let lies = [
        text(device(ME, 1), YOU),
        Content { recipient: None, ..honest.clone() },
        Content { conversation: signed::direct_conversation(YOU, YOU), ..honest.clone() },
        to_myself(forward(honest)),
        to_myself(archive(1, 1)),
    ];
    for lie in lies {
        let handed_on = to_myself(forward(lie));
        assert_eq!(handed_on.encode(), Err(ContentInvalid("forward")), "{handed_on:?}");
    }
}

/// The longest text fits with everything around it, three contents deep; and no input leads deeper.
#[test]
fn nesting_has_an_end() {
    let longest = Body::Text(Text::from("x".repeat(limits::TEXT_BYTES_MAX).as_str()));
    let told = Content { sender: device(ME, 2), ..to_myself(transcript(said(device(ME, 2), YOU, longest))) };
    is_read_back(&to_myself(forward(told)));

    // Written by hand, for our encoder refuses it: a forward in a forward, as deep as fits.
    let empty = to_myself(Body::SessionReset).encode().unwrap();
    let head = &empty[..empty.len() - 3];
    let mut bytes = text(device(YOU, 1), ME).encode().unwrap();
    let mut depth = 0;
    while bytes.len() < 140_000 {
        let body = encode(&[Field::Bytes(1, stamp().to_bytes().to_vec()), Field::Bytes(2, bytes)]);
        bytes = [head, &encode(&[Field::Bytes(55, body)])].concat();
        depth += 1;
        let read = Content::decode(&bytes);
        assert_eq!(read.is_ok(), depth == 1, "{depth} deep");
    }
    assert!(depth > 1_000);
}

#[test]
fn limits_hold() {
    let full = SyncState {
        read: vec![sync_state().read[0]; SYNC_ENTRIES_MAX],
        contacts: vec![sync_state().contacts[0].clone(); SYNC_ENTRIES_MAX],
        blocks: vec![sync_state().blocks[0]; SYNC_ENTRIES_MAX],
        settings: vec![1; SETTINGS_BYTES_MAX],
    };
    let sealed_part = seal::archive::SEALED_PART_BYTES_MAX as u64;
    assert_eq!(sealed_part, 1_081_385, "as proto/content.proto says");
    let fits = [
        Body::Sync(full.clone()),
        Body::Sync(SyncState::default()),
        archive(ARCHIVE_PARTS_MAX, sealed_part),
        sender_key(vec![1; 512]),
    ];
    fits.into_iter().for_each(|body| is_read_back(&to_myself(body)));
    let mut too_much = [full.clone(), full.clone(), full.clone(), full.clone()];
    too_much[0].read.push(sync_state().read[0]);
    too_much[1].contacts.push(sync_state().contacts[0].clone());
    too_much[2].blocks.push(sync_state().blocks[0]);
    too_much[3].settings.push(1);
    let others = [
        archive(0, 1),
        archive(1, 0),
        archive(1, sealed_part + 1),
        archive(ARCHIVE_PARTS_MAX + 1, 1),
        sender_key(vec![]),
        sender_key(vec![1; 513]),
    ];
    for body in too_much.into_iter().map(Body::Sync).chain(others) {
        assert!(to_myself(body.clone()).encode().is_err(), "{body:?}");
    }
}

/// Secrets on their way through a program do not end in its logs.
#[test]
fn secrets_show_nothing() {
    for body in [sender_key(vec![1]), group_secret(None), archive(1, 1)] {
        let shown = format!("{body:?}");
        assert!(shown.contains("(redacted)"), "{shown}");
        assert!(!shown.contains("94, 94") && !shown.contains("75, 75"), "{shown}");
    }
}

fn settled_devices() -> (Party, Party, Party) {
    let mut devices = devices_of_one(5, 3);
    let [mut first, mut second, third] = [0, 0, 0].map(|_| devices.remove(0));
    let bundle = second.bundle();
    first.open_session(bundle, &second.peer());
    crate::support::exchange(&mut first, &mut second, "hello, laptop");
    crate::support::exchange(&mut second, &mut first, "hello, phone");
    (first, second, third)
}

#[test]
fn devices_of_one_account_talk_to_each_other() {
    let (mut first, mut second, third) = settled_devices();
    let you = Party::new(9);
    let sent = first.content(you.id(), "to you");
    let mut told = first.content(first.id(), "");
    told.counter = 0;
    told.body = transcript(sent.clone());
    let sealed = first.seal(&second.peer(), &told).unwrap();
    let opened = second.open(&first.peer(), &sealed).unwrap();
    // Its sender is a device of ours, and of these the one that sent it.
    assert_eq!(opened.verify(Some(&third.peer())), Err(DecryptFailure::Unlisted));
    let Body::SentTranscript(read) = opened.verify(Some(&first.peer())).unwrap().body else {
        panic!("another body")
    };
    assert_eq!(read.content.get(), &sent);
}

/// What one device told another one does not open at a third, or as somebody else's.
#[test]
fn devices_of_one_account_are_not_each_other() {
    let (mut first, mut second, mut third) = settled_devices();
    let sealed = first.seal_text(&second.peer(), "for the laptop");
    assert_eq!(third.open(&first.peer(), &sealed).err(), Some(DecryptFailure::NoSession));
    let from_third =
        seal::Arrival { listed: None, from: third.address(), ..second.arrival(&first.peer(), &sealed) };
    assert_eq!(second.open_arrival(&from_third).err(), Some(DecryptFailure::NoSession));
    assert_eq!(second.open_text(&first.peer(), &sealed).unwrap(), "for the laptop");
}
