//! Devices without a record that may still have something elsewhere.

use super::*;
use crate::directory::DEPARTED_REMEMBERED;
use types::{AccountId, Millis, Timestamp};

async fn retiring(dir: Dir<'_>, of: Option<AccountId>, limit: usize) -> Vec<MailboxId> {
    let mut devices = dir.port().retiring(of, limit).await.expect("readable");
    devices.sort();
    devices
}

async fn departed(dir: Dir<'_>, since: Timestamp) -> Vec<MailboxId> {
    let mut devices = dir.port().departed(since).await.expect("readable");
    devices.sort();
    devices
}

async fn retired(dir: Dir<'_>, devices: &[MailboxId], now: Timestamp) {
    dir.port().retired(devices, now).await.expect("stored");
}

async fn put(dir: Dir<'_>, n: u32, version: u64, devices: &[MailboxId]) {
    let outcome = dir.port().put_list(new_list(n, version - 1, version, devices)).await;
    assert!(matches!(outcome, Ok(PutListOutcome::Stored { .. })), "{outcome:?}");
}

pub(super) async fn who_lost_its_record_is_retiring_until_it_is_retired(dir: Dir<'_>) {
    created(dir, 1).await;
    created(dir, 2).await;
    let (second, third, other) = (life(1, 2, 7), life(1, 3, 7), life(2, 2, 9));
    put(dir, 1, 2, &[device(1), second, third]).await;
    put(dir, 2, 2, &[device(2), other]).await;
    assert_eq!(retiring(dir, None, 10).await, []);
    put(dir, 1, 3, &[device(1)]).await;
    put(dir, 2, 3, &[device(2)]).await;
    for _ in 0..2 {
        let mut all = [second, third, other];
        all.sort();
        assert_eq!(retiring(dir, None, 10).await, all);
        assert_eq!(retiring(dir, Some(account(1)), 10).await, [second, third]);
        assert_eq!(retiring(dir, None, 2).await.len(), 2, "no more than asked for");
        assert_eq!(retiring(dir, Some(account(3)), 10).await, []);
        dir.reopen().await;
    }
    dir.port().retired(&[second, device(1), life(9, 1, 1)], NOW).await.expect("stored");
    for _ in 0..2 {
        assert_eq!(retiring(dir, Some(account(1)), 10).await, [third]);
        assert_eq!(retiring(dir, Some(account(2)), 10).await, [other]);
        dir.reopen().await;
    }
}

pub(super) async fn whoever_takes_a_record_away_makes_its_device_retire(dir: Dir<'_>) {
    for n in 1..=3 {
        created(dir, n).await;
    }
    let again = life(1, 1, 200);
    let restore = Restore {
        account: account(1),
        expected: 1,
        version: 2,
        list: filled(2, 60),
        device: record(again),
        keys: keys(50..60),
    };
    dir.port().restore(restore).await.expect("answered");
    assert_eq!(retiring(dir, None, 10).await, [device(1)], "a restoration");
    dir.port().close(account(2)).await.expect("answered");
    assert_eq!(retiring(dir, Some(account(2)), 10).await, [device(2)], "a closed account");
    prove(dir, 4, 3).await;
    let moved = create(dir, NewAccount { replace: true, ..new_account(4, 4, 3) }).await;
    assert!(matches!(moved, CreateOutcome::Created { closed: Some(_) }), "{moved:?}");
    assert_eq!(retiring(dir, Some(account(3)), 10).await, [device(3)], "a number that moved");
}

pub(super) async fn a_device_that_has_a_record_is_not_retiring(dir: Dir<'_>) {
    created(dir, 1).await;
    let second = life(1, 2, 7);
    put(dir, 1, 2, &[device(1), second]).await;
    put(dir, 1, 3, &[device(1)]).await;
    assert_eq!(retiring(dir, None, 10).await, [second]);
    put(dir, 1, 4, &[device(1), life(1, 2, 8)]).await;
    assert_eq!(retiring(dir, None, 10).await, [second], "another life of its number is another device");
    put(dir, 1, 5, &[device(1), second]).await;
    assert_eq!(retiring(dir, None, 10).await, [life(1, 2, 8)]);
}

pub(super) async fn who_departed_is_remembered_for_a_while(dir: Dir<'_>) {
    created(dir, 1).await;
    let (second, third) = (life(1, 2, 7), life(1, 3, 7));
    put(dir, 1, 2, &[device(1), second, third]).await;
    assert_eq!(departed(dir, NOW).await, []);
    put(dir, 1, 3, &[device(1)]).await;
    assert_eq!(departed(dir, NOW).await, [second, third], "whoever retires has departed, whenever that was");
    retired(dir, &[second, device(1)], NOW).await;
    retired(dir, &[second], NOW + Millis::from_secs(9)).await;
    for _ in 0..2 {
        assert_eq!(retiring(dir, None, 10).await, [third]);
        assert_eq!(departed(dir, NOW).await, [second, third]);
        assert_eq!(departed(dir, NOW + Millis(1)).await, [third], "retired once, and then no more");
        dir.reopen().await;
    }
    retired(dir, &[third], NOW + DEPARTED_REMEMBERED).await;
    assert_eq!(departed(dir, NOW).await, [second, third]);
    put(dir, 1, 4, &[device(1), second]).await;
    assert_eq!(departed(dir, NOW).await, [third], "who has a record again has not departed");
}
