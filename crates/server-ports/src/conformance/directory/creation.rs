//! A proved number becomes an account, once.

use super::*;
use futures_util::future::join_all;

pub(super) async fn an_account_is_as_it_was_given(dir: Dir<'_>) {
    assert_eq!(dir.port().account(account(1)).await, Ok(None));
    created(dir, 1).await;
    created(dir, 2).await;
    for _ in 0..2 {
        let account = view(dir, 1).await;
        assert_eq!((account.id, account.key), (super::account(1), [1; 32]));
        assert_eq!((account.phone, account.closed), (Some(phone(1)), false));
        assert_eq!((account.list_version, account.list), (1, filled(1, 300)));
        assert_eq!(account.devices.len(), 1);
        let listed = account.devices[0];
        assert_eq!(listed.device.get(), 1);
        assert_eq!((listed.registration, listed.last_connected), (device(1).registration, NOW));
        assert_eq!(dir.port().device(device(1).address()).await, Ok(Some(record(device(1)))));
        assert_eq!(find(dir, 1).await, Some(super::account(1)));
        assert_eq!(counts(dir, device(1)).await, Some(KeyCounts { one_time: 3, one_time_kem: 3 }));
        dir.reopen().await;
    }
}

pub(super) async fn needs_a_session_that_proved_the_number(dir: Dir<'_>) {
    assert_eq!(create(dir, new_account(1, 1, 1)).await, CreateOutcome::NoSession, "unknown");
    begin(dir, 1, 1).await;
    assert_eq!(create(dir, new_account(1, 1, 1)).await, CreateOutcome::NoSession, "not proved");
    prove(dir, 2, 2).await;
    assert_eq!(create(dir, new_account(1, 2, 1)).await, CreateOutcome::NoSession, "proved another number");
    assert_eq!(dir.port().account(account(1)).await, Ok(None));
    assert_eq!(find(dir, 1).await, None);
    assert_eq!(create(dir, new_account(2, 2, 2)).await, CreateOutcome::Created { closed: None });
    assert_eq!(create(dir, new_account(3, 2, 2)).await, CreateOutcome::NoSession, "consumed");
}

pub(super) async fn a_taken_number_is_refused_and_nothing_changes(dir: Dir<'_>) {
    created(dir, 1).await;
    let before = view(dir, 1).await;
    prove(dir, 2, 1).await;
    for _ in 0..2 {
        assert_eq!(create(dir, new_account(2, 2, 1)).await, CreateOutcome::NumberTaken);
        assert_eq!(view(dir, 1).await, before);
        assert_eq!(dir.port().account(account(2)).await, Ok(None));
        dir.reopen().await;
    }
    let confirmed = NewAccount { replace: true, ..new_account(2, 2, 1) };
    assert!(
        matches!(create(dir, confirmed).await, CreateOutcome::Created { .. }),
        "the refusal did not use up the session"
    );
}

pub(super) async fn a_number_moves_when_asked_to(dir: Dir<'_>) {
    created(dir, 1).await;
    prove(dir, 2, 1).await;
    let moving = NewAccount { replace: true, ..new_account(2, 2, 1) };
    let closed = ClosedAccount { id: account(1), mailboxes: vec![device(1)] };
    assert_eq!(create(dir, moving).await, CreateOutcome::Created { closed: Some(closed) });
    for _ in 0..2 {
        let old = view(dir, 1).await;
        assert_eq!((old.closed, old.phone, old.devices.len(), old.key), (true, None, 0, [1; 32]));
        assert_eq!(counts(dir, device(1)).await, None, "its keys are deleted");
        assert_eq!(dir.port().device(device(1).address()).await, Ok(None), "and its device");
        assert_eq!(find(dir, 1).await, Some(account(2)));
        assert!(!view(dir, 2).await.closed);
        dir.reopen().await;
    }
    prove(dir, 3, 3).await;
    let unneeded = NewAccount { replace: true, ..new_account(3, 3, 3) };
    let outcome = create(dir, unneeded).await;
    assert_eq!(outcome, CreateOutcome::Created { closed: None }, "a free number has nobody to close");
}

pub(super) async fn a_repeat_answers_so_and_replaces_the_token(dir: Dir<'_>) {
    created(dir, 1).await;
    let repeat = |token| {
        let device = DeviceRecord { token_hash: [token; 32], ..record(device(1)) };
        NewAccount { device, ..new_account(1, 1, 1) }
    };
    let answer = CreateOutcome::Repeat { device: DeviceNumber::PRIMARY };
    assert_eq!(create(dir, repeat(0xaa)).await, answer);
    dir.reopen().await;
    assert_eq!(create(dir, NewAccount { replace: true, ..repeat(0xbb) }).await, answer);
    let stored = dir.port().device(device(1).address()).await.expect("readable").expect("listed");
    assert_eq!(stored, DeviceRecord { token_hash: [0xbb; 32], ..record(device(1)) });
    prove(dir, 2, 1).await;
    create(dir, NewAccount { replace: true, ..new_account(2, 2, 1) }).await;
    assert_eq!(create(dir, repeat(0xcc)).await, answer, "whatever came of the number since");
    assert!(view(dir, 1).await.closed, "a repeat opens nothing again");
    assert_eq!(dir.port().device(device(1).address()).await, Ok(None));
    assert_eq!(find(dir, 1).await, Some(account(2)));
}

pub(super) async fn an_id_belongs_to_one_session(dir: Dir<'_>) {
    created(dir, 1).await;
    prove(dir, 2, 2).await;
    let same_id = || NewAccount { id: account(1), ..new_account(2, 2, 2) };
    assert_eq!(create(dir, same_id()).await, CreateOutcome::AccountExists);
    dir.port().close(account(1)).await.expect("an account closes");
    assert_eq!(create(dir, same_id()).await, CreateOutcome::AccountExists, "a closed id stays known");
    assert_eq!(find(dir, 2).await, None);
    assert_eq!(create(dir, new_account(2, 2, 2)).await, CreateOutcome::Created { closed: None });
}

pub(super) async fn one_of_many_gets_the_number(dir: Dir<'_>) {
    prove(dir, 1, 1).await;
    let port = dir.port();
    let answers = join_all((1..=8).map(|n| port.create(new_account(n, 1, 1)))).await;
    drop(port);
    let created = |answer: &Result<CreateOutcome, _>| *answer == Ok(CreateOutcome::Created { closed: None });
    assert_eq!(answers.iter().filter(|answer| created(answer)).count(), 1);
    let late = answers.iter().filter(|answer| **answer == Ok(CreateOutcome::NoSession));
    assert_eq!(late.count(), 7, "a session makes one account");
    let winner = answers.iter().position(created).expect("one was created") as u32 + 1;
    assert_eq!(find(dir, 1).await, Some(account(winner)));
}
