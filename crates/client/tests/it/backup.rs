//! A lost laptop does not lose the account.

use crate::answers::ORIGIN;
use crate::link_world::World;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::{
    Closed, HttpAnswer, RestoreError, RestoreStep,
    backup::{self, Backup, BackupError},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(4711)
}

pub fn back_up(world: &mut World, who: usize) -> Backup {
    let now = world.now;
    backup::create(&world.machines[who].engine().view(), now, &mut rng()).unwrap()
}

/// Two people with a past, and a backup of the first one.
fn backed_up() -> (World, Backup) {
    let mut world = World::new(2);
    for number in 0..6 {
        let (from, to) = if number % 2 == 0 { (1, 0) } else { (0, 1) };
        world.send(from, to, &format!("message {number}"));
        world.settle();
    }
    let backup = back_up(&mut world, 0);
    (world, backup)
}

/// A restore by a patient shell; how often it asked.
pub fn restore(world: &mut World, who: usize, backup: &Backup) -> usize {
    let now = world.now;
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    let mut rng = ChaCha20Rng::seed_from_u64(1_000 + who as u64);
    let engine = world.machines[who].engine();
    let mut request = engine.begin_restore(bytes, key, ORIGIN, None, now, &mut rng).unwrap();
    for asked in 1..10 {
        let answer = world.server.http(&request);
        match world.machines[who].engine().restored(&answer, now, &mut rng).unwrap() {
            RestoreStep::Again(again) => request = again,
            RestoreStep::Done(registered) => {
                world.machines[who].account = Some(registered.account);
                world.machines[who].device = Some(registered.device);
                return asked;
            }
        }
    }
    panic!("the server wanted ever newer lists");
}

#[test]
fn a_backup_says_what_is_in_it_to_its_key_alone() {
    let (mut world, backup) = backed_up();
    let summary = backup::verify(&backup.bytes, &backup.recovery_key).unwrap();
    assert_eq!(summary.account, world.account(0));
    assert_eq!((summary.contacts, summary.groups, summary.messages), (1, 0, 6));
    let digits: String = backup.recovery_key.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits.len(), 64);
    assert!(backup::verify(&backup.bytes, &digits).is_ok(), "spaces do not matter");

    let other = back_up(&mut world, 1).recovery_key;
    let mut wrong = digits.clone();
    wrong.replace_range(0..1, if digits.starts_with('1') { "2" } else { "1" });
    assert!(matches!(backup::verify(&backup.bytes, &wrong), Err(BackupError::WrongKey)));
    assert!(matches!(backup::verify(&backup.bytes, "not digits"), Err(BackupError::WrongKey)));
    assert!(!other.is_empty());
    for at in [0, 20, 60, 100, backup.bytes.len() / 2, backup.bytes.len() - 1] {
        let mut damaged = backup.bytes.clone();
        damaged[at] ^= 0x40;
        let read = backup::verify(&damaged, &backup.recovery_key);
        assert!(matches!(read, Err(BackupError::Damaged)), "byte {at}: {read:?}");
    }
    for length in [0, 10, 99, backup.bytes.len() - 1] {
        let read = backup::verify(&backup.bytes[..length], &backup.recovery_key);
        assert!(matches!(read, Err(BackupError::Damaged)), "{length} bytes: {read:?}");
    }
    let text = b"message 3";
    assert!(!backup.bytes.windows(text.len()).any(|window| window == text));
}

#[test]
fn the_account_lives_on_with_its_contacts_and_history() {
    let (mut world, backup) = backed_up();
    let friend = world.account(1);
    let before = world.history(0, friend);
    let new = world.machine();
    assert_eq!(restore(&mut world, new, &backup), 1);
    assert_eq!(world.account(new), world.account(0));
    assert_eq!(world.machines[new].device.unwrap().get(), 1);
    assert_eq!(world.history(new, friend).len(), before.len());
    assert!(world.print(new).is_empty());

    world.settle();
    assert_eq!(world.machines[0].closed, Some(Closed::Revoked), "the old device 1 is replaced");
    world.send(1, new, "to the new device");
    world.settle();
    world.send(new, 1, "from the new device");
    world.settle();
    assert_eq!(world.texts(new, 1)[6..], ["to the new device", "from the new device"]);
    assert_eq!(world.texts(1, new)[6..], ["to the new device", "from the new device"]);
    assert_eq!(world.texts(0, 1).len(), 6);
    for who in [1, new] {
        let gaps =
            world.print(who).into_iter().filter(|event| matches!(event, client::EventView::Gap { .. }));
        assert_eq!(gaps.count(), 0, "nothing is missing that was not sent to this device");
    }
}

#[test]
fn linked_devices_stay_and_newer_lists_are_signed_above() {
    let (mut world, _) = backed_up();
    let (kept, lost) = (world.machine(), world.machine());
    world.link(0, kept, false);
    world.link(0, lost, false);
    world.settle();
    let backup = back_up(&mut world, 0);
    // After the backup one device goes and another one comes: the backup's list is old by two.
    let gone = world.machines[lost].device.unwrap();
    world.remove(0, gone.get().into()).unwrap();
    world.settle();
    let late = world.machine();
    world.link(0, late, false);
    world.settle();
    let version = world.server.accounts[&world.account(0)].list.version();

    let new = world.machine();
    assert_eq!(restore(&mut world, new, &backup), 2, "one conflict");
    let list = &world.server.accounts[&world.account(0)].list;
    assert!(list.version() > version);
    assert_eq!(list.devices().len(), 3);
    world.settle();
    world.send(1, 0, "to all three");
    world.settle();
    world.send(kept, 1, "from the linked one");
    world.settle();
    for who in [new, kept, late] {
        let texts = world.texts(who, 1);
        assert_eq!(texts[texts.len() - 2..], ["to all three", "from the linked one"], "device {who}");
    }
    let names = world.machines[new].engine().view().devices().unwrap();
    assert_eq!(names[1].name.as_deref(), Some("device 2"), "names are read with the key from the backup");
    // The restored device is the primary: it links and unlinks.
    let next = world.machine();
    world.link(new, next, true);
    world.settle();
    assert_eq!(world.texts(next, 1), world.texts(new, 1));
}

#[test]
fn a_server_cannot_bring_an_older_list_back() {
    let (mut world, _) = backed_up();
    let linked = world.machine();
    world.link(0, linked, false);
    world.settle();
    let old = world.server.accounts[&world.account(0)].list.clone();
    world.remove(0, 2).unwrap();
    world.settle();
    let backup = back_up(&mut world, 0);
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().list = old;

    let new = world.machine();
    let now = world.now;
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    let engine = world.machines[new].engine();
    let request = engine.begin_restore(bytes, key, ORIGIN, None, now, &mut rng()).unwrap();
    let answer = world.server.http(&request);
    assert_eq!(answer.status, 409);
    let refused = world.machines[new].engine().restored(&answer, now, &mut rng());
    assert!(matches!(refused, Err(RestoreError::BadAnswer)), "{refused:?}");
}

/// The list that the backup has names a device that the account may have removed since: one restore signs it once.
#[test]
fn a_server_cannot_have_the_known_list_signed_again() {
    let (mut world, backup) = backed_up();
    let known = world.server.accounts[&world.account(0)].list.clone();
    let new = world.machine();
    let now = world.now;
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    world.machines[new].engine().begin_restore(bytes, key, ORIGIN, None, now, &mut rng()).unwrap();
    let conflict = serde_json::json!({ "device_list": URL_SAFE_NO_PAD.encode(known.as_bytes()) });
    let answer = HttpAnswer { status: 409, body: conflict.to_string().into_bytes() };
    let refused = world.machines[new].engine().restored(&answer, now, &mut rng());
    assert!(matches!(refused, Err(RestoreError::BadAnswer)), "{refused:?}");
}

#[test]
fn a_restore_that_was_cut_off_is_done_again() {
    let (mut world, backup) = backed_up();
    let new = world.machine();
    let now = world.now;
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    let engine = world.machines[new].engine();
    let request = engine.begin_restore(bytes, key, ORIGIN, None, now, &mut rng()).unwrap();
    world.server.http(&request);
    // The answer is lost, and so is the process.
    world.crash(new);
    let unbegun = world.machines[new].engine().restored(&world.server.http(&request), now, &mut rng());
    assert!(matches!(unbegun, Err(RestoreError::NotBegun)));
    assert!(world.machines[new].engine().view().whoami().unwrap().is_none());
    world.with_database(new, |db| {
        let messages: i64 = db.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap();
        assert_eq!(messages, 0, "nothing is half-done");
    });
    restore(&mut world, new, &backup);
    world.settle();
    world.send(1, new, "there again");
    world.settle();
    assert_eq!(world.texts(new, 1).len(), 7);
}

#[test]
fn who_must_not_restore_or_back_up_is_told_so() {
    let (mut world, backup) = backed_up();
    let now = world.now;
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    let refused = world.machines[1].engine().begin_restore(bytes, key, ORIGIN, None, now, &mut rng());
    assert!(matches!(refused, Err(RestoreError::HasAccount)));

    let linked = world.machine();
    world.link(0, linked, false);
    let refused = backup::create(&world.machines[linked].engine().view(), now, &mut rng());
    assert!(matches!(refused.err(), Some(BackupError::NotPrimary)));

    let new = world.machine();
    let refused = world.machines[new].engine().begin_restore(bytes, "1234", ORIGIN, None, now, &mut rng());
    assert!(matches!(refused, Err(RestoreError::Backup(BackupError::WrongKey))));
    let account = world.account(0);
    world.server.accounts.get_mut(&account).unwrap().closed = true;
    let request =
        world.machines[new].engine().begin_restore(bytes, key, ORIGIN, None, now, &mut rng()).unwrap();
    let refused = world.machines[new].engine().restored(&world.server.http(&request), now, &mut rng());
    assert!(matches!(refused, Err(RestoreError::Refused(problem)) if problem.code == "account_closed"));
}

#[test]
fn devices_that_were_linked_after_the_backup_keep_their_names() {
    let (mut world, backup) = backed_up();
    let laptop = world.machine();
    world.link(0, laptop, false);
    world.settle();
    let new = world.machine();
    restore(&mut world, new, &backup);
    world.settle();
    for who in [new, laptop] {
        let devices = world.machines[who].engine().view().devices().unwrap();
        assert_eq!(devices.len(), 2);
        assert!(devices.iter().all(|device| device.name.is_some()), "{devices:?}");
    }
}

/// The keys of all devices that a machine knows to be gone.
fn known_to_be_gone(world: &mut World, who: usize) -> Vec<Vec<u8>> {
    let mut gone = Vec::new();
    world.with_database(who, |database| {
        let mut statement =
            database.prepare("SELECT device_key FROM device_removed ORDER BY device_key").unwrap();
        gone = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    });
    gone
}

#[test]
fn whoever_was_removed_since_the_backup_stays_removed() {
    let mut world = World::new(2);
    let laptop = world.machine();
    world.link(0, laptop, false);
    world.settle();
    let backup = back_up(&mut world, 0);
    let list = &world.server.accounts[&world.account(0)].list;
    let mut before: Vec<Vec<u8>> =
        list.devices().iter().map(|listed| listed.device_key().as_bytes().to_vec()).collect();
    before.sort();
    world.remove(0, 2).unwrap();
    world.settle();
    let new = world.machine();
    assert_eq!(restore(&mut world, new, &backup), 2, "the server has a newer list");
    assert_eq!(
        known_to_be_gone(&mut world, new),
        before,
        "the laptop, and the device that this one replaces"
    );
}
