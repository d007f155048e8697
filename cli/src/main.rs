//! The `crankcase` command. All of it is in the library, so that a host can build on it.

use std::process::ExitCode;

fn main() -> ExitCode {
    crankcase_cli::main_with(std::env::args_os())
}
