//! The smallest HTTP client that registration needs: the engine's requests, one a connection.

use crate::dial::{Dialer, Unreachable};
use bytes::Bytes;
use client::{HttpAnswer, HttpMethod, HttpRequest};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::timeout;

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
        .header(header::HOST, dialer.url().authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, application/problem+json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(&request.body)))
        .map_err(|_| Unreachable::Protocol("its answer led to a path that cannot be asked for".into()))?;
    let stream = TokioIo::new(dialer.dial().await?);
    timeout(REQUEST_TIMEOUT, send(stream, request)).await.map_err(|_| Unreachable::TimedOut)?
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<HttpAnswer, Unreachable>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await.map_err(not_http)?;
    // The connection lives as long as its one request: dropping the sender ends it.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(not_http)?;
    let status = response.status().as_u16();
    let body =
        Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
            match error.downcast::<LengthLimitError>() {
                Ok(_) => Unreachable::Protocol("the answer is too long".into()),
                Err(_) => Unreachable::Protocol("the answer broke off".into()),
            }
        })?;
    Ok(HttpAnswer { status, body: body.to_bytes().to_vec() })
}

#[allow(clippy::needless_pass_by_value)]
fn not_http(error: hyper::Error) -> Unreachable {
    Unreachable::Protocol(error.to_string())
}
