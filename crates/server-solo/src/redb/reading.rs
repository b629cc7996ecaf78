//! Reads, each over one snapshot.

use super::{
    keys,
    schema::{
        BODIES, MAILBOXES, ROWS, SENDERS, SENDS, STAMPS, Sender, State, StoredRow, StoredSend, number,
        position,
    },
    writing::{Result, damaged, decode},
};
use bytes::{BufMut, Bytes, BytesMut};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};
use server_ports::mailboxes::{Page, PageLimit, RecordedSend, Row};
use std::collections::BTreeSet;
use types::{EnvelopeId, MailboxId, NodeId, Position};

/// A page of rows after a position. Rows in `acked` are acknowledged, though not deleted yet.
pub(super) fn page(
    database: &Database,
    mailbox: MailboxId,
    after: Position,
    limit: PageLimit,
    acked: &BTreeSet<u64>,
) -> Result<Page> {
    let transaction = database.begin_read()?;
    let mailbox = keys::mailbox(mailbox);
    let state =
        transaction.open_table(MAILBOXES)?.get(&mailbox)?.map(|state| State::from_tuple(state.value()));
    let Some(state) = state else {
        return Ok(Page { rows: Vec::new(), cursor: Position::ZERO, complete: true });
    };
    let mut page = Page { rows: Vec::new(), cursor: state.highest(), complete: true };
    let first = number(after).and_then(|after| after.checked_add(1));
    let Some(first) = first.filter(|first| state.rows > 0 && *first <= state.last) else { return Ok(page) };
    let bodies = transaction.open_table(BODIES)?;
    let range = keys::numbered(&mailbox, first)..=keys::numbered(&mailbox, state.last);
    let mut bytes = 0;
    let rows = transaction.open_table(ROWS)?;
    for entry in rows.range::<&[u8; keys::NUMBERED]>(range.start()..=range.end())? {
        let (key, value) = entry?;
        let (number, row) = (keys::number(key.value()), decode(value.value())?);
        if row.expires_at <= limit.now || acked.contains(&number) {
            continue;
        }
        bytes += row.size as usize;
        if let Some(last) = page.rows.last()
            && (page.rows.len() >= limit.rows || bytes > limit.bytes)
        {
            page.cursor = last.position;
            page.complete = false;
            break;
        }
        page.rows.push(Row { position: position(number), envelope: envelope(&row, &bodies)? });
    }
    Ok(page)
}

fn envelope(row: &StoredRow<'_>, bodies: &ReadOnlyTable<u64, &'static [u8]>) -> Result<Bytes> {
    if row.body == 0 {
        return Ok(Bytes::copy_from_slice(row.head));
    }
    let body = ReadableTable::get(bodies, row.body)?.ok_or_else(|| damaged("a body"))?;
    let mut envelope = BytesMut::with_capacity(row.size as usize);
    envelope.put_slice(row.head);
    envelope.put_slice(body.value());
    Ok(envelope.freeze())
}

pub(super) fn recorded(
    database: &Database,
    sender: MailboxId,
    envelope: EnvelopeId,
) -> Result<Option<RecordedSend>> {
    let transaction = database.begin_read()?;
    let key = keys::mailbox(sender);
    let sends = transaction.open_table(SENDS)?;
    let Some(bytes) = ReadableTable::get(&sends, &keys::send(&key, envelope))? else { return Ok(None) };
    let send = StoredSend::decode(bytes.value()).ok_or_else(|| damaged("a send"))?;
    let senders = transaction.open_table(SENDERS)?;
    let sender = ReadableTable::get(&senders, &key)?.map(|sender| Sender::from_tuple(sender.value()));
    let forgotten = sender.unwrap_or_default().forgotten();
    Ok((send.number > forgotten).then_some(RecordedSend { stamp: send.stamp, digest: send.digest }))
}

pub(super) fn reserved_stamps(database: &Database, node: NodeId) -> Result<u64> {
    let stamps = database.begin_read()?.open_table(STAMPS)?;
    Ok(ReadableTable::get(&stamps, node.0)?.map_or(0, |promised| promised.value()))
}
