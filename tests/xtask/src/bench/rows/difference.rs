//! `verify_cost` and `rebase_cost`: what is compared over a network costs the difference and not the volume.
//!
//! Bytes are counted and not seconds, so one turn is enough: they are the same each time.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bench::rig::{GIB, MIB, Rig, TIB};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::Sample;
use crate::gateway::Gateway;
use crate::process;

/// What a hash stands for.
const LEAF: u64 = 64 << 10;
/// Places that differ when snapshots are compared.
const PLACES: u64 = 64;

/// As many places differ in a large volume as in a small one.
pub(in crate::bench) fn verify(rig: &Rig) -> Result<Row> {
    let (data, size) = (rig.amount(GIB), rig.amount(TIB));
    let large = exchanged(rig, "verify-large", data, size)?;
    let small = exchanged(rig, "verify-small", data, data)?;
    Ok(Row {
        unit: "KiB over the network",
        bar: Bar::AtMost(3.0),
        ours: Series { what: "rsnap verify, 64 places in 1 TiB", sample: Sample::new(vec![large / 1024.0])? },
        peer: Series { what: "rsnap verify, 64 places in 1 GiB", sample: Sample::new(vec![small / 1024.0])? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

fn exchanged(rig: &Rig, name: &str, data: u64, size: u64) -> Result<f64> {
    let first = rig.file(&format!("{name}.raw"), data, size)?;
    let second = changed(&first, data, size, PLACES)?;
    let gateway = rig.gateway(name, "file", "image")?;
    send(rig, &gateway, &first, "s")?;
    let mut command = gateway.client(&rig.program("rsnap"));
    let output = command.args(["--json", "verify", "--volume", "v", "--snapshot", "s"]).arg(&second).output()?;
    let answers = String::from_utf8_lossy(&output.stdout);
    let compared = event(&answers, "compared")?;
    let bytes = number(&compared, "bytes")?;
    ensure!(bytes == (PLACES * LEAF) as f64, "{PLACES} places were to differ: {compared}");
    number(&compared, "moved")
}

/// A thousandth of the data differs, in places of 64 KiB.
pub(in crate::bench) fn rebase(rig: &Rig) -> Result<Row> {
    let (data, size) = (rig.amount(GIB), rig.amount(TIB));
    let first = rig.file("rebase.raw", data, size)?;
    let second = changed(&first, data, size, (data / 1000 / LEAF).max(1))?;
    let gateway = rig.gateway("rebase", "file", "image")?;
    send(rig, &gateway, &first, "s")?;
    let answers = send(rig, &gateway, &second, "t")?;
    Ok(Row {
        unit: "MB sent",
        bar: Bar::AtMost(0.002),
        ours: Series {
            what: "rsnap send as a rebase, 0.1 % changed",
            sample: one(number(&event(&answers, "done")?, "moved")?)?,
        },
        peer: Series { what: "the same in full", sample: one(number(&event(&answers, "rebase")?, "full")?)? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

fn one(bytes: f64) -> Result<Sample> {
    Sample::new(vec![bytes / 1e6])
}

fn send(rig: &Rig, gateway: &Gateway, source: &Path, snapshot: &str) -> Result<String> {
    let mut command = gateway.client(&rig.program("rsnap"));
    process::capture(command.args(["--json", "send", "--volume", "v", "--snapshot", snapshot]).arg(source))
}

/// The last object of this kind.
fn event(answers: &str, name: &str) -> Result<Value> {
    let objects = answers.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = objects.filter(|object| object.get("event").is_some_and(|event| event == name));
    found.next_back().with_context(|| format!("no {name} in {answers}"))
}

fn number(object: &Value, key: &str) -> Result<f64> {
    object.get(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {object}"))
}

/// A copy in which `places` leaves of data have other bytes, spread over the volume as its data is.
fn changed(first: &Path, data: u64, size: u64, places: u64) -> Result<PathBuf> {
    let copy = first.with_extension("changed.raw");
    process::quiet(Command::new("cp").arg("--sparse=always").arg(first).arg(&copy))?;
    let file = File::options().read(true).write(true).open(&copy).context("cannot open the copy")?;
    let extents = data / MIB;
    let stride = size / extents / MIB * MIB;
    for place in 0..places {
        let offset = place * extents / places * stride + place % (MIB / LEAF) * LEAF;
        let mut leaf = vec![0; usize::try_from(LEAF)?];
        file.read_exact_at(&mut leaf, offset)?;
        leaf.iter_mut().for_each(|byte| *byte ^= 0x55);
        file.write_all_at(&leaf, offset)?;
    }
    Ok(copy)
}
