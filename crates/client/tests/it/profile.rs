//! The database and what is in it before the first connection.

use crate::{
    answers::{CODE, ORIGIN},
    server::Server,
    world::{START, World},
};
use client::{Engine, Fault, HttpAnswer, NewAccount, OpenError, Reader, RegistrationError, database};
use expect_test::expect_file;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rusqlite::Connection;
use std::{fs, path::PathBuf};

fn file(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("waxwing-client-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let _ = fs::remove_file(&path);
    path
}

fn account(phone: &str) -> NewAccount {
    NewAccount { server: ORIGIN.to_owned(), server_pin: None, phone: phone.parse().unwrap(), name: None }
}

fn engine() -> (Engine, ChaCha20Rng) {
    (Engine::open(database::open_in_memory().unwrap()).unwrap(), ChaCha20Rng::seed_from_u64(1))
}

#[test]
fn the_schema_is_the_committed_one() {
    let connection = Engine::open(database::open_in_memory().unwrap()).unwrap().close();
    let mut statement = connection
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'message_text_%'
               AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
        .unwrap();
    let statements: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    expect_file!["schema.sql"].assert_eq(&(statements.join(";\n\n") + ";\n"));
    assert!(
        statements.iter().filter(|sql| sql.starts_with("CREATE TABLE")).all(|sql| sql.contains("STRICT"))
    );
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let path = file("newer.db");
    let connection = Engine::open(database::open(&path).unwrap()).unwrap().close();
    connection.pragma_update(None, "user_version", database::FORMAT + 1).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let refused = Engine::open(database::open(&path).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::NewerFormat { found } if found == database::FORMAT + 1));
    let reader = Reader::open(database::open_read_only(&path).unwrap()).err().unwrap();
    assert!(matches!(reader, OpenError::NewerFormat { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_reader_wants_the_format_that_it_knows() {
    let path = file("older.db");
    let connection = Engine::open(database::open(&path).unwrap()).unwrap().close();
    connection.pragma_update(None, "user_version", 0).unwrap();
    drop(connection);
    let refused = Reader::open(database::open_read_only(&path).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::OlderFormat { found: 0 }));
}

#[test]
fn damaged_and_foreign_files_are_told_apart_from_profiles() {
    let garbage = file("garbage.db");
    fs::write(&garbage, [b'x'; 8192]).unwrap();
    let refused = Engine::open(database::open(&garbage).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged), "{refused:?}");

    let foreign = file("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE songs (title)").unwrap();
    let refused = Engine::open(database::open(&foreign).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::NotAProfile), "{refused:?}");

    let torn = file("torn.db");
    let (mut engine, mut rng) = {
        let connection = database::open(&torn).unwrap();
        (Engine::open(connection).unwrap(), ChaCha20Rng::seed_from_u64(1))
    };
    engine.begin_registration(&account("+15550000000"), START, &mut rng).unwrap();
    engine.close().close().unwrap();
    let mut bytes = fs::read(&torn).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 8192] {
        *byte = 0x5a;
    }
    fs::write(&torn, &bytes).unwrap();
    let refused = Engine::open(database::open(&torn).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged), "{refused:?}");
}

#[test]
fn a_reader_sees_what_the_engine_wrote() {
    let path = file("both.db");
    let mut engine = Engine::open(database::open(&path).unwrap()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut server = Server::new(START);
    let reader = Reader::open(database::open_read_only(&path).unwrap()).unwrap();
    assert_eq!(reader.view().whoami().unwrap(), None);
    let ask = engine.begin_registration(&account("+15550000000"), START, &mut rng).unwrap();
    engine.code_sent(&server.http(&ask)).unwrap();
    let finish = engine.finish_registration(CODE, false).unwrap();
    let registered = engine.registered(&server.http(&finish)).unwrap();
    let whoami = reader.view().whoami().unwrap().unwrap();
    assert_eq!((whoami.account, whoami.device.get()), (registered.account, 1));
    assert_eq!(whoami.server, ORIGIN);
}

#[test]
fn finishing_again_makes_the_same_account() {
    let mut server = Server::new(START);
    let (mut engine, mut rng) = engine();
    assert!(matches!(engine.finish_registration(CODE, false), Err(RegistrationError::NotBegun)));
    let ask = engine.begin_registration(&account("+15550000000"), START, &mut rng).unwrap();
    engine.code_sent(&server.http(&ask)).unwrap();
    let first = engine.finish_registration(CODE, false).unwrap();
    // The server makes the account; its answer is lost, and the process dies.
    server.http(&first);
    let mut engine = Engine::open(engine.close()).unwrap();
    let again = engine.finish_registration(CODE, false).unwrap();
    assert_eq!(first, again);
    let registered = engine.registered(&server.http(&again)).unwrap();
    assert_eq!(server.accounts.len(), 1);
    assert!(server.accounts.contains_key(&registered.account));
    let has_account = engine.begin_registration(&account("+15550000000"), START, &mut rng);
    assert!(matches!(has_account, Err(RegistrationError::HasAccount)));
}

#[test]
fn asking_again_keeps_the_keys_and_another_number_makes_new_ones() {
    let mut server = Server::new(START);
    let (mut engine, mut rng) = engine();
    let mut finish = |engine: &mut Engine, phone: &str| {
        let ask = engine.begin_registration(&account(phone), START, &mut rng).unwrap();
        engine.code_sent(&server.http(&ask)).unwrap();
        engine.finish_registration(CODE, false).unwrap()
    };
    let first = finish(&mut engine, "+15550000000");
    assert_eq!(finish(&mut engine, "+15550000000"), first);
    let other = finish(&mut engine, "+15550000001");
    assert_ne!(other.body, first.body);
    let connection = engine.close();
    let lists: i64 = connection.query_row("SELECT count(*) FROM device_list", [], |row| row.get(0)).unwrap();
    let prekeys: i64 = connection.query_row("SELECT count(*) FROM prekey", [], |row| row.get(0)).unwrap();
    assert_eq!((lists, prekeys), (1, 202), "nothing of the first attempt is left");
}

#[test]
fn refusals_of_the_server_are_given_as_they_are() {
    let mut server = Server::new(START);
    let (mut engine, mut rng) = engine();
    let ask = engine.begin_registration(&account("+15550000000"), START, &mut rng).unwrap();
    engine.code_sent(&server.http(&ask)).unwrap();
    let wrong = engine.finish_registration("000000", false).unwrap();
    let refused = engine.registered(&server.http(&wrong));
    assert!(matches!(refused, Err(RegistrationError::Refused(problem)) if problem.code == "wrong_code"));
    for body in ["", "{}", "<html>", "[1]"] {
        let answer = HttpAnswer { status: 500, body: body.into() };
        assert!(matches!(engine.registered(&answer), Err(RegistrationError::BadAnswer)));
        let answer = HttpAnswer { status: 201, body: body.into() };
        assert!(matches!(engine.registered(&answer), Err(RegistrationError::BadAnswer)));
    }
    let path = HttpAnswer { status: 201, body: br#"{"session":"../../x","expires_in":1}"#.to_vec() };
    assert!(matches!(engine.code_sent(&path), Err(RegistrationError::BadAnswer)));
    let finish = engine.finish_registration(CODE, false).unwrap();
    engine.registered(&server.http(&finish)).unwrap();
}

#[test]
fn a_taken_number_needs_replace() {
    let mut world = World::new(1);
    let (mut engine, mut rng) = engine();
    let ask = engine.begin_registration(&account("+15550000000"), START, &mut rng).unwrap();
    engine.code_sent(&world.server.http(&ask)).unwrap();
    let finish = engine.finish_registration(CODE, false).unwrap();
    let refused = engine.registered(&world.server.http(&finish));
    assert!(matches!(refused, Err(RegistrationError::Refused(problem)) if problem.code == "number_taken"));
    let finish = engine.finish_registration(CODE, true).unwrap();
    engine.registered(&world.server.http(&finish)).unwrap();
}

#[test]
fn an_engine_without_an_account_does_nothing() {
    let (mut engine, mut rng) = engine();
    assert!(matches!(engine.dial(), Err(Fault::NotRegistered)));
    let handled = engine.handle(client::Event::Tick, START, &mut rng);
    assert!(matches!(handled, Err(Fault::NotRegistered)));
}

#[test]
fn after_a_failed_transaction_the_engine_refuses_everything() {
    let mut world = World::new(1);
    let (mut now, mut rng) = (START, ChaCha20Rng::seed_from_u64(5));
    world.with_database(0, |_| {});
    let engine = world.people[0].engine();
    engine.dial().unwrap();
    let connection =
        std::mem::replace(engine, Engine::open(database::open_in_memory().unwrap()).unwrap()).close();
    connection.execute_batch("DROP TABLE outbox_sealed; DROP TABLE seen").unwrap();
    let mut engine = Engine::open(connection).unwrap();
    now = now + types::Millis(1);
    let chat = types::AccountId::from_bytes([3; 16]);
    engine.dial().unwrap();
    let broken = engine.handle(client::Event::Connected, now, &mut rng);
    assert!(broken.is_ok());
    let (_, hello) = world.server.connect();
    engine.handle(client::Event::Received(hello.encode()), now, &mut rng).unwrap();
    let answer = wire::ServerFrame::Answer {
        id: 1,
        result: Ok(wire::Response::Authenticated(wire::Authenticated {
            version: 1,
            registration: world.server.mailbox_of(world.account(0)).registration,
            device_list_version: 1,
        })),
    };
    let fault = engine.handle(client::Event::Received(answer.encode()), now, &mut rng);
    assert!(matches!(fault, Err(Fault::Database(_))), "{fault:?}");
    assert!(matches!(engine.mark_read(chat.into(), now, &mut rng), Err(Fault::Poisoned)));
    assert!(matches!(engine.dial(), Err(Fault::Poisoned)));
}
