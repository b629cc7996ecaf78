//! A new primary device takes the place of one that is lost.

use super::*;
use futures_util::future::join_all;

/// The new primary of account 1.
fn new_primary() -> MailboxId {
    life(1, 1, 200)
}

fn restoration() -> Restore {
    Restore {
        account: account(1),
        expected: 2,
        version: 3,
        list: filled(3, 60),
        device: record(new_primary()),
        keys: keys(50..60),
    }
}

async fn restore(dir: Dir<'_>, restore: Restore) -> RestoreOutcome {
    dir.port().restore(restore).await.expect("a restoration is answered")
}

/// Account 1 with a linked device, at version 2.
async fn with_linked_device(dir: Dir<'_>) -> MailboxId {
    created(dir, 1).await;
    let linked = life(1, 2, 7);
    dir.port().put_list(new_list(1, 1, 2, &[device(1), linked])).await.expect("stored");
    dir.port().put_keys(linked, keys(1..6)).await.expect("stored");
    dir.port().connect(linked, 5, NOW + Millis(5)).await.expect("stored");
    linked
}

pub(super) async fn a_new_primary_takes_the_place_of_the_old(dir: Dir<'_>) {
    let linked = with_linked_device(dir).await;
    let before = dir.port().device(linked.address()).await;
    let restored = RestoreOutcome::Restored { removed: vec![device(1)] };
    assert_eq!(restore(dir, restoration()).await, restored);
    for _ in 0..2 {
        let account = view(dir, 1).await;
        assert_eq!((account.list_version, account.list), (3, filled(3, 60)));
        assert_eq!((account.phone, account.key), (Some(phone(1)), [1; 32]), "it is the same account");
        let listed: Vec<_> = account.devices.iter().map(|device| device.registration).collect();
        assert_eq!(listed, [new_primary().registration, linked.registration]);
        assert_eq!(dir.port().device(device(1).address()).await, Ok(Some(record(new_primary()))));
        assert_eq!(counts(dir, device(1)).await, None, "the old one's keys are deleted");
        assert_eq!(dir.port().connect(device(1), 99, NOW).await, Ok(ConnectOutcome::NoDevice));
        assert_eq!(counts(dir, new_primary()).await, Some(KeyCounts { one_time: 10, one_time_kem: 10 }));
        assert_eq!(dir.port().device(linked.address()).await, before, "linked devices keep what they have");
        assert_eq!(counts(dir, linked).await, Some(KeyCounts { one_time: 5, one_time_kem: 5 }));
        dir.reopen().await;
    }
}

pub(super) async fn the_same_again_changes_nothing(dir: Dir<'_>) {
    with_linked_device(dir).await;
    restore(dir, restoration()).await;
    dir.port().connect(new_primary(), 8, NOW + Millis(8)).await.expect("stored");
    let before = dir.port().device(new_primary().address()).await;
    for _ in 0..2 {
        let again = Restore { keys: keys(90..99), ..restoration() };
        assert_eq!(restore(dir, again).await, RestoreOutcome::Repeat);
        assert_eq!(dir.port().device(new_primary().address()).await, before);
        assert_eq!(counts(dir, new_primary()).await, Some(KeyCounts { one_time: 10, one_time_kem: 10 }));
        dir.reopen().await;
    }
}

pub(super) async fn a_list_alone_restores_nothing(dir: Dir<'_>) {
    with_linked_device(dir).await;
    restore(dir, restoration()).await;
    let before = dir.port().device(new_primary().address()).await;
    // Every peer has the list; a token of their own must not do.
    let theirs = DeviceRecord { token_hash: [0xee; 32], ..record(new_primary()) };
    let outcome = restore(dir, Restore { device: theirs, ..restoration() }).await;
    assert_eq!(outcome, RestoreOutcome::Conflict { version: 3 });
    assert_eq!(dir.port().device(new_primary().address()).await, before);
    // Nor does one that was stored as any list is.
    dir.port().put_list(new_list(1, 3, 4, &[new_primary()])).await.expect("stored");
    let newest = Restore { expected: 3, version: 4, list: filled(4, 50), ..restoration() };
    let theirs = DeviceRecord { token_hash: [0xee; 32], ..record(new_primary()) };
    let outcome = restore(dir, Restore { device: theirs, ..newest }).await;
    assert_eq!(outcome, RestoreOutcome::Conflict { version: 4 });
    assert_eq!(dir.port().device(new_primary().address()).await, before);
}

pub(super) async fn needs_the_stored_version_and_an_open_account(dir: Dir<'_>) {
    with_linked_device(dir).await;
    let before = view(dir, 1).await;
    for expected in [0, 1, 3] {
        let stale = Restore { expected, version: expected + 5, ..restoration() };
        assert_eq!(restore(dir, stale).await, RestoreOutcome::Conflict { version: 2 });
    }
    let unknown = Restore { account: account(9), ..restoration() };
    assert_eq!(restore(dir, unknown).await, RestoreOutcome::NoAccount);
    assert_eq!(view(dir, 1).await, before);
    dir.port().close(account(1)).await.expect("closes");
    assert_eq!(restore(dir, restoration()).await, RestoreOutcome::Closed);
    assert_eq!(dir.port().device(new_primary().address()).await, Ok(None));
}

pub(super) async fn one_of_many_restores(dir: Dir<'_>) {
    with_linked_device(dir).await;
    let port = dir.port();
    let attempts = (0..16_u8).map(|n| {
        let device = DeviceRecord { token_hash: [n; 32], ..record(life(1, 1, 300 + u32::from(n))) };
        port.restore(Restore { device, list: filled(n, 60), ..restoration() })
    });
    let answers = join_all(attempts).await;
    drop(port);
    let restored = |answer: &Result<_, _>| matches!(answer, Ok(RestoreOutcome::Restored { .. }));
    assert_eq!(answers.iter().filter(|answer| restored(answer)).count(), 1);
    let winner = answers.iter().position(restored).expect("one restored") as u8;
    let stored = dir.port().device(device(1).address()).await.expect("readable").expect("listed");
    assert_eq!(stored.token_hash, [winner; 32]);
    assert_eq!(view(dir, 1).await.list, filled(winner, 60));
}
