//! One account on several machines, with the real server.

use crate::{
    Ran,
    conversation::{ALICE, BOB, Conversation, kinds, texts},
    real_server::Waxwing,
    run,
    takeover::Follower,
    wax,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    thread,
    time::Duration,
};

/// Alice's other machine.
pub const LAPTOP: &str = "+laptop";

/// A `wax link` that shows its code and waits.
pub struct Linking {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub code: String,
}

impl Linking {
    pub fn start(profile: &Path, server: &Waxwing, more: &[&str]) -> Self {
        let arguments = [&["--json", "link", "--server", &server.url], more].concat();
        let mut child =
            wax(profile, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let shown: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(shown["event"], "link_code");
        assert_eq!(shown["expires_in"], 60, "{shown}");
        let code = shown["code"].as_str().unwrap().to_owned();
        Self { child, stdout, code }
    }

    /// What it printed last, and how it ended.
    pub fn end(mut self) -> Ran {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let mut ran = Ran::of(self.child.wait_with_output().unwrap());
        ran.stdout = rest;
        ran
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Makes `name` another device of `phone`; its number.
pub fn link(c: &Conversation, server: &Waxwing, phone: &str, name: &str, more: &[&str]) -> u64 {
    let linking = Linking::start(&c.profile(name), server, &["--name", &name[1..]]);
    let added = c.one(phone, &[&["devices", "add", &linking.code, "--yes"], more].concat());
    let ran = linking.end();
    assert_eq!(ran.exit, 0, "{ran:?}");
    let linked: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(linked["device"], added["device"]);
    assert_eq!(linked["account"], c.one(phone, &["whoami"])["account"]);
    assert!(
        ran.stderr.contains('▀') || ran.stderr.contains('█'),
        "the picture is on standard error: {ran:?}"
    );
    added["device"].as_u64().unwrap()
}

fn digits(text: &str) -> String {
    let line = text.lines().find(|line| line.contains("digits")).unwrap_or_else(|| panic!("{text}"));
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits.len(), 6, "{line}");
    digits
}

#[test]
fn both_sides_show_the_same_digits_and_the_devices_are_listed() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let linking = Linking::start(&c.profile(LAPTOP), &server, &["--name", "laptop"]);
    let added = c.run(ALICE, &["devices", "add", &linking.code, "--yes"]);
    assert_eq!((added.exit, added.stdout.trim()), (0, r#"{"device":2}"#), "{added:?}");
    let linked = linking.end();
    assert_eq!(digits(&added.stderr), digits(&linked.stderr));

    for (who, this) in [(ALICE, 1), (LAPTOP, 2)] {
        if who == LAPTOP {
            c.all(who, &["receive"]);
        }
        let devices = c.all(who, &["devices"]);
        assert_eq!(devices.len(), 2, "{devices:?}");
        for device in &devices {
            assert_eq!(device["this_device"], device["device"] == this, "{devices:?}");
            assert!(device["added_at"].as_str().unwrap().ends_with('Z'));
        }
        assert_eq!(devices[1]["name"], "laptop", "{devices:?}");
    }
    let again = run(&c.profile(LAPTOP), ["--json", "link", "--server", &server.url]);
    assert_eq!((again.exit, again.error_code().as_str()), (64, "already_registered"));
}

#[test]
fn what_one_device_sends_and_gets_all_of_them_have() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["send", BOB, "before the laptop"]);
    c.all(BOB, &["receive"]);
    link(&c, &server, ALICE, LAPTOP, &[]);
    let account = c.one(ALICE, &["whoami"])["account"].clone();

    assert_eq!(c.one(LAPTOP, &["send", BOB, "from the laptop"])["state"], "accepted");
    c.one(ALICE, &["send", BOB, "from the primary"]);
    let received = c.all(BOB, &["receive"]);
    assert_eq!(texts(&received), ["from the laptop", "from the primary"]);
    let devices: Vec<&Value> = received
        .iter()
        .filter(|line| line["event"] == "message")
        .map(|line| &line["sender"]["device"])
        .collect();
    assert_eq!(devices, [2, 1]);
    assert!(kinds(&received).contains(&"device_changed"), "{received:?}");

    let primary = c.all(ALICE, &["receive"]);
    let own = primary.iter().find(|line| line["event"] == "message").unwrap();
    assert_eq!((&own["sender"]["account"], &own["sender"]["device"]), (&account, &2.into()));
    assert_eq!(own["chat"], c.one(BOB, &["whoami"])["account"]);
    c.one(BOB, &["send", ALICE, "to both"]);
    assert_eq!(texts(&c.all(LAPTOP, &["receive"])), ["from the primary", "to both"]);
    assert_eq!(texts(&c.all(ALICE, &["receive"])), ["to both"]);
    let three = ["from the laptop", "from the primary", "to both"];
    assert_eq!(texts(&c.all(LAPTOP, &["history", BOB])), three);
    assert_eq!(texts(&c.all(ALICE, &["history", BOB]))[1..], three);

    // Whichever device asks, the message has come equally far.
    let id = own["message_id"].as_str().unwrap();
    c.one(BOB, &["read", ALICE]);
    for who in [ALICE, LAPTOP] {
        assert_eq!(
            c.one(who, &["status", id, "--wait", "read", "--timeout", "10"])["state"],
            "read",
            "{who}"
        );
    }
    c.one(LAPTOP, &["read", BOB]);
    c.all(ALICE, &["receive"]);
    assert_eq!(c.one(ALICE, &["chats"])["unread"], 0, "read on one device is read on all");
}

#[test]
fn the_history_from_before_comes_if_wanted_and_is_not_printed() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    for number in 0..30 {
        c.one(ALICE, &["send", BOB, &format!("message {number}")]);
    }
    c.all(BOB, &["receive"]);
    let linking = Linking::start(&c.profile(LAPTOP), &server, &[]);
    let added = c.run(ALICE, &["devices", "add", &linking.code, "--yes", "--with-history"]);
    assert_eq!(added.exit, 0, "{added:?}");
    assert_eq!(linking.end().exit, 0);
    let received = c.all(LAPTOP, &["receive"]);
    assert_eq!(texts(&received), Vec::<&str>::new());
    assert_eq!(c.all(LAPTOP, &["history", BOB]).len(), 30);
    assert_eq!(c.all(LAPTOP, &["search", "message", "29"]).len(), 1);
    assert_eq!(c.one(LAPTOP, &["send", BOB, "by number"])["state"], "accepted", "the contacts came, too");
}

#[test]
fn a_removed_device_gets_nothing_more_and_keeps_what_it_has() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    link(&c, &server, ALICE, LAPTOP, &[]);
    c.one(BOB, &["send", ALICE, "while it was linked"]);
    c.all(LAPTOP, &["receive"]);
    let ran = c.run(ALICE, &["devices", "remove", "2"]);
    assert_eq!((ran.exit, ran.stdout.trim()), (0, r#"{"removed":2}"#), "{ran:?}");
    c.one(BOB, &["send", ALICE, "after it was removed"]);
    for arguments in [&["receive"][..], &["send", BOB, "hi"], &["read", BOB]] {
        let ran = c.run(LAPTOP, arguments);
        assert_eq!((ran.exit, ran.error_code().as_str()), (77, "revoked"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(texts(&c.all(LAPTOP, &["history", BOB]))[0], "while it was linked");
    assert_eq!(c.all(LAPTOP, &["search", "linked"]).len(), 1);
    assert_eq!(c.all(ALICE, &["devices"]).len(), 1);
    assert_eq!(
        texts(&c.all(ALICE, &["receive"])),
        ["while it was linked", "after it was removed"],
        "the others go on"
    );
    // The number is free again, and whoever has it next is another device.
    assert_eq!(link(&c, &server, ALICE, "+tablet", &[]), 2);
    c.one(BOB, &["send", ALICE, "to the tablet"]);
    assert_eq!(texts(&c.all("+tablet", &["receive"])), ["to the tablet"]);
}

#[test]
fn only_the_primary_decides_and_only_about_codes_that_are_good() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    link(&c, &server, ALICE, LAPTOP, &[]);
    let failure = |who: &str, arguments: &[&str]| {
        let ran = c.run(who, arguments);
        assert_eq!(ran.stdout, "", "{ran:?}");
        (ran.exit, ran.error_code())
    };
    let waiting = Linking::start(&c.profile("+tablet"), &server, &[]);
    assert_eq!(failure(LAPTOP, &["devices", "add", &waiting.code, "--yes"]), (77, "not_primary".into()));
    assert_eq!(failure(LAPTOP, &["devices", "remove", "2"]), (77, "not_primary".into()));
    assert_eq!(failure(LAPTOP, &["backup", "create", "unused"]), (77, "not_primary".into()));
    assert_eq!(failure(ALICE, &["devices", "remove", "1"]), (65, "primary_device".into()));
    assert_eq!(failure(ALICE, &["devices", "remove", "9"]), (65, "unknown_device".into()));

    let added = c.one(ALICE, &["devices", "add", &waiting.code, "--yes"]);
    assert_eq!(added["device"], 3);
    let used = waiting.code.clone();
    assert_eq!(waiting.end().exit, 0);
    let other = Waxwing::start(&[]);
    let elsewhere = Linking::start(&c.profile("+elsewhere"), &other, &[]);
    let changed = format!("wxl1-0{}", &used["wxl1-0".len()..]);
    // Of a code that is in use: another link, another offer, another secret.
    let fresh = Linking::start(&c.profile("+fresh"), &server, &[]);
    let digits = fresh.code.len() - "wxl1-".len();
    let other_digit = |place: usize| {
        let mut code = fresh.code.clone().into_bytes();
        let digit = &mut code["wxl1-".len() + place];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        String::from_utf8(code).unwrap()
    };
    let [link, offer, secret] = [0, digits / 2, digits - 1].map(other_digit);
    for code in [&used, &elsewhere.code, &changed, &link, &offer, &secret, "wxl1-AAAA", "nonsense"] {
        assert_eq!(
            failure(ALICE, &["devices", "add", code, "--yes"]),
            (77, "bad_link_code".into()),
            "{code}"
        );
    }
    elsewhere.kill();
    let ran = fresh.end();
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "bad_link_code"), "{ran:?}");
}

#[test]
fn there_are_five_devices_at_most() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    for name in ["+two", "+three", "+four", "+five"] {
        link(&c, &server, ALICE, name, &[]);
    }
    let sixth = Linking::start(&c.profile("+six"), &server, &[]);
    let ran = c.run(ALICE, &["devices", "add", &sixth.code, "--yes"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "too_many_devices"), "{ran:?}");
    let ran = sixth.end();
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "too_many_devices"), "{ran:?}");
    c.one("+five", &["send", BOB, "from the fifth"]);
    for name in [ALICE, "+two", "+three", "+four"] {
        assert_eq!(texts(&c.all(name, &["receive"])), ["from the fifth"], "{name}");
    }
}

#[test]
fn devices_are_added_and_removed_beside_a_follower() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let follower = Follower::start(&c.profile(ALICE));
    follower.drained();
    assert_eq!(link(&c, &server, ALICE, LAPTOP, &["--with-history"]), 2);
    assert_eq!(c.one(ALICE, &["devices", "remove", "2"])["removed"], 2);
    follower.interrupt();
    assert_eq!(c.run(LAPTOP, &["receive"]).exit, 77);
}

/// Kills a `devices add --with-history` once the device is in; whether what it is to be given was not all handed over.
fn add_and_kill(c: &Conversation, code: &str) -> bool {
    let mut adding = c.start(ALICE, &["devices", "add", code, "--yes", "--with-history"]);
    let mut remarks = BufReader::new(adding.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(remarks.any(|remark| remark.contains("its history is being handed over")));
    adding.kill().unwrap();
    let mut printed = String::new();
    adding.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    adding.wait().unwrap();
    printed.is_empty()
}

#[test]
fn the_next_command_goes_on_with_what_a_killed_one_was_handing_over() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    // Some parts of an archive.
    let texts_sent: Vec<String> = (0..48).map(|number| format!("{number} ") + &"x".repeat(60_000)).collect();
    for text in &texts_sent {
        c.one(ALICE, &["send", BOB, text]);
    }
    let interrupted = (2..6).find(|number| {
        let name = format!("+device{number}");
        let linking = Linking::start(&c.profile(&name), &server, &[]);
        if !add_and_kill(&c, &linking.code) {
            linking.kill();
            return false;
        }
        // Any command that connects will do.
        c.all(ALICE, &["receive"]);
        let linked = linking.end();
        assert_eq!(linked.exit, 0, "{linked:?}");
        c.all(&name, &["receive"]);
        let history = c.all(&name, &["history", BOB, "--limit", "100"]);
        assert_eq!(texts(&history), texts_sent);
        true
    });
    assert!(interrupted.is_some(), "a command was killed in the middle");
}

#[test]
fn a_link_that_was_cut_is_begun_again() {
    let mut server = Waxwing::start(&[]);
    let c = server.conversation();
    let cut = Linking::start(&c.profile(LAPTOP), &server, &[]);
    let dead = cut.code.clone();
    cut.kill();
    server.kill_and_restart();
    assert_ne!(dead, Linking::start(&c.profile("+other"), &server, &[]).code);
    assert_eq!(link(&c, &server, ALICE, LAPTOP, &[]), 2);
    c.one(BOB, &["send", ALICE, "hello"]);
    assert_eq!(texts(&c.all(LAPTOP, &["receive"])), ["hello"]);
}

#[test]
fn a_server_that_is_killed_while_a_device_is_linked_loses_nothing_and_doubles_nothing() {
    let mut server = Waxwing::start(&[]);
    let c = server.conversation();
    for number in 0..20 {
        c.one(ALICE, &["send", BOB, &format!("message {number}")]);
    }
    c.all(BOB, &["receive"]);
    let linking = Linking::start(&c.profile(LAPTOP), &server, &[]);
    let ran = thread::scope(|scope| {
        let adding =
            scope.spawn(|| c.run(ALICE, &["devices", "add", &linking.code, "--yes", "--with-history"]));
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(250));
            server.kill_and_restart();
        }
        adding.join().unwrap()
    });
    assert_eq!((ran.exit, ran.stdout.trim()), (0, r#"{"device":2}"#), "{ran:?}");
    let linked = linking.end();
    assert_eq!(linked.exit, 0, "{linked:?}");
    c.one(BOB, &["send", ALICE, "after all that"]);
    server.kill_and_restart();
    assert_eq!(texts(&c.all(LAPTOP, &["receive"])), ["after all that"]);
    server.kill_and_restart();
    c.all(LAPTOP, &["receive"]);
    let expected: Vec<String> =
        (0..20).map(|number| format!("message {number}")).chain(["after all that".to_owned()]).collect();
    assert_eq!(texts(&c.all(LAPTOP, &["history", BOB])), expected);
}
