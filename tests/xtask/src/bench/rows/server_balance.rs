//! `server_balance`: the load of the fullest gateway over the mean, while a burst of transfers comes in.
//!
//! A simulation of what lies around the gateways' own code, see `tests/bench`: no machine has a thousand of them. The bar
//! is for 100 gateways, and the gateway's way must be better there than both that it is compared with.

use anyhow::{Context, Result, ensure};

use crate::bench::rig::Rig;
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::Sample;
use crate::process;

/// Seeds for each figure, for each of the pairs asked for.
const SEEDS: usize = 2;
const OURS: &str = "rsnap";
const LEAST: &str = "least-connections";
const TWO: &str = "two-choices";

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let (ours, least, two) =
        (simulate(rig, OURS, 100, "1")?, simulate(rig, LEAST, 100, "1")?, simulate(rig, TWO, 100, "1")?);
    let best = least.median().min(two.median());
    ensure!(ours.median() < best, "max/mean is {:.3}, and {best:.3} with a simpler policy", ours.median());
    let series = |what, sample| Series { what, sample };
    let mut costs = Vec::new();
    for (what, policy, gateways, seconds) in [
        ("10 gateways", OURS, 10, "1"),
        ("10 gateways, least-connections", LEAST, 10, "1"),
        ("10 gateways, two choices", TWO, 10, "1"),
        ("1,000 gateways", OURS, 1000, "1"),
        ("1,000 gateways, least-connections", LEAST, 1000, "1"),
        ("1,000 gateways, two choices", TWO, 1000, "1"),
        ("100 gateways, within a minute", OURS, 100, "60"),
        ("100, a minute, least-connections", LEAST, 100, "60"),
        ("100, a minute, two choices", TWO, 100, "60"),
    ] {
        costs.push(series(what, simulate(rig, policy, gateways, seconds)?));
    }
    Ok(Row {
        unit: "fullest over mean",
        bar: Bar::AtMost(1.2),
        ours: series("rsnap, 100 gateways, 10,000 in a second", ours),
        peer: series("a perfect spread", Sample::new(vec![1.0])?),
        beside: vec![series("least-connections", least), series("power of two choices", two)],
        costs,
    })
}

fn simulate(rig: &Rig, policy: &str, gateways: usize, seconds: &str) -> Result<Sample> {
    let one = |seed: usize| {
        let mut command = rig.maker();
        command.args(["balance", "--policy", policy, "--seconds", seconds]);
        command.args(["--gateways", &gateways.to_string(), "--seed", &seed.to_string()]);
        process::capture(&mut command)?.trim().parse().context("the simulation prints a number")
    };
    Sample::new((1..=rig.pairs * SEEDS).map(one).collect::<Result<_>>()?)
}
