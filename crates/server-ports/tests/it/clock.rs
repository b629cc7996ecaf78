//! Virtual time.

use futures_util::FutureExt as _;
use server_ports::{Clock, fake::FakeClock};
use std::sync::{Arc, Mutex};
use types::{Millis, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_000_000);

#[test]
fn time_stands_still_until_moved() {
    let clock = FakeClock::new(START);
    let mut sleep = clock.sleep(Millis(10));
    assert_eq!(sleep.as_mut().now_or_never(), None);
    clock.advance(Millis(9));
    assert_eq!(sleep.as_mut().now_or_never(), None, "never earlier");
    clock.advance(Millis(1));
    assert_eq!(sleep.as_mut().now_or_never(), Some(()));
    assert_eq!(clock.now(), START + Millis(10));
}

#[test]
fn timers_ring_in_order_at_their_own_time() {
    let clock = FakeClock::new(START);
    let rung = Arc::new(Mutex::new(Vec::new()));
    for length in [30, 10, 20, 10] {
        let (rung, at) = (rung.clone(), clock.clone());
        clock
            .after(Millis(length), move || rung.lock().unwrap().push((length, at.true_now().since(START).0)));
    }
    assert_eq!(clock.next_timer(), Some(START + Millis(10)));
    clock.advance(Millis(100));
    assert_eq!(*rung.lock().unwrap(), [(10, 10), (10, 10), (20, 20), (30, 30)]);
    assert_eq!(clock.next_timer(), None);
    assert_eq!(clock.true_now(), START + Millis(100));
}

#[test]
fn a_sleep_that_is_dropped_leaves_no_timer() {
    let clock = FakeClock::new(START);
    let mut sleep = clock.sleep(Millis(10));
    assert_eq!(sleep.as_mut().now_or_never(), None);
    assert!(clock.next_timer().is_some());
    drop(sleep);
    assert_eq!(clock.next_timer(), None);
}

#[test]
fn a_skewed_clock_shows_another_time_and_sleeps_as_long() {
    let clock = FakeClock::new(START);
    let skewed = clock.skewed(-5_000);
    assert_eq!(skewed.now(), START - Millis(5_000));
    let mut sleep = skewed.sleep(Millis(10));
    assert_eq!(sleep.as_mut().now_or_never(), None);
    skewed.set_skew(3_000);
    assert_eq!(skewed.now(), START + Millis(3_000));
    clock.advance(Millis(10));
    assert_eq!(sleep.as_mut().now_or_never(), Some(()));
    assert_eq!(clock.now(), START + Millis(10), "the other clock has no skew");
}
