//! Many processes, one profile: who holds it may be killed at any moment.

use crate::{
    Ran,
    conversation::{ALICE, BOB, Conversation, texts},
    wax,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

const SENDERS: usize = 8;
const KILLS: usize = 20;
/// Each sender goes on at least this long, and until the last kill.
const MESSAGES_MIN: usize = 5;

/// The process that holds the profile, if it listens already.
fn holder(profile: &Path) -> Option<Pid> {
    let address = fs::read_to_string(profile.join("lock")).ok()?;
    let stream = UnixStream::connect(address).ok()?;
    Some(rustix::net::sockopt::socket_peercred(stream).ok()?.pid)
}

/// Sends one message, again and again under the same id for as long as the process is killed.
fn send_until_done(profile: &Path, id: &str, text: &str) -> usize {
    for attempt in 0.. {
        let output = wax(profile, ["--json", "send", BOB, text, "--message-id", id]).output().unwrap();
        match output.status.signal() {
            Some(9) => {}
            _ => {
                let ran = Ran::of(output);
                assert_eq!(ran.exit, 0, "{ran:?}");
                assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
                return attempt;
            }
        }
    }
    unreachable!()
}

/// Sends numbered messages until told to stop; how many, and how often a process of its own was killed.
fn sender(profile: &Path, number: usize, over: &AtomicBool) -> (usize, usize) {
    let (mut sent, mut killed) = (0, 0);
    while sent < MESSAGES_MIN || !over.load(Ordering::Relaxed) {
        let id = format!("0190f7a2-6c1e-7d55-8{number:03x}-{sent:012x}");
        killed += send_until_done(profile, &id, &format!("{number} {sent}"));
        sent += 1;
    }
    (sent, killed)
}

fn kill_holders(profile: &Path, over: &AtomicBool) {
    let mut kills = 0;
    while kills < KILLS {
        // Somewhere between taking the lock and the last word of a holder.
        thread::sleep(Duration::from_millis(7 * (kills as u64 % 10)));
        if holder(profile).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
            kills += 1;
        }
    }
    over.store(true, Ordering::Relaxed);
}

/// What eight senders sent.
#[derive(Debug)]
pub struct SentByEight {
    /// For each sender, how many messages it sent and how often its process was killed.
    senders: Vec<(usize, usize)>,
}

/// Eight senders at once from one profile, while whoever holds it is killed twenty times.
pub fn send_while_holders_are_killed(c: &Conversation) -> SentByEight {
    let (profile, over) = (&c.profile(ALICE), &AtomicBool::new(false));
    let senders = thread::scope(|scope| {
        let senders: Vec<_> =
            (0..SENDERS).map(|number| scope.spawn(move || sender(profile, number, over))).collect();
        kill_holders(profile, over);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    SentByEight { senders }
}

impl SentByEight {
    /// Bob has got every message of every sender once and in the sender's order.
    pub fn check(&self, c: &Conversation) {
        let killed: usize = self.senders.iter().map(|(_, killed)| killed).sum();
        assert!(killed > 0, "the killed were senders: {self:?}");
        // What was left queued goes out with any command that connects.
        c.all(ALICE, &["receive"]);
        let received = c.all(BOB, &["receive"]);
        let mut by_sender: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for text in texts(&received).into_iter().filter(|text| *text != "hello") {
            let (number, counter) = text.split_once(' ').unwrap();
            by_sender.entry(number.parse().unwrap()).or_default().push(counter.parse().unwrap());
        }
        for (number, (count, _)) in self.senders.iter().enumerate() {
            assert_eq!(by_sender[&number], (0..*count).collect::<Vec<_>>(), "sender {number}");
        }
        assert!(received.iter().all(|line| line["event"] != "gap"), "{received:?}");
    }
}

#[test]
fn eight_senders_lose_double_and_reorder_nothing_while_holders_are_killed() {
    let c = Conversation::new();
    c.one(ALICE, &["send", BOB, "hello"]);
    send_while_holders_are_killed(&c).check(&c);
}

/// A `receive --follow` whose lines are read as they come.
pub struct Follower {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
}

impl Follower {
    pub fn start(profile: &Path) -> Self {
        Self::of(&mut wax(profile, ["--json", "receive", "--follow"]))
    }

    /// One that is started otherwise.
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(1_000);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    pub fn drained(&self) {
        while self.next()["event"] != "drained" {}
    }

    pub fn next(&self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it as a person would; what it had printed and nobody has looked at.
    pub fn interrupt(mut self) -> Vec<Value> {
        kill_process(self.pid(), Signal::INT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.lines.iter().collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_receives_at_once_print_every_event_once_between_them() {
    let c = Conversation::new();
    let followers = [Follower::start(&c.profile(BOB)), Follower::start(&c.profile(BOB))];
    followers.iter().for_each(Follower::drained);
    let expected: Vec<String> = (0..20).map(|number| format!("message {number}")).collect();
    for text in &expected {
        c.one(ALICE, &["send", BOB, text]);
    }
    let mut printed = Vec::new();
    while printed.len() < expected.len() {
        let got = followers.iter().find_map(|follower| follower.lines.try_recv().ok());
        match got {
            Some(line) => printed.extend(line["body"]["text"].as_str().map(str::to_owned)),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
    printed.extend(
        followers
            .map(Follower::interrupt)
            .iter()
            .flat_map(|rest| rest.iter().filter_map(|line| line["body"]["text"].as_str().map(str::to_owned))),
    );
    printed.sort_unstable();
    let mut expected = expected;
    expected.sort_unstable();
    assert_eq!(printed, expected);
}

/// Whether there are events that nobody is known to have printed.
fn has_unprinted(profile: &Path) -> bool {
    let database = client::database::open_read_only(&profile.join("profile.db")).unwrap();
    !client::Reader::open(database).unwrap().view().unprinted_events(1).unwrap().is_empty()
}

#[test]
fn a_follower_takes_over_from_a_killed_holder_and_misses_nothing() {
    let c = Conversation::new();
    let first = Follower::start(&c.profile(BOB));
    first.drained();
    assert_eq!(holder(&c.profile(BOB)), Some(first.pid()));
    let second = Follower::start(&c.profile(BOB));
    second.drained();
    c.one(ALICE, &["send", BOB, "one"]);
    // Who is killed between a line and the note that it was written has printed it for the next one, too.
    while c.office.waiting_for(BOB) > 0 || has_unprinted(&c.profile(BOB)) {
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(first.pid(), Signal::KILL).unwrap();
    c.one(ALICE, &["send", BOB, "two"]);
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "two") {
        let line = second.next();
        texts.extend(line["body"]["text"].as_str().map(str::to_owned));
    }
    assert_eq!(holder(&c.profile(BOB)), Some(second.pid()));
    second.interrupt();
    let mut by_first: Vec<String> =
        first.lines.iter().filter_map(|line| line["body"]["text"].as_str().map(str::to_owned)).collect();
    by_first.append(&mut texts);
    assert_eq!(by_first, ["one", "two"]);
}

#[test]
fn a_holder_that_has_finished_hands_back_what_others_wait_for() {
    let c = Conversation::new();
    let mut holding = c.start(BOB, &["receive", "--timeout", "1"]);
    while holder(&c.profile(BOB)) != Some(Pid::from_child(&holding)) {
        thread::sleep(Duration::from_millis(5));
    }
    let waiting = Follower::start(&c.profile(BOB));
    assert_eq!(holding.wait().unwrap().code(), Some(0), "it does not stay for others");
    c.one(ALICE, &["send", BOB, "still listening"]);
    while waiting.next()["event"] != "message" {}
    assert_eq!(holder(&c.profile(BOB)), Some(waiting.pid()));
    waiting.interrupt();
}

#[test]
fn processes_find_each_other_without_a_runtime_directory_and_under_long_paths() {
    let c = Conversation::new();
    let link = c.profile("+short");
    let long = link.with_file_name("p".repeat(150));
    fs::rename(c.profile(ALICE), &long).unwrap();
    std::os::unix::fs::symlink(&long, &link).unwrap();
    let without = |profile: &Path, arguments: &[&str]| {
        let mut command = wax(profile, arguments);
        command.env_remove("XDG_RUNTIME_DIR");
        command
    };
    let follower = Follower::of(&mut without(&long, &["--json", "receive", "--follow"]));
    follower.drained();
    let connections = c.office.connections();
    // One caller has another runtime directory than the holder, the other one another name for the profile.
    assert_eq!(wax(&long, ["send", BOB, "one"]).output().unwrap().status.code(), Some(0));
    assert_eq!(without(&link, &["send", BOB, "two"]).output().unwrap().status.code(), Some(0));
    assert_eq!(c.office.connections(), connections, "both used the holder's connection");
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["one", "two"]);
    follower.interrupt();
}

#[test]
fn commands_beside_a_follower_use_its_connection() {
    let c = Conversation::new();
    let follower = Follower::start(&c.profile(ALICE));
    follower.drained();
    let connections = c.office.connections();
    let sent = c.one(ALICE, &["send", BOB, "beside"]);
    assert_eq!(sent["state"], "accepted");
    c.one(ALICE, &["verify", BOB]);
    assert_eq!(c.all(ALICE, &["history", BOB]).len(), 1, "reading needs no connection");
    assert_eq!(c.office.connections(), connections);
    assert_eq!(c.all(BOB, &["receive"]).len(), 2);
    assert_eq!(follower.next()["kind"], "delivered");
    follower.interrupt();
}
