//! Archives in sealed parts: what opens is what was sealed, in order and whole.

use crate::support::rng;
use expect_test::expect;
use proptest::prelude::*;
use seal::archive::{
    ArchiveError, PART_BYTES_MAX, PartOpener, PartSealer, SEALED_PART_BYTES_MAX, SealPartError, digest,
};
use seal::{ArchiveId, ArchiveKey};

fn key(byte: u8) -> ArchiveKey {
    ArchiveKey::from_slice(&[byte; 32]).unwrap()
}

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([0xac; 16]);

/// An archive of the given parts.
fn sealed(key: ArchiveKey, archive: ArchiveId, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut sealer = PartSealer::new(key, archive);
    let mut rng = rng(1);
    let last = parts.len() - 1;
    parts.iter().enumerate().map(|(at, part)| sealer.seal(part, at == last, &mut rng).unwrap()).collect()
}

/// Everything that opens, as far as it opens.
fn open_all(key: ArchiveKey, archive: ArchiveId, parts: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut opener = PartOpener::new(key, archive);
    let opened = parts.iter().map(|part| opener.open(part).map(|plaintext| plaintext.to_vec()));
    let opened = opened.collect::<Result<_, _>>()?;
    opener.finish()?;
    Ok(opened)
}

const PARTS: [&[u8]; 3] = [b"one", b"two", b"three"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_opens(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 1..5)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let opened = open_all(key(1), ARCHIVE, &sealed(key(1), ARCHIVE, &parts)).unwrap();
        prop_assert_eq!(opened, parts);
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(PartOpener::new(key(1), ARCHIVE).open(&bytes), Err(ArchiveError::Damaged));
    }

    #[test]
    fn every_bit_counts(at in 0..10_000_usize, bit in 0..8_u8) {
        let mut parts = sealed(key(1), ARCHIVE, &PARTS);
        let at = at % parts[1].len();
        parts[1][at] ^= 1_u8 << bit;
        prop_assert_eq!(open_all(key(1), ARCHIVE, &parts), Err(ArchiveError::Damaged));
    }
}

#[test]
fn parts_are_bound_to_their_places() {
    let parts = sealed(key(1), ARCHIVE, &PARTS);
    let [one, two, three] = [&parts[0], &parts[1], &parts[2]].map(Clone::clone);
    let whole = [one.clone(), two.clone(), three.clone()];
    assert_eq!(open_all(key(1), ARCHIVE, &whole).unwrap(), PARTS);
    let out_of_place = [
        vec![two.clone(), one.clone(), three.clone()],
        vec![one.clone(), three.clone()],
        vec![two.clone(), three.clone()],
        vec![one.clone(), one.clone(), two.clone(), three.clone()],
        vec![one.clone(), two.clone(), three.clone(), three.clone()],
    ];
    for parts in out_of_place {
        assert_eq!(open_all(key(1), ARCHIVE, &parts), Err(ArchiveError::Damaged));
    }
    for parts in [vec![one.clone(), two.clone()], vec![one.clone()], vec![]] {
        assert_eq!(open_all(key(1), ARCHIVE, &parts), Err(ArchiveError::CutOff));
    }
    // The mark of the last part cannot be moved to another one.
    let mut ended_early = two;
    ended_early[0] = 1;
    assert_eq!(open_all(key(1), ARCHIVE, &[one, ended_early]), Err(ArchiveError::Damaged));
}

#[test]
fn parts_are_bound_to_their_archive() {
    let other_archive = ArchiveId::from_bytes([0xad; 16]);
    let mut parts = sealed(key(1), ARCHIVE, &PARTS);
    assert_eq!(open_all(key(2), ARCHIVE, &parts), Err(ArchiveError::Damaged));
    assert_eq!(open_all(key(1), other_archive, &parts), Err(ArchiveError::Damaged));
    parts[1] = sealed(key(1), other_archive, &PARTS).remove(1);
    assert_eq!(open_all(key(1), ARCHIVE, &parts), Err(ArchiveError::Damaged));
}

#[test]
fn both_sides_go_on_after_a_break() {
    let mut rng = rng(3);
    let mut sealer = PartSealer::new(key(1), ARCHIVE);
    let one = sealer.seal(b"one", false, &mut rng).unwrap();
    let mut sealer = PartSealer::resume(key(1), ARCHIVE, sealer.sealed());
    let two = sealer.seal(b"two", true, &mut rng).unwrap();
    let mut opener = PartOpener::new(key(1), ARCHIVE);
    assert_eq!(**opener.open(&one).unwrap(), *b"one");
    let mut opener = PartOpener::resume(key(1), ARCHIVE, opener.opened());
    assert_eq!(opener.open(&one), Err(ArchiveError::Damaged), "and a refusal changes nothing");
    assert_eq!(**opener.open(&two).unwrap(), *b"two");
    assert_eq!(opener.finish(), Ok(()));
}

/// After a crash a part may be sealed again with other content: no two parts may share a key stream.
#[test]
fn a_part_that_is_sealed_twice_is_two_parts() {
    let mut rng = rng(3);
    let mut seal = || PartSealer::new(key(1), ARCHIVE).seal(&[0; 500], false, &mut rng).unwrap();
    let (one, other) = (seal(), seal());
    let same = one[25..].iter().zip(&other[25..]).filter(|(one, other)| one == other).count();
    assert!(same < one.len() / 10, "{same} of {} bytes are the same", one.len());
}

#[test]
fn sizes_have_limits() {
    let mut rng = rng(4);
    let mut sealer = PartSealer::new(key(1), ARCHIVE);
    let largest = vec![7; PART_BYTES_MAX];
    let part = sealer.seal(&largest, false, &mut rng).unwrap();
    assert_eq!(part.len(), SEALED_PART_BYTES_MAX);
    assert_eq!(sealer.seal(&vec![7; PART_BYTES_MAX + 1], false, &mut rng), Err(SealPartError::TooLarge));
    let end = sealer.seal(b"", true, &mut rng).unwrap();
    assert_eq!(sealer.seal(b"", true, &mut rng), Err(SealPartError::Ended));
    assert_eq!(open_all(key(1), ARCHIVE, &[part, end]).unwrap(), [largest, vec![]]);
}

#[test]
fn the_bytes_do_not_change() {
    let parts = sealed(key(1), ARCHIVE, &PARTS);
    expect!["009a3744504560639ec670b7a17d492b273e077b0a96bef58bfce1223f89bbd1193ca0fc30ff964ff86d5be90ef2414d6d48ea589072add4447c5d3a29264ad24df6858701717c47df7c055bd5b95e4309692d8b1fa70f50645c007d753976db3bc5d031cb15ff4f630fdbe5cd7f28a08986bfbdbcd880f2dc7607610a27bb2527a68c3ba32ba34b469cc749ce27b826911052460c0cd0fcce6fea173cfb8be5a05069d99063bd90d4cecc9e8ff79b5a17a630f1bfcb177f34e0bfed90d25105749fbd35b9608cde00"].assert_eq(&hex::encode(&parts[0]));
    expect!["3fe9fe4aab07c550dc551aef9d402d261bd51adad9c9041d0aaf48032d627fec"]
        .assert_eq(&hex::encode(digest(&parts[2])));
}
