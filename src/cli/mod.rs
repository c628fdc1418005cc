//! The command line: what the user says, turned into operations of [`crate::client`], and what comes back, told.
//!
//! Thin on purpose: everything that can go wrong in a transfer lives in `client`, where programs can use it, and what
//! can be found out about a plugin in `plugin::kit`. What needs the whole gateway (`serve` and the check of its
//! configuration) is only parsed here and handed back to the caller, because a command line that imports the gateway
//! would turn the layers around.

mod args;
mod connect;
mod exit;
mod interrupt;
mod output;
mod plugin;
mod queries;
mod repair;
mod restore;
mod send;
#[cfg(test)]
mod tests;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;

pub use args::{Cli, Command, ConfigCheck, Serve, StoreSweep};

use crate::client::ClientError;
use exit::Exit;
use interrupt::interruptible;
use output::Output;

/// What is left to do after [`run`].
#[derive(Debug)]
pub enum Handled {
    /// Nothing: end with this.
    Done(ExitCode),
    Serve(Serve),
    ConfigCheck(ConfigCheck),
    StoreSweep(StoreSweep),
}

/// Runs a client command to its end; hands the others back. Must be called on a tokio runtime.
pub async fn run(cli: Cli) -> Handled {
    let output = Output::new(cli.json);
    let done = match cli.command {
        Command::Serve(serve) => return Handled::Serve(serve),
        Command::Plugin { command } => return Handled::Done(plugin::run(command, &output).await.into()),
        Command::Store { command: args::Store::Sweep(sweep) } => return Handled::StoreSweep(sweep),
        Command::Config { command: args::Config::Check(check) } => return Handled::ConfigCheck(check),
        command => {
            let remedy = interrupt::remedy(&command);
            let done = interruptible(client(command, &output)).await;
            if done.is_none() {
                output.fault("interrupted", remedy);
            }
            done
        }
    };
    Handled::Done(match done {
        Some(Ok(())) => Exit::Success.into(),
        Some(Err(error)) => {
            output.error(&error);
            Exit::of(&error).into()
        }
        None => Exit::Interrupted.into(),
    })
}

async fn client(command: Command, output: &Output) -> Result<(), ClientError> {
    match command {
        Command::Send(args) => send::send(&args, output).await,
        Command::Plan(args) => send::plan(&args, output).await,
        Command::Restore(args) => restore::restore(&args, output).await,
        Command::Repair(args) => repair::repair(&args, output).await,
        Command::Verify(args) => verify::verify(&args, output).await,
        Command::Chain(args) => queries::chain(&args, output).await,
        Command::Sites(args) => queries::site(&args, output).await,
        Command::Servers(args) => queries::servers(&args, output).await,
        Command::Delete(args) => queries::delete(&args, output).await,
        Command::Cancel(args) => queries::cancel(&args, output).await,
        Command::Completions { shell } => completions(shell),
        Command::Serve(_) | Command::Plugin { .. } | Command::Store { .. } | Command::Config { .. } => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), ClientError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rsnap", &mut script);
    std::io::stdout().lock().write_all(&script).map_err(ClientError::local("write", "standard output"))
}
