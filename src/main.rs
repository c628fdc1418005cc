//! The order of start and stop, and nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use rsnap::app::commands;
use rsnap::cli::{self, Cli, Handled};

fn main() -> ExitCode {
    rsnap_sys::limit_arenas();
    let cli = Cli::parse();
    let json = cli.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("rsnap: could not start the threads of the runtime: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli::run(cli).await {
            Handled::Done(code) => code,
            Handled::Serve(arguments) => commands::serve(arguments, json).await,
            Handled::StoreSweep(arguments) => commands::sweep(&arguments, json).await,
            Handled::ConfigCheck(arguments) => commands::check_config(&arguments, json).await,
        }
    });
    // Work that blocks on a device must not keep a process that has nothing left to say.
    runtime.shutdown_background();
    done
}
