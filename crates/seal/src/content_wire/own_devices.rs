//! The bodies between the devices of one account: their protobuf, and what must be true of them.

use super::{Decoded, at_most, hash, optional, proto};
use crate::ArchiveKey;
use crate::archive::SEALED_PART_BYTES_MAX;
use crate::content::{Body, Content, ContentInvalid};
use crate::opened::fits_account;
use crate::own_devices::{
    ARCHIVE_PARTS_MAX, ArchiveId, ArchivePart, BlockState, ContactState, Forward, HistoryArchive,
    InnerContent, ReadUpTo, SETTINGS_BYTES_MAX, SYNC_ENTRIES_MAX, SentTranscript, SyncState,
};
use types::{AccountId, BlobId, ConversationId, Stamp, Timestamp};

/// What was sent to others is for history: nothing that is itself meant for one's own devices.
pub(super) fn check_transcript(outer: &Content, transcript: &SentTranscript) -> Decoded<()> {
    let inner = transcript.content.get();
    let for_others = !matches!(
        inner.body,
        Body::SentTranscript(_) | Body::Forward(_) | Body::Sync(_) | Body::HistoryArchive(_)
    );
    let addressed = inner.recipient.is_some_and(|to| fits_account(inner, inner.sender.account, to));
    let same_sender = inner.sender == outer.sender;
    if for_others && addressed && same_sender { Ok(()) } else { Err(ContentInvalid("transcript")) }
}

/// What is forwarded came to the account of the device that forwards it: one-to-one, or in a group.
pub(super) fn check_forward(outer: &Content, forward: &Forward) -> Decoded<()> {
    let inner = forward.content.get();
    let forwardable = !matches!(inner.body, Body::Forward(_) | Body::HistoryArchive(_));
    let addressed = match inner.recipient {
        Some(_) => fits_account(inner, inner.sender.account, outer.sender.account),
        None => inner.group.is_some(),
    };
    if forwardable && addressed { Ok(()) } else { Err(ContentInvalid("forward")) }
}

pub(super) fn check_sync(state: &SyncState) -> Decoded<()> {
    at_most(state.read.len(), SYNC_ENTRIES_MAX, "read state")?;
    at_most(state.contacts.len(), SYNC_ENTRIES_MAX, "contacts")?;
    at_most(state.blocks.len(), SYNC_ENTRIES_MAX, "blocks")?;
    at_most(state.settings.len(), SETTINGS_BYTES_MAX, "settings")
}

pub(super) fn check_archive(archive: &HistoryArchive) -> Decoded<()> {
    at_most(archive.parts.len(), ARCHIVE_PARTS_MAX, "archive")?;
    let sizes = 1..=SEALED_PART_BYTES_MAX as u64;
    let valid = !archive.parts.is_empty() && archive.parts.iter().all(|part| sizes.contains(&part.size));
    if valid { Ok(()) } else { Err(ContentInvalid("archive")) }
}

pub(super) fn transcript_to_proto(transcript: &SentTranscript) -> proto::SentTranscript {
    proto::SentTranscript { content: transcript.content.as_bytes().to_vec() }
}

pub(super) fn transcript_from_proto(wire: proto::SentTranscript, depth: usize) -> Decoded<SentTranscript> {
    Ok(SentTranscript { content: InnerContent::at_depth(wire.content, depth + 1)? })
}

pub(super) fn forward_to_proto(forward: &Forward) -> proto::Forward {
    proto::Forward { stamp: forward.stamp.to_bytes().to_vec(), content: forward.content.as_bytes().to_vec() }
}

pub(super) fn forward_from_proto(wire: proto::Forward, depth: usize) -> Decoded<Forward> {
    Ok(Forward {
        stamp: Stamp::from_slice(&wire.stamp)?,
        content: InnerContent::at_depth(wire.content, depth + 1)?,
    })
}

pub(super) fn sync_to_proto(state: &SyncState) -> proto::SyncState {
    let read = state.read.iter().map(|read| proto::ReadUpTo {
        conversation: read.conversation.as_bytes().to_vec(),
        stamp: read.stamp.to_bytes().to_vec(),
    });
    let contacts = state.contacts.iter().map(|contact| proto::ContactState {
        account: contact.account.as_bytes().to_vec(),
        phone: contact.phone.as_ref().map(|phone| phone.e164().to_owned()).unwrap_or_default(),
        verified: contact.verified,
        accepted: contact.accepted,
    });
    let blocks = state.blocks.iter().map(|block| proto::BlockState {
        account: block.account.as_bytes().to_vec(),
        blocked: block.blocked,
        decided_at_ms: block.decided_at.as_millis(),
    });
    proto::SyncState {
        read: read.collect(),
        contacts: contacts.collect(),
        blocks: blocks.collect(),
        settings: state.settings.clone(),
    }
}

pub(super) fn sync_from_proto(wire: proto::SyncState) -> Decoded<SyncState> {
    let read = wire.read.iter().map(|read| {
        Ok(ReadUpTo {
            conversation: ConversationId::from_slice(&read.conversation)?,
            stamp: Stamp::from_slice(&read.stamp)?,
        })
    });
    let contacts = wire.contacts.iter().map(|contact| {
        Ok(ContactState {
            account: AccountId::from_slice(&contact.account)?,
            phone: optional(contact.phone.as_bytes(), |_| contact.phone.parse())?,
            verified: contact.verified,
            accepted: contact.accepted,
        })
    });
    let blocks = wire.blocks.iter().map(|block| {
        Ok(BlockState {
            account: AccountId::from_slice(&block.account)?,
            blocked: block.blocked,
            decided_at: Timestamp::from_millis(block.decided_at_ms),
        })
    });
    Ok(SyncState {
        read: read.collect::<Decoded<_>>()?,
        contacts: contacts.collect::<Decoded<_>>()?,
        blocks: blocks.collect::<Decoded<_>>()?,
        settings: wire.settings,
    })
}

pub(super) fn archive_to_proto(archive: &HistoryArchive) -> proto::HistoryArchive {
    let parts = archive.parts.iter().map(|part| proto::ArchivePart {
        blob: part.blob.as_bytes().to_vec(),
        size: part.size,
        digest: part.digest.to_vec(),
    });
    proto::HistoryArchive {
        archive: archive.archive.as_bytes().to_vec(),
        key: archive.key.as_bytes().to_vec(),
        parts: parts.collect(),
        with_messages: archive.with_messages,
    }
}

pub(super) fn archive_from_proto(wire: proto::HistoryArchive) -> Decoded<HistoryArchive> {
    let parts = wire.parts.iter().map(|part| {
        Ok(ArchivePart {
            blob: BlobId::from_slice(&part.blob)?,
            size: part.size,
            digest: hash(&part.digest)?,
        })
    });
    Ok(HistoryArchive {
        archive: ArchiveId::from_slice(&wire.archive)?,
        key: ArchiveKey::from_slice(&wire.key)?,
        parts: parts.collect::<Decoded<_>>()?,
        with_messages: wire.with_messages,
    })
}
