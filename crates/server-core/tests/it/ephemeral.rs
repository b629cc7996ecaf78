//! Signals that are never stored.

use crate::world::{World, refused};
use server_ports::Signal;
use types::limits;
use wire::{Code, EnvelopeKind, Request, Response, Urgency};

#[test]
fn a_signal_reaches_who_is_there_and_is_never_stored() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let inbox = world.listen();
    let signal = |to: types::MailboxId, kind: EnvelopeKind| Request::Ephemeral {
        recipient: bob.id(),
        sealed: vec![wire::SealedFor { to, kind, ciphertext: vec![3; 20].into() }],
    };
    let typing = signal(bob.mailbox(), EnvelopeKind::Ratchet);
    assert_eq!(world.ask(&alice.caller(), typing.clone()), Ok(Response::Done));
    assert!(inbox.take().is_empty());
    world.connect(&bob, 1);
    assert_eq!(world.ask(&alice.caller(), typing), Ok(Response::Done));
    let signals = inbox.take();
    let [(device, 1, Signal::Ephemeral(envelope))] = &signals[..] else { panic!("{signals:?}") };
    let envelope = wire::Envelope::decode(envelope.clone()).unwrap();
    assert_eq!((*device, envelope.from), (bob.mailbox(), alice.caller().address()));
    assert_eq!((envelope.urgency, &envelope.ciphertext[..]), (Urgency::OnlineOnly, &[3; 20][..]));
    assert!(world.mailboxes.rows().is_empty());
    let sized = |length: usize| Request::Ephemeral {
        recipient: bob.id(),
        sealed: vec![wire::SealedFor {
            to: bob.mailbox(),
            kind: EnvelopeKind::Ratchet,
            ciphertext: vec![3; length].into(),
        }],
    };
    let largest = limits::EPHEMERAL_BYTES_MAX;
    assert_eq!(world.ask(&alice.caller(), sized(largest)), Ok(Response::Done));
    assert_eq!(refused(world.ask(&alice.caller(), sized(largest + 1))), Code::TooLarge);
    assert_eq!(inbox.take().len(), 1);
    for wrong in
        [signal(alice.mailbox(), EnvelopeKind::Ratchet), signal(bob.mailbox(), EnvelopeKind::SenderKey)]
    {
        assert_eq!(refused(world.ask(&alice.caller(), wrong)), Code::Malformed);
    }
}
