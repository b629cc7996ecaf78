//! The bytes themselves: a change here is a change of the protocol.

use bytes::Bytes;
use expect_test::{Expect, expect};
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, MailboxId, NodeId, Position, RegistrationId, Stamp,
};
use wire::{
    ClientFrame, Code, Delivery, Envelope, EnvelopeKind, Push, Refusal, Request, Response, SealedFor, Send,
    ServerFrame, Urgency,
};

fn check(bytes: Bytes, expected: Expect) {
    expected.assert_eq(&hex::encode(bytes));
}

fn device(account: u8, number: u32) -> MailboxId {
    DeviceAddress::new(AccountId::from_bytes([account; 16]), DeviceNumber::new(number).unwrap())
        .mailbox(RegistrationId::new(300).unwrap())
}

fn stamp() -> Stamp {
    Stamp::new(0x0123_4567_89ab_0001, NodeId(2))
}

fn envelope() -> Envelope {
    Envelope {
        envelope_id: EnvelopeId::from_bytes([9; 16]),
        from: device(1, 1).address(),
        to: device(2, 1),
        kind: EnvelopeKind::Ratchet,
        urgency: Urgency::Normal,
        stamp: stamp(),
        ciphertext: Bytes::from_static(b"sealed"),
        group: None,
    }
}

#[test]
fn an_envelope() {
    check(
        envelope().encode(),
        expect![
            "0a10090909090909090909090909090909091210010101010101010101010101010101011801221002020202020202020202020202020202280130ac02380240024a0a0123456789ab0001000252067365616c6564"
        ],
    );
}

#[test]
fn a_send() {
    let send = Send {
        envelope_id: EnvelopeId::from_bytes([9; 16]),
        recipient: AccountId::from_bytes([2; 16]),
        urgency: Urgency::Normal,
        ttl: None,
        sealed: vec![SealedFor {
            to: device(2, 1),
            kind: EnvelopeKind::Prekey,
            ciphertext: Bytes::from_static(b"sealed"),
        }],
        highest_stamp: Some(stamp()),
    };
    check(
        ClientFrame { id: 5, request: Request::Send(send) }.encode(),
        expect![
            "08051a550a100909090909090909090909090909090912100202020202020202020202020202020218022a210a1002020202020202020202020202020202100118ac0220012a067365616c6564320a0123456789ab00010002"
        ],
    );
}

#[test]
fn an_answer_and_a_refusal() {
    let accepted = Response::Accepted { stamp: stamp(), skipped: Vec::new() };
    check(
        ServerFrame::Answer { id: 5, result: Ok(accepted) }.encode(),
        expect!["0805220c0a0a0123456789ab00010002"],
    );
    check(
        ServerFrame::Answer { id: 5, result: Err(Refusal::new(Code::BadStamp)) }.encode(),
        expect!["08055a02080f"],
    );
}

#[test]
fn a_delivery_and_its_ack() {
    let position = Position::from_u128(0x1_0000);
    let push = Push::Deliver(vec![Delivery { position, envelope: envelope().encode() }]);
    check(
        ServerFrame::Push(push).encode(),
        expect![
            "82015e0a5c0a0301000012550a10090909090909090909090909090909091210010101010101010101010101010101011801221002020202020202020202020202020202280130ac02380240024a0a0123456789ab0001000252067365616c6564"
        ],
    );
    check(
        ClientFrame { id: 6, request: Request::Ack(vec![position]) }.encode(),
        expect!["080622050a03010000"],
    );
}

#[test]
fn fields_of_a_later_version_are_delivered_as_they_were_stored() {
    // Field 100 of an envelope, which this version does not know.
    let mut stored = envelope().encode().to_vec();
    stored.extend_from_slice(&[0xa2, 0x06, 0x01, 0x2a]);
    let stored = Bytes::from(stored);
    assert_eq!(Envelope::decode(stored.clone()).unwrap(), envelope());
    let push = Push::Deliver(vec![Delivery { position: Position::from_u128(1), envelope: stored.clone() }]);
    let frame = ServerFrame::decode(ServerFrame::Push(push).encode()).unwrap();
    let ServerFrame::Push(Push::Deliver(rows)) = frame else { panic!("a delivery became something else") };
    assert_eq!(rows[0].envelope, stored);
}

#[test]
fn a_request_of_a_later_version_is_unknown_and_not_an_error() {
    // id 5, field 31 (reserved for later) as an empty message.
    let frame = ClientFrame::decode(Bytes::from_static(&[0x08, 0x05, 0xfa, 0x01, 0x00])).unwrap();
    assert_eq!(frame, ClientFrame { id: 5, request: Request::Unknown });
}

#[test]
fn an_error_code_of_a_later_version_is_unspecified() {
    // id 5, Error { code: 99 }.
    let frame = ServerFrame::decode(Bytes::from_static(&[0x08, 0x05, 0x5a, 0x02, 0x08, 0x63])).unwrap();
    assert_eq!(frame, ServerFrame::Answer { id: 5, result: Err(Refusal::new(Code::Unspecified)) });
}
