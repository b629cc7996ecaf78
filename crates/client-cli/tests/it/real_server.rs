//! The program against the real server: what only both of them together can get wrong.

use crate::{
    Ran,
    conversation::{ALICE, BOB, Conversation, kinds, texts},
    run,
    takeover::{Follower, send_while_holders_are_killed},
};
use client_net::CertificatePin;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// A running `waxwing`, killed when dropped.
pub struct Waxwing {
    data: TempDir,
    process: Child,
    pub url: String,
    fingerprint: Option<String>,
}

impl Waxwing {
    pub fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (process, url, fingerprint) = serve(data.path(), "127.0.0.1:0", arguments);
        Self { data, process, url, fingerprint }
    }

    /// The end of the process without a warning.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The end of the process without a warning, and a new one on the same data and port.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        let address = self.url.split_once("://").unwrap().1.to_owned();
        (self.process, _, _) = serve(self.data.path(), &address, &[]);
    }

    pub fn code(&self, phone: &str) -> String {
        let asked = Command::new(waxwing())
            .args(["admin", "--data"])
            .arg(self.data.path())
            .args(["code", phone])
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    }

    pub fn register(&self, profile: &Path, phone: &str, more: &[&str]) -> Ran {
        let arguments = [&["--json", "register", "--server", &self.url, "--phone", phone], more].concat();
        run(profile, arguments)
    }

    /// A conversation of two people who are registered here.
    pub fn conversation(&self) -> Conversation {
        self.conversation_of(&[ALICE, BOB])
    }

    /// A conversation of people who are registered here.
    pub fn conversation_of(&self, phones: &[&str]) -> Conversation {
        let pin: Vec<&str> = self.fingerprint.iter().flat_map(|pin| ["--server-pin", pin]).collect();
        let conversation = Conversation::of_nobody();
        for phone in phones {
            let profile = conversation.profile(phone);
            assert_eq!(self.register(&profile, phone, &pin).exit, 0);
            let code = self.code(phone);
            let ran = self.register(&profile, phone, &[&["--code", &code], &pin[..]].concat());
            assert_eq!(ran.exit, 0, "{ran:?}");
        }
        conversation
    }
}

impl Drop for Waxwing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a server and waits until it says that it is ready: its process, address and fingerprint.
fn serve(data: &Path, address: &str, arguments: &[&str]) -> (Child, String, Option<String>) {
    let mut process = Command::new(waxwing())
        .args(["serve", "--listen", address, "--admin-listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(arguments)
        .env("WAXWING__QUOTAS__ENABLED", "false")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut fingerprint = None;
    let ready = stderr.by_ref().find_map(|line| {
        if let Some((_, pin)) = line.split_once("--server-pin): ") {
            fingerprint = Some(pin.to_owned());
        }
        line.strip_prefix("waxwing ready: public ").map(str::to_owned)
    });
    let url = ready.expect("the server says that it is ready").split(' ').next().unwrap().to_owned();
    // It goes on writing its log, and must not be stopped by a full pipe.
    thread::spawn(move || stderr.for_each(drop));
    (process, url, fingerprint)
}

/// The server's program: beside `wax`, where a build of the workspace puts it.
fn waxwing() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_wax")).with_file_name("waxwing");
        if !program.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args(["build", "--release", "--locked", "-p", "server", "--bin", "waxwing"])
                .status()
                .unwrap();
            assert!(built.success() && program.exists(), "the server can be built");
        }
        program
    })
}

#[test]
fn a_pinned_server_is_trusted_and_no_other_one() {
    let server = Waxwing::start(&["--tls", "self-signed"]);
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("profile");
    let ran = server.register(&profile, ALICE, &[]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (69, "untrusted_server"), "{ran:?}");
    let other = CertificatePin::from_bytes([7; 32]).to_string();
    let ran = server.register(&profile, ALICE, &["--server-pin", &other]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (69, "untrusted_server"), "{ran:?}");
    assert!(ran.stderr.contains(server.fingerprint.as_deref().unwrap()), "{ran:?}");

    let c = server.conversation();
    assert_eq!(
        c.one(ALICE, &["send", BOB, "sealed twice"])["state"],
        "accepted",
        "the profile keeps the pin"
    );
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["sealed twice"]);
}

#[test]
fn codes_are_tried_five_times_and_numbers_are_replaced_only_when_asked() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("profile");
    let failure = |more: &[&str]| {
        let ran = server.register(&profile, ALICE, more);
        (ran.exit, ran.error_code())
    };
    assert_eq!(failure(&["--code", "000000"]), (77, "no_code".into()));
    assert_eq!(server.register(&profile, ALICE, &[]).exit, 0);
    let code = server.code(ALICE);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert_eq!(failure(&["--code", wrong]), (77, "wrong_code".into()));
    }
    assert_eq!(failure(&["--code", &code]), (77, "expired_code".into()), "even the right one");
    assert_eq!(server.register(&profile, ALICE, &[]).exit, 0);
    let first = server.code(ALICE);
    assert_eq!(server.register(&profile, ALICE, &[]).exit, 0);
    let second = server.code(ALICE);
    if first != second {
        assert_eq!(failure(&["--code", &first]).0, 77, "asking again voids the earlier code");
    }
    assert_eq!(failure(&["--code", &second]), (77, "number_taken".into()));
    assert_eq!(server.register(&profile, ALICE, &["--code", &second, "--replace"]).exit, 0);
    let ran = c.run(ALICE, &["receive"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "revoked"), "{ran:?}");
    let ran = server.register(&directory.path().join("other"), "+999", &[]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "bad_number"));
}

#[test]
fn the_safety_number_of_a_stranger_is_fetched() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let account = |who| c.one(who, &["whoami"])["account"].as_str().unwrap().to_owned();
    let number = |who, of: &str| c.one(who, &["verify", of])["safety_number"].clone();
    assert_eq!(number(ALICE, &account(BOB)), number(BOB, ALICE));
    for nobody in [account(ALICE), "f".repeat(32)] {
        let ran = c.run(ALICE, &["verify", &nobody]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, "unknown_recipient"), "{ran:?}");
    }
}

#[test]
fn a_copy_of_a_profile_is_found_out() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let copy = c.profile(ALICE).with_file_name("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(c.profile(ALICE).join("profile.db"), copy.join("profile.db")).unwrap();
    c.all(ALICE, &["receive"]);
    for _ in 0..3 {
        let ran = run(&copy, ["--json", "receive"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (77, "cloned"), "{ran:?}");
    }
    assert_eq!(kinds(&c.all(ALICE, &["receive"])), ["drained"], "the newer one goes on");
}

#[test]
fn a_killed_server_loses_nothing_and_followers_come_back() {
    let mut server = Waxwing::start(&[]);
    let c = server.conversation();
    let follower = Follower::start(&c.profile(BOB));
    follower.drained();
    let mut expected = Vec::new();
    for round in 0..5 {
        let text = format!("before kill {round}");
        assert_eq!(c.one(ALICE, &["send", BOB, &text])["state"], "accepted");
        expected.push(text);
        server.kill_and_restart();
    }
    let mut received = Vec::new();
    while received.len() < expected.len() {
        received.extend(follower.next()["body"]["text"].as_str().map(str::to_owned));
    }
    assert_eq!(received, expected);
    follower.interrupt();
}

#[test]
fn holders_and_the_server_are_killed_and_nothing_is_lost_doubled_or_reordered() {
    let mut server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["send", BOB, "hello"]);
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| send_while_holders_are_killed(&c));
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(300));
            server.kill_and_restart();
        }
        sending.join().unwrap()
    });
    sent.check(&c);
}
