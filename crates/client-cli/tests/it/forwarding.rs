//! A caller against a holder that the test plays.

use crate::{Ran, wax};
use client_cli::{
    commands::Job,
    failure::{Failure, Reason},
    forward::{Reply, Request, Word},
    lines::{Event, Line, Sent, State},
    output::Batch,
    profile::{Profile, ProfileLock},
};
use serde::de::DeserializeOwned;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Stdio},
};
use tempfile::TempDir;

/// A profile that this process holds, and where it listens for callers.
struct Holder {
    _lock: ProfileLock,
    listener: UnixListener,
    profile: PathBuf,
    _directory: TempDir,
}

impl Holder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile");
        let profile = Profile::new(Some(path.clone())).unwrap();
        profile.create().unwrap();
        let mut lock = profile.try_lock().unwrap().unwrap();
        let socket = directory.path().join("holder.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        lock.announce(&socket).unwrap();
        Self { _lock: lock, listener, profile: path, _directory: directory }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        wax(&self.profile, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn accept(&self) -> Caller {
        let (stream, _) = self.listener.accept().unwrap();
        Caller { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }
}

struct Caller {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Caller {
    fn hear<T: DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn say(&mut self, reply: &Reply) {
        writeln!(self.stream, "{}", serde_json::to_string(reply).unwrap()).unwrap();
    }
}

fn end(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

fn sent(request: &Request, state: State) -> Reply {
    let Job::Send(job) = &request.job else { panic!("{request:?}") };
    let line = Sent { message_id: job.message_id.clone(), chat: "00".repeat(16), stamp: None, state };
    Reply::Lines(Line::Sent(line).into())
}

fn message_id(request: &Request) -> String {
    match &request.job {
        Job::Send(job) => job.message_id.clone(),
        _ => panic!("{request:?}"),
    }
}

#[test]
fn a_command_is_handed_over_and_its_lines_are_printed_here() {
    let holder = Holder::new();
    let child = holder.start(&["--json", "send", "+15552000100", "hello"]);
    let mut caller = holder.accept();
    let request: Request = caller.hear();
    let Job::Send(job) = &request.job else { panic!("{request:?}") };
    assert_eq!((job.chat.as_str(), job.text.as_str()), ("+15552000100", "hello"));
    caller.say(&Reply::Note("one moment".into()));
    caller.say(&sent(&request, State::Accepted));
    assert_eq!(caller.hear::<Word>(), Word::Printed);
    caller.say(&Reply::Done);
    let ran = end(child);
    assert_eq!(ran.exit, 0);
    assert!(ran.stdout.contains(r#""state":"accepted""#), "{ran:?}");
    assert!(ran.stderr.contains("one moment"), "{ran:?}");
}

#[test]
fn a_failure_comes_back_with_its_exit_code_and_object() {
    let holder = Holder::new();
    let child = holder.start(&["read", "+15552000100", "--json"]);
    let mut caller = holder.accept();
    let _: Request = caller.hear();
    caller.say(&Reply::Failed(Failure::new(Reason::Revoked, "gone", "register again")));
    let ran = end(child);
    assert_eq!((ran.exit, ran.error_code().as_str()), (77, "revoked"));
}

#[test]
fn the_next_holder_is_asked_for_the_same_message_and_its_result_is_printed_once() {
    let holder = Holder::new();
    let child = holder.start(&["--json", "send", "+15552000100", "hello"]);
    let mut first = holder.accept();
    let request: Request = first.hear();
    // The first holder dies before it says anything, the second one in the middle, the third one leaves.
    drop(first);
    let mut second = holder.accept();
    let again: Request = second.hear();
    assert_eq!(message_id(&again), message_id(&request));
    second.say(&sent(&again, State::Accepted));
    assert_eq!(second.hear::<Word>(), Word::Printed);
    drop(second);
    let mut third = holder.accept();
    assert_eq!(message_id(&third.hear()), message_id(&request));
    third.say(&Reply::Leaving);
    let mut fourth = holder.accept();
    let last: Request = fourth.hear();
    fourth.say(&sent(&last, State::Accepted));
    assert_eq!(fourth.hear::<Word>(), Word::Printed);
    fourth.say(&Reply::Done);
    let ran = end(child);
    assert_eq!(ran.exit, 0);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
}

#[test]
fn a_send_has_less_time_at_the_next_holder() {
    let holder = Holder::new();
    let child = holder.start(&["--json", "send", "+15552000100", "hello", "--timeout", "100"]);
    let time_left = |request: &Request| match &request.job {
        Job::Send(job) => job.timeout,
        _ => panic!("{request:?}"),
    };
    let mut first = holder.accept();
    let before = time_left(&first.hear());
    drop(first);
    let mut second = holder.accept();
    assert!(time_left(&second.hear()) < before);
    second.say(&Reply::Done);
    assert_eq!(end(child).exit, 0);
}

#[test]
fn the_next_holder_learns_which_events_were_printed() {
    let holder = Holder::new();
    let child = holder.start(&["--json", "receive", "--follow"]);
    let mut first = holder.accept();
    assert_eq!(first.hear::<Request>().printed, Vec::<i64>::new());
    let receipt = |from: &str| {
        Line::Event(Event::Receipt { kind: "read".into(), message_ids: Vec::new(), from: from.into() })
    };
    first.say(&Reply::Lines(Batch {
        lines: vec![receipt("a"), receipt("b")],
        events: vec![1, 2],
        ..Batch::default()
    }));
    assert_eq!(first.hear::<Word>(), Word::Printed);
    // The second batch says that the first one was marked.
    first.say(&Reply::Lines(Batch { lines: vec![receipt("c")], events: vec![3], ..Batch::default() }));
    assert_eq!(first.hear::<Word>(), Word::Printed);
    drop(first);
    let mut second = holder.accept();
    assert_eq!(second.hear::<Request>().printed, vec![3]);
    second.say(&Reply::Lines(Batch { lines: vec![receipt("d")], events: vec![4], ..Batch::default() }));
    assert_eq!(second.hear::<Word>(), Word::Printed);
    second.say(&Reply::Done);
    let ran = end(child);
    let froms: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["from"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(froms, ["a", "b", "c", "d"]);
}

#[test]
fn a_reader_that_has_enough_ends_the_command_quietly_and_unconfirmed() {
    let holder = Holder::new();
    let mut child = holder.start(&["--json", "receive", "--follow"]);
    drop(child.stdout.take());
    let mut caller = holder.accept();
    let _: Request = caller.hear();
    caller.say(&Reply::Lines(Batch {
        lines: vec![Line::Event(Event::Drained)],
        events: vec![1],
        ..Batch::default()
    }));
    let mut rest = String::new();
    caller.reader.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "what was not written is not confirmed");
    assert_eq!(end(child).exit, 0);
}

#[test]
fn a_question_of_the_holder_is_answered_by_the_person_here() {
    let holder = Holder::new();
    for (typed, answer) in [("y\n", true), ("YES\n", true), ("no\n", false), ("", false)] {
        let mut child = wax(&holder.profile, ["devices", "add", "wxl1-code", "--yes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let mut caller = holder.accept();
        let request: Request = caller.hear();
        assert!(matches!(&request.job, Job::AddDevice(add) if add.code == "wxl1-code"), "{request:?}");
        caller.say(&Reply::Ask("Are they the same?".into()));
        assert_eq!(caller.hear::<Word>(), Word::Answer(answer), "{typed:?}");
        caller.say(&Reply::Done);
        let ran = end(child);
        assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "{ran:?}");
        assert!(ran.stderr.contains("Are they the same? [y/N]"), "{ran:?}");
    }
}
