//! `sparse_1tib`: a large volume with little in it costs what is in it.

use std::path::Path;

use anyhow::Result;

use crate::bench::rig::{GIB, Rig, TIB};
use crate::bench::rounds::{Contestant, alternate, seconds};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::rate;
use crate::gateway::Gateway;

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let (data, size) = (rig.amount(GIB), rig.amount(TIB));
    let (sparse, dense) = (rig.file("sparse.raw", data, size)?, rig.file("dense-1.raw", data, data)?);
    let gateway = rig.gateway("sparse", "file", "image")?;
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("the sparse file", |turn| send(rig, &gateway, &sparse, turn)),
            Contestant::new("the dense file", |turn| send(rig, &gateway, &dense, turn)),
        ],
    )?;
    Ok(Row {
        unit: "MB/s of data",
        bar: Bar::AtLeast(0.9),
        ours: Series { what: "rsnap send, 1 GiB of data in 1 TiB", sample: ours.map(rate(data))? },
        peer: Series { what: "rsnap send, 1 GiB of data in 1 GiB", sample: theirs.map(rate(data))? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

fn send(rig: &Rig, gateway: &Gateway, source: &Path, turn: usize) -> Result<f64> {
    let volume = format!("sparse-{turn}");
    let mut command = gateway.client(&rig.program("rsnap"));
    let time = seconds(command.arg("send").arg(source).args(["--full", "--volume", &volume, "--snapshot", "s"]))?;
    gateway.delete(&volume, "s")?;
    Ok(time)
}
