//! An account whose primary device is lost goes on with a new one, by the word of its account key.

use super::{Made, Problem, Service, binary, keys, parse, token};
use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, State, rejection::BytesRejection},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::Deserialize;
use server_core::{Restoration, RestoreError};
use std::net::SocketAddr;
use utoipa::ToSchema;

/// A new primary device, by a list that the account key signed.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewPrimary {
    /// Signed device list above the stored one, with a new device 1 and every other device as it is, base64url.
    device_list: String,
    /// 32 random bytes chosen by the device, base64url; the server keeps their hash.
    token: String,
    /// `waxwing.frames.v1.UploadKeys`, base64url.
    keys: String,
}

/// Puts a new primary device in the place of the old one. Repeating it is the same restoration.
#[utoipa::path(post, path = "/v1/restorations", request_body = NewPrimary,
    responses((status = 201, body = Made), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn restore(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let primary = service.core.restore(read_restoration(&body?)?, peer.ip()).await?;
    let made = Made {
        account: primary.account.to_string(),
        device: primary.device.get(),
        registration: primary.registration.get(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Reads the body of a restoration. Any bytes may be given.
pub fn read_restoration(body: &[u8]) -> Result<Restoration, Problem> {
    let asked: NewPrimary = parse(body)?;
    Ok(Restoration {
        device_list: binary(&asked.device_list, "device_list")?.into(),
        token: token(&asked.token)?,
        keys: keys(&asked.keys)?,
    })
}

/// The table from refusals to status and code.
impl From<RestoreError> for Problem {
    fn from(error: RestoreError) -> Self {
        use RestoreError as E;
        let (status, code) = match &error {
            E::BadDeviceList(_) | E::NotNew => (StatusCode::UNPROCESSABLE_ENTITY, "bad_device_list"),
            E::BadKeys(_) | E::KeysMissing => (StatusCode::UNPROCESSABLE_ENTITY, "bad_keys"),
            E::NoAccount => (StatusCode::NOT_FOUND, "no_account"),
            E::Closed => (StatusCode::GONE, "account_closed"),
            E::Conflict { .. } => (StatusCode::CONFLICT, "version_conflict"),
            E::RetryAfter(_) => (StatusCode::TOO_MANY_REQUESTS, "retry_after"),
            E::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let problem = Self::new(status, code, &error.to_string());
        match error {
            E::RetryAfter(wait) => problem.after(wait),
            E::Conflict { device_list } => Self { device_list: Some(BASE64.encode(device_list)), ..problem },
            _ => problem,
        }
    }
}
