//! A number that leads to another account than before, with the real server.

use crate::{
    conversation::{ALICE, BOB, Conversation, kinds, texts},
    real_server::Waxwing,
};
use serde_json::Value;

const NEW_BOB: &str = "+newbob";

/// Bob registers his number again; the id of the new account.
fn register_again(c: &Conversation, server: &Waxwing) -> Value {
    let profile = c.profile(NEW_BOB);
    assert_eq!(server.register(&profile, BOB, &[]).exit, 0);
    let ran = server.register(&profile, BOB, &["--code", &server.code(BOB), "--replace"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    c.one(NEW_BOB, &["whoami"])["account"].clone()
}

#[test]
fn messages_to_a_new_account_wait_until_it_is_accepted() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let old = c.one(ALICE, &["send", BOB, "to the old account"])["chat"].clone();
    c.all(BOB, &["receive"]);
    let lost = c.one(ALICE, &["send", BOB, "accepted and never received"]);
    let new = register_again(&c, &server);

    let ran = c.run(ALICE, &["send", BOB, "who are you?"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let sent: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&sent["state"], &sent["stamp"]), (&"queued".into(), &Value::Null), "{ran:?}");
    assert!(ran.stderr.contains("--accept") && ran.stderr.contains("new account"), "{ran:?}");
    let events = c.all(ALICE, &["receive"]);
    let changed = events.iter().find(|line| line["event"] == "key_changed").unwrap();
    let fields: Vec<&String> = changed.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["account", "event", "old_account", "phone"]);
    assert_eq!((&changed["phone"], &changed["account"], &changed["old_account"]), (&BOB.into(), &new, &old));
    assert!(!kinds(&c.all(ALICE, &["receive"])).contains(&"key_changed"), "it is told once");
    let ran = c.run(ALICE, &["send", BOB, "still waiting", "--require-accepted"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (75, "not_accepted_yet"), "{ran:?}");
    assert_eq!(texts(&c.all(NEW_BOB, &["receive"])), Vec::<&str>::new(), "nothing leaves unasked");

    let accepted = c.one(ALICE, &["verify", BOB, "--accept"]);
    assert_eq!(
        (&accepted["account"], &accepted["old_account"], &accepted["released"]),
        (&new, &old, &2.into())
    );
    assert_eq!(texts(&c.all(NEW_BOB, &["receive"])), ["who are you?", "still waiting"]);
    assert_eq!(c.one(ALICE, &["status", lost["message_id"].as_str().unwrap()])["state"], "failed");
    assert_eq!(c.one(ALICE, &["send", BOB, "to the new account"])["chat"], new);
    let again = c.one(ALICE, &["verify", BOB, "--accept"]);
    assert_eq!((&again["account"], &again["old_account"]), (&new, &Value::Null), "repeating is harmless");
    assert_eq!(texts(&c.all(ALICE, &["history", old.as_str().unwrap()]))[0], "to the old account");
    assert_eq!(texts(&c.all(ALICE, &["history", BOB])).last(), Some(&"to the new account"));
}

#[test]
fn a_closed_member_stays_in_the_group_until_removed_and_sends_go_on() {
    let server = Waxwing::start(&[]);
    let c = server.conversation_of(&[ALICE, BOB, "+15552000102"]);
    c.one(ALICE, &["group", "create", "Trio", BOB, "+15552000102"]);
    let old = c.one(BOB, &["whoami"])["account"].clone();
    register_again(&c, &server);
    assert_eq!(c.one(ALICE, &["send", "Trio", "who is left?"])["state"], "accepted");
    assert_eq!(texts(&c.all("+15552000102", &["receive"])), ["who is left?"]);
    let info = c.one(ALICE, &["group", "info", "Trio"]);
    let member =
        info["members"].as_array().unwrap().iter().find(|one| one["account"] == old).unwrap().clone();
    assert_eq!(member["closed"], true, "{info}");
    let gone = c.one(ALICE, &["group", "remove", "Trio", old.as_str().unwrap()]);
    assert_eq!(gone["members"].as_array().unwrap().len(), 2);
    let back =
        c.one(ALICE, &["group", "add", "Trio", c.one(NEW_BOB, &["whoami"])["account"].as_str().unwrap()]);
    assert_eq!(back["members"].as_array().unwrap().len(), 3);
    c.one(ALICE, &["send", "Trio", "welcome back"]);
    assert_eq!(texts(&c.all(NEW_BOB, &["receive"])), ["welcome back"]);
}

#[test]
fn nobody_comes_into_a_group_by_a_number_that_moved() {
    let server = Waxwing::start(&[]);
    let c = server.conversation_of(&[ALICE, BOB, "+15552000102"]);
    c.one(ALICE, &["send", BOB, "so I know you"]);
    c.one(ALICE, &["group", "create", "Duo", "+15552000102"]);
    register_again(&c, &server);
    // Nothing was sent to the number since, so nothing was noticed yet.
    for command in [&["group", "create", "Trio", BOB, "+15552000102"][..], &["group", "add", "Duo", BOB]] {
        let ran = c.run(ALICE, command);
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, "bad_member"), "{ran:?}");
        assert!(ran.stderr.contains(BOB) && ran.stderr.contains("--accept"), "{ran:?}");
    }
    assert_eq!(c.all(ALICE, &["groups"]).len(), 1);
    c.one(ALICE, &["verify", BOB, "--accept"]);
    assert_eq!(c.one(ALICE, &["group", "add", "Duo", BOB])["members"].as_array().unwrap().len(), 3);
    c.one(ALICE, &["send", "Duo", "welcome"]);
    assert_eq!(texts(&c.all(NEW_BOB, &["receive"])), ["welcome"]);
}

#[test]
fn a_message_to_the_old_account_by_its_id_reaches_nobody_else() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let old = c.one(ALICE, &["send", BOB, "to the old account"])["chat"].clone();
    c.all(BOB, &["receive"]);
    register_again(&c, &server);
    let ran = c.run(ALICE, &["send", BOB, "to the number"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let ran = c.run(ALICE, &["send", old.as_str().unwrap(), "to this very account"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "unknown_recipient"), "{ran:?}");
    assert_eq!(c.one(ALICE, &["verify", BOB, "--accept"])["released"], 1);
    assert_eq!(texts(&c.all(NEW_BOB, &["receive"])), ["to the number"]);
    assert_eq!(
        texts(&c.all(ALICE, &["history", old.as_str().unwrap()])),
        ["to the old account", "to this very account"]
    );
}
