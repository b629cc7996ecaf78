//! Random histories of sends, connections, losses, crashes and unknown outcomes: whatever happened, once it is
//! over everything has arrived once and in one order.

use crate::world::World;
use client::{DeliveryState, EventView};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::{MessageId, Millis, limits::SENDS_UNANSWERED_MAX};
use wire::{Code, Refusal};

const PEOPLE: usize = 3;

#[derive(Clone, Debug)]
enum Happening {
    Send {
        from: usize,
        to: usize,
    },
    MarkRead {
        who: usize,
        chat: usize,
    },
    Connect(usize),
    Cut(usize),
    /// The process is killed after its last commit.
    Crash(usize),
    StepUp(usize),
    StepMailbox(usize),
    StepDown(usize),
    Pass(u64),
    /// The next request of this kind is refused before anything is done.
    Refuse(&'static str, Code),
    /// The next request of this kind is done, and answered as if nobody knew.
    Lie(&'static str),
    /// The server loses the next send after accepting it.
    Swallow,
    /// A person's program loses all its ratchet sessions.
    LoseSessions(usize),
    Restore,
    Print(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let who = 0..PEOPLE;
    let pair = (0..PEOPLE, 1..PEOPLE).prop_map(|(one, step)| (one, (one + step) % PEOPLE));
    let request =
        prop::sample::select(vec!["send", "ack", "fetch_keys", "get_device_lists", "upload_keys", "lookup"]);
    let refusal = prop::sample::select(vec![
        Code::RetryAfter,
        Code::Unavailable,
        Code::StaleDevices,
        Code::MailboxFull,
        Code::BadStamp,
        Code::EnvelopeConflict,
        Code::TooManyInFlight,
        Code::Unspecified,
    ]);
    prop_oneof![
        8 => pair.clone().prop_map(|(from, to)| Send { from, to }),
        2 => pair.prop_map(|(who, chat)| MarkRead { who, chat }),
        4 => who.clone().prop_map(Connect),
        2 => who.clone().prop_map(Cut),
        2 => who.clone().prop_map(Crash),
        12 => who.clone().prop_map(StepUp),
        8 => who.clone().prop_map(StepMailbox),
        16 => who.clone().prop_map(StepDown),
        2 => (1..5_000_u64).prop_map(Pass),
        2 => (request.clone(), refusal).prop_map(|(request, code)| Refuse(request, code)),
        2 => request.prop_map(Lie),
        1 => Just(Swallow),
        1 => who.clone().prop_map(LoseSessions),
        1 => Just(Restore),
        2 => who.prop_map(Print),
    ]
}

/// What was written, by the writer's own account.
#[derive(Default)]
struct Written {
    /// By writer and reader: ids in the order of writing.
    by_pair: BTreeMap<(usize, usize), Vec<MessageId>>,
}

fn play(world: &mut World, written: &mut Written, happening: &Happening) {
    match *happening {
        Happening::Send { from, to } => {
            let number = written.by_pair.values().map(Vec::len).sum::<usize>();
            let id = world.send(from, to, &format!("message {number}"));
            written.by_pair.entry((from, to)).or_default().push(id);
        }
        Happening::MarkRead { who, chat } => {
            world.mark_read(who, chat);
        }
        Happening::Connect(who) => world.connect(who),
        Happening::Cut(who) => world.disconnect(who),
        Happening::Crash(who) => world.crash(who),
        Happening::StepUp(who) => {
            world.step_up(who);
        }
        Happening::StepMailbox(who) => {
            world.step_mailbox(who);
        }
        Happening::StepDown(who) => {
            world.step_down(who);
        }
        Happening::Pass(millis) => world.tick(Millis(millis)),
        Happening::Refuse(request, code) => {
            let refusal = match code {
                Code::RetryAfter => Refusal::retry_after(Millis(700)),
                code => Refusal::new(code),
            };
            world.server.refusals.push_back((request, refusal));
        }
        Happening::Lie(request) => world.server.lies.push_back((request, Refusal::new(Code::Unavailable))),
        Happening::Swallow => world.server.swallow += 1,
        Happening::LoseSessions(who) => world.with_database(who, |database| {
            database.execute("DELETE FROM ratchet", []).unwrap();
        }),
        Happening::Restore => world.server.restore_from_backup(),
        Happening::Print(who) => {
            world.print(who);
        }
    }
}

/// Ends all faults, and gives the engines the time that their longest pauses take.
fn recover(world: &mut World, written: &mut Written) {
    world.server.refusals.clear();
    world.server.lies.clear();
    world.server.swallow = 0;
    for who in 0..PEOPLE {
        world.connect(who);
    }
    world.pass(Millis::from_mins(30));
    // One more message each way shows what is missing at the end of a conversation.
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        play(world, written, &Happening::Send { from, to });
    }
    world.pass(Millis::from_mins(30));
    for who in 0..PEOPLE {
        world.flush(who);
    }
    world.pass(Millis::from_hours(30));
}

fn check(world: &mut World, written: &Written) {
    for ((from, to), ids) in &written.by_pair {
        let sent: Vec<MessageId> = world
            .history(*from, *to)
            .into_iter()
            .filter(|message| message.sender.account == world.people[*from].account)
            .map(|message| message.message_id)
            .collect();
        assert_eq!(&sent, ids, "the writer sees what was written, in that order");
        for id in ids {
            let state = world.state(*from, *id);
            assert!(
                matches!(state, DeliveryState::Delivered | DeliveryState::Read),
                "{from} -> {to}: {id} is {state:?}"
            );
        }
        let one: Vec<_> = world
            .history(*from, *to)
            .into_iter()
            .map(|message| (message.stamp, message.message_id))
            .collect();
        let other: Vec<_> = world
            .history(*to, *from)
            .into_iter()
            .map(|message| (message.stamp, message.message_id))
            .collect();
        assert_eq!(one, other, "both see the same messages under the same stamps, in the same order");
    }
    for who in 0..PEOPLE {
        world.print(who);
        let messages: Vec<MessageId> = world.people[who]
            .printed
            .iter()
            .filter_map(|event| match event {
                EventView::Message(message) => Some(message.message_id),
                _ => None,
            })
            .collect();
        let expected: BTreeSet<MessageId> = written
            .by_pair
            .iter()
            .filter(|((_, to), _)| *to == who)
            .flat_map(|(_, ids)| ids.iter().copied())
            .collect();
        let printed: BTreeSet<MessageId> = messages.iter().copied().collect();
        assert_eq!(messages.len(), printed.len(), "no message was printed twice");
        assert_eq!(printed, expected, "every message was printed");
        assert!(world.people[who].engine().is_settled(), "{who} has nothing left to do");
    }
    assert!(world.server.unanswered_max <= SENDS_UNANSWERED_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_and_in_order(history in prop::collection::vec(happening(), 1..120)) {
        let mut world = World::new(PEOPLE);
        let mut written = Written::default();
        for happening in &history {
            play(&mut world, &mut written, happening);
        }
        recover(&mut world, &mut written);
        check(&mut world, &written);
    }
}

#[test]
fn a_message_to_a_group_leaves_after_a_refused_list() {
    for refusal in [Refusal::new(Code::Unavailable), Refusal::retry_after(Millis::from_secs(3))] {
        let (mut world, group) = World::with_group(3);
        world.send_group(0, group, "before");
        world.settle();
        world.link_device(1);
        world.connect(1);
        world.server.refusals.push_back(("get_device_lists", refusal));
        let message = world.send_group(0, group, "after");
        world.run();
        assert!(world.server.refusals.is_empty(), "the list was refused");
        world.pass(Millis::from_secs(30));
        assert_ne!(world.group_status(0, message).0, DeliveryState::Queued);
    }
}
