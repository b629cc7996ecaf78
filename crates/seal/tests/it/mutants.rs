//! Twenty thousand messages that are nearly honest: none panics, none changes the state, and the honest ones
//! open afterwards. The same mutants without the guard: some of them panic.

use crate::control::{Bare, bare_open, quietly};
use crate::protobuf::{Field, decode, edit_inner, edit_prekey, edit_ratchet, encode, get, set};
use crate::support::{Party, exchange, pair, settled_pair};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use seal::{DecryptFailure, SealKind, Sealed};

const MUTANTS: usize = 20_000;
const CONTROLS: usize = 2_000;

#[test]
fn mutants_neither_panic_nor_leave_a_trace() {
    for (mut alice, mut bob, honest) in scenes() {
        let mut rng = crate::support::rng(42);
        let state = bob.store.clone();
        for n in 0..MUTANTS / 2 {
            let mutant = mutate(&honest, &mut rng);
            let arrival = bob.arrival(&alice.peer(), &mutant);
            let outcome = seal::decrypt(&mut bob.store, &arrival, &mut bob.rng);
            match outcome.err() {
                Some(seal::DecryptError::Refused(failure)) => {
                    assert_ne!(
                        failure,
                        DecryptFailure::Panicked,
                        "mutant {n}: {}",
                        hex::encode(mutant.ciphertext)
                    );
                }
                // A mutation may hit what the MAC does not cover, or change nothing.
                None => {
                    assert!(is_harmless(&mutant, &honest), "mutant {n}: {}", hex::encode(mutant.ciphertext))
                }
                Some(other) => panic!("mutant {n}: {other}"),
            }
            if !bob.store.same_state(&state) {
                assert!(is_harmless(&mutant, &honest), "mutant {n} changed the state");
                return_to(&mut bob, &alice, &honest);
            }
        }
        assert_eq!(bob.open_text(&alice.peer(), &honest).unwrap(), "honest");
        exchange(&mut bob, &mut alice, "and on it goes");
        exchange(&mut alice, &mut bob, "as if nothing had happened");
    }
}

#[test]
fn without_the_guard_some_of_the_mutants_panic() {
    for (alice, bob, honest) in scenes() {
        let mut rng = crate::support::rng(42);
        let panics = (0..CONTROLS)
            .map(|_| mutate(&honest, &mut rng))
            .filter(|mutant| {
                matches!(bare_open(&bob, &alice, mutant.kind, &mutant.ciphertext), Bare::Panicked)
            })
            .count();
        assert!(panics > CONTROLS / 400, "only {panics} of {CONTROLS}");
    }
}

/// Any bytes at all, to every reader that a fuzzer would be given.
#[test]
fn noise_is_refused() {
    let (alice, mut bob) = settled_pair(5);
    let mut rng = crate::support::rng(6);
    for n in 0..5_000 {
        let mut bytes = vec![0; rng.next_u32() as usize % 400];
        rng.fill_bytes(&mut bytes);
        if n % 2 == 0 && !bytes.is_empty() {
            bytes[0] = [0x44, 0x33][n / 2 % 2];
        }
        for kind in [SealKind::Prekey, SealKind::Ratchet, SealKind::SenderKey] {
            let noise = Sealed { kind, ciphertext: bytes.clone(), renew: false };
            let failure = quietly(|| bob.open(&alice.peer(), &noise)).err().expect("noise does not open");
            assert_ne!(failure, DecryptFailure::Panicked);
        }
        assert!(seal::guard::inspect_distribution(&bytes).is_err());
        let _ = seal::unpad(&bytes);
        let _ = seal::Content::decode(&bytes);
        let _ = seal::Opened::from_slice(&bytes);
        let _ = seal::guard::check_pq_field(&bytes);
    }
}

/// A message of an open session, and one that opens a session.
fn scenes() -> [(Party, Party, Sealed); 2] {
    let (mut alice, bob) = settled_pair(3);
    let ratchet = alice.seal_text(&bob.peer(), "honest");
    let (mut carol, dave) = pair(4);
    let prekey = carol.seal_text(&dave.peer(), "honest");
    [(alice, bob, ratchet), (carol, dave, prekey)]
}

/// Equal, or different only in the registration id, which is outside the MAC and checked against the list.
fn is_harmless(mutant: &Sealed, honest: &Sealed) -> bool {
    mutant.ciphertext == honest.ciphertext
}

/// The honest message was opened by a mutant that is equal to it: back to before.
fn return_to(bob: &mut Party, alice: &Party, honest: &Sealed) {
    let scene =
        scenes().into_iter().find(|(_, _, sealed)| sealed == honest).expect("the scene is one of the two");
    assert_eq!(scene.0.address(), alice.address());
    *bob = scene.1;
}

fn mutate(honest: &Sealed, rng: &mut ChaCha20Rng) -> Sealed {
    let bytes = &honest.ciphertext;
    let ciphertext = match (rng.next_u32() % 8, honest.kind) {
        (0, _) => flip(bytes, rng),
        (1, _) => splice(bytes, rng),
        (2 | 3, SealKind::Prekey) => edit_inner(bytes, |fields| change_the_pq_field(fields, rng)),
        (2 | 3, _) => edit_ratchet(bytes, |fields| change_the_pq_field(fields, rng)),
        (4, SealKind::Prekey) => edit_prekey(bytes, |fields| change_a_field(fields, rng)),
        (_, SealKind::Prekey) => edit_inner(bytes, |fields| change_a_field(fields, rng)),
        _ => edit_ratchet(bytes, |fields| change_a_field(fields, rng)),
    };
    Sealed { ciphertext, ..honest.clone() }
}

fn flip(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % bytes.len();
        bytes[at] ^= 1 << (rng.next_u32() % 8);
    }
    bytes
}

/// Cuts, repeats or inserts a piece.
fn splice(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let from = rng.next_u32() as usize % bytes.len();
    let to = from + rng.next_u32() as usize % (bytes.len() - from + 1).min(40);
    let mut noise = vec![0; rng.next_u32() as usize % 8];
    rng.fill_bytes(&mut noise);
    match rng.next_u32() % 3 {
        0 => [&bytes[..from], &bytes[to..]].concat(),
        1 => [&bytes[..to], &bytes[from..]].concat(),
        _ => [&bytes[..from], &noise, &bytes[from..]].concat(),
    }
}

/// Keeps the encoding honest and the content not.
fn change_a_field(fields: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut fields = decode(fields);
    let at = rng.next_u32() as usize % fields.len();
    match &mut fields[at] {
        Field::Number(_, value) => *value = number(rng),
        Field::Bytes(_, content) if content.is_empty() => content.push(1),
        Field::Bytes(_, content) => *content = change(content, rng),
    }
    encode(&fields)
}

/// Near or very far: what lies between costs thousands of hash steps and has a test of its own.
fn number(rng: &mut ChaCha20Rng) -> u64 {
    let near = u64::from(rng.next_u32() % 40);
    if rng.next_u32().is_multiple_of(2) { near } else { u64::from(u32::MAX) - near }
}

fn change_the_pq_field(fields: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let field = get(fields, 5).expect("honest messages have a post-quantum field");
    set(fields, 5, Some(&change(&field, rng)))
}

fn change(content: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    match rng.next_u32() % 4 {
        0 => flip(content, rng),
        1 => splice(content, rng),
        2 => content[..rng.next_u32() as usize % content.len()].to_vec(),
        _ => {
            let mut content = content.to_vec();
            let at = rng.next_u32() as usize % content.len().min(8);
            content[at] = rng.next_u32() as u8;
            content
        }
    }
}
