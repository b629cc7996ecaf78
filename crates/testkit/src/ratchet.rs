//! Which step of a ratchet sealed a ciphertext: what a server, too, can read of a Signal message.
//!
//! A `SignalMessage` is a version byte, a protobuf message whose field 1 is the sender's ratchet key and
//! field 2 the counter in that chain, and a MAC; a `PreKeySignalMessage` is a version byte and a protobuf
//! message whose field 4 is a `SignalMessage` (libsignal, `rust/protocol/src/proto/wire.proto`). Message
//! keys follow from (ratchet key, counter): two ciphertexts at one step would use one key twice. A
//! `SenderKeyMessage` is a version byte, a protobuf message with the key's distribution (field 1), the chain
//! (2) and the iteration in it (3), and a signature: there the message key follows from those three.

use crate::digest;
use wire::EnvelopeKind;

const MAC_BYTES: usize = 8;
const RATCHET_KEY: u64 = 1;
const COUNTER: u64 = 2;
const INNER_MESSAGE: u64 = 4;

const SIGNATURE_BYTES: usize = 64;
const DISTRIBUTION: u64 = 1;
const CHAIN: u64 = 2;
const ITERATION: u64 = 3;

/// The digest of (ratchet key, counter), of a message under a sender key that of (distribution, chain,
/// iteration); nothing for what is neither.
pub fn step(kind: EnvelopeKind, ciphertext: &[u8]) -> Option<u128> {
    match kind {
        EnvelopeKind::Prekey => {
            let outer = ciphertext.get(1..)?;
            ratchet_step(bytes_of(outer, INNER_MESSAGE)?)
        }
        EnvelopeKind::Ratchet => ratchet_step(ciphertext),
        EnvelopeKind::SenderKey => sender_key_step(ciphertext),
        _ => None,
    }
}

fn ratchet_step(message: &[u8]) -> Option<u128> {
    let fields = message.get(1..message.len().checked_sub(MAC_BYTES)?)?;
    let key = bytes_of(fields, RATCHET_KEY)?;
    let counter = number_of(fields, COUNTER).unwrap_or(0);
    Some(digest::of(&[key, &counter.to_be_bytes()].concat()))
}

fn sender_key_step(message: &[u8]) -> Option<u128> {
    let fields = message.get(1..message.len().checked_sub(SIGNATURE_BYTES)?)?;
    let distribution = bytes_of(fields, DISTRIBUTION)?;
    let (chain, iteration) = (number_of(fields, CHAIN)?, number_of(fields, ITERATION).unwrap_or(0));
    Some(digest::of(&[distribution, &chain.to_be_bytes(), &iteration.to_be_bytes()].concat()))
}

fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    Fields(message).find_map(|field| match field {
        Field::Bytes(at, bytes) if at == number => Some(bytes),
        _ => None,
    })
}

fn number_of(message: &[u8], number: u64) -> Option<u64> {
    Fields(message).find_map(|field| match field {
        Field::Number(at, value) if at == number => Some(value),
        _ => None,
    })
}

enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

/// The varint and length-delimited fields of a protobuf message; ends at anything else.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let value = self.varint()?;
        match tag & 7 {
            0 => Some(Field::Number(tag >> 3, value)),
            2 => {
                let (bytes, rest) = self.0.split_at_checked(usize::try_from(value).ok()?)?;
                self.0 = rest;
                Some(Field::Bytes(tag >> 3, bytes))
            }
            _ => None,
        }
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal_message(key: u8, counter: u8, text: &[u8]) -> Vec<u8> {
        let mut message = vec![0x44, 0x0a, 2, key, key, 0x10, counter, 0x22, text.len() as u8];
        message.extend_from_slice(text);
        message.extend_from_slice(&[0xee; MAC_BYTES]);
        message
    }

    #[test]
    fn the_step_is_the_ratchet_key_and_the_counter_and_nothing_else() {
        let step_of = |key, counter, text: &[u8]| {
            step(EnvelopeKind::Ratchet, &signal_message(key, counter, text)).expect("a message has a step")
        };
        assert_eq!(step_of(5, 1, b"one text"), step_of(5, 1, b"another"));
        assert_ne!(step_of(5, 1, b"one text"), step_of(5, 2, b"one text"));
        assert_ne!(step_of(5, 1, b"one text"), step_of(6, 1, b"one text"));
    }

    #[test]
    fn a_prekey_message_carries_the_step_of_the_message_inside() {
        let inner = signal_message(5, 1, b"text");
        let mut outer = vec![0x44, 0x08, 9, 0x22, inner.len() as u8];
        outer.extend_from_slice(&inner);
        assert_eq!(step(EnvelopeKind::Prekey, &outer), step(EnvelopeKind::Ratchet, &inner));
    }

    #[test]
    fn the_step_of_a_sender_key_is_its_distribution_its_chain_and_the_iteration() {
        let step_of = |distribution: u8, chain: u8, iteration: u8, text: &[u8]| {
            let head = [0x33, 0x0a, 2, distribution, distribution, 0x10, chain, 0x18, iteration, 0x22];
            let message = [&head[..], &[text.len() as u8], text, &[0xee; SIGNATURE_BYTES]].concat();
            step(EnvelopeKind::SenderKey, &message).expect("a message has a step")
        };
        assert_eq!(step_of(5, 1, 2, b"one text"), step_of(5, 1, 2, b"another"));
        for other in
            [step_of(6, 1, 2, b"one text"), step_of(5, 3, 2, b"one text"), step_of(5, 1, 3, b"one text")]
        {
            assert_ne!(step_of(5, 1, 2, b"one text"), other);
        }
    }

    #[test]
    fn other_bytes_have_no_step() {
        for bytes in [&b""[..], &[0x44], &[0x44, 0x0a, 200], &[0xff; 40]] {
            assert_eq!(step(EnvelopeKind::Ratchet, bytes), None);
            assert_eq!(step(EnvelopeKind::Prekey, bytes), None);
            assert_eq!(step(EnvelopeKind::SenderKey, bytes), None);
        }
    }
}
