//! A row is gone at its time: not earlier, and not much later.

use super::*;
use types::Millis;

/// Expires until nothing is left to do; answers how many rows went.
async fn expire_all(mail: Mail<'_>, now: Timestamp) -> u64 {
    let mut gone = 0;
    loop {
        match mail.port().expire(now).await.expect("rows can be expired") {
            0 => return gone,
            some => gone += some,
        }
    }
}

async fn texts_at(mail: Mail<'_>, now: Timestamp) -> Vec<String> {
    let limit = PageLimit { now, ..ALL };
    let page = mail.port().read(device(1), Position::ZERO, limit).await.expect("a page is read");
    assert!(page.complete, "expired rows do not follow");
    page.rows.iter().map(text).collect()
}

pub(super) async fn a_row_is_gone_at_its_time_and_not_before(mail: Mail<'_>) {
    open(mail, &[device(1)]).await;
    let day = Millis::from_days(1);
    let lives = [("short", NOW + Millis(1)), ("day", NOW + day), ("long", LATER)];
    let rows =
        lives.iter().map(|(text, expires_at)| NewRow { expires_at: *expires_at, ..row(device(1), text) });
    append(mail, send(1, rows.collect())).await;
    assert_eq!(texts_at(mail, NOW).await, ["short", "day", "long"]);
    assert_eq!(texts_at(mail, NOW + Millis(1)).await, ["day", "long"], "gone from its time on");
    assert_eq!(texts_at(mail, NOW + day - Millis(1)).await, ["day", "long"], "not a moment earlier");
    assert_eq!(texts_at(mail, NOW + day).await, ["long"]);
    assert_eq!(expire_all(mail, NOW).await, 0, "nothing expired yet");
    assert_eq!(texts_at(mail, NOW).await, ["short", "day", "long"]);
    assert_eq!(expire_all(mail, NOW + day + day).await, 2, "what expired a day ago is deleted");
    mail.reopen().await;
    assert_eq!(texts_at(mail, NOW).await, ["long"], "deleted for good, and nothing else");
    assert_eq!(expire_all(mail, LATER - Millis(1)).await, 0);
    assert_eq!(texts_at(mail, LATER - Millis(1)).await, ["long"]);
    assert_eq!(expire_all(mail, LATER + day).await, 1);
    assert_eq!(texts_at(mail, NOW).await, [""; 0]);
}

pub(super) async fn expired_rows_make_room(mail: Mail<'_>) {
    super::bounds::fill_and_expire(mail).await;
    let next = || send(1, vec![row(device(1), "next")]);
    assert_eq!(mail.port().append(next()).await, Err(AppendError::Full(vec![device(1)])));
    let gone = expire_all(mail, NOW + Millis::from_days(2)).await;
    assert_eq!(gone, limits::MAILBOX_ROWS_MAX);
    append(mail, next()).await;
    assert_eq!(texts(mail, device(1)).await, ["next"]);
}
