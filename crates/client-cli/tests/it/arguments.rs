//! What can be typed, and what is said about what cannot.

use crate::{Ran, run, run_with_input};
use std::path::Path;

const UUID: &str = "0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10";

fn nowhere(arguments: &[&str]) -> Ran {
    run(Path::new("/nonexistent/profile"), arguments)
}

#[test]
fn a_wrong_command_line_is_64_with_the_object_wherever_json_stands() {
    for arguments in [
        &["--json", "bogus"][..],
        &["bogus", "--json"],
        &["--json"],
        &["send", "--json"],
        &["send", "+15552000100", "--json"],
        &["send", "+15552000100", "text", "--bogus", "--json"],
        &["--json", "send", "+15552000100", "--bogus"],
        &["receive", "--timeout", "soon", "--json"],
        &["receive", "--timeout", "-1", "--json"],
        &["receive", "--count", "0", "--json"],
        &["status", UUID, "--wait", "eternally", "--json"],
        &["register", "--json", "--phone", "+15552000100"],
        &["register", "--json", "--phone", "+15552000100", "--server", "http://chat.example.org"],
        &["register", "--json", "--phone", "+15552000100", "--server", "https://x", "--server-pin", "abc"],
        &["history", "--json"],
        &["verify", "+15552000100", "--mark", "--accept", "--json"],
        &["group", "--json"],
        &["group", "create", "--json"],
        &["group", "add", "Family", "--json"],
        &["group", "rename", "Family", "--json"],
        &["link", "--json"],
        &["link", "--server", "http://chat.example.org", "--json"],
        &["devices", "add", "--json"],
        &["devices", "add", "wxl1-code", "--json"],
        &["devices", "add", "wxl1-code", "--no-input", "--json"],
        &["devices", "remove", "0", "--json"],
        &["devices", "remove", "128", "--json"],
        &["backup", "--json"],
        &["backup", "create", "--json"],
        &["backup", "restore", "file", "--json"],
        &["search", "--json"],
    ] {
        let ran = nowhere(arguments);
        assert_eq!(
            (ran.exit, ran.stdout.as_str(), ran.error_code().as_str()),
            (64, "", "usage"),
            "{arguments:?}"
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    for (arguments, missing) in
        [(&["link"][..], "--server <URL>"), (&["group", "info"], "<GROUP>"), (&["send", "Family"], "<TEXT>")]
    {
        let ran = nowhere(&[arguments, &["--json"]].concat());
        assert!(ran.stderr.contains(missing), "{ran:?}");
    }
}

#[test]
fn without_json_a_wrong_command_line_is_told_in_words() {
    let ran = nowhere(&["receive", "--folow"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (64, ""));
    assert!(ran.stderr.contains("--follow"), "{ran:?}");
    assert!(!ran.stderr.contains("{\"error\""), "{ran:?}");
}

#[test]
fn json_after_the_double_hyphen_is_text() {
    let ran = nowhere(&["bogus", "--", "--json"]);
    assert_eq!(ran.exit, 64);
    assert!(!ran.stderr.contains("{\"error\""), "{ran:?}");
}

#[test]
fn bad_data_is_65_before_anything_else_is_looked_at() {
    let too_long = "x".repeat(65_537);
    for (arguments, code) in [
        (&["send", "+1555", "hi"][..], "bad_number"),
        (&["send", "+155520001000000000", "hi"], "bad_number"),
        (&["send", "+05552000100", "hi"], "bad_number"),
        (&["send", "15552000100", "hi"], "bad_number"),
        (&["send", "", "hi"], "bad_number"),
        (&["verify", "Alice"], "unknown_chat"),
        (&["verify", "Alice", "--accept"], "bad_number"),
        (&["verify", "+1555", "--accept"], "bad_number"),
        (&["group", "create", "Family", "+15552000101", "+1555"], "bad_number"),
        (&["group", "add", "Family", "Alice"], "unknown_chat"),
        (&["group", "join", "https://chat.example.org/g/1"], "bad_group_link"),
        (&["send", "+15552000100", ""], "bad_text"),
        (&["send", "+15552000100", &too_long], "bad_text"),
        (&["send", "+15552000100", "hi", "--message-id", "1"], "unknown_message"),
        (&["send", "1555 200-0100", "hi"], "bad_number"),
        (&["read", "+"], "bad_number"),
        (&["history", "+1555"], "bad_number"),
        (&["status", "abc"], "unknown_message"),
        (&["status", "abc", "--wait", "read"], "unknown_message"),
        (&["verify", "+1"], "bad_number"),
        (&["register", "--server", "https://x", "--phone", "5552000100"], "bad_number"),
    ] {
        let ran = nowhere(&[arguments, &["--json"]].concat());
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, code), "{:?}", &arguments[..2]);
        let example = "+15552000101";
        let silent = !ran.stderr.replace(example, "").contains("555");
        assert!(silent, "what was typed does not belong into errors: {ran:?}");
    }
}

#[test]
fn a_profile_without_account_is_64() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["whoami"][..],
        &["chats"],
        &["history", "+15552000100"],
        &["search", "word"],
        &["status", UUID],
        &["status", UUID, "--wait", "read"],
        &["send", "+15552000100", "-5"],
        &["receive"],
        &["read", "+15552000100"],
        &["verify", "+15552000100"],
        &["verify", "+15552000100", "--accept"],
        &["send", "Family", "hi"],
        &["send", "2024", "hi"],
        &["send", "+1 for dinner", "hi"],
        &["history", "Family"],
        &["groups"],
        &["group", "info", "Family"],
        &["group", "create", "Family", "+15552000101"],
        &["group", "add", "Family", "+15552000101"],
        &["group", "leave", "Family"],
        &["group", "link", "Family"],
        &["devices"],
        &["devices", "add", "wxl1-code", "--yes"],
        &["devices", "remove", "2"],
        &["backup", "create", "/nonexistent/backup"],
    ] {
        let ran = run(&directory.path().join("none"), [arguments, &["--json"]].concat());
        assert_eq!((ran.exit, ran.error_code().as_str()), (64, "not_registered"), "{arguments:?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(!directory.path().join("none").exists(), "only register makes a profile");
}

#[test]
fn text_from_standard_input_has_the_same_limits() {
    let profile = Path::new("/nonexistent/profile");
    let send = ["send", "+15552000100", "-", "--json"];
    for (input, exit, code) in [
        (vec![b'x'; 65_537], 65, "bad_text"),
        (vec![b'x'; 3_000_000], 65, "bad_text"),
        (vec![], 65, "bad_text"),
        (vec![0xff, 0xfe], 65, "bad_text"),
        (vec![b'x'; 65_536], 64, "not_registered"),
    ] {
        let ran = run_with_input(profile, &send, &input);
        assert_eq!((ran.exit, ran.error_code().as_str()), (exit, code), "{} bytes", input.len());
    }
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["-V"], &["send", "--help"], &["help", "receive"], &["man"]] {
        let ran = nowhere(arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!ran.stdout.is_empty());
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(nowhere(&["completions", shell]).stdout.contains("require-accepted"));
    }
}

#[test]
fn every_command_shows_examples() {
    for command in [
        "register",
        "send",
        "receive",
        "read",
        "history",
        "search",
        "status",
        "verify",
        "devices",
        "devices add",
        "devices remove",
        "chats",
        "groups",
        "whoami",
        "group",
        "group create",
        "group add",
        "group remove",
        "group promote",
        "group demote",
        "group rename",
        "group leave",
        "group info",
        "group link",
        "group join",
        "backup",
        "backup create",
        "backup verify",
        "backup restore",
        "link",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = nowhere(&words).stdout;
        let example = help.lines().any(|line| {
            line.trim_start().starts_with(&format!("wax {command}"))
                || line.trim_start().starts_with(&format!("wax --json {command}"))
        });
        assert!(example, "{help}");
    }
}
