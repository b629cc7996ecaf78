//! The HTTP interface: what happens without a session. JSON in, JSON out, problems as RFC 9457.
//!
//! Each route is one row of a table; its description for people and programs is generated from the
//! types here and served at `/v1/openapi.json`, and a test compares the two.

mod blobs;
mod links;
mod restorations;

pub(crate) use blobs::Transfers;
pub use links::{read_answer, read_offer, read_poll};
pub use restorations::read_restoration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use server_core::{Core, Finish, RegistrationError};
use std::{net::SocketAddr, sync::Arc};
use types::{Millis, Redact};
use utoipa::{OpenApi, ToSchema};
use wire::KeyUpload;

/// What every route needs.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) core: Arc<Core>,
    pub(crate) name: Arc<str>,
    pub(crate) now: fn() -> types::Timestamp,
    pub(crate) transfers: Transfers,
}

type Handler = fn() -> MethodRouter<Service>;

/// Method, path, handler.
pub(crate) const ROUTES: &[(&str, &str, Handler)] = &[
    ("post", "/v1/registrations", || post(begin)),
    ("post", "/v1/registrations/{session}/account", || post(finish)),
    ("post", "/v1/links", || post(links::begin)),
    ("post", "/v1/links/{link}/poll", || post(links::poll)),
    ("post", "/v1/links/{link}/answer", || post(links::answer)),
    ("post", "/v1/restorations", || post(restorations::restore)),
    ("put", "/v1/blobs/{blob}", || put(blobs::upload)),
    ("get", "/v1/blobs/{blob}", || get(blobs::download)),
    ("get", "/v1/server", || get(server)),
    ("get", "/v1/openapi.json", || get(openapi)),
];

/// The router of the public listener.
pub(crate) fn router(service: Service) -> Router {
    let mut router = Router::new();
    for (_, path, handler) in ROUTES {
        router = router.route(path, handler());
    }
    router.fallback(unknown_route).method_not_allowed_fallback(wrong_method).with_state(service)
}

/// The description of the routes of the public listener.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Waxwing",
        description = "What happens without a session. Everything else travels on the WebSocket at /v1/socket.",
        license(name = "AGPL-3.0-only")
    ),
    paths(
        begin,
        finish,
        links::begin,
        links::poll,
        links::answer,
        restorations::restore,
        blobs::upload,
        blobs::download,
        server,
        openapi
    )
)]
pub struct Description;

/// Somebody wants to prove a number.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Begin {
    /// E.164, for instance `+15552000100`.
    phone: String,
}

/// A code is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Begun {
    /// 32 hexadecimal digits; secret.
    session: String,
    /// Seconds for which the code is good.
    expires_in: u64,
}

/// The code, and the account that the device made.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewAccount {
    /// 6 digits.
    code: String,
    /// The number moves here from the account that has it.
    #[serde(default)]
    replace: bool,
    /// Ed25519 public key, base64url.
    account_key: String,
    /// Signed device list, version 1, base64url.
    device_list: String,
    /// 32 random bytes chosen by the device, base64url; the server keeps their hash.
    token: String,
    /// `waxwing.frames.v1.UploadKeys`, base64url.
    keys: String,
}

/// The account exists.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Made {
    /// 32 hexadecimal digits.
    account: String,
    /// 1: the primary.
    device: u8,
    /// Which life of that device number.
    registration: u32,
}

/// What this server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct About {
    name: String,
    version: &'static str,
    protocol: Versions,
    /// The server's clock, RFC 3339.
    time: String,
}

/// Both ends included.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Versions {
    min: u32,
    max: u32,
}

/// A problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// What a program acts on.
    code: &'static str,
    detail: String,
    /// Seconds until it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// With `version_conflict`: the stored list, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_list: Option<String>,
}

/// Asks for a one-time code. An earlier code for the number is void.
#[utoipa::path(post, path = "/v1/registrations", request_body = Begin,
    responses((status = 201, body = Begun), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
async fn begin(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let begin: Begin = parse(&body?)?;
    let sent = service.core.registration_begin(&begin.phone, peer.ip()).await?;
    let begun = Begun { session: hex::encode(sent.session), expires_in: sent.expires_in.0 / 1_000 };
    Ok((StatusCode::CREATED, Json(begun)))
}

/// Proves the number by the code and creates the account. Repeating it with the same session and keys
/// answers the same account.
#[utoipa::path(post, path = "/v1/registrations/{session}/account", request_body = NewAccount,
    params(("session" = String, Path, description = "from the answer to POST /v1/registrations")),
    responses((status = 201, body = Made), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
async fn finish(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(session): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let finish = read_finish(&session, &body?)?;
    let registered = service.core.registration_finish(finish, peer.ip()).await?;
    let made = Made {
        account: registered.account.to_string(),
        device: registered.device.get(),
        registration: registered.registration.get(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// What this server is and which protocol versions it speaks.
#[utoipa::path(get, path = "/v1/server", responses((status = 200, body = About)))]
async fn server(State(service): State<Service>) -> Json<About> {
    let wire::version::Range { min, max } = wire::version::SUPPORTED;
    Json(About {
        name: service.name.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: Versions { min, max },
        time: (service.now)().to_string(),
    })
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
async fn openapi() -> Response {
    let text = Description::openapi().to_json().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn unknown_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; see /v1/openapi.json")
}

async fn wrong_method() -> Problem {
    let detail = "this path takes another method; see /v1/openapi.json";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // The parser's own words could repeat what a person typed.
    serde_json::from_slice(body).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body is not the JSON that this path takes")
    })
}

/// Reads the path and body of a finishing request. Any bytes may be given.
pub fn read_finish(session: &str, body: &[u8]) -> Result<Finish, Problem> {
    let asked: NewAccount = parse(body)?;
    let session: [u8; 16] = hex::decode(session)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(RegistrationError::NoSession)?;
    let device_list = binary(&asked.device_list, "device_list")?;
    let named = binary(&asked.account_key, "account_key")?;
    let listed = signed::DeviceList::verify(&device_list).map_err(RegistrationError::from)?;
    if named != listed.account_key().as_bytes() {
        return Err(malformed("account_key"));
    }
    Ok(Finish {
        session,
        code: Redact::new(asked.code),
        device_list: device_list.into(),
        keys: keys(&asked.keys)?,
        token: token(&asked.token)?,
        replace: asked.replace,
    })
}

fn binary(text: &str, field: &'static str) -> Result<Vec<u8>, Problem> {
    BASE64.decode(text).map_err(|_| malformed(field))
}

fn token(text: &str) -> Result<Redact<[u8; 32]>, Problem> {
    binary(text, "token")?.try_into().map(Redact::new).map_err(|_| malformed("token"))
}

fn keys(text: &str) -> Result<KeyUpload, Problem> {
    KeyUpload::decode(binary(text, "keys")?.into()).map_err(|_| malformed("keys"))
}

fn malformed(field: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", &format!("the field {field} is not valid"))
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Self {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            code,
            detail: detail.to_owned(),
            retry_after: None,
            device_list: None,
        }
    }

    fn after(self, wait: Millis) -> Self {
        Self { retry_after: Some(wait.0.div_ceil(1_000).max(1)), ..self }
    }
}

/// A body that is longer than the limit, or that did not come whole.
impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is longer than this path takes",
            ),
            _ => Self::new(StatusCode::BAD_REQUEST, "malformed", "the body did not come whole"),
        }
    }
}

/// The table from refusals to status and code.
impl From<RegistrationError> for Problem {
    fn from(error: RegistrationError) -> Self {
        use RegistrationError as E;
        let detail = error.to_string();
        let (status, code) = match &error {
            E::BadNumber => (StatusCode::UNPROCESSABLE_ENTITY, "bad_number"),
            E::WrongCode { .. } => (StatusCode::FORBIDDEN, "wrong_code"),
            E::CodeExhausted => (StatusCode::FORBIDDEN, "exhausted_code"),
            E::CodeExpired => (StatusCode::FORBIDDEN, "expired_code"),
            E::NoSession => (StatusCode::NOT_FOUND, "no_session"),
            E::NumberTaken => (StatusCode::CONFLICT, "number_taken"),
            E::AccountKeyUsed => (StatusCode::CONFLICT, "account_key_used"),
            E::BadDeviceList(_) | E::NotAFirstList => (StatusCode::UNPROCESSABLE_ENTITY, "bad_device_list"),
            E::BadKeys(_) | E::KeysMissing => (StatusCode::UNPROCESSABLE_ENTITY, "bad_keys"),
            E::RetryAfter(_) => (StatusCode::TOO_MANY_REQUESTS, "retry_after"),
            E::NotSent => (StatusCode::BAD_GATEWAY, "not_sent"),
            E::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let problem = Self::new(status, code, &detail);
        match error {
            E::RetryAfter(wait) => problem.after(wait),
            E::WrongCode { tries_left } => {
                Self { detail: format!("{detail}; {tries_left} tries are left"), ..problem }
            }
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_description_names_exactly_the_routes() {
        let description = serde_json::to_value(Description::openapi()).unwrap();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, operations) in description["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                described.push((method.clone(), path.clone()));
            }
        }
        let mut routed: Vec<(String, String)> =
            ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }
}
