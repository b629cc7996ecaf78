//! A full disk: the server says so and leaves; with room again, everything that was accepted is there.

use crate::{
    node::Node,
    person::{Person, settle},
    witness::Witness,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::{io::Write, path::Path, time::Duration};
use testkit::history::Fact;

/// A small file system of its own, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = std::ffi::CString::new(format!("size={megabytes}m,mode=0700"))?;
        mount("waxwing-test", folder.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Says that a test could not run on this machine, so that it is counted as skipped.
fn skip(what: &str, why: &str) {
    println!("skipped: {what}: {why}");
    if let Some(list) = std::env::var_os("WAXWING_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{what}: {why}").unwrap();
    }
}

fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    let block = vec![0xaa; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    // To the last byte.
    while file.write_all(&[0xaa]).is_ok() {}
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_that_was_accepted() {
    let disk = match SmallDisk::mount(12) {
        Ok(disk) => disk,
        Err(error) => return skip("a full disk", &format!("cannot mount a small file system: {error}")),
    };
    let data = disk.0.path().join("data");
    let mut node = Node::start(&data);
    let witness = Witness::new();
    let origin = node.origin();
    let people = vec![
        Person::register(&node, &origin, 40, &witness).await,
        Person::register(&node, &origin, 41, &witness).await,
    ];
    people[0].find(&people[1]).await;
    people[1].find(&people[0]).await;
    for line in 0..20 {
        people[0].write(&people[1], &format!("before, {line}")).await;
    }

    witness.note(Fact::Fault { what: "the disk is full".to_owned() });
    let ballast = fill(disk.0.path());
    let filler = "x".repeat(20_000);
    let mut line = 0;
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while !node.has_ended() {
        people[line % 2].write(&people[1 - line % 2], &format!("while it is full, {line} {filler}")).await;
        line += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(tokio::time::Instant::now() < patience, "the server went on with a full disk");
    }
    let listen = node.public().to_string();
    let ended = node.wait();
    assert_eq!(ended.code(), 75, "{}", ended.said);
    assert!(ended.said.contains("free space"), "it says what to do: {}", ended.said);

    std::fs::remove_file(ballast).unwrap();
    let _node = Node::start_with(&data, &listen, &[]).unwrap();
    settle(&people, &witness).await;
    witness.assert_all_is_well();
}
