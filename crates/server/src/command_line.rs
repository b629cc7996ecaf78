//! The commands of `waxwing`.

use crate::{
    admin_socket::{self, Answer, Question},
    config::{Config, TlsMode},
    failure::Failure,
    serve,
};
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};
use types::PhoneNumber;

/// A messaging service that anyone can run: end-to-end encrypted, durable, one binary.
#[derive(Debug, Parser)]
#[command(
    name = "waxwing",
    version,
    after_help = "Examples:\n  \
        waxwing serve                              start on http://127.0.0.1:7700, no configuration needed\n  \
        waxwing serve --listen 0.0.0.0:443 --tls self-signed\n  \
        waxwing admin code +15552000100            the one-time code that this number waits for\n  \
        waxwing config print-default > waxwing.toml"
)]
pub struct CommandLine {
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "WAXWING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print errors as one JSON object on stderr.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service and serve until SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Ask the running service something that only its operator may know.
    Admin(Admin),
    /// Check the configuration and say what is wrong with it.
    CheckConfig,
    /// Show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Data directory; made if it is missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Public listener; port 0 takes any free port.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Admin listener (/health, /ready, /metrics).
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// How the public listener is protected.
    #[arg(long, value_enum)]
    tls: Option<TlsMode>,
    /// Certificate chain (PEM); implies --tls files.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Admin {
    /// Data directory of the running service.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Print the one-time code that a number waits for.
    Code {
        /// The number, for instance +15552000100.
        number: String,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every key with its default.
    PrintDefault,
}

impl CommandLine {
    /// Does what was asked.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Config { command: ConfigCommand::PrintDefault } => print(&Config::print_default()),
            Command::CheckConfig => {
                let config = load(self.config.as_deref())?;
                serve::check(&config)?;
                print("the configuration is valid\n")
            }
            Command::Serve(flags) => {
                let mut config = load(self.config.as_deref())?;
                flags.lay_over(&mut config);
                serve::check(&config)?;
                serve::run(config)
            }
            Command::Admin(admin) => {
                let config = load(self.config.as_deref())?;
                let data = admin.data.unwrap_or(config.server.data);
                let AdminCommand::Code { number } = admin.command;
                print_code(&data, &number)
            }
        }
    }
}

impl Serve {
    fn lay_over(self, config: &mut Config) {
        config.server.data = self.data.unwrap_or(std::mem::take(&mut config.server.data));
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.admin_listen = self.admin_listen.unwrap_or(config.server.admin_listen);
        config.tls.mode = self.tls.unwrap_or(config.tls.mode);
        if let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) {
            config.tls = crate::config::Tls { mode: TlsMode::Files, certificate, key };
        }
    }
}

fn load(file: Option<&std::path::Path>) -> Result<Config, Failure> {
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let value = value.into_string().ok()?;
        Some((name, value))
    });
    Config::load(file, environment)
}

fn print_code(data: &std::path::Path, number: &str) -> Result<(), Failure> {
    let phone: PhoneNumber = number.parse().map_err(|_| {
        Failure::data("bad_number", "that is not a phone number in international form")
            .hint("write it with + and country code, for instance +15552000100")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::temporary("no_runtime", format!("cannot start: {error}")))?;
    match runtime.block_on(admin_socket::ask(data, &Question::Code { phone: phone.e164().to_owned() }))? {
        Answer::Code(code) => print(&format!("{code}\n")),
        Answer::Nothing => Err(Failure::refused("no_code", "no code is pending for this number")
            .hint("ask for one with `wax register`; codes are void after ten minutes or once used")),
        Answer::Refused(why) => Err(Failure::refused("refused", why)),
    }
}

/// Data goes to stdout; a reader that went away is no error.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::temporary("output", format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Help and version go to stdout with exit 0; everything else that clap refuses is exit 64.
pub fn explain(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage("usage", message).hint("see `waxwing --help`").report(true);
    } else {
        let _ = error.print();
    }
    ExitCode::from(64)
}
