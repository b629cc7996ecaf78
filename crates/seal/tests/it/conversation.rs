//! Two devices talk: any order, any loss, any number of messages.

use crate::support::{NOW, Party, exchange, pair, settled_pair};
use proptest::prelude::*;
use seal::{CHAIN_LENGTH_MAX, CHAIN_LENGTH_RENEW, DecryptFailure, SealError, SealKind, SessionNeeded};
use types::Millis;

#[test]
fn a_first_message_opens_without_an_answer_and_the_answer_ends_the_opening() {
    let (mut alice, mut bob) = pair(1);
    for text in ["one", "two"] {
        let sealed = alice.seal_text(&bob.peer(), text);
        assert_eq!(sealed.kind, SealKind::Prekey);
        assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), text);
    }
    exchange(&mut bob, &mut alice, "three");
    let sealed = alice.seal_text(&bob.peer(), "four");
    assert_eq!(sealed.kind, SealKind::Ratchet);
    assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), "four");
}

#[test]
fn a_session_opens_without_one_time_prekeys() {
    let (mut alice, mut bob) = (Party::new(1), Party::new(2));
    let bundle = bob.bundle_without_one_time();
    alice.open_session(bundle, &bob.peer());
    exchange(&mut alice, &mut bob, "the pool was empty");
    exchange(&mut bob, &mut alice, "no matter");
}

#[test]
fn an_opening_works_once_its_first_message_was_lost() {
    let (mut alice, mut bob) = pair(1);
    alice.seal_text(&bob.peer(), "lost");
    exchange(&mut alice, &mut bob, "second");
}

#[test]
fn messages_open_in_any_order_once_each() {
    let (mut alice, mut bob) = settled_pair(1);
    let mut under_way: Vec<_> = (0..300).map(|n| (n, alice.seal_text(&bob.peer(), &n.to_string()))).collect();
    while !under_way.is_empty() {
        let at = bob.draw(under_way.len());
        let (n, sealed) = under_way.swap_remove(at);
        assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), n.to_string());
        assert_eq!(bob.open_text(&alice.peer(), &sealed), Err(DecryptFailure::Duplicate));
    }
}

#[test]
fn both_may_open_a_session_at_the_same_time() {
    let (mut alice, mut bob) = pair(1);
    let bundle = alice.bundle();
    bob.open_session(bundle, &alice.peer());
    let (from_alice, from_bob) = (alice.seal_text(&bob.peer(), "a"), bob.seal_text(&alice.peer(), "b"));
    assert_eq!(bob.open_text(&alice.peer(), &from_alice).unwrap(), "a");
    assert_eq!(alice.open_text(&bob.peer(), &from_bob).unwrap(), "b");
    for n in 0..20 {
        exchange(&mut alice, &mut bob, &format!("a{n}"));
        exchange(&mut bob, &mut alice, &format!("b{n}"));
    }
}

#[test]
fn what_is_under_way_in_an_older_session_still_opens_after_a_new_one() {
    let (mut alice, mut bob) = settled_pair(1);
    let late = alice.seal_text(&bob.peer(), "late");
    for _ in 0..3 {
        let bundle = bob.bundle_without_one_time();
        alice.open_session(bundle, &bob.peer());
        exchange(&mut alice, &mut bob, "new session");
    }
    assert_eq!(bob.open_text(&alice.peer(), &late).unwrap(), "late");
    exchange(&mut bob, &mut alice, "and on");
}

#[test]
fn a_lost_database_heals_with_one_new_session() {
    let (mut alice, mut bob) = settled_pair(1);
    bob.store.remove_session(alice.address());
    let lost = alice.seal_text(&bob.peer(), "nobody can open this");
    assert_eq!(bob.open_text(&alice.peer(), &lost), Err(DecryptFailure::NoSession));
    let bundle = alice.bundle_without_one_time();
    bob.open_session(bundle, &alice.peer());
    exchange(&mut bob, &mut alice, "please again");
    exchange(&mut alice, &mut bob, "again");
}

#[test]
fn ten_thousand_messages_with_the_state_stored_after_each() {
    let (mut alice, mut bob) = settled_pair(1);
    for n in 0..10_000 {
        let text = format!("message {n}");
        // Runs of up to 7 in one direction, so that both ratchets turn some thousand times.
        if alice.draw(7) < 3 {
            exchange(&mut alice, &mut bob, &text)
        } else {
            exchange(&mut bob, &mut alice, &text)
        }
    }
}

/// One side says much, the other hardly anything: the post-quantum ratchet stays in one epoch for thousands of
/// messages, and what arrives in order never counts as far ahead.
#[test]
fn a_lopsided_conversation_goes_on() {
    let (mut alice, mut bob) = settled_pair(1);
    for _ in 0..4 {
        for n in 0..1_400 {
            let sealed = alice.seal_text(&bob.peer(), &n.to_string());
            let steps = seal::forward_steps(&bob.store, &bob.arrival(&alice.peer(), &sealed)).unwrap();
            assert!(steps <= 2, "{steps} steps for the next message");
            assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), n.to_string());
        }
        exchange(&mut bob, &mut alice, "hm");
    }
}

/// A simulation can be replayed only if nothing here draws its own randomness or reads a clock.
#[test]
fn the_same_inputs_give_the_same_bytes() {
    let run = || {
        let (mut alice, mut bob) = pair(9);
        let mut sent = Vec::new();
        for n in 0..40 {
            let (from, to) = if n % 3 == 2 { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
            let sealed = from.seal_text(&to.peer(), &n.to_string());
            assert_eq!(to.open_text(&from.peer(), &sealed).unwrap(), n.to_string());
            sent.push(sealed);
        }
        (sent, alice.store, bob.store)
    };
    let (one, other) = (run(), run());
    assert_eq!(one.0, other.0);
    assert!(one.1.same_state(&other.1) && one.2.same_state(&other.2));
}

#[test]
fn an_unanswered_opening_goes_stale_after_thirty_days() {
    let (mut alice, bob) = pair(1);
    let content = alice.content(bob.id(), "late");
    alice.now = NOW + Millis::from_days(30);
    assert!(alice.seal(&bob.peer(), &content).is_ok());
    alice.now = NOW + Millis::from_days(30) + Millis::from_secs(1);
    let refused = alice.seal(&bob.peer(), &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Stale))), "{refused:?}");
    let needed = seal::session_needed(&alice.store, &bob.peer(), alice.now).unwrap();
    assert_eq!(needed, Some(SessionNeeded::Stale));
}

#[test]
fn without_a_session_nothing_is_encrypted() {
    let (mut alice, bob) = (Party::new(1), Party::new(2));
    let content = alice.content(bob.id(), "to nobody");
    let refused = alice.seal(&bob.peer(), &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Absent))), "{refused:?}");
}

#[test]
fn a_long_unanswered_chain_asks_for_a_new_session_and_then_ends() {
    let (mut alice, mut bob) = settled_pair(1);
    let content = alice.content(bob.id(), "are you there?");
    let mut last = None;
    for n in 1..=CHAIN_LENGTH_MAX {
        let sealed = alice.seal(&bob.peer(), &content).unwrap();
        assert_eq!(sealed.renew, n >= CHAIN_LENGTH_RENEW, "at {n}");
        last = Some(sealed);
    }
    let refused = alice.seal(&bob.peer(), &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Exhausted))), "{refused:?}");
    // The receiver got none of the others and still opens the last one that a sender may send.
    assert!(bob.open(&alice.peer(), &last.unwrap()).is_ok());
    // An answer begins a new chain.
    exchange(&mut bob, &mut alice, "yes");
    assert!(!alice.seal_text(&bob.peer(), "at last").renew);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    Deliver { at: usize },
    Drop { at: usize },
    Redeliver,
    Renew,
}

#[derive(Debug)]
struct Sent {
    text: String,
    sealed: seal::Sealed,
    turn: usize,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Send),
        6 => any::<usize>().prop_map(|at| Step::Deliver { at }),
        1 => any::<usize>().prop_map(|at| Step::Drop { at }),
        1 => Just(Step::Redeliver),
        1 => Just(Step::Renew),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the network does, a message that arrives opens, with its own text, and a second time it is a
    /// duplicate. What is older than four turns of the conversation is dropped here: a mailbox keeps its order,
    /// and the ratchet keeps five chains.
    #[test]
    fn every_schedule(seed in 0..u64::from(u16::MAX), steps in prop::collection::vec((any::<bool>(), step()), 1..120)) {
        let (alice, bob) = settled_pair(seed);
        let mut parties = [alice, bob];
        let mut under_way: [Vec<Sent>; 2] = [vec![], vec![]];
        let mut newest: [Option<Sent>; 2] = [None, None];
        let (mut delivered, mut renewed) = ([0, 0], 0);
        for (n, (side, step)) in steps.into_iter().enumerate() {
            let (sender, receiver) = (usize::from(side), usize::from(!side));
            let peers = [parties[0].peer(), parties[1].peer()];
            let turn = delivered[receiver] + renewed;
            under_way[sender].retain(|sent| turn - sent.turn < 4);
            newest[sender].take_if(|sent| turn - sent.turn >= 4);
            let count = under_way[sender].len();
            match step {
                Step::Send => {
                    let text = n.to_string();
                    let sealed = parties[sender].seal_text(&peers[receiver], &text);
                    under_way[sender].push(Sent { text, sealed, turn });
                }
                Step::Deliver { at } if count > 0 => {
                    let sent = under_way[sender].remove(at % count);
                    let opened = parties[receiver].open_text(&peers[sender], &sent.sealed);
                    prop_assert_eq!(opened.as_ref(), Ok(&sent.text));
                    newest[sender] = Some(sent);
                    delivered[sender] += 1;
                }
                Step::Drop { at } if count > 0 => drop(under_way[sender].remove(at % count)),
                Step::Redeliver => if let Some(sent) = &newest[sender] {
                    let again = parties[receiver].open_text(&peers[sender], &sent.sealed);
                    prop_assert_eq!(again, Err(DecryptFailure::Duplicate));
                },
                Step::Renew => {
                    let bundle = parties[receiver].bundle_without_one_time();
                    parties[sender].open_session(bundle, &peers[receiver]);
                    renewed += 1;
                }
                Step::Deliver { .. } | Step::Drop { .. } => {}
            }
        }
    }
}
