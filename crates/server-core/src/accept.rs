//! Accepting a send: the one place where a message becomes the server's promise.
//!
//! Order matters. The lists are loaded, under an admission that a list change waits for; a pure
//! decision says who gets a row; one append makes all rows durable; and only then is the send answered.
//! A send that is recorded is answered with its stamp, so that a retry is never refused for what has
//! changed since. The append itself knows what is recorded, so only a send that would be refused asks
//! for its record: what is accepted at once, which is nearly everything, costs no read.

use crate::{
    Core, acquaintance,
    quota::{self, Allowance, Count, Quotas},
    refusal::Rejection,
    staleness::Expected,
    wake,
};
use server_ports::{
    Caller, Signal,
    directory::{Account, ListedDevice},
    mailboxes::{Append, Appended, NewRow, Placed, WhenFull},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use types::{AccountId, DeviceAddress, EnvelopeId, MailboxId, Millis, Position, Stamp, Timestamp, limits};
use wire::{DeviceRef, Envelope, EnvelopeKind, Response, SealedFor, Send, Stale, Urgency};

/// How soon a sender tries again when the recipient has yet to upload its list after a restore.
pub(crate) const RETRY_NOT_READY: Millis = Millis::from_mins(1);

/// A quota that counts sends: its name, and where its allowance stands.
pub(crate) type SendQuota = (&'static str, fn(&Quotas) -> Allowance);
/// What a person writes.
pub(crate) const MESSAGES: SendQuota = ("messages", |quotas| quotas.messages);
/// What devices tell each other.
const SILENT: SendQuota = ("silent", |quotas| quotas.silent);

/// Why a send was refused. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the send is not valid: {0}")]
    Malformed(&'static str),
    #[error("the envelope id was used for another send")]
    Conflict,
    #[error("the sending device is not listed any more")]
    SenderRevoked,
    #[error("the sender's device list is not here yet")]
    SenderUnknown,
    #[error("the recipient is no account")]
    RecipientUnknown,
    #[error("the recipient's account was closed")]
    RecipientClosed,
    #[error("the recipient's device list is not here yet")]
    RecipientNotReady { retry_after: Millis },
    #[error("the devices are not the listed ones")]
    Stale(Stale),
    #[error("the presented stamp is too far ahead")]
    StampAhead { by: Millis },
    #[error("mailboxes are full")]
    Full(Vec<DeviceRef>),
}

/// Accepts one send, or says that it was accepted before.
pub(crate) async fn send(core: &Core, caller: &Caller, send: Send) -> Result<Response, Rejection> {
    let digest = digest(&send);
    let stamp = match accept(core, caller, &send, digest).await {
        // A store that does not answer is not asked again: whether the rows are there is unknown.
        Err(rejection) if rejection.store_error().is_none() => {
            recorded(core, caller, send.envelope_id, digest).await?.ok_or(rejection)?
        }
        outcome => outcome?,
    };
    Ok(accepted(stamp))
}

async fn accept(core: &Core, caller: &Caller, send: &Send, digest: [u8; 32]) -> Result<Stamp, Rejection> {
    check_form(send)?;
    let quota = if wakes(send.urgency) { MESSAGES } else { SILENT };
    spend(core, caller, quota, send.sealed.iter().map(|sealed| sealed.ciphertext.len()).sum()).await?;

    let admission = core.admissions.admit(caller.mailbox.account, send.recipient).await;
    let view = View::load(core, caller, send).await?;
    let targets = view.decide(caller.mailbox, send, core)?;
    let stamp = core.stamps.give(&*core.ports.mailboxes, view.now, send.highest_stamp).await?;
    let append = Append {
        sender: caller.mailbox,
        envelope_id: send.envelope_id,
        digest,
        stamp,
        rows: targets.iter().map(|sealed| row(caller, send, sealed, stamp, &view, core)).collect(),
        when_full: WhenFull::Refuse,
        now: view.now,
    };
    let committed = commit(core, append).await?;
    drop(admission);

    let wakes = wakes(send.urgency);
    wake::hint(core, &committed, |account| wakes && account == send.recipient).await;
    know_each_other(core, caller, &targets, send.recipient).await;
    Ok(committed.stamp)
}

/// Deletes delivered rows.
pub(crate) async fn acknowledge(
    core: &Core,
    caller: &Caller,
    mut positions: Vec<Position>,
) -> Result<Response, Rejection> {
    if core.config.bugs.acknowledge_everything_before {
        positions = everything_before(core, caller, &positions).await?;
    }
    core.ports.mailboxes.ack(caller.mailbox, &positions).await?;
    metrics::counter!("waxwing_rows_acknowledged_total").increment(positions.len() as u64);
    Ok(Response::Done)
}

/// The stamp of an earlier try.
pub(crate) async fn recorded(
    core: &Core,
    caller: &Caller,
    envelope_id: EnvelopeId,
    digest: [u8; 32],
) -> Result<Option<Stamp>, Rejection> {
    if core.config.bugs.forget_sends {
        return Ok(None);
    }
    match core.ports.mailboxes.recorded(caller.mailbox, envelope_id).await? {
        None => Ok(None),
        Some(record) if record.digest == digest => {
            metrics::counter!("waxwing_sends_repeated_total").increment(1);
            Ok(Some(record.stamp))
        }
        Some(_) => Err(SendError::Conflict.into()),
    }
}

/// What a client can get wrong whatever the lists say.
fn check_form(send: &Send) -> Result<(), SendError> {
    if send.urgency == Urgency::OnlineOnly {
        return Err(SendError::Malformed("what is for devices online is never stored"));
    }
    let sendable = |sealed: &SealedFor| matches!(sealed.kind, EnvelopeKind::Prekey | EnvelopeKind::Ratchet);
    if !send.sealed.iter().all(sendable) {
        return Err(SendError::Malformed("only session messages are sent from device to device"));
    }
    let addresses: BTreeSet<_> = send.sealed.iter().map(|sealed| sealed.to.address()).collect();
    if addresses.len() < send.sealed.len() || send.sealed.len() > limits::SEND_DEVICES_MAX {
        return Err(SendError::Malformed("each device is named once, and not too many are"));
    }
    Ok(())
}

/// Spends one send of a quota, and the bytes that it carries.
pub(crate) async fn spend(
    core: &Core,
    caller: &Caller,
    (quota, allowance): SendQuota,
    bytes: usize,
) -> Result<(), Rejection> {
    let (quotas, subject): (_, &[&[u8]]) = (&core.config.quotas, &[caller.mailbox.account.as_bytes()]);
    quota::spend(core, Count { quota, subject, allowance: allowance(quotas) }, 1).await?;
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    quota::spend(core, Count { quota: "message_bytes", subject, allowance: quotas.message_bytes }, bytes)
        .await
}

/// What the decision is made from.
struct View {
    now: Timestamp,
    sender: Option<Account>,
    /// The sender itself, in a note to self.
    recipient: Option<Account>,
    /// Devices whose record looks dormant but that hold a socket: they connected long ago and stayed.
    connected: BTreeSet<MailboxId>,
}

impl View {
    async fn load(core: &Core, caller: &Caller, send: &Send) -> Result<Self, Rejection> {
        let sender = core.ports.directory.account(caller.mailbox.account).await?;
        let recipient = if send.recipient == caller.mailbox.account {
            sender.clone()
        } else {
            core.ports.directory.account(send.recipient).await?
        };
        let mut view = Self { now: core.now(), sender, recipient, connected: BTreeSet::new() };
        let dormant: Vec<_> = view.dormant().into_iter().collect();
        for mailbox in dormant {
            // A session takes this as a nudge to read, which does no harm.
            if core.ports.exchange.signal(mailbox, Signal::Read).await.unwrap_or(false) {
                view.connected.insert(mailbox);
            }
        }
        Ok(view)
    }

    /// Who gets a row: pure.
    fn decide<'a>(
        &self,
        caller: MailboxId,
        send: &'a Send,
        core: &Core,
    ) -> Result<Vec<&'a SealedFor>, SendError> {
        let bugs = &core.config.bugs;
        check_sender(self.sender.as_ref(), caller, bugs.keep_revoked)?;
        check_recipient(self.recipient.as_ref())?;
        let listed = self.devices().map(|(mailbox, _)| mailbox);
        let without_own = leaves_out_own(caller, send) || bugs.skip_own_devices;
        let listed = listed.filter(|mailbox| !(without_own && mailbox.account == caller.account));
        let named = send.sealed.iter().map(|sealed| sealed.to);
        if let Some(stale) = Expected::new(caller, listed).compare(named)
            && !(bugs.skip_staleness || bugs.keep_revoked && stale.missing.is_empty())
        {
            return Err(SendError::Stale(stale));
        }
        let dormant = self.dormant();
        Ok(send.sealed.iter().filter(|sealed| !dormant.contains(&sealed.to)).collect())
    }

    fn devices(&self) -> impl Iterator<Item = (MailboxId, &ListedDevice)> {
        [&self.sender, &self.recipient].into_iter().flatten().flat_map(|account| {
            account.devices.iter().map(|listed| {
                (DeviceAddress::new(account.id, listed.device).mailbox(listed.registration), listed)
            })
        })
    }

    fn dormant(&self) -> BTreeSet<MailboxId> {
        let long_ago =
            |listed: &ListedDevice| self.now.since(listed.last_connected) > limits::DEVICE_DORMANT_AFTER;
        self.devices()
            .filter(|(mailbox, listed)| long_ago(listed) && !self.connected.contains(mailbox))
            .map(|(mailbox, _)| mailbox)
            .collect()
    }
}

/// What is silent may leave out the sender's own devices, all or none: a receipt tells them nothing. To its own
/// account a device writes for them alone.
fn leaves_out_own(caller: MailboxId, send: &Send) -> bool {
    let names_own = send.sealed.iter().any(|sealed| sealed.to.account == caller.account);
    send.urgency == Urgency::Silent && send.recipient != caller.account && !names_own
}

/// What may wake a device that is not connected.
pub(crate) fn wakes(urgency: Urgency) -> bool {
    matches!(urgency, Urgency::Urgent | Urgency::Normal)
}

pub(crate) fn check_sender(
    sender: Option<&Account>,
    caller: MailboxId,
    keep_revoked: bool,
) -> Result<(), SendError> {
    match sender {
        None => Err(SendError::SenderRevoked),
        Some(account) if account.closed => Err(SendError::SenderRevoked),
        // Restored from a backup: the list that the device has is newer than what is known here.
        Some(account) if account.list_version == 0 => Err(SendError::SenderUnknown),
        Some(account) => {
            let listed = account
                .devices
                .iter()
                .any(|listed| listed.device == caller.device && listed.registration == caller.registration);
            if listed || keep_revoked { Ok(()) } else { Err(SendError::SenderRevoked) }
        }
    }
}

fn check_recipient(recipient: Option<&Account>) -> Result<(), SendError> {
    match recipient {
        None => Err(SendError::RecipientUnknown),
        Some(account) if account.closed => Err(SendError::RecipientClosed),
        Some(account) if account.list_version == 0 => {
            Err(SendError::RecipientNotReady { retry_after: RETRY_NOT_READY })
        }
        Some(_) => Ok(()),
    }
}

fn row(caller: &Caller, send: &Send, sealed: &SealedFor, stamp: Stamp, view: &View, core: &Core) -> NewRow {
    let envelope = Envelope {
        envelope_id: send.envelope_id,
        from: caller.address(),
        to: sealed.to,
        kind: sealed.kind,
        urgency: send.urgency,
        stamp,
        ciphertext: sealed.ciphertext.clone(),
        group: None,
    };
    let expires_at = view.now + life(core, send.ttl);
    NewRow { to: sealed.to, head: envelope.encode(), body: Default::default(), expires_at }
}

/// How long the rows of a send live.
pub(crate) fn life(core: &Core, ttl: Option<Millis>) -> Millis {
    let life = ttl.map_or(limits::ENVELOPE_LIFE, |ttl| ttl.min(limits::ENVELOPE_LIFE));
    if core.config.bugs.expire_early { Millis::from_mins(1) } else { life }
}

/// A send that is on disk, with its rows and what became of each.
pub(crate) struct Committed {
    pub(crate) stamp: Stamp,
    pub(crate) rows: Vec<NewRow>,
    pub(crate) placed: Vec<Placed>,
}

impl Committed {
    /// Whose mailbox was full.
    pub(crate) fn skipped(&self) -> Vec<DeviceRef> {
        let full = self.rows.iter().zip(&self.placed).filter(|(_, placed)| **placed == Placed::Full);
        full.map(|(row, _)| row.to).collect()
    }
}

pub(crate) async fn commit(core: &Core, mut append: Append) -> Result<Committed, Rejection> {
    let bugs = core.config.bugs;
    if bugs.accept_without_append && append.envelope_id.as_bytes()[0] < 32 {
        return Ok(Committed { stamp: append.stamp, rows: Vec::new(), placed: Vec::new() });
    }
    if bugs.append_only_first {
        append.rows.truncate(1);
    }
    if bugs.forget_sends {
        // The store remembers too; only another id makes it forget.
        append.envelope_id = EnvelopeId::from_bytes(core.ports.entropy.array());
    }
    let (rows, envelope_id) = (append.rows.clone(), append.envelope_id);
    let appended = core.ports.mailboxes.append(append).await.inspect_err(|_| {
        tracing::debug!(envelope = %core.log_name(envelope_id), "an append was refused or has an unknown outcome");
    })?;
    count(&appended);
    Ok(Committed { stamp: appended.stamp, rows, placed: appended.placed })
}

/// A repeat is no second send, and only rows that were written now are rows.
fn count(appended: &Appended) {
    if appended.repeat {
        metrics::counter!("waxwing_sends_repeated_total").increment(1);
    } else {
        metrics::counter!("waxwing_sends_accepted_total").increment(1);
    }
    let written = appended.placed.iter().filter(|placed| matches!(placed, Placed::At { .. })).count();
    metrics::counter!("waxwing_rows_appended_total").increment(written as u64);
}

/// Who was written to may answer: it is no stranger to them any more.
async fn know_each_other(core: &Core, caller: &Caller, targets: &[&SealedFor], recipient: AccountId) {
    if targets.iter().any(|sealed| sealed.kind == EnvelopeKind::Prekey && sealed.to.account == recipient) {
        acquaintance::know(core, recipient, caller.mailbox.account).await;
    }
}

/// SHA-256 over recipients and ciphertexts: tells a retry from another send under the same id.
fn digest(send: &Send) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(send.recipient.as_bytes());
    hash.update([send.urgency as u8]);
    hash.update(send.ttl.map_or(0, |ttl| ttl.0).to_be_bytes());
    for sealed in &send.sealed {
        hash.update(sealed.to.account.as_bytes());
        hash.update([sealed.to.device.get(), sealed.kind as u8]);
        hash.update(sealed.to.registration.get().to_be_bytes());
        hash.update((sealed.ciphertext.len() as u64).to_be_bytes());
        hash.update(&sealed.ciphertext);
    }
    hash.finalize().into()
}

fn accepted(stamp: Stamp) -> Response {
    Response::Accepted { stamp, skipped: Vec::new() }
}

/// The planted fault: the acknowledged positions and every row below the highest of them.
async fn everything_before(
    core: &Core,
    caller: &Caller,
    positions: &[Position],
) -> Result<Vec<Position>, Rejection> {
    let highest = positions.iter().max().copied().unwrap_or(Position::ZERO);
    let page = core.read_mailbox(caller, Position::ZERO, 10_000, usize::MAX).await?;
    Ok(page.rows.iter().map(|row| row.position).filter(|position| *position <= highest).collect())
}
