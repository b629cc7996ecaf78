//! Two people, each with one profile, and a server that may misbehave.

use crate::{
    Ran,
    post_office::{CODE, Mood, PostOffice},
    run, wax,
};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use wire::Code;

pub const ALICE: &str = "+15552000100";
pub const BOB: &str = "+15552000101";

/// Alice and Bob at one server.
pub struct Conversation {
    pub office: PostOffice,
    directory: TempDir,
}

impl Conversation {
    pub fn new() -> Self {
        let conversation = Self::of_nobody();
        conversation.office.register(&conversation.profile(ALICE), ALICE);
        conversation.office.register(&conversation.profile(BOB), BOB);
        conversation
    }

    /// Before anybody is registered anywhere.
    pub fn of_nobody() -> Self {
        Self { office: PostOffice::open(), directory: tempfile::tempdir().unwrap() }
    }

    pub fn profile(&self, phone: &str) -> PathBuf {
        self.directory.path().join(&phone[1..])
    }

    pub fn run(&self, phone: &str, arguments: &[&str]) -> Ran {
        run(&self.profile(phone), [&["--json"], arguments].concat())
    }

    pub fn start(&self, phone: &str, arguments: &[&str]) -> Child {
        wax(&self.profile(phone), [&["--json"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The one object that a command prints when it succeeds.
    pub fn one(&self, phone: &str, arguments: &[&str]) -> Value {
        let ran = self.run(phone, arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
        let [line] = ran.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{arguments:?}: {ran:?}") };
        serde_json::from_str(line).unwrap()
    }

    pub fn all(&self, phone: &str, arguments: &[&str]) -> Vec<Value> {
        let ran = self.run(phone, arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn account(&self, phone: &str) -> String {
        self.one(phone, &["whoami"])["account"].as_str().unwrap().to_owned()
    }
}

pub fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["body"]["text"].as_str()).collect()
}

pub fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

#[test]
fn a_message_gets_there_and_both_sides_see_how_far_it_came() {
    let c = Conversation::new();
    let sent = c.one(ALICE, &["send", BOB, "Are you there?"]);
    assert_eq!((&sent["state"], &sent["chat"]), (&"accepted".into(), &c.account(BOB).into()));
    let id = sent["message_id"].as_str().unwrap();

    let received = c.all(BOB, &["receive"]);
    assert_eq!(kinds(&received), ["message", "drained"]);
    let message = &received[0];
    assert_eq!(message["message_id"], sent["message_id"]);
    assert_eq!(message["stamp"], sent["stamp"]);
    assert_eq!(message["chat"], c.account(ALICE));
    assert_eq!(message["sender"]["account"], c.account(ALICE));
    assert_eq!(message["sender"]["device"], 1);
    assert_eq!(message["body"]["text"], "Are you there?");
    assert_eq!(kinds(&c.all(BOB, &["receive"])), ["drained"], "an event is printed once");

    let receipts = c.all(ALICE, &["receive"]);
    assert_eq!(kinds(&receipts), ["receipt", "drained"]);
    assert_eq!(
        (&receipts[0]["kind"], &receipts[0]["message_ids"][0]),
        (&"delivered".into(), &sent["message_id"])
    );
    assert_eq!(c.one(ALICE, &["status", id])["state"], "delivered");

    let read = c.one(BOB, &["read", ALICE]);
    assert_eq!((&read["up_to"], &read["chat"]), (&sent["stamp"], &c.account(ALICE).into()));
    let status = c.one(ALICE, &["status", id, "--wait", "read", "--timeout", "10"]);
    assert_eq!(
        (&status["state"], &status["recipients"][0]["account"]),
        (&"read".into(), &c.account(BOB).into())
    );
    assert_eq!(kinds(&c.all(ALICE, &["receive"])), ["receipt", "drained"]);

    let history = c.one(BOB, &["history", ALICE]);
    assert_eq!((&history["event"], &history["state"]), (&"message".into(), &"read".into()));
    let chat = c.one(BOB, &["chats"]);
    assert_eq!(
        (&chat["kind"], &chat["unread"], &chat["last_stamp"]),
        (&"direct".into(), &0.into(), &sent["stamp"])
    );
    assert_eq!(texts(&c.all(BOB, &["search", "there"])), ["Are you there?"]);
    let verify = c.one(ALICE, &["verify", BOB]);
    assert_eq!(verify["safety_number"], c.one(BOB, &["verify", ALICE, "--mark"])["safety_number"]);
    assert_eq!(
        (&verify["verified"], &c.one(BOB, &["verify", ALICE])["verified"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn people_read_numbers_where_they_are_known() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "hello"]);
    c.all(BOB, &["receive"]);
    let id = c.all(ALICE, &["history", BOB])[0]["message_id"].as_str().unwrap().to_owned();
    let account = c.account(BOB);
    for arguments in [&["receive"][..], &["status", &id], &["status", &id, "--wait", "delivered"]] {
        let ran = run(&c.profile(ALICE), arguments);
        assert!(ran.stdout.contains(BOB) && !ran.stdout.contains(&account), "{arguments:?}: {ran:?}");
    }
    let ran = run(&c.profile(ALICE), ["history", BOB]);
    assert!(ran.stdout.contains(" me  hello"), "{ran:?}");
}

#[test]
fn what_nobody_knows_is_65() {
    let c = Conversation::new();
    let stranger = "+15552000199";
    let unknown_id = "0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10";
    for (arguments, code) in [
        (&["send", stranger, "hi"][..], "unknown_recipient"),
        (&["read", stranger], "unknown_recipient"),
        (&["history", stranger], "unknown_chat"),
        (&["history", BOB], "unknown_chat"),
        (&["history", "000102030405060708090a0b0c0d0e0f"], "unknown_chat"),
        (&["status", unknown_id], "unknown_message"),
        (&["status", unknown_id, "--wait", "read"], "unknown_message"),
        (&["verify", stranger], "unknown_recipient"),
    ] {
        let ran = c.run(ALICE, arguments);
        assert_eq!(
            (ran.exit, ran.stdout.as_str(), ran.error_code().as_str()),
            (65, "", code),
            "{arguments:?}"
        );
    }
    let ran = c.run(ALICE, &["send", "000102030405060708090a0b0c0d0e0f", "hi"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "unknown_recipient"));
    assert!(ran.stdout.contains(r#""state":"failed""#), "{ran:?}");
    assert!(c.all(ALICE, &["chats"]).len() <= 1);
}

#[test]
fn a_repeated_send_is_one_message_and_another_one_under_its_id_is_refused() {
    let c = Conversation::new();
    let id = "0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10";
    let first = c.one(ALICE, &["send", BOB, "once", "--message-id", id]);
    let again = c.one(ALICE, &["send", BOB, "once", "--message-id", id]);
    assert_eq!(first, again);
    let other = c.run(ALICE, &["send", BOB, "twice", "--message-id", id]);
    assert_eq!(
        (other.exit, other.stdout.as_str(), other.error_code().as_str()),
        (65, "", "message_id_conflict")
    );
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["once"]);
    c.one(BOB, &["read", ALICE]);
    c.all(ALICE, &["receive"]);
    let later = c.one(ALICE, &["send", BOB, "once", "--message-id", id]);
    assert_eq!(later["state"], "accepted", "finer states are those of status");
}

#[test]
fn while_the_server_is_away_messages_wait_and_keep_their_order() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "zero"]);
    c.office.set_mood(Mood::Silent);
    for text in ["one", "two"] {
        let ran = c.run(ALICE, &["send", BOB, text, "--timeout", "0.2"]);
        assert_eq!(ran.exit, 0, "{ran:?}");
        assert!(ran.stdout.contains(r#""stamp":null,"state":"queued""#), "{ran:?}");
        assert!(ran.stderr.contains("queued"), "{ran:?}");
    }
    let ran = c.run(ALICE, &["send", BOB, "three", "--timeout", "0.2", "--require-accepted"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (75, "not_accepted_yet"));
    assert!(ran.stdout.contains(r#""state":"queued""#), "{ran:?}");
    let ran = c.run(ALICE, &["send", "+15552000150", "never looked up", "--timeout", "0.2"]);
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.error_code().as_str()), (75, "", "unavailable"));
    c.office.set_mood(Mood::Honest);
    assert_eq!(kinds(&c.all(ALICE, &["receive"])), ["drained"]);
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["zero", "one", "two", "three"]);
    assert_eq!(texts(&c.all(ALICE, &["history", BOB])), ["zero", "one", "two", "three"]);
}

#[test]
fn a_definite_refusal_is_printed_as_failed_and_never_tried_again() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "before"]);
    c.office.set_mood(Mood::RefusingSends(Code::TooLarge));
    let ran = c.run(ALICE, &["send", BOB, "refused"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "not_allowed"));
    let sent: Value = serde_json::from_str(ran.stdout.trim()).unwrap();
    assert_eq!(sent["state"], "failed");
    let status = c.run(ALICE, &["status", sent["message_id"].as_str().unwrap(), "--wait", "delivered"]);
    assert_eq!((status.exit, status.error_code().as_str()), (77, "not_allowed"));
    c.office.set_mood(Mood::Honest);
    c.one(ALICE, &["send", BOB, "after"]);
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["before", "after"]);
}

#[test]
fn a_device_that_is_not_wanted_any_more_is_77_and_keeps_its_history() {
    for (code, exit, name, state) in [
        // It never leaves.
        (Mood::Refusing(Code::Revoked), 77, "revoked", "failed"),
        (Mood::Refusing(Code::Unauthenticated), 77, "revoked", "queued"),
        (Mood::Refusing(Code::Cloned), 77, "cloned", "queued"),
        (Mood::Refusing(Code::Replaced), 77, "replaced", "queued"),
        (Mood::Newer, 69, "version_unsupported", "queued"),
    ] {
        let c = Conversation::new();
        c.one(ALICE, &["send", BOB, "before"]);
        c.office.set_mood(code);
        let ran = c.run(ALICE, &["send", BOB, "queued"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (exit, name));
        assert!(ran.stdout.contains(&format!(r#""state":"{state}""#)), "{ran:?}");
        let ran = c.run(ALICE, &["receive", "--timeout", "60"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (exit, name));
        assert_eq!(texts(&c.all(ALICE, &["history", BOB])), ["before", "queued"]);
    }
}

#[test]
fn a_removed_device_knows_it_without_asking_again() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "before"]);
    c.office.set_mood(Mood::Refusing(Code::Revoked));
    assert_eq!(c.run(ALICE, &["receive"]).exit, 77);
    let connections = c.office.connections();
    c.office.set_mood(Mood::Silent);
    for arguments in [&["send", BOB, "not stored"][..], &["receive"], &["read", BOB]] {
        let ran = c.run(ALICE, arguments);
        assert_eq!(
            (ran.exit, ran.stdout.as_str(), ran.error_code().as_str()),
            (77, "", "revoked"),
            "{ran:?}"
        );
    }
    assert_eq!(c.office.connections(), connections);
    assert_eq!(texts(&c.all(ALICE, &["history", BOB])), ["before"]);
}

#[test]
fn what_was_fetched_is_printed_before_receive_gives_up() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "fetched by a send"]);
    c.one(BOB, &["send", ALICE, "a command that connects fetches"]);
    c.office.set_mood(Mood::Garbage);
    let ran = c.run(BOB, &["receive", "--timeout", "1"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (69, "unreachable"), "{ran:?}");
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(texts(&lines), ["fetched by a send"]);
    assert!(c.office.connections() > 4, "it was tried again and again");
}

#[test]
fn count_leaves_after_so_many_messages_and_the_next_one_gets_the_rest() {
    let c = Conversation::new();
    for text in ["1", "2", "3", "4", "5"] {
        c.one(ALICE, &["send", BOB, text]);
    }
    assert_eq!(texts(&c.all(BOB, &["receive", "--count", "2", "--timeout", "30"])), ["1", "2"]);
    assert_eq!(texts(&c.all(BOB, &["receive", "--count", "2"])), ["3", "4"]);
    let waiting = c.start(BOB, &["receive", "--count", "2", "--timeout", "30"]);
    c.one(ALICE, &["send", BOB, "6"]);
    let ran = Ran::of(waiting.wait_with_output().unwrap());
    assert_eq!(ran.exit, 0, "{ran:?}");
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(texts(&lines), ["5", "6"]);
    assert_eq!(c.office.waiting_for(BOB), 0, "everything was acknowledged");
}

#[test]
fn registration_refuses_with_77_and_the_code_stays_good() {
    let c = Conversation::new();
    let (url, directory) = (c.office.url(), tempfile::tempdir().unwrap());
    let profile = directory.path().join("second");
    let register = |more: &[&str]| {
        run(&profile, [&["--json", "register", "--server", &url, "--phone", ALICE], more].concat())
    };
    let ran = register(&["--code", CODE]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "no_code"));
    assert_eq!(register(&[]).exit, 0);
    let ran = register(&["--code", "000000"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "wrong_code"));
    let ran = register(&["--code", CODE]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "number_taken"));
    let other = ["--json", "register", "--server", &url, "--phone", BOB, "--code", CODE];
    let ran = run(&profile, other);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "no_code"), "the code is for another number");
    let ran = register(&["--code", CODE, "--replace"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let ran = register(&["--code", CODE]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (64, "already_registered"));
    let ran = c.run(ALICE, &["receive"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "revoked"), "the old account is closed");
}

#[test]
fn what_is_known_needs_no_server() {
    let c = Conversation::new();
    let sent = c.one(ALICE, &["send", BOB, "hello"]);
    c.one(ALICE, &["verify", BOB]);
    c.office.set_mood(Mood::Refusing(Code::Revoked));
    let id = sent["message_id"].as_str().unwrap();
    assert_eq!(c.one(ALICE, &["status", id, "--wait", "accepted"])["state"], "accepted");
    assert_eq!(c.one(ALICE, &["verify", BOB, "--mark"])["verified"], true);
    let ran = c.run(ALICE, &["status", id, "--wait", "delivered"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "revoked"));
    assert!(
        ran.stdout.contains(r#""state":"accepted""#),
        "how far it has come is printed all the same: {ran:?}"
    );
}

#[test]
fn a_wait_that_is_over_prints_how_far_the_message_has_come() {
    let c = Conversation::new();
    let sent = c.one(ALICE, &["send", BOB, "hello"]);
    let id = sent["message_id"].as_str().unwrap();
    let ran = c.run(ALICE, &["status", id, "--wait", "read", "--timeout", "0.3"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (75, "not_yet"));
    assert!(ran.stdout.contains(r#""state":"accepted""#), "{ran:?}");
}

#[test]
fn a_server_that_lets_us_in_and_says_no_more_is_given_up() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "hello"]);
    c.office.set_mood(Mood::Deaf);
    let ran = c.run(ALICE, &["send", BOB, "unheard", "--timeout", "0.5"]);
    assert!(ran.exit == 0 && ran.stdout.contains("queued"), "{ran:?}");
    let ran = c.run(BOB, &["receive"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "it was connected, so this is no error: {ran:?}");
    assert!(ran.stderr.contains("stopped answering"), "{ran:?}");
}

#[test]
fn a_profile_is_for_its_owner_only() {
    let c = Conversation::new();
    let profile = c.profile(ALICE);
    assert_eq!(fs::metadata(&profile).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&profile).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
}

/// Changes bytes of Alice's database, which no process has open, and says what that makes of her commands.
fn spoiled(change: impl FnOnce(&mut Vec<u8>)) -> (i32, String) {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, &"a long text ".repeat(1_000)]);
    let path = c.profile(ALICE).join("profile.db");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let codes = [&["whoami"][..], &["send", BOB, "hi"], &["receive"]].map(|arguments| {
        let ran = c.run(ALICE, arguments);
        (ran.exit, ran.error_code())
    });
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "what cannot be read is not touched");
    codes[0].clone()
}

#[test]
fn a_damaged_foreign_or_newer_database_is_65_and_stays_as_it_is() {
    let damaged = (65, "damaged_profile".to_owned());
    assert_eq!(spoiled(|bytes| *bytes = b"Not a database, but long enough for one. ".repeat(200)), damaged);
    assert_eq!(spoiled(|bytes| bytes.truncate(bytes.len() / 2)), damaged);
    assert_eq!(spoiled(|bytes| bytes[20_000..40_000].fill(0xa5)), damaged);
    // The application id and the format in the header of an SQLite file (sqlite.org/fileformat2.html).
    assert_eq!(spoiled(|bytes| bytes[68..72].fill(7)), damaged);
    let newer = (65, "newer_profile".to_owned());
    assert_eq!(spoiled(|bytes| bytes[60..64].copy_from_slice(&99_u32.to_be_bytes())), newer);
}

/// A file system of a few megabytes, gone when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where this process may not mount one.
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "waxwing-test"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(directory))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Says, to the run that counts skipped tests too, that this one cannot run here.
fn skip(reason: &str) {
    println!("skipped: {reason}");
    if let Some(path) = std::env::var_os("WAXWING_SKIPPED") {
        let mut list = fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(list, "{reason}").unwrap();
    }
}

#[test]
fn a_full_disk_is_75_and_loses_nothing_that_was_stored() {
    let Some(disk) = SmallDisk::mount("5m") else {
        return skip("wax on a full disk: this process may not mount a file system");
    };
    let c = Conversation::new();
    let (profile, phone) = (disk.0.path().join("profile"), "+15552000102");
    c.office.register(&profile, phone);
    let text = "x".repeat(60_000);
    let mut sent = 0;
    let full = loop {
        assert!(sent < 200, "the disk is small");
        let ran = run(&profile, ["--json", "send", BOB, &format!("{sent} {text}")]);
        if ran.exit != 0 {
            break ran;
        }
        sent += 1;
    };
    assert_eq!((full.exit, full.error_code().as_str()), (75, "disk_full"), "{full:?}");
    // The last one may have been stored before there was no room for what follows: then it says so.
    sent += usize::from(full.stdout.contains(r#""state":"queued""#));
    assert_eq!(run(&profile, ["whoami"]).exit, 0, "reading goes on");
    disk.grow("50m");
    assert_eq!(run(&profile, ["--json", "send", BOB, "after"]).exit, 0);
    let received = c.all(BOB, &["receive"]);
    let numbers: Vec<&str> = texts(&received).iter().filter_map(|text| text.split(' ').next()).collect();
    let stored: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
    let expected: Vec<&str> = stored.iter().map(String::as_str).chain(["after"]).collect();
    assert_eq!(numbers, expected);
}
