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
fn a_restored_device_learns_what_became_of_its_groups() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["group", "create", "Before", BOB]);
    let (file, key) = back_up(&c);
    c.one(ALICE, &["group", "rename", "Before", "After"]);
    let now = c.one(ALICE, &["group", "promote", "After", BOB]);
    assert_eq!(restore(&c, &server, &file, &key).exit, 0);
    c.all(RESTORED, &["receive"]);
    assert_eq!(c.one(RESTORED, &["group", "info", "After"]), now);
}

#[test]
fn what_came_between_the_backup_and_the_restore_is_shown_as_missing() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    for text in ["in the backup", "so is this"] {
        c.one(BOB, &["send", ALICE, text]);
    }
    c.all(ALICE, &["receive"]);
    let (file, key) = back_up(&c);
    c.one(BOB, &["send", ALICE, "to the lost device"]);
    assert_eq!(restore(&c, &server, &file, &key).exit, 0);
    c.one(BOB, &["send", ALICE, "to the restored one"]);
    let printed = c.all(RESTORED, &["receive"]);
    assert_eq!(texts(&printed), ["to the restored one"]);
    let gap = printed.iter().find(|line| line["event"] == "gap").expect("something is missing");
    assert_eq!((&gap["first"], &gap["last"]), (&3.into(), &3.into()), "{gap}");
}

#[test]
fn a_backup_that_cannot_be_told_of_changes_nothing() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let (file, key) = back_up(&c);
    let good = fs::read(&file).unwrap();
    let create = |file: &Path, more: &[&str]| {
        let arguments = ["--json", "backup", "create", file.to_str().unwrap()];
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = crate::wax(&c.profile(ALICE), [&arguments[..], more].concat());
        command.stdout(full).output().unwrap().status.code()
    };
    assert_ne!(create(&file, &["--force"]), Some(0), "its key was never seen");
    assert_eq!(fs::read(&file).unwrap(), good, "and the backup whose key is known is still there");
    let arguments = ["backup", "verify", file.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    c.one(ALICE, &arguments);
    let new = c.profile("+new");
    assert_ne!(create(&new, &[]), Some(0));
    assert!(!new.exists());
    let left = fs::read_dir(file.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");

    let linked = c.profile("+symlink");
    std::os::unix::fs::symlink(&file, &linked).unwrap();
    for odd in [linked.as_path(), Path::new("/dev/null"), file.parent().unwrap()] {
        let ran = c.run(ALICE, &["backup", "create", odd.to_str().unwrap(), "--force"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (75, "io"), "{ran:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), good);
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
