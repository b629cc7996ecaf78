//! What devices ask a node without a session, answered by the node's core.
//!
//! The server's HTTP layer is a shell around the core; here its part is played in a few lines, with
//! the same paths, fields and statuses (docs/protocol.md, HTTP).

mod blobs;
mod links;
mod registrations;
mod restorations;

pub use blobs::{get, put};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use client::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};
use server_core::Core;
use std::net::{IpAddr, Ipv4Addr};
use types::Redact;
use wire::KeyUpload;

/// Where every device of a simulation calls from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Answers one request.
pub async fn answer(core: &Core, request: &HttpRequest) -> HttpAnswer {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return malformed() };
    let body = Body(body);
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let answer = match path[..] {
        ["v1", "registrations"] => registrations::begin(core, &body).await,
        ["v1", "registrations", session, "account"] => registrations::finish(core, session, &body).await,
        ["v1", "links"] => links::begin(core, &body).await,
        ["v1", "links", link, "poll"] => links::poll(core, link, &body).await,
        ["v1", "links", link, "answer"] => links::answer(core, link, &body).await,
        ["v1", "restorations"] => restorations::restore(core, &body).await,
        _ => Some(problem(404, "not_found")),
    };
    answer.unwrap_or_else(malformed)
}

/// The bytes in the body of a request, for whoever looks for what must not be there.
pub fn carried(request: &HttpRequest) -> Vec<Vec<u8>> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(&request.body) else { return Vec::new() };
    let texts = fields.values().filter_map(Value::as_str);
    texts.filter_map(|text| BASE64.decode(text).ok()).collect()
}

/// The device list that a request carries, if any.
pub fn carried_list(request: &HttpRequest) -> Option<Vec<u8>> {
    serde_json::from_slice(&request.body).ok().and_then(|body| Body(body).bytes("device_list"))
}

/// A body, field by field.
struct Body(Value);

impl Body {
    fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        BASE64.decode(self.text(name)?).ok()
    }

    fn token(&self) -> Option<Redact<[u8; 32]>> {
        Some(Redact::new(self.bytes("token")?.try_into().ok()?))
    }

    fn keys(&self) -> Option<KeyUpload> {
        KeyUpload::decode(self.bytes("keys")?.into()).ok()
    }
}

fn answered(status: u16, body: &Value) -> HttpAnswer {
    HttpAnswer { status, body: body.to_string().into_bytes() }
}

fn malformed() -> HttpAnswer {
    problem(400, "malformed")
}

fn problem(status: u16, code: &str) -> HttpAnswer {
    answered(status, &json!({ "status": status, "code": code, "title": code }))
}
