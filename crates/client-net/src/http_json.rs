//! The engine's own requests, which need no session: registration, linking, restoring.

use crate::{
    dial::{Dialer, Unreachable},
    http::ask,
};
use bytes::Bytes;
use client::{HttpAnswer, HttpMethod, HttpRequest};
use http::{Method, Request, header};
use http_body_util::Full;
use std::time::Duration;

/// Time for a request once the connection is up. The server sends a text message on the way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer of this interface is larger.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Makes a request of the engine's and gives the answer, whatever its status.
pub async fn exchange(dialer: &Dialer, request: &HttpRequest) -> Result<HttpAnswer, Unreachable> {
    let method = match request.method {
        HttpMethod::Post => Method::POST,
    };
    let request = Request::builder()
        .method(method)
        .uri(&request.path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, application/problem+json")
        .body(Full::new(Bytes::copy_from_slice(&request.body)))
        .map_err(|_| Unreachable::Protocol("its answer led to a path that cannot be asked for".into()))?;
    let answer = ask(dialer, request, BODY_BYTES_MAX, REQUEST_TIMEOUT).await?;
    Ok(HttpAnswer { status: answer.status, body: answer.body.to_vec() })
}
