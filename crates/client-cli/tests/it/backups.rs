//! Backups, with the real server.

use crate::{
    conversation::{ALICE, BOB, Conversation, kinds, texts},
    devices::{LAPTOP, link},
    real_server::Waxwing,
    run,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const RESTORED: &str = "+restored";

/// A backup of Alice's account and the file with its key.
fn back_up(c: &Conversation) -> (PathBuf, PathBuf) {
    let (file, key_file) = (c.profile("+backup"), c.profile("+key"));
    let made = c.one(ALICE, &["backup", "create", file.to_str().unwrap()]);
    assert_eq!(made["file"], file.to_str().unwrap());
    let key = made["recovery_key"].as_str().unwrap();
    let groups: Vec<&str> = key.split(' ').collect();
    assert!(groups.len() == 16 && groups.iter().all(|group| group.len() == 4), "{key}");
    assert!(key.chars().all(|c| c.is_ascii_digit() || c == ' '));
    fs::write(&key_file, format!("{key}\n")).unwrap();
    (file, key_file)
}

fn restore(c: &Conversation, server: &Waxwing, file: &Path, key: &Path) -> crate::Ran {
    let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
    c.run(RESTORED, &["backup", "restore", file, "--server", &server.url, "--key-file", key])
}

#[test]
fn a_lost_machine_loses_neither_the_account_nor_its_groups_nor_its_history() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["send", BOB, "from before"]);
    c.all(BOB, &["receive"]);
    c.one(ALICE, &["group", "create", "Pair", BOB]);
    link(&c, &server, ALICE, LAPTOP, &[]);
    let before = c.one(ALICE, &["whoami"]);
    let (file, key) = back_up(&c);
    c.one(BOB, &["send", ALICE, "what waits on the way"]);

    let ran = restore(&c, &server, &file, &key);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let restored: Value = serde_json::from_str(&ran.stdout).unwrap();
    for field in ["account", "device", "phone"] {
        assert_eq!(restored[field], before[field], "{field}");
    }
    assert_eq!(texts(&c.all(RESTORED, &["history", BOB])), ["from before"]);
    let printed = c.all(RESTORED, &["receive"]);
    assert!(!texts(&printed).contains(&"from before"), "{printed:?}");
    let old = c.run(ALICE, &["receive"]);
    assert_eq!((old.exit, old.error_code().as_str()), (77, "revoked"), "{old:?}");

    assert_eq!(c.one(RESTORED, &["send", BOB, "the same account"])["state"], "accepted");
    let bob = c.all(BOB, &["receive"]);
    assert!(texts(&bob).contains(&"the same account"), "{bob:?}");
    assert!(kinds(&bob).contains(&"device_changed") && !kinds(&bob).contains(&"key_changed"), "{bob:?}");
    c.one(BOB, &["send", "Pair", "are you still in?"]);
    assert_eq!(texts(&c.all(RESTORED, &["receive"])), ["are you still in?"]);
    c.one(RESTORED, &["send", "Pair", "yes"]);
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["yes"]);
    let laptop = c.all(LAPTOP, &["receive"]);
    assert!(texts(&laptop).contains(&"yes"), "linked devices stay: {laptop:?}");
}

#[test]
fn damage_and_wrong_keys_are_found_and_change_nothing() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["send", BOB, "hello"]);
    let (file, key) = back_up(&c);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let verify = |file: &PathBuf, key: &PathBuf| {
        let arguments = ["backup", "verify", file.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
        c.run(ALICE, &arguments)
    };
    let ran = verify(&file, &key);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&summary["phone"], &summary["messages"]), (&ALICE.into(), &1.into()));

    let good = fs::read(&file).unwrap();
    let wrong = c.profile("+wrong");
    fs::write(&wrong, "1234 ".repeat(16)).unwrap();
    let missing = c.profile("+missing");
    let damaged = c.profile("+damaged");
    let check = |bytes: &[u8], key: &PathBuf, expected: (i32, &str)| {
        fs::write(&damaged, bytes).unwrap();
        for ran in [verify(&damaged, key), restore(&c, &server, &damaged, key)] {
            assert_eq!((ran.exit, ran.error_code().as_str()), expected, "{ran:?}");
            assert_eq!(ran.stdout, "");
        }
    };
    check(&good, &wrong, (77, "wrong_recovery_key"));
    fs::write(&wrong, "not a key").unwrap();
    check(&good, &wrong, (77, "wrong_recovery_key"));
    check(&good, &missing, (65, "unreadable_file"));
    check(&good[..good.len() - 1], &key, (65, "damaged_backup"));
    check(b"", &key, (65, "damaged_backup"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    check(&flipped, &key, (65, "damaged_backup"));

    let ran = c.run(ALICE, &["backup", "create", file.to_str().unwrap()]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (64, "file_exists"));
    assert_eq!(fs::read(&file).unwrap(), good, "nothing is overwritten unasked");
    c.one(ALICE, &["backup", "create", file.to_str().unwrap(), "--force"]);
    assert_ne!(fs::read(&file).unwrap(), good);
    let ran = run(
        &c.profile(ALICE),
        [
            "--json",
            "backup",
            "restore",
            damaged.to_str().unwrap(),
            "--server",
            &server.url,
            "--key-file",
            key.to_str().unwrap(),
        ],
    );
    assert_eq!((ran.exit, ran.error_code().as_str()), (64, "already_registered"));
    let ran = run(&c.profile(RESTORED), ["--json", "backup", "verify", damaged.to_str().unwrap()]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (64, "usage"), "nobody is there to ask");
    c.one(ALICE, &["send", BOB, "the account is as it was"]);
}
