//! The play that `make demo` shows ends well, wherever the programs are built.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use xtask::{ci::skip, command::release_program, demo, repository::Repository};

/// What was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    let repository = Repository::open().unwrap();
    for program in ["waxwing", "wax"] {
        if release_program(&repository, program).is_err() {
            skip(&format!("the demo: {program} is not built"));
            return;
        }
    }
    let shown = Shown::default();
    let played = demo::play(&repository, &mut demo::Stage::plain(shown.clone()));
    let shown = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
    played.unwrap_or_else(|error| panic!("{error:#}\n{shown}"));
    for tick in ["…  queued", "✓  accepted", "✓✓ delivered", "✓✓ read", "kill -9"] {
        assert!(shown.contains(tick), "{tick} was not shown:\n{shown}");
    }
}
