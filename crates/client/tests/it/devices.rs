//! Device lists: nothing goes to, and nothing is shown from, what an account has not signed.

use crate::world::World;
use client::EventView;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use seal::{Body, Content, DeviceSecrets, LocalDevice, Peer, SealKind, Text, memory::MemoryStore};
use signed::{AccountSecret, DeviceList, DeviceListDraft, DeviceSecret, ListedDevice};
use types::{AccountId, DeviceAddress, DeviceNumber, MessageId, Millis, Stamp, limits::DEVICES_MAX};
use wire::{Code, Envelope, EnvelopeKind, Refusal, Urgency};

/// A device with real keys that is on nobody's list.
struct Ghost {
    secrets: DeviceSecrets,
    store: MemoryStore,
    address: DeviceAddress,
    rng: ChaCha20Rng,
}

impl Ghost {
    /// It says that it is a device of this account.
    fn of(account: AccountId, device: u32) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(device) + 1_000);
        let secrets = DeviceSecrets::generate(&mut rng);
        let address = DeviceAddress::new(account, DeviceNumber::new(device).unwrap());
        let store = MemoryStore::new(LocalDevice {
            address,
            registration: secrets.registration,
            identity: secrets.identity.clone(),
        });
        Self { secrets, store, address, rng }
    }

    /// Writes to a person with keys that the server gives it.
    fn write(&mut self, world: &mut World, to: usize, text: &str, edit: impl FnOnce(&mut Content)) {
        let account = world.account(to);
        let record = world.server.accounts.get_mut(&account).unwrap();
        let peer = Peer::on_list(&record.list, DeviceNumber::PRIMARY).unwrap();
        let one_time = record.one_time.pop_front().unwrap();
        let kem = record.one_time_kem.pop_front().unwrap();
        let bundle = seal::Bundle {
            device: peer.address(),
            registration: peer.registration(),
            signed: seal::SignedPrekey {
                id: record.signed.id,
                public_key: record.signed.public_key.as_ref().try_into().unwrap(),
                signature: record.signed.signature.as_ref().try_into().unwrap(),
            },
            kem: seal::KemPrekey {
                id: kem.id,
                public_key: kem.public_key.to_vec(),
                signature: kem.signature.as_ref().try_into().unwrap(),
                last_resort: false,
            },
            one_time: Some(seal::OneTimePrekey {
                id: one_time.id,
                public_key: one_time.public_key.as_ref().try_into().unwrap(),
            }),
        };
        let bundle = seal::verify_bundle(&peer, bundle).unwrap();
        seal::open_session(&mut self.store, &bundle, world.now, &mut self.rng).unwrap();
        let mut content = Content {
            message_id: MessageId::new(world.now, &mut self.rng),
            conversation: signed::direct_conversation(self.address.account, account),
            sent_at: world.now,
            sender: self.address,
            recipient: Some(account),
            counter: 1,
            own_list: None,
            recipient_list: None,
            group: None,
            expire_after_seconds: 0,
            sender_phone: None,
            original_stamp: None,
            body: Body::Text(Text::from(text)),
        };
        edit(&mut content);
        let sealed = seal::encrypt(&mut self.store, &peer, &content, world.now, &mut self.rng).unwrap();
        assert_eq!(sealed.kind, SealKind::Prekey);
        let envelope = Envelope {
            envelope_id: types::EnvelopeId::random(&mut self.rng),
            from: self.address,
            to: world.server.mailbox_of(account),
            kind: EnvelopeKind::Prekey,
            urgency: Urgency::Normal,
            stamp: world.server.next_stamp(None),
            ciphertext: sealed.ciphertext.into(),
            group: None,
        };
        world.server.inject(account, &envelope);
    }
}

/// The account secret of a person, which only the test can see.
fn account_secret(world: &mut World, who: usize) -> AccountSecret {
    let mut seed = None;
    world.with_database(who, |database| {
        let bytes: [u8; 32] =
            database.query_row("SELECT account_secret FROM profile", [], |row| row.get(0)).unwrap();
        seed = Some(bytes);
    });
    AccountSecret::from_bytes(&seed.unwrap())
}

/// A list with one device more, signed as the account's own primary would.
fn list_with(world: &mut World, who: usize, ghost: &Ghost, version: u64) -> DeviceList {
    let secret = account_secret(world, who);
    let mut devices = world.server.accounts[&world.account(who)].list.devices().to_vec();
    devices.push(ListedDevice::sign(
        world.account(who),
        ghost.address.device,
        ghost.secrets.registration,
        *ghost.secrets.identity.public(),
        &DeviceSecret::from_bytes(ghost.secrets.device_key_seed.expose()),
    ));
    assert!(devices.len() <= DEVICES_MAX);
    let draft = DeviceListDraft { version, issued_at: world.now, devices, sealed_names: Vec::new() };
    draft.sign(&secret).unwrap()
}

fn shown(world: &mut World, who: usize) -> usize {
    world.print(who).iter().filter(|event| matches!(event, EventView::Message(_))).count()
}

#[test]
fn an_unlisted_key_shows_nothing_and_earns_nothing() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.print(1);
    let sends = world.server.sends;
    // The server pretends to be the listed device of person 0, then a second one, then a stranger.
    for device in [1, 2] {
        Ghost::of(world.account(0), device).write(&mut world, 1, "it is me", |_| {});
    }
    Ghost::of(AccountId::from_bytes([9; 16]), 1).write(&mut world, 1, "it is me", |_| {});
    world.settle();
    assert_eq!(shown(&mut world, 1), 0);
    assert_eq!(world.texts(1, 0), ["hello"]);
    assert_eq!(world.server.sends, sends, "no receipt, no request");
    // The honest device is still understood.
    world.send(0, 1, "it is really me");
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "it is really me"]);
}

#[test]
fn content_under_a_newer_list_is_held_until_the_list_is_here() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.print(1);
    let mut ghost = Ghost::of(world.account(0), 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let view = seal::ListView { version: 2, hash: list.hash() };
    // The list is on the server, but asking for it fails at first.
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = list;
    world.server.refusals.push_back(("get_device_lists", Refusal::new(Code::Unavailable)));
    ghost.write(&mut world, 1, "from my new device", |content| content.own_list = Some(view));
    world.connect(1);
    world.run();
    assert_eq!(shown(&mut world, 1), 0, "held");
    let me = world.account(1);
    assert!(
        world.server.accounts[&me].mailbox.is_empty(),
        "what is held is on our disk, so it is acknowledged"
    );
    world.crash(1);
    world.connect(1);
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "from my new device"]);
    assert_eq!(shown(&mut world, 1), 1);
}

#[test]
fn a_list_that_the_server_could_not_give_is_asked_for_again_on_the_same_connection() {
    let mut world = World::new(2);
    world.settle();
    world.server.refusals.push_back(("get_device_lists", Refusal::new(Code::Unavailable)));
    world.send(0, 1, "hello");
    world.run();
    assert_eq!(shown(&mut world, 1), 0, "held");
    world.pass(Millis::from_secs(6));
    assert_eq!(world.texts(1, 0), ["hello"]);
}

#[test]
fn everything_goes_to_the_listed_devices_and_only_to_them() {
    let mut world = World::new(2);
    world.settle();
    world.send(0, 1, "hello");
    world.settle();
    let ghost = Ghost::of(world.account(1), 2);
    let list = list_with(&mut world, 1, &ghost, 2);
    let account = world.account(1);
    world.server.accounts.get_mut(&account).unwrap().list = list;
    world.settle();
    // The answer names the missing device; the fake server has no keys for it, so the message waits.
    let message = world.send(0, 1, "to both");
    world.pass(Millis::from_secs(5));
    assert_eq!(world.state(0, message), client::DeliveryState::Queued, "all of the devices, or none");
}

#[test]
fn a_rolled_back_or_forked_list_is_refused_and_told() {
    for version in [1, 2] {
        let mut world = World::new(2);
        let account = world.account(1);
        let ghost = Ghost::of(account, 2);
        let newer = list_with(&mut world, 1, &ghost, 2);
        let original = world.server.accounts[&account].list.clone();
        world.server.accounts.get_mut(&account).unwrap().list = newer.clone();
        world.settle();
        // Person 0 learns version 2; then the server shows an older list, or another one of the same version.
        let now = world.now;
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        world.people[0].engine().fetch_device_lists(&[account], now, &mut rng).unwrap();
        world.poll(0);
        world.run();
        let shown = if version == 1 {
            original
        } else {
            let other = Ghost::of(account, 3);
            world.server.accounts.get_mut(&account).unwrap().list = original.clone();
            list_with(&mut world, 1, &other, 2)
        };
        world.server.accounts.get_mut(&account).unwrap().list = shown;
        world.server.refusals.push_back(("send", Refusal::new(Code::StaleDevices)));
        world.connect(0);
        world.send(0, 1, "hello");
        world.pass(Millis::from_secs(30));
        assert!(world.texts(1, 0).is_empty(), "nothing is sealed for a list that was taken back");
        let split = EventView::SplitView { chat: account.into(), account };
        assert!(world.print(0).contains(&split));
    }
}

#[test]
fn a_list_that_was_asked_for_comes_with_the_next_connection() {
    let mut world = World::new(2);
    let account = world.account(1);
    world.disconnect(0);
    let now = world.now;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    world.people[0].engine().fetch_device_lists(&[account], now, &mut rng).unwrap();
    world.connect(0);
    // Twice up: the proof, and the question. Its answer is lost with the connection.
    while world.step_up(0) {}
    world.disconnect(0);
    assert!(world.people[0].engine().view().safety(account).unwrap().is_none());
    world.connect(0);
    world.run();
    assert!(world.people[0].engine().view().safety(account).unwrap().is_some());
}

#[test]
fn another_view_of_our_own_list_is_told() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.print(1);
    let (me, other) = (world.account(1), world.account(0));
    // Person 0 seals under the view that the server gave of person 1's list.
    let lie = seal::ListView { version: 1, hash: [7; 32] };
    let mut ghost = Ghost::of(other, 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let view = seal::ListView { version: 2, hash: list.hash() };
    world.server.accounts.get_mut(&other).unwrap().list = list;
    ghost.write(&mut world, 1, "as I see it", |content| {
        content.own_list = Some(view);
        content.recipient_list = Some(lie);
    });
    world.connect(1);
    world.settle();
    let events = world.print(1);
    assert!(events.contains(&EventView::SplitView { chat: other.into(), account: me }));
}

#[test]
fn a_receipt_about_another_conversation_changes_nothing_in_this_one() {
    let mut world = World::new(2);
    let message = world.send(1, 0, "hello");
    world.settle();
    let mut ghost = Ghost::of(world.account(0), 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = list;
    let direct = signed::direct_conversation(account, world.account(1));
    let elsewhere = types::ConversationId::from_bytes([7; 16]);
    for (conversation, state) in
        [(elsewhere, client::DeliveryState::Delivered), (direct, client::DeliveryState::Read)]
    {
        let up_to = Some(world.server.next_stamp(None));
        let receipt =
            seal::Receipt { kind: seal::ReceiptKind::Read, delivered: Vec::new(), up_to, conversation };
        ghost.write(&mut world, 1, "", |content| {
            content.counter = 0;
            content.body = Body::Receipt(receipt);
        });
        world.settle();
        assert_eq!(world.state(1, message), state);
    }
}

#[test]
fn a_tick_is_made_by_a_listed_device_and_by_nobody_else() {
    let mut world = World::new(2);
    world.disconnect(0);
    let message = world.send(1, 0, "hello");
    world.connect(1);
    world.run();
    assert_eq!(world.state(1, message), client::DeliveryState::Accepted);
    let stamp = world.history(1, 0)[0].stamp.unwrap();
    let conversation = signed::direct_conversation(world.account(0), world.account(1));
    // The server has both account ids, the stamp and, say, the message's id, but no listed device's key.
    for device in [1, 2] {
        for kind in [seal::ReceiptKind::Delivered, seal::ReceiptKind::Read] {
            let delivered = vec![seal::DeliveredMessage { message_id: message, stamp }];
            let receipt = seal::Receipt { kind, delivered, up_to: Some(stamp), conversation };
            Ghost::of(world.account(0), device).write(&mut world, 1, "", |content| {
                content.counter = 0;
                content.body = Body::Receipt(receipt);
            });
        }
    }
    world.connect(1);
    world.run();
    assert_eq!(world.state(1, message), client::DeliveryState::Accepted, "nobody has it");
    world.settle();
    assert_eq!(world.state(1, message), client::DeliveryState::Delivered, "its device says so itself");
}

#[test]
fn the_addresses_inside_the_seal_are_checked() {
    let mut world = World::new(3);
    let mut ghost = Ghost::of(world.account(0), 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = list.clone();
    let view = seal::ListView { version: 2, hash: list.hash() };
    ghost.write(&mut world, 1, "for you", |content| content.own_list = Some(view));
    // The server hands what was written to person 1 to person 2.
    let one = world.account(1);
    let envelope = world.server.accounts[&one].mailbox.values().next().cloned().unwrap();
    let crossed =
        Envelope { to: world.server.mailbox_of(world.account(2)), ..Envelope::decode(envelope).unwrap() };
    world.server.inject(world.account(2), &crossed);
    world.connect(1);
    world.connect(2);
    world.pass(Millis::from_secs(5));
    assert_eq!(shown(&mut world, 1), 1);
    assert_eq!(shown(&mut world, 2), 0);
}

#[test]
fn a_claimed_number_is_shown_only_after_it_was_looked_up() {
    let mut world = World::new(2);
    world.connect(1);
    world.run();
    world.server.refusals.push_back(("lookup", Refusal::new(Code::RetryAfter)));
    world.send(0, 1, "hello");
    world.connect(0);
    world.run();
    let phone = |world: &mut World| world.history(1, 0)[0].sender.phone.clone();
    assert_eq!(phone(&mut world), None);
    world.connect(1);
    world.run();
    assert_eq!(phone(&mut world), Some("+15550000000".parse().unwrap()));

    // A number that leads elsewhere is not believed.
    let mut ghost = Ghost::of(world.account(0), 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let view = seal::ListView { version: 2, hash: list.hash() };
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = list;
    let third = world.register();
    ghost.write(&mut world, third, "trust me", |content| {
        content.own_list = Some(view);
        content.sender_phone = Some("+15550000001".parse().unwrap());
    });
    world.connect(third);
    world.settle();
    assert_eq!(world.history(third, 0)[0].sender.phone, None);
}

#[test]
fn stamps_of_others_cannot_be_raised_by_a_resend() {
    let mut world = World::new(2);
    let mut ghost = Ghost::of(world.account(0), 2);
    let list = list_with(&mut world, 0, &ghost, 2);
    let view = seal::ListView { version: 2, hash: list.hash() };
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = list;
    let future = Stamp::new(u64::MAX >> 1, types::NodeId(9));
    ghost.write(&mut world, 1, "from the future", |content| {
        content.own_list = Some(view);
        content.original_stamp = Some(future);
    });
    world.connect(1);
    world.run();
    assert!(world.history(1, 0)[0].stamp.unwrap() < future);
}

#[test]
fn a_list_of_long_ago_is_used_and_called_old() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.disconnect(1);
    let other = world.account(1);
    let is_old = |world: &mut World| {
        let now = world.now;
        world.people[0].engine().view().is_device_list_old(other, now).unwrap()
    };
    for _ in 0..44 {
        world.pass(Millis::from_hours(24));
    }
    assert!(!is_old(&mut world));
    world.pass(Millis::from_hours(23));
    world.pass(Millis::from_hours(23));
    assert!(is_old(&mut world));
    let message = world.send(0, 1, "are you still there?");
    world.run();
    assert_eq!(world.state(0, message), client::DeliveryState::Accepted);
}
