//! The backup file and its key: it opens whole or says why not.

use crate::support::rng;
use expect_test::expect;
use proptest::prelude::*;
use seal::archive::{PART_BYTES_MAX, SealPartError};
use seal::backup::{BackupError, BackupReader, BackupWriter, HEADER_BYTES, RecoveryKey};

fn key(seed: u64) -> RecoveryKey {
    RecoveryKey::random(&mut rng(seed))
}

/// A backup of the given parts.
fn written(key: &RecoveryKey, parts: &[&[u8]]) -> Vec<u8> {
    let mut rng = rng(50);
    let (mut writer, header) = BackupWriter::begin(key, &mut rng);
    let last = parts.len() - 1;
    let parts = parts.iter().enumerate().map(|(at, part)| writer.write(part, at == last, &mut rng).unwrap());
    [vec![header.to_vec()], parts.collect()].concat().concat()
}

fn read(key: &RecoveryKey, file: &[u8]) -> Result<Vec<Vec<u8>>, BackupError> {
    let mut reader = BackupReader::open(key, file)?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next_part()? {
        parts.push(part.to_vec());
    }
    Ok(parts)
}

const PARTS: [&[u8]; 3] = [b"one", b"two", b"three"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 1..5)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read(&key(1), &written(&key(1), &parts)).unwrap(), parts);
    }

    #[test]
    fn any_bytes_are_damaged(bytes in prop::collection::vec(any::<u8>(), 0..300), with_magic: bool) {
        let magic: &[u8] = if with_magic { b"waxwing backup v1\n" } else { b"" };
        prop_assert_eq!(read(&key(1), &[magic, &bytes].concat()), Err(BackupError::Damaged));
    }

    #[test]
    fn a_recovery_key_is_read_however_it_was_written_down(seed: u64, gaps in prop::collection::vec("[ \t\r\n\u{a0}\u{2013}\u{2212}-]{0,3}", 64)) {
        let key = key(seed);
        prop_assert_eq!(&key.grouped().parse::<RecoveryKey>().unwrap(), &key);
        let digits = key.grouped().replace(' ', "");
        let pairs = gaps.iter().zip(digits.chars());
        let scattered: String = pairs.map(|(gap, digit)| format!("{gap}{digit}")).collect();
        prop_assert_eq!(&scattered.parse::<RecoveryKey>().unwrap(), &key);
    }
}

/// Every single changed byte, wherever it is, is damage; never a wrong key, and never another content.
#[test]
fn every_byte_counts() {
    let file = written(&key(1), &PARTS);
    assert_eq!(read(&key(1), &file).unwrap(), PARTS);
    for at in 0..file.len() {
        for change in [1, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= change;
            let refused = read(&key(1), &changed).unwrap_err();
            // The version's digit is in the magic: another one is another version.
            let is_version = at == 16 && changed[at].is_ascii_digit();
            let expected = if is_version { BackupError::Newer } else { BackupError::Damaged };
            assert_eq!(refused, expected, "byte {at}");
        }
    }
}

#[test]
fn every_cut_shows() {
    let file = written(&key(1), &PARTS);
    for length in 0..file.len() {
        assert_eq!(read(&key(1), &file[..length]), Err(BackupError::Damaged), "cut to {length}");
    }
    assert_eq!(read(&key(1), &[file.as_slice(), b"x"].concat()), Err(BackupError::Damaged));
    assert_eq!(read(&key(1), &[file.as_slice(), &[0; 4]].concat()), Err(BackupError::Damaged));
}

#[test]
fn another_key_is_not_damage() {
    let file = written(&key(1), &PARTS);
    assert_eq!(read(&key(2), &file), Err(BackupError::WrongKey));
    // One digit is enough.
    let mut digits = key(1).grouped().to_string();
    let last = digits.pop().unwrap();
    digits.push(if last == '7' { '8' } else { '7' });
    assert_eq!(read(&digits.parse().unwrap(), &file), Err(BackupError::WrongKey));
}

/// The header of one backup does not open the parts of another, with the same key.
#[test]
fn two_backups_do_not_mix() {
    let one = written(&key(1), &PARTS);
    let mut rng = rng(51);
    let (mut writer, header) = BackupWriter::begin(&key(1), &mut rng);
    let part = writer.write(b"one", false, &mut rng).unwrap();
    let mixed = [header.as_slice(), &one[HEADER_BYTES..]].concat();
    assert_eq!(read(&key(1), &mixed), Err(BackupError::Damaged));
    let mixed = [&one[..HEADER_BYTES], &part, &one[HEADER_BYTES + part.len()..]].concat();
    assert_eq!(mixed.len(), one.len());
    assert_eq!(read(&key(1), &mixed), Err(BackupError::Damaged));
}

#[test]
fn a_later_version_is_named() {
    for magic in ["waxwing backup v2\n", "waxwing backup v10\n", "waxwing backup v0\n"] {
        assert_eq!(read(&key(1), magic.as_bytes()), Err(BackupError::Newer), "{magic:?}");
    }
    for magic in ["waxwing backup v\n", "waxwing backup v2", "waxwing backup vx\n", "Waxwing backup v2\n", ""]
    {
        assert_eq!(read(&key(1), magic.as_bytes()), Err(BackupError::Damaged), "{magic:?}");
    }
}

#[test]
fn parts_have_limits() {
    let mut rng = rng(52);
    let (mut writer, header) = BackupWriter::begin(&key(1), &mut rng);
    let largest = vec![1; PART_BYTES_MAX];
    let first = writer.write(&largest, false, &mut rng).unwrap();
    assert_eq!(writer.write(&vec![1; PART_BYTES_MAX + 1], true, &mut rng), Err(SealPartError::TooLarge));
    let last = writer.write(b"", true, &mut rng).unwrap();
    assert_eq!(writer.write(b"", true, &mut rng), Err(SealPartError::Ended));
    assert_eq!(read(&key(1), &[header.as_slice(), &first, &last].concat()).unwrap(), [largest, vec![]]);
}

#[test]
fn a_recovery_key_has_sixty_four_digits_in_groups() {
    let shown = key(1).grouped();
    expect!["4985 2079 0474 2227 1556 6840 9091 2539 5181 9999 2260 6390 1804 4015 6579 0361"]
        .assert_eq(&shown);
    let groups: Vec<&str> = shown.split(' ').collect();
    assert_eq!(groups.len(), 16);
    assert!(groups.iter().all(|group| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_digit())));
    assert_eq!(format!("{:?}", key(1)), "RecoveryKey(redacted)");
    let digits = shown.replace(' ', "");
    let wrong = [
        &digits[1..],
        &format!("{digits}0"),
        "",
        "1234",
        &digits.replacen(&digits[..1], "x", 1),
        &"٣".repeat(64),
    ];
    for text in wrong {
        assert!(text.parse::<RecoveryKey>().is_err(), "{text}");
    }
}

/// With a remainder of a byte, 0 to 5 would come 26 times in 256 and 6 to 9 only 25 times.
#[test]
fn every_digit_is_equally_likely() {
    let mut counts = [0_u32; 10];
    let mut rng = rng(53);
    let keys = 20_000;
    for _ in 0..keys {
        for digit in RecoveryKey::random(&mut rng).grouped().bytes().filter(u8::is_ascii_digit) {
            counts[usize::from(digit - b'0')] += 1;
        }
    }
    // 128,000 of each, with a standard deviation of 340; biased ones would be off by 2,000 to 3,000.
    for (digit, count) in counts.into_iter().enumerate() {
        assert!(count.abs_diff(keys * 64 / 10) < 1_500, "{digit} came {count} times");
    }
}

#[test]
fn the_bytes_do_not_change() {
    let file = written(&key(1), &[b"all"]);
    expect!["d5d610331de1eeb4efbfdb31ca6b1984c3af769a05d003d994d8b09cf622ee9cd93eabe503106c825c37a08267927e968e558854444849e6da38fb58eff2b92f9146f77c3c5ac831d40999c277d4df6e"].assert_eq(&hex::encode(&file[18..HEADER_BYTES]));
    expect!["000000c901f5cc8ef88a86f51f5ba66636149e76257ce954ba80b5452e6b2587488759fe95c9abfb3e862a9647af66dcf67b306d61055bb2b379c75a106a409ffbff93060bb186762f89164b6874721a62ae37e9d8e087051cfdbfdd9f17024e743cfbc5b5f068956629ede7552efc3af86b8c6839737f3820fcd3ea32042aec82c11c521aad97d4b5b9fc44ab95292ca16910cda3ab6d1cb12104e3f45212979461e0d709bd05486f524f20aff0e87471ea61a0ad4f420428bfbdf9923d835458a87bf425ce716e66c1d31aae"].assert_eq(&hex::encode(&file[HEADER_BYTES..]));
}
