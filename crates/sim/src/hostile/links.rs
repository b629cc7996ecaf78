//! What an honest post office does for linking: it keeps what the two sides of a link leave for each other, and enters
//! the device that a list adds.
//!
//! Owns: links. A liar may change what is told of them.
//! Must not know: who lies, engines, what is under any seal.

use super::office::{Desk, Office};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use client::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};
use signed::{DeviceList, LinkOffer};
use types::{LinkId, MailboxId, Millis};
use wire::{Code, KeyUpload, LinkState, Refusal, Request, Response};

/// One link.
pub struct Link {
    /// The new device's, with which it polls, and later connects.
    pub token: [u8; 32],
    /// What the code commits to.
    pub offer: Bytes,
    /// The new device's prekeys.
    pub keys: KeyUpload,
    /// The first one that came.
    pub invitation: Option<Bytes>,
    /// The new device's.
    pub answer: Option<Bytes>,
    /// The primary's last word.
    pub completion: Option<Bytes>,
    /// The primary's person said no.
    pub refused: bool,
}

impl Link {
    /// A link of which only the new device knows.
    pub const fn new(token: [u8; 32], offer: Bytes, keys: KeyUpload) -> Self {
        Self { token, offer, keys, invitation: None, answer: None, completion: None, refused: false }
    }
}

impl Office {
    /// Serves a device that has no session yet.
    ///
    /// # Panics
    /// If an engine asks for what it must not.
    pub fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let body: Value = serde_json::from_slice(&request.body).expect("a body is JSON");
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match path.as_slice() {
            ["v1", "links"] => {
                let keys =
                    KeyUpload::decode(binary(&body, "keys").into()).expect("an engine makes good keys");
                let token = binary(&body, "token").try_into().expect("a token has 32 bytes");
                let link = Link::new(token, binary(&body, "offer").into(), keys);
                self.links.insert(link_id(body["link"].as_str().unwrap_or_default()), link);
                answer(201, &json!({ "expires_in": 60 }))
            }
            ["v1", "links", id, step] => self.link_step(link_id(id), step, &body),
            _ => panic!("an engine asked for {}", request.path),
        }
    }

    fn link_step(&mut self, id: LinkId, step: &str, body: &Value) -> HttpAnswer {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.token == *binary(body, "token")) else {
            return answer(404, &json!({ "title": "no such link", "status": 404, "code": "no_link" }));
        };
        if step == "answer" {
            link.answer.get_or_insert(binary(body, "answer").into());
            return answer(200, &json!({}));
        }
        let state = match link {
            Link { completion: Some(_), .. } => "linked",
            Link { refused: true, .. } => "refused",
            Link { answer: Some(_), .. } => "answered",
            Link { invitation: Some(_), .. } => "invited",
            _ => "waiting",
        };
        let text = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| BASE64.encode(bytes));
        let (invitation, completion) = (text(&link.invitation), text(&link.completion));
        answer(200, &json!({ "state": state, "invitation": invitation, "completion": completion }))
    }

    /// Serves the primary's side of a link.
    pub(super) fn serve_link(&mut self, caller: MailboxId, request: Request) -> Result<Response, Refusal> {
        let id = match &request {
            Request::GetLink(id) | Request::RefuseLink(id) => *id,
            Request::InviteLink { link, .. } | Request::CompleteLink { link, .. } => *link,
            _ => return Err(Code::Unsupported.into()),
        };
        let link = self.links.get_mut(&id).filter(|link| !link.refused).ok_or(Code::LinkUnavailable)?;
        match request {
            Request::GetLink(_) => Ok(Response::LinkState(LinkState {
                offer: link.offer.clone(),
                answer: link.answer.clone(),
                expires_in: Millis::from_mins(5),
            })),
            Request::InviteLink { invitation, .. } => {
                let first = link.invitation.get_or_insert(invitation.clone());
                if *first == invitation { Ok(Response::Done) } else { Err(Code::LinkUnavailable.into()) }
            }
            Request::CompleteLink { device_list, completion, .. } => {
                self.complete_link(caller, id, &device_list, completion)
            }
            _ => {
                link.refused = true;
                Ok(Response::Done)
            }
        }
    }

    fn complete_link(
        &mut self,
        caller: MailboxId,
        id: LinkId,
        list: &Bytes,
        completion: Bytes,
    ) -> Result<Response, Refusal> {
        let link = self.links.get_mut(&id).ok_or(Code::LinkUnavailable)?;
        let offer = LinkOffer::decode(&link.offer).map_err(|_| Code::LinkUnavailable)?;
        let verified = DeviceList::verify(list).map_err(|_| Code::BadDeviceList)?;
        let added = verified.devices().iter().find(|one| one.identity_key() == offer.identity_key());
        let number = added.ok_or(Code::BadDeviceList)?.number();
        let desk = Desk::new(link.token, link.keys.clone()).ok_or(Code::LinkUnavailable)?;
        let is_again = link.completion.is_some();
        link.completion = Some(completion);
        if is_again {
            return Ok(Response::Done);
        }
        let done = self.put_list(caller, list)?;
        let account = self.accounts.get_mut(&caller.account).ok_or(Code::Revoked)?;
        account.desks.insert(number, desk);
        Ok(done)
    }
}

/// A field of a body that is binary.
pub fn binary(body: &Value, name: &str) -> Vec<u8> {
    BASE64.decode(body[name].as_str().unwrap_or_default()).expect("binary fields are base64")
}

/// An answer with this body.
pub fn answer(status: u16, body: &Value) -> HttpAnswer {
    HttpAnswer { status, body: body.to_string().into_bytes() }
}

fn link_id(text: &str) -> LinkId {
    text.parse().expect("an engine writes link ids")
}
