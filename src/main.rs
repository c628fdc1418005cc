//! The order of start and stop.

use std::process::ExitCode;

use rsnap::cli;

fn main() -> ExitCode {
    cli::main()
}
