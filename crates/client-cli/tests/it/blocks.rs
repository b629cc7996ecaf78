//! Somebody whom one does not want to hear, with the real server.

use crate::{
    conversation::{ALICE, BOB, texts},
    devices::{LAPTOP, link},
    real_server::Waxwing,
};

#[test]
fn who_is_blocked_on_one_device_is_heard_on_none_until_unblocked() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    c.one(ALICE, &["send", BOB, "hello"]);
    link(&c, &server, ALICE, LAPTOP, &[]);
    let bob = c.one(BOB, &["whoami"])["account"].clone();
    let blocked = serde_json::json!({ "account": bob, "phone": BOB, "blocked": true });
    assert_eq!(c.one(ALICE, &["block", BOB]), blocked);
    assert_eq!(c.one(ALICE, &["block", BOB]), blocked, "repeating is harmless");

    let unheard = c.one(BOB, &["send", ALICE, "can you hear me?"]);
    let id = unheard["message_id"].as_str().unwrap();
    for who in [ALICE, LAPTOP] {
        assert_eq!(texts(&c.all(who, &["receive"])), Vec::<&str>::new(), "{who}");
        assert_eq!(c.one(who, &["blocked"]), blocked, "{who}");
        let ran = c.run(who, &["send", BOB, "by mistake"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, "blocked"), "{who}: {ran:?}");
    }
    c.all(BOB, &["receive"]);
    assert_eq!(c.one(BOB, &["status", id])["state"], "accepted", "no tick tells him");

    assert_eq!(c.one(LAPTOP, &["unblock", bob.as_str().unwrap()])["blocked"], false);
    c.one(BOB, &["send", ALICE, "and now?"]);
    for who in [ALICE, LAPTOP] {
        assert_eq!(texts(&c.all(who, &["receive"])), ["and now?"], "{who}");
        assert!(c.all(who, &["blocked"]).is_empty(), "{who}");
    }
}

#[test]
fn only_somebody_else_can_be_blocked() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    for (who, code) in
        [(ALICE, "unknown_recipient"), ("+15559999999", "unknown_recipient"), ("nobody", "unknown_chat")]
    {
        let ran = c.run(ALICE, &["block", who]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, code), "{ran:?}");
    }
}
