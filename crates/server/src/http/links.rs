//! What a new device says before it has an account: it shows a code, waits for the primary, and answers it.

use super::{Problem, Service, binary, keys, malformed, parse, token};
use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, Path, State, rejection::BytesRejection},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use server_core::{LinkError, NewDevice};
use server_ports::directory::LinkState;
use std::net::SocketAddr;
use types::{LinkId, Redact};
use utoipa::ToSchema;

/// A new device offers itself.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewLink {
    /// 32 hexadecimal digits, drawn by the device.
    link: String,
    /// 32 random bytes chosen by the device, base64url; the server keeps their hash.
    token: String,
    /// `waxwing.link.v1.LinkOffer`, base64url.
    offer: String,
    /// `waxwing.frames.v1.UploadKeys`, base64url.
    keys: String,
}

/// The code can be shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Offered {
    /// Seconds for which the code is good.
    expires_in: u64,
}

/// The new device asks how its link stands.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Poll {
    /// The token of the link, base64url.
    token: String,
}

/// How a link stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// `waiting`, `invited`, `answered`, `linked`, `refused` or `expired`.
    state: &'static str,
    /// `waxwing.link.v1.LinkInvitation`, base64url, from `invited` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<String>,
    /// `waxwing.link.v1.LinkCompletion`, base64url, once `linked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<String>,
    /// Seconds that the link still lives.
    expires_in: u64,
}

/// The new device answers its invitation.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Answer {
    /// The token of the link, base64url.
    token: String,
    /// `waxwing.link.v1.LinkAnswer`, base64url.
    answer: String,
}

/// Nothing more to say.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {}

/// Begins a link. Repeating it with the same bytes is the same link.
#[utoipa::path(post, path = "/v1/links", request_body = NewLink,
    responses((status = 201, body = Offered), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn begin(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Offered>), Problem> {
    let expires_in = service.core.link_begin(read_offer(&body?)?, peer.ip()).await?;
    Ok((StatusCode::CREATED, Json(Offered { expires_in: expires_in.0.div_ceil(1_000) })))
}

/// How the link stands. Only the device that began it learns anything.
#[utoipa::path(post, path = "/v1/links/{link}/poll", request_body = Poll,
    params(("link" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, body = Standing), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn poll(
    State(service): State<Service>,
    Path(link): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Standing>, Problem> {
    let (link, token) = read_poll(&link, &body?)?;
    let view = service.core.link_poll(link, &token).await?;
    Ok(Json(Standing {
        state: name(view.state),
        invitation: view.invitation.map(|bytes| BASE64.encode(bytes)),
        completion: view.completion.map(|bytes| BASE64.encode(bytes)),
        expires_in: view.expires_in.0.div_ceil(1_000),
    }))
}

/// Answers the invitation. Repeating it with the same bytes is the same answer.
#[utoipa::path(post, path = "/v1/links/{link}/answer", request_body = Answer,
    params(("link" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, body = Taken), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn answer(
    State(service): State<Service>,
    Path(link): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Taken>, Problem> {
    let (link, token, answer) = read_answer(&link, &body?)?;
    service.core.link_answer(link, &token, answer).await?;
    Ok(Json(Taken {}))
}

/// Reads the body of a request that begins a link. Any bytes may be given.
pub fn read_offer(body: &[u8]) -> Result<NewDevice, Problem> {
    let asked: NewLink = parse(body)?;
    Ok(NewDevice {
        link: asked.link.parse().map_err(|_| malformed("link"))?,
        token: token(&asked.token)?,
        offer: binary(&asked.offer, "offer")?.into(),
        keys: keys(&asked.keys)?,
    })
}

/// Reads path and body of a question how a link stands: which link, and the token. Any bytes may be given.
pub fn read_poll(link: &str, body: &[u8]) -> Result<(LinkId, Redact<[u8; 32]>), Problem> {
    let asked: Poll = parse(body)?;
    Ok((read_link(link)?, token(&asked.token)?))
}

/// Reads path and body of an answer to an invitation: which link, the token, and the answer. Any bytes may be given.
pub fn read_answer(link: &str, body: &[u8]) -> Result<(LinkId, Redact<[u8; 32]>, Bytes), Problem> {
    let asked: Answer = parse(body)?;
    let answer = binary(&asked.answer, "answer")?;
    Ok((read_link(link)?, token(&asked.token)?, answer.into()))
}

fn read_link(text: &str) -> Result<LinkId, Problem> {
    text.parse().map_err(|_| LinkError::NoLink.into())
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

/// The table from refusals to status and code.
impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        use LinkError as E;
        let (status, code) = match &error {
            E::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            E::BadKeys(_) | E::KeysMissing => (StatusCode::UNPROCESSABLE_ENTITY, "bad_keys"),
            E::Exists => (StatusCode::CONFLICT, "link_exists"),
            E::NoLink => (StatusCode::NOT_FOUND, "no_link"),
            E::RetryAfter(_) => (StatusCode::TOO_MANY_REQUESTS, "retry_after"),
            E::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let problem = Self::new(status, code, &error.to_string());
        match error {
            E::RetryAfter(wait) => problem.after(wait),
            _ => problem,
        }
    }
}
