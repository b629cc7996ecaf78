use client_net::{CertificatePin, InvalidServerUrl, ServerUrl};
use proptest::prelude::*;

fn read(text: &str) -> Result<String, InvalidServerUrl> {
    text.parse().map(|url: ServerUrl| url.to_string())
}

#[test]
fn the_text_form_is_the_origin() {
    for (typed, origin) in [
        ("https://chat.example.org", "https://chat.example.org"),
        ("https://Chat.Example.Org:443/", "https://chat.example.org"),
        ("https://chat.example.org:8443", "https://chat.example.org:8443"),
        ("https://192.0.2.1:8443", "https://192.0.2.1:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://localhost:9000/", "http://localhost:9000"),
    ] {
        assert_eq!(read(typed).as_deref(), Ok(origin), "{typed}");
    }
}

#[test]
fn plain_http_leaves_this_machine_in_no_disguise() {
    for typed in [
        "http://chat.example.org",
        "http://192.0.2.1",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://[2001:db8::1]",
        "http://0.0.0.0:80",
        "http://10.0.0.1",
    ] {
        assert_eq!(read(typed), Err(InvalidServerUrl::PlaintextToOtherMachine), "{typed}");
    }
}

#[test]
fn what_is_not_an_address_is_refused() {
    for typed in [
        "",
        "chat.example.org",
        "ftp://example.org",
        "wss://example.org",
        "https://",
        "https://x:0",
        "https://x:y",
    ] {
        assert_eq!(read(typed), Err(InvalidServerUrl::Form), "{typed}");
    }
    for typed in [
        "https://example.org/path",
        "https://me@example.org",
        "http://127.0.0.1@example.org",
        "https://example.org?x",
    ] {
        assert_eq!(read(typed), Err(InvalidServerUrl::Excess), "{typed}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_the_origin_reads_back(typed in "(https?://)?[a-z0-9:.@/\\[\\]#?-]{0,40}") {
        if let Ok(url) = typed.parse::<ServerUrl>() {
            prop_assert_eq!(url.to_string().parse::<ServerUrl>(), Ok(url));
        }
    }

    #[test]
    fn a_pin_reads_back_in_every_usual_form(bytes: [u8; 32]) {
        let pin = CertificatePin::from_bytes(bytes);
        let with_colons = bytes.map(|byte| format!("{byte:02X}")).join(":");
        prop_assert_eq!(pin.to_string().parse::<CertificatePin>(), Ok(pin));
        prop_assert_eq!(with_colons.parse::<CertificatePin>(), Ok(pin));
        prop_assert!(pin.to_string()[1..].parse::<CertificatePin>().is_err());
    }
}
