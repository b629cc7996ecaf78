//! The operator's door: a Unix socket in the data directory, for its owner only (0600).
//!
//! One JSON object a line each way. It exists so that `waxwing admin` can ask the running server for
//! what is only in its memory, such as a pending one-time code.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::{
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

const SOCKET_NAME: &str = "admin.sock";
const REQUEST_BYTES_MAX: u64 = 4 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What an operator asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Question {
    /// The pending one-time code of a number.
    Code {
        /// E.164.
        phone: String,
    },
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The code.
    Code(String),
    /// Nothing is pending.
    Nothing,
    /// Not here: a real text sender is configured, or the number is not valid.
    Refused(String),
}

/// Who answers.
pub trait Operator: Send + Sync + 'static {
    /// Answers one question.
    fn answer(&self, question: Question) -> Answer;
}

/// Binds the socket. The caller holds the data directory's lock, so an old socket file is a leftover.
pub fn bind(data: &Path) -> std::io::Result<UnixListener> {
    let folder = Folder::open(data)?;
    let path = folder.short_path();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers questions until the task is dropped.
pub async fn serve(listener: UnixListener, operator: Arc<dyn Operator>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let operator = operator.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(ANSWER_TIMEOUT, answer_one(stream, operator)).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer_one(stream: UnixStream, operator: Arc<dyn Operator>) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut line = String::new();
    BufReader::new(input.take(REQUEST_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(question) => operator.answer(question),
        Err(_) => Answer::Refused("the question was not understood; use the waxwing that serves".to_owned()),
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    output.write_all(text.as_bytes()).await
}

/// Asks the server that runs on this data directory.
pub async fn ask(data: &Path, question: &Question) -> Result<Answer, Failure> {
    let not_running = |_| {
        Failure::unavailable("server_not_running", format!("no server is running on {}", data.display()))
            .hint("start it with `waxwing serve`, or name its directory with --data")
    };
    let folder = Folder::open(data).map_err(not_running)?;
    let stream = UnixStream::connect(folder.short_path()).await.map_err(not_running)?;
    let conversation = async {
        let (input, mut output) = stream.into_split();
        let mut text = serde_json::to_string(question)?;
        text.push('\n');
        output.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(input).read_line(&mut line).await?;
        Ok::<Answer, std::io::Error>(serde_json::from_str(&line)?)
    };
    let no_answer = || {
        Failure::temporary("no_answer", "the running server did not answer")
            .hint("try again; if it persists, restart it")
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, conversation).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(no_answer()),
    }
}

/// An open directory, by which a socket in it can be named in less than the 108 bytes that the kernel
/// allows, however long the directory's own path is.
struct Folder {
    directory: std::fs::File,
    path: PathBuf,
}

impl Folder {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { directory: std::fs::File::open(path)?, path: path.to_owned() })
    }

    fn short_path(&self) -> PathBuf {
        let through_descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()));
        if through_descriptor.exists() {
            through_descriptor.join(SOCKET_NAME)
        } else {
            self.path.join(SOCKET_NAME)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Always;

    impl Operator for Always {
        fn answer(&self, Question::Code { phone }: Question) -> Answer {
            if phone == "+15552000100" { Answer::Code("123456".to_owned()) } else { Answer::Nothing }
        }
    }

    #[tokio::test]
    async fn an_operator_is_answered_even_under_a_very_long_path() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("long-name-".repeat(20));
        std::fs::create_dir(&data).unwrap();
        let server = tokio::spawn(serve(bind(&data).unwrap(), Arc::new(Always)));
        let code = |phone: &str| Question::Code { phone: phone.to_owned() };
        assert!(
            matches!(ask(&data, &code("+15552000100")).await.unwrap(), Answer::Code(code) if code == "123456")
        );
        assert!(matches!(ask(&data, &code("+15552000101")).await.unwrap(), Answer::Nothing));
        let mode = std::fs::metadata(data.join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        server.abort();
    }

    #[tokio::test]
    async fn without_a_server_the_failure_says_so() {
        let data = tempfile::tempdir().unwrap();
        let question = Question::Code { phone: "+15552000100".to_owned() };
        assert_eq!(ask(data.path(), &question).await.unwrap_err().exit, 69);
    }
}
