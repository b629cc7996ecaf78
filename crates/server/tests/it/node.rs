//! One `waxwing serve` process, which a test may treat badly.

use server::admin_socket::{self, Answer, Question};
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use types::PhoneNumber;

/// A running server. Dropping it kills the process.
pub struct Node {
    child: Child,
    data: PathBuf,
    public: SocketAddr,
    admin: SocketAddr,
    scheme: String,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

/// How a server that did not become ready ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

/// The program with everything that a test must not inherit taken away.
pub fn waxwing() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WAXWING") {
            command.env_remove(name);
        }
    }
    command.env("WAXWING__QUOTAS__ENABLED", "false");
    command
}

impl Node {
    /// Starts a server on any free ports.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, "127.0.0.1:0", &[]).unwrap()
    }

    pub fn start_with(data: &Path, listen: &str, arguments: &[&str]) -> Result<Self, Ended> {
        let mut command = waxwing();
        command.arg("serve").arg("--data").arg(data).args([
            "--listen",
            listen,
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        command.args(arguments);
        Self::spawn(command, data)
    }

    pub fn spawn(mut command: Command, data: &Path) -> Result<Self, Ended> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        while stderr.read_line(&mut line).unwrap() > 0 {
            said.lock().unwrap().push_str(&line);
            if let Some(rest) = line.strip_prefix("waxwing ready: public ") {
                let (public, admin) = rest.trim().split_once(" admin http://").unwrap();
                let (scheme, public) = public.split_once("://").unwrap();
                let (scheme, public, admin) =
                    (scheme.to_owned(), public.parse().unwrap(), admin.parse().unwrap());
                let log = said.clone();
                let listener = std::thread::spawn(move || {
                    let mut rest = Vec::new();
                    let _ = stderr.read_to_end(&mut rest);
                    log.lock().unwrap().push_str(&String::from_utf8_lossy(&rest));
                });
                let data = data.to_owned();
                return Ok(Self { child, data, public, admin, scheme, said, listener: Some(listener) });
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        let said = said.lock().unwrap().clone();
        Err(Ended { status, said })
    }

    /// `kill -9`, then the same server again on the same port and data.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        *self = Self::start_with(&self.data, &self.public.to_string(), &[]).unwrap();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; answers how, and everything that the process said.
    pub fn wait(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        let said = self.said.lock().unwrap().clone();
        Ended { status, said }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.public)
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub async fn code(&self, phone: &PhoneNumber) -> String {
        let question = Question::Code { phone: phone.e164().to_owned() };
        match admin_socket::ask(&self.data, &question).await.unwrap() {
            Answer::Code(code) => code,
            other => panic!("no code is pending: {other:?}"),
        }
    }

    /// Asks the admin listener; answers status line and body.
    pub fn ask_admin(&self, path: &str) -> String {
        http_get(self.admin, path)
    }
}

/// One plain HTTP request, as text.
pub fn http_get(address: SocketAddr, path: &str) -> String {
    http(address, "GET", path, "")
}

/// The same with a method and a body, of which the server need not take everything.
pub fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

impl Ended {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap_or(0))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
