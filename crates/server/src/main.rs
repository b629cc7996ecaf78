//! `waxwing`: a whole service in one program.

use clap::Parser;
use server::command_line::{self, CommandLine};
use std::process::ExitCode;

fn main() -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return command_line::explain(&error, json),
    };
    match command_line.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.exit)
        }
    }
}
