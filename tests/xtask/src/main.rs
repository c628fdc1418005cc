//! The chores of the project, as one small program: `cargo xtask --help`.
//!
//! A newcomer has a Rust tool chain and nothing else, so each chore installs what it needs and says so, prints what
//! it does while it does it, and can be run twice. A Makefile with shell scripts was refused: it would need the same
//! care in a language without types, and it cannot share the code that starts gateways with the benchmarks.

mod asan;
mod bench;
mod bindings;
mod build;
mod ceph;
mod certificate;
mod demo;
mod foreign;
mod gateway;
mod guests;
mod kit;
mod lint;
mod openstack;
mod packages;
mod process;
mod source;
mod steps;
mod suite;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use steps::Steps;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The chores of rsnap", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Build the plugins (to target/plugins) and the gateway
    Build,
    /// Copy a real volume between two sites on this machine, and prove that the copy is right
    Demo {
        /// Leave both sites running at the end and print the commands to try
        #[arg(long)]
        keep: bool,
    },
    /// Run all tests and, for a bounded number of inputs, all fuzz targets
    Test,
    /// Install the clients of others that upload in the tests, which a single test does not do
    Clients,
    /// Make a plugin of each kind in each language as a newcomer would, and the examples; build and test them
    Kit(kit::Arguments),
    /// Test the crate that binds Ceph under the address sanitiser, and prove that it would notice
    Asan,
    /// Start two Ceph clusters, say how to use them, and end them with this program
    Ceph,
    /// Start two OpenStack sites, end them, or test copies between them
    #[command(subcommand)]
    Openstack(openstack::Arguments),
    /// Make the declarations of librbd and librados again from Ceph's headers
    Bindings(bindings::Arguments),
    /// Check format, lints, dependencies and the shape of the tree
    Lint,
    /// Measure against the peers (release build)
    Bench(bench::Arguments),
}

fn run(chore: Chore) -> Result<()> {
    let root = build::root()?;
    match chore {
        Chore::Build => build::chore(&root, &mut Steps::new("Build", 2)),
        Chore::Demo { keep } => demo::chore(&root, keep),
        Chore::Test => suite::chore(&root),
        Chore::Clients => foreign::chore(&root),
        Chore::Kit(arguments) => kit::chore(&root, &arguments),
        Chore::Asan => asan::chore(&root),
        Chore::Ceph => ceph::chore(),
        Chore::Openstack(arguments) => openstack::chore(&root, &arguments),
        Chore::Bindings(arguments) => bindings::chore(&root, &arguments),
        Chore::Lint => lint::chore(&root),
        Chore::Bench(arguments) => bench::chore(&root, &arguments),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::failure(&error);
            ExitCode::FAILURE
        }
    }
}
