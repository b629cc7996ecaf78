//! Log lines: to stderr, text on a terminal and JSON elsewhere, without the targets of libraries
//! that would print what is not ours to print.

use crate::{
    config::{Log, LogFormat},
    failure::Failure,
};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Starts logging for the whole process.
pub fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level).map_err(|_| {
        Failure::data("config_invalid", "log.level is not a level or filter")
            .hint("use error, warn, info, debug or trace, or a filter such as \"info,server_edge=debug\"")
    })?;
    let json = match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let layer = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json { registry.with(layer.json()).try_init() } else { registry.with(layer).try_init() };
    started.map_err(|error| Failure::bug(format!("logging was started twice: {error}")))
}
