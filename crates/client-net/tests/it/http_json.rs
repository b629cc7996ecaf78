use crate::listen;
use client::{HttpAnswer, HttpMethod, HttpRequest};
use client_net::{Dialer, Unreachable, exchange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Makes one request of a server that answers `answer`; what it was asked, and what came of it.
async fn ask(answer: Vec<u8>) -> (String, Result<HttpAnswer, Unreachable>) {
    let (listener, url) = listen("http").await;
    let request = HttpRequest {
        method: HttpMethod::Post,
        origin: url.to_string(),
        server_pin: None,
        path: "/v1/registrations".into(),
        body: br#"{"phone":"+15552000100"}"#.to_vec(),
    };
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"}") {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
        }
        // A client that has seen enough may close before everything is written.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(asked).unwrap()
    };
    let dialer = Dialer::new(url, None).unwrap();
    let (asked, answered) = tokio::join!(serving, exchange(&dialer, &request));
    (asked, answered)
}

#[tokio::test]
async fn the_request_is_the_engines_and_so_is_the_answer_whatever_its_status() {
    for (line, status) in [("201 Created", 201), ("409 Conflict", 409)] {
        let body = r#"{"code":"number_taken"}"#;
        let answer = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (asked, answered) = ask(answer.into()).await;
        assert!(asked.starts_with("POST /v1/registrations HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{\"phone\":\"+15552000100\"}"), "{asked}");
        assert_eq!(answered.unwrap(), HttpAnswer { status, body: body.into() });
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(1024 * 1024, b' ');
    assert!(matches!(ask(answer).await.1, Err(Unreachable::Protocol(_))));
}

#[tokio::test]
async fn garbage_and_half_answers_are_no_answers() {
    for answer in [
        "",
        "\0\0\0\0",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "220 smtp.example.org ESMTP\r\n",
    ] {
        assert!(matches!(ask(answer.into()).await.1, Err(Unreachable::Protocol(_))), "{answer}");
    }
}
