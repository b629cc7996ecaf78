//! What is sealed outside a ratchet session: archives, backups, names, and the secrets that people type. As they arrive,
//! and with a body that a member of the group or a device of the account made up.

use crate::{Outcome, Sample, Target, people::rng};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use seal::{
    ArchiveId, ArchiveKey, GroupSecret, InviteSecret, SyncKey,
    archive::{PartOpener, PartSealer},
    backup::{BackupError, BackupReader, BackupWriter, RecoveryKey},
    group_info::{self, GroupInfo},
    names::{self, NamedDevice},
};
use sha2::Sha256;
use std::sync::OnceLock;
use types::{AccountId, DeviceNumber, Timestamp};

/// One part of an archive; the first byte says how many came before.
pub(super) const ARCHIVE_PART: Target = Target {
    name: "seal_archive_part",
    run: |bytes| {
        let Some((opened, part)) = bytes.split_first() else { return Outcome::Refused("empty".to_owned()) };
        let mut opener = PartOpener::resume(archive_key(), ARCHIVE, (*opened).into());
        let before = opener.opened();
        let read = opener.open(part);
        match &read {
            Ok(_) => assert_eq!(opener.opened(), before + 1, "a part has its place"),
            Err(_) => assert_eq!(opener.opened(), before, "a refused part changes nothing"),
        }
        Outcome::of(&read)
    },
    samples: || {
        let mut sealer = PartSealer::new(archive_key(), ARCHIVE);
        let mut part = |place: u8, plaintext: &[u8], is_last| {
            let part = sealer.seal(plaintext, is_last, &mut rng(90)).expect("it is small");
            [vec![place], part].concat()
        };
        vec![
            Sample::new("first", part(0, b"records", false)),
            Sample::new("second", part(1, &[7; 1_000], false)),
            Sample::new("last", part(2, b"", true)),
        ]
    },
    short_runs: 10_000,
    input_bytes_max: 4 * 1024,
};

/// A backup file, which may come from anywhere.
pub(super) const BACKUP: Target = Target {
    name: "seal_backup",
    run: |bytes| Outcome::of(&read_backup(bytes)),
    samples: || vec![Sample::new("two_parts", backup())],
    short_runs: 3_000,
    input_bytes_max: 4 * 1024,
};

/// The body of the device names in a list, under the account's key.
pub(super) const DEVICE_NAMES: Target = Target {
    name: "seal_device_names",
    run: |bytes| {
        let sealed = seal_any(&derive(&[1; 32], b"waxwing device names v1"), ME.as_bytes(), bytes);
        let read = names::open(&sync_key(), ME, &sealed);
        if let Ok(read) = &read {
            let again =
                names::seal(&sync_key(), ME, read, &mut rng(91)).expect("what was read can be sealed");
            assert_eq!(names::open(&sync_key(), ME, &again).as_ref(), Ok(read), "and is read again");
        }
        // As it comes in a list, without the key.
        assert!(names::open(&sync_key(), ME, bytes).is_err(), "nobody makes names up");
        Outcome::of(&read)
    },
    samples: || {
        let device = |number| DeviceNumber::new(number).expect("it is in range");
        let named = |number, name: &str| NamedDevice {
            device: device(number),
            name: name.parse().expect("it is a name"),
            added_at: Timestamp::from_millis(1_800_000_000_000),
        };
        let names = [named(1, "Phone"), named(2, "Jörgs Laptop")];
        let sealed = names::seal(&sync_key(), ME, &names, &mut rng(92)).expect("two are not too many");
        let key = derive(&[1; 32], b"waxwing device names v1");
        vec![Sample::new("two", open_any(&key, ME.as_bytes(), &sealed))]
    },
    short_runs: 10_000,
    input_bytes_max: 2 * 1024,
};

/// The body of a group's info, which any member with the right to change it makes.
pub(super) const GROUP_INFO: Target = Target {
    name: "seal_group_info",
    run: |bytes| {
        let read = group_info::open(&group_secret(), &seal_any(&group_info_key(), &[], bytes));
        if let Ok(read) = &read {
            let again = group_info::seal(&group_secret(), read, &mut rng(93));
            assert_eq!(group_info::open(&group_secret(), &again).as_ref(), Ok(read), "a name is a name");
        }
        assert!(group_info::open(&group_secret(), bytes).is_err(), "who has no secret names nothing");
        Outcome::of(&read)
    },
    samples: || {
        let info = GroupInfo::new("Family", "all of us\nand the cat").expect("it is short");
        let sealed = group_info::seal(&group_secret(), &info, &mut rng(94));
        vec![Sample::new("name", open_any(&group_info_key(), &[], &sealed))]
    },
    short_runs: 10_000,
    input_bytes_max: 4 * 1024,
};

/// Secrets that people type or open: the recovery key, and the fragment of an invite link.
pub(super) const TYPED_SECRETS: Target = Target {
    name: "seal_typed_secrets",
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not UTF-8".to_owned()) };
        let (recovery, invite) = (text.parse::<RecoveryKey>(), InviteSecret::from_text(text));
        if let Ok(key) = &recovery {
            assert_eq!(key.grouped().parse().as_ref(), Ok(key), "what is shown is the key");
        }
        if let Ok(invite) = &invite {
            assert_eq!(invite.to_text().as_str(), text, "an invite has one text");
        }
        assert!(recovery.is_err() || invite.is_err(), "64 digits are no invite");
        if recovery.is_ok() { Outcome::Accepted } else { Outcome::of(&invite) }
    },
    samples: || {
        let group = group_secret();
        let invite = InviteSecret { link: signed::keys::LinkSecret::from_bytes(&[4; 32]), group };
        vec![
            Sample::new("recovery_key", recovery_key().grouped().as_bytes()),
            Sample::new("recovery_key_with_dashes", recovery_key().grouped().replace(' ', "-")),
            Sample::new("invite", invite.to_text().as_bytes()),
        ]
    },
    short_runs: 20_000,
    input_bytes_max: 256,
};

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([0xac; 16]);
const ME: AccountId = AccountId::from_bytes([0xa1; 16]);

fn archive_key() -> ArchiveKey {
    ArchiveKey::from_slice(&[3; 32]).expect("they are 32")
}

fn sync_key() -> SyncKey {
    SyncKey::from_slice(&[1; 32]).expect("they are 32")
}

fn group_secret() -> GroupSecret {
    GroupSecret::from_slice(&[2; 32]).expect("they are 32")
}

fn group_info_key() -> [u8; 32] {
    derive(&[2; 32], b"waxwing group info v1")
}

fn recovery_key() -> &'static RecoveryKey {
    static KEY: OnceLock<RecoveryKey> = OnceLock::new();
    KEY.get_or_init(|| RecoveryKey::random(&mut rng(95)))
}

fn backup() -> Vec<u8> {
    let mut rng = rng(96);
    let (mut writer, header) = BackupWriter::begin(recovery_key(), &mut rng);
    let mut part = |plaintext, is_last| writer.write(plaintext, is_last, &mut rng).expect("it is small");
    [header.to_vec(), part(b"records", false), part(b"more", true)].concat()
}

fn read_backup(bytes: &[u8]) -> Result<(), BackupError> {
    static HONEST: OnceLock<Vec<u8>> = OnceLock::new();
    let mut reader = BackupReader::open(recovery_key(), bytes)?;
    while reader.next_part()?.is_some() {}
    assert_eq!(HONEST.get_or_init(backup), bytes, "no other file opens under this key");
    Ok(())
}

fn derive(secret: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(label, &mut key).expect("32 bytes can be had");
    key
}

/// Seals any body as honest code would: the form written down a second time.
pub(super) fn seal_any(key: &[u8; 32], bound: &[u8], body: &[u8]) -> Vec<u8> {
    let padded = seal::pad(body.to_vec());
    let payload = Payload { msg: &padded, aad: bound };
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&[0; 24].into(), payload);
    [[0; 24].as_slice(), &sealed.expect("a short text can be sealed")].concat()
}

/// The body of something that honest code sealed.
pub(super) fn open_any(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (nonce, text) = sealed.split_at(24);
    let payload = Payload { msg: text, aad: bound };
    let padded = XChaCha20Poly1305::new(key.into()).decrypt(nonce.into(), payload).expect("ours opens");
    seal::unpad(&padded).expect("ours is padded").to_vec()
}
