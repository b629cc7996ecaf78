//! Domain separation: a signature made for one purpose is never valid for another.

use sha2::{Digest, Sha256};

/// What a signature (or a derived id) is for. Each label is ASCII and is followed by one zero byte,
/// so no label is a prefix of another one's input.
#[derive(Clone, Copy)]
pub(crate) enum Label {
    DeviceList,
    DeviceBinding,
    DeviceCertificate,
    GroupOperation,
    Join,
    Session,
    DirectConversation,
    ListsDigest,
}

impl Label {
    const fn text(self) -> &'static str {
        match self {
            Self::DeviceList => "waxwing device list v1",
            Self::DeviceBinding => "waxwing device binding v1",
            Self::DeviceCertificate => "waxwing device certificate v1",
            Self::GroupOperation => "waxwing group operation v1",
            Self::Join => "waxwing join v1",
            Self::Session => "waxwing session v1",
            Self::DirectConversation => "waxwing direct conversation v1",
            Self::ListsDigest => "waxwing lists digest v1",
        }
    }

    /// What is signed: the label, one zero byte, the bytes.
    pub(crate) fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.text().as_bytes(), &[0], bytes].concat()
    }

    /// SHA-256 over the label, one zero byte, the bytes.
    pub(crate) fn hash(self, bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(self.message(bytes)).into()
    }
}
