//! Where a profile lives when nobody says so.

use crate::{Ran, wax};
use std::{fs, path::Path};

/// `wax` with a home of its own and no profile named.
fn whoami_at(home: &Path, data: Option<&Path>) -> Ran {
    let mut command = wax(&home.join("unused"), ["--json", "whoami"]);
    command.env_remove("WAX_PROFILE").env("HOME", home);
    if let Some(data) = data {
        command.env("XDG_DATA_HOME", data);
    }
    Ran::of(command.output().unwrap())
}

/// What is not a database is found out, and not touched: it shows where the program looked.
fn plant(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("profile.db"), "not a database, but a file of that name").unwrap();
}

#[test]
fn the_default_profile_is_apart_from_the_servers_data_and_an_earlier_one_stays_in_use() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join(".local/share");
    assert_eq!(whoami_at(home.path(), None).error_code(), "not_registered");
    assert!(!data.exists(), "asking makes nothing");

    let found = |ran: &Ran, directory: &str| {
        assert_eq!(ran.error_code(), "damaged_profile", "{ran:?}");
        assert!(ran.stderr.contains(directory), "{directory}: {ran:?}");
    };
    plant(&data.join("waxwing/default"));
    found(&whoami_at(home.path(), None), "share/waxwing/default");
    plant(&data.join("wax/default"));
    found(&whoami_at(home.path(), None), "share/wax/default");

    let elsewhere = home.path().join("data");
    plant(&elsewhere.join("wax/default"));
    found(&whoami_at(home.path(), Some(&elsewhere)), "data/wax/default");
    let relative = Path::new("data");
    found(&whoami_at(home.path(), Some(relative)), "share/wax/default");
}
