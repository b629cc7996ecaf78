//! Accepting a message for a group: one ciphertext, one row for every device of every member, all or none.
//!
//! As for a direct send ([`crate::accept`]) the order matters: admit, load chain and lists, decide, append, answer.
//! What is recorded is answered with its stamp, whatever has changed since.

use crate::{
    Core,
    accept::{self, SendError},
    admission::Admission,
    fan_out::{self, Members},
    group_state::{self, Group},
    groups::{self, GroupError},
    refusal::Rejection,
    wake,
};
use server_ports::{
    Caller, StoreError,
    mailboxes::{Append, WhenFull},
};
use sha2::{Digest, Sha256};
use types::{GroupId, MailboxId};
use wire::{Envelope, EnvelopeKind, GroupSend, Response, Urgency};

/// So many operations are delivered before one send: others add them as fast only if the store forgets what it was told.
const DELIVERIES_MAX: usize = 32;

/// Accepts one message, or says that it was accepted before.
pub(crate) async fn send(core: &Core, caller: &Caller, send: GroupSend) -> Result<Response, Rejection> {
    let digest = digest(&send);
    match accept(core, caller, &send, digest).await {
        // A store that does not answer is not asked again: whether the rows are there is unknown.
        Err(rejection) if rejection.store_error().is_none() => {
            let stamp = accept::recorded(core, caller, send.envelope_id, digest).await?.ok_or(rejection)?;
            Ok(Response::Accepted { stamp, skipped: Vec::new() })
        }
        outcome => outcome,
    }
}

async fn accept(
    core: &Core,
    caller: &Caller,
    send: &GroupSend,
    digest: [u8; 32],
) -> Result<Response, Rejection> {
    if send.urgency == Urgency::OnlineOnly || send.ciphertext.is_empty() {
        return Err(SendError::Malformed("what is for devices online, or empty, is never stored").into());
    }
    // It takes room in every mailbox of the group, whatever it says of itself.
    accept::spend(core, caller, accept::MESSAGES, send.ciphertext.len()).await?;

    let (admission, group) = admit(core, send.group).await?;
    let account = caller.mailbox.account;
    if !group.state.members().contains_key(&account) && !core.config.bugs.keep_former_members {
        return Err(groups::not_a_member(core, send.group, account).await?.into());
    }
    let members = Members::load(core, group.state.members().keys().copied()).await?;
    decide(core, caller.mailbox, send, &group, &members)?;
    let now = core.now();
    let devices = members.devices(core, now).await;
    let mut devices: Vec<_> = devices.into_iter().filter(|device| *device != caller.mailbox).collect();
    if core.config.bugs.shorten_fan_out {
        devices.pop();
    }
    let above = send.highest_stamp.max(Some(group.head.stamp));
    let stamp = core.stamps.give(&*core.ports.mailboxes, now, above).await?;
    let envelope = |to| Envelope {
        envelope_id: send.envelope_id,
        from: caller.address(),
        to,
        kind: EnvelopeKind::SenderKey,
        urgency: send.urgency,
        stamp,
        ciphertext: bytes::Bytes::new(),
        group: Some(send.group),
    };
    let expires_at = now + accept::life(core, send.ttl);
    let append = Append {
        sender: caller.mailbox,
        envelope_id: send.envelope_id,
        digest,
        stamp,
        rows: fan_out::rows(&devices, send.ciphertext.clone(), expires_at, envelope),
        when_full: WhenFull::Skip,
        now,
    };
    let committed = accept::commit(core, append).await?;
    drop(admission);

    let wakes = accept::wakes(send.urgency);
    wake::hint(core, &committed, |other| wakes && other != account).await;
    Ok(Response::Accepted { stamp: committed.stamp, skipped: committed.skipped() })
}

/// Admits a send to a group whose operations have all been delivered: what was sent after an operation comes
/// after it.
async fn admit(core: &Core, group: GroupId) -> Result<(Admission<'_>, Group), Rejection> {
    for _ in 0..DELIVERIES_MAX {
        let admission = core.admissions.admit_to_group(group).await;
        let found = group_state::current(core, group).await?.ok_or(GroupError::NoSuchGroup)?;
        if found.head.delivered {
            return Ok((admission, found));
        }
        drop(admission);
        groups::deliver_head(core, group).await?;
    }
    Err(StoreError::Unavailable("a group has always one more operation to deliver".to_owned()).into())
}

/// Whether the sender may, and sees the group as it is: pure.
fn decide(
    core: &Core,
    caller: MailboxId,
    send: &GroupSend,
    group: &Group,
    members: &Members,
) -> Result<(), Rejection> {
    let bugs = &core.config.bugs;
    if bugs.keep_former_members && !group.state.members().contains_key(&caller.account) {
        return Ok(());
    }
    accept::check_sender(members.account(caller.account), caller, bugs.keep_revoked)?;
    if !group.state.may_send(caller.account) {
        return Err(GroupError::NotAllowed.into());
    }
    if (send.epoch, send.head) != (group.head.epoch, group.head.head) && !bugs.skip_group_head {
        return Err(GroupError::HeadMoved(group.head).into());
    }
    let versions = members.list_versions().collect();
    if send.lists_digest != signed::lists_digest(&versions) && !bugs.skip_staleness {
        return Err(GroupError::StaleLists(versions.into_iter().collect()).into());
    }
    Ok(())
}

/// SHA-256 over group and ciphertext: tells a retry from another send under the same id. Chain and lists are no
/// part of it, since a retry may come after they changed.
fn digest(send: &GroupSend) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"group\0");
    hash.update(send.group.as_bytes());
    hash.update([send.urgency as u8]);
    hash.update(send.ttl.map_or(0, |ttl| ttl.0).to_be_bytes());
    hash.update(&send.ciphertext);
    hash.finalize().into()
}
