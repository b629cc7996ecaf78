//! What is promised about this crate's own source and about what the library prints.

use crate::support::{exchange, settled_pair};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The library can be replaced in one folder, and its types stand in no public signature.
#[test]
fn only_one_folder_names_the_library() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = source.join("library");
    let mut named_there = 0;
    for path in sources(&source) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses =
            code.filter(|line| line.contains("libsignal_protocol_syft") && !line.contains('"')).count();
        if path.starts_with(&library) {
            named_there += uses;
            assert!(
                !text.contains("\npub fn") && !text.contains("\npub struct"),
                "{} exports",
                path.display()
            );
        } else {
            assert_eq!(uses, 0, "{} uses the library", path.display());
        }
    }
    assert!(named_there > 0, "the test must look at the right folder");
    assert!(
        std::fs::read_to_string(source.join("lib.rs")).unwrap().contains("\nmod library;"),
        "and it is private"
    );
}

struct Capture;

thread_local! {
    static CAPTURED: RefCell<Option<Vec<(String, String)>>> = const { RefCell::new(None) };
}

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        CAPTURED.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        CAPTURED.with_borrow_mut(|captured| {
            if let Some(captured) = captured {
                captured.push((record.target().to_owned(), record.args().to_string()));
            }
        });
    }

    fn flush(&self) {}
}

/// The library prints keys and MACs; every target that it uses is on the list that programs filter.
#[test]
fn every_log_target_of_the_library_is_on_the_list() {
    static LOGGER: Capture = Capture;
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    CAPTURED.with_borrow_mut(|captured| *captured = Some(Vec::new()));
    let (mut alice, mut bob) = settled_pair(1);
    let mut broken = alice.seal_text(&bob.peer(), "broken");
    *broken.ciphertext.last_mut().unwrap() ^= 1;
    assert!(bob.open(&alice.peer(), &broken).is_err());
    exchange(&mut alice, &mut bob, "fine");
    let captured = CAPTURED.with_borrow_mut(Option::take).unwrap();
    log::set_max_level(log::LevelFilter::Off);
    assert!(captured.iter().any(|(_, text)| text.contains("Bad Mac!")), "the control: it prints MACs");
    for (target, text) in captured {
        let root = target.split("::").next().unwrap();
        assert!(seal::LOG_TARGETS_SILENCED.contains(&root), "{target}: {text}");
    }
}
