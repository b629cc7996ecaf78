//! A server that the bench starts, and which core it and the generator run on.

use crate::device::Service;
use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// The server's core, and the generator's.
const SERVER_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How the public listener is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Plaintext,
    /// TLS with a certificate that the server makes, pinned by the devices.
    SelfSigned,
}

/// A running server. Dropped, it is killed.
pub(crate) struct ServerProcess {
    child: Child,
    address: Address,
}

struct Address {
    url: String,
    fingerprint: Option<String>,
}

/// Keeps this process to the generator's core. Without a second core both share one, and the run says so
/// by its own busyness.
pub(crate) fn pin_generator() -> Result<()> {
    pin(GENERATOR_CORE)
}

impl ServerProcess {
    /// Starts the program on a data directory, on its own core, and waits until it can serve.
    pub(crate) async fn start(program: &Path, data: &Path, protection: Protection) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(
                (protection == Protection::SelfSigned)
                    .then_some(["--tls", "self-signed"])
                    .into_iter()
                    .flatten(),
            )
            .env("WAXWING__QUOTAS__ENABLED", "false")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A child begins on the cores of the thread that makes it.
        pin(SERVER_CORE)?;
        let child = command.spawn();
        pin_generator()?;
        let mut child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().context("the server has no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let address =
            timeout(START_TIMEOUT, ready(&mut lines)).await.context("the server is not ready")??;
        // Its log is read to the end, or a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address })
    }

    /// How devices reach it.
    pub(crate) fn service(&self, data: PathBuf) -> Result<Service> {
        let url = self.address.url.parse().map_err(|_| anyhow!("the ready line has no address"))?;
        let pin = self.address.fingerprint.as_deref().map(str::parse).transpose();
        Service::new(url, pin.map_err(|_| anyhow!("the fingerprint cannot be read"))?, data, self.pid()?)
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }
}

async fn ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<Address> {
    let mut fingerprint = None;
    let mut last = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, found)) =
            line.split_once("certificate fingerprint").and_then(|(_, rest)| rest.rsplit_once(": "))
        {
            fingerprint = Some(found.to_owned());
        }
        if let Some((_, addresses)) = line.split_once("waxwing ready: public ") {
            let url = addresses.split_whitespace().next().unwrap_or_default().to_owned();
            return Ok(Address { url, fingerprint });
        }
        last = line;
    }
    bail!("the server ended before it was ready: {last}")
}

fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core % std::thread::available_parallelism().map_or(1, |cores| cores.get().max(2)));
    sched_setaffinity(None, &cores).context("cannot choose the core")
}
