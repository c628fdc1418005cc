//! `rbd_…`: a snapshot from one Ceph cluster to another, over TLS, against the stock tools.
//!
//! Both send the same snapshots from the same image in turns, and what counts is the data in them, not what a format
//! makes of it. Incrementals are sent as in real life: a chain in which every snapshot is sent once, to an image that
//! is as the one before left it.

use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::rig::{GIB, MIB, Rig};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::{Sample, rate};
use crate::bench::sites::{Cost, POOL, Sites, at};
use crate::bench::stock::Receiver;
use crate::gateway::Gateway;
use crate::process;

/// What is sent.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// Bytes of the image.
    size: u64,
    /// Bytes in extents of `extent` bytes that each snapshot adds.
    data: u64,
    extent: u64,
    /// At places that cannot be guessed; otherwise at equal distances.
    scattered: bool,
    incremental: bool,
    bar: f64,
}

/// Ceph's default.
const OBJECT: u64 = 4 * MIB;
const DENSE: Case =
    Case { size: 2 * GIB, data: 2 * GIB, extent: OBJECT, scattered: false, incremental: false, bar: 1.5 };
const SCATTERED: Case =
    Case { size: 4 * GIB, data: 512 * MIB, extent: 64 << 10, scattered: true, incremental: false, bar: 4.0 };
/// Eight extents in each object of 4 MiB.
const SCATTERED_FINE: Case = Case { data: 32 * MIB, extent: 4 << 10, ..SCATTERED };

pub(in crate::bench) fn full(rig: &Rig) -> Result<Row> {
    compare(rig, DENSE)
}

pub(in crate::bench) fn full_64k(rig: &Rig) -> Result<Row> {
    compare(rig, SCATTERED)
}

pub(in crate::bench) fn full_4k(rig: &Rig) -> Result<Row> {
    compare(rig, SCATTERED_FINE)
}

pub(in crate::bench) fn incremental(rig: &Rig) -> Result<Row> {
    compare(rig, Case { incremental: true, data: 512 * MIB, ..DENSE })
}

pub(in crate::bench) fn incremental_64k(rig: &Rig) -> Result<Row> {
    compare(rig, Case { incremental: true, data: 256 * MIB, ..SCATTERED })
}

pub(in crate::bench) fn incremental_4k(rig: &Rig) -> Result<Row> {
    compare(rig, Case { incremental: true, ..SCATTERED_FINE })
}

const SOURCE: &str = "volumes/source";
/// How many take turns: us, the stock tools, `rbd bench`.
const CONTESTANTS: usize = 3;
const VOLUME: &str = "chain";

fn compare(rig: &Rig, case: Case) -> Result<Row> {
    let case = Case { size: rig.amount(case.size), data: rig.amount(case.data), ..case };
    let sites = Sites::start()?;
    let gateway = rig.gateway_on_ceph(&sites.target)?;
    prepare(rig, &sites, &gateway, case)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let [our_time, their_time, limit] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("rsnap send", |turn| note(&mut ours, send(rig, &sites, &gateway, case, turn)?)),
            Contestant::new("the stock tools", |turn| note(&mut theirs, stock(rig, &sites, case, turn)?)),
            Contestant::new("rbd bench", |turn| write_only(rig, &sites, case, turn)),
        ],
    )?;
    Ok(Row {
        unit: "MB/s of data",
        bar: Bar::AtLeast(case.bar),
        ours: Series { what: "rsnap send", sample: our_time.map(rate(case.data))? },
        peer: Series { what: "rbd export-diff | socat | rbd import-diff", sample: their_time.map(rate(case.data))? },
        beside: vec![Series { what: "rbd bench, writing only", sample: limit.map(rate(case.data))? }],
        costs: [costs(RSNAP, &ours, case)?, costs(STOCK, &theirs, case)?].concat(),
    })
}

/// What is printed of each side's costs: wall, programs, clusters.
const RSNAP: [&str; 3] = ["rsnap: seconds", "rsnap: core-s/GiB, programs", "rsnap: core-s/GiB, clusters"];
const STOCK: [&str; 3] = ["stock: seconds", "stock: core-s/GiB, programs", "stock: core-s/GiB, clusters"];

/// The costs of all turns but the first, which does not count.
fn costs(what: [&'static str; 3], turns: &[Cost], case: Case) -> Result<Vec<Series>> {
    let gibibytes = case.data as f64 / GIB as f64;
    let of = |what, value: fn(&Cost) -> f64, per: f64| -> Result<Series> {
        let values = turns.iter().skip(1).map(|cost| value(cost) / per).collect();
        Ok(Series { what, sample: Sample::new(values)? })
    };
    let [wall, programs, clusters] = what;
    Ok(vec![
        of(wall, |cost| cost.wall, 1.0)?,
        of(programs, |cost| cost.programs, gibibytes)?,
        of(clusters, |cost| cost.clusters, gibibytes)?,
    ])
}

fn note(costs: &mut Vec<Cost>, cost: Cost) -> Result<f64> {
    costs.push(cost);
    Ok(cost.wall)
}

/// Makes the source's snapshots, and for incrementals the first one at both targets.
fn prepare(rig: &Rig, sites: &Sites, gateway: &Gateway, case: Case) -> Result<()> {
    let snapshots = if case.incremental { rig.pairs + 1 } else { 0 };
    for number in 0..=snapshots {
        let stream = rig.directory("rbd")?.join("stream");
        // The volume of a chain is full of older data, so that changes are changes of it.
        let (data, extent, scattered) = match number {
            0 if case.incremental => (case.size, OBJECT, false),
            _ => (case.data, case.extent, case.scattered),
        };
        let (data, size, extent) = (data.to_string(), case.size.to_string(), extent.to_string());
        let (seed, to) = ((number + 1).to_string(), name(number));
        let mut command = rig.maker();
        command.arg("diff").arg(&stream).args(["--data", &data, "--size", &size, "--extent", &extent]);
        command.args(["--seed", &seed, "--to", &to]).args(scattered.then_some("--scattered"));
        process::quiet(&mut command)?;
        sites.load(SOURCE, &stream)?;
        std::fs::remove_file(stream).context("cannot remove a stream")?;
    }
    if case.incremental {
        sites.target.rbd(&["create", &format!("{POOL}/stock"), "--size", "1M"])?;
        Receiver::start(rig, sites, &format!("{POOL}/stock"))?.transfer(rig, sites, None, &at_source(0))?;
        process::quiet(&mut send_command(rig, sites, gateway, VOLUME, None, 0)?)?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("s{number}")
}

fn at_source(number: usize) -> String {
    format!("{SOURCE}@{}", name(number))
}

/// What a turn sends: the base of an increment, and the snapshot.
fn of_turn(case: Case, turn: usize) -> (Option<usize>, usize) {
    let round = turn / CONTESTANTS;
    if case.incremental { (Some(round), round + 1) } else { (None, 0) }
}

fn send(rig: &Rig, sites: &Sites, gateway: &Gateway, case: Case, turn: usize) -> Result<Cost> {
    let (base, snapshot) = of_turn(case, turn);
    let volume = if case.incremental { VOLUME.to_owned() } else { format!("full-{turn}") };
    sites.settle(rig)?;
    let mut command = send_command(rig, sites, gateway, &volume, base, snapshot)?;
    let cost = sites.measure(Some(gateway), || process::quiet(&mut command))?;
    if !case.incremental {
        gateway.delete(&volume, &name(snapshot))?;
        sites.target.rbd(&["rm", "--no-progress", &format!("{POOL}/volume-{volume}")])?;
    }
    Ok(cost)
}

fn send_command(
    rig: &Rig,
    sites: &Sites,
    gateway: &Gateway,
    volume: &str,
    base: Option<usize>,
    snapshot: usize,
) -> Result<Command> {
    let mut command = gateway.client(&rig.program("rsnap"));
    at(&sites.source, &mut command);
    command.args(["send", &format!("rbd:{}", at_source(snapshot)), "--volume", volume]);
    command.args(["--snapshot", &name(snapshot)]);
    match base {
        Some(base) => command.args(["--base", &format!("{}=rbd:{}", name(base), at_source(base))]),
        None => command.arg("--full"),
    };
    Ok(command)
}

fn stock(rig: &Rig, sites: &Sites, case: Case, turn: usize) -> Result<Cost> {
    let (base, snapshot) = of_turn(case, turn);
    let image = if case.incremental { format!("{POOL}/stock") } else { format!("{POOL}/stock-{turn}") };
    if !case.incremental {
        sites.target.rbd(&["create", &image, "--size", "1M"])?;
    }
    let receiver = Receiver::start(rig, sites, &image)?;
    sites.settle(rig)?;
    let base = base.map(name);
    let cost = sites.measure(None, || receiver.transfer(rig, sites, base.as_deref(), &at_source(snapshot)))?;
    if !case.incremental {
        sites.target.rbd(&["snap", "purge", "--no-progress", &image])?;
        sites.target.rbd(&["rm", "--no-progress", &image])?;
    }
    Ok(cost)
}

/// The limit: as much data written by Ceph's own benchmark, from one constant buffer and without a source.
fn write_only(rig: &Rig, sites: &Sites, case: Case, turn: usize) -> Result<f64> {
    let image = format!("{POOL}/bench-{turn}");
    sites.target.rbd(&["create", &image, "--size", &format!("{}B", case.size)])?;
    let (total, pattern) = (case.data.to_string(), if case.scattered { "rand" } else { "seq" });
    let piece = case.extent.to_string();
    let mut command = sites.target.command("rbd")?;
    command.args(["bench", "--io-type", "write", "--io-threads", "16", "--io-size", &piece]);
    command.args(["--io-total", &total, "--io-pattern", pattern, "--rbd-cache=false", &image]);
    sites.settle(rig)?;
    let cost = sites.measure(None, || process::quiet(&mut command))?;
    sites.target.rbd(&["rm", "--no-progress", &image])?;
    Ok(cost.wall)
}
