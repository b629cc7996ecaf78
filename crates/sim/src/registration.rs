//! Getting accounts: the client's HTTP requests, answered by a node's core.
//!
//! The server's HTTP layer is a shell around the core; here its part is played in a few lines, with
//! the same paths, fields and statuses (docs/protocol.md, HTTP).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use client::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};
use server_core::{Core, Finish, RegistrationError};
use std::net::{IpAddr, Ipv4Addr};
use types::Redact;
use wire::KeyUpload;

/// Where every device of a simulation calls from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Answers one request.
pub async fn answer(core: &Core, request: &HttpRequest) -> HttpAnswer {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return problem(400, "malformed") };
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let result = match path[..] {
        ["v1", "registrations"] => begin(core, &body).await,
        ["v1", "registrations", session, "account"] => match read_finish(session, &body) {
            Some(finish) => finish_with(core, finish).await,
            None => return problem(400, "malformed"),
        },
        _ => return problem(404, "not_found"),
    };
    match result {
        Ok(body) => HttpAnswer { status: 201, body: body.to_string().into_bytes() },
        Err(error) => refusal(&error),
    }
}

async fn begin(core: &Core, body: &Value) -> Result<Value, RegistrationError> {
    let phone = body["phone"].as_str().unwrap_or_default();
    let sent = core.registration_begin(phone, PEER).await?;
    Ok(json!({ "session": hex::encode(sent.session), "expires_in": sent.expires_in.0 / 1_000 }))
}

async fn finish_with(core: &Core, finish: Finish) -> Result<Value, RegistrationError> {
    let made = core.registration_finish(finish, PEER).await?;
    Ok(json!({
        "account": made.account.to_string(),
        "device": made.device.get(),
        "registration": made.registration.get(),
    }))
}

fn read_finish(session: &str, body: &Value) -> Option<Finish> {
    let field = |name: &str| BASE64.decode(body[name].as_str()?).ok();
    Some(Finish {
        session: hex::decode(session).ok()?.try_into().ok()?,
        code: Redact::new(body["code"].as_str()?.to_owned()),
        device_list: field("device_list")?.into(),
        keys: KeyUpload::decode(field("keys")?.into()).ok()?,
        token: Redact::new(field("token")?.try_into().ok()?),
        replace: body["replace"].as_bool().unwrap_or(false),
    })
}

fn refusal(error: &RegistrationError) -> HttpAnswer {
    match error {
        RegistrationError::NumberTaken => problem(409, "number_taken"),
        RegistrationError::NoSession => problem(404, "no_session"),
        RegistrationError::Unavailable => problem(503, "unavailable"),
        RegistrationError::RetryAfter(_) => problem(429, "retry_after"),
        _ => problem(403, "refused"),
    }
}

fn problem(status: u16, code: &str) -> HttpAnswer {
    let body = json!({ "status": status, "code": code, "title": code });
    HttpAnswer { status, body: body.to_string().into_bytes() }
}
