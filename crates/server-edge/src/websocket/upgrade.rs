//! The HTTP request that opens a socket (RFC 6455, section 4.2), told apart from all others.

use sha1::{Digest, Sha1};

/// Where the socket is.
pub const SOCKET_PATH: &str = "/v1/socket";
/// Largest request head, of any request.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields of one head; browsers send about twenty.
const FIELDS_MAX: usize = 64;
/// Appended to the key before hashing (RFC 6455, section 1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 bytes in base64.
const KEY_LEN: usize = 24;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// The head is not whole yet.
    Partial,
    /// It asks for the socket.
    Socket {
        /// Bytes of the head; frames may follow.
        length: usize,
        /// The value of `Sec-WebSocket-Key`.
        key: [u8; KEY_LEN],
    },
    /// It asks for something else, also when it names the socket's path without a proper upgrade.
    Other,
    /// It is not HTTP/1.1, or longer than [`HEAD_BYTES_MAX`].
    Refused,
}

/// Reads the head at the front of `bytes`.
pub fn read_head(bytes: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > HEAD_BYTES_MAX => Head::Refused,
        Ok(httparse::Status::Complete(length)) => match socket_key(&request) {
            Some(key) => Head::Socket { length, key },
            None => Head::Other,
        },
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => Head::Partial,
        Ok(httparse::Status::Partial) | Err(_) => Head::Refused,
    }
}

/// Appends the answer that turns the connection into a socket.
pub fn switching_protocols(key: &[u8; KEY_LEN], out: &mut Vec<u8>) {
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
    );
    base64(&digest, out);
    out.extend_from_slice(b"\r\n\r\n");
}

/// The key of a proper upgrade to the socket.
fn socket_key(request: &httparse::Request<'_, '_>) -> Option<[u8; KEY_LEN]> {
    let path = request.path?.split('?').next()?;
    let proper = request.method == Some("GET")
        && request.version == Some(1)
        && path == SOCKET_PATH
        && names(request, "upgrade", "websocket")
        && names(request, "connection", "upgrade")
        && names(request, "sec-websocket-version", "13");
    let key = values(request, "sec-websocket-key").next()?;
    let plausible = key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(|c| ALPHABET.contains(c)));
    if proper && plausible { key.try_into().ok() } else { None }
}

/// Whether a comma-separated field holds `token`, in any case.
fn names(request: &httparse::Request<'_, '_>, field: &str, token: &str) -> bool {
    values(request, field)
        .flat_map(|value| value.split(|&c| c == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn values<'a>(request: &'a httparse::Request<'_, '_>, field: &'a str) -> impl Iterator<Item = &'a [u8]> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(field))
        .map(|header| header.value)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648, section 4), for the twenty bytes of a digest.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for digit in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63];
            out.push(if digit <= group.len() { symbol } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_standards_example() {
        let mut out = Vec::new();
        switching_protocols(b"dGhlIHNhbXBsZSBub25jZQ==", &mut out);
        assert!(
            String::from_utf8(out)
                .is_ok_and(|answer| answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
        );
    }
}
