//! What earlier versions wrote is read on, with everything in it.

use crate::world::World;
use client::{DeliveryState, EventView};
use rusqlite::Connection;
use types::{ChatId, Millis};

const FORMAT_1: &str = include_str!("../../migrations/0001_first.sql");

/// Writes a database as format 1 would hold it. Its columns were these, where they have other names now.
fn as_format_1(new: &Connection) -> Connection {
    let old = Connection::open_in_memory().unwrap();
    old.execute_batch(FORMAT_1).unwrap();
    let tables: Vec<String> = names(&old, "SELECT name FROM sqlite_schema WHERE type = 'table'");
    for table in
        tables.iter().filter(|name| !name.starts_with("message_text") && !name.starts_with("sqlite_"))
    {
        let columns = names(&old, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let now_called: Vec<&str> = columns
            .iter()
            .map(|column| match (table.as_str(), column.as_str()) {
                ("chat", "account") => "id",
                ("outbox" | "sent", "recipient") => "chat",
                (_, same) => same,
            })
            .collect();
        let mut rows = new.prepare(&format!("SELECT {} FROM {table}", now_called.join(", "))).unwrap();
        let marks = vec!["?"; columns.len()].join(", ");
        let mut insert =
            old.prepare(&format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "))).unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<rusqlite::types::Value> =
                (0..columns.len()).map(|column| row.get_unwrap(column)).collect();
            insert.execute(rusqlite::params_from_iter(values)).unwrap();
        }
    }
    old.pragma_update(None, "application_id", 0x5741_5857).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old
}

fn names(connection: &Connection, sql: &str) -> Vec<String> {
    connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_profile_of_format_1_goes_on_where_it_was() {
    let mut world = World::new(2);
    world.settle();
    let read = world.send(0, 1, "one");
    world.send(1, 0, "two");
    world.settle();
    world.mark_read(1, 0);
    world.settle();
    // One message was lost on the way here, another one has not left yet.
    world.disconnect(0);
    world.server.swallow = 1;
    world.send(1, 0, "lost");
    world.run();
    world.send(1, 0, "three");
    world.run();
    world.disconnect(1);
    world.connect(0);
    world.pass(Millis::from_secs(5));
    world.disconnect(0);
    let queued = world.send(0, 1, "four");
    let before = world.history(0, 1);
    assert_eq!(world.texts(0, 1), ["one", "two", "three", "four"]);
    let events = world.people[0].engine().view().unprinted_events(100).unwrap();
    assert!(events.iter().any(|event| matches!(event.event, EventView::Gap { .. })));

    world.replace_database(0, |database| as_format_1(&database));
    assert_eq!(world.history(0, 1), before);
    assert_eq!(world.people[0].engine().view().unprinted_events(100).unwrap(), events);
    assert_eq!(world.state(0, read), DeliveryState::Read);
    world.settle();
    assert_eq!(world.texts(0, 1), ["one", "two", "lost", "three", "four"]);
    assert_eq!(world.texts(1, 0), world.texts(0, 1));
    assert_eq!(world.state(0, queued), DeliveryState::Delivered);
    let other = ChatId::Direct(world.account(1));
    assert_eq!(world.people[0].engine().view().chats().unwrap()[0].chat, other);
}
