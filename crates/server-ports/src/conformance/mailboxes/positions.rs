//! Positions, pages and cursors.

use super::*;
use futures_util::future::join_all;
use std::collections::BTreeSet;

pub(super) async fn increase_and_chain(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    let mut before = Position::ZERO;
    for n in 0..20 {
        let answer = append(mail, send(n, vec![row(device(1), "a"), row(device(2), "b")])).await;
        let Placed::At { position, previous } = answer.placed[0] else { panic!("written: {answer:?}") };
        assert!(position > before, "positions increase");
        if let Some(previous) = previous {
            assert_eq!(previous, before, "the position given before, acknowledged or not");
        }
        before = position;
        if n % 3 == 0 {
            ack(mail, device(1), &[position]).await;
        }
        if n % 7 == 0 {
            mail.reopen().await;
        }
    }
}

pub(super) async fn are_never_used_twice(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let mut used = BTreeSet::new();
    for n in 0..12 {
        let answer = append(mail, send(n, vec![row(device(1), "x")])).await;
        let position = position(&answer.placed[0]);
        assert!(used.last().is_none_or(|highest| position > *highest), "above every position ever given");
        used.insert(position);
        ack(mail, device(1), &[position]).await;
        append(mail, send(100 + n, vec![])).await;
        if n % 2 == 0 {
            mail.reopen().await;
        }
        if n % 3 == 0 {
            mail.port().close(device(1)).await.expect("a mailbox closes");
            mail.reopen().await;
            open(mail, &[device(1)]).await;
        }
        assert_eq!(page(mail, device(1)).await.rows, []);
    }
}

pub(super) async fn of_concurrent_sends_differ(mail: Mail<'_>) {
    open(mail, &[device(1), device(2), device(3)]).await;
    let port = mail.port();
    let sends = (0..200).map(|n| {
        let from = device(1_000 + n % 16);
        let rows = [1, 2, 3].map(|to| row(device(to), &n.to_string())).into();
        port.append(Append { sender: from, ..send(n, rows) })
    });
    let answers = join_all(sends).await;
    drop(port);
    for (at, mailbox) in [device(1), device(2), device(3)].into_iter().enumerate() {
        let mut answered: Vec<_> = answers
            .iter()
            .enumerate()
            .map(|(n, answer)| {
                let answer = answer.as_ref().expect("a send is taken");
                (position(&answer.placed[at]), n.to_string())
            })
            .collect();
        answered.sort();
        let rows = page(mail, mailbox).await.rows;
        let read: Vec<_> = rows.iter().map(|row| (row.position, text(row))).collect();
        assert_eq!(read, answered, "each row once, at the position that was answered");
    }
}

pub(super) async fn pages_bring_every_row_once(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    for n in 0..50 {
        append(mail, send(n, vec![row(device(1), &n.to_string())])).await;
    }
    let whole = texts(mail, device(1)).await;
    assert_eq!(whole.len(), 50);
    for rows in [1, 7, 49, 50, 51] {
        let (mut after, mut seen) = (Position::ZERO, Vec::new());
        loop {
            let page =
                mail.port().read(device(1), after, PageLimit { rows, ..ALL }).await.expect("a page is read");
            seen.extend(page.rows.iter().map(text));
            after = page.rows.last().map_or(after, |row| row.position);
            if page.complete {
                break;
            }
            assert_eq!(page.rows.len(), rows, "an incomplete page is a full one");
            assert!(page.cursor <= after, "a cursor never passes rows that were not answered");
        }
        assert_eq!(seen, whole);
    }
}

pub(super) async fn pages_keep_their_limits(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    for n in 0..6 {
        let large = NewRow { head: filled(n, 1_000), ..row(device(1), "") };
        append(mail, send(n.into(), vec![large])).await;
    }
    for (bytes, expected) in [(0, 1), (1, 1), (1_999, 1), (2_000, 2), (5_999, 5)] {
        let limit = PageLimit { bytes, ..ALL };
        let page = mail.port().read(device(1), Position::ZERO, limit).await.expect("a page is read");
        assert_eq!(page.rows.len(), expected, "rows in {bytes} bytes, but at least one");
        assert!(!page.complete, "rows follow");
    }
    let limit = PageLimit { bytes: 6_000, rows: 6, ..ALL };
    let page = mail.port().read(device(1), Position::ZERO, limit).await.expect("a page is read");
    assert!(page.complete && page.rows.len() == 6, "nothing follows the last row");
}

pub(super) async fn cursor_covers_what_was_acknowledged(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    assert_eq!(page(mail, device(1)).await, Page { rows: vec![], cursor: Position::ZERO, complete: true });
    let answer = append(mail, send(1, vec![row(device(1), "a"), row(device(1), "b")])).await;
    let Placed::At { position: last, previous } = answer.placed[1] else { panic!("written: {answer:?}") };
    ack(mail, device(1), &[position(&answer.placed[0]), last]).await;
    for _ in 0..2 {
        let empty = page(mail, device(1)).await;
        assert!(empty.complete);
        match previous {
            Some(_) => assert_eq!(empty.cursor, last, "the highest position given, though acknowledged"),
            None => assert!(empty.cursor <= last, "behind every row that may still appear"),
        }
        append(mail, send(2, vec![])).await;
        mail.reopen().await;
    }
    let cursor = page(mail, device(1)).await.cursor;
    append(mail, send(3, vec![row(device(1), "c")])).await;
    let next = mail.port().read(device(1), cursor, ALL).await.expect("a page is read");
    assert!(next.rows.iter().any(|row| text(row) == "c"), "a later row is never at or below a cursor");
}
