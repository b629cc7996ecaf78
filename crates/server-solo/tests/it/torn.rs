//! Power fails while the newest write is under way: any part of it may have reached the disk.

use crate::{
    audit,
    samples::{create_account, mailbox, open_directory, phone, rows, runtime, send, send_of},
};
use server_ports::{Mailboxes, directory::Accounts};
use server_solo::redb::RedbMailboxes;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// The header of a mailbox file is in its first page.
const PAGE: usize = 4_096;
const VARIANTS: u32 = 60;

/// A file before and after its newest write.
struct Newest {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Newest {
    /// What may be on disk: each sector that was written is there or is not.
    fn torn(&self, variant: u32) -> Vec<u8> {
        let mut draw = variant.wrapping_mul(2_654_435_769) ^ 0x5bd1_e995;
        let mut below = |limit: u32| {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (draw >> 16) % limit
        };
        // From nearly nothing to nearly everything.
        let written = below(10) + 1;
        let mut file = self.after.clone();
        for (at, sector) in file.chunks_mut(SECTOR).enumerate() {
            if below(10) >= written {
                let start = at * SECTOR;
                let old = self.before.get(start..).unwrap_or(&[]);
                let old = &old[..old.len().min(sector.len())];
                sector.fill(0);
                sector[..old.len()].copy_from_slice(old);
            }
        }
        file
    }

    /// The file did not even grow. Growth is synced by itself, before the header that speaks of it is written.
    fn before_growth(&self) -> Vec<u8> {
        let mut file = self.after.clone();
        file.truncate(self.before.len());
        file[..PAGE].copy_from_slice(&self.before[..PAGE]);
        file
    }
}

#[test]
fn mailboxes_open_with_a_torn_tail() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("mailboxes.redb");
    let recipients = [mailbox(1), mailbox(2)];
    let runtime = runtime();
    // Some files end with a small write, some with one that makes the file grow.
    for (answered, newest_rows) in [(1, 1), (20, 50), (100, 400)] {
        let newest = runtime.block_on(async {
            let _ = fs::remove_file(&path);
            let store = RedbMailboxes::open(&path).unwrap();
            for recipient in recipients {
                store.open(recipient).await.unwrap();
            }
            for n in 0..answered {
                store.append(send(9, n, &recipients)).await.unwrap();
            }
            let before = fs::read(&path).unwrap();
            let many: Vec<_> = recipients.into_iter().cycle().take(newest_rows * 2).collect();
            store.append(send(9, answered, &many)).await.unwrap();
            Newest { before, after: fs::read(&path).unwrap() }
        });
        let mut kept = 0;
        for variant in 0..VARIANTS {
            let torn = work.path().join(format!("torn-{variant}.redb"));
            let content = if variant == 0 { newest.before_growth() } else { newest.torn(variant) };
            fs::write(&torn, content).unwrap();
            let store =
                RedbMailboxes::open(&torn).unwrap_or_else(|error| panic!("variant {variant}: {error}"));
            kept += runtime.block_on(check_rows(&store, recipients, answered, newest_rows));
            runtime.block_on(store.append(send(9, 1_000, &recipients))).unwrap();
            drop(store);
            audit::mailboxes(&torn);
            fs::remove_file(&torn).unwrap();
        }
        assert!((1..VARIANTS).contains(&kept), "some variants tear the newest write and some do not: {kept}");
    }
}

/// Answers 1 if the newest send is there, 0 if it is not.
async fn check_rows(
    store: &RedbMailboxes,
    recipients: [types::MailboxId; 2],
    answered: u32,
    newest_rows: usize,
) -> u32 {
    let mut newest = Vec::new();
    for recipient in recipients {
        let sends: Vec<u32> = rows(store, recipient).await.iter().map(send_of).collect();
        let (old, new) = sends.split_at(answered as usize);
        assert_eq!(old, (0..answered).collect::<Vec<_>>(), "an answered row is lost");
        assert!(new.iter().all(|n| *n == answered), "a row that nobody sent");
        newest.push(new.len());
    }
    assert!(newest == [0, 0] || newest == [newest_rows; 2], "a part of the newest send: {newest:?}");
    u32::from(newest[0] > 0)
}

fn log_of(database: &Path) -> PathBuf {
    database.with_extension("sqlite-wal")
}

#[test]
fn the_directory_opens_with_a_torn_tail() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("directory.sqlite");
    let runtime = runtime();
    let directory = open_directory(&path);
    runtime.block_on(async {
        for n in 1..20 {
            create_account(&directory, n).await;
        }
    });
    let before = fs::read(log_of(&path)).unwrap();
    runtime.block_on(create_account(&directory, 20));
    let newest = Newest { before, after: fs::read(log_of(&path)).unwrap() };
    let mut kept = 0;
    for variant in 0..VARIANTS {
        let torn = work.path().join(format!("torn-{variant}.sqlite"));
        fs::copy(&path, &torn).unwrap();
        fs::write(log_of(&torn), newest.torn(variant)).unwrap();
        let directory = open_directory(&torn);
        runtime.block_on(async {
            for n in 1..20 {
                let account = directory
                    .account(mailbox(n).account)
                    .await
                    .unwrap()
                    .expect("an answered account is lost");
                assert_eq!((account.phone, account.devices.len()), (Some(phone(n)), 1));
            }
            if let Some(account) = directory.account(mailbox(20).account).await.unwrap() {
                assert_eq!(
                    (account.phone, account.devices.len()),
                    (Some(phone(20)), 1),
                    "a part of an account"
                );
                kept += 1;
            }
            create_account(&directory, 21).await;
        });
    }
    assert!((1..VARIANTS).contains(&kept), "some variants tear the newest write and some do not: {kept}");
}
