//! Groups of four, with the real server.

use crate::{
    conversation::{ALICE, BOB, Conversation, kinds, texts},
    devices::{LAPTOP, link},
    real_server::Waxwing,
    run,
    takeover::Follower,
};
use serde_json::Value;
use std::{thread, time::Duration};

const CAROL: &str = "+15552000102";
const DAVE: &str = "+15552000103";
const NOBODY: &str = "+15552000199";
const EVERYBODY: [&str; 4] = [ALICE, BOB, CAROL, DAVE];

fn four(server: &Waxwing) -> Conversation {
    server.conversation_of(&EVERYBODY)
}

/// Alice's group of all four; its id.
fn family(c: &Conversation) -> String {
    let group = c.one(ALICE, &["group", "create", "Family", BOB, CAROL, DAVE]);
    group["group"].as_str().unwrap().to_owned()
}

fn account(c: &Conversation, who: &str) -> Value {
    c.one(who, &["whoami"])["account"].clone()
}

/// Each member's role, by number where that is known.
fn roles(group: &Value) -> Vec<(Option<&str>, &str)> {
    let mut roles: Vec<_> = group["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["phone"].as_str(), member["role"].as_str().unwrap()))
        .collect();
    roles.sort_unstable();
    roles
}

fn changes(lines: &[Value]) -> Vec<&str> {
    let changed = lines.iter().filter(|line| line["event"] == "group_changed");
    changed.map(|line| line["change"].as_str().unwrap()).collect()
}

#[test]
fn a_group_is_made_and_everybody_reads_what_everybody_writes_in_one_order() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    let made = c.one(ALICE, &["group", "create", "Family", BOB, CAROL, DAVE]);
    let group = made["group"].as_str().unwrap();
    assert_eq!(made["name"], "Family");
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["epoch", "group", "members", "name"]);
    assert_eq!(
        roles(&made),
        [(Some(ALICE), "creator"), (Some(BOB), "member"), (Some(CAROL), "member"), (Some(DAVE), "member"),]
    );
    assert_eq!(c.one(ALICE, &["group", "info", "Family"]), made);
    assert_eq!(c.one(ALICE, &["groups"]), made);

    let sent = c.one(ALICE, &["send", "Family", "from Alice"]);
    assert_eq!((&sent["state"], &sent["chat"]), (&"accepted".into(), &group.into()));
    for who in [BOB, CAROL, DAVE] {
        let received = c.all(who, &["receive"]);
        let event = received.iter().find(|line| line["event"] == "group_changed").unwrap();
        assert_eq!((&event["group"], &event["change"]), (&group.into(), &"create".into()));
        assert_eq!((&event["by"], &event["epoch"]), (&account(&c, ALICE), &made["epoch"]));
        let message = received.iter().find(|line| line["event"] == "message").unwrap();
        assert_eq!((&message["chat"], &message["stamp"]), (&group.into(), &sent["stamp"]));
        assert_eq!(message["sender"]["account"], account(&c, ALICE));
        assert_eq!(c.one(who, &["group", "info", "Family"])["name"], "Family", "{who} can read the name");
        c.one(who, &["send", group, &format!("from {who}")]);
    }
    for who in EVERYBODY {
        c.all(who, &["receive"]);
    }
    let expected: Vec<String> = ["from Alice".to_owned()]
        .into_iter()
        .chain([BOB, CAROL, DAVE].map(|who| format!("from {who}")))
        .collect();
    for who in EVERYBODY {
        assert_eq!(texts(&c.all(who, &["history", "Family"])), expected, "{who}");
    }
    let chat = c.one(BOB, &["chats"]);
    assert_eq!(
        (&chat["kind"], &chat["name"], &chat["unread"]),
        (&"group".into(), &"Family".into(), &3.into())
    );
}

#[test]
fn the_sender_sees_how_far_a_message_came_at_every_member() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    family(&c);
    let sent = c.one(ALICE, &["send", "Family", "Dinner is ready"]);
    let id = sent["message_id"].as_str().unwrap();
    let states = || {
        c.all(ALICE, &["receive"]);
        let status = c.one(ALICE, &["status", id]);
        let mut states: Vec<(String, String)> = status["recipients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["account"].as_str().unwrap().into(), one["state"].as_str().unwrap().into()))
            .collect();
        states.sort();
        (status["state"].as_str().unwrap().to_owned(), states)
    };
    let expected = |bob: &str, carol: &str, dave: &str| {
        let of = |who, state: &str| (account(&c, who).as_str().unwrap().to_owned(), state.to_owned());
        let mut states = vec![of(BOB, bob), of(CAROL, carol), of(DAVE, dave)];
        states.sort();
        states
    };
    assert_eq!(states(), ("accepted".into(), expected("accepted", "accepted", "accepted")));
    c.all(BOB, &["receive"]);
    c.all(CAROL, &["receive"]);
    assert_eq!(states(), ("accepted".into(), expected("delivered", "delivered", "accepted")));
    c.all(DAVE, &["receive"]);
    c.one(BOB, &["read", "Family"]);
    assert_eq!(states(), ("delivered".into(), expected("read", "delivered", "delivered")));
}

#[test]
fn a_name_is_given_twice_by_whoever_wants_that() {
    let server = Waxwing::start(&[]);
    let c = server.conversation();
    let first = c.one(ALICE, &["group", "create", "Hikers", BOB]);
    let second = c.one(ALICE, &["group", "create", "Hikers", BOB]);
    assert_ne!(first["group"], second["group"], "the first one was printed");
    c.all(BOB, &["receive"]);
    let ran = c.run(BOB, &["send", "Hikers", "which?"]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "unknown_group"), "{ran:?}");

    // Whom a change was done to is told so, in words.
    let id = first["group"].as_str().unwrap();
    c.one(ALICE, &["group", "remove", id, BOB]);
    let ran = run(&c.profile(BOB), ["receive"]);
    assert!(ran.stdout.contains("has removed you from Hikers"), "{ran:?}");
    assert_eq!(c.one(BOB, &["send", "Hikers", "the other one"])["chat"], second["group"]);
}

#[test]
fn members_come_and_go_and_have_roles() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    c.one(ALICE, &["group", "create", "Team", BOB]);
    c.all(BOB, &["receive"]);
    let failure = |who: &str, arguments: &[&str]| {
        let ran = c.run(who, arguments);
        assert_eq!(ran.stdout, "", "{arguments:?}: {ran:?}");
        (ran.exit, ran.error_code())
    };
    assert_eq!(failure(BOB, &["group", "add", "Team", CAROL]), (77, "not_admin".into()));
    assert_eq!(failure(ALICE, &["group", "add", "Team", BOB]), (65, "bad_member".into()));
    assert_eq!(failure(ALICE, &["group", "remove", "Team", CAROL]), (65, "bad_member".into()));
    assert_eq!(failure(ALICE, &["group", "leave", "Team"]), (65, "last_admin".into()));
    assert_eq!(failure(ALICE, &["group", "info", "Nothing"]), (65, "unknown_group".into()));
    assert_eq!(failure(ALICE, &["send", "Nothing", "hi"]), (65, "unknown_chat".into()));

    assert_eq!(roles(&c.one(ALICE, &["group", "promote", "Team", BOB]))[1], (Some(BOB), "admin"));
    c.all(BOB, &["receive"]);
    assert_eq!(c.one(BOB, &["group", "add", "Team", CAROL, DAVE])["members"].as_array().unwrap().len(), 4);
    assert_eq!(c.one(BOB, &["group", "rename", "Team", "The team"])["name"], "The team");
    c.one(BOB, &["send", "The team", "welcome"]);
    for who in [ALICE, CAROL, DAVE] {
        assert_eq!(texts(&c.all(who, &["receive"])), ["welcome"], "{who}");
        assert_eq!(c.one(who, &["groups"])["name"], "The team", "{who}");
    }
    c.one(ALICE, &["group", "remove", "The team", CAROL]);
    c.one(DAVE, &["group", "leave", "The team"]);
    assert_eq!(c.all(DAVE, &["groups"]), Vec::<Value>::new());
    c.one(ALICE, &["send", "The team", "between us"]);
    let carol = c.all(CAROL, &["receive"]);
    assert_eq!((texts(&carol), changes(&carol)), (vec![], vec!["remove"]));
    for who in [CAROL, DAVE] {
        let ran = c.run(who, &["send", "The team", "still here?"]);
        assert_eq!((ran.exit, ran.error_code().as_str()), (77, "not_a_member"), "{who}: {ran:?}");
    }
    assert_eq!(failure(CAROL, &["group", "rename", "The team", "Mine"]), (77, "not_a_member".into()));
    let bob = c.all(BOB, &["receive"]);
    assert_eq!((texts(&bob), changes(&bob)), (vec!["between us"], vec!["remove", "leave"]));
}

#[test]
fn one_unknown_number_of_several_is_named_and_nothing_happens() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    for arguments in [
        &["group", "create", "Family", BOB, NOBODY, CAROL][..],
        &["group", "create", "Family", BOB, &"f".repeat(32)],
    ] {
        let ran = c.run(ALICE, arguments);
        assert_eq!((ran.exit, ran.error_code().as_str()), (65, "unknown_recipient"), "{ran:?}");
        let named = if arguments.contains(&NOBODY) { NOBODY } else { "ffffffff" };
        assert!(ran.stderr.contains(named) && !ran.stderr.contains(BOB), "{ran:?}");
    }
    assert_eq!(c.all(ALICE, &["groups"]), Vec::<Value>::new());
    assert_eq!(kinds(&c.all(BOB, &["receive"])), ["drained"]);
}

#[test]
fn a_group_may_be_called_like_a_year_and_one_of_several_people_is_told_apart() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    for name in ["2024", "+1 for dinner"] {
        let group = c.one(ALICE, &["group", "create", name, BOB])["group"].clone();
        assert_eq!(c.one(ALICE, &["send", name, "hello"])["chat"], group);
        assert_eq!(c.one(ALICE, &["group", "info", name])["group"], group);
        assert_eq!(texts(&c.all(ALICE, &["history", name])), ["hello"]);
    }
    let ran = c.run(ALICE, &["group", "create", "Team", BOB, "+1555", CAROL]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "bad_number"));
    assert!(ran.stderr.contains("person 2 of 3"), "{ran:?}");
}

#[test]
fn what_one_device_makes_or_joins_the_others_name_and_change() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    link(&c, &server, ALICE, LAPTOP, &[]);
    let made = c.one(LAPTOP, &["group", "create", "By the laptop", BOB]);
    c.all(ALICE, &["receive"]);
    assert_eq!(c.one(ALICE, &["group", "info", "By the laptop"])["name"], "By the laptop");
    let group = made["group"].as_str().unwrap();
    assert_eq!(c.one(ALICE, &["group", "rename", group, "Renamed"])["name"], "Renamed");

    c.one(CAROL, &["group", "create", "Carol's", DAVE]);
    let link = c.one(CAROL, &["group", "link", "Carol's"]);
    c.one(LAPTOP, &["group", "join", link["url"].as_str().unwrap()]);
    c.all(ALICE, &["receive"]);
    assert_eq!(c.one(ALICE, &["group", "info", "Carol's"])["name"], "Carol's");
}

#[test]
fn whoever_has_the_link_joins_until_it_is_reset() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    c.one(ALICE, &["group", "create", "Open", BOB]);
    let link = |more: &[&str]| {
        let line = c.one(ALICE, &[&["group", "link", "Open"], more].concat());
        line["url"].as_str().unwrap().to_owned()
    };
    let url = link(&[]);
    assert_eq!(link(&[]), url, "it is the same link until it is reset");
    assert!(url.starts_with(&format!("{}/g/", server.url)), "{url}");
    let other_end = if url.ends_with('A') { "QAAA" } else { "AAAA" };
    let damaged = format!("{}{other_end}", &url[..url.len() - 4]);
    let ran = c.run(CAROL, &["group", "join", &damaged]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "bad_group_link"), "{ran:?}");
    let joined = c.one(CAROL, &["group", "join", &url]);
    assert_eq!((&joined["name"], joined["members"].as_array().unwrap().len()), (&"Open".into(), 3));
    let fresh = link(&["--reset"]);
    assert_ne!(fresh, url);
    let ran = c.run(DAVE, &["group", "join", &url]);
    assert_eq!((ran.exit, ran.error_code().as_str()), (65, "bad_group_link"), "{ran:?}");
    c.one(DAVE, &["group", "join", &fresh]);
    c.one(DAVE, &["send", "Open", "I am in"]);
    for who in [ALICE, BOB, CAROL] {
        assert_eq!(texts(&c.all(who, &["receive"])), ["I am in"], "{who}");
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_made_once() {
    let mut server = Waxwing::start(&[]);
    let c = four(&server);
    family(&c);
    server.kill();
    let rename = ["group", "rename", "Family", "Friends"];
    let ran = c.run(ALICE, &rename);
    assert_eq!(
        (ran.exit, ran.stdout.as_str(), ran.error_code().as_str()),
        (75, "", "outcome_unknown"),
        "{ran:?}"
    );
    assert_eq!(
        c.one(ALICE, &["group", "info", "Family"])["name"],
        "Family",
        "nothing is shown before it is true"
    );
    server.kill_and_restart();
    let first = c.one(ALICE, &rename);
    assert_eq!(first["name"], "Friends");
    let again = ["group", "rename", "Friends", "Friends"];
    assert_eq!(c.one(ALICE, &again)["group"], first["group"]);
    c.one(ALICE, &["send", "Friends", "hello"]);
    let bob = c.all(BOB, &["receive"]);
    assert_eq!(texts(&bob), ["hello"]);
}

#[test]
fn groups_are_changed_and_written_to_beside_a_follower() {
    let server = Waxwing::start(&[]);
    let c = four(&server);
    let follower = Follower::start(&c.profile(ALICE));
    follower.drained();
    let group = family(&c);
    assert_eq!(c.one(ALICE, &["send", "Family", "hello"])["chat"], group.as_str());
    c.one(ALICE, &["group", "remove", "Family", DAVE]);
    assert!(c.one(ALICE, &["group", "link", "Family"])["url"].is_string());
    assert_eq!(texts(&c.all(BOB, &["receive"])), ["hello"]);
    c.one(BOB, &["send", "Family", "back"]);
    loop {
        let line = follower.next();
        if line["event"] == "message" {
            assert_eq!(line["body"]["text"], "back");
            break;
        }
    }
    follower.interrupt();
}

#[test]
fn changes_of_a_group_under_a_server_that_is_killed_are_made_once() {
    let mut server = Waxwing::start(&[]);
    let c = four(&server);
    let group = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let group = family(&c);
            for number in 0..5 {
                c.one(ALICE, &["group", "rename", &group, &format!("Family {number}")]);
                c.one(ALICE, &["send", &group, &format!("renamed {number}")]);
            }
            group
        });
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(300));
            server.kill_and_restart();
        }
        changing.join().unwrap()
    });
    let info = c.one(ALICE, &["group", "info", &group]);
    assert_eq!((&info["name"], info["members"].as_array().unwrap().len()), (&"Family 4".into(), 4));
    for who in [BOB, CAROL] {
        let received = c.all(who, &["receive"]);
        assert_eq!(changes(&received), ["create", "rename", "rename", "rename", "rename", "rename"], "{who}");
        assert_eq!(texts(&received), [0, 1, 2, 3, 4].map(|number| format!("renamed {number}")), "{who}");
        assert_eq!(c.one(who, &["group", "info", &group])["epoch"], info["epoch"], "{who}");
    }
}
