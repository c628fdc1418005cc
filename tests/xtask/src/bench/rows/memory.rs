//! `memory_flat`: the gateway's memory does not follow the size of what it receives.
//!
//! A fresh gateway for each turn, since the kernel's high-water mark never falls. The body comes from a generator:
//! 64 GiB need not lie on a disk to be received.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::put_command;
use crate::bench::rig::{GIB, MIB, Rig};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::row::{Bar, Row, Series};
use crate::gateway::Gateway;
use crate::process;

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let (large, small) = (rig.amount(64 * GIB), rig.amount(GIB));
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("receiving 64 GiB", |_| peak_while_receiving(rig, large)),
            Contestant::new("receiving 1 GiB", |_| peak_while_receiving(rig, small)),
        ],
    )?;
    Ok(Row {
        unit: "MiB",
        bar: Bar::AtMost(1.1),
        ours: Series { what: "peak resident set, 64 GiB", sample: ours },
        peer: Series { what: "peak resident set, 1 GiB", sample: theirs },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

/// The gateway's largest resident set, in MiB.
fn peak_while_receiving(rig: &Rig, size: u64) -> Result<f64> {
    let gateway = rig.gateway("memory", "discard", "image")?;
    let mut maker = rig.maker().args(["stream", "--data", &size.to_string()]).stdout(Stdio::piped()).spawn()?;
    let mut curl = put_command(&gateway, "memory", size)?;
    curl.arg("--upload-file").arg("-").arg(gateway.snapshot("memory", "s"));
    let body = maker.stdout.take().context("the generator has no output")?;
    let output = curl.stdin(body).output().context("cannot run curl")?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {answer}", process::words(&curl), output.status);
    ensure!(maker.wait()?.success(), "the generator failed");
    peak(&gateway)
}

fn peak(gateway: &Gateway) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).context("the gateway is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel keeps no VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is not a number")?;
    Ok(kibibytes * 1024.0 / MIB as f64)
}
