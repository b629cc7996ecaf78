//! The driver's parts against real sockets on loopback.
#![allow(clippy::unwrap_used)]

mod blob;
mod http_json;
mod server_url;
mod socket;
mod tls;

/// A listener on a free port of loopback, and its URL.
async fn listen(scheme: &str) -> (tokio::net::TcpListener, client_net::ServerUrl) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}
