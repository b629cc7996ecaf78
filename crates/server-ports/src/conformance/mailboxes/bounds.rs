//! A mailbox holds so many rows and bytes, and not one more.

use super::*;

/// Rows in one send of the fillers below.
const BATCH: u64 = 10_000;

async fn fill_with_rows(mail: Mail<'_>, mailbox: MailboxId, expires_at: Timestamp) {
    for n in 0..limits::MAILBOX_ROWS_MAX / BATCH {
        let rows = (0..BATCH).map(|_| NewRow { expires_at, ..row(mailbox, "x") }).collect();
        append(mail, send(10_000 + n as u32, rows)).await;
    }
}

pub(super) async fn a_full_mailbox_refuses_the_whole_send(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    fill_with_rows(mail, device(1), LATER).await;
    mail.reopen().await;
    let both = || send(1, vec![row(device(2), "also"), row(device(1), "one more")]);
    assert_eq!(mail.port().append(both()).await, Err(AppendError::Full(vec![device(1)])));
    assert_eq!(texts(mail, device(2)).await, [""; 0], "nothing of a refused send is stored");
    let recorded = mail.port().recorded(sender(), envelope_id(1)).await.expect("records can be read");
    assert_eq!(recorded, None, "a refused send is not recorded");
    let one = PageLimit { rows: 1, ..ALL };
    let first = mail.port().read(device(1), Position::ZERO, one).await.expect("a page is read").rows;
    ack(mail, device(1), &[first[0].position]).await;
    let answer = append(mail, both()).await;
    assert!(!answer.repeat, "an ack makes room for the same send");
    assert_eq!(
        mail.port().append(send(2, vec![row(device(1), "y")])).await,
        Err(AppendError::Full(vec![device(1)])),
        "for exactly one row"
    );
}

pub(super) async fn a_full_mailbox_is_skipped(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    let nearly = limits::MAILBOX_ROWS_MAX - 1;
    append(mail, send(1, (0..nearly).map(|_| row(device(1), "x")).collect())).await;
    let group = |n| {
        let rows = vec![row(device(1), "a"), row(device(2), "b"), row(device(1), "c")];
        Append { when_full: WhenFull::Skip, ..send(n, rows) }
    };
    let placed = append(mail, group(2)).await.placed;
    position(&placed[0]);
    position(&placed[1]);
    assert_eq!(placed[2], Placed::Full, "the row that does not fit is skipped, and said so");
    mail.reopen().await;
    assert_eq!(append(mail, group(2)).await.placed, [Placed::Before, Placed::Before, Placed::Full]);
    assert_eq!(texts(mail, device(2)).await, ["b"]);
}

pub(super) async fn bytes_are_bounded(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let body = filled(5, 1024 * 1024);
    let count = limits::MAILBOX_BYTES_MAX / 1024 / 1024;
    let mut rows: Vec<_> =
        (0..count).map(|_| NewRow { head: Bytes::new(), body: body.clone(), ..row(device(1), "") }).collect();
    let last = rows.pop().expect("the bound is more than one mebibyte");
    append(mail, send(1, rows)).await;
    let too_long = NewRow { head: filled(6, 1), ..last.clone() };
    assert_eq!(
        mail.port().append(send(2, vec![too_long])).await,
        Err(AppendError::Full(vec![device(1)])),
        "one byte too many"
    );
    append(mail, send(3, vec![last])).await;
    mail.reopen().await;
    assert_eq!(
        mail.port().append(send(4, vec![row(device(1), "x")])).await,
        Err(AppendError::Full(vec![device(1)])),
        "the bound is reached exactly"
    );
}

pub(super) async fn fill_and_expire(mail: Mail<'_>) {
    let soon = NOW + types::Millis(1);
    open(mail, &[device(1)]).await;
    fill_with_rows(mail, device(1), soon).await;
}
