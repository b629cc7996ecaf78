//! Members who leave while something of theirs is on its way, and changes whose outcome is learned late.

use crate::{server::Server, world::World};
use types::{AccountId, GroupId, Millis, Stamp};
use wire::{Code, Envelope, EnvelopeKind, Refusal};

/// Takes rows out of a mailbox that nobody drains.
fn take_rows(server: &mut Server, of: AccountId, which: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
    let mailbox = &mut server.accounts.get_mut(&of).unwrap().mailbox;
    let decode = |bytes: &bytes::Bytes| Envelope::decode(bytes.clone()).unwrap();
    let taken = mailbox.extract_if(.., |_, bytes| which(&decode(bytes)));
    taken.map(|(_, bytes)| decode(&bytes)).collect()
}

fn ended_at(world: &mut World, group: GroupId) -> Stamp {
    *world.chain(group).stamps.last().unwrap()
}

#[test]
fn a_key_that_comes_after_its_giver_left_opens_what_was_written_before() {
    let (mut world, group) = World::with_group(3);
    world.disconnect(1);
    world.send_group(2, group, "goodbye");
    world.run();
    let (reader, writer) = (world.account(1), world.account(2));
    let is_key = |row: &Envelope| row.from.account == writer && row.kind != EnvelopeKind::SenderKey;
    let keys = take_rows(&mut world.server, reader, is_key);
    assert!(!keys.is_empty(), "the key goes its own way");
    world.remove(0, group, 2).unwrap();
    world.settle();
    assert!(world.group_texts(1, group).is_empty(), "nothing opens it yet");
    keys.iter().for_each(|row| world.server.inject(reader, row));
    world.settle();
    assert_eq!(world.group_texts(1, group), ["goodbye"]);
}

#[test]
fn what_was_admitted_before_its_writer_left_may_stand_shortly_after_the_end() {
    let (mut world, group) = World::with_group(3);
    world.send_group(2, group, "hello");
    world.settle();
    world.disconnect(1);
    world.send_group(2, group, "goodbye");
    world.send_group(2, group, "too late");
    world.run();
    let reader = world.account(1);
    let messages = take_rows(&mut world.server, reader, |row| row.kind == EnvelopeKind::SenderKey);
    world.remove(0, group, 2).unwrap();
    world.settle();
    let ended = ended_at(&mut world, group);
    for (row, seconds) in messages.iter().zip([29, 31]) {
        let stamp = Stamp::new(ended.clock() + (Millis::from_secs(seconds).0 << 16), ended.node());
        world.server.inject(reader, &Envelope { stamp, ..row.clone() });
    }
    world.settle();
    assert_eq!(world.group_texts(1, group), ["hello", "goodbye"]);
}

#[test]
fn a_group_whose_making_was_not_answered_keeps_its_secret_for_days() {
    for dies in [false, true] {
        let mut world = World::new(2);
        world.settle();
        world.begin_create(0, "Friends", &[1]).unwrap();
        while world.server.groups.chains.is_empty() {
            assert!(world.step_up(0), "the operation reaches the server");
        }
        if dies {
            world.crash(0);
        } else {
            world.disconnect(0);
        }
        let group = *world.server.groups.chains.keys().next().unwrap();
        world.pass(Millis::from_days(3));
        world.settle();
        assert_eq!(world.info(0, group).name.as_deref(), Some("Friends"));
        world.send_group(0, group, "at last");
        world.settle();
        assert_eq!(world.group_texts(1, group), ["at last"]);
    }
}

#[test]
fn what_left_before_its_key_is_given_again_though_the_key_was_replaced() {
    let (mut world, group) = World::with_group(3);
    // The second and the third have never written to each other, and the server gives no keys.
    for _ in 0..100 {
        world.server.refusals.push_back(("fetch_keys", Refusal::new(Code::Unavailable)));
    }
    world.send_group(1, group, "early");
    world.run();
    assert_eq!(world.server.groups.sent.len(), 1, "nobody waits for the third");
    world.disconnect(1);
    world.pass(Millis::from_days(8));
    world.server.refusals.clear();
    world.send_group(1, group, "a week later");
    world.settle();
    world.pass(Millis::from_mins(5));
    assert_eq!(world.group_texts(2, group), ["early", "a week later"]);
}
