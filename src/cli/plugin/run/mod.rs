//! `rsnap plugin run`: one call of a plugin, with the limits of a gateway.

mod stream;
mod writer;

use std::fmt;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use indicatif::BinaryBytes;
use serde::Serialize;

use super::fault::Fault;
use super::load;
use crate::cli::args::PluginRun;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::plugin::kit::{Plugin, Trial, inspect, question};
use crate::plugin::{Kind, Policy, Resolver};
use crate::telemetry;

/// Longest question that is read from standard input.
const QUESTION_MAX: u64 = 256 << 20;

pub(super) async fn run(args: &PluginRun, output: &Output) -> Result<Exit, Fault> {
    let stores = writer::stores(&args.writer)?;
    let (path, options) = load::options(&args.load, stores.clone())?;
    if args.example {
        return example(inspect::inspect(&path)?.kind, output);
    }
    if let Err(fault) = telemetry::start(None, "warn,plugin=debug") {
        tracing::debug!(%fault, "the log was started before");
    }
    let trial = Trial::load(&path, options).await?;
    match &trial.plugin {
        Plugin::Policy(policy) => ask_policy(&trial, policy, args, output).await,
        Plugin::Resolver(resolver) => ask_resolver(&trial, resolver, args, output).await,
        Plugin::Writer(writer) => writer::send(&trial, Arc::clone(writer), stores, args, output).await,
    }
}

fn example(kind: Option<Kind>, output: &Output) -> Result<Exit, Fault> {
    match kind.and_then(question::example) {
        Some(text) => output.text(text)?,
        None => return Err(Fault::usage("a writer is not asked but driven: give it a stream with --stream FILE")),
    }
    Ok(Exit::Success)
}

async fn ask_policy(trial: &Trial, policy: &Arc<dyn Policy>, args: &PluginRun, output: &Output) -> Result<Exit, Fault> {
    let request = question::policy(&asked(args)?).map_err(|text| not_a_question(&text, args))?;
    let plan = policy.decide(&request).await?;
    output.show(&Answered { answer: plan, cost: Cost::of(trial) })?;
    Ok(Exit::Success)
}

async fn ask_resolver(
    trial: &Trial,
    resolver: &Arc<dyn Resolver>,
    args: &PluginRun,
    output: &Output,
) -> Result<Exit, Fault> {
    let name = question::resolver(&asked(args)?).map_err(|text| not_a_question(&text, args))?;
    let Some(site) = resolver.resolve(&name).await? else {
        let remedy = "Give another name, or settings in which it is.";
        return Err(Fault { exit: Exit::Refused, ..Fault::failed(format!("it knows no site called {name}"), remedy) });
    };
    output.show(&Answered { answer: site, cost: Cost::of(trial) })?;
    Ok(Exit::Success)
}

fn not_a_question(text: &str, args: &PluginRun) -> Fault {
    match args.question.as_deref() {
        Some(file) if Path::new(file).is_file() => {
            Fault::usage(format!("{file} is a file and not a question: give it on standard input, < {file}"))
        }
        _ => Fault::usage(format!("the question cannot be understood: {text}; `--example` prints one that can")),
    }
}

fn asked(args: &PluginRun) -> Result<String, Fault> {
    if args.writer.stream.is_some() {
        return Err(Fault::usage("--stream is for a writer; this plugin is asked a question"));
    }
    match args.question.as_deref() {
        Some(text) if text != "-" => return Ok(text.to_owned()),
        None if std::io::stdin().is_terminal() => {
            return Err(Fault::usage("give the question as an argument or on standard input; `--example` prints one"));
        }
        _ => {}
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(QUESTION_MAX).read_to_string(&mut text);
    read.map_err(|fault| Fault::failed(format!("could not read standard input: {fault}"), "Give the question again."))?;
    Ok(text)
}

/// An answer and what it cost.
#[derive(Serialize)]
struct Answered<T> {
    answer: T,
    cost: Cost,
}

impl<T: fmt::Display> fmt::Display for Answered<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}", self.answer, self.cost)
    }
}

/// What the calls of a plugin cost.
#[derive(Serialize)]
struct Cost {
    /// From the beginning of the calls to their end.
    seconds: f64,
    /// On a core.
    guest_seconds: f64,
    memory_bytes: u64,
}

impl Cost {
    fn of(trial: &Trial) -> Self {
        let usage = trial.info().usage;
        Self { seconds: usage.call_seconds, guest_seconds: usage.guest_seconds, memory_bytes: usage.memory_peak_bytes }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, guest) = (self.seconds * 1e3, self.guest_seconds * 1e3);
        let memory = BinaryBytes(self.memory_bytes);
        write!(formatter, "(took {whole:.2} ms, {guest:.2} ms of it on a core, and {memory} of memory)")
    }
}
