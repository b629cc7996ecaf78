//! Rows: durable, whole, deleted exactly.

use super::*;

pub(super) async fn come_back_as_they_were_written(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    let two_parts = NewRow { head: filled(1, 10), body: filled(2, 20), ..row(device(1), "") };
    let no_head = NewRow { head: Bytes::new(), body: filled(3, 5), ..row(device(2), "") };
    let largest = NewRow { body: filled(4, limits::CIPHERTEXT_BYTES_MAX), ..row(device(2), "head") };
    let answer = append(mail, send(1, vec![two_parts, no_head, largest])).await;
    assert_eq!((answer.stamp, answer.repeat, answer.placed.len()), (stamp(2), false, 3));
    let rows = page(mail, device(1)).await.rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].envelope, [filled(1, 10), filled(2, 20)].concat(), "head, then body");
    assert_eq!(rows[0].position, position(&answer.placed[0]), "the position that was answered");
    let rows = page(mail, device(2)).await.rows;
    assert_eq!(rows[0].envelope, filled(3, 5));
    assert_eq!(rows[1].envelope.len(), 4 + limits::CIPHERTEXT_BYTES_MAX);
}

pub(super) async fn survive_a_crash(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    for n in 0..10 {
        let answer = append(mail, send(n, vec![row(device(1), &format!("message {n}"))])).await;
        mail.reopen().await;
        let rows = page(mail, device(1)).await.rows;
        assert_eq!(rows.len(), n as usize + 1, "every answered row is there after a crash");
        assert_eq!(rows[n as usize].position, position(&answer.placed[0]), "at its position");
        assert_eq!(text(&rows[n as usize]), format!("message {n}"));
    }
}

pub(super) async fn of_one_send_share_a_body(mail: Mail<'_>) {
    let members: Vec<_> = (0..50).map(device).collect();
    open(mail, &members).await;
    let body = filled(9, 1_000);
    let rows = members.iter().map(|to| NewRow { body: body.clone(), ..row(*to, "to ") }).collect();
    let answer = append(mail, send(1, rows)).await;
    for (member, placed) in members.iter().zip(&answer.placed).skip(1) {
        ack(mail, *member, &[position(placed)]).await;
    }
    append(mail, send(2, vec![row(device(49), "after")])).await;
    mail.reopen().await;
    let rows = page(mail, device(0)).await.rows;
    assert_eq!(rows.len(), 1, "what others acknowledged stays for the one who did not");
    assert_eq!(rows[0].envelope, [&b"to "[..], &body[..]].concat());
    assert_eq!(texts(mail, device(49)).await, ["after"]);
    ack(mail, device(0), &[rows[0].position]).await;
    append(mail, send(3, vec![row(device(0), "last")])).await;
    mail.reopen().await;
    assert_eq!(texts(mail, device(0)).await, ["last"]);
}

/// 1,024 members with two or three devices each.
pub(super) async fn of_the_largest_group_are_one_append(mail: Mail<'_>) {
    let members: Vec<_> = (0..2_500).map(device).collect();
    let port = mail.port();
    futures_util::future::join_all(members.iter().map(|member| port.open(*member))).await;
    port.close(members[7]).await.expect("a mailbox closes");
    drop(port);
    let body = filled(9, 20_000);
    let send = |n| {
        let row = |to: &MailboxId| NewRow { body: body.clone(), ..row(*to, &format!("{to:?} ")) };
        Append { when_full: WhenFull::Skip, ..send(n, members.iter().map(row).collect()) }
    };
    for n in 0..2 {
        let answer = append(mail, send(n)).await;
        let closed = answer.placed.iter().filter(|placed| **placed == Placed::Closed).count();
        let written = answer.placed.iter().filter(|placed| matches!(placed, Placed::At { .. })).count();
        assert_eq!((closed, written), (1, 2_499), "the one that is closed is named");
    }
    mail.reopen().await;
    let again = append(mail, send(1)).await;
    assert!(again.repeat);
    for (member, placed) in members.iter().zip(&again.placed) {
        let rows = page(mail, *member).await.rows;
        if *member == members[7] {
            assert_eq!((rows.len(), *placed), (0, Placed::Closed));
            continue;
        }
        assert_eq!((rows.len(), *placed), (2, Placed::Before));
        let own = format!("{member:?} ");
        assert!(rows.iter().all(|row| row.envelope == [own.as_bytes(), &body[..]].concat()));
    }
}

pub(super) async fn to_one_mailbox_keep_the_order_of_the_send(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let answer = append(mail, send(1, ["a", "b", "c"].map(|text| row(device(1), text)).into())).await;
    assert!(answer.placed.is_sorted_by_key(position));
    assert_eq!(texts(mail, device(1)).await, ["a", "b", "c"]);
}

pub(super) async fn are_deleted_by_exact_ack(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    let mut first = Vec::new();
    for n in 0..5 {
        let text = n.to_string();
        let answer = append(mail, send(n, vec![row(device(1), &text), row(device(2), &text)])).await;
        first.push(position(&answer.placed[0]));
    }
    let unknown = Position::from_u128(u128::MAX);
    ack(mail, device(1), &[first[1], unknown, first[3], Position::ZERO, first[3]]).await;
    ack(mail, device(3), &[first[0]]).await;
    ack(mail, device(1), &[]).await;
    assert_eq!(texts(mail, device(1)).await, ["0", "2", "4"], "exactly the named rows are gone");
    assert_eq!(texts(mail, device(2)).await, ["0", "1", "2", "3", "4"], "another mailbox keeps its rows");
}

pub(super) async fn acked_are_gone_with_the_next_commit(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let answer = append(mail, send(1, vec![row(device(1), "old"), row(device(1), "kept")])).await;
    ack(mail, device(1), &[position(&answer.placed[0])]).await;
    append(mail, send(2, vec![row(device(1), "new")])).await;
    mail.reopen().await;
    assert_eq!(texts(mail, device(1)).await, ["kept", "new"], "an ack rides with the next commit");
}

pub(super) async fn of_a_closed_mailbox_are_dropped(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    mail.port().close(device(2)).await.expect("a mailbox closes");
    for n in 0..2 {
        let rows = vec![row(device(1), "open"), row(device(2), "closed"), row(device(3), "never opened")];
        let placed = append(mail, send(n, rows)).await.placed;
        position(&placed[0]);
        assert_eq!(placed[1..], [Placed::Closed, Placed::Closed]);
        mail.reopen().await;
    }
    for closed in [device(2), device(3)] {
        assert_eq!(page(mail, closed).await.rows, []);
        ack(mail, closed, &[Position::from_u128(1)]).await;
        mail.port().close(closed).await.expect("a closed mailbox is left as it is");
        open(mail, &[closed]).await;
        assert_eq!(page(mail, closed).await.rows, [], "what was dropped does not come back");
    }
    assert_eq!(texts(mail, device(1)).await, ["open", "open"]);
}

pub(super) async fn die_with_their_mailbox(mail: Mail<'_>) {
    // Neighbours in any order of keys: what lies directly beside the closed mailbox must stay.
    let neighbours =
        [super::super::samples::life(1, 1, 99), super::super::samples::life(1, 1, 101), device(2)];
    open(mail, &[device(1)]).await;
    open(mail, &neighbours).await;
    let everybody = || [device(1)].into_iter().chain(neighbours);
    for n in 0..20 {
        append(mail, send(n, everybody().map(|to| row(to, "text")).collect())).await;
    }
    mail.port().close(device(1)).await.expect("a mailbox closes");
    assert_eq!(page(mail, device(1)).await.rows, []);
    mail.reopen().await;
    open(mail, &[device(1)]).await;
    assert_eq!(page(mail, device(1)).await.rows, [], "opening a closed mailbox gives an empty one");
    for neighbour in neighbours {
        assert_eq!(page(mail, neighbour).await.rows.len(), 20, "a mailbox beside it keeps its rows");
    }
}

pub(super) async fn stay_when_an_open_mailbox_is_opened(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    append(mail, send(1, vec![row(device(1), "here")])).await;
    open(mail, &[device(1)]).await;
    assert_eq!(texts(mail, device(1)).await, ["here"]);
    mail.reopen().await;
    open(mail, &[device(1)]).await;
    assert_eq!(texts(mail, device(1)).await, ["here"]);
}

pub(super) async fn of_a_send_are_all_there_or_none(mail: Mail<'_>) {
    let members: Vec<_> = (0..100).map(device).collect();
    open(mail, &members).await;
    append(mail, send(1, members.iter().map(|to| row(*to, "all")).collect())).await;
    mail.reopen().await;
    for member in members {
        assert_eq!(texts(mail, member).await, ["all"], "every row of an answered send is there");
    }
}
