//! Codes for the administrator.

use server_ports::Texter;
use server_solo::local::ConsoleTexter;
use types::{PhoneNumber, Redact};

fn number(n: u32) -> PhoneNumber {
    format!("+1555{n:07}").parse().unwrap()
}

async fn send(texter: &ConsoleTexter, n: u32, code: &str) {
    texter.send_code(&number(n), &Redact::new(code.to_owned())).await.unwrap();
}

#[tokio::test]
async fn the_newest_code_is_pending_until_forgotten() {
    let texter = ConsoleTexter::new();
    assert!(texter.pending(&number(1)).is_none());
    send(&texter, 1, "111111").await;
    send(&texter, 2, "222222").await;
    send(&texter, 1, "333333").await;
    assert_eq!(texter.pending(&number(1)).unwrap().expose(), "333333");
    assert_eq!(texter.pending(&number(2)).unwrap().expose(), "222222");
    texter.forget(&number(1));
    assert!(texter.pending(&number(1)).is_none());
    assert!(texter.pending(&number(2)).is_some());
}

#[tokio::test]
async fn memory_of_codes_is_bounded() {
    let texter = ConsoleTexter::new();
    for n in 0..10_001 {
        send(&texter, n, "000000").await;
    }
    assert!(texter.pending(&number(0)).is_none(), "the oldest went");
    assert!(texter.pending(&number(1)).is_some());
    assert!(texter.pending(&number(10_000)).is_some());
}

#[tokio::test]
async fn nothing_shows_a_code_by_accident() {
    let texter = ConsoleTexter::new();
    send(&texter, 1_234_567, "987654").await;
    let shown = format!("{texter:?}");
    assert!(!shown.contains("987654") && !shown.contains("1234567"), "{shown}");
}
