//! What `cargo xtask bench` needs in optimised machine code; the runner itself is built without optimisation.

mod balance;
mod diff;
mod line;
mod noise;
mod registrants;
mod requests;
mod sink;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "rsnap-bench")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write incompressible bytes to a file, in one piece or spread over a sparse one
    File {
        file: PathBuf,
        /// Bytes of data
        #[arg(long)]
        data: u64,
        /// Bytes of the whole file; more than the data leaves holes
        #[arg(long)]
        size: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write incompressible bytes to standard output
    Stream {
        #[arg(long)]
        data: u64,
    },
    /// Write an rbd-diff stream to a file
    Diff(diff::Diff),
    /// Receive requests over TLS and throw their bodies away
    Sink(sink::Sink),
    /// Simulate a burst of transfers over many gateways, and print how uneven it makes them
    Balance(balance::Burst),
    /// Ask the same thing again and again, and print how fast it is answered
    Requests(requests::Requests),
    /// Carry packets between two network interfaces as a long line does
    Line(line::Line),
    /// Register gateways that do nothing
    Registrants(registrants::Registrants),
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::File { file, data, size, seed } => noise::file(&file, data, size, seed),
        Task::Stream { data } => noise::stream(&mut std::io::stdout().lock(), data, 1),
        Task::Diff(diff) => diff.write(),
        Task::Sink(sink) => sink.serve(),
        Task::Balance(burst) => burst.run(),
        Task::Requests(requests) => requests.run(),
        Task::Line(line) => line.carry(),
        Task::Registrants(registrants) => registrants.serve(),
    }
}
