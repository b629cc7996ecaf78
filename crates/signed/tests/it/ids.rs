use crate::fixtures::person;
use expect_test::expect;
use signed::{direct_conversation, lists_digest};
use std::collections::BTreeMap;

#[test]
fn an_account_id_is_the_hash_of_its_key() {
    use sha2::{Digest, Sha256};
    let person = person(1);
    let hash = Sha256::digest(person.account.public().as_bytes());
    assert_eq!(person.id().as_bytes()[..], hash[..16]);
    expect!["4b735738f1fc2f9cbf98e1f6d12a6d7b"].assert_eq(&person.id().to_string());
}

#[test]
fn both_sides_derive_the_same_conversation_and_nobody_else_does() {
    let (alice, bob, carol) = (person(1).id(), person(2).id(), person(3).id());
    assert_eq!(direct_conversation(alice, bob), direct_conversation(bob, alice));
    assert_ne!(direct_conversation(alice, bob), direct_conversation(alice, carol));
    assert_ne!(direct_conversation(alice, bob), direct_conversation(carol, bob));
    expect!["e8f1ff29df33b7fef0b0d31db50d3871"].assert_eq(&direct_conversation(alice, bob).to_string());
}

#[test]
fn the_lists_digest_changes_with_every_account_and_version() {
    let (alice, bob) = (person(1).id(), person(2).id());
    let digest = |pairs: &[_]| lists_digest(&pairs.iter().copied().collect::<BTreeMap<_, _>>());
    let base = digest(&[(alice, 1), (bob, 2)]);
    assert_eq!(base, digest(&[(bob, 2), (alice, 1)]));
    assert_ne!(base, digest(&[(alice, 2), (bob, 1)]));
    assert_ne!(base, digest(&[(alice, 1)]));
    expect!["2d9f1dc6efefad4ee0c1fa7c98bfd8adb85d05a1f5cc9e283ecf51e56a773866"].assert_eq(&hex::encode(base));
}
