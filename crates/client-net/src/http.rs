//! One HTTP request on a connection of its own: what the JSON interface and blobs share.

use crate::dial::{Dialer, Unreachable};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::timeout;

/// What the server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Dials, asks, and reads an answer of at most `body_bytes_max`. Once the connection is up it all takes at
/// most `patience`. The caller's request names the path alone.
pub(crate) async fn ask(
    dialer: &Dialer,
    mut request: Request<Full<Bytes>>,
    body_bytes_max: usize,
    patience: Duration,
) -> Result<Answer, Unreachable> {
    let host = dialer.url().authority().parse().expect("a host and a port are a header's value");
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let stream = TokioIo::new(dialer.dial().await?);
    let asked = async {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(not_http)?;
        // The connection lives as long as its one request: dropping the sender ends it.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(not_http)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), body_bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => Unreachable::Protocol("the answer is too long".into()),
            Err(_) => Unreachable::Protocol("the answer broke off".into()),
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    timeout(patience, asked).await.map_err(|_| Unreachable::TimedOut)?
}

#[allow(clippy::needless_pass_by_value)]
fn not_http(error: hyper::Error) -> Unreachable {
    Unreachable::Protocol(error.to_string())
}
