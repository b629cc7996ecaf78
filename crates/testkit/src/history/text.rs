//! Ids in their text forms, because JSON has neither bytes nor 128-bit numbers.

use super::SignedLog;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use types::{
    AccountId, ChatId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MailboxId, MessageId, Position,
    RegistrationId, Stamp,
};

/// A value with one text form.
pub trait Text: Sized {
    /// Writes it.
    fn write(&self) -> String;
    /// Reads what [`Text::write`] wrote.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! by_display {
    ($($name:ty),*) => {
        $(impl Text for $name {
            fn write(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
}

by_display!(AccountId, EnvelopeId, GroupId, MessageId, Stamp);

/// An account's id as it is, a group's after a word.
impl Text for ChatId {
    fn write(&self) -> String {
        match self {
            Self::Direct(account) => account.to_string(),
            Self::Group(group) => format!("group:{group}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("group:") {
            Some(group) => group.parse().ok().map(Self::Group),
            None => text.parse().ok().map(Self::Direct),
        }
    }
}

impl Text for SignedLog {
    fn write(&self) -> String {
        match self {
            Self::DeviceList(account) => format!("list:{account}"),
            Self::GroupChain(group) => format!("chain:{group}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("list", account) => account.parse().ok().map(Self::DeviceList),
            ("chain", group) => group.parse().ok().map(Self::GroupChain),
            _ => None,
        }
    }
}

impl Text for u128 {
    fn write(&self) -> String {
        format!("{self:032x}")
    }

    fn read(text: &str) -> Option<Self> {
        Self::from_str_radix(text, 16).ok()
    }
}

impl Text for Position {
    fn write(&self) -> String {
        self.as_u128().write()
    }

    fn read(text: &str) -> Option<Self> {
        u128::read(text).map(Self::from_u128)
    }
}

/// `account.device`
impl Text for DeviceAddress {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (account, device) = text.split_once('.')?;
        Some(Self::new(account.parse().ok()?, DeviceNumber::new(device.parse().ok()?).ok()?))
    }
}

/// `account.device.registration`
impl Text for MailboxId {
    fn write(&self) -> String {
        format!("{}.{}", self.address(), self.registration.get())
    }

    fn read(text: &str) -> Option<Self> {
        let (address, registration) = text.rsplit_once('.')?;
        let registration = RegistrationId::new(registration.parse().ok()?).ok()?;
        Some(DeviceAddress::read(address)?.mailbox(registration))
    }
}

fn read<'de, T: Text, D: Deserializer<'de>>(text: &str) -> Result<T, D::Error> {
    T::read(text).ok_or_else(|| D::Error::custom("not the text form of this id"))
}

pub fn serialize<T: Text, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.write().serialize(to)
}

pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    read::<T, D>(&String::deserialize(from)?)
}

/// The same for what may be absent.
pub mod option {
    use super::{Deserialize as _, Deserializer, Serialize as _, Serializer, Text};

    pub fn serialize<T: Text, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Text::write).serialize(to)
    }

    pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| super::read::<T, D>(&text)).transpose()
    }
}

/// The same for lists.
pub mod list {
    use super::{Deserialize as _, Deserializer, Serializer, Text};

    pub fn serialize<T: Text, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Text::write))
    }

    pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|text| super::read::<T, D>(text)).collect()
    }
}
