//! From the generated protobuf of the content to domain types and back: the only folder that sees both.

mod own_devices;

use crate::content::{
    Body, CONTENT_BYTES_MAX, Content, ContentInvalid, DISTRIBUTION_BYTES_MAX, DeliveredMessage, GAPS_MAX,
    GroupView, LinkPreview, ListView, MENTIONS_MAX, Mention, PREVIEW_TEXT_BYTES_MAX,
    PREVIEW_THUMBNAIL_BYTES_MAX, QUOTE_BYTES_MAX, Quote, RECEIPT_MESSAGES_MAX, Receipt, ReceiptKind,
    ResendRequest, SenderKeyDistribution, Text, Void,
};
use crate::own_devices::{NESTED_CONTENT_BYTES_MAX, NESTING_MAX, content_bytes_max};
use crate::proto::content as proto;
use crate::{GroupSecret, LinkSeed};
use prost::Message;
use types::{
    AccountId, ConversationId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, Invalid, MessageId, Stamp,
    Timestamp, limits,
};

type Decoded<T> = Result<T, ContentInvalid>;

impl From<Invalid> for ContentInvalid {
    fn from(invalid: Invalid) -> Self {
        Self(invalid.what)
    }
}

pub(crate) fn encode(content: &Content) -> Result<Vec<u8>, ContentInvalid> {
    check(content)?;
    if let Body::Unsupported(bytes) = &content.body {
        return Ok(bytes.clone());
    }
    let bytes = to_proto(content).encode_to_vec();
    at_most(bytes.len(), content_bytes_max(content), "size")?;
    Ok(bytes)
}

pub(crate) fn decode(bytes: &[u8]) -> Decoded<Content> {
    decode_at(bytes, 0)
}

/// Reads a content that stands in so many others. The depth is checked before anything is read, so that no
/// input leads deeper than an honest one.
pub(crate) fn decode_at(bytes: &[u8], depth: usize) -> Decoded<Content> {
    at_most(depth, NESTING_MAX, "nesting")?;
    at_most(bytes.len(), NESTED_CONTENT_BYTES_MAX, "size")?;
    let wire = proto::Content::decode(bytes).map_err(|_| ContentInvalid("encoding"))?;
    let content = from_proto(wire, bytes, depth)?;
    at_most(bytes.len(), content_bytes_max(&content), "size")?;
    check(&content)?;
    Ok(content)
}

fn check(content: &Content) -> Result<(), ContentInvalid> {
    match &content.body {
        Body::Text(text) => check_text(text),
        Body::Receipt(receipt) => check_receipt(receipt),
        Body::ResendRequest(request) => at_most(request.counters.len(), GAPS_MAX, "gaps"),
        Body::Void(void) => at_most(void.counters.len(), GAPS_MAX, "gaps"),
        Body::SentTranscript(transcript) => own_devices::check_transcript(content, transcript),
        Body::Forward(forward) => own_devices::check_forward(content, forward),
        Body::Sync(state) => own_devices::check_sync(state),
        Body::HistoryArchive(archive) => own_devices::check_archive(archive),
        Body::SenderKeyDistribution(sender_key) => check_distribution(&sender_key.distribution),
        Body::SessionReset | Body::GroupSecret { .. } => Ok(()),
        Body::Unsupported(bytes) => at_most(bytes.len(), CONTENT_BYTES_MAX, "size"),
    }
}

fn check_text(text: &Text) -> Result<(), ContentInvalid> {
    at_most(text.text.len(), limits::TEXT_BYTES_MAX, "text")?;
    at_most(text.mentions.len(), MENTIONS_MAX, "mentions")?;
    if let Some(quote) = &text.quote {
        at_most(quote.excerpt.len(), QUOTE_BYTES_MAX, "quote")?;
    }
    if let Some(preview) = &text.preview {
        let longest = [&preview.url, &preview.title, &preview.description].map(String::len).into_iter().max();
        at_most(longest.unwrap_or(0), PREVIEW_TEXT_BYTES_MAX, "link preview")?;
        at_most(preview.thumbnail.len(), PREVIEW_THUMBNAIL_BYTES_MAX, "link preview")?;
    }
    Ok(())
}

/// A delivery receipt names messages; the others name a point in the conversation.
fn check_receipt(receipt: &Receipt) -> Result<(), ContentInvalid> {
    at_most(receipt.delivered.len(), RECEIPT_MESSAGES_MAX, "receipt")?;
    let says_something = match receipt.kind {
        ReceiptKind::Delivered => !receipt.delivered.is_empty(),
        ReceiptKind::Read | ReceiptKind::Played => receipt.up_to.is_some(),
    };
    if says_something { Ok(()) } else { Err(ContentInvalid("receipt")) }
}

fn check_distribution(distribution: &[u8]) -> Result<(), ContentInvalid> {
    at_most(distribution.len(), DISTRIBUTION_BYTES_MAX, "distribution")?;
    if distribution.is_empty() { Err(ContentInvalid("distribution")) } else { Ok(()) }
}

fn at_most(length: usize, max: usize, what: &'static str) -> Result<(), ContentInvalid> {
    if length <= max { Ok(()) } else { Err(ContentInvalid(what)) }
}

fn to_proto(content: &Content) -> proto::Content {
    let group = content.group;
    proto::Content {
        message_id: content.message_id.as_bytes().to_vec(),
        conversation: content.conversation.as_bytes().to_vec(),
        sent_at_ms: content.sent_at.as_millis(),
        sender_account: content.sender.account.as_bytes().to_vec(),
        sender_device: content.sender.device.get().into(),
        recipient_account: content.recipient.map(|account| account.as_bytes().to_vec()).unwrap_or_default(),
        counter: content.counter,
        own_list: content.own_list.map(view_to_proto),
        recipient_list: content.recipient_list.map(view_to_proto),
        group_epoch: group.map_or(0, |view| view.epoch),
        group_head: group.map(|view| view.head.to_vec()).unwrap_or_default(),
        expire_after_seconds: content.expire_after_seconds,
        sender_phone: content.sender_phone.as_ref().map(|phone| phone.e164().to_owned()).unwrap_or_default(),
        original_stamp: content.original_stamp.map(|stamp| stamp.to_bytes().to_vec()).unwrap_or_default(),
        body: body_to_proto(&content.body),
    }
}

fn from_proto(wire: proto::Content, bytes: &[u8], depth: usize) -> Decoded<Content> {
    Ok(Content {
        message_id: MessageId::from_slice(&wire.message_id)?,
        conversation: ConversationId::from_slice(&wire.conversation)?,
        sent_at: Timestamp::from_millis(wire.sent_at_ms),
        sender: DeviceAddress::new(
            AccountId::from_slice(&wire.sender_account)?,
            DeviceNumber::new(wire.sender_device)?,
        ),
        recipient: optional(&wire.recipient_account, AccountId::from_slice)?,
        counter: wire.counter,
        own_list: wire.own_list.map(view_from_proto).transpose()?,
        recipient_list: wire.recipient_list.map(view_from_proto).transpose()?,
        group: group_from_proto(wire.group_epoch, &wire.group_head)?,
        expire_after_seconds: wire.expire_after_seconds,
        sender_phone: optional(wire.sender_phone.as_bytes(), |_| wire.sender_phone.parse())?,
        original_stamp: optional(&wire.original_stamp, Stamp::from_slice)?,
        body: body_from_proto(wire.body, bytes, depth)?,
    })
}

fn view_to_proto(view: ListView) -> proto::ListView {
    proto::ListView { version: view.version, hash: view.hash.to_vec() }
}

fn view_from_proto(wire: proto::ListView) -> Decoded<ListView> {
    Ok(ListView { version: wire.version, hash: hash(&wire.hash)? })
}

fn group_from_proto(epoch: u64, head: &[u8]) -> Decoded<Option<GroupView>> {
    match head {
        [] if epoch == 0 => Ok(None),
        head => Ok(Some(GroupView { epoch, head: hash(head)? })),
    }
}

fn hash(bytes: &[u8]) -> Decoded<[u8; 32]> {
    bytes.try_into().map_err(|_| ContentInvalid("hash"))
}

/// Empty bytes stand for an absent field.
fn optional<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> Result<T, Invalid>) -> Decoded<Option<T>> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(read(bytes)?)) }
}

fn body_to_proto(body: &Body) -> Option<proto::content::Body> {
    use proto::content::Body as Wire;
    match body {
        Body::Text(text) => Some(Wire::Text(text_to_proto(text))),
        Body::Receipt(receipt) => Some(Wire::Receipt(receipt_to_proto(receipt))),
        Body::ResendRequest(request) => Some(Wire::ResendRequest(request_to_proto(request))),
        Body::Void(void) => Some(Wire::Void(void_to_proto(void))),
        Body::SessionReset => Some(Wire::SessionReset(proto::SessionReset {})),
        Body::SentTranscript(transcript) => {
            Some(Wire::SentTranscript(own_devices::transcript_to_proto(transcript)))
        }
        Body::Sync(state) => Some(Wire::SyncState(own_devices::sync_to_proto(state))),
        Body::Forward(forward) => Some(Wire::Forward(own_devices::forward_to_proto(forward))),
        Body::HistoryArchive(archive) => Some(Wire::HistoryArchive(own_devices::archive_to_proto(archive))),
        Body::SenderKeyDistribution(sender_key) => {
            Some(Wire::SenderKeyDistribution(distribution_to_proto(sender_key)))
        }
        Body::GroupSecret { group, secret, link } => Some(Wire::GroupSecret(proto::GroupSecret {
            group: group.as_bytes().to_vec(),
            secret: secret.as_bytes().to_vec(),
            link_seed: link.as_ref().map(|seed| seed.as_bytes().to_vec()).unwrap_or_default(),
        })),
        Body::Unsupported(_) => None,
    }
}

fn body_from_proto(wire: Option<proto::content::Body>, bytes: &[u8], depth: usize) -> Decoded<Body> {
    use proto::content::Body as Wire;
    Ok(match wire {
        Some(Wire::Text(text)) => Body::Text(text_from_proto(text)?),
        Some(Wire::Receipt(receipt)) => Body::Receipt(receipt_from_proto(receipt)?),
        Some(Wire::ResendRequest(request)) => Body::ResendRequest(request_from_proto(request)?),
        Some(Wire::Void(void)) => Body::Void(void_from_proto(void)?),
        Some(Wire::SessionReset(_)) => Body::SessionReset,
        Some(Wire::SentTranscript(transcript)) => {
            Body::SentTranscript(own_devices::transcript_from_proto(transcript, depth)?)
        }
        Some(Wire::SyncState(state)) => Body::Sync(own_devices::sync_from_proto(state)?),
        Some(Wire::Forward(forward)) => Body::Forward(own_devices::forward_from_proto(forward, depth)?),
        Some(Wire::HistoryArchive(archive)) => {
            Body::HistoryArchive(own_devices::archive_from_proto(archive)?)
        }
        Some(Wire::SenderKeyDistribution(sender_key)) => {
            Body::SenderKeyDistribution(distribution_from_proto(sender_key)?)
        }
        Some(Wire::GroupSecret(shared)) => Body::GroupSecret {
            group: GroupId::from_slice(&shared.group)?,
            secret: GroupSecret::from_slice(&shared.secret)?,
            link: optional(&shared.link_seed, LinkSeed::from_slice)?,
        },
        // Absent: a body with a field number that this version has never heard of.
        Some(_) | None => Body::Unsupported(bytes.to_vec()),
    })
}

fn text_to_proto(text: &Text) -> proto::Text {
    proto::Text {
        text: text.text.clone(),
        quote: text.quote.as_ref().map(|quote| proto::Quote {
            message_id: quote.message_id.as_bytes().to_vec(),
            author: quote.author.as_bytes().to_vec(),
            excerpt: quote.excerpt.clone(),
        }),
        mentions: text.mentions.iter().map(mention_to_proto).collect(),
        preview: text.preview.as_ref().map(|preview| proto::LinkPreview {
            url: preview.url.clone(),
            title: preview.title.clone(),
            description: preview.description.clone(),
            thumbnail: preview.thumbnail.clone(),
        }),
    }
}

fn mention_to_proto(mention: &Mention) -> proto::Mention {
    proto::Mention {
        start: mention.start,
        length: mention.length,
        account: mention.account.as_bytes().to_vec(),
    }
}

fn text_from_proto(wire: proto::Text) -> Decoded<Text> {
    Ok(Text {
        text: wire.text,
        quote: wire.quote.map(quote_from_proto).transpose()?,
        mentions: wire.mentions.into_iter().map(mention_from_proto).collect::<Decoded<_>>()?,
        preview: wire.preview.map(|preview| LinkPreview {
            url: preview.url,
            title: preview.title,
            description: preview.description,
            thumbnail: preview.thumbnail,
        }),
    })
}

fn quote_from_proto(wire: proto::Quote) -> Decoded<Quote> {
    Ok(Quote {
        message_id: MessageId::from_slice(&wire.message_id)?,
        author: AccountId::from_slice(&wire.author)?,
        excerpt: wire.excerpt,
    })
}

fn mention_from_proto(wire: proto::Mention) -> Decoded<Mention> {
    Ok(Mention { start: wire.start, length: wire.length, account: AccountId::from_slice(&wire.account)? })
}

fn receipt_to_proto(receipt: &Receipt) -> proto::Receipt {
    use proto::receipt::Kind;
    let kind = match receipt.kind {
        ReceiptKind::Delivered => Kind::Delivered,
        ReceiptKind::Read => Kind::Read,
        ReceiptKind::Played => Kind::Played,
    };
    let delivered = receipt.delivered.iter().map(|message| proto::DeliveredMessage {
        message_id: message.message_id.as_bytes().to_vec(),
        stamp: message.stamp.to_bytes().to_vec(),
    });
    proto::Receipt {
        kind: kind.into(),
        delivered: delivered.collect(),
        up_to: receipt.up_to.map(|stamp| stamp.to_bytes().to_vec()).unwrap_or_default(),
        chat_conversation: receipt.conversation.as_bytes().to_vec(),
    }
}

fn receipt_from_proto(wire: proto::Receipt) -> Decoded<Receipt> {
    use proto::receipt::Kind;
    let kind = match wire.kind() {
        Kind::Delivered => ReceiptKind::Delivered,
        Kind::Read => ReceiptKind::Read,
        Kind::Played => ReceiptKind::Played,
        Kind::Unspecified => return Err(ContentInvalid("receipt")),
    };
    let delivered = wire.delivered.iter().map(|message| {
        Ok(DeliveredMessage {
            message_id: MessageId::from_slice(&message.message_id)?,
            stamp: Stamp::from_slice(&message.stamp)?,
        })
    });
    Ok(Receipt {
        kind,
        delivered: delivered.collect::<Decoded<_>>()?,
        up_to: optional(&wire.up_to, Stamp::from_slice)?,
        conversation: ConversationId::from_slice(&wire.chat_conversation)?,
    })
}

fn request_to_proto(request: &ResendRequest) -> proto::ResendRequest {
    proto::ResendRequest {
        conversation: request.conversation.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        counters: request.counters.clone(),
        envelope_id: request.envelope_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        message_id: request.message_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
    }
}

fn request_from_proto(wire: proto::ResendRequest) -> Decoded<ResendRequest> {
    Ok(ResendRequest {
        conversation: optional(&wire.conversation, ConversationId::from_slice)?,
        counters: wire.counters,
        envelope_id: optional(&wire.envelope_id, EnvelopeId::from_slice)?,
        message_id: optional(&wire.message_id, MessageId::from_slice)?,
    })
}

fn void_to_proto(void: &Void) -> proto::Void {
    proto::Void {
        conversation: void.conversation.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        counters: void.counters.clone(),
        envelope_id: void.envelope_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
    }
}

fn void_from_proto(wire: proto::Void) -> Decoded<Void> {
    Ok(Void {
        conversation: optional(&wire.conversation, ConversationId::from_slice)?,
        counters: wire.counters,
        envelope_id: optional(&wire.envelope_id, EnvelopeId::from_slice)?,
    })
}

fn distribution_to_proto(sender_key: &SenderKeyDistribution) -> proto::SenderKeyDistribution {
    proto::SenderKeyDistribution {
        group: sender_key.group.as_bytes().to_vec(),
        distribution: sender_key.distribution.clone(),
        secret: sender_key.secret.as_bytes().to_vec(),
        counter: sender_key.counter,
    }
}

fn distribution_from_proto(wire: proto::SenderKeyDistribution) -> Decoded<SenderKeyDistribution> {
    Ok(SenderKeyDistribution {
        group: GroupId::from_slice(&wire.group)?,
        distribution: wire.distribution,
        secret: GroupSecret::from_slice(&wire.secret)?,
        counter: wire.counter,
    })
}
