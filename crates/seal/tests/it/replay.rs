//! A server that keeps what it was given and delivers it again, later, or to a device that lost something.

use crate::control::{Bare, bare_open};
use crate::support::{Party, exchange, pair, settled_pair};
use seal::{DecryptFailure, Store};

#[test]
fn a_first_message_again_is_a_duplicate() {
    let (mut alice, mut bob) = pair(1);
    let first = alice.seal_text(&bob.peer(), "first");
    assert_eq!(bob.open_text(&alice.peer(), &first).unwrap(), "first");
    assert_eq!(bob.open_text(&alice.peer(), &first), Err(DecryptFailure::Duplicate));
    exchange(&mut bob, &mut alice, "answer");
    exchange(&mut alice, &mut bob, "second");
    assert_eq!(bob.open_text(&alice.peer(), &first), Err(DecryptFailure::Duplicate));
}

#[test]
fn a_one_time_prekey_opens_one_session() {
    let (mut alice, mut bob) = pair(1);
    let first = alice.seal_text(&bob.peer(), "first");
    let before = bob.clone();
    assert_eq!(bob.open_text(&alice.peer(), &first).unwrap(), "first");
    bob.store.remove_session(alice.address());
    assert_eq!(bob.open_text(&alice.peer(), &first), Err(DecryptFailure::UnknownPrekey));
    // Control: it is the missing prekeys that refuse it.
    assert!(matches!(bare_open(&before, &alice, first.kind, &first.ciphertext), Bare::Opened { .. }));
    assert!(matches!(bare_open(&bob, &alice, first.kind, &first.ciphertext), Bare::Refused));
}

#[test]
fn without_one_time_prekeys_the_opening_is_remembered() {
    let (mut alice, mut bob) = (Party::new(1), Party::new(2));
    let bundle = bob.bundle_without_one_time();
    alice.open_session(bundle, &bob.peer());
    let first = alice.seal_text(&bob.peer(), "first");
    assert_eq!(bob.open_text(&alice.peer(), &first).unwrap(), "first");
    bob.store.remove_session(alice.address());
    // Control: the keys are all still here, so nothing else would refuse it.
    assert!(matches!(bare_open(&bob, &alice, first.kind, &first.ciphertext), Bare::Opened { .. }));
    assert_eq!(bob.open_text(&alice.peer(), &first), Err(DecryptFailure::Duplicate));
    // Another session under the same prekeys is no replay.
    let bundle = bob.bundle_without_one_time();
    alice.open_session(bundle, &bob.peer());
    exchange(&mut alice, &mut bob, "second session");
}

#[test]
fn many_sessions_do_not_make_the_record_grow() {
    let (mut alice, mut bob) = settled_pair(1);
    let mut lengths = Vec::new();
    for _ in 0..30 {
        let bundle = bob.bundle_without_one_time();
        alice.open_session(bundle, &bob.peer());
        exchange(&mut alice, &mut bob, "new session");
        exchange(&mut bob, &mut alice, "answer");
        lengths.push(bob.store.session(alice.address()).unwrap().unwrap().len());
    }
    let states = crate::protobuf::decode(&bob.store.session(alice.address()).unwrap().unwrap()).len();
    assert_eq!(states, 1 + 8, "one current and eight archived");
    let (tenth, last) = (lengths[9], lengths[29]);
    assert!(last < tenth + tenth / 4, "{lengths:?}");
}
