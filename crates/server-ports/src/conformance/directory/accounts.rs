//! Accounts close, are found, and connect.

use super::*;
use futures_util::future::join_all;

pub(super) async fn closing_frees_the_number_and_deletes_devices(dir: Dir<'_>) {
    created(dir, 1).await;
    created(dir, 2).await;
    let closed = ClosedAccount { id: account(1), mailboxes: vec![device(1)] };
    assert_eq!(dir.port().close(account(1)).await, Ok(Some(closed)));
    for _ in 0..2 {
        assert_eq!(dir.port().close(account(1)).await, Ok(None), "a closed account is left as it is");
        assert_eq!(dir.port().close(account(9)).await, Ok(None), "so is an unknown one");
        let account = view(dir, 1).await;
        assert_eq!((account.closed, account.phone, account.key), (true, None, [1; 32]));
        assert_eq!((account.devices.len(), account.list.len()), (0, 0));
        assert_eq!(counts(dir, device(1)).await, None);
        assert_eq!(take(dir, taking(1, 2)).await, None);
        assert_eq!(dir.port().put_keys(device(1), keys(1..2)).await, Ok(None));
        assert_eq!(dir.port().connect(device(1), 5, NOW).await, Ok(ConnectOutcome::NoDevice));
        let list = dir.port().put_list(new_list(1, 1, 2, &[device(1)])).await;
        assert_eq!(list, Ok(PutListOutcome::NoAccount));
        assert_eq!(find(dir, 1).await, None);
        assert!(!view(dir, 2).await.closed, "another account stays");
        assert_eq!(counts(dir, device(2)).await, Some(KeyCounts { one_time: 3, one_time_kem: 3 }));
        dir.reopen().await;
    }
    prove(dir, 3, 1).await;
    assert_eq!(create(dir, new_account(3, 3, 1)).await, CreateOutcome::Created { closed: None });
}

pub(super) async fn many_are_read_as_one_by_one(dir: Dir<'_>) {
    for n in 1..6 {
        created(dir, n).await;
    }
    dir.port().close(account(4)).await.expect("an account closes");
    // Twice the same, an unknown one in between, and what was read before beside what was not.
    let ids = [5, 9, 1, 4, 1, 2].map(account);
    for _ in 0..2 {
        view(dir, 2).await;
        let many = dir.port().accounts(&ids).await.expect("readable");
        let mut singly = Vec::new();
        for id in ids {
            singly.push(dir.port().account(id).await.expect("readable"));
        }
        assert_eq!(many, singly, "in the order asked");
        assert_eq!(many.iter().flatten().count(), 5);
        dir.reopen().await;
    }
    assert_eq!(dir.port().accounts(&[]).await, Ok(vec![]));
}

pub(super) async fn many_are_read_as_they_are_now(dir: Dir<'_>) {
    created(dir, 1).await;
    created(dir, 2).await;
    let versions = async |dir: Dir<'_>| {
        let many = dir.port().accounts(&[account(1), account(2)]).await.expect("readable");
        many.into_iter().map(|account| account.map(|account| account.list_version)).collect::<Vec<_>>()
    };
    for version in 2..20 {
        assert_eq!(versions(dir).await, [Some(1), Some(version - 1)]);
        dir.port().put_list(new_list(2, version - 1, version, &[device(2)])).await.expect("answered");
        assert_eq!(versions(dir).await, [Some(1), Some(version)], "whatever is kept in memory");
    }
}

pub(super) async fn numbers_are_found_in_the_order_asked(dir: Dir<'_>) {
    created(dir, 1).await;
    created(dir, 2).await;
    let asked = [phone(2), phone(3), phone(1), phone(2)];
    let found = vec![Some(account(2)), None, Some(account(1)), Some(account(2))];
    assert_eq!(dir.port().find(&asked).await, Ok(found));
    assert_eq!(dir.port().find(&[]).await, Ok(vec![]));
    let many: Vec<_> = (0..limits::LOOKUP_NUMBERS_MAX as u32).map(phone).collect();
    let found = dir.port().find(&many).await.expect("readable");
    assert_eq!(found.len(), many.len());
    assert_eq!(found.iter().flatten().count(), 2);
}

pub(super) async fn connection_numbers_only_grow(dir: Dir<'_>) {
    created(dir, 1).await;
    let connect = async |dir: Dir<'_>, device, number, now| {
        dir.port().connect(device, number, now).await.expect("answered")
    };
    let stored = |last_connected| ConnectOutcome::Stored { last_connected };
    assert_eq!(connect(dir, device(1), 0, NOW).await, ConnectOutcome::NotGreater);
    assert_eq!(connect(dir, device(1), 5, NOW + Millis(1)).await, stored(NOW));
    dir.reopen().await;
    for number in [0, 4, 5] {
        assert_eq!(connect(dir, device(1), number, NOW + Millis(9)).await, ConnectOutcome::NotGreater);
    }
    assert_eq!(connect(dir, device(1), 900, NOW + Millis(2)).await, stored(NOW + Millis(1)));
    let largest = u64::MAX >> 1;
    assert_eq!(connect(dir, device(1), largest, NOW + Millis(3)).await, stored(NOW + Millis(2)));
    for unknown in [device(2), life(1, 2, 100), life(1, 1, 101)] {
        assert_eq!(connect(dir, unknown, 6, NOW).await, ConnectOutcome::NoDevice);
    }
    for _ in 0..2 {
        let stored = dir.port().device(device(1).address()).await.expect("readable").expect("listed");
        assert_eq!((stored.connection_number, stored.last_connected), (largest, NOW + Millis(3)));
        assert_eq!(view(dir, 1).await.devices[0].last_connected, NOW + Millis(3));
        dir.reopen().await;
    }
}

pub(super) async fn one_of_many_connections_gets_a_number(dir: Dir<'_>) {
    created(dir, 1).await;
    let port = dir.port();
    let answers = join_all((0..16).map(|_| port.connect(device(1), 7, NOW))).await;
    drop(port);
    let stored = answers.iter().filter(|answer| matches!(answer, Ok(ConnectOutcome::Stored { .. })));
    assert_eq!(stored.count(), 1, "a connection number opens one connection");
}
