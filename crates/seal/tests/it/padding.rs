//! Lengths that say little.

use crate::support::{pair, settled_pair};
use proptest::prelude::*;
use seal::{PaddingInvalid, pad, padded_length, unpad};
use std::collections::BTreeSet;

#[test]
fn short_contents_have_one_of_seven_lengths() {
    let lengths: BTreeSet<usize> = (0..1_024).map(padded_length).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [160, 320, 480, 640, 800, 960, 1_024]);
    assert_eq!(padded_length(159), 160);
    assert_eq!(padded_length(160), 320);
    assert_eq!(padded_length(1_023), 1_024);
}

#[test]
fn long_contents_have_the_lengths_of_padme() {
    // Computed by the definition in the paper: L rounded up to a multiple of 2^(E - S), E = floor(log2 L),
    // S = floor(log2 E) + 1.
    let cases = [
        (1_024, 1_088),
        (1_087, 1_088),
        (1_088, 1_152),
        (2_047, 2_048),
        (2_048, 2_176),
        (9_999, 10_240),
        (65_536, 67_584),
        (131_071, 131_072),
    ];
    for (content, padded) in cases {
        assert_eq!(padded_length(content), padded, "{content}");
    }
    let lengths: BTreeSet<usize> = (1_024..=seal::CONTENT_BYTES_MAX).map(padded_length).collect();
    assert!(lengths.len() < 150, "{}", lengths.len());
}

/// The length of a ciphertext follows from the padded length and what the ratchets happen to carry.
#[test]
fn ciphertexts_of_one_step_do_not_tell_their_texts_apart() {
    let (mut alice, bob) = pair(1);
    let overhead = |sealed: &seal::Sealed, content: usize| sealed.ciphertext.len() - padded_length(content);
    let (mut alice_2, bob_2) = settled_pair(1);
    let mut lengths = BTreeSet::new();
    for length in 0..40 {
        let text = "x".repeat(length);
        let content = alice_2.content(bob_2.id(), &text);
        let sealed = alice_2.seal(&bob_2.peer(), &content).unwrap();
        assert!(overhead(&sealed, content.encode().unwrap().len()) < 160);
        lengths.insert(sealed.ciphertext.len());
    }
    // One byte more when a counter needs one byte more, or the post-quantum ratchet sends nothing.
    assert!(lengths.len() <= 3, "{lengths:?}");
    let first = alice.seal_text(&bob.peer(), "x");
    assert!(first.ciphertext.len() < 160 + 2_200, "{}", first.ciphertext.len());
}

#[test]
fn only_padding_is_taken_off() {
    let padded = pad(b"content".to_vec());
    assert_eq!(unpad(&padded), Ok(&b"content"[..]));
    let refused: [Vec<u8>; 6] = [
        vec![],
        vec![0; 160],
        padded[..159].to_vec(),
        [padded.as_slice(), &[0]].concat(),
        [b"content".as_slice(), &[0x81], &[0; 152]].concat(),
        // Right in itself, but padded further than its content needs.
        [b"content".as_slice(), &[0x80], &[0; 312]].concat(),
    ];
    for padded in refused {
        assert_eq!(unpad(&padded), Err(PaddingInvalid), "{padded:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_padded_is_unpadded(content in prop::collection::vec(any::<u8>(), 0..5_000)) {
        let padded = pad(content.clone());
        prop_assert_eq!(padded.len(), padded_length(content.len()));
        prop_assert_eq!(unpad(&padded), Ok(content.as_slice()));
    }

    #[test]
    fn padding_costs_less_than_an_eighth(length in 1_024..10_000_000_usize) {
        let padded = padded_length(length);
        prop_assert!(padded > length);
        prop_assert!(padded - length <= length / 8, "{} -> {}", length, padded);
        prop_assert_eq!(padded_length(padded - 1), padded, "padded lengths are fixed points");
    }
}
