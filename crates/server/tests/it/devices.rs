//! Several devices of one account, by hand: linked, unlinked, restored, with the real program in between.

use crate::{
    node::Node,
    raw::{Connection, Device, Raw, base64, keys, post},
};
use bytes::Bytes;
use serde_json::{Value, json};
use signed::LinkOffer;
use std::time::{Duration, Instant};
use types::{EnvelopeId, LinkId};
use wire::{Code, EnvelopeKind, Push, Request, Response, SealedFor, Send, Urgency};

/// A link that a device has begun.
struct Link {
    id: LinkId,
    token: String,
}

impl Link {
    fn begin(node: &Node, device: &Device) -> Self {
        let mut ephemeral = [0; 32];
        ephemeral[0] = 9;
        let (identity, key, registration) =
            (device.identity(), device.secret.public(), device.mailbox.registration);
        let offer = LinkOffer::new(identity, key, registration, ephemeral, [7; 32]);
        let mut id = [device.mailbox.device.get(); 16];
        id[..4].copy_from_slice(&device.mailbox.registration.get().to_be_bytes());
        let link = Self { id: LinkId::from_bytes(id), token: base64(&device.token) };
        let body = json!({
            "link": link.id.to_string(),
            "token": link.token,
            "offer": base64(offer.as_bytes()),
            "keys": base64(&keys().encode()),
        });
        let (status, answer) = post(node, "/v1/links", &body);
        assert_eq!((status, &answer["expires_in"]), (201, &json!(60)), "{answer}");
        link
    }

    fn poll(&self, node: &Node) -> Value {
        let (status, answer) =
            post(node, &format!("/v1/links/{}/poll", self.id), &json!({ "token": self.token }));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn answer(&self, node: &Node) {
        let body = json!({ "token": self.token, "answer": base64(b"answer") });
        let (status, answer) = post(node, &format!("/v1/links/{}/answer", self.id), &body);
        assert_eq!((status, &answer), (200, &json!({})));
    }
}

/// Links a device with the primary's session.
pub async fn link(node: &Node, person: &Raw, primary: &mut Connection, devices: &[&Device], version: u64) {
    let new = devices.last().unwrap();
    let link = Link::begin(node, new);
    let invitation = Bytes::from_static(b"invitation");
    primary.ask(Request::InviteLink { link: link.id, invitation }).await.unwrap();
    link.answer(node);
    let device_list = person.list(version, devices).as_bytes().to_vec().into();
    let completion = Bytes::from_static(b"completion");
    primary.ask(Request::CompleteLink { link: link.id, device_list, completion }).await.unwrap();
}

fn message(to: &[&Device], id: u8) -> Request {
    let sealed = |device: &&Device| SealedFor {
        to: device.mailbox,
        kind: EnvelopeKind::Ratchet,
        ciphertext: vec![id; 50].into(),
    };
    Request::Send(Send {
        envelope_id: EnvelopeId::from_bytes([id; 16]),
        recipient: to[0].mailbox.account,
        urgency: Urgency::Normal,
        ttl: None,
        sealed: to.iter().map(sealed).collect(),
        highest_stamp: None,
    })
}

#[tokio::test]
async fn a_device_is_linked_by_http_and_unlinked_within_the_request() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let (alice, bob) = (Raw::new(1), Raw::new(2));
    let (hers, his) = (alice.register(&node).await, bob.register(&node).await);
    let second = bob.device(2, 0);
    let mut primary = his.connect(&node).await;

    let link = Link::begin(&node, &second);
    assert_eq!(link.poll(&node)["state"], "waiting");
    let Response::LinkState(seen) = primary.ask(Request::GetLink(link.id)).await.unwrap() else { panic!() };
    assert_eq!(LinkOffer::decode(&seen.offer).unwrap().device_key(), &second.secret.public());
    let invitation = Bytes::from_static(b"invitation");
    primary.ask(Request::InviteLink { link: link.id, invitation }).await.unwrap();
    assert_eq!(link.poll(&node)["invitation"], base64(b"invitation"));
    assert!(second.try_connect(&node).await.is_err(), "not before it is listed");
    link.answer(&node);
    let Response::LinkState(seen) = primary.ask(Request::GetLink(link.id)).await.unwrap() else { panic!() };
    assert_eq!(seen.answer.as_deref(), Some(&b"answer"[..]));
    let device_list = bob.list(2, &[&his, &second]).as_bytes().to_vec().into();
    let completion = Bytes::from_static(b"completion");
    primary.ask(Request::CompleteLink { link: link.id, device_list, completion }).await.unwrap();
    let linked = link.poll(&node);
    assert_eq!((&linked["state"], &linked["completion"]), (&json!("linked"), &json!(base64(b"completion"))));

    // It is a device like every other, with the token of its link, and stays one over a crash.
    let mut node = node;
    node.kill_and_restart();
    let mut primary = his.connect(&node).await;
    let mut session = second.connect(&node).await;
    let mut sender = hers.connect(&node).await;
    sender.ask(message(&[&his, &second], 1)).await.unwrap();
    let delivered = async {
        loop {
            if let Some(Push::Deliver(rows)) = session.push().await {
                return rows;
            }
        }
    };
    assert_eq!(delivered.await.len(), 1);

    // When the list without it is answered, its socket is over.
    let list = Request::PutDeviceList(bob.list(3, &[&his]).as_bytes().to_vec().into());
    primary.ask(list).await.unwrap();
    let answered = Instant::now();
    let mut told = None;
    while let Some(push) = session.push().await {
        if let Push::Closing(refusal) = push {
            told = Some(refusal.code);
        }
    }
    assert_eq!(told, Some(Code::Revoked));
    assert!(answered.elapsed() < Duration::from_secs(5), "invariant 15");
    assert_eq!(second.try_connect(&node).await.err().map(|refusal| refusal.code), Some(Code::Revoked));
    let stale = sender.ask(message(&[&his, &second], 2)).await.unwrap_err();
    assert_eq!((stale.code, stale.stale.unwrap().extra), (Code::StaleDevices, vec![second.mailbox]));
}

#[tokio::test]
async fn what_is_wrong_with_a_link_is_said() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let bob = Raw::new(2);
    let his = bob.register(&node).await;
    let link = Link::begin(&node, &bob.device(2, 0));
    let path = format!("/v1/links/{}/poll", link.id);
    let stranger = json!({ "token": base64(&[1; 32]) });
    assert_eq!(problem(&node, &path, &stranger), (404, "no_link".to_owned()));
    assert_eq!(problem(&node, "/v1/links/nowhere/poll", &stranger), (404, "no_link".to_owned()));
    assert_eq!(problem(&node, "/v1/links", &json!({ "link": "x" })), (400, "malformed".to_owned()));
    let mut primary = his.connect(&node).await;
    primary.ask(Request::RefuseLink(link.id)).await.unwrap();
    assert_eq!(link.poll(&node)["state"], "refused");
    let invite = Request::InviteLink { link: link.id, invitation: Bytes::from_static(b"late") };
    assert_eq!(primary.ask(invite).await.unwrap_err().code, Code::LinkUnavailable);
}

#[tokio::test]
async fn a_lost_primary_is_replaced_by_the_account_key() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let (alice, bob) = (Raw::new(1), Raw::new(2));
    let (hers, lost) = (alice.register(&node).await, bob.register(&node).await);
    let second = bob.device(2, 0);
    let mut primary = lost.connect(&node).await;
    link(&node, &bob, &mut primary, &[&lost, &second], 2).await;

    let new = bob.device(1, 1);
    let restore = |list: signed::DeviceList| {
        json!({
            "device_list": base64(list.as_bytes()),
            "token": base64(&new.token),
            "keys": base64(&keys().encode()),
        })
    };
    // The backup is older than the link: the server gives the list to sign above.
    let (status, conflict) = post(&node, "/v1/restorations", &restore(bob.list(2, &[&new])));
    assert_eq!((status, &conflict["code"]), (409, &json!("version_conflict")), "{conflict}");
    assert_eq!(conflict["device_list"], base64(bob.list(2, &[&lost, &second]).as_bytes()));
    let list = restore(bob.list(3, &[&new, &second]));
    for _ in 0..2 {
        let (status, made) = post(&node, "/v1/restorations", &list);
        assert_eq!((status, &made["account"]), (201, &json!(bob.id().to_string())), "{made}");
        assert_eq!(
            (&made["device"], &made["registration"]),
            (&json!(1), &json!(new.mailbox.registration.get()))
        );
    }
    while let Some(push) = primary.push().await {
        if let Push::Closing(refusal) = push {
            assert_eq!(refusal.code, Code::Revoked);
        }
    }
    assert_eq!(lost.try_connect(&node).await.err().map(|refusal| refusal.code), Some(Code::Revoked));
    hers.connect(&node).await.ask(message(&[&new, &second], 1)).await.unwrap();
    assert_eq!((new.mail(&node).await.len(), second.mail(&node).await.len()), (1, 1));
    let nobody = Raw::new(9);
    let stranger = restore(nobody.list(1, &[&nobody.device(1, 0)]));
    assert_eq!(problem(&node, "/v1/restorations", &stranger), (404, "no_account".to_owned()));
}

fn problem(node: &Node, path: &str, body: &Value) -> (u16, String) {
    let (status, problem) = post(node, path, body);
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}
