//! What comes out of a mailbox, on its way through the guard, the Signal library, padding and content.

use crate::{
    Outcome, Sample, Target,
    people::{NOW, person, rng},
};
use rand_chacha::ChaCha20Rng;
use seal::{
    ArchiveId, ArchiveKey, ArchivePart, Arrival, BlockState, Body, Bundle, ContactState, Content,
    DecryptError, DecryptFailure, DeliveredMessage, Forward, GroupSecret, GroupView, HistoryArchive,
    InnerContent, KemPrekey, LinkPreview, LinkSeed, ListView, LocalDevice, Mention, NewPrekey, OneTimePrekey,
    Opened, Peer, Quote, ReadUpTo, Receipt, ReceiptKind, ResendRequest, SealKind, Sealed,
    SenderKeyDistribution, SentTranscript, SignedPrekey, SyncState, Text, Void, guard, memory::MemoryStore,
};
use std::sync::OnceLock;
use types::{
    AccountId, BlobId, ConversationId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MessageId, NodeId,
    Stamp,
};

/// What stands before the library: everything that can be checked without a key.
pub(super) const GUARD: Target = Target {
    name: "seal_guard",
    run: inspect,
    samples: || {
        arrivals().into_iter().map(|(name, kind, sealed)| input(name, kind, &sealed.ciphertext)).collect()
    },
    short_runs: 20_000,
    input_bytes_max: 8 * 1024,
};

/// Padding.
pub(super) const PADDING: Target = Target {
    name: "seal_padding",
    run: |bytes| {
        let read = seal::unpad(bytes);
        if let Ok(content) = read {
            assert_eq!(seal::pad(content.to_vec()), bytes, "a content is padded in one way");
        }
        Outcome::of(&read)
    },
    samples: || {
        [("empty", 0), ("step", 159), ("two_steps", 160), ("padme", 5_000)]
            .map(|(name, length)| Sample::new(name, seal::pad(vec![b'x'; length])))
            .to_vec()
    },
    short_runs: 20_000,
    input_bytes_max: 8 * 1024,
};

/// What is inside the seal.
pub(super) const CONTENT: Target = Target {
    name: "seal_content",
    run: |bytes| {
        let read = Content::decode(bytes);
        if let Ok(content) = &read {
            let written = content.encode().expect("what was read keeps the limits");
            assert_eq!(Content::decode(&written).as_ref(), Ok(content), "what was written is what was read");
        }
        Outcome::of(&read)
    },
    samples: || {
        let encoded = |content: Content| content.encode().expect("a sample keeps the limits");
        contents().into_iter().map(|(name, content)| Sample::new(name, encoded(content))).collect()
    },
    short_runs: 20_000,
    input_bytes_max: 16 * 1024,
};

/// Content that was opened and waits for its sender's list.
pub(super) const HELD_CONTENT: Target = Target {
    name: "seal_held_content",
    run: |bytes| {
        let read = Opened::from_slice(bytes);
        if let Ok(opened) = &read {
            let written = opened.to_bytes();
            let again = Opened::from_slice(&written).expect("what was written can be read");
            assert!(*again.to_bytes() == *written, "one value has one form");
            assert!(opened.verify(None).is_err(), "nothing is shown without a list");
        }
        Outcome::of(&read)
    },
    samples: || {
        let mut bob = scene().bob.clone();
        let (_, kind, sealed) = arrivals().remove(0);
        let opened = open(&mut bob, kind, &sealed.ciphertext).expect("the sample opens");
        vec![Sample::new("text", opened.to_bytes().to_vec())]
    },
    short_runs: 10_000,
    input_bytes_max: 4 * 1024,
};

/// An arrival from end to end, with a session that is open and one that is not.
pub(super) const DECRYPT: Target = Target {
    name: "seal_decrypt",
    run: decrypt,
    samples: || {
        arrivals().into_iter().map(|(name, kind, sealed)| input(name, kind, &sealed.ciphertext)).collect()
    },
    short_runs: 600,
    input_bytes_max: 8 * 1024,
};

/// A sender key that a member of a group distributes.
pub(super) const DISTRIBUTION: Target = Target {
    name: "seal_distribution",
    run: |bytes| {
        let mut bob = scene().bob.clone();
        let taken = seal::process_distribution(&mut bob.store, &scene().alice, GROUP, bytes);
        if taken.is_err() {
            assert!(bob.store.same_state(&scene().bob.store), "a refused distribution changed the state");
        }
        Outcome::of(&taken)
    },
    samples: || {
        let bytes = seal::sender_key_distribution(&mut party(4).store, GROUP, &mut rng(40));
        vec![Sample::new("fresh", bytes.expect("a sender key can be made"))]
    },
    short_runs: 1_000,
    input_bytes_max: 1_024,
};

/// A bundle of prekeys that a server hands out; a session is opened with what passes.
pub(super) const BUNDLE: Target = Target {
    name: "seal_bundle",
    run: verify_bundle,
    samples: || vec![Sample::new("honest", write_bundle(&party(2).bundle))],
    short_runs: 600,
    input_bytes_max: 2 * 1024,
};

const GROUP: GroupId = GroupId::from_bytes([6; 16]);

// ---- running

/// The first byte says how the rest is to be read.
fn input(name: &str, kind: SealKind, ciphertext: &[u8]) -> Sample {
    let tag = match kind {
        SealKind::Prekey => 0,
        SealKind::Ratchet => 1,
        SealKind::SenderKey => 2,
    };
    Sample::new(name, [&[tag], ciphertext].concat())
}

fn read_input(bytes: &[u8]) -> Option<(SealKind, &[u8])> {
    let (tag, ciphertext) = bytes.split_first()?;
    let kind = [SealKind::Prekey, SealKind::Ratchet, SealKind::SenderKey][usize::from(tag % 3)];
    Some((kind, ciphertext))
}

fn inspect(bytes: &[u8]) -> Outcome {
    let Some((kind, ciphertext)) = read_input(bytes) else { return Outcome::Refused("empty".to_owned()) };
    // The parts by themselves, which a mutated whole rarely reaches.
    let _ = (guard::check_pq_field(ciphertext), guard::check_public_key(ciphertext));
    let _ = guard::inspect_distribution(ciphertext);
    if kind == SealKind::SenderKey {
        return Outcome::of(&guard::inspect_sender_key(ciphertext));
    }
    let header = guard::inspect(kind, ciphertext);
    if let Ok(header) = &header {
        assert!(header.pq.epoch > 0, "every message has its post-quantum part");
        assert_eq!(
            header.prekey.is_some(),
            kind == SealKind::Prekey,
            "only a prekey message opens a session"
        );
        if let Some(prekey) = &header.prekey {
            guard::check_public_key(&prekey.base_key).expect("no session is named by a weak key");
        }
    }
    Outcome::of(&header)
}

fn decrypt(bytes: &[u8]) -> Outcome {
    let Some((kind, ciphertext)) = read_input(bytes) else { return Outcome::Refused("empty".to_owned()) };
    let mut bob = scene().bob.clone();
    match open(&mut bob, kind, ciphertext) {
        Ok(_) => {
            assert!(open(&mut bob, kind, ciphertext).is_err(), "a message opens once");
            Outcome::Accepted
        }
        Err(failure) => {
            assert_ne!(failure, DecryptFailure::Panicked, "the library panicked behind its guard");
            assert!(bob.store.same_state(&scene().bob.store), "a refused message changed the state");
            Outcome::Refused(failure.code().to_owned())
        }
    }
}

fn open(bob: &mut Party, kind: SealKind, ciphertext: &[u8]) -> Result<Opened, DecryptFailure> {
    let from = if kind == SealKind::Prekey { scene().carol } else { scene().alice };
    let group = (kind == SealKind::SenderKey).then_some(GROUP);
    let arrival =
        Arrival { from: from.address(), to: bob.address, kind, ciphertext, listed: Some(from), group };
    match seal::decrypt(&mut bob.store, &arrival, &mut rng(50)) {
        Ok(opened) => Ok(opened),
        Err(DecryptError::Refused(failure)) => Err(failure),
        Err(DecryptError::Store(error)) => panic!("the memory store does not fail: {error}"),
    }
}

fn verify_bundle(bytes: &[u8]) -> Outcome {
    let bob = party(2);
    let Some(bundle) = read_bundle(bytes, &bob.bundle) else {
        return Outcome::Refused("too short".to_owned());
    };
    let verified = seal::verify_bundle(&bob.peer, bundle);
    if let Ok(verified) = &verified {
        let opened = seal::open_session(&mut party(1).store, verified, NOW, &mut rng(60));
        opened.expect("a session can be opened with a verified bundle");
    }
    Outcome::of(&verified)
}

/// signed prekey (33), its signature (64), one-time prekey (33), signature of the KEM prekey (64), KEM prekey.
fn write_bundle(bundle: &Bundle) -> Vec<u8> {
    let one_time = bundle.one_time.as_ref().map_or([0; 33], |prekey| prekey.public_key);
    [
        &bundle.signed.public_key[..],
        &bundle.signed.signature,
        &one_time,
        &bundle.kem.signature,
        &bundle.kem.public_key,
    ]
    .concat()
}

fn read_bundle(bytes: &[u8], honest: &Bundle) -> Option<Bundle> {
    let (signed_key, bytes) = bytes.split_first_chunk()?;
    let (signed_signature, bytes) = bytes.split_first_chunk()?;
    let (one_time, bytes) = bytes.split_first_chunk()?;
    let (kem_signature, kem_key) = bytes.split_first_chunk()?;
    Some(Bundle {
        device: honest.device,
        registration: honest.registration,
        signed: SignedPrekey { id: 1, public_key: *signed_key, signature: *signed_signature },
        kem: KemPrekey { id: 2, public_key: kem_key.to_vec(), signature: *kem_signature, last_resort: false },
        one_time: Some(OneTimePrekey { id: 1, public_key: *one_time }),
    })
}

// ---- people and what they say

/// One device and what it needs to be written to.
#[derive(Clone)]
struct Party {
    address: DeviceAddress,
    peer: Peer,
    bundle: Bundle,
    store: MemoryStore,
}

/// The party of a number: made once, for its keys take a moment.
fn party(seed: u8) -> Party {
    static PARTIES: [OnceLock<Party>; 8] = [const { OnceLock::new() }; 8];
    PARTIES[usize::from(seed)].get_or_init(|| make_party(seed)).clone()
}

fn make_party(seed: u8) -> Party {
    let mut rng = rng(100 + u64::from(seed));
    let person = person(seed);
    let secrets = seal::DeviceSecrets::generate(&mut rng);
    let list = person.list(1, secrets.registration, *secrets.identity.public());
    let address = DeviceAddress::new(person.id(), DeviceNumber::PRIMARY);
    let local = LocalDevice { address, registration: secrets.registration, identity: secrets.identity };
    let signed = seal::generate_signed(&local.identity, 1, NOW, &mut rng);
    let one_time: Vec<NewPrekey<OneTimePrekey>> = seal::generate_one_time(1, 4, &mut rng);
    let kem: Vec<NewPrekey<KemPrekey>> = seal::generate_kem_one_time(&local.identity, 2, 4, NOW, &mut rng);
    let mut store = MemoryStore::new(local.clone());
    store.insert_signed(&signed);
    one_time.iter().for_each(|prekey| store.insert_one_time(prekey));
    kem.iter().for_each(|prekey| store.insert_kem(prekey));
    let bundle = Bundle {
        device: address,
        registration: local.registration,
        signed: signed.public,
        kem: kem[0].public.clone(),
        one_time: Some(one_time[0].public.clone()),
    };
    let peer = Peer::on_list(&list, DeviceNumber::PRIMARY).expect("the list has its primary device");
    Party { address, peer, bundle, store }
}

impl Party {
    fn open_session(&mut self, with: &Party, bundle: Bundle, rng: &mut ChaCha20Rng) {
        let verified = seal::verify_bundle(&with.peer, bundle).expect("an honest bundle passes");
        seal::open_session(&mut self.store, &verified, NOW, rng).expect("a session can be opened");
    }

    fn say(&mut self, to: &Party, rng: &mut ChaCha20Rng) -> Sealed {
        let content = text(self.address, to.address.account);
        seal::encrypt(&mut self.store, &to.peer, &content, NOW, rng).expect("a text can be sealed")
    }
}

/// Bob, who has an open session and a sender key of Alice's and has never heard of Carol; and what they sent him.
struct Scene {
    bob: Party,
    alice: Peer,
    carol: Peer,
    from_carol: Sealed,
    from_alice: Sealed,
    to_group: Sealed,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let mut rng = rng(7);
        let (mut alice, mut bob, mut carol) = (party(1), party(2), party(3));
        alice.open_session(&bob, bob.bundle.clone(), &mut rng);
        let hello = alice.say(&bob, &mut rng);
        deliver(&mut bob, &alice, &hello, &mut rng);
        let answer = bob.say(&alice, &mut rng);
        deliver(&mut alice, &bob, &answer, &mut rng);
        let distribution = seal::sender_key_distribution(&mut alice.store, GROUP, &mut rng);
        let distribution = distribution.expect("a sender key can be made");
        seal::process_distribution(&mut bob.store, &alice.peer, GROUP, &distribution).expect("it is honest");

        let from_alice = alice.say(&bob, &mut rng);
        let group_text = group_text(alice.address);
        let to_group = seal::group_encrypt(&mut alice.store, GROUP, &group_text, &mut rng);
        // Without the keys that Alice has used up.
        let bundle = Bundle { one_time: None, kem: second_kem(), ..bob.bundle.clone() };
        carol.open_session(&bob, bundle, &mut rng);
        let from_carol = carol.say(&bob, &mut rng);
        Scene {
            bob,
            alice: alice.peer,
            carol: carol.peer,
            from_carol,
            from_alice,
            to_group: to_group.expect("a text can be sealed to a group"),
        }
    })
}

/// The second one-time KEM prekey of party 2, drawn again from its seed.
fn second_kem() -> KemPrekey {
    let mut rng = rng(102);
    let secrets = seal::DeviceSecrets::generate(&mut rng);
    let _ = seal::generate_signed(&secrets.identity, 1, NOW, &mut rng);
    let _ = seal::generate_one_time(1, 4, &mut rng);
    seal::generate_kem_one_time(&secrets.identity, 2, 4, NOW, &mut rng)[1].public.clone()
}

fn deliver(to: &mut Party, from: &Party, sealed: &Sealed, rng: &mut ChaCha20Rng) {
    let arrival = Arrival {
        from: from.address,
        to: to.address,
        kind: sealed.kind,
        ciphertext: &sealed.ciphertext,
        listed: Some(from.peer),
        group: None,
    };
    seal::decrypt(&mut to.store, &arrival, rng).expect("an honest message opens");
}

fn arrivals() -> Vec<(&'static str, SealKind, Sealed)> {
    let scene = scene();
    vec![
        ("prekey", SealKind::Prekey, scene.from_carol.clone()),
        ("ratchet", SealKind::Ratchet, scene.from_alice.clone()),
        ("sender_key", SealKind::SenderKey, scene.to_group.clone()),
    ]
}

fn text(from: DeviceAddress, to: AccountId) -> Content {
    Content {
        message_id: MessageId::from_bytes([7; 16]),
        conversation: signed::direct_conversation(from.account, to),
        sent_at: NOW,
        sender: from,
        recipient: Some(to),
        counter: 1,
        own_list: Some(ListView { version: 1, hash: [1; 32] }),
        recipient_list: Some(ListView { version: 2, hash: [2; 32] }),
        group: None,
        expire_after_seconds: 0,
        sender_phone: "+15552000100".parse().ok(),
        original_stamp: Some(stamp()),
        body: Body::Text(Text::from("hello")),
    }
}

fn group_text(from: DeviceAddress) -> Content {
    Content {
        conversation: ConversationId::from_bytes(*GROUP.as_bytes()),
        recipient: None,
        group: Some(GroupView { epoch: 3, head: [3; 32] }),
        ..text(from, from.account)
    }
}

fn stamp() -> Stamp {
    Stamp::new(0x0123_4567_89ab_0001, NodeId(2))
}

fn contents() -> Vec<(&'static str, Content)> {
    let (from, to) = (party(1).address, party(2).address.account);
    let message_id = MessageId::from_bytes([8; 16]);
    let conversation = Some(signed::direct_conversation(from.account, to));
    let rich = Text {
        text: "see https://example.org, Ben".to_owned(),
        quote: Some(Quote { message_id, author: to, excerpt: "what was it?".to_owned() }),
        mentions: vec![Mention { start: 25, length: 3, account: to }],
        preview: Some(LinkPreview {
            url: "https://example.org".to_owned(),
            title: "Example".to_owned(),
            description: "An example".to_owned(),
            thumbnail: vec![1, 2, 3],
        }),
    };
    let delivered = Receipt {
        kind: ReceiptKind::Delivered,
        delivered: vec![DeliveredMessage { message_id, stamp: stamp() }],
        up_to: None,
        conversation: text(from, to).conversation,
    };
    let read =
        Receipt { kind: ReceiptKind::Read, delivered: Vec::new(), up_to: Some(stamp()), ..delivered.clone() };
    let envelope_id = Some(EnvelopeId::from_bytes([9; 16]));
    let resend =
        ResendRequest { conversation, counters: vec![3, 4], envelope_id, message_id: Some(message_id) };
    let with = |body| Content { counter: 0, body, ..text(from, to) };
    let to_myself = |body| Content { counter: 0, body, ..text(from, from.account) };
    let carried = |content: Content| InnerContent::new(content).expect("a sample keeps the limits");
    let sent = || SentTranscript { content: carried(text(from, to)) };
    let came = Content {
        sender: DeviceAddress::new(from.account, second_device()),
        ..to_myself(Body::SessionReset)
    };
    let told = SentTranscript { content: carried(Content { sender: came.sender, ..text(from, to) }) };
    let forward =
        Forward { stamp: stamp(), content: carried(Content { body: Body::SentTranscript(told), ..came }) };
    vec![
        ("text", text(from, to)),
        ("rich_text", Content { body: Body::Text(rich), ..text(from, to) }),
        ("group_text", group_text(from)),
        ("delivered", with(Body::Receipt(delivered))),
        ("read", with(Body::Receipt(read))),
        ("resend_request", with(Body::ResendRequest(resend))),
        ("void", with(Body::Void(Void { conversation, counters: vec![3], envelope_id }))),
        ("session_reset", with(Body::SessionReset)),
        ("group_text_sent_again", Content { recipient: Some(to), ..group_text(from) }),
        ("sent_transcript", to_myself(Body::SentTranscript(sent()))),
        ("forward", to_myself(Body::Forward(forward))),
        ("sync_state", to_myself(Body::Sync(sync_state(to)))),
        ("history_archive", to_myself(Body::HistoryArchive(history_archive()))),
        ("sender_key_distribution", with(Body::SenderKeyDistribution(sender_key()))),
        ("group_secret", with(group_secret())),
    ]
}

fn second_device() -> DeviceNumber {
    DeviceNumber::new(2).expect("2 is a device number")
}

fn sync_state(account: AccountId) -> SyncState {
    let conversation = signed::direct_conversation(account, account);
    let phone = "+15552000100".parse().ok();
    SyncState {
        read: vec![ReadUpTo { conversation, stamp: stamp() }],
        contacts: vec![ContactState { account, phone, verified: true, accepted: true }],
        blocks: vec![BlockState { account, blocked: true, decided_at: NOW }],
        settings: b"settings".to_vec(),
    }
}

fn history_archive() -> HistoryArchive {
    HistoryArchive {
        archive: ArchiveId::from_bytes([1; 16]),
        key: ArchiveKey::from_slice(&[2; 32]).expect("they are 32"),
        parts: vec![ArchivePart { blob: BlobId::from_bytes([3; 16]), size: 1_000, digest: [4; 32] }; 2],
        with_messages: true,
    }
}

fn group_secret() -> Body {
    let link = LinkSeed::from_slice(&[8; 32]).ok();
    Body::GroupSecret { group: GROUP, secret: sender_key().secret, link }
}

fn sender_key() -> SenderKeyDistribution {
    let secret = GroupSecret::from_slice(&[5; 32]).expect("they are 32");
    SenderKeyDistribution { group: GROUP, distribution: vec![6; 100], secret, counter: 7 }
}
