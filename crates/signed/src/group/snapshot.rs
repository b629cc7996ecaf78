//! A group's state as bytes, for one's own disk: whoever verified a chain once need not verify it again to
//! go on with it. Nobody else's snapshot is ever believed; on the wire travel operations alone.
//!
//! ```text
//! version (1) | id (16) | epoch (8) | head (32) | permissions (1) | timer (4) | link: 0 or 1, then 32
//! sealed info: length (4), bytes | members: count (4), then account (16), role (1)
//! recent: count (4), then epoch (8), operation id (16), hash (32)
//! ```
//! Integers are big-endian; members and recent operations ascend, as in the maps that they come from.

use crate::{
    group::{
        change::Permissions,
        operation::{OperationId, SEALED_INFO_BYTES_MAX},
        state::{GroupState, OPERATIONS_REMEMBERED, Role},
    },
    keys::LinkKey,
};
use std::collections::BTreeMap;
use types::{AccountId, GroupId, Invalid, limits::GROUP_MEMBERS_MAX};

/// The first byte of a snapshot; another one belongs to another version of this form.
const VERSION: u8 = 1;

impl GroupState {
    /// The whole state, for one's own disk.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.members.len() * 17 + self.recent.len() * 56);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.head);
        bytes.push(permission_bits(self.permissions));
        bytes.extend_from_slice(&self.timer_seconds.to_be_bytes());
        bytes.push(u8::from(self.link.is_some()));
        bytes.extend(self.link.iter().flat_map(LinkKey::as_bytes));
        put_length(&mut bytes, self.sealed_info.len());
        bytes.extend_from_slice(&self.sealed_info);
        put_length(&mut bytes, self.members.len());
        for (account, role) in &self.members {
            bytes.extend_from_slice(account.as_bytes());
            bytes.push(role_number(*role));
        }
        put_length(&mut bytes, self.recent.len());
        for (epoch, (id, hash)) in &self.recent {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(hash);
        }
        bytes
    }

    /// Reads what [`GroupState::to_snapshot`] wrote.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, Invalid> {
        read(bytes).ok_or(Invalid { what: "snapshot of a group" })
    }
}

fn read(bytes: &[u8]) -> Option<GroupState> {
    let mut rest = Rest(bytes);
    if rest.byte()? != VERSION {
        return None;
    }
    let state = GroupState {
        id: GroupId::from_bytes(rest.array()?),
        epoch: u64::from_be_bytes(rest.array()?),
        head: rest.array()?,
        permissions: read_permissions(rest.byte()?)?,
        timer_seconds: u32::from_be_bytes(rest.array()?),
        link: match rest.byte()? {
            0 => None,
            1 => Some(LinkKey::from_slice(&rest.array::<32>()?).ok()?),
            _ => return None,
        },
        sealed_info: {
            let length = rest.length(SEALED_INFO_BYTES_MAX)?;
            rest.take(length)?.to_vec()
        },
        members: {
            let count = rest.length(GROUP_MEMBERS_MAX)?;
            let member =
                |rest: &mut Rest<'_>| Some((AccountId::from_bytes(rest.array()?), read_role(rest.byte()?)?));
            (0..count).map(|_| member(&mut rest)).collect::<Option<BTreeMap<_, _>>>()?
        },
        recent: {
            let count = rest.length(OPERATIONS_REMEMBERED)?;
            let operation = |rest: &mut Rest<'_>| {
                let epoch = u64::from_be_bytes(rest.array()?);
                Some((epoch, (OperationId(rest.array()?), rest.array()?)))
            };
            (0..count).map(|_| operation(&mut rest)).collect::<Option<BTreeMap<_, _>>>()?
        },
    };
    rest.0.is_empty().then_some(state)
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self, most: usize) -> Option<usize> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        (length <= most).then_some(length)
    }
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a state is within its limits, which are far smaller");
    bytes.extend_from_slice(&length.to_be_bytes());
}

fn permission_bits(permissions: Permissions) -> u8 {
    let Permissions { members_add, members_set_info, admins_send } = permissions;
    u8::from(members_add) | u8::from(members_set_info) << 1 | u8::from(admins_send) << 2
}

fn read_permissions(bits: u8) -> Option<Permissions> {
    (bits < 8).then_some(Permissions {
        members_add: bits & 1 != 0,
        members_set_info: bits & 2 != 0,
        admins_send: bits & 4 != 0,
    })
}

const fn role_number(role: Role) -> u8 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Creator => 2,
    }
}

const fn read_role(number: u8) -> Option<Role> {
    match number {
        0 => Some(Role::Member),
        1 => Some(Role::Admin),
        2 => Some(Role::Creator),
        _ => None,
    }
}
