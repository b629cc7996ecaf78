//! Blobs: an address for so many bytes of such a digest, for five minutes.

use crate::world::{Person, World, refused};
use server_core::BlobError;
use server_ports::blobs::{BlobGrant, BlobMethod, BlobRequest, BlobUpload, Blobs};
use sha2::{Digest, Sha256};
use types::{BlobId, Millis, limits};
use wire::{BlobTicket, Code, Refusal, Request, Response};

fn create(world: &World, by: &Person, bytes: &[u8]) -> Result<BlobTicket, Refusal> {
    let sha256 = Sha256::digest(bytes).into();
    ticket(world.ask(&by.caller(), Request::CreateBlob { size: bytes.len() as u32, sha256 }))
}

fn ticket(answer: Result<Response, Refusal>) -> Result<BlobTicket, Refusal> {
    match answer? {
        Response::BlobTicket(ticket) => Ok(ticket),
        other => panic!("{other:?}"),
    }
}

/// What a request to the address may do.
fn admit(world: &World, ticket: &BlobTicket, method: BlobMethod) -> Option<BlobGrant> {
    let (path, query) = ticket.url.split_once('?').unwrap();
    assert_eq!(path, format!("/v1/blobs/{}", ticket.blob));
    world.core.blob_admit(BlobRequest { method, id: ticket.blob, query })
}

fn upload(world: &World, ticket: &BlobTicket, bytes: &[u8]) -> Result<(), BlobError> {
    let Some(BlobGrant::Upload(upload)) = admit(world, ticket, BlobMethod::Put) else {
        panic!("not admitted")
    };
    world.run(world.core.blob_put(upload, bytes.to_vec().into()))
}

#[test]
fn what_one_uploads_another_gets() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let bytes = vec![7; 100_000];
    let there = create(&world, &alice, &bytes).unwrap();
    assert_eq!(refused(world.ask(&bob.caller(), Request::GetBlob(there.blob))), Code::NoSuchBlob, "not yet");
    upload(&world, &there, &bytes).unwrap();
    upload(&world, &there, &bytes).unwrap();
    let here = ticket(world.ask(&bob.caller(), Request::GetBlob(there.blob))).unwrap();
    assert_eq!(admit(&world, &here, BlobMethod::Get), Some(BlobGrant::Download(there.blob)));
    assert_eq!(admit(&world, &here, BlobMethod::Put), None, "an address is for one method");
    assert_eq!(world.run(world.core.blob_get(there.blob)), Ok(Some(bytes.into())));
}

#[test]
fn other_bytes_than_announced_are_refused() {
    let world = World::new();
    let alice = world.register(1);
    let there = create(&world, &alice, &[1; 50]).unwrap();
    for other in [&[1; 49][..], &[1; 51], &[2; 50]] {
        assert_eq!(upload(&world, &there, other), Err(BlobError::NotAsAnnounced));
    }
    let forged = BlobUpload { id: there.blob, size: 49, sha256: Sha256::digest([1; 49]).into() };
    let url = world.blobs.upload_url(&forged, world.now());
    assert_eq!(admit(&world, &BlobTicket { url, ..there }, BlobMethod::Put), None, "its time is over");
}

#[test]
fn an_address_lives_five_minutes_and_a_blob_thirty_days() {
    let world = World::new();
    let alice = world.register(1);
    let there = create(&world, &alice, &[1; 50]).unwrap();
    upload(&world, &there, &[1; 50]).unwrap();
    world.clock.advance(limits::BLOB_TICKET_LIFE);
    assert_eq!(admit(&world, &there, BlobMethod::Put), None);
    world.clock.advance(Millis(limits::BLOB_LIFE.0 - limits::BLOB_TICKET_LIFE.0 - 1));
    assert!(ticket(world.ask(&alice.caller(), Request::GetBlob(there.blob))).is_ok());
    world.clock.advance(Millis(1));
    assert_eq!(refused(world.ask(&alice.caller(), Request::GetBlob(there.blob))), Code::NoSuchBlob);
    world.clock.advance(Millis::from_days(2));
    world.run(world.core.tick());
    assert_eq!(world.run(world.blobs.usage()).unwrap().blobs, 0);
}

#[test]
fn sizes_and_bytes_are_bounded() {
    let world = World::with(|config| config.quotas.blob_bytes.limit = limits::BLOB_BYTES_MAX as u32 + 10);
    let alice = world.register(1);
    let ask = |size: usize| {
        let sha256 = [1; 32];
        world.ask(&alice.caller(), Request::CreateBlob { size: size as u32, sha256 })
    };
    assert_eq!(refused(ask(limits::BLOB_BYTES_MAX + 1)), Code::TooLarge);
    assert_eq!(refused(ask(0)), Code::Malformed);
    assert!(ask(limits::BLOB_BYTES_MAX).is_ok());
    assert_eq!(refused(ask(11)), Code::RetryAfter);
    assert!(ask(10).is_ok());
    assert_eq!(
        refused(world.ask(&alice.caller(), Request::GetBlob(BlobId::from_bytes([1; 16])))),
        Code::NoSuchBlob
    );
}
