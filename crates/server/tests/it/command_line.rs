//! What an operator types, and what comes back.

use crate::{
    node::{Node, http, http_get, waxwing},
    raw::Raw,
};
use rustix::process::Signal;
use std::process::Output;

fn run(arguments: &[&str]) -> Output {
    waxwing().args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line on stderr, which with `--json` is the error.
fn error(output: &Output) -> serde_json::Value {
    let text = stderr(output);
    let error: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for field in ["code", "message", "hint"] {
        assert!(error["error"][field].is_string(), "{text}");
    }
    error["error"].clone()
}

#[test]
fn sigterm_drains_and_ends_with_zero() {
    let data = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let node = Node::start(data.path());
        assert!(node.ask_admin("/ready").starts_with("HTTP/1.1 200"));
        node.signal(signal);
        let ended = node.wait();
        assert_eq!(ended.code(), 0, "{}", ended.said);
    }
}

#[test]
fn the_admin_listener_shows_health_readiness_and_metrics() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    assert!(node.ask_admin("/health").starts_with("HTTP/1.1 200"));
    assert!(node.ask_admin("/metrics").contains("# TYPE"));
    assert!(http_get(node.public(), "/metrics").starts_with("HTTP/1.1 404"), "not on the public listener");
    assert!(http_get(node.public(), "/v1/server").contains(r#""protocol":{"min":1,"max":1}"#));
    assert!(http_get(node.public(), "/v1/openapi.json").contains("/v1/registrations"));
    assert!(node.admin().ip().is_loopback());
}

#[test]
fn every_refusal_of_the_public_listener_is_a_problem() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let long = format!(r#"{{"phone":"{}"}}"#, "+".repeat(3_000_000));
    for (method, path, body, status, code) in [
        ("GET", "/nowhere", "", 404, "not_found"),
        ("GET", "/v1/registrations", "", 405, "wrong_method"),
        ("POST", "/v1/registrations", "{", 400, "malformed"),
        ("POST", "/v1/registrations", &long, 413, "too_large"),
    ] {
        let answer = http(node.public(), method, path, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{method} {path}: {answer}");
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{method} {path}: {answer}");
    }
}

#[test]
fn a_data_directory_has_one_owner_and_a_port_one_listener() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let second = Node::start_with(data.path(), "127.0.0.1:0", &["--json"]).err().unwrap();
    assert_eq!(second.code(), 69);
    assert!(second.said.contains("data_in_use"), "{}", second.said);
    let other = tempfile::tempdir().unwrap();
    let third = Node::start_with(other.path(), &node.public().to_string(), &["--json"]).err().unwrap();
    assert_eq!(third.code(), 69);
    assert!(third.said.contains("port_in_use"), "{}", third.said);
    assert!(node.ask_admin("/ready").starts_with("HTTP/1.1 200"), "the first one is untouched");
}

#[test]
fn the_port_binds_again_at_once_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path());
    let before = node.public();
    for _ in 0..5 {
        // An open connection makes the kernel remember the port.
        let _open = std::net::TcpStream::connect(before).unwrap();
        node.kill_and_restart();
        assert_eq!(node.public(), before);
    }
}

#[test]
fn plaintext_is_for_loopback_only() {
    let data = tempfile::tempdir().unwrap();
    let refused = Node::start_with(data.path(), "0.0.0.0:0", &["--json"]).err().unwrap();
    assert_eq!(refused.code(), 64);
    assert!(refused.said.contains("plaintext_refused"), "{}", refused.said);
}

#[test]
fn a_self_signed_certificate_is_made_once() {
    let data = tempfile::tempdir().unwrap();
    let fingerprint = |ended: &str| {
        let line = ended.lines().find(|line| line.contains("fingerprint")).unwrap();
        let hex = line.rsplit(' ').next().unwrap().to_owned();
        assert!(hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line}");
        hex
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let node = Node::start_with(data.path(), "127.0.0.1:0", &["--tls", "self-signed"]).unwrap();
        assert!(node.origin().starts_with("https://"));
        node.signal(Signal::TERM);
        seen.push(fingerprint(&node.wait().said));
    }
    assert_eq!(seen[0], seen[1], "people who pinned it must still reach the server");
}

#[test]
fn the_code_of_a_number_that_asked_for_none() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let output = run(&["admin", "--data", path, "code", "+15552000100", "--json"]);
    assert_eq!(
        (output.status.code(), error(&output)["code"].as_str()),
        (Some(69), Some("server_not_running"))
    );
    let _node = Node::start(data.path());
    let output = run(&["admin", "--data", path, "code", "+15552000100", "--json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(77), 0));
    assert_eq!(error(&output)["code"], "no_code");
    let output = run(&["admin", "--data", path, "code", "12", "--json"]);
    assert_eq!((output.status.code(), error(&output)["code"].as_str()), (Some(65), Some("bad_number")));
}

#[test]
fn a_data_directory_that_cannot_be_made_is_no_wrong_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let ended = Node::start_with(&file.join("data"), "127.0.0.1:0", &["--json"]).err().unwrap();
    assert_eq!(ended.code(), 75, "{}", ended.said);
    assert!(ended.said.contains(r#""code":"io""#), "{}", ended.said);
}

#[test]
fn a_code_whose_tries_are_used_up_is_not_shown_any_more() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let path = data.path().to_str().unwrap();
    let ask = || run(&["admin", "--data", path, "code", "+15552000100"]);
    let begun = http(node.public(), "POST", "/v1/registrations", r#"{"phone":"+15552000100"}"#);
    let body: serde_json::Value = serde_json::from_str(begun.rsplit("\r\n").next().unwrap()).unwrap();
    let account = format!("/v1/registrations/{}/account", body["session"].as_str().unwrap());
    let code = String::from_utf8(ask().stdout).unwrap();
    let wrong = if code.trim() == "000000" { "000001" } else { "000000" };
    let body = Raw::new(1).registration(wrong).to_string();
    for left in (0..5).rev() {
        assert!(ask().status.success(), "the code is good for {left} tries more");
        let answer = http(node.public(), "POST", &account, &body);
        assert!(answer.contains(&format!("{left} tries are left")), "{answer}");
    }
    assert_eq!(ask().status.code(), Some(77));
}

#[test]
fn configuration_is_printed_checked_and_refused() {
    let printed = run(&["config", "print-default"]);
    assert!(printed.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("waxwing.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let path = file.to_str().unwrap();
    assert!(run(&["check-config", "--config", path]).status.success());
    std::fs::write(&file, "[server]\nlitsen = \"127.0.0.1:0\"\n").unwrap();
    let output = run(&["check-config", "--config", path, "--json"]);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(error(&output)["hint"], "did you mean server.listen?");
}

#[test]
fn unknown_commands_are_usage_errors() {
    let output = run(&["dance", "--json"]);
    assert_eq!((output.status.code(), error(&output)["code"].as_str()), (Some(64), Some("usage")));
    let output = run(&["serve", "--listen", "nowhere"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(run(&["--help"]).status.success());
    assert!(run(&["--version"]).status.success());
}

#[test]
fn a_damaged_store_is_refused_with_its_name() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), 0);
    for name in ["directory.sqlite", "mailboxes.redb"] {
        // With its log, from which the database could be made whole.
        let files = [name.to_owned(), format!("{name}-wal")].map(|name| data.path().join(name));
        let good: Vec<_> = files.iter().filter_map(|path| Some((path, std::fs::read(path).ok()?))).collect();
        for (path, content) in &good {
            std::fs::write(path, vec![0x5a; content.len()]).unwrap();
        }
        let ended = Node::start_with(data.path(), "127.0.0.1:0", &["--json"]).err().unwrap();
        assert_eq!(ended.code(), 65, "{}", ended.said);
        assert!(ended.said.contains(name) && ended.said.contains("data_damaged"), "{}", ended.said);
        for (path, content) in good {
            std::fs::write(path, content).unwrap();
        }
    }
    Node::start(data.path());
}
