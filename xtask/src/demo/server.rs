//! The server of the play: a process that is started, killed and started again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// From start to the line that says it serves. Slow machines take a second.
const START_MAX: Duration = Duration::from_secs(30);
/// From being asked to stop to having stopped, with connections to drain.
const STOP_MAX: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The line that says it serves begins with this.
const READY: &str = "waxwing ready: public ";

/// A running `waxwing`. It is killed when this is dropped.
pub(super) struct Server {
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    /// `127.0.0.1:PORT`, once the first start has chosen one.
    listen: String,
    process: Option<Child>,
}

impl Server {
    /// Starts a server on a free port and waits until it serves.
    pub(super) fn start(program: &Path, data: &Path) -> Result<Self> {
        let mut server = Self {
            program: program.to_owned(),
            data: data.to_owned(),
            log: data.with_extension("log"),
            listen: "127.0.0.1:0".to_owned(),
            process: None,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it with the directory and the port it had.
    pub(super) fn start_again(&mut self) -> Result<()> {
        let log =
            File::create(&self.log).with_context(|| format!("{} cannot be made", self.log.display()))?;
        let mut command = self.waxwing();
        command.arg("serve").args(["--listen", &self.listen, "--admin-listen", "127.0.0.1:0", "--data"]);
        command.arg(&self.data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().context("waxwing cannot be started")?);
        self.listen = self.wait_until_ready()?;
        Ok(())
    }

    /// Where people find it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its data directory.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The code that a number waits for, which only the operator can ask for.
    pub(super) fn code(&self, phone: &str) -> Result<String> {
        let output =
            self.waxwing().args(["admin", "--data"]).arg(&self.data).args(["code", phone]).output()?;
        let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_code = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(is_code, "waxwing admin code: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(code)
    }

    /// Ends it at once, as a power cut would.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().context("the server cannot be killed")?;
            process.wait()?;
        }
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the server does not run")?;
        let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
        ensure!(asked.success(), "the server cannot be asked to stop");
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = process.try_wait()? {
                self.process = None;
                ensure!(status.success(), "the server stopped with {status}");
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        bail!("the server did not stop within {STOP_MAX:?}")
    }

    /// The last lines that it wrote.
    pub(super) fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn waxwing(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Whoever plays this may run a server with settings of their own.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WAXWING_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Waits for the line that says it serves; gives the address in it.
    fn wait_until_ready(&mut self) -> Result<String> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            // The line is whole once its end is there.
            if let Some(line) =
                log.split_inclusive('\n').find(|line| line.starts_with(READY) && line.ends_with('\n'))
            {
                let url = line[READY.len()..].split(' ').next().unwrap_or_default();
                let address =
                    url.strip_prefix("http://").with_context(|| format!("not an address: {line}"))?;
                return Ok(address.to_owned());
            }
            if let Some(status) = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten())
            {
                bail!("the server ended with {status}: {}", self.log_end());
            }
            thread::sleep(LOOK);
        }
        bail!("the server was not ready within {START_MAX:?}: {}", self.log_end())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
