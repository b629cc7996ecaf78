//! From a server's address to a byte stream: resolve, connect, TLS, each within a time.

use crate::{
    CertificatePin, ServerUrl,
    certificate::{PinMismatch, client_config},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Time for name resolution, TCP and TLS together. A SYN that is lost is sent again after 1 s and 3 s,
/// so that half of the ten seconds that a command waits for its server leaves room for one more try.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no connection to the server came up.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The name did not resolve, nobody listens, or the network failed.
    #[error("{0}")]
    Network(io::Error),
    /// No answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// Another certificate than the pinned one.
    #[error(transparent)]
    Pin(PinMismatch),
    /// The certificate is not trusted, or TLS failed otherwise.
    #[error("its TLS certificate or handshake was refused: {0}")]
    Tls(rustls::Error),
    /// Something else than a Waxwing server answered, or one that does not serve now.
    #[error("it answered with HTTP status {0}")]
    Status(u16),
    /// What answered does not speak the protocol.
    #[error("what answered is not a Waxwing server: {0}")]
    Protocol(String),
}

/// Dials one server, again and again, with the same trust.
#[derive(Clone, Debug)]
pub struct Dialer {
    url: ServerUrl,
    pin: Option<CertificatePin>,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// Prepares the trust: the pin if there is one, else the system's authorities.
    pub fn new(url: ServerUrl, pin: Option<CertificatePin>) -> Result<Self, Unreachable> {
        let tls = client_config(&url, pin).map_err(Unreachable::Tls)?;
        Ok(Self { url, pin, tls })
    }

    /// Another place, dialled with the same trust.
    pub(crate) fn elsewhere(&self, url: ServerUrl) -> Result<Self, Unreachable> {
        Self::new(url, self.pin)
    }

    /// The server.
    pub const fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// One connection.
    pub(crate) async fn dial(&self) -> Result<ByteStream, Unreachable> {
        timeout(DIAL_TIMEOUT, self.connect()).await.map_err(|_| Unreachable::TimedOut)?
    }

    async fn connect(&self) -> Result<ByteStream, Unreachable> {
        let tcp =
            TcpStream::connect((self.url.host(), self.url.port())).await.map_err(Unreachable::Network)?;
        // Frames are small and wait for answers; a failure only costs latency.
        let _ = tcp.set_nodelay(true);
        let Some(config) = &self.tls else { return Ok(ByteStream::Plain(tcp)) };
        let name = ServerName::try_from(self.url.host().to_owned())
            .map_err(|_| Unreachable::Protocol("its name cannot stand in a certificate".into()))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(tls_error)?;
        Ok(ByteStream::Tls(Box::new(stream)))
    }
}

/// The handshake reports everything as an I/O error; what was inside says what to do about it.
fn tls_error(error: io::Error) -> Unreachable {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Unreachable::Network(error);
    };
    if let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = inner
        && let Some(mismatch) = other.0.downcast_ref::<PinMismatch>()
    {
        return Unreachable::Pin(*mismatch);
    }
    Unreachable::Tls(inner.clone())
}

/// Plain TCP or TLS over it.
#[derive(Debug)]
pub(crate) enum ByteStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
