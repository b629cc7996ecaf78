//! What every adapter of [`Mailboxes`] does.

mod bounds;
mod expiry;
mod idempotency;
mod positions;
mod rows;
mod stamps;

use super::{
    Case, Subject, cases,
    samples::{NOW, device, filled},
};
use crate::{
    Mailboxes,
    mailboxes::{Append, AppendError, Appended, NewRow, Page, PageLimit, Placed, Row, WhenFull},
};
use bytes::Bytes;
use types::{EnvelopeId, MailboxId, NodeId, Position, Stamp, Timestamp, limits};

/// Every case.
pub const CASES: &[Case<dyn Mailboxes>] = cases![dyn Mailboxes:
    rows::come_back_as_they_were_written,
    rows::survive_a_crash,
    rows::of_one_send_share_a_body,
    rows::of_the_largest_group_are_one_append,
    rows::to_one_mailbox_keep_the_order_of_the_send,
    rows::are_deleted_by_exact_ack,
    rows::acked_are_gone_with_the_next_commit,
    rows::of_a_closed_mailbox_are_dropped,
    rows::die_with_their_mailbox,
    rows::stay_when_an_open_mailbox_is_opened,
    rows::of_a_send_are_all_there_or_none,
    positions::increase_and_chain,
    positions::are_never_used_twice,
    positions::of_concurrent_sends_differ,
    positions::pages_bring_every_row_once,
    positions::pages_keep_their_limits,
    positions::cursor_covers_what_was_acknowledged,
    idempotency::a_repeat_writes_nothing,
    idempotency::a_repeat_answers_what_became_of_each_row,
    idempotency::another_digest_is_a_conflict,
    idempotency::the_last_sends_of_each_sender_are_recorded,
    idempotency::a_send_without_rows_is_recorded,
    idempotency::concurrent_repeats_are_one_send,
    idempotency::closing_forgets_the_senders_record,
    bounds::a_full_mailbox_refuses_the_whole_send,
    bounds::a_full_mailbox_is_skipped,
    bounds::bytes_are_bounded,
    expiry::a_row_is_gone_at_its_time_and_not_before,
    expiry::expired_rows_make_room,
    stamps::a_promise_is_kept_and_never_lowered,
];

/// The whole mailbox in one page.
const ALL: PageLimit = PageLimit { rows: usize::MAX, bytes: usize::MAX, now: NOW };
/// When rows of these cases expire, unless they say otherwise.
const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + limits::ENVELOPE_LIFE.0);

type Mail<'a> = &'a mut dyn Subject<dyn Mailboxes>;

/// The sender of these cases.
fn sender() -> MailboxId {
    device(1_000)
}

fn stamp(clock: u64) -> Stamp {
    Stamp::new(clock << 16, NodeId(7))
}

fn envelope_id(n: u32) -> EnvelopeId {
    let mut bytes = [0xee; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    EnvelopeId::from_bytes(bytes)
}

fn row(to: MailboxId, text: &str) -> NewRow {
    NewRow { to, head: Bytes::copy_from_slice(text.as_bytes()), body: Bytes::new(), expires_at: LATER }
}

/// The `n`th send, whose digest and stamp follow from `n`.
fn send(n: u32, rows: Vec<NewRow>) -> Append {
    Append {
        sender: sender(),
        envelope_id: envelope_id(n),
        digest: [n as u8; 32],
        stamp: stamp(u64::from(n) + 1),
        rows,
        when_full: WhenFull::Refuse,
        now: NOW,
    }
}

async fn open(mail: &mut dyn Subject<dyn Mailboxes>, mailboxes: &[MailboxId]) {
    for mailbox in mailboxes {
        mail.port().open(*mailbox).await.expect("a mailbox opens");
    }
}

async fn append(mail: &mut dyn Subject<dyn Mailboxes>, append: Append) -> Appended {
    mail.port().append(append).await.expect("the send is taken")
}

async fn page(mail: &mut dyn Subject<dyn Mailboxes>, mailbox: MailboxId) -> Page {
    mail.port().read(mailbox, Position::ZERO, ALL).await.expect("a mailbox can be read")
}

/// The texts in a mailbox, in the order of their positions.
async fn texts(mail: &mut dyn Subject<dyn Mailboxes>, mailbox: MailboxId) -> Vec<String> {
    page(mail, mailbox).await.rows.iter().map(text).collect()
}

fn text(row: &Row) -> String {
    String::from_utf8_lossy(&row.envelope).into_owned()
}

async fn ack(mail: &mut dyn Subject<dyn Mailboxes>, mailbox: MailboxId, positions: &[Position]) {
    mail.port().ack(mailbox, positions).await.expect("an ack is taken");
}

/// The position of a row that must have been written.
fn position(placed: &Placed) -> Position {
    match placed {
        Placed::At { position, .. } => *position,
        other => panic!("the row should have been written now: {other:?}"),
    }
}
