//! What a new device says before it has an account.

use super::{BASE64, Body, PEER, answered, problem};
use base64::Engine as _;
use client::HttpAnswer;
use serde_json::json;
use server_core::{Core, LinkError, NewDevice};
use server_ports::directory::LinkState;

pub async fn begin(core: &Core, body: &Body) -> Option<HttpAnswer> {
    let device = NewDevice {
        link: body.text("link")?.parse().ok()?,
        token: body.token()?,
        offer: body.bytes("offer")?.into(),
        keys: body.keys()?,
    };
    Some(match core.link_begin(device, PEER).await {
        Ok(expires_in) => answered(201, &json!({ "expires_in": expires_in.0.div_ceil(1_000) })),
        Err(error) => refusal(&error),
    })
}

pub async fn poll(core: &Core, link: &str, body: &Body) -> Option<HttpAnswer> {
    Some(match core.link_poll(link.parse().ok()?, &body.token()?).await {
        Ok(view) => {
            let expires_in = view.expires_in.0.div_ceil(1_000);
            let mut standing = json!({ "state": name(view.state), "expires_in": expires_in });
            for (field, bytes) in [("invitation", view.invitation), ("completion", view.completion)] {
                if let Some(bytes) = bytes {
                    standing[field] = BASE64.encode(bytes).into();
                }
            }
            answered(200, &standing)
        }
        Err(error) => refusal(&error),
    })
}

pub async fn answer(core: &Core, link: &str, body: &Body) -> Option<HttpAnswer> {
    let answer = body.bytes("answer")?.into();
    Some(match core.link_answer(link.parse().ok()?, &body.token()?, answer).await {
        Ok(()) => answered(200, &json!({})),
        Err(error) => refusal(&error),
    })
}

const fn name(state: LinkState) -> &'static str {
    match state {
        LinkState::Waiting => "waiting",
        LinkState::Invited => "invited",
        LinkState::Answered => "answered",
        LinkState::Linked => "linked",
        LinkState::Refused => "refused",
        LinkState::Expired => "expired",
    }
}

fn refusal(error: &LinkError) -> HttpAnswer {
    match error {
        LinkError::Malformed(_) => problem(400, "malformed"),
        LinkError::BadKeys(_) | LinkError::KeysMissing => problem(422, "bad_keys"),
        LinkError::Exists => problem(409, "link_exists"),
        LinkError::NoLink => problem(404, "no_link"),
        LinkError::RetryAfter(_) => problem(429, "retry_after"),
        LinkError::Unavailable => problem(503, "unavailable"),
    }
}
