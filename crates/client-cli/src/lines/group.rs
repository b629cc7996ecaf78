//! Lines about groups.

use client::{GroupInfo, MemberView};
use serde::{Deserialize, Serialize};

/// A group: what `group create`, `group info` and `groups` print, and every change of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub group: String,
    /// Its name; null while this device cannot read it.
    pub name: Option<String>,
    /// How many changes it has seen.
    pub epoch: u64,
    /// Everybody in it.
    pub members: Vec<Member>,
}

impl From<GroupInfo> for Group {
    fn from(group: GroupInfo) -> Self {
        Self {
            group: group.group.to_string(),
            name: group.name,
            epoch: group.epoch,
            members: group.members.into_iter().map(Member::from).collect(),
        }
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The account.
    pub account: String,
    /// E.164; null until it was checked that the number leads to this account.
    pub phone: Option<String>,
    /// `creator`, `admin` or `member`.
    pub role: String,
    /// The account was closed; it stays in the group until it is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl From<MemberView> for Member {
    fn from(member: MemberView) -> Self {
        Self {
            account: member.account.to_string(),
            phone: member.phone.map(|phone| phone.e164().to_owned()),
            role: member.role.name().to_owned(),
            closed: member.closed,
        }
    }
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLink {
    /// Whoever has it can join.
    pub url: String,
}
