//! The two fields that every signed thing on the wire has: the bytes as carried, and the signature.
//!
//! A wrapper has exactly one encoding. Were a second one accepted, whoever relays it could change
//! its hash without touching what was signed, and make one list or operation look like two.

use crate::{Signature, proto};
use prost::Message;

/// The carried bytes and their signature, not verified yet.
pub(crate) struct Wrapper {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signature: Signature,
}

impl Wrapper {
    /// Reads the only valid encoding.
    pub(crate) fn decode(carried: &[u8]) -> Option<Self> {
        // All three wrappers of the contract have this shape; a test holds them to it.
        let wrapper = proto::SignedDeviceList::decode(carried).ok()?;
        if wrapper.encode_to_vec() != carried {
            return None;
        }
        let signature = Signature::from_slice(&wrapper.signature).ok()?;
        Some(Self { bytes: wrapper.list, signature })
    }

    /// The only valid encoding.
    pub(crate) fn encode(bytes: Vec<u8>, signature: &Signature) -> Vec<u8> {
        proto::SignedDeviceList { list: bytes, signature: signature.as_bytes().to_vec() }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use crate::proto;
    use prost::Message;

    #[test]
    fn every_wrapper_has_the_same_shape() {
        let (bytes, signature) = (vec![1, 2, 3], vec![4; 64]);
        let list = proto::SignedDeviceList { list: bytes.clone(), signature: signature.clone() };
        let certificate =
            proto::SignedDeviceCertificate { certificate: bytes.clone(), signature: signature.clone() };
        let operation = proto::SignedGroupOperation { operation: bytes, signature };
        assert_eq!(list.encode_to_vec(), certificate.encode_to_vec());
        assert_eq!(list.encode_to_vec(), operation.encode_to_vec());
    }
}
