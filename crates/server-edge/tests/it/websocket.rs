//! The WebSocket codec: every message survives, every breach is refused, nothing panics.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use server_edge::websocket::{
    Assembly, CloseCode, Frame, HEAD_BYTES_MAX, Head, Incoming, Opcode, Violation, encode_close,
    encode_control, encode_message, next_frame, read_head,
};
use types::limits;

const MESSAGE_MAX: usize = limits::SOCKET_MESSAGE_BYTES_MAX;

/// A client's frame, with the length in the form that its size asks for.
pub fn frame(fin: bool, opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![if fin { 0x80 } else { 0 } | opcode];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Feeds all bytes; what was found, and what stopped it.
fn read(bytes: &[u8], message_max: usize) -> (Vec<Incoming>, Option<Violation>) {
    let (mut assembly, mut bytes, mut found) = (Assembly::default(), bytes.to_vec(), Vec::new());
    loop {
        match assembly.next(&mut bytes, message_max) {
            Ok((used, Some(incoming))) => {
                bytes.drain(..used);
                found.push(incoming);
            }
            Ok((_, None)) => return (found, None),
            Err(violation) => return (found, Some(violation)),
        }
    }
}

fn refused(bytes: &[u8]) -> Violation {
    read(bytes, MESSAGE_MAX).1.expect("accepted")
}

proptest! {
    /// However a message is cut into frames, with pings between them, it arrives as it was sent.
    #[test]
    fn messages_survive_fragmentation(
        messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..10), 0..6),
        mask in any::<[u8; 4]>(),
        pings in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for fragments in &messages {
            for (number, fragment) in fragments.iter().enumerate() {
                let opcode = if number == 0 { 2 } else { 0 };
                bytes.extend(frame(number + 1 == fragments.len(), opcode, fragment, mask));
                if pings {
                    bytes.extend(frame(true, 9, b"here?", mask));
                }
            }
        }
        let (found, violation) = read(&bytes, MESSAGE_MAX);
        prop_assert_eq!(violation, None);
        let whole: Vec<_> = messages.iter().map(|fragments| Incoming::Message(fragments.concat().into())).collect();
        let (controls, data): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|incoming| matches!(incoming, Incoming::Ping(_)));
        prop_assert_eq!(data, whole);
        let frames: usize = messages.iter().map(Vec::len).sum();
        prop_assert_eq!(controls.len(), if pings { frames } else { 0 });
    }

    /// A frame that is not whole is neither accepted nor changed, whatever is missing.
    #[test]
    fn a_cut_frame_waits(payload in prop::collection::vec(any::<u8>(), 0..70_000), cut in any::<prop::sample::Index>()) {
        prop_assume!(payload.len() <= limits::SOCKET_FRAME_BYTES_MAX);
        let whole = frame(true, 2, &payload, [1, 2, 3, 4]);
        let mut part = whole[..cut.index(whole.len())].to_vec();
        prop_assert_eq!(next_frame(&mut part, limits::SOCKET_FRAME_BYTES_MAX), Ok(None));
        prop_assert_eq!(&part[..], &whole[..part.len()]);
        let mut bytes = whole.clone();
        let found = next_frame(&mut bytes, limits::SOCKET_FRAME_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!(found.payload.end, whole.len());
        prop_assert_eq!(&bytes[found.payload], &payload[..]);
    }

    /// Noise is refused or waited for; it never panics and never asks for more than a frame.
    #[test]
    fn noise_is_harmless(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = read(&bytes, MESSAGE_MAX);
        let _ = read_head(&bytes);
    }

    /// Noise that looks like frames gets further.
    #[test]
    fn plausible_noise_is_harmless(
        frames in prop::collection::vec((any::<u8>(), 0_u8..=127, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let bytes: Vec<u8> = frames
            .into_iter()
            .flat_map(|(first, second, rest)| [vec![first & 0x8f, second | 0x80], rest].concat())
            .collect();
        let (found, _) = read(&bytes, 1_000);
        for incoming in found {
            if let Incoming::Message(message) = incoming {
                prop_assert!(message.len() <= 1_000);
            }
        }
    }

    /// What the server writes is what a client reads, in frames within the limit.
    #[test]
    fn written_messages_are_well_formed(length in 0_usize..400_000) {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut bytes = Vec::new();
        encode_message(&payload, &mut bytes);
        let (mut rest, mut joined, mut frames) = (&bytes[..], Vec::new(), 0);
        loop {
            let (first, length, at) = match rest[1] {
                127 => (rest[0], u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize, 10),
                126 => (rest[0], u16::from_be_bytes(rest[2..4].try_into().unwrap()).into(), 4),
                short => (rest[0], short.into(), 2),
            };
            prop_assert!(length <= limits::SOCKET_FRAME_BYTES_MAX);
            prop_assert_eq!(first & 0x7f, if frames == 0 { 2 } else { 0 });
            joined.extend_from_slice(&rest[at..at + length]);
            rest = &rest[at + length..];
            frames += 1;
            prop_assert_eq!(first & 0x80 != 0, rest.is_empty());
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(frames <= limits::SOCKET_FRAGMENTS_MAX);
        prop_assert_eq!(joined, payload);
    }
}

#[test]
fn what_the_server_writes_has_these_bytes() {
    let check = |write: &dyn Fn(&mut Vec<u8>), expected: Expect| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        expected.assert_eq(&format!("{bytes:02x?}"));
    };
    check(&|out| encode_message(b"abc", out), expect!["[82, 03, 61, 62, 63]"]);
    check(&|out| encode_control(Opcode::Pong, b"x", out), expect!["[8a, 01, 78]"]);
    check(&|out| encode_close(CloseCode::TooLarge, out), expect!["[88, 02, 03, f1]"]);
}

#[test]
fn a_breach_is_named() {
    let masked = [1, 2, 3, 4];
    let whole = |fin, opcode| frame(fin, opcode, b"x", masked);
    for reserved in [0x40, 0x20, 0x10] {
        let mut bytes = whole(true, 2);
        bytes[0] |= reserved;
        assert_eq!(refused(&bytes), Violation::ReservedBit);
    }
    for opcode in [3, 7, 11, 15] {
        assert_eq!(refused(&whole(true, opcode)), Violation::ReservedOpcode);
    }
    assert_eq!(refused(&[0x82, 1, b'x']), Violation::NotMasked);
    assert_eq!(refused(&whole(true, 1)), Violation::Text);
    assert_eq!(refused(&whole(true, 0)), Violation::Fragments, "a continuation of nothing");
    assert_eq!(
        refused(&[whole(false, 2), whole(true, 2)].concat()),
        Violation::Fragments,
        "a message in a message"
    );
    assert_eq!(refused(&whole(false, 9)), Violation::Control, "a fragmented ping");
    assert_eq!(refused(&frame(true, 9, &[0; 126], masked)), Violation::Control, "a long ping");
    assert_eq!(refused(&whole(true, 8)), Violation::Control, "a close of one byte");
    assert_eq!(
        refused(&frame(true, 8, &1005_u16.to_be_bytes(), masked)),
        Violation::Control,
        "a reserved code"
    );
    assert_eq!(refused(&[0x82, 0xfe, 0, 125]), Violation::LengthForm);
    assert_eq!(refused(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Violation::LengthForm);
}

#[test]
fn a_refusal_needs_only_the_header() {
    for length in [limits::SOCKET_FRAME_BYTES_MAX as u64 + 1, 64 << 20, 1 << 63, u64::MAX] {
        let bytes = [&[0x82, 0xff][..], &length.to_be_bytes()].concat();
        assert_eq!(refused(&bytes), Violation::TooLarge, "{length}");
    }
    assert_eq!(refused(&[0x80, 0x00]), Violation::NotMasked);
}

#[test]
fn the_limit_of_a_message_counts_all_its_fragments() {
    let piece = frame(false, 2, &[0; 600], [9; 4]);
    let fits = [piece.clone(), frame(true, 0, &[0; 400], [9; 4])].concat();
    assert_eq!(read(&fits, 1_000).0.len(), 1);
    let excess = [piece, frame(true, 0, &[0; 401], [9; 4])].concat();
    assert_eq!(read(&excess, 1_000).1, Some(Violation::TooLarge));
}

#[test]
fn a_message_has_at_most_64_fragments() {
    let message = |fragments: usize| {
        let middle = vec![frame(false, 0, b"x", [0; 4]); fragments - 2].concat();
        [frame(false, 2, b"x", [0; 4]), middle, frame(true, 0, b"x", [0; 4])].concat()
    };
    assert_eq!(read(&message(64), MESSAGE_MAX).0.len(), 1);
    assert_eq!(read(&message(65), MESSAGE_MAX).1, Some(Violation::TooLarge));
}

#[test]
fn the_largest_message_fits_its_fragments() {
    let fragment = vec![7; limits::SOCKET_FRAME_BYTES_MAX];
    let count = limits::SOCKET_MESSAGE_BYTES_MAX / fragment.len();
    let bytes: Vec<u8> = (0..count)
        .flat_map(|number| frame(number + 1 == count, if number == 0 { 2 } else { 0 }, &fragment, [0; 4]))
        .collect();
    let (found, violation) = read(&bytes, MESSAGE_MAX);
    assert_eq!(violation, None);
    assert!(matches!(&found[..], [Incoming::Message(message)] if message.len() == MESSAGE_MAX));
}

#[test]
fn a_close_is_echoed_by_its_kind() {
    let close = |payload: &[u8]| read(&frame(true, 8, payload, [0; 4]), MESSAGE_MAX).0;
    assert_eq!(close(b""), [Incoming::Close(CloseCode::Normal)]);
    assert_eq!(close(&1001_u16.to_be_bytes()), [Incoming::Close(CloseCode::GoingAway)]);
    assert_eq!(close(&4000_u16.to_be_bytes()), [Incoming::Close(CloseCode::Normal)]);
}

#[test]
fn frames_of_every_length_form_are_read() {
    for length in [0, 125, 126, 65_535, 65_536] {
        let mut bytes = frame(true, 2, &vec![3; length], [5, 6, 7, 8]);
        let end = bytes.len();
        let found = next_frame(&mut bytes, limits::SOCKET_FRAME_BYTES_MAX).unwrap();
        assert_eq!(found, Some(Frame { fin: true, opcode: Opcode::Binary, payload: end - length..end }));
    }
}

fn head(change: impl Fn(String) -> String) -> Head {
    let request = "GET /v1/socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    read_head(change(request.into()).as_bytes())
}

#[test]
fn only_a_proper_upgrade_opens_the_socket() {
    let proper = head(|request| request);
    assert!(matches!(proper, Head::Socket { key, .. } if &key == b"dGhlIHNhbXBsZSBub25jZQ=="));
    assert!(matches!(head(|request| request.replace("/v1/socket", "/v1/socket?a=b")), Head::Socket { .. }));
    assert!(matches!(head(|request| request.replace("websocket", "WebSocket")), Head::Socket { .. }));
    for (from, to) in [
        ("GET", "POST"),
        ("/v1/socket", "/v1/sockets"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("Version: 13", "Version: 8"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl SHNhbXBsZSBub25jZQ=="),
    ] {
        assert_eq!(head(|request| request.replace(from, to)), Head::Other, "{to}");
    }
}

#[test]
fn a_head_is_waited_for_up_to_its_limit() {
    let request = b"GET / HTTP/1.1\r\nx: ";
    assert_eq!(read_head(request), Head::Partial);
    let long = |length: usize| [&request[..], &vec![b'a'; length - request.len()]].concat();
    assert_eq!(read_head(&long(HEAD_BYTES_MAX)), Head::Partial);
    assert_eq!(read_head(&long(HEAD_BYTES_MAX + 1)), Head::Refused);
    let ended = [&long(HEAD_BYTES_MAX + 1)[..], b"\r\n\r\n"].concat();
    assert_eq!(read_head(&ended), Head::Refused, "also when it came at once");
    assert_eq!(read_head(b"\x16\x03\x01"), Head::Refused);
}
