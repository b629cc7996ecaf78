//! Links: one way forward, one inviter, one device.

use super::*;
use bytes::Bytes;
use futures_util::future::join_all;
use types::{LinkId, Timestamp};

const CODE_ENDS: Timestamp = Timestamp::from_millis(NOW.as_millis() + limits::LINK_CODE_LIFE.0);
const LINK_ENDS: Timestamp = Timestamp::from_millis(NOW.as_millis() + limits::LINK_LIFE_INVITED.0);
const KEPT_UNTIL: Timestamp = Timestamp::from_millis(NOW.as_millis() + 86_400_000);
const TOKEN: [u8; 32] = [0x70; 32];

fn link_id(n: u8) -> LinkId {
    LinkId::from_bytes([n; 16])
}

fn offer(n: u8) -> NewLink {
    NewLink {
        id: link_id(n),
        token_hash: TOKEN,
        offer: filled(n, 150),
        keys: keys(20..30),
        expires_at: CODE_ENDS,
    }
}

/// Account `account` takes link `n`.
fn invitation(n: u8, account: u32) -> InviteLink {
    InviteLink {
        id: link_id(n),
        account: super::account(account),
        invitation: filled(account as u8, 120),
        expires_at: LINK_ENDS,
        now: NOW,
    }
}

fn answer(n: u8) -> AnswerLink {
    AnswerLink { id: link_id(n), token_hash: TOKEN, answer: filled(n, 90), now: NOW }
}

/// The device that a link of account 1 makes.
fn new_device() -> MailboxId {
    life(1, 2, 40)
}

/// The list of account 1 that completes link `n`.
fn completion(n: u8) -> NewList {
    let complete = CompleteLink {
        id: link_id(n),
        device: new_device(),
        completion: filled(n, 2_000),
        expires_at: KEPT_UNTIL,
        now: NOW,
    };
    NewList { link: Some(complete), ..new_list(1, 1, 2, &[device(1), new_device()]) }
}

async fn create(dir: Dir<'_>, link: NewLink) -> CreateLinkOutcome {
    dir.port().create_link(link).await.expect("answered")
}

async fn invite(dir: Dir<'_>, invite: InviteLink) -> LinkOutcome {
    dir.port().invite(invite).await.expect("answered")
}

async fn give_answer(dir: Dir<'_>, answer: AnswerLink) -> LinkOutcome {
    dir.port().answer_link(answer).await.expect("answered")
}

async fn refuse(dir: Dir<'_>, n: u8, account: u32, now: Timestamp) -> LinkOutcome {
    dir.port().refuse_link(link_id(n), super::account(account), now).await.expect("answered")
}

async fn complete(dir: Dir<'_>, list: NewList) -> PutListOutcome {
    dir.port().put_list(list).await.expect("answered")
}

async fn link(dir: Dir<'_>, n: u8) -> Link {
    dir.port().link(link_id(n)).await.expect("readable").expect("the link is there")
}

/// Link `n` came as far as account 1's invitation and the device's answer.
async fn answered(dir: Dir<'_>, n: u8) {
    assert_eq!(create(dir, offer(n)).await, CreateLinkOutcome::Created);
    assert_eq!(invite(dir, invitation(n, 1)).await, LinkOutcome::Done);
    assert_eq!(give_answer(dir, answer(n)).await, LinkOutcome::Done);
}

pub(super) async fn a_link_goes_from_offer_to_device(dir: Dir<'_>) {
    super::created(dir, 1).await;
    assert_eq!(dir.port().link(link_id(1)).await, Ok(None));
    let mut expected = Link {
        token_hash: TOKEN,
        offer: filled(1, 150),
        phase: LinkState::Waiting,
        inviter: None,
        invitation: None,
        answer: None,
        completion: None,
        device: None,
        expires_at: CODE_ENDS,
    };
    assert_eq!(create(dir, offer(1)).await, CreateLinkOutcome::Created);
    dir.reopen().await;
    assert_eq!(link(dir, 1).await, expected);
    assert_eq!(invite(dir, invitation(1, 1)).await, LinkOutcome::Done);
    dir.reopen().await;
    expected = Link {
        phase: LinkState::Invited,
        inviter: Some(account(1)),
        invitation: Some(filled(1, 120)),
        expires_at: LINK_ENDS,
        ..expected
    };
    assert_eq!(link(dir, 1).await, expected);
    assert_eq!(give_answer(dir, answer(1)).await, LinkOutcome::Done);
    dir.reopen().await;
    expected = Link { phase: LinkState::Answered, answer: Some(filled(1, 90)), ..expected };
    assert_eq!(link(dir, 1).await, expected);
    let stored = PutListOutcome::Stored { removed: vec![], added: vec![new_device()] };
    assert_eq!(complete(dir, completion(1)).await, stored);
    expected = Link {
        phase: LinkState::Linked,
        completion: Some(filled(1, 2_000)),
        device: Some(new_device()),
        expires_at: KEPT_UNTIL,
        ..expected
    };
    for _ in 0..2 {
        assert_eq!(link(dir, 1).await, expected);
        let device = dir.port().device(new_device().address()).await;
        let with_token = DeviceRecord { token_hash: TOKEN, ..record(new_device()) };
        assert_eq!(device, Ok(Some(with_token)), "it connects with the token of the link");
        let bundle = take(dir, TakeKeys { target: new_device(), ..taking(1, 2) }).await.expect("has keys");
        assert_eq!(bundle.bundle.signed_prekey, signed_prekey(7), "with the keys of the link");
        dir.reopen().await;
    }
    assert_eq!(counts(dir, new_device()).await, Some(KeyCounts { one_time: 9, one_time_kem: 9 }));
}

pub(super) async fn the_same_offer_again_is_the_same_link(dir: Dir<'_>) {
    create(dir, offer(1)).await;
    let later = NewLink { expires_at: CODE_ENDS + Millis(9), ..offer(1) };
    let repeat = CreateLinkOutcome::Repeat { expires_at: CODE_ENDS };
    assert_eq!(create(dir, later.clone()).await, repeat, "a code is not prolonged by showing it again");
    invite(dir, invitation(1, 1)).await;
    dir.reopen().await;
    assert_eq!(create(dir, later).await, CreateLinkOutcome::Repeat { expires_at: LINK_ENDS });
    assert_eq!(link(dir, 1).await.phase, LinkState::Invited, "and goes on where it was");
    for other in [
        NewLink { token_hash: [9; 32], ..offer(1) },
        NewLink { offer: Bytes::from_static(b"other"), ..offer(1) },
        NewLink { keys: keys(20..31), ..offer(1) },
    ] {
        assert_eq!(create(dir, other).await, CreateLinkOutcome::Exists);
    }
    assert_eq!(link(dir, 1).await.offer, filled(1, 150));
}

pub(super) async fn a_link_has_one_inviter(dir: Dir<'_>) {
    create(dir, offer(1)).await;
    assert_eq!(invite(dir, invitation(1, 1)).await, LinkOutcome::Done);
    for _ in 0..2 {
        assert_eq!(invite(dir, invitation(1, 2)).await, LinkOutcome::Unavailable, "somebody else");
        let other_words = InviteLink { invitation: filled(7, 7), ..invitation(1, 1) };
        assert_eq!(invite(dir, other_words).await, LinkOutcome::Unavailable, "with other words");
        let stored = link(dir, 1).await;
        assert_eq!((stored.inviter, stored.invitation), (Some(account(1)), Some(filled(1, 120))));
        dir.reopen().await;
    }
    assert_eq!(invite(dir, invitation(9, 1)).await, LinkOutcome::Unavailable, "an unknown link");
}

pub(super) async fn one_of_many_inviters_has_the_link(dir: Dir<'_>) {
    create(dir, offer(1)).await;
    let port = dir.port();
    let answers = join_all((1..=16).map(|account| port.invite(invitation(1, account)))).await;
    drop(port);
    let done = answers.iter().filter(|answer| **answer == Ok(LinkOutcome::Done)).count();
    let unavailable = answers.iter().filter(|answer| **answer == Ok(LinkOutcome::Unavailable)).count();
    assert_eq!((done, unavailable), (1, 15), "of two inviters one has the link");
    let winner = answers.iter().position(|answer| *answer == Ok(LinkOutcome::Done)).expect("one") as u32 + 1;
    let stored = link(dir, 1).await;
    assert_eq!((stored.inviter, stored.invitation), (Some(account(winner)), Some(filled(winner as u8, 120))));
}

pub(super) async fn a_step_again_is_told_so(dir: Dir<'_>) {
    super::created(dir, 1).await;
    answered(dir, 1).await;
    for phase in [LinkState::Answered, LinkState::Linked] {
        assert_eq!(invite(dir, invitation(1, 1)).await, LinkOutcome::Repeat);
        assert_eq!(give_answer(dir, answer(1)).await, LinkOutcome::Repeat);
        let stored = link(dir, 1).await;
        assert_eq!(stored.phase, phase, "a repeat leads nothing back");
        if phase == LinkState::Answered {
            assert_eq!(stored.expires_at, LINK_ENDS, "or on");
            complete(dir, completion(1)).await;
        }
        dir.reopen().await;
    }
    create(dir, offer(2)).await;
    assert_eq!(refuse(dir, 2, 1, NOW).await, LinkOutcome::Done);
    assert_eq!(refuse(dir, 2, 1, NOW).await, LinkOutcome::Repeat);
}

pub(super) async fn steps_out_of_order_are_refused(dir: Dir<'_>) {
    super::created(dir, 1).await;
    create(dir, offer(1)).await;
    assert_eq!(give_answer(dir, answer(1)).await, LinkOutcome::Unavailable, "nobody has invited");
    assert_eq!(complete(dir, completion(1)).await, PutListOutcome::LinkUnavailable);
    invite(dir, invitation(1, 1)).await;
    assert_eq!(complete(dir, completion(1)).await, PutListOutcome::LinkUnavailable, "nobody has answered");
    give_answer(dir, answer(1)).await;
    let other_words = AnswerLink { answer: filled(9, 9), ..answer(1) };
    assert_eq!(give_answer(dir, other_words).await, LinkOutcome::Unavailable, "it was answered");
    assert_eq!(link(dir, 1).await.answer, Some(filled(1, 90)));
    assert_eq!(view(dir, 1).await.list_version, 1);
    complete(dir, completion(1)).await;
    assert_eq!(refuse(dir, 1, 1, NOW).await, LinkOutcome::Unavailable, "it is too late to refuse");
    assert_eq!(link(dir, 1).await.phase, LinkState::Linked);
}

pub(super) async fn only_the_right_token_answers(dir: Dir<'_>) {
    create(dir, offer(1)).await;
    invite(dir, invitation(1, 1)).await;
    let wrong = AnswerLink { token_hash: [1; 32], ..answer(1) };
    assert_eq!(give_answer(dir, wrong).await, LinkOutcome::Unavailable);
    assert_eq!(link(dir, 1).await.answer, None);
    assert_eq!(give_answer(dir, answer(1)).await, LinkOutcome::Done);
}

pub(super) async fn time_ends_a_link(dir: Dir<'_>) {
    super::created(dir, 1).await;
    for n in 1..5 {
        create(dir, offer(n)).await;
    }
    let last = CODE_ENDS - Millis(1);
    assert_eq!(link(dir, 1).await.state(last), LinkState::Waiting);
    assert_eq!(link(dir, 1).await.state(CODE_ENDS), LinkState::Expired);
    let too_late = InviteLink { now: CODE_ENDS, ..invitation(1, 1) };
    assert_eq!(invite(dir, too_late).await, LinkOutcome::Unavailable);
    assert_eq!(refuse(dir, 1, 1, CODE_ENDS).await, LinkOutcome::Unavailable);
    for n in 2..5 {
        assert_eq!(invite(dir, InviteLink { now: last, ..invitation(n, 1) }).await, LinkOutcome::Done);
    }
    let too_late = AnswerLink { now: LINK_ENDS, ..answer(2) };
    assert_eq!(give_answer(dir, too_late).await, LinkOutcome::Unavailable);
    let late_repeat = InviteLink { now: LINK_ENDS, ..invitation(2, 1) };
    assert_eq!(invite(dir, late_repeat).await, LinkOutcome::Unavailable, "a dead link is not taken again");
    let last = LINK_ENDS - Millis(1);
    for n in 3..5 {
        assert_eq!(give_answer(dir, AnswerLink { now: last, ..answer(n) }).await, LinkOutcome::Done);
    }
    let at = |n, now| {
        let list = completion(n);
        NewList { link: list.link.clone().map(|link| CompleteLink { now, ..link }), ..list }
    };
    assert_eq!(complete(dir, at(3, LINK_ENDS)).await, PutListOutcome::LinkUnavailable);
    assert!(matches!(complete(dir, at(4, last)).await, PutListOutcome::Stored { .. }));
    assert_eq!(link(dir, 4).await.state(KEPT_UNTIL + Millis(1)), LinkState::Linked, "a fact has no end");
}

pub(super) async fn refusing_ends_a_link(dir: Dir<'_>) {
    super::created(dir, 1).await;
    for n in 1..4 {
        create(dir, offer(n)).await;
    }
    assert_eq!(refuse(dir, 1, 2, NOW).await, LinkOutcome::Done, "anybody, while nobody has invited");
    assert_eq!(invite(dir, invitation(1, 1)).await, LinkOutcome::Unavailable);
    for n in 2..4 {
        invite(dir, invitation(n, 1)).await;
        assert_eq!(refuse(dir, n, 2, NOW).await, LinkOutcome::Unavailable, "then only the inviter");
    }
    give_answer(dir, answer(3)).await;
    for n in 2..4 {
        assert_eq!(refuse(dir, n, 1, NOW).await, LinkOutcome::Done);
        dir.reopen().await;
        assert_eq!(link(dir, n).await.state(NOW), LinkState::Refused);
        assert_eq!(give_answer(dir, answer(n)).await, LinkOutcome::Unavailable);
        assert_eq!(invite(dir, invitation(n, 1)).await, LinkOutcome::Unavailable);
        assert_eq!(complete(dir, completion(n)).await, PutListOutcome::LinkUnavailable);
    }
    assert_eq!(refuse(dir, 9, 1, NOW).await, LinkOutcome::Unavailable, "an unknown link");
    assert_eq!(view(dir, 1).await.list_version, 1);
}

pub(super) async fn ended_links_are_deleted(dir: Dir<'_>) {
    super::created(dir, 1).await;
    create(dir, offer(1)).await;
    create(dir, offer(2)).await;
    invite(dir, invitation(2, 1)).await;
    answered(dir, 3).await;
    complete(dir, completion(3)).await;
    assert_eq!(dir.port().expire_links(CODE_ENDS - Millis(1)).await, Ok(0));
    assert_eq!(dir.port().expire_links(CODE_ENDS).await, Ok(1));
    assert_eq!(dir.port().link(link_id(1)).await, Ok(None));
    assert_eq!(dir.port().expire_links(LINK_ENDS).await, Ok(1));
    assert_eq!(link(dir, 3).await.phase, LinkState::Linked);
    assert_eq!(dir.port().expire_links(KEPT_UNTIL).await, Ok(1));
    dir.reopen().await;
    for n in 1..4 {
        assert_eq!(dir.port().link(link_id(n)).await, Ok(None));
    }
    let device = dir.port().device(new_device().address()).await.expect("readable");
    assert!(device.is_some(), "the device stays when its link is forgotten");
}

pub(super) async fn a_link_is_completed_with_its_list_or_not_at_all(dir: Dir<'_>) {
    super::created(dir, 1).await;
    answered(dir, 1).await;
    let before = (view(dir, 1).await, link(dir, 1).await);
    let refused = [
        (NewList { expected: 5, ..completion(1) }, PutListOutcome::Conflict { version: 1 }),
        (NewList { account: account(9), ..completion(1) }, PutListOutcome::NoAccount),
        // The list does not add the link's device.
        (NewList { devices: vec![record(device(1))], ..completion(1) }, PutListOutcome::LinkUnavailable),
        (completion(7), PutListOutcome::LinkUnavailable),
    ];
    for (list, outcome) in refused {
        assert_eq!(complete(dir, list).await, outcome);
        dir.reopen().await;
        assert_eq!((view(dir, 1).await, link(dir, 1).await), before, "nothing of it is stored");
        assert_eq!(dir.port().device(new_device().address()).await, Ok(None));
    }
    let for_present = CompleteLink { device: device(1), ..completion(1).link.expect("has a link") };
    let outcome = complete(dir, NewList { link: Some(for_present), ..completion(1) }).await;
    assert_eq!(outcome, PutListOutcome::LinkUnavailable, "a device that is listed is not linked again");
    assert_eq!((view(dir, 1).await, link(dir, 1).await), before);
    assert!(matches!(complete(dir, completion(1)).await, PutListOutcome::Stored { .. }), "it is still good");
}

pub(super) async fn only_an_answered_link_of_the_account_is_completed(dir: Dir<'_>) {
    super::created(dir, 1).await;
    super::created(dir, 2).await;
    create(dir, offer(1)).await;
    invite(dir, invitation(1, 2)).await;
    give_answer(dir, answer(1)).await;
    let outcome = complete(dir, completion(1)).await;
    assert_eq!(outcome, PutListOutcome::LinkUnavailable, "another account has the link");
    assert_eq!(view(dir, 1).await.list_version, 1);
    assert_eq!(link(dir, 1).await.phase, LinkState::Answered);
}

pub(super) async fn a_link_makes_one_device(dir: Dir<'_>) {
    super::created(dir, 1).await;
    answered(dir, 1).await;
    let port = dir.port();
    let lists = (0..16).map(|n| {
        let device = life(1, 2, 40 + n);
        let link = completion(1).link.map(|link| CompleteLink { device, ..link });
        port.put_list(NewList { link, ..new_list(1, 1, 2, &[super::device(1), device]) })
    });
    let answers = join_all(lists).await;
    drop(port);
    let stored = answers.iter().filter(|answer| matches!(answer, Ok(PutListOutcome::Stored { .. })));
    assert_eq!(stored.count(), 1);
    let second = life(1, 3, 90);
    let link = completion(1).link.map(|link| CompleteLink { device: second, ..link });
    let devices = [view(dir, 1).await.devices[1].registration];
    let listed = [device(1), new_device().address().mailbox(devices[0]), second];
    let outcome = complete(dir, NewList { link, ..new_list(1, 2, 3, &listed) }).await;
    assert_eq!(outcome, PutListOutcome::LinkUnavailable, "a link that was used is used up");
    assert_eq!(view(dir, 1).await.devices.len(), 2);
}
