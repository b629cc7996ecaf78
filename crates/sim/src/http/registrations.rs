//! Getting an account.

use super::{Body, PEER, answered, problem};
use client::HttpAnswer;
use serde_json::json;
use server_core::{Core, Finish, RegistrationError};
use types::Redact;

pub async fn begin(core: &Core, body: &Body) -> Option<HttpAnswer> {
    Some(match core.registration_begin(body.text("phone").unwrap_or_default(), PEER).await {
        Ok(sent) => {
            let session = hex::encode(sent.session);
            answered(201, &json!({ "session": session, "expires_in": sent.expires_in.0 / 1_000 }))
        }
        Err(error) => refusal(&error),
    })
}

pub async fn finish(core: &Core, session: &str, body: &Body) -> Option<HttpAnswer> {
    let finish = Finish {
        session: hex::decode(session).ok()?.try_into().ok()?,
        code: Redact::new(body.text("code")?.to_owned()),
        device_list: body.bytes("device_list")?.into(),
        keys: body.keys()?,
        token: body.token()?,
        replace: body.0["replace"].as_bool().unwrap_or(false),
    };
    Some(match core.registration_finish(finish, PEER).await {
        Ok(made) => answered(
            201,
            &json!({
                "account": made.account.to_string(),
                "device": made.device.get(),
                "registration": made.registration.get(),
            }),
        ),
        Err(error) => refusal(&error),
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
