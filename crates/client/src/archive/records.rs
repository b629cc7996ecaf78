//! The records of an archive, and the only file that sees their generated protobuf (`proto/archive.proto`).

use super::ArchiveError;
use crate::store::key_changes::KeyChange;
use prost::Message as _;
use seal::{GroupSecret, LinkSeed, SyncKey};
use signed::{AccountSecret, DeviceKey, DeviceList};
use types::{
    AccountId, ChatId, DeviceAddress, DeviceNumber, GroupId, Invalid, MessageId, PhoneNumber, Stamp,
    Timestamp,
};
use zeroize::Zeroizing;

/// Generated code; private, because wire types stop here.
#[allow(missing_docs)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/waxwing.archive.v1.rs"));
}

use proto::archive_record::Record as Kind;

/// The format that is written; a reader refuses a higher one.
const FORMAT: u32 = 1;

/// One thing that an archive says.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// The first record.
    Beginning(Beginning),
    /// In a backup.
    Account(Box<AccountRecord>),
    Contact(Box<ContactRecord>),
    Chat(ChatRecord),
    Heard(HeardRecord),
    Group {
        group: GroupId,
        secret: GroupSecret,
        link: Option<LinkSeed>,
    },
    GroupOperation {
        group: GroupId,
        operation: Vec<u8>,
    },
    Message(Box<MessageRecord>),
    RemovedDevice {
        account: AccountId,
        device_key: DeviceKey,
    },
    KeyChange(KeyChange),
    Held(HeldRecord),
    /// Of a later version; skipped.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) account: AccountId,
    pub(crate) cut_at: Timestamp,
    pub(crate) with_messages: bool,
}

#[derive(Clone)]
pub(crate) struct AccountRecord {
    pub(crate) secret: AccountSecret,
    pub(crate) phone: PhoneNumber,
    pub(crate) name: Option<String>,
    pub(crate) server: String,
    pub(crate) sync_key: Option<SyncKey>,
    pub(crate) list: DeviceList,
    pub(crate) list_version: u64,
}

impl std::fmt::Debug for AccountRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountRecord(redacted)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContactRecord {
    pub(crate) account: AccountId,
    pub(crate) name: Option<String>,
    /// Checked to lead here, and when.
    pub(crate) phone: Option<(PhoneNumber, Timestamp)>,
    pub(crate) verified: bool,
    pub(crate) closed: bool,
    pub(crate) heard: bool,
    /// Whether it is blocked, and when that was decided.
    pub(crate) block: (bool, Timestamp),
    pub(crate) list: Option<DeviceList>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatRecord {
    pub(crate) chat: ChatId,
    pub(crate) read_up_to: Option<Stamp>,
    pub(crate) peer_reads: Vec<(DeviceAddress, Stamp, Timestamp)>,
}

/// The chat is named by its bytes: which kind it is stands in its own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeardRecord {
    pub(crate) chat: [u8; 16],
    pub(crate) sender: DeviceAddress,
    pub(crate) counter: u64,
}

/// A text that waits for the person to accept where a number leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldRecord {
    pub(crate) id: MessageId,
    /// Where the number led when it was written.
    pub(crate) old_account: AccountId,
    pub(crate) sent_at: Timestamp,
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageRecord {
    pub(crate) id: MessageId,
    pub(crate) chat: [u8; 16],
    pub(crate) sender: DeviceAddress,
    pub(crate) counter: u64,
    pub(crate) sent_at: Timestamp,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) text: String,
    pub(crate) failure: Option<String>,
    pub(crate) deliveries: Vec<DeliveryRecord>,
    /// In a group: the epoch in which it was sealed, where that is known.
    pub(crate) group_epoch: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryRecord {
    pub(crate) by: DeviceAddress,
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) read_at: Option<Timestamp>,
}

impl Record {
    /// The record after its length.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let record = proto::ArchiveRecord { record: Some(self.to_proto()) };
        Zeroizing::new(record.encode_length_delimited_to_vec())
    }

    /// Takes the first record of a part.
    pub(crate) fn take(part: &mut &[u8]) -> Result<Self, ArchiveError> {
        let record =
            proto::ArchiveRecord::decode_length_delimited(&mut *part).map_err(|_| ArchiveError::Damaged)?;
        match record.record {
            None => Ok(Self::Unknown),
            Some(Kind::Beginning(beginning)) if beginning.format > FORMAT => Err(ArchiveError::Newer),
            Some(kind) => Self::from_proto(kind).map_err(|_| ArchiveError::Damaged),
        }
    }

    fn to_proto(&self) -> Kind {
        match self {
            Self::Beginning(beginning) => Kind::Beginning(proto::Beginning {
                format: FORMAT,
                account: beginning.account.as_bytes().to_vec(),
                cut_at_ms: beginning.cut_at.as_millis(),
                with_messages: beginning.with_messages,
            }),
            Self::Account(account) => Kind::Account(account.to_proto()),
            Self::Contact(contact) => Kind::Contact(contact.to_proto()),
            Self::Chat(chat) => Kind::Chat(chat.to_proto()),
            Self::Heard(heard) => Kind::Heard(proto::Heard {
                chat: heard.chat.to_vec(),
                account: heard.sender.account.as_bytes().to_vec(),
                device: heard.sender.device.get().into(),
                counter: heard.counter,
            }),
            Self::Group { group, secret, link } => Kind::Group(proto::Group {
                group: group.as_bytes().to_vec(),
                secret: secret.as_bytes().to_vec(),
                link_seed: link.as_ref().map(|seed| seed.as_bytes().to_vec()).unwrap_or_default(),
            }),
            Self::GroupOperation { group, operation } => Kind::GroupOperation(proto::GroupOperation {
                group: group.as_bytes().to_vec(),
                operation: operation.clone(),
            }),
            Self::Message(message) => Kind::Message(message.to_proto()),
            Self::RemovedDevice { account, device_key } => Kind::RemovedDevice(proto::RemovedDevice {
                account: account.as_bytes().to_vec(),
                device_key: device_key.as_bytes().to_vec(),
            }),
            Self::KeyChange(change) => Kind::KeyChange(proto::KeyChange {
                phone: change.phone.e164().to_owned(),
                old_account: change.old_account.as_bytes().to_vec(),
                account: change.account.as_bytes().to_vec(),
            }),
            Self::Held(held) => Kind::Held(proto::Held {
                message_id: held.id.as_bytes().to_vec(),
                old_account: held.old_account.as_bytes().to_vec(),
                sent_at_ms: held.sent_at.as_millis(),
                text: held.text.clone(),
            }),
            // Never written; an empty group operation would be, so there is nothing better to say.
            Self::Unknown => Kind::GroupOperation(proto::GroupOperation::default()),
        }
    }

    fn from_proto(kind: Kind) -> Result<Self, Invalid> {
        Ok(match kind {
            Kind::Beginning(beginning) => Self::Beginning(Beginning {
                account: AccountId::from_slice(&beginning.account)?,
                cut_at: Timestamp::from_millis(beginning.cut_at_ms),
                with_messages: beginning.with_messages,
            }),
            Kind::Account(account) => Self::Account(Box::new(AccountRecord::from_proto(account)?)),
            Kind::Contact(contact) => Self::Contact(Box::new(ContactRecord::from_proto(contact)?)),
            Kind::Chat(chat) => match ChatRecord::from_proto(chat)? {
                Some(chat) => Self::Chat(chat),
                None => Self::Unknown,
            },
            Kind::Heard(heard) => Self::Heard(HeardRecord {
                chat: exactly(&heard.chat, "chat")?,
                sender: address(&heard.account, heard.device)?,
                counter: heard.counter,
            }),
            Kind::Group(group) => Self::Group {
                group: GroupId::from_slice(&group.group)?,
                secret: GroupSecret::from_slice(&group.secret)?,
                link: match group.link_seed.is_empty() {
                    true => None,
                    false => Some(LinkSeed::from_slice(&group.link_seed)?),
                },
            },
            Kind::GroupOperation(operation) => Self::GroupOperation {
                group: GroupId::from_slice(&operation.group)?,
                operation: operation.operation,
            },
            Kind::Message(message) => Self::Message(Box::new(MessageRecord::from_proto(message)?)),
            Kind::RemovedDevice(removed) => Self::RemovedDevice {
                account: AccountId::from_slice(&removed.account)?,
                device_key: DeviceKey::from_slice(&removed.device_key)?,
            },
            Kind::KeyChange(change) => Self::KeyChange(KeyChange {
                phone: change.phone.parse()?,
                old_account: AccountId::from_slice(&change.old_account)?,
                account: AccountId::from_slice(&change.account)?,
            }),
            Kind::Held(held) => Self::Held(HeldRecord {
                id: MessageId::from_slice(&held.message_id)?,
                old_account: AccountId::from_slice(&held.old_account)?,
                sent_at: Timestamp::from_millis(held.sent_at_ms),
                text: held.text,
            }),
        })
    }
}

impl AccountRecord {
    fn to_proto(&self) -> proto::Account {
        proto::Account {
            account_secret: self.secret.to_bytes().to_vec(),
            phone: self.phone.e164().to_owned(),
            name: self.name.clone().unwrap_or_default(),
            server: self.server.clone(),
            sync_key: self.sync_key.as_ref().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            device_list: self.list.as_bytes().to_vec(),
            list_version: self.list_version,
        }
    }

    fn from_proto(account: proto::Account) -> Result<Self, Invalid> {
        let secret = AccountSecret::from_bytes(&exactly(&account.account_secret, "account secret")?);
        let list = verified_list(&account.device_list)?;
        if list.account_key() != &secret.public() {
            return Err(Invalid { what: "device list" });
        }
        Ok(Self {
            secret,
            phone: account.phone.parse()?,
            name: filled(account.name),
            server: account.server,
            sync_key: match account.sync_key.is_empty() {
                true => None,
                false => Some(SyncKey::from_slice(&account.sync_key)?),
            },
            list_version: account.list_version.max(list.version()),
            list,
        })
    }
}

impl ContactRecord {
    fn to_proto(&self) -> proto::Contact {
        let (phone, checked_at_ms) = match &self.phone {
            Some((phone, checked_at)) => (phone.e164().to_owned(), checked_at.as_millis()),
            None => Default::default(),
        };
        proto::Contact {
            account: self.account.as_bytes().to_vec(),
            name: self.name.clone().unwrap_or_default(),
            phone,
            checked_at_ms,
            verified: self.verified,
            closed: self.closed,
            heard: self.heard,
            blocked: self.block.0,
            block_decided_at_ms: self.block.1.as_millis(),
            device_list: self.list.as_ref().map(|list| list.as_bytes().to_vec()).unwrap_or_default(),
        }
    }

    fn from_proto(contact: proto::Contact) -> Result<Self, Invalid> {
        let account = AccountId::from_slice(&contact.account)?;
        let list = match contact.device_list.is_empty() {
            true => None,
            false => Some(verified_list(&contact.device_list)?),
        };
        if list.as_ref().is_some_and(|list| list.account() != account) {
            return Err(Invalid { what: "device list" });
        }
        let phone = match contact.phone.is_empty() {
            true => None,
            false => Some((contact.phone.parse()?, Timestamp::from_millis(contact.checked_at_ms))),
        };
        Ok(Self {
            account,
            name: filled(contact.name),
            phone,
            verified: contact.verified,
            closed: contact.closed,
            heard: contact.heard,
            block: (contact.blocked, Timestamp::from_millis(contact.block_decided_at_ms)),
            list,
        })
    }
}

impl ChatRecord {
    fn to_proto(&self) -> proto::Chat {
        let kind = match self.chat {
            ChatId::Direct(_) => proto::chat::Kind::Direct,
            ChatId::Group(_) => proto::chat::Kind::Group,
        };
        let peer_reads = self.peer_reads.iter().map(|(by, up_to, at)| proto::PeerRead {
            account: by.account.as_bytes().to_vec(),
            device: by.device.get().into(),
            up_to: up_to.to_bytes().to_vec(),
            at_ms: at.as_millis(),
        });
        proto::Chat {
            chat: self.chat.as_bytes().to_vec(),
            kind: kind.into(),
            read_up_to: stamp_bytes(self.read_up_to),
            peer_reads: peer_reads.collect(),
        }
    }

    /// None for a kind of a later version.
    fn from_proto(chat: proto::Chat) -> Result<Option<Self>, Invalid> {
        let id = match chat.kind() {
            proto::chat::Kind::Direct => ChatId::Direct(AccountId::from_slice(&chat.chat)?),
            proto::chat::Kind::Group => ChatId::Group(GroupId::from_slice(&chat.chat)?),
            proto::chat::Kind::Unspecified => return Ok(None),
        };
        let peer_read = |read: proto::PeerRead| {
            let by = address(&read.account, read.device)?;
            Ok((by, Stamp::from_slice(&read.up_to)?, Timestamp::from_millis(read.at_ms)))
        };
        Ok(Some(Self {
            chat: id,
            read_up_to: stamp(&chat.read_up_to)?,
            peer_reads: chat.peer_reads.into_iter().map(peer_read).collect::<Result<_, Invalid>>()?,
        }))
    }
}

impl MessageRecord {
    fn to_proto(&self) -> proto::Message {
        let deliveries = self.deliveries.iter().map(|delivery| proto::Delivery {
            account: delivery.by.account.as_bytes().to_vec(),
            device: delivery.by.device.get().into(),
            delivered_at_ms: delivery.delivered_at.map_or(0, Timestamp::as_millis),
            read_at_ms: delivery.read_at.map_or(0, Timestamp::as_millis),
        });
        proto::Message {
            message_id: self.id.as_bytes().to_vec(),
            chat: self.chat.to_vec(),
            sender: self.sender.account.as_bytes().to_vec(),
            device: self.sender.device.get().into(),
            counter: self.counter,
            sent_at_ms: self.sent_at.as_millis(),
            stamp: stamp_bytes(self.stamp),
            text: self.text.clone(),
            failure: self.failure.clone().unwrap_or_default(),
            deliveries: deliveries.collect(),
            group_epoch: self.group_epoch,
        }
    }

    fn from_proto(message: proto::Message) -> Result<Self, Invalid> {
        let time = |millis| (millis > 0).then(|| Timestamp::from_millis(millis));
        let delivery = |delivery: proto::Delivery| {
            Ok(DeliveryRecord {
                by: address(&delivery.account, delivery.device)?,
                delivered_at: time(delivery.delivered_at_ms),
                read_at: time(delivery.read_at_ms),
            })
        };
        Ok(Self {
            id: MessageId::from_slice(&message.message_id)?,
            chat: exactly(&message.chat, "chat")?,
            sender: address(&message.sender, message.device)?,
            counter: message.counter,
            sent_at: Timestamp::from_millis(message.sent_at_ms),
            stamp: stamp(&message.stamp)?,
            text: message.text,
            failure: filled(message.failure),
            deliveries: message.deliveries.into_iter().map(delivery).collect::<Result<_, Invalid>>()?,
            group_epoch: message.group_epoch,
        })
    }
}

fn verified_list(bytes: &[u8]) -> Result<DeviceList, Invalid> {
    DeviceList::verify(bytes).map_err(|_| Invalid { what: "device list" })
}

fn address(account: &[u8], device: u32) -> Result<DeviceAddress, Invalid> {
    Ok(DeviceAddress::new(AccountId::from_slice(account)?, DeviceNumber::new(device)?))
}

fn exactly<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Invalid> {
    bytes.try_into().map_err(|_| Invalid { what })
}

fn stamp_bytes(stamp: Option<Stamp>) -> Vec<u8> {
    stamp.map(|stamp| stamp.to_bytes().to_vec()).unwrap_or_default()
}

fn stamp(bytes: &[u8]) -> Result<Option<Stamp>, Invalid> {
    if bytes.is_empty() { Ok(None) } else { Stamp::from_slice(bytes).map(Some) }
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
