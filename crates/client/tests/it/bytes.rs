//! Whatever a server sends, the engine does not panic, and goes on with the next honest connection.

use crate::world::World;
use bytes::Bytes;
use client::Event;
use proptest::prelude::*;
use types::{AccountId, DeviceAddress, DeviceNumber, EnvelopeId, Millis, NodeId, Position, Stamp};
use wire::{Delivery, Envelope, EnvelopeKind, Push, ServerFrame, Urgency};

fn ciphertext() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        // What looks like the beginning of a message.
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| [vec![0x44], bytes].concat()),
    ]
}

/// Envelopes with real addresses around bytes of any kind, or real ciphertexts with a few bytes changed.
#[derive(Clone, Debug)]
enum Hostile {
    Frame(Vec<u8>),
    Envelope { ciphertext: Vec<u8>, kind: i32, from: u8, clock: u64 },
    Mutant { changes: Vec<(usize, u8)>, kind: i32 },
}

fn hostile() -> impl Strategy<Value = Hostile> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64).prop_map(Hostile::Frame),
        (ciphertext(), 0..7_i32, 0..3_u8, any::<u64>())
            .prop_map(|(ciphertext, kind, from, clock)| Hostile::Envelope { ciphertext, kind, from, clock }),
        (prop::collection::vec((0..4_000_usize, any::<u8>()), 1..4), 1..3_i32)
            .prop_map(|(changes, kind)| Hostile::Mutant { changes, kind }),
    ]
}

fn account(world: &World, from: u8) -> AccountId {
    match from {
        0 => world.account(0),
        1 => world.account(1),
        _ => AccountId::from_bytes([9; 16]),
    }
}

fn frame(world: &World, honest: &Envelope, hostile: &Hostile, number: u8) -> Bytes {
    let envelope = match hostile {
        Hostile::Frame(bytes) => return bytes.clone().into(),
        Hostile::Envelope { ciphertext, kind, from, clock } => Envelope {
            envelope_id: EnvelopeId::from_bytes([number; 16]),
            from: DeviceAddress::new(account(world, *from), DeviceNumber::PRIMARY),
            to: world.server.mailbox_of(world.account(1)),
            kind: EnvelopeKind::from_number(*kind),
            urgency: Urgency::Normal,
            stamp: Stamp::new(*clock, NodeId(1)),
            ciphertext: ciphertext.clone().into(),
            group: None,
        },
        Hostile::Mutant { changes, kind } => {
            let mut ciphertext = honest.ciphertext.to_vec();
            for (at, value) in changes {
                let at = at % ciphertext.len();
                ciphertext[at] ^= value;
            }
            Envelope {
                envelope_id: EnvelopeId::from_bytes([number; 16]),
                kind: EnvelopeKind::from_number(*kind),
                ciphertext: ciphertext.into(),
                ..honest.clone()
            }
        }
    };
    let position = Position::from_u128(1_000_000 + u128::from(number));
    let delivery = Delivery { position, envelope: envelope.encode() };
    ServerFrame::Push(Push::Deliver(vec![delivery])).encode()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_server_sends_stops_the_engine(attacks in prop::collection::vec(hostile(), 1..20)) {
        let mut world = World::new(2);
        world.send(0, 1, "one");
        world.settle();
        world.disconnect(1);
        world.send(0, 1, "two");
        world.run();
        let me = world.account(1);
        let waiting = world.server.accounts[&me].mailbox.values().next().cloned().unwrap();
        let honest = Envelope::decode(waiting).unwrap();
        for (number, attack) in (0_u8..).zip(&attacks) {
            if !world.people[1].is_connected() {
                world.connect(1);
                // Up to here the connection is honest; the mailbox is looked at later.
                while world.step_up(1) | world.step_down(1) {}
            }
            let bytes = frame(&world, &honest, attack, number);
            world.handle(1, Event::Received(bytes));
        }
        world.connect(1);
        world.settle();
        world.pass(Millis::from_hours(2));
        world.send(0, 1, "three");
        world.settle();
        world.pass(Millis::from_hours(30));
        prop_assert_eq!(world.texts(1, 0), ["one", "two", "three"]);
    }
}
