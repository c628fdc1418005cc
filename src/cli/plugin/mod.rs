//! `rsnap plugin`: for those who write plugins and for those who run them.

mod admin;
mod fault;
mod list;
mod load;
mod pull;
mod push;
mod reload;
mod replay;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use self::fault::Fault;
use super::args::{Plugin, PluginBench, PluginCheck, PluginInspect, PluginNew, PluginPack, PluginTest};
use super::exit::Exit;
use super::interrupt::interruptible;
use super::output::Output;
use crate::id::StoreName;
use crate::image::{ImageStore, MemoryStore};
use crate::plugin::kit::bench::Amount;
use crate::plugin::kit::{self, Package, Scaffold, bench, check, conformance, inspect};

/// Runs one of the commands to its end.
pub(super) async fn run(command: Plugin, output: &Output) -> Exit {
    match interruptible(dispatch(command, output)).await {
        Some(Ok(exit)) => exit,
        Some(Err(fault)) => {
            output.fault(&fault.text, &fault.remedy);
            fault.exit
        }
        None => {
            output.fault("interrupted", "Start it again.");
            Exit::Interrupted
        }
    }
}

async fn dispatch(command: Plugin, output: &Output) -> Result<Exit, Fault> {
    match command {
        Plugin::Check(args) => check(&args, output).await,
        Plugin::Inspect(args) => inspect(&args, output),
        Plugin::New(args) => new(&args, output),
        Plugin::Pack(args) => pack(args, output),
        Plugin::Pull(args) => pull::pull(args, output).await,
        Plugin::Push(args) => push::push(args, output).await,
        Plugin::Run(args) => run::run(&args, output).await,
        Plugin::Test(args) => test(&args, output).await,
        Plugin::Bench(args) => bench(&args, output).await,
        Plugin::Replay(args) => replay::replay(&args, output).await,
        Plugin::List(args) => list::list(&args, output).await,
        Plugin::Reload(args) => reload::reload(&args, output).await,
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

fn new(args: &PluginNew, output: &Output) -> Result<Exit, Fault> {
    let scaffold = Scaffold { kind: args.kind, language: args.lang, name: &args.name };
    let folder = scaffold.write(&args.into)?.display().to_string();
    let made = serde_json::json!({ "folder": folder, "kind": args.kind, "name": args.name });
    let next =
        format!("made {folder}, a {} that builds at once:\n\n  cd {folder} && ./build.sh && cat README.md", args.kind);
    output.answer(&made, |_| next)?;
    Ok(Exit::Success)
}

fn pack(args: PluginPack, output: &Output) -> Result<Exit, Fault> {
    let PluginPack { module, output: file, kind, wit, name, version, description } = args;
    Package { kind, wit, name, version, description }.pack(&module, &file)?;
    let made = inspect::inspect(&file)?;
    output.answer(&made, |made| format!("made {} ({} bytes, sha256 {})", made.file, made.bytes, made.sha256))?;
    Ok(Exit::Success)
}

async fn test(args: &PluginTest, output: &Output) -> Result<Exit, Fault> {
    let (path, options) = load::options(&args.load, in_memory(&args.store))?;
    let findings = conformance::test(&path, &options, &args.site).await?;
    output.show(&findings)?;
    Ok(if findings.is_good() { Exit::Success } else { Exit::Failed })
}

async fn bench(args: &PluginBench, output: &Output) -> Result<Exit, Fault> {
    let (path, options) = load::options(&args.load, in_memory(&args.store))?;
    let amount = Amount { bytes: args.amount.0, rounds: args.rounds.into() };
    output.show(&bench::bench(&path, &options, amount).await?)?;
    Ok(Exit::Success)
}

fn in_memory(names: &[StoreName]) -> HashMap<StoreName, Arc<dyn ImageStore>> {
    let store = || Arc::new(MemoryStore::new()) as Arc<dyn ImageStore>;
    names.iter().map(|name| (name.clone(), store())).collect()
}
