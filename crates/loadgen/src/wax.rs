//! `wax` itself, as people run it: a profile on disk and a process a command, whose CPU time and bytes are counted.

use crate::cost::finished_children;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::sleep,
};

/// A profile of `wax`.
pub(crate) struct Profile {
    program: PathBuf,
    pub(crate) folder: PathBuf,
}

/// What a command printed, and what it used.
pub(crate) struct Ran {
    pub(crate) lines: Vec<Value>,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// A command under way.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Profile {
    pub(crate) fn new(program: &Path, folder: PathBuf) -> Self {
        Self { program: program.to_owned(), folder }
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Running> {
        let child = Command::new(&self.program)
            .args(["--json", "--no-input", "--profile"])
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdout = child.stdout.take().context("wax has no standard output")?;
        Ok(Running { child, lines: BufReader::new(stdout).lines() })
    }

    /// Runs a command, which has to succeed, with no other one beside it.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let (cpu, started) = (finished_children()?, Instant::now());
        let lines = self.start(arguments)?.finish().await.with_context(|| format!("wax {}", arguments[0]))?;
        Ok(Ran { lines, cpu: finished_children()?.saturating_sub(cpu), wall: started.elapsed() })
    }
}

impl Running {
    /// The next line.
    pub(crate) async fn line(&mut self) -> Result<Value> {
        let line = self.lines.next_line().await?.context("wax ended too early")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The rest of what it prints, once it has succeeded.
    pub(crate) async fn finish(mut self) -> Result<Vec<Value>> {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().context("wax has no standard error")?;
        let printed = async {
            let mut lines = Vec::new();
            while let Some(line) = self.lines.next_line().await? {
                lines.push(serde_json::from_str(&line)?);
            }
            anyhow::Ok(lines)
        };
        let said_all = async { Ok(stderr.read_to_string(&mut said).await?) };
        let (lines, _) = tokio::try_join!(printed, said_all)?;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("wax ended with {status}: {}", said.lines().last().unwrap_or_default());
        }
        Ok(lines)
    }
}

/// A way to the server on which the bytes are counted.
pub(crate) struct Counted {
    pub(crate) url: String,
    traffic: Rc<Traffic>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Traffic {
    up: Cell<u64>,
    open: Cell<usize>,
}

impl Counted {
    /// To the server at this authority, over plaintext. Its tasks need a `LocalSet`.
    pub(crate) async fn to(server: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let traffic = Rc::<Traffic>::default();
        let count = traffic.clone();
        let task = tokio::task::spawn_local(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let Ok(mut server) = TcpStream::connect(&server).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let count = count.clone();
                count.open.set(count.open.get() + 1);
                tokio::task::spawn_local(async move {
                    if let Ok((bytes, _)) = copy_bidirectional(&mut client, &mut server).await {
                        count.up.set(count.up.get() + bytes);
                    }
                    count.open.set(count.open.get() - 1);
                });
            }
        });
        Ok(Self { url, traffic, task })
    }

    /// Bytes that went to the server, once every connection has ended.
    pub(crate) async fn up(&self) -> u64 {
        while self.traffic.open.get() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        self.traffic.up.get()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.task.abort();
    }
}
