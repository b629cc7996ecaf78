//! A new primary device in the place of one that was lost.

use super::{BASE64, Body, PEER, answered, problem};
use base64::Engine as _;
use client::HttpAnswer;
use serde_json::json;
use server_core::{Core, Restoration, RestoreError};

pub async fn restore(core: &Core, body: &Body) -> Option<HttpAnswer> {
    let restoration = Restoration {
        device_list: body.bytes("device_list")?.into(),
        token: body.token()?,
        keys: body.keys()?,
    };
    Some(match core.restore(restoration, PEER).await {
        Ok(primary) => answered(
            201,
            &json!({
                "account": primary.account.to_string(),
                "device": primary.device.get(),
                "registration": primary.registration.get(),
            }),
        ),
        Err(error) => refusal(error),
    })
}

fn refusal(error: RestoreError) -> HttpAnswer {
    match error {
        RestoreError::Conflict { device_list } => {
            let list = BASE64.encode(device_list);
            answered(409, &json!({ "status": 409, "code": "version_conflict", "device_list": list }))
        }
        RestoreError::BadDeviceList(_) | RestoreError::NotNew => problem(422, "bad_device_list"),
        RestoreError::BadKeys(_) | RestoreError::KeysMissing => problem(422, "bad_keys"),
        RestoreError::NoAccount => problem(404, "no_account"),
        RestoreError::Closed => problem(410, "account_closed"),
        RestoreError::RetryAfter(_) => problem(429, "retry_after"),
        RestoreError::Unavailable => problem(503, "unavailable"),
    }
}
