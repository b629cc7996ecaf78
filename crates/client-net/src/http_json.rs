//! The smallest HTTP client that registration needs: one request a connection, JSON in and out.

use crate::dial::{Dialer, Unreachable};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time::timeout;

/// Time for a request once the connection is up. The server sends a text message on the way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer of this interface is larger.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the server answered: its status and whole body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Reads the body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Unreachable> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Unreachable::Protocol("the answer is not the JSON that was asked for".into()))
    }
}

/// Asks without a body.
pub(crate) async fn get(dialer: &Dialer, path: &str) -> Result<Answer, Unreachable> {
    exchange(dialer, Method::GET, path, Bytes::new()).await
}

/// Asks with a JSON body.
pub(crate) async fn post(dialer: &Dialer, path: &str, body: &impl Serialize) -> Result<Answer, Unreachable> {
    let body = serde_json::to_vec(body).expect("structs of strings and booleans become JSON");
    exchange(dialer, Method::POST, path, body.into()).await
}

async fn exchange(dialer: &Dialer, method: Method, path: &str, body: Bytes) -> Result<Answer, Unreachable> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, dialer.url().authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, application/problem+json")
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .expect("a fixed path and a checked authority make a request");
    let stream = TokioIo::new(dialer.dial().await?);
    timeout(REQUEST_TIMEOUT, send(stream, request)).await.map_err(|_| Unreachable::TimedOut)?
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Unreachable>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| hyper_error(&error))?;
    // The connection ends with its one request, or with the drop of the sender when time runs out.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| hyper_error(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| Unreachable::Protocol(error.to_string()))?
        .to_bytes();
    connection.abort();
    Ok(Answer { status, body })
}

fn hyper_error(error: &hyper::Error) -> Unreachable {
    Unreachable::Protocol(error.to_string())
}
