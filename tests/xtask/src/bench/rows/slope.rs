//! `incremental_slope`: an incremental costs what has changed, and a changed byte costs what a first one does.
//!
//! Incrementals of five sizes on a 64 GiB volume, and full snapshots with as much data; the slope of the line through
//! the times of each is the cost of a byte, whatever a transfer costs at the beginning and at the end. The mean cost of
//! a full's bytes was refused as the peer: disks take the first hundreds of MiB faster than the next, so a mean is
//! below any slope, and the comparison would be one of sizes.

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
    let make = |from: Option<&str>, to: &str, data: u64| -> Result<Stream> {
        Ok(Stream { file: rig.diff(from, to, data, size)?, data })
    };
    let of_all = |from: Option<&str>, name: &str| -> Result<Vec<Stream>> {
        CHANGES.iter().map(|data| make(from, &format!("{name}-{data}"), rig.amount(data * MIB))).collect()
    };
    let (changes, fulls) = (of_all(Some("base"), "change")?, of_all(None, "full")?);
    let base = make(None, "base", rig.amount(GIB))?;
    let gateway = rig.gateway("slope", "file", "image")?;
    put(&gateway, VOLUME, "base", None, &base, size)?;
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("the incrementals", |turn| cost(rig, &gateway, &changes, Some("base"), turn, size)),
            Contestant::new("the fulls", |turn| cost(rig, &gateway, &fulls, None, turn, size)),
        ],
    )?;
    let nanoseconds = |seconds: f64| seconds * 1e9;
    Ok(Row {
        unit: "ns/byte",
        bar: Bar::AtMost(1.1),
        ours: Series { what: "a changed byte, by the slope", sample: ours.map(nanoseconds)? },
        peer: Series { what: "a byte of a full snapshot, by the slope", sample: theirs.map(nanoseconds)? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

/// Sends all streams, each on the same base or each to a volume of its own, and gives the slope of their times in
/// seconds per byte.
fn cost(rig: &Rig, gateway: &Gateway, streams: &[Stream], base: Option<&str>, turn: usize, size: u64) -> Result<f64> {
    let mut points = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        rig.settle()?;
        let snapshot = format!("s-{turn}-{number}");
        let volume = if base.is_some() { VOLUME.to_owned() } else { format!("full-{turn}-{number}") };
        let time = put(gateway, &volume, &snapshot, base, stream, size)?;
        gateway.delete(&volume, &snapshot)?;
        points.push((stream.data as f64, time));
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
