//! The program `wax`.

fn main() -> std::process::ExitCode {
    client_cli::main(std::env::args_os().collect())
}
