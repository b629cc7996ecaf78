//! Members with several devices: all of them read and write, and one that is gone does neither.

use crate::world::World;
use types::{DeviceNumber, Millis};

#[test]
fn every_device_of_a_member_reads_and_writes() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "before");
    world.settle();
    let linked = world.link_device(0);
    world.settle();
    for (who, text) in [(1, "one"), (0, "two")] {
        world.send_group(who, group, text);
        world.settle();
    }
    assert_eq!(world.group_texts(linked, group), ["one", "two"], "a new device has the keys from now on");
    world.send_group(linked, group, "three");
    world.settle();
    for who in 0..3 {
        assert_eq!(world.group_texts(who, group), ["before", "one", "two", "three"]);
    }
    world.unlink_device(0, DeviceNumber::new(2).unwrap());
    world.settle();
    for who in [0, 1] {
        world.send_group(who, group, "without it");
        world.pass(Millis::from_secs(10));
    }
    assert_eq!(world.group_texts(2, group).len(), 6);
    assert_eq!(world.group_texts(linked, group).len(), 3, "nothing came after it was gone");
}
