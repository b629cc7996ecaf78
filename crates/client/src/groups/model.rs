//! What the engine's groups take and show.

use crate::Fault;
use seal::group_info::GROUP_NAME_CHARS_MAX;
use signed::group::Role;
use std::sync::Arc;
use types::{AccountId, GroupId, Millis, PhoneNumber};
use wire::Code;

/// Members that a group can begin with, beside its creator.
pub const FIRST_MEMBERS_MAX: usize = types::limits::GROUP_MEMBERS_MAX - 1;

/// Names a change of a group within this profile, from the command to
/// [`Effect::GroupChangeDone`](crate::Effect::GroupChangeDone).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub(crate) i64);

/// A change of a group that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// These accounts become members.
    Add(Vec<AccountId>),
    /// These members are members no more.
    Remove(Vec<AccountId>),
    /// These members become admins.
    Promote(Vec<AccountId>),
    /// These admins become plain members.
    Demote(Vec<AccountId>),
    /// The group gets another name, at most [`GROUP_NAME_CHARS_MAX`] characters.
    Rename(String),
    /// One's own account is a member no more.
    Leave,
    /// There is an invite link: the one that all admins know, or a first one.
    MakeLink,
    /// There is a new invite link, and the one before is dead.
    ResetLink,
}

/// Why a group was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// The group is not known here.
    #[error("there is no such group")]
    NoSuchGroup,
    /// One's own account is not a member.
    #[error("you are not a member of this group")]
    NotAMember,
    /// Only admins may do this.
    #[error("only an admin of the group may do this")]
    NotAdmin,
    /// The creator is removed and demoted by nobody else.
    #[error("the creator of the group cannot be removed or demoted")]
    Creator,
    /// The last admin leaves or is demoted only after somebody else was promoted.
    #[error("the last admin must promote somebody first")]
    LastAdmin,
    /// There would be more than 1,024 members.
    #[error("the group would have {members} members; at most 1024 are possible")]
    TooManyMembers {
        /// How many.
        members: usize,
    },
    /// These accounts are members already.
    #[error("already in the group")]
    AlreadyMember(Vec<AccountId>),
    /// These accounts are not members.
    #[error("not in the group")]
    NotMembers(Vec<AccountId>),
    /// These members are admins already.
    #[error("already an admin")]
    AlreadyAdmin(Vec<AccountId>),
    /// These members are not admins.
    #[error("not an admin")]
    NotAdmins(Vec<AccountId>),
    /// These accounts are closed, or their numbers belong to other accounts now.
    #[error("nobody is reached by these accounts any more")]
    Unreachable(Vec<AccountId>),
    /// To remove oneself is to leave.
    #[error("to remove yourself, leave the group")]
    Oneself,
    /// No account was named.
    #[error("no member was named")]
    Nobody,
    /// Empty, or longer than [`GROUP_NAME_CHARS_MAX`] characters.
    #[error("the name is empty or too long (at most {GROUP_NAME_CHARS_MAX} characters)")]
    BadName,
    /// The group's secret has not arrived yet, so nothing can be sealed with it.
    #[error("the group's secret has not arrived yet")]
    SecretMissing,
    /// The link was made by another admin, whose word of it has not come.
    #[error("the link was made by another admin and has not arrived; reset it to have one here")]
    LinkElsewhere,
    /// The invite link was reset or revoked, or leads to no group of this server.
    #[error("the invite link is not valid any more")]
    DeadLink,
    /// The link belongs to another server.
    #[error("the invite link belongs to another server")]
    OtherServer,
    /// This account makes too many groups or changes; nothing was changed.
    #[error("too many changes; try again later")]
    RetryAfter(Option<Millis>),
    /// The server refused it.
    #[error("the server refused the change ({})", .0.name())]
    Refused(Code),
    /// The engine failed.
    #[error(transparent)]
    Fault(Arc<Fault>),
}

impl From<Fault> for GroupError {
    fn from(fault: Fault) -> Self {
        Self::Fault(Arc::new(fault))
    }
}

impl Eq for GroupError {}

impl PartialEq for GroupError {
    /// Two errors are equal if they say the same; a failure of the engine equals itself alone.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fault(one), Self::Fault(other)) => Arc::ptr_eq(one, other),
            (Self::TooManyMembers { members }, Self::TooManyMembers { members: others }) => members == others,
            (Self::AlreadyMember(one), Self::AlreadyMember(other))
            | (Self::NotMembers(one), Self::NotMembers(other))
            | (Self::AlreadyAdmin(one), Self::AlreadyAdmin(other))
            | (Self::NotAdmins(one), Self::NotAdmins(other)) => one == other,
            (Self::RetryAfter(one), Self::RetryAfter(other)) => one == other,
            (Self::Refused(one), Self::Refused(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A group as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: GroupId,
    /// Its name, once the secret that opens it is here.
    pub name: Option<String>,
    /// The epoch of the newest known operation.
    pub epoch: u64,
    /// The members, by account.
    pub members: Vec<MemberView>,
    /// Whether one's own account is among them.
    pub i_am_member: bool,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// The account.
    pub account: AccountId,
    /// The account's number, once checked.
    pub phone: Option<PhoneNumber>,
    /// What they may do.
    pub role: GroupRole,
    /// The account was closed; it is a member until somebody removes it.
    pub closed: bool,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupRole {
    /// Writes.
    Member,
    /// Changes members, roles, name and link.
    Admin,
    /// An admin whom no other one can remove.
    Creator,
}

impl GroupRole {
    /// The word in every interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Creator => "creator",
        }
    }
}

impl From<Role> for GroupRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Creator => Self::Creator,
        }
    }
}
