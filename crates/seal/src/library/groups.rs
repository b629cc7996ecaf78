//! Sender keys: one record for each group and sender device.

use super::desk::SenderKey;
use super::pairwise::ready;
use super::{Trouble, anybody, contained};
use libsignal_protocol_syft::{
    SenderKeyDistributionMessage, SenderKeyRecord, SignalProtocolError,
    create_sender_key_distribution_message, process_sender_key_distribution_message,
};
use rand_core::CryptoRng;
use types::GroupId;
use uuid::Uuid;
use zeroize::Zeroizing;

type Bytes = Zeroizing<Vec<u8>>;

/// The distribution message of our own sender key, which is made if there is none; returns the record too.
pub(crate) fn group_distribution(
    record: Option<&[u8]>,
    group: GroupId,
    mut rng: &mut dyn CryptoRng,
) -> Result<(Bytes, Vec<u8>), Trouble> {
    contained(|| {
        let mut slot = load(record)?;
        let message = ready(create_sender_key_distribution_message(
            &anybody(),
            distribution_id(group),
            &mut slot,
            &mut rng,
        ))?;
        Ok((stored(slot)?, message.serialized().to_vec()))
    })
}

/// Takes in another device's sender key; returns the record.
pub(crate) fn group_process(record: Option<&[u8]>, group: GroupId, message: &[u8]) -> Result<Bytes, Trouble> {
    contained(|| {
        let message = SenderKeyDistributionMessage::try_from(message)?;
        if message.distribution_id()? != distribution_id(group) {
            return Err(SignalProtocolError::InvalidProtobufEncoding);
        }
        let mut slot = load(record)?;
        ready(process_sender_key_distribution_message(&anybody(), &message, &mut slot))?;
        stored(slot)
    })
}

/// Encrypts with our own sender key; returns the advanced record and the message.
pub(crate) fn group_encrypt(
    record: &[u8],
    group: GroupId,
    plaintext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<(Bytes, Vec<u8>), Trouble> {
    contained(|| {
        let mut slot = load(Some(record))?;
        let message = ready(libsignal_protocol_syft::group_encrypt(
            &mut slot,
            &anybody(),
            distribution_id(group),
            plaintext,
            &mut rng,
        ))?;
        Ok((stored(slot)?, message.serialized().to_vec()))
    })
}

/// Opens a group message; returns the advanced record and the plaintext.
pub(crate) fn group_decrypt(record: &[u8], message: &[u8]) -> Result<(Bytes, Bytes), Trouble> {
    contained(|| {
        let mut slot = load(Some(record))?;
        let plaintext = ready(libsignal_protocol_syft::group_decrypt(message, &mut slot, &anybody()))?;
        Ok((stored(slot)?, Zeroizing::new(plaintext)))
    })
}

fn load(record: Option<&[u8]>) -> Result<SenderKey, SignalProtocolError> {
    Ok(SenderKey(record.map(SenderKeyRecord::deserialize).transpose()?))
}

fn stored(slot: SenderKey) -> Result<Bytes, SignalProtocolError> {
    let record = slot.0.ok_or(SignalProtocolError::InvalidProtobufEncoding)?;
    Ok(Zeroizing::new(record.serialize()?))
}

/// One sender key for each group and sender device: the group's id names the distribution.
fn distribution_id(group: GroupId) -> Uuid {
    Uuid::from_bytes(*group.as_bytes())
}
