//! Codes prove numbers, five tries each.

use super::*;
use futures_util::future::join_all;

pub(super) async fn the_right_code_proves_the_number(dir: Dir<'_>) {
    assert_eq!(attempt(dir, 1, CODE).await, Attempt::Unknown);
    begin(dir, 1, 1).await;
    dir.reopen().await;
    assert_eq!(attempt(dir, 1, WRONG_CODE).await, wrong(1, limits::CODE_TRIES_MAX - 1));
    for _ in 0..10 {
        assert_eq!(attempt(dir, 1, CODE).await, Attempt::Proved(phone(1)), "it may be proved again");
    }
    assert_eq!(attempt(dir, 1, WRONG_CODE).await, wrong(1, limits::CODE_TRIES_MAX - 2));
    dir.reopen().await;
    let outcome = create(dir, new_account(1, 1, 1)).await;
    assert_eq!(outcome, CreateOutcome::Created { closed: None }, "a wrong code later unproves nothing");
    assert_eq!(attempt(dir, 1, CODE).await, Attempt::Unknown, "the account consumed the session");
}

pub(super) async fn tries_are_counted_and_end(dir: Dir<'_>) {
    begin(dir, 1, 1).await;
    begin(dir, 2, 2).await;
    for left in (0..limits::CODE_TRIES_MAX).rev() {
        assert_eq!(attempt(dir, 1, WRONG_CODE).await, wrong(1, left));
        dir.reopen().await;
    }
    assert_eq!(attempt(dir, 1, WRONG_CODE).await, Attempt::Exhausted);
    assert_eq!(attempt(dir, 1, CODE).await, Attempt::Exhausted, "the right code comes too late");
    assert_eq!(create(dir, new_account(1, 1, 1)).await, CreateOutcome::NoSession);
    assert_eq!(attempt(dir, 2, CODE).await, Attempt::Proved(phone(2)), "each session has its own tries");
}

pub(super) async fn parallel_tries_are_no_more_than_allowed(dir: Dir<'_>) {
    begin(dir, 1, 1).await;
    let port = dir.port();
    let tries = (0..100).map(|_| port.attempt(session_id(1), WRONG_CODE, NOW));
    let answers: Vec<_> = join_all(tries).await.into_iter().map(|answer| answer.expect("answered")).collect();
    drop(port);
    let mut left: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Attempt::Wrong { left, .. } => Some(*left),
            _ => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..limits::CODE_TRIES_MAX).collect::<Vec<_>>(), "five were compared");
    assert_eq!(answers.iter().filter(|answer| **answer == Attempt::Exhausted).count(), 95);
}

pub(super) async fn a_later_session_voids_every_earlier_one(dir: Dir<'_>) {
    begin(dir, 1, 1).await;
    begin(dir, 2, 2).await;
    prove(dir, 3, 1).await;
    assert_eq!(attempt(dir, 1, CODE).await, Attempt::Unknown, "its code is void");
    assert_eq!(attempt(dir, 2, CODE).await, Attempt::Proved(phone(2)), "another number's is not");
    begin(dir, 4, 1).await;
    dir.reopen().await;
    assert_eq!(attempt(dir, 3, CODE).await, Attempt::Unknown, "a code that proved the number is void too");
    assert_eq!(create(dir, new_account(1, 3, 1)).await, CreateOutcome::NoSession);
    assert_eq!(attempt(dir, 4, CODE).await, Attempt::Proved(phone(1)));
    assert_eq!(create(dir, new_account(1, 4, 1)).await, CreateOutcome::Created { closed: None });
}

pub(super) async fn sessions_end(dir: Dir<'_>) {
    prove(dir, 1, 1).await;
    begin(dir, 2, 2).await;
    let end = NOW + limits::CODE_LIFE;
    let at =
        async |dir: Dir<'_>, n, now| dir.port().attempt(session_id(n), CODE, now).await.expect("answered");
    assert_eq!(at(dir, 2, end).await, Attempt::Expired);
    assert_eq!(at(dir, 1, end).await, Attempt::Expired, "a proved session ends too");
    let late = NewAccount { now: end, ..new_account(1, 1, 1) };
    assert_eq!(create(dir, late).await, CreateOutcome::NoSession);
    assert_eq!(dir.port().expire_registrations(end - Millis(1)).await, Ok(0));
    assert_eq!(at(dir, 2, end - Millis(1)).await, Attempt::Proved(phone(2)), "not a moment earlier");
    begin(dir, 3, 3).await;
    assert_eq!(dir.port().expire_registrations(end + Millis(1)).await, Ok(3));
    dir.reopen().await;
    assert_eq!(at(dir, 2, NOW).await, Attempt::Unknown);
    assert_eq!(dir.port().expire_registrations(end + Millis(1)).await, Ok(0));
}

/// A wrong code for the number that the session is for.
fn wrong(number: u32, left: u32) -> Attempt {
    Attempt::Wrong { phone: phone(number), left }
}
