//! `rsnap plugin`: for those who write plugins and for those who run them.

mod fault;
mod list;
mod load;
mod run;

use std::collections::HashMap;

use self::fault::Fault;
use super::args::{Plugin, PluginCheck, PluginInspect};
use super::exit::Exit;
use super::output::Output;
use crate::plugin::kit::{self, check, inspect};

/// Runs one of the commands to its end.
pub(super) async fn run(command: Plugin, output: &Output) -> Exit {
    match super::interruptible(dispatch(command, output)).await {
        Some(Ok(exit)) => exit,
        Some(Err(fault)) => {
            output.fault(&fault.text, &fault.remedy);
            fault.exit
        }
        None => Exit::Interrupted,
    }
}

async fn dispatch(command: Plugin, output: &Output) -> Result<Exit, Fault> {
    match command {
        Plugin::Check(args) => check(&args, output).await,
        Plugin::Inspect(args) => inspect(&args, output),
        Plugin::Run(args) => run::run(&args, output).await,
        Plugin::List(args) => list::list(&args, output).await,
    }
}

async fn check(args: &PluginCheck, output: &Output) -> Result<Exit, Fault> {
    let (path, options) = load::options(&args.load, HashMap::new())?;
    let report = check::check(&path, args.kind, options).await;
    output.show(&report)?;
    Ok(if report.is_good() { Exit::Success } else { Exit::Failed })
}

fn inspect(args: &PluginInspect, output: &Output) -> Result<Exit, Fault> {
    let path = kit::find(&args.component)?;
    if args.wit {
        output.text(&inspect::wit(&path)?)?;
    } else {
        output.show(&inspect::inspect(&path)?)?;
    }
    Ok(Exit::Success)
}
