//! Lines about groups, devices and backups, as scripts read them and as people do.

use crate::lines::{ACCOUNT, GROUP, check};
use client_cli::lines::*;
use expect_test::expect;

const CODE: &str = "wxl1-000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

fn family() -> Group {
    let member = |account: &str, phone: Option<&str>, role: &str, closed| Member {
        account: account.into(),
        phone: phone.map(str::to_owned),
        role: role.into(),
        closed,
    };
    Group {
        group: GROUP.into(),
        name: Some("Family".into()),
        epoch: 3,
        members: vec![
            member(ACCOUNT, Some("+15552000100"), "creator", false),
            member(&"ab".repeat(16), None, "member", true),
        ],
    }
}

#[test]
fn groups() {
    check(
        &Line::Group(family()),
        expect![[
            r#"{"group":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","name":"Family","epoch":3,"members":[{"account":"000102030405060708090a0b0c0d0e0f","phone":"+15552000100","role":"creator"},{"account":"abababababababababababababababab","phone":null,"role":"member","closed":true}]}"#
        ]],
        expect![[r#"
        Family f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
          +15552000100                       creator
          abababababababababababababababab   member, account closed"#]],
    );
    check(
        &Line::GroupEntry(Group { name: None, ..family() }),
        expect![[
            r#"{"group":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","name":null,"epoch":3,"members":[{"account":"000102030405060708090a0b0c0d0e0f","phone":"+15552000100","role":"creator"},{"account":"abababababababababababababababab","phone":null,"role":"member","closed":true}]}"#
        ]],
        expect!["(name not known yet)               2 members      f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"],
    );
    check(
        &Line::GroupLink(GroupLink { url: format!("https://chat.example.org/g/{GROUP}#secret") }),
        expect![[r#"{"url":"https://chat.example.org/g/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff#secret"}"#]],
        expect!["https://chat.example.org/g/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff#secret"],
    );
}

#[test]
fn linking() {
    let code = LinkCode { event: "link_code".into(), code: CODE.into(), expires_in: 60 };
    check(
        &Line::LinkCode(code),
        expect![[
            r#"{"event":"link_code","code":"wxl1-000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f","expires_in":60}"#
        ]],
        expect![[r#"
            █████████████████████████████████████████████
            █████████████████████████████████████████████
            ████ ▄▄▄▄▄ ██▀▄██▀▄██  █▀▄▀▀▄▀▄ ▄█ ▄▄▄▄▄ ████
            ████ █   █ █▄▀█▄▀▀█▄▀▄▄ ▄▀ ▄▄▄▄ ▀█ █   █ ████
            ████ █▄▄▄█ ██▄▀▀ ▄▀▀  ▄▀  █  ▀▀█ █ █▄▄▄█ ████
            ████▄▄▄▄▄▄▄█ █▄▀▄█▄▀▄▀▄█▄█▄█▄▀▄█ █▄▄▄▄▄▄▄████
            ████▄▄▄▀ ▄▄ ▄██▀ ▀█▀ ▄▀██▀▄█▀▀█▀▄▄ █▀▀▄▀▀████
            ████▄ ██▀▄▄  ▄▄▄ ▀ ▄ ▀ ▀▄▄▄ ▄█▄▄▄ ▄█▀▀▄▀▀████
            ████  ▀▀█▄▄█▀█  ██  ▄ █▀▄▀▀▀     █  ▄▀▄▀▄████
            ██████▀▄▀█▄█▄ ▄▀█▄█▀▄ ▄▀▄▀   ▄   ▀█ ▄█ ▀█████
            █████ ▀▄▄▄▄▄▄▄▀▀ ▀█▄▀█▄▄▄▀▄ ▄▀▄▄████▀█ ▀█████
            ████▄▀ █▄▄▄▄▀▀▀▄ ▀ ▀    ▄▄▄▀▄▀█▀▄▀ █ ▀▄▄▄████
            █████  ▄ ▀▄█▄ ▀ ██ ▄ ▀██▄██▀▄▄▀██▄▄▀██   ████
            ████   ██▀▄ ▀▀▀▀█▄█  ▀██  ██▄▄ ███ ▀▄ █▄ ████
            ████▄▄  ▀▄▄███▀▀ ▀█▀██▄ █▀ ▄▄▀▀▀▄█▀ ▄ █▄▄████
            ████▄▀██ ▀▄▀▄ ▄▄ ▀     ███ ▀▄█▄▀▄█▄▄ ▀▀▀▄████
            ████▄██▄█▄▄█▀▄█ ██ █▄▄ ▄█▄█ ▄ █▀ ▄▄▄ ▀█▄█████
            ████ ▄▄▄▄▄ █ █ ▀█▄██ ▀▄▀▀ ▀▄▀ ▄▀ █▄█ ▄  ▀████
            ████ █   █ █▄▀█▀ ▀█ ▄▀██▄▀█▀ ██  ▄   ██▀▄████
            ████ █▄▄▄█ █ ▀▀▄ ▀ ▀▀▄▀▀█▄ ▄ ▀ ▀█▀█▀▄  ▀ ████
            ████▄▄▄▄▄▄▄█▄██▄██▄▄█▄▄▄▄█▄▄▄███▄█████▄█▄████
            █████████████████████████████████████████████
            ▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀
            On the primary device, within 60 seconds:
              wax devices add wxl1-000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f"#]],
    );
    check(
        &Line::Linked(Linked { account: ACCOUNT.into(), device: 2 }),
        expect![[r#"{"account":"000102030405060708090a0b0c0d0e0f","device":2}"#]],
        expect!["This is device 2 of account 000102030405060708090a0b0c0d0e0f now."],
    );
}

#[test]
fn devices() {
    check(
        &Line::DeviceAdded(DeviceAdded { device: 2 }),
        expect![[r#"{"device":2}"#]],
        expect!["Device 2 belongs to this account now."],
    );
    check(
        &Line::Device(Device {
            device: 2,
            name: Some("laptop".into()),
            added_at: "2026-11-22T14:00:00.000Z".into(),
            this_device: true,
        }),
        expect![[r#"{"device":2,"name":"laptop","added_at":"2026-11-22T14:00:00.000Z","this_device":true}"#]],
        expect!["2   laptop                   2026-11-22 14:00Z this device"],
    );
    check(
        &Line::DeviceRemoved(DeviceRemoved { removed: 2 }),
        expect![[r#"{"removed":2}"#]],
        expect!["Device 2 does not belong to this account any more."],
    );
    check(
        &Line::Accepted(Accepted {
            phone: "+15552000101".into(),
            account: GROUP.into(),
            old_account: Some(ACCOUNT.into()),
            released: 2,
        }),
        expect![[
            r#"{"phone":"+15552000101","account":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff","old_account":"000102030405060708090a0b0c0d0e0f","released":2}"#
        ]],
        expect!["+15552000101 leads to its new account from now on; messages that waited: 2."],
    );
}

#[test]
fn backups() {
    let key: Vec<String> = (0..16).map(|group| format!("{group:04}")).collect();
    check(
        &Line::BackupMade(BackupMade { file: "waxwing.backup".into(), recovery_key: key.join(" ") }),
        expect![[
            r#"{"file":"waxwing.backup","recovery_key":"0000 0001 0002 0003 0004 0005 0006 0007 0008 0009 0010 0011 0012 0013 0014 0015"}"#
        ]],
        expect![[r#"
            waxwing.backup is written. Its recovery key, which is shown only now:
              0000 0001 0002 0003
              0004 0005 0006 0007
              0008 0009 0010 0011
              0012 0013 0014 0015
            Write it down and keep it away from the file: nobody can open the backup without it."#]],
    );
    check(
        &Line::BackupVerified(BackupVerified {
            file: "waxwing.backup".into(),
            account: ACCOUNT.into(),
            phone: "+15552000100".into(),
            made_at: "2026-11-22T14:00:00.000Z".into(),
            contacts: 3,
            groups: 1,
            messages: 42,
        }),
        expect![[
            r#"{"file":"waxwing.backup","account":"000102030405060708090a0b0c0d0e0f","phone":"+15552000100","made_at":"2026-11-22T14:00:00.000Z","contacts":3,"groups":1,"messages":42}"#
        ]],
        expect![
            "waxwing.backup is whole: account 000102030405060708090a0b0c0d0e0f (+15552000100), made 2026-11-22 14:00Z, with 3 contacts, 1 groups and 42 messages."
        ],
    );
}
