//! The group log and the links in SQLite against the fakes, answer by answer, under random operations.

use crate::samples::{NOW, create_account, mailbox, open_directory, runtime};
use proptest::prelude::*;
use server_ports::{
    Directory, GroupLog,
    directory::{AnswerLink, CompleteLink, DeviceRecord, InviteLink, NewLink, NewList, Restore},
    fake::{FakeDirectory, FakeGroupLog, Setup},
    group_log::AppendOperation,
};
use types::{
    AccountId, DeviceAddress, DeviceNumber, GroupId, LinkId, MailboxId, Millis, NodeId, RegistrationId,
    Stamp, Timestamp,
};
use wire::KeyUpload;

const ACCOUNTS: u8 = 4;

#[derive(Clone, Debug)]
enum OnGroups {
    /// Names the head that is there, or an older one.
    Append {
        group: u8,
        id: u8,
        behind: u64,
        stamp: u64,
        joins: u8,
        leaves: u8,
    },
    Delivered {
        group: u8,
        epoch: u64,
    },
    Reopen,
}

fn on_groups() -> impl Strategy<Value = OnGroups> {
    let append = (0..3_u8, 0..24_u8, 0..3_u64, 0..40_u64, 0..ACCOUNTS, 0..ACCOUNTS);
    prop_oneof![
        8 => append.prop_map(|(group, id, behind, stamp, joins, leaves)| {
            // Mostly the head, and mostly a stamp above.
            OnGroups::Append { group, id, behind: behind.saturating_sub(1), stamp: stamp * 7, joins, leaves }
        }),
        3 => (0..3_u8, 0..10_u64).prop_map(|(group, epoch)| OnGroups::Delivered { group, epoch }),
        1 => Just(OnGroups::Reopen),
    ]
}

fn group(n: u8) -> GroupId {
    GroupId::from_bytes([n; 16])
}

fn account(n: u8) -> AccountId {
    mailbox(n.into()).account
}

async fn operation(log: &dyn GroupLog, act: &OnGroups) -> Option<AppendOperation> {
    let OnGroups::Append { group: of, id, behind, stamp, joins, leaves } = *act else { return None };
    let chain = log.operations(group(of), 0, usize::MAX).await.unwrap();
    let expected = chain.iter().rev().nth(behind as usize).map(|operation| operation.hash);
    let highest = chain.last().map_or(0, |operation| operation.stamp.clock());
    Some(AppendOperation {
        group: group(of),
        expected,
        hash: [id.wrapping_add(of << 6); 32],
        operation_id: [id; 16],
        actor: mailbox(joins.into()),
        bytes: vec![id; 40].into(),
        stamp: Stamp::new((highest + stamp).saturating_sub(3), NodeId(1)),
        joined: vec![account(joins)],
        left: if leaves == joins { vec![] } else { vec![account(leaves)] },
    })
}

/// Everything that a group log says.
async fn everything(log: &dyn GroupLog) -> String {
    let mut all = format!("{:?}", log.undelivered(usize::MAX).await.unwrap());
    for of in 0..3 {
        let operations = log.operations(group(of), 0, usize::MAX).await.unwrap();
        all += &format!("{:?}{operations:?}", log.head(group(of)).await.unwrap());
        for member in 0..ACCOUNTS {
            all += &format!("{:?}", log.membership(group(of), account(member)).await.unwrap());
        }
    }
    for one in 0..ACCOUNTS {
        all += &format!("{:?}", log.groups_of(account(one)).await.unwrap());
        for other in 0..ACCOUNTS {
            all += &format!("{:?}", log.in_one_group(account(one), account(other)).await.unwrap());
        }
    }
    all
}

#[derive(Clone, Debug)]
enum OnLinks {
    Create {
        link: u8,
        version: u8,
    },
    Invite {
        link: u8,
        account: u8,
        words: u8,
    },
    Answer {
        link: u8,
        token: u8,
        words: u8,
    },
    Refuse {
        link: u8,
        account: u8,
    },
    /// `behind` versions below the stored one.
    PutList {
        account: u8,
        behind: u64,
        link: Option<u8>,
        device: u32,
        registration: u32,
    },
    Restore {
        account: u8,
        behind: u64,
        token: u8,
    },
    Close {
        account: u8,
    },
    Later(u64),
    Expire,
    Reopen,
}

/// Mostly 0, so that most steps find what the steps before them left.
fn mostly_zero() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 1 => Just(1_u8)]
}

fn on_links() -> impl Strategy<Value = OnLinks> {
    let link = 0..2_u8;
    let who = 1..3_u8;
    let link_of_list = prop_oneof![3 => link.clone().prop_map(Some), 1 => Just(None)];
    let list = (who.clone(), mostly_zero(), link_of_list, 1..4_u32, 1..20_u32);
    prop_oneof![
        4 => (link.clone(), mostly_zero()).prop_map(|(link, version)| OnLinks::Create { link, version }),
        6 => (link.clone(), who.clone(), mostly_zero())
            .prop_map(|(link, account, words)| OnLinks::Invite { link, account, words }),
        6 => (link.clone(), mostly_zero(), mostly_zero())
            .prop_map(|(link, token, words)| OnLinks::Answer { link, token, words }),
        1 => (link, who.clone()).prop_map(|(link, account)| OnLinks::Refuse { link, account }),
        8 => list.prop_map(|(account, behind, link, device, registration)| {
            OnLinks::PutList { account, behind: behind.into(), link, device, registration }
        }),
        2 => (who.clone(), mostly_zero(), mostly_zero())
            .prop_map(|(account, behind, token)| OnLinks::Restore { account, behind: behind.into(), token }),
        1 => who.prop_map(|account| OnLinks::Close { account }),
        2 => (0..40_u64).prop_map(OnLinks::Later),
        1 => Just(OnLinks::Expire),
        1 => Just(OnLinks::Reopen),
    ]
}

fn device(n: u8, number: u32, registration: u32) -> MailboxId {
    DeviceAddress::new(account(n), DeviceNumber::new(number).unwrap())
        .mailbox(RegistrationId::new(registration).unwrap())
}

fn record(mailbox: MailboxId, token: u8) -> DeviceRecord {
    DeviceRecord {
        mailbox,
        device_key: [mailbox.registration.get() as u8; 32],
        token_hash: [token; 32],
        connection_number: 0,
        last_connected: NOW,
    }
}

fn keys(n: u8) -> KeyUpload {
    crate::samples::one_time_keys(u32::from(n) + 1..u32::from(n) + 4)
}

fn link_id(n: u8) -> LinkId {
    LinkId::from_bytes([n; 16])
}

/// Does it, and gives the answer as text.
async fn act_on_links(directory: &dyn Directory, act: &OnLinks, now: Timestamp) -> String {
    let version = async |n| directory.account(account(n)).await.unwrap().unwrap().list_version;
    match *act {
        OnLinks::Create { link, version } => {
            let new = NewLink {
                id: link_id(link),
                token_hash: [0; 32],
                offer: vec![version; 10].into(),
                keys: keys(link),
                expires_at: now + Millis::from_secs(60),
            };
            format!("{:?}", directory.create_link(new).await)
        }
        OnLinks::Invite { link, account: by, words } => {
            let invite = InviteLink {
                id: link_id(link),
                account: account(by),
                invitation: vec![words; 10].into(),
                expires_at: now + Millis::from_mins(5),
                now,
            };
            format!("{:?}", directory.invite(invite).await)
        }
        OnLinks::Answer { link, token, words } => {
            let answer = AnswerLink {
                id: link_id(link),
                token_hash: [token; 32],
                answer: vec![words; 10].into(),
                now,
            };
            format!("{:?}", directory.answer_link(answer).await)
        }
        OnLinks::Refuse { link, account: by } => {
            format!("{:?}", directory.refuse_link(link_id(link), account(by), now).await)
        }
        OnLinks::PutList { account: of, behind, link, device: number, registration } => {
            let stored = version(of).await;
            let added = device(of, number, registration);
            let present = directory.account(account(of)).await.unwrap().unwrap().devices;
            let mut devices: Vec<_> = present
                .iter()
                .filter(|listed| listed.device != added.device)
                .map(|listed| record(device(of, listed.device.get().into(), listed.registration.get()), 9))
                .collect();
            devices.push(record(added, 8));
            let link = link.map(|link| CompleteLink {
                id: link_id(link),
                device: added,
                completion: vec![of; 10].into(),
                expires_at: now + Millis::from_mins(10),
                now,
            });
            let list = NewList {
                account: account(of),
                expected: stored.saturating_sub(behind),
                version: stored + 1,
                list: vec![stored as u8; 20].into(),
                devices,
                link,
            };
            format!("{:?}", directory.put_list(list).await)
        }
        OnLinks::Restore { account: of, behind, token } => {
            let stored = version(of).await;
            let restore = Restore {
                account: account(of),
                expected: stored.saturating_sub(behind),
                version: stored.saturating_sub(behind) + 1,
                list: vec![0xfe; 20].into(),
                device: record(device(of, 1, 500 + stored as u32), token),
                keys: keys(token),
            };
            format!("{:?}", directory.restore(restore).await)
        }
        OnLinks::Close { account: of } => format!("{:?}", directory.close(account(of)).await),
        OnLinks::Expire => format!("{:?}", directory.expire_links(now).await),
        OnLinks::Later(_) | OnLinks::Reopen => String::new(),
    }
}

/// Everything that a directory says of links, accounts and their devices.
async fn everything_linked(directory: &dyn Directory) -> String {
    let mut all = String::new();
    for link in 0..2 {
        all += &format!("{:?}", directory.link(link_id(link)).await.unwrap());
    }
    let ids: Vec<_> = (1..ACCOUNTS).map(account).collect();
    for account in directory.accounts(&ids).await.unwrap().into_iter().flatten() {
        for listed in &account.devices {
            let address = DeviceAddress::new(account.id, listed.device);
            let counts = directory.key_counts(address.mailbox(listed.registration)).await.unwrap();
            all += &format!("{:?}{counts:?}", directory.device(address).await.unwrap());
        }
        all += &format!("{account:?}");
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_keeps_chains_as_the_fake_does(acts in proptest::collection::vec(on_groups(), 1..60)) {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("directory.sqlite");
        runtime().block_on(async {
            let fake = FakeGroupLog::new(&Setup::default());
            let mut real = open_directory(&path);
            for act in &acts {
                if let Some(operation) = operation(&fake, act).await {
                    let (expected, answer) =
                        (fake.append(operation.clone()).await, real.append(operation).await);
                    assert_eq!(answer, expected, "{act:?}");
                }
                match act {
                    OnGroups::Delivered { group: of, epoch } => {
                        fake.delivered(group(*of), *epoch).await.unwrap();
                        real.delivered(group(*of), *epoch).await.unwrap();
                    }
                    OnGroups::Reopen => {
                        drop(real);
                        real = open_directory(&path);
                    }
                    OnGroups::Append { .. } => {}
                }
                assert_eq!(everything(&real).await, everything(&fake).await, "after {act:?}");
            }
        });
    }

    #[test]
    fn sqlite_keeps_links_and_lists_as_the_fake_does(acts in proptest::collection::vec(on_links(), 1..60)) {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("directory.sqlite");
        runtime().block_on(async {
            let fake = FakeDirectory::new(&Setup::default());
            let mut real = open_directory(&path);
            for n in 1..ACCOUNTS {
                create_account(&fake, n.into()).await;
                create_account(&real, n.into()).await;
            }
            let mut now = NOW;
            for act in &acts {
                match act {
                    OnLinks::Later(seconds) => now = now + Millis::from_secs(*seconds),
                    OnLinks::Reopen => {
                        drop(real);
                        real = open_directory(&path);
                    }
                    _ => {
                        let expected = act_on_links(&fake, act, now).await;
                        assert_eq!(act_on_links(&real, act, now).await, expected, "{act:?}");
                    }
                }
                assert_eq!(everything_linked(&real).await, everything_linked(&fake).await, "after {act:?}");
            }
        });
    }
}
