//! A history survives its text form, and a writer that was killed.

use crate::scene::Scene;
use testkit::history::History;

fn lines(history: &History) -> Vec<u8> {
    let mut lines = Vec::new();
    history.write_lines(&mut lines).unwrap();
    lines
}

#[test]
fn every_fact_survives() {
    let history = Scene::good().history();
    assert_eq!(History::read_lines(&lines(&history)[..]).unwrap(), history);
}

#[test]
fn a_line_reads_well() {
    let history = Scene::good().history();
    let text = String::from_utf8(lines(&history)).unwrap();
    let row = text.lines().find(|line| line.contains("\"row\"")).unwrap();
    expect_test::expect![[r#"{"at_ms":10000,"fact":"row","envelope":"01010101010101010101010101010101","mailbox":"02020202020202020202020202020202.1.2","position":"00000000000000000000000000000001","stamp":"019b76daa80100000001","expires_at_ms":2599200000}"#]]
    .assert_eq(row);
}

#[test]
fn a_torn_last_line_is_left_out() {
    let history = Scene::good().history();
    let lines = lines(&history);
    let read = History::read_lines(&lines[..lines.len() - 5]).unwrap();
    assert_eq!(read.entries(), &history.entries()[..history.entries().len() - 1]);
}

#[test]
fn histories_merge_by_time() {
    let whole = Scene::good().history();
    let (mut even, mut odd) = (History::default(), History::default());
    for (index, entry) in whole.entries().iter().enumerate() {
        let part = if index % 2 == 0 { &mut even } else { &mut odd };
        part.record(entry.at(), entry.fact.clone());
    }
    let merged = History::merge([even, odd]);
    assert_eq!(merged.entries().len(), whole.entries().len());
    assert!(merged.entries().windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
}
