//! Signals that are never stored, such as typing: handed to the sessions that are there, forgotten otherwise.

use crate::{
    Core,
    quota::{self, Count},
    refusal::Rejection,
};
use server_ports::{Caller, Signal};
use types::{AccountId, EnvelopeId, limits};
use wire::{Code, Envelope, EnvelopeKind, Response, SealedFor, Urgency};

/// Hands each ciphertext to its device, if that has a session. The answer says nothing about who was there. They are
/// small, because a session holds what it is handed until its socket takes it.
pub(crate) async fn forward(
    core: &Core,
    caller: &Caller,
    recipient: AccountId,
    sealed: Vec<SealedFor>,
) -> Result<Response, Rejection> {
    let fits = |sealed: &SealedFor| {
        sealed.to.account == recipient && matches!(sealed.kind, EnvelopeKind::Prekey | EnvelopeKind::Ratchet)
    };
    if !sealed.iter().all(fits) {
        return Err(Rejection::Code(Code::Malformed));
    }
    if sealed.iter().any(|sealed| sealed.ciphertext.len() > limits::EPHEMERAL_BYTES_MAX) {
        return Err(Rejection::Code(Code::TooLarge));
    }
    let subject: &[&[u8]] = &[caller.mailbox.account.as_bytes()];
    let count = Count { quota: "ephemeral", subject, allowance: core.config.quotas.ephemeral };
    quota::spend(core, count, 1).await?;
    let stamp = core.stamps.give(&*core.ports.mailboxes, core.now(), None).await?;
    let envelope_id = EnvelopeId::from_bytes(core.ports.entropy.array());
    for SealedFor { to, kind, ciphertext } in sealed {
        let (from, urgency) = (caller.address(), Urgency::OnlineOnly);
        let envelope = Envelope { envelope_id, from, to, kind, urgency, stamp, ciphertext, group: None };
        let _ = core.ports.exchange.signal(to, Signal::Ephemeral(envelope.encode())).await;
    }
    Ok(Response::Done)
}
