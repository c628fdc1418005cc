//! `cargo xtask bench`: what rsnap promises of its speed, each promise against a peer in the same run.
//!
//! An absolute number says more about the machine than about the program. So every row runs us and the peer in turn,
//! from equal beginnings, and what counts is the median of the ratios of the turns.

mod line;
mod nginx;
mod rig;
mod rounds;
mod row;
mod rows;
mod sample;
mod sink;
mod sites;
mod stock;

use std::path::Path;

use anyhow::{Result, bail};

use crate::steps::Steps;
use rig::Rig;
use row::Row;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One row only, or all rows of a group such as `plugin`; all of them otherwise
    name: Option<String>,
    /// One line of JSON for each row, on standard output
    #[arg(long)]
    json: bool,
    /// How often us and the peer take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    pairs: u8,
    /// A sixty-fourth of the data: shows that everything works, and measures nothing
    #[arg(long)]
    small: bool,
    /// Unoptimised programs: measures nothing either, and needs no second build
    #[arg(long, hide = true)]
    dev: bool,
}

/// A benchmark: its name and what it does.
type Benchmark = (&'static str, &'static str, fn(&Rig) -> Result<Row>);

const ALL: [Benchmark; 22] = [
    ("put_tls_file", "PUT over TLS 1.3 to files, against nginx", rows::put_file::run),
    ("put_tls_discard", "PUT over TLS 1.3 to nowhere, against a raw TLS sink", rows::put_discard::run),
    ("plugin_overhead", "the writer as a component, against the same compiled in", rows::overhead::run),
    ("plugin_chunks", "a writer that takes each chunk of 64 KiB, against the compiled-in one", rows::plugin::chunks),
    ("plugin_decision", "a policy over two chains of 10,000 snapshots, against 5 ms", rows::plugin::decision),
    ("plugin_instance", "a fresh instance, against 50 µs", rows::plugin::instance),
    ("plugin_start", "20 plugins from compiled code, against 200 ms", rows::plugin::start),
    ("plugin_hostile", "a transfer beside hostile guests, against one beside a good guest", rows::plugin::hostile),
    ("memory_flat", "resident memory after 64 GiB, against 1 GiB", rows::memory::run),
    ("sparse_1tib", "1 TiB with 1 GiB of data, against 1 GiB", rows::sparse::run),
    ("incremental_slope", "cost of a changed byte, against that of a full snapshot", rows::slope::run),
    ("verify_cost", "bytes to compare 1 TiB, against 1 GiB with as many differences", rows::difference::verify),
    ("rebase_cost", "bytes of a rebase with 0.1 % changed, against those of a full copy", rows::difference::rebase),
    ("rbd_full", "2 GiB from one Ceph cluster to another, against the stock tools", rows::rbd::full),
    ("rbd_full_64k", "the same with extents of 64 KiB, scattered", rows::rbd::full_64k),
    ("rbd_full_4k", "the same with extents of 4 KiB, scattered", rows::rbd::full_4k),
    ("rbd_incremental", "changes of whole objects, against the stock tools", rows::rbd::incremental),
    ("rbd_incremental_64k", "changes of 64 KiB, scattered", rows::rbd::incremental_64k),
    ("rbd_incremental_4k", "changes of 4 KiB, scattered", rows::rbd::incremental_4k),
    ("server_rate", "GET /server among 100 gateways, against one that stands alone", rows::server_rate::run),
    ("wan", "one volume over a long line with loss, against what the line gives", rows::wan::run),
    ("server_balance", "how even a burst makes 100 gateways, against a perfect spread", rows::server_balance::run),
];

/// `cargo xtask bench`.
pub(crate) fn chore(root: &Path, arguments: &Arguments) -> Result<()> {
    let chosen = choose(arguments.name.as_deref())?;
    let mut steps = Steps::new("Bench", chosen.len() + 1);
    steps.step("Build, and make what every row needs");
    let rig = Rig::new(root, &steps, arguments)?;
    for (name, about, run) in chosen {
        steps.step(&format!("{name}: {about}"));
        let row = run(&rig)?;
        row.show(name, &steps);
        if arguments.json {
            println!("{}", row.json(name));
        }
    }
    rig.clear()?;
    steps.finish("the medians of the ratios are above");
    Ok(())
}

fn choose(name: Option<&str>) -> Result<Vec<Benchmark>> {
    let is_of =
        |known: &str, name: &str| known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    let chosen: Vec<Benchmark> =
        ALL.into_iter().filter(|(known, ..)| name.is_none_or(|name| is_of(known, name))).collect();
    if chosen.is_empty() {
        bail!("there is no such row; there are {}", ALL.map(|(name, ..)| name).join(", "));
    }
    Ok(chosen)
}
