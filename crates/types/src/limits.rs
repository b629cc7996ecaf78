//! Every limit that both sides of the wire must agree on, each with the reason for its size.
//! What only one side enforces (quotas, time-outs of a role) stands in that side's configuration.

use crate::Millis;

/// Text of one message, in bytes of UTF-8 (WhatsApp's limit of 65,536).
pub const TEXT_BYTES_MAX: usize = 65_536;
/// Devices of one account: the primary and four linked.
pub const DEVICES_MAX: usize = 5;
/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 1_024;
/// Sends that one device may keep unanswered.
pub const SENDS_UNANSWERED_MAX: usize = 64;
/// Recent sends that the server remembers for each sender device; four times the unanswered ones.
pub const SENDS_RECORDED_MAX: usize = 256;
/// Other requests that one device may keep unanswered: an ack, a few syncs, and the lists and keys of a full group in
/// one round.
pub const REQUESTS_UNANSWERED_MAX: usize = 64;
/// Devices that one send may name: both accounts' devices, with room for stale ones.
pub const SEND_DEVICES_MAX: usize = 16;
/// Rows of one mailbox.
pub const MAILBOX_ROWS_MAX: u64 = 100_000;
/// Bytes of one mailbox.
pub const MAILBOX_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Life of an undelivered envelope.
pub const ENVELOPE_LIFE: Millis = Millis::from_days(30);
/// A device that was not connected for this long gets no new rows until it returns.
pub const DEVICE_DORMANT_AFTER: Millis = Millis::from_days(45);
/// One ciphertext: the largest text with its padding and ratchet fields, with a wide margin.
pub const CIPHERTEXT_BYTES_MAX: usize = 256 * 1024;
/// One ciphertext of a signal that is never stored: what a typing notice or a call's candidates take, with a margin.
pub const EPHEMERAL_BYTES_MAX: usize = 4 * 1024;
/// One socket message before the session is authenticated.
pub const SOCKET_MESSAGE_BYTES_MAX_UNAUTHENTICATED: usize = 16 * 1024;
/// One socket message afterwards.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// One WebSocket frame of a message.
pub const SOCKET_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Fragments of one socket message.
pub const SOCKET_FRAGMENTS_MAX: usize = 64;
/// Envelopes in one `Deliver`.
pub const DELIVER_ENVELOPES_MAX: usize = 100;
/// Bytes of envelopes in one `Deliver`, unless one envelope alone is larger.
pub const DELIVER_BYTES_MAX: usize = 256 * 1024;
/// Positions in one `Ack`.
pub const ACK_POSITIONS_MAX: usize = 1_000;
/// Numbers in one `Lookup`.
pub const LOOKUP_NUMBERS_MAX: usize = 1_000;
/// Accounts in one `FetchKeys`.
pub const FETCH_KEYS_ACCOUNTS_MAX: usize = 16;
/// One-time prekeys of each kind that the server stores for a device.
pub const ONE_TIME_KEYS_MAX: usize = 200;
/// One-time prekeys of each kind that a client keeps uploaded.
pub const ONE_TIME_KEYS_POOL: usize = 100;
/// A client refills its pool when fewer are left.
pub const ONE_TIME_KEYS_LOW: usize = 10;
/// One signed device list, in bytes.
pub const DEVICE_LIST_BYTES_MAX: usize = 16 * 1024;
/// A presented stamp may be this far above the node's clocks.
pub const STAMP_AHEAD_MAX: Millis = Millis::from_secs(5);
/// A client bases no time limit on a server time that jumps by more than this.
pub const SERVER_TIME_TOLERANCE: Millis = Millis::from_hours(24);
/// Time for the header of the first request on a connection, from accept on.
pub const HEADER_TIMEOUT: Millis = Millis::from_secs(5);
/// Time for authentication, from the upgrade on.
pub const AUTHENTICATION_TIMEOUT: Millis = Millis::from_secs(10);
/// A client pings this often; two missed pings close the session.
pub const KEEP_ALIVE_INTERVAL: Millis = Millis::from_secs(45);
/// A session without any input for this long is closed by the server.
pub const KEEP_ALIVE_TIMEOUT: Millis = Millis::from_secs(135);
/// The same device asking again for the same bundle within this time gets the same one.
pub const BUNDLE_REPEAT_WITHIN: Millis = Millis::from_mins(10);
/// Tries for one one-time code.
pub const CODE_TRIES_MAX: u32 = 5;
/// Life of a one-time code.
pub const CODE_LIFE: Millis = Millis::from_mins(10);
/// What a new device says of itself in a link, and what the primary answers it first.
pub const LINK_MESSAGE_BYTES_MAX: usize = 1_024;
/// What completes a link: the device list and what the account needs, sealed.
pub const LINK_COMPLETION_BYTES_MAX: usize = 32 * 1024;
/// A link code that nobody has used is void after this long.
pub const LINK_CODE_LIFE: Millis = Millis::from_secs(60);
/// Time to compare the digits and complete a link, from the invitation on.
pub const LINK_LIFE_INVITED: Millis = Millis::from_mins(5);
/// One blob: four mebibytes of content, and 64 KiB for what seals it.
pub const BLOB_BYTES_MAX: usize = 65 * 64 * 1024;
/// Life of a blob.
pub const BLOB_LIFE: Millis = Millis::from_days(30);
/// For how long the address of a blob can be used.
pub const BLOB_TICKET_LIFE: Millis = Millis::from_mins(5);
/// One signed group operation: a `create` with 1,023 members is some 22 KiB with its sealed info.
pub const GROUP_OPERATION_BYTES_MAX: usize = 32 * 1024;
/// Operations in one answer to `GetGroup`, unless they reach half a socket message before.
pub const GROUP_OPERATIONS_MAX: usize = 256;
