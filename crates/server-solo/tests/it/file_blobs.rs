//! Blobs as files: what lies there that should not, and what is damaged, is never served.

use crate::samples::{NOW, blob, blob_id, content, identity, runtime};
use server_ports::blobs::{BlobMethod, BlobRequest, BlobUsage, Blobs, PutBlob};
use server_solo::files::FileBlobs;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use types::Millis;

fn open(path: &Path) -> FileBlobs {
    FileBlobs::open(path, &identity(1)).unwrap()
}

/// The one file of this blob.
fn file_of(blobs: &Path, n: u32) -> PathBuf {
    let days = fs::read_dir(blobs).unwrap().map(|day| day.unwrap().path());
    let files: Vec<_> =
        days.map(|day| day.join(blob_id(n).to_string())).filter(|file| file.exists()).collect();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn a_torn_file_is_not_served_and_can_be_stored_again() {
    let work = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let blobs = open(work.path());
        blobs.put(blob(1)).await.unwrap();
        blobs.put(blob(2)).await.unwrap();
        let whole = fs::read(file_of(work.path(), 1)).unwrap();
        let length = whole.len();
        let mut torn: Vec<Vec<u8>> =
            [0, 1, 63, 64, 65, length / 2, length - 1].map(|at| whole[..at].to_vec()).into();
        // A file system may also give zeros for what never reached the disk.
        torn.extend([64, 600].map(|at| [&whole[..at], &vec![0; length - at]].concat()));
        torn.push([&whole[..], b"x"].concat());
        for (variant, bytes) in torn.into_iter().enumerate() {
            fs::write(file_of(work.path(), 1), bytes).unwrap();
            assert_eq!(blobs.get(blob_id(1), NOW).await, Ok(None), "variant {variant}");
            assert_eq!(blobs.get(blob_id(2), NOW).await, Ok(Some(content(2))), "others are served");
            assert_eq!(blobs.put(blob(1)).await, Ok(PutBlob::Stored), "variant {variant}");
            assert_eq!(blobs.get(blob_id(1), NOW).await, Ok(Some(content(1))));
        }
        assert_eq!(blobs.health(), Ok(()));
    });
}

#[test]
fn what_a_crash_left_is_removed_at_the_start() {
    let work = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(open(work.path()).put(blob(1))).unwrap();
    let incoming = work.path().join("incoming");
    for (name, bytes) in [("0", &b"half a blob"[..]), ("1", b""), ("17", &[7; 5_000])] {
        fs::write(incoming.join(name), bytes).unwrap();
    }
    // Named as a day, and empty: the crash came before the first blob of that day had its name.
    fs::create_dir(work.path().join("99999")).unwrap();
    let blobs = open(work.path());
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
    runtime.block_on(async {
        assert_eq!(blobs.get(blob_id(1), NOW).await, Ok(Some(content(1))));
        let bytes = content(1).len() as u64;
        assert_eq!(blobs.usage().await, Ok(BlobUsage { blobs: 1, bytes }));
        for n in 2..10 {
            assert_eq!(blobs.put(blob(n)).await, Ok(PutBlob::Stored), "no leftover is in the way");
        }
    });
}

#[test]
fn only_the_owner_reads_the_files() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("blobs");
    runtime().block_on(open(&path).put(blob(1))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = file_of(&path, 1);
    assert_eq!(mode(&file), 0o600);
    for directory in [&path, &path.join("incoming"), file.parent().unwrap()] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
}

#[test]
fn an_ended_day_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let blobs = open(work.path());
        for n in 0..6 {
            let mut blob = blob(n);
            blob.expires_at = NOW + Millis::from_days(u64::from(n));
            blobs.put(blob).await.unwrap();
        }
        assert_eq!(blobs.expire(NOW + Millis::from_days(3), 100).await, Ok(3));
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 3 + 1, "three days and what comes in");
        assert_eq!(blobs.expire(NOW + Millis::from_days(30), 100).await, Ok(3));
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
        assert_eq!(blobs.put(blob(1)).await, Ok(PutBlob::Stored), "a day comes back when it is needed");
    });
}

#[test]
fn addresses_are_one_services() {
    let work = tempfile::tempdir().unwrap();
    let until = NOW + Millis::from_mins(5);
    let url = open(&work.path().join("one")).download_url(blob_id(1), until);
    let other = FileBlobs::open(&work.path().join("two"), &identity(2)).unwrap();
    let query = url.split_once('?').unwrap().1;
    let request = BlobRequest { method: BlobMethod::Get, id: blob_id(1), query };
    assert!(open(&work.path().join("one")).admit(request, NOW).is_some());
    assert_eq!(other.admit(request, NOW), None);
}
