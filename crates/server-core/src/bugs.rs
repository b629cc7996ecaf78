//! Faults that a test plants to see whether it would be caught. All off unless a test sets one.

/// Which faults are planted. Each breaks one promise, named beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// A retry is taken for a new send: one message, two stamps, two rows.
    pub forget_sends: bool,
    /// Whatever devices a send names are taken for the listed ones: devices miss messages.
    pub skip_staleness: bool,
    /// The sender's own other devices may be left out: they miss what they should show.
    pub skip_own_devices: bool,
    /// One send in eight is accepted and never stored.
    pub accept_without_append: bool,
    /// Only the first row of a send is stored: not all or none.
    pub append_only_first: bool,
    /// No hint reaches a session: delivery waits for the slow timer.
    pub drop_hints: bool,
    /// Every stamp is the wall clock's alone: a reply may sort before what it answers.
    pub ignore_presented_stamp: bool,
    /// The same stamp is given again and again.
    pub repeat_stamps: bool,
    /// An acknowledgement deletes every row before it, delivered or not.
    pub acknowledge_everything_before: bool,
    /// Rows live one minute instead of thirty days.
    pub expire_early: bool,
    /// A bundle with its one-time keys is handed to the next requester once more.
    pub hand_out_keys_twice: bool,
    /// Any connection number is good: a copied database goes unnoticed.
    pub skip_connection_number: bool,
    /// A removed device keeps its mailbox and its socket, and sends to it are stored.
    pub keep_revoked: bool,
    /// No node looks for sockets of devices that were removed: one whose end was not heard of stays.
    pub overlook_departed: bool,
    /// A device list is stored whatever its version.
    pub skip_succession: bool,
    /// A list that restores an account is stored whatever the stored one is.
    pub restore_over_newer: bool,
    /// A change of a list or of a group is answered without waiting for the sends admitted before it.
    pub skip_settling: bool,
    /// A device list may add a device that nobody linked.
    pub add_without_link: bool,
    /// Whatever head a group message names is taken for the chain's.
    pub skip_group_head: bool,
    /// Whoever was removed from a group may go on writing to it.
    pub keep_former_members: bool,
    /// A message for a group is stored for every device but the last.
    pub shorten_fan_out: bool,
    /// A group operation counts as delivered before its rows are written.
    pub lose_late_operations: bool,
}
