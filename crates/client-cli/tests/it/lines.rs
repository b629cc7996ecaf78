//! Lines, as scripts read them and as people do.

use client_cli::{
    failure::{Failure, Reason},
    lines::*,
    names::Names,
    render,
};
use expect_test::{Expect, expect};

pub const ACCOUNT: &str = "000102030405060708090a0b0c0d0e0f";
pub const GROUP: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const MESSAGE: &str = "0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10";
const STAMP: &str = "019a0b1c2d3e00000001";

pub fn check(line: &Line, json: Expect, text: Expect) {
    json.assert_eq(&line.json());
    text.assert_eq(&anstream::adapter::strip_str(&render::text(line, &Names::default())).to_string());
    let copied: Line = serde_json::from_str(&serde_json::to_string(line).unwrap()).unwrap();
    assert_eq!(copied, *line, "a line survives the way to another process");
}

fn text(phone: Option<&str>, text: &str) -> Text {
    Text {
        message_id: MESSAGE.into(),
        chat: ACCOUNT.into(),
        sender: Sender { account: ACCOUNT.into(), device: 1, phone: phone.map(str::to_owned) },
        stamp: Some(STAMP.into()),
        sent_at: "2026-11-22T14:00:00.000Z".into(),
        body: Body { text: text.into() },
    }
}

#[test]
fn a_line_is_one_line_for_every_reader() {
    let written = "\u{85}\u{2028}\u{2029}\u{9b}31m\u{7f}\n\u{a0}é";
    let json = Line::Event(Event::Message(text(None, written))).json();
    assert!(json.contains(r#"{"text":"\u0085\u2028\u2029\u009b31m\u007f\n"#), "{json}");
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["body"]["text"], written);
}

#[test]
fn registration() {
    check(
        &Line::CodeSent(CodeSent { state: "code_sent".into(), expires_in: 600 }),
        expect![[r#"{"state":"code_sent","expires_in":600}"#]],
        expect!["A code is on its way to your number and is good for 10 minutes. Finish with --code CODE."],
    );
    check(
        &Line::Registered(Registered { account: ACCOUNT.into(), device: 1, phone: "+15552000100".into() }),
        expect![[r#"{"account":"000102030405060708090a0b0c0d0e0f","device":1,"phone":"+15552000100"}"#]],
        expect!["+15552000100 is registered as account 000102030405060708090a0b0c0d0e0f."],
    );
    check(
        &Line::Identity(Identity {
            account: ACCOUNT.into(),
            device: 1,
            phone: "+15552000100".into(),
            server: "http://127.0.0.1:8080".into(),
        }),
        expect![[
            r#"{"account":"000102030405060708090a0b0c0d0e0f","device":1,"phone":"+15552000100","server":"http://127.0.0.1:8080"}"#
        ]],
        expect![[r"
            +15552000100
            account 000102030405060708090a0b0c0d0e0f
            device  1
            server  http://127.0.0.1:8080"]],
    );
}

#[test]
fn sending() {
    check(
        &Line::Sent(Sent {
            message_id: MESSAGE.into(),
            chat: ACCOUNT.into(),
            stamp: Some(STAMP.into()),
            state: State::Accepted,
        }),
        expect![[
            r#"{"message_id":"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10","chat":"000102030405060708090a0b0c0d0e0f","stamp":"019a0b1c2d3e00000001","state":"accepted"}"#
        ]],
        expect!["✓ accepted  0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10"],
    );
    check(
        &Line::Sent(Sent {
            message_id: MESSAGE.into(),
            chat: ACCOUNT.into(),
            stamp: None,
            state: State::Queued,
        }),
        expect![[
            r#"{"message_id":"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10","chat":"000102030405060708090a0b0c0d0e0f","stamp":null,"state":"queued"}"#
        ]],
        expect!["… queued  0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10"],
    );
}

#[test]
fn events() {
    check(
        &Line::Event(Event::Message(text(Some("+15552000101"), "Are you there?"))),
        expect![[
            r#"{"event":"message","message_id":"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10","chat":"000102030405060708090a0b0c0d0e0f","sender":{"account":"000102030405060708090a0b0c0d0e0f","device":1,"phone":"+15552000101"},"stamp":"019a0b1c2d3e00000001","sent_at":"2026-11-22T14:00:00.000Z","body":{"text":"Are you there?"}}"#
        ]],
        expect!["2026-11-22 14:00Z +15552000101  Are you there?"],
    );
    check(
        &Line::Event(Event::Receipt {
            kind: "read".into(),
            message_ids: vec![MESSAGE.into()],
            from: ACCOUNT.into(),
        }),
        expect![[
            r#"{"event":"receipt","kind":"read","message_ids":["0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10"],"from":"000102030405060708090a0b0c0d0e0f"}"#
        ]],
        expect!["✓✓ read 0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10 by 000102030405060708090a0b0c0d0e0f"],
    );
    check(
        &Line::Event(Event::Gap {
            chat: ACCOUNT.into(),
            sender: Sender { account: ACCOUNT.into(), device: 1, phone: None },
            first: 3,
            last: 4,
            permanent: false,
            reason: "missing".into(),
        }),
        expect![[
            r#"{"event":"gap","chat":"000102030405060708090a0b0c0d0e0f","sender":{"account":"000102030405060708090a0b0c0d0e0f","device":1,"phone":null},"first":3,"last":4,"permanent":false,"reason":"missing"}"#
        ]],
        expect!["A message from 000102030405060708090a0b0c0d0e0f is missing; it was asked for again."],
    );
    check(
        &Line::Event(Event::KeyChanged {
            phone: "+15552000101".into(),
            account: GROUP.into(),
            old_account: ACCOUNT.into(),
        }),
        expect![[
            r#"{"event":"key_changed","phone":"+15552000101","account":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","old_account":"000102030405060708090a0b0c0d0e0f"}"#
        ]],
        expect![
            "+15552000101 belongs to a new account now (f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff). What you write to it waits until you run 'wax verify +15552000101 --accept'; compare safety numbers first."
        ],
    );
    check(
        &Line::Event(Event::DeviceChanged { account: ACCOUNT.into(), added: vec![2, 3], removed: vec![4] }),
        expect![[
            r#"{"event":"device_changed","account":"000102030405060708090a0b0c0d0e0f","added":[2,3],"removed":[4]}"#
        ]],
        expect!["000102030405060708090a0b0c0d0e0f: device 2, 3 is new, device 4 is gone"],
    );
    check(
        &Line::Event(Event::GroupChanged {
            group: GROUP.into(),
            epoch: 7,
            change: "leave".into(),
            by: ACCOUNT.into(),
        }),
        expect![[
            r#"{"event":"group_changed","group":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","epoch":7,"change":"leave","by":"000102030405060708090a0b0c0d0e0f"}"#
        ]],
        expect!["000102030405060708090a0b0c0d0e0f has left f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"],
    );
    let removed = Line::Event(Event::GroupChanged {
        group: GROUP.into(),
        epoch: 8,
        change: "remove".into(),
        by: ACCOUNT.into(),
    });
    check(
        &removed,
        expect![[
            r#"{"event":"group_changed","group":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","epoch":8,"change":"remove","by":"000102030405060708090a0b0c0d0e0f"}"#
        ]],
        expect![
            "000102030405060708090a0b0c0d0e0f has removed somebody from f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
        ],
    );
    let names = Names::given("", &[(ACCOUNT, "Ada")], &[(GROUP, "Hikers")]).and_about_me(GROUP, 8);
    let text = anstream::adapter::strip_str(&render::text(&removed, &names)).to_string();
    assert_eq!(text, "Ada has removed you from Hikers");
    check(&Line::Event(Event::Drained), expect![[r#"{"event":"drained"}"#]], expect!["That is everything."]);
}

#[test]
fn people_read_names_where_programs_read_ids() {
    let me = "ff".repeat(16);
    let check = |line: &Line, expected: Expect| {
        let names = Names::given(&me, &[(ACCOUNT, "+15552000101")], &[(GROUP, "Family")]);
        expected.assert_eq(&anstream::adapter::strip_str(&render::text(line, &names)).to_string());
    };
    check(
        &Line::Event(Event::Receipt {
            kind: "delivered".into(),
            message_ids: vec![MESSAGE.into(), MESSAGE.into()],
            from: ACCOUNT.into(),
        }),
        expect!["✓✓ delivered 2 messages by +15552000101"],
    );
    check(
        &Line::Status(Status {
            message_id: MESSAGE.into(),
            state: State::Read,
            recipients: vec![Recipient { account: ACCOUNT.into(), state: State::Read, at: None }],
        }),
        expect![[r"
            ✓✓ read
              +15552000101  read "]],
    );
    let mut own = text(None, "from another device of mine");
    own.sender.account.clone_from(&me);
    check(
        &Line::Event(Event::Message(own.clone())),
        expect!["2026-11-22 14:00Z me  from another device of mine"],
    );
    own.chat = GROUP.into();
    check(
        &Line::Event(Event::Message(own)),
        expect!["2026-11-22 14:00Z Family me  from another device of mine"],
    );
}

#[test]
fn stored_messages() {
    check(
        &Line::Message(Message {
            event: "message".into(),
            text: text(None, "two\nlines"),
            state: State::Delivered,
        }),
        expect![[
            r#"{"event":"message","message_id":"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10","chat":"000102030405060708090a0b0c0d0e0f","sender":{"account":"000102030405060708090a0b0c0d0e0f","device":1,"phone":null},"stamp":"019a0b1c2d3e00000001","sent_at":"2026-11-22T14:00:00.000Z","body":{"text":"two\nlines"},"state":"delivered"}"#
        ]],
        expect![[r"
            2026-11-22 14:00Z ✓✓ 000102030405060708090a0b0c0d0e0f  two
                lines"]],
    );
    check(
        &Line::Chat(Chat {
            chat: ACCOUNT.into(),
            kind: "direct".into(),
            name: None,
            phone: Some("+15552000101".into()),
            unread: 2,
            last_stamp: Some(STAMP.into()),
        }),
        expect![[
            r#"{"chat":"000102030405060708090a0b0c0d0e0f","kind":"direct","name":null,"phone":"+15552000101","unread":2,"last_stamp":"019a0b1c2d3e00000001"}"#
        ]],
        expect!["+15552000101                       2 new    2025-10-22 08:49Z"],
    );
}

#[test]
fn states_and_safety_numbers() {
    check(
        &Line::Status(Status {
            message_id: MESSAGE.into(),
            state: State::Delivered,
            recipients: vec![Recipient {
                account: ACCOUNT.into(),
                state: State::Delivered,
                at: Some("2026-11-22T14:00:00.000Z".into()),
            }],
        }),
        expect![[
            r#"{"message_id":"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10","state":"delivered","recipients":[{"account":"000102030405060708090a0b0c0d0e0f","state":"delivered","at":"2026-11-22T14:00:00.000Z"}]}"#
        ]],
        expect![[r"
            ✓✓ delivered
              000102030405060708090a0b0c0d0e0f  delivered 2026-11-22 14:00Z"]],
    );
    check(
        &Line::Verification(Verification { safety_number: "0123456789".repeat(6), verified: false }),
        expect![[
            r#"{"safety_number":"012345678901234567890123456789012345678901234567890123456789","verified":false}"#
        ]],
        expect![[r"
            01234 56789 01234 56789
            01234 56789 01234 56789
            01234 56789 01234 56789
            Compare it with the other side, then run this again with --mark."]],
    );
    check(
        &Line::Blocked(Blocked { account: ACCOUNT.into(), phone: None, blocked: true }),
        expect![[r#"{"account":"000102030405060708090a0b0c0d0e0f","phone":null,"blocked":true}"#]],
        expect!["000102030405060708090a0b0c0d0e0f is blocked"],
    );
    check(
        &Line::Read(Read { chat: ACCOUNT.into(), up_to: None }),
        expect![[r#"{"chat":"000102030405060708090a0b0c0d0e0f","up_to":null}"#]],
        expect!["There is nothing to read."],
    );
}

#[test]
fn nobody_plays_with_the_readers_terminal() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{9b}31m\u{202e}txt.exe\u{0}";
    let line = Line::Event(Event::Message(text(None, hostile)));
    let shown = anstream::adapter::strip_str(&render::text(&line, &Names::default())).to_string();
    expect!["2026-11-22 14:00Z 000102030405060708090a0b0c0d0e0f  �]0;owned��[2J��31m�txt.exe�"]
        .assert_eq(&shown);
    assert!(line.json().is_ascii() || serde_json::from_str::<serde_json::Value>(&line.json()).is_ok());
}

#[test]
fn failures() {
    let failure = Failure::new(Reason::DiskFull, "the disk is full", "make room");
    expect![[r#"{"error":{"code":"disk_full","message":"the disk is full","hint":"make room"}}"#]]
        .assert_eq(&failure.json());
    expect![[r"
        error: the disk is full
          hint: make room"]]
    .assert_eq(&failure.text());
    let copied: Failure = serde_json::from_str(&serde_json::to_string(&failure).unwrap()).unwrap();
    assert_eq!(copied, failure);
}
