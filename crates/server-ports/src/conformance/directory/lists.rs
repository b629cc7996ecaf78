//! Device lists: compare and set, and what becomes of devices that leave.

use super::*;
use crate::StoreError;
use futures_util::future::join_all;

async fn put(
    dir: Dir<'_>,
    expected: u64,
    version: u64,
    devices: &[MailboxId],
) -> Result<PutListOutcome, StoreError> {
    dir.port().put_list(new_list(1, expected, version, devices)).await
}

pub(super) async fn a_list_replaces_the_version_it_expects(dir: Dir<'_>) {
    created(dir, 1).await;
    let second = life(1, 2, 7);
    let stored = PutListOutcome::Stored { removed: vec![], added: vec![second] };
    assert_eq!(put(dir, 1, 5, &[device(1), second]).await, Ok(stored));
    for _ in 0..2 {
        for expected in [0, 1, 4, 6] {
            let conflict = PutListOutcome::Conflict { version: 5 };
            assert_eq!(put(dir, expected, 6, &[device(1)]).await, Ok(conflict));
        }
        let account = view(dir, 1).await;
        assert_eq!((account.list_version, account.list), (5, filled(5, 50)));
        let listed: Vec<_> = account.devices.iter().map(|device| device.device.get()).collect();
        assert_eq!(listed, [1, 2], "by ascending number");
        assert_eq!(dir.port().device(second.address()).await, Ok(Some(record(second))));
        dir.reopen().await;
    }
    let unknown = dir.port().put_list(new_list(9, 0, 1, &[])).await;
    assert_eq!(unknown, Ok(PutListOutcome::NoAccount));
}

pub(super) async fn dropped_and_replaced_devices_lose_their_keys(dir: Dir<'_>) {
    created(dir, 1).await;
    let (second, third, third_again) = (life(1, 2, 20), life(1, 3, 30), life(1, 3, 31));
    put(dir, 1, 2, &[device(1), second, third]).await.expect("stored");
    for mailbox in [second, third] {
        assert_eq!(counts(dir, mailbox).await, Some(KeyCounts::default()));
        dir.port().put_keys(mailbox, keys(1..9)).await.expect("stored");
    }
    let outcome = put(dir, 2, 3, &[third_again, device(1)]).await;
    let stored = PutListOutcome::Stored { removed: vec![second, third], added: vec![third_again] };
    assert_eq!(outcome, Ok(stored));
    for _ in 0..2 {
        assert_eq!(counts(dir, second).await, None);
        assert_eq!(counts(dir, third).await, None);
        assert_eq!(counts(dir, third_again).await, Some(KeyCounts::default()), "a new life has no keys yet");
        assert_eq!(counts(dir, device(1)).await, Some(KeyCounts { one_time: 3, one_time_kem: 3 }));
        assert_eq!(dir.port().device(second.address()).await, Ok(None));
        assert_eq!(dir.port().device(third.address()).await, Ok(Some(record(third_again))));
        assert_eq!(dir.port().connect(third, 9, NOW).await, Ok(ConnectOutcome::NoDevice));
        dir.reopen().await;
    }
    let all = dir.port().close(account(1)).await.expect("closes").expect("was open");
    assert_eq!(all.mailboxes, [device(1), third_again], "every listed mailbox is to be emptied");
}

pub(super) async fn a_device_that_stays_keeps_what_it_has(dir: Dir<'_>) {
    created(dir, 1).await;
    dir.port().connect(device(1), 42, NOW + Millis(7)).await.expect("answered");
    let listed = DeviceRecord { device_key: [0xdd; 32], ..record(device(1)) };
    let stale = DeviceRecord { token_hash: [0; 32], last_connected: NOW - Millis(1), ..listed.clone() };
    let list = NewList { devices: vec![stale], ..new_list(1, 1, 2, &[]) };
    let outcome = dir.port().put_list(list).await;
    assert_eq!(outcome, Ok(PutListOutcome::Stored { removed: vec![], added: vec![] }));
    let expected = DeviceRecord { connection_number: 42, last_connected: NOW + Millis(7), ..listed };
    assert_eq!(dir.port().device(device(1).address()).await, Ok(Some(expected)));
}

pub(super) async fn one_of_many_lists_is_stored(dir: Dir<'_>) {
    created(dir, 1).await;
    let port = dir.port();
    let list = |n| NewList { list: filled(n, 50), ..new_list(1, 1, 2, &[device(1)]) };
    let lists = (2..10).map(|n| port.put_list(list(n)));
    let answers = join_all(lists).await;
    drop(port);
    let is_stored = |answer: &Result<_, _>| matches!(answer, Ok(PutListOutcome::Stored { .. }));
    assert_eq!(answers.iter().filter(|answer| is_stored(answer)).count(), 1);
    let winner = answers.iter().position(is_stored).expect("one was stored") as u8 + 2;
    assert_eq!(view(dir, 1).await.list, filled(winner, 50));
}
