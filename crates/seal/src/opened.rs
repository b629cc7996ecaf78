//! What came in: a ciphertext as it arrived, and a content that was opened but must not be read yet.

use crate::content::{Content, ListView};
use crate::session::SealKind;
use crate::{DecryptFailure, Peer, padding};
use signed::IdentityKey;
use types::{AccountId, DeviceAddress, DeviceNumber, GroupId, Invalid};
use zeroize::Zeroizing;

/// A ciphertext as it came out of a mailbox, and what is known of its sender.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The sender, as the server says.
    pub from: DeviceAddress,
    /// The device that it was addressed to; any other than this one is refused.
    pub to: DeviceAddress,
    /// How it is to be read, as the server says.
    pub kind: SealKind,
    /// The bytes.
    pub ciphertext: &'a [u8],
    /// What the sender account's verified list says about the sender device, where it is known and has it.
    /// With it, a message under another key is refused before any state is touched
    /// ([`DecryptFailure::Unlisted`]): fetch the list, and try again.
    pub listed: Option<Peer>,
    /// The group that a message under a sender key belongs to, as the server says.
    pub group: Option<GroupId>,
}

/// A content that was opened, is authentic, and must not be shown, acted on or answered before
/// [`Opened::verify`] has found its key on the sender's verified device list. It can be stored and held
/// until that list arrives.
#[derive(Clone)]
pub struct Opened {
    pub(crate) from: DeviceAddress,
    pub(crate) to: DeviceAddress,
    pub(crate) identity: IdentityKey,
    pub(crate) group: Option<GroupId>,
    pub(crate) content: Zeroizing<Vec<u8>>,
    pub(crate) sender_list: Option<ListView>,
}

/// Held contents begin with this byte; another one belongs to another version of this form.
const HELD_VERSION: u8 = 1;

impl Opened {
    /// Reads a decrypted plaintext: padding, form, and the addresses inside, before anything is committed.
    pub(crate) fn read(
        arrival: &Arrival<'_>,
        plaintext: &[u8],
        identity: IdentityKey,
        group: Option<GroupId>,
    ) -> Result<Self, DecryptFailure> {
        let bytes = padding::unpad(plaintext).map_err(|_| DecryptFailure::BadPadding)?;
        let content = Content::decode(bytes).map_err(|_| DecryptFailure::BadContent)?;
        check_addresses(&content, arrival.from, arrival.to.account, group)?;
        Ok(Self {
            from: arrival.from,
            to: arrival.to,
            identity,
            group,
            content: Zeroizing::new(bytes.to_vec()),
            sender_list: content.own_list,
        })
    }

    /// The device whose key opened it.
    pub const fn from(&self) -> DeviceAddress {
        self.from
    }

    /// Which version of its own account's device list the sender had in view: the one to fetch if ours is
    /// older. A claim, until the content is verified.
    pub const fn sender_list(&self) -> Option<ListView> {
        self.sender_list
    }

    /// Gives the content if the sender device's listed identity is the one that encrypted it, and the
    /// addresses inside the seal are those that it came with.
    ///
    /// `sender` is the sender device's line on its account's verified list; `None` if there is none.
    pub fn verify(&self, sender: Option<&Peer>) -> Result<Content, DecryptFailure> {
        let listed =
            sender.is_some_and(|peer| peer.address() == self.from && *peer.identity() == self.identity);
        if !listed {
            return Err(DecryptFailure::Unlisted);
        }
        let content = Content::decode(&self.content).map_err(|_| DecryptFailure::BadContent)?;
        check_addresses(&content, self.from, self.to.account, self.group)?;
        Ok(content)
    }

    /// For holding: everything, with the content in clear. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Vec::with_capacity(128 + self.content.len());
        bytes.push(HELD_VERSION);
        for address in [self.from, self.to] {
            bytes.extend_from_slice(address.account.as_bytes());
            bytes.push(address.device.get());
        }
        bytes.extend_from_slice(self.identity.as_bytes());
        bytes.push(u8::from(self.group.is_some()));
        bytes.extend_from_slice(self.group.as_ref().map_or(&[0; 16], |group| group.as_bytes()));
        bytes.extend_from_slice(&self.content);
        Zeroizing::new(bytes)
    }

    /// Reads what [`Opened::to_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        read_held(bytes).ok_or(Invalid { what: "held content" })
    }
}

fn read_held(bytes: &[u8]) -> Option<Opened> {
    let bytes = bytes.strip_prefix(&[HELD_VERSION])?;
    let (from, bytes) = read_address(bytes)?;
    let (to, bytes) = read_address(bytes)?;
    let (identity, bytes) = bytes.split_at_checked(33)?;
    let (has_group, bytes) = bytes.split_first()?;
    let (group, content) = bytes.split_at_checked(16)?;
    let group = GroupId::from_slice(group).ok()?;
    Some(Opened {
        from,
        to,
        identity: IdentityKey::from_slice(identity).ok()?,
        group: (*has_group == 1).then_some(group),
        sender_list: Content::decode(content).ok()?.own_list,
        content: Zeroizing::new(content.to_vec()),
    })
}

fn read_address(bytes: &[u8]) -> Option<(DeviceAddress, &[u8])> {
    let (account, bytes) = bytes.split_at_checked(16)?;
    let (device, bytes) = bytes.split_first()?;
    let address =
        DeviceAddress::new(AccountId::from_slice(account).ok()?, DeviceNumber::new((*device).into()).ok()?);
    Some((address, bytes))
}

/// The addresses inside the seal bind a ciphertext to its two ends; the library's MAC does not.
pub(crate) fn check_addresses(
    content: &Content,
    from: DeviceAddress,
    to: AccountId,
    group: Option<GroupId>,
) -> Result<(), DecryptFailure> {
    let fits = match group {
        Some(group) => fits_group(content, group),
        None => fits_account(content, from.account, to),
    };
    if content.sender == from && fits { Ok(()) } else { Err(DecryptFailure::WrongAddress) }
}

/// Under a sender key: for nobody in particular, in that group.
fn fits_group(content: &Content, group: GroupId) -> bool {
    content.recipient.is_none()
        && content.group.is_some()
        && content.conversation.as_bytes() == group.as_bytes()
}

/// One-to-one: for this account, in the conversation of the two (or of the devices of one), or, with a view of its
/// chain, in a group. A group's content never passes as part of a conversation of two.
pub(crate) fn fits_account(content: &Content, from: AccountId, to: AccountId) -> bool {
    let direct = content.conversation == signed::direct_conversation(from, to);
    content.recipient == Some(to) && direct != content.group.is_some()
}
