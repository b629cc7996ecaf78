//! Whatever a peer sends, reading it ends in a value or in `Malformed`, and limits hold.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use types::{Position, limits};
use wire::{ClientFrame, Envelope, Malformed, Request, ServerFrame};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = ClientFrame::decode(bytes.clone());
        let _ = ServerFrame::decode(bytes.clone());
        let _ = Envelope::decode(bytes);
    }

    #[test]
    fn a_damaged_frame_never_panics(flip in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let frame = ClientFrame { id: 7, request: Request::Ack((1..40).map(Position::from_u128).collect()) };
        let mut bytes = frame.encode().to_vec();
        let at = flip.index(bytes.len());
        bytes[at] = value;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = ClientFrame::decode(bytes.into());
    }
}

#[test]
fn a_list_over_its_limit_is_refused_whole() {
    let acks = |count: u128| ClientFrame {
        id: 1,
        request: Request::Ack((1..=count).map(Position::from_u128).collect()),
    };
    let limit = limits::ACK_POSITIONS_MAX as u128;
    assert!(ClientFrame::decode(acks(limit).encode()).is_ok());
    assert_eq!(ClientFrame::decode(acks(limit + 1).encode()), Err(Malformed::TooLarge("positions")));
}

#[test]
fn a_device_named_twice_in_a_send_is_refused() {
    let device =
        types::DeviceAddress::new(types::AccountId::from_bytes([1; 16]), types::DeviceNumber::PRIMARY);
    let sealed = |registration| wire::SealedFor {
        to: device.mailbox(types::RegistrationId::new(registration).unwrap()),
        kind: wire::EnvelopeKind::Ratchet,
        ciphertext: Bytes::from_static(b"x"),
    };
    let send = wire::Send {
        envelope_id: types::EnvelopeId::from_bytes([2; 16]),
        recipient: device.account,
        urgency: wire::Urgency::Normal,
        ttl: None,
        sealed: vec![sealed(1), sealed(2)],
        highest_stamp: None,
    };
    let frame = ClientFrame { id: 1, request: Request::Send(send) };
    assert!(matches!(ClientFrame::decode(frame.encode()), Err(Malformed::Field(_))));
}

#[test]
fn frame_number_zero_is_refused() {
    let frame = ClientFrame { id: 0, request: Request::Sync };
    assert_eq!(ClientFrame::decode(frame.encode()), Err(Malformed::Field("frame id")));
}
