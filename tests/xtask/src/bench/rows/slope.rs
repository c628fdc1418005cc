//! `incremental_slope`: an incremental costs what has changed, and a changed byte costs what a first one does.
//!
//! Incrementals of five sizes on a 64 GiB volume; the slope of the line through their times is the cost of a changed
//! byte, whatever a transfer costs at the beginning and at the end.

use std::path::PathBuf;

use anyhow::Result;

use crate::bench::rig::{GIB, MIB, Rig};
use crate::bench::rounds::{Contestant, alternate, seconds};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::slope;
use crate::gateway::Gateway;

/// What has changed, in MiB.
const CHANGES: [u64; 5] = [128, 256, 512, 768, 1024];
const VOLUME: &str = "slope";

/// A stream and how much data is in it.
#[derive(Debug)]
struct Stream {
    file: PathBuf,
    data: u64,
}

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let size = rig.amount(64 * GIB);
    let make = |from, to: &str, data| Ok::<_, anyhow::Error>(Stream { file: rig.diff(from, to, data, size)?, data });
    let full = make(None, "base", rig.amount(GIB))?;
    let changes: Vec<Stream> = CHANGES
        .iter()
        .map(|change| make(Some("base"), &format!("change-{change}"), rig.amount(change * MIB)))
        .collect::<Result<_>>()?;
    let gateway = rig.gateway("slope", "file", "image")?;
    put(&gateway, VOLUME, "base", None, &full, size)?;
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("the incrementals", |turn| incrementals(rig, &gateway, &changes, turn, size)),
            Contestant::new("the full", |turn| {
                let volume = format!("full-{turn}");
                let time = put(&gateway, &volume, "s", None, &full, size)?;
                gateway.delete(&volume, "s")?;
                Ok(time / full.data as f64)
            }),
        ],
    )?;
    let nanoseconds = |seconds: f64| seconds * 1e9;
    Ok(Row {
        unit: "ns/byte",
        bar: Bar::AtMost(1.1),
        ours: Series { what: "a changed byte, by the slope", sample: ours.map(nanoseconds)? },
        peer: Series { what: "a byte of a full snapshot", sample: theirs.map(nanoseconds)? },
        beside: Vec::new(),
    })
}

/// Sends all incrementals, each on the same base, and gives the slope of their times in seconds per byte.
fn incrementals(rig: &Rig, gateway: &Gateway, changes: &[Stream], turn: usize, size: u64) -> Result<f64> {
    let mut points = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        rig.settle()?;
        let snapshot = format!("s-{turn}-{number}");
        let time = put(gateway, VOLUME, &snapshot, Some("base"), change, size)?;
        gateway.delete(VOLUME, &snapshot)?;
        points.push((change.data as f64, time));
    }
    Ok(slope(&points))
}

fn put(gateway: &Gateway, volume: &str, snapshot: &str, base: Option<&str>, stream: &Stream, size: u64) -> Result<f64> {
    let ticket = gateway.ticket(volume, snapshot, size)?;
    let mut curl = gateway.curl()?;
    curl.args(["--header", &format!("Authorization: Bearer {ticket}")]);
    curl.args(["--header", "Content-Type: application/vnd.ceph.rbd-diff"]);
    if let Some(base) = base {
        curl.args(["--header", &format!("rsnap-base: {base}")]);
    }
    seconds(curl.arg("--upload-file").arg(&stream.file).arg(gateway.snapshot(volume, snapshot)))
}
