//! One envelope id is one send.

use super::*;
use futures_util::future::join_all;

pub(super) async fn a_repeat_writes_nothing(mail: Mail<'_>) {
    open(mail, &[device(1), device(2)]).await;
    let rows = || vec![row(device(1), "once"), row(device(2), "once")];
    append(mail, send(1, rows())).await;
    for _ in 0..2 {
        let answer = append(mail, Append { stamp: stamp(99), ..send(1, rows()) }).await;
        assert_eq!(answer.stamp, stamp(2), "the stamp of the first try");
        assert!(answer.repeat);
        assert_eq!(answer.placed, [Placed::Before, Placed::Before]);
        mail.reopen().await;
    }
    assert_eq!(texts(mail, device(1)).await, ["once"]);
    let position = page(mail, device(1)).await.rows[0].position;
    ack(mail, device(1), &[position]).await;
    append(mail, send(1, rows())).await;
    assert_eq!(texts(mail, device(1)).await, [""; 0], "a repeat does not bring an acknowledged row back");
    let other_sender = append(mail, Append { sender: device(1), ..send(1, rows()) }).await;
    assert!(!other_sender.repeat, "another sender's envelope id is another send");
}

pub(super) async fn a_repeat_answers_what_became_of_each_row(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let rows = || vec![row(device(1), "open"), row(device(2), "closed")];
    append(mail, send(1, rows())).await;
    mail.reopen().await;
    assert_eq!(append(mail, send(1, rows())).await.placed, [Placed::Before, Placed::Closed]);
}

pub(super) async fn another_digest_is_a_conflict(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    append(mail, send(1, vec![row(device(1), "first")])).await;
    for _ in 0..2 {
        let other = Append { digest: [0xff; 32], ..send(1, vec![row(device(1), "second")]) };
        assert_eq!(mail.port().append(other).await, Err(AppendError::Conflict));
        assert_eq!(texts(mail, device(1)).await, ["first"]);
        mail.reopen().await;
    }
    let recorded = mail.port().recorded(sender(), envelope_id(1)).await.expect("records can be read");
    assert_eq!(recorded.map(|record| (record.stamp, record.digest)), Some((stamp(2), [1; 32])));
}

pub(super) async fn the_last_sends_of_each_sender_are_recorded(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let kept = limits::SENDS_RECORDED_MAX as u32;
    let from_other = Append { sender: device(1), ..send(0, vec![]) };
    append(mail, from_other).await;
    for n in 0..kept {
        append(mail, send(n, vec![row(device(1), "x")])).await;
    }
    // A repeat is not a send, and pushes nothing out.
    assert!(append(mail, send(0, vec![row(device(1), "x")])).await.repeat);
    append(mail, send(kept, vec![row(device(1), "x")])).await;
    mail.reopen().await;
    let recorded = async |from: MailboxId, n: u32| {
        mail.port().recorded(from, envelope_id(n)).await.expect("records can be read")
    };
    assert_eq!(recorded(sender(), 0).await, None, "the oldest is forgotten");
    for n in 1..=kept {
        let record = recorded(sender(), n).await.expect("the last sends are recorded");
        assert_eq!((record.stamp, record.digest), (stamp(u64::from(n) + 1), [n as u8; 32]));
    }
    assert!(recorded(device(1), 0).await.is_some(), "another sender's record is its own");
    assert_eq!(recorded(device(1), 1).await, None);
    assert_eq!(recorded(device(77), 1).await, None);
}

pub(super) async fn a_send_without_rows_is_recorded(mail: Mail<'_>) {
    let answer = append(mail, send(1, vec![])).await;
    assert_eq!((answer.repeat, answer.placed.len()), (false, 0));
    mail.reopen().await;
    let answer = append(mail, Append { stamp: stamp(50), ..send(1, vec![]) }).await;
    assert_eq!((answer.repeat, answer.stamp), (true, stamp(2)));
}

pub(super) async fn concurrent_repeats_are_one_send(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let port = mail.port();
    let tries = (0..32).map(|n| {
        let again = send(1, vec![row(device(1), "once")]);
        port.append(Append { stamp: stamp(100 + n), ..again })
    });
    let answers: Vec<_> = join_all(tries).await.into_iter().map(|answer| answer.expect("taken")).collect();
    drop(port);
    assert_eq!(answers.iter().filter(|answer| !answer.repeat).count(), 1, "one of them was the first");
    assert!(answers.iter().all(|answer| answer.stamp == answers[0].stamp), "all were told one stamp");
    assert_eq!(texts(mail, device(1)).await, ["once"]);
}

pub(super) async fn closing_forgets_the_senders_record(mail: Mail<'_>) {
    open(mail, &[sender(), device(1)]).await;
    append(mail, send(1, vec![row(device(1), "x")])).await;
    append(mail, Append { sender: device(1), ..send(1, vec![]) }).await;
    mail.port().close(sender()).await.expect("a mailbox closes");
    for _ in 0..2 {
        let recorded = mail.port().recorded(sender(), envelope_id(1)).await.expect("records can be read");
        assert_eq!(recorded, None, "a closed mailbox leaves no record of its sends");
        let other = mail.port().recorded(device(1), envelope_id(1)).await.expect("records can be read");
        assert!(other.is_some(), "other senders keep theirs");
        mail.reopen().await;
    }
}
