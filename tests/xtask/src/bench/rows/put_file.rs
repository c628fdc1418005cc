//! `put_tls_file`: a file to a file, over TLS 1.3, in one stream.
//!
//! What rsnap has acknowledged is durable, so what nginx has acknowledged is made durable inside the timed part. The
//! number without that is printed too.

use std::path::Path;

use anyhow::Result;

use super::put;
use crate::bench::nginx::Nginx;
use crate::bench::rig::{GIB, Rig};
use crate::bench::rounds::{Contestant, alternate, seconds};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::{Sample, rate};
use crate::gateway::{self, Gateway};

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let size = rig.amount(2 * GIB);
    let source = rig.file("dense.raw", size, size)?;
    let (gateway, nginx) = (rig.gateway("put-file", "file", "image")?, Nginx::start(rig)?);
    let mut unflushed = Vec::new();
    let [ours, durable, sender] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("rsnap", |turn| ours(&gateway, &source, turn)),
            Contestant::new("nginx", |_| theirs(rig, &nginx, &source, &mut unflushed)),
            Contestant::new("rsnap send", |turn| send(rig, &gateway, &source, turn)),
        ],
    )?;
    let unflushed = Sample::new(unflushed.split_off(1))?;
    let series = |what, sample: Sample| Ok::<_, anyhow::Error>(Series { what, sample: sample.map(rate(size))? });
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(1.2),
        ours: series("rsnap, curl -T", ours)?,
        peer: series("nginx, curl -T, then fsync", durable)?,
        beside: vec![series("nginx, curl -T, not durable", unflushed)?, series("rsnap send", sender)?],
        costs: Vec::new(),
    })
}

fn ours(gateway: &Gateway, source: &Path, turn: usize) -> Result<f64> {
    let volume = format!("curl-{turn}");
    let time = put(gateway, &volume, source)?;
    gateway.delete(&volume, "s")?;
    Ok(time)
}

fn theirs(rig: &Rig, nginx: &Nginx, source: &Path, unflushed: &mut Vec<f64>) -> Result<f64> {
    let mut curl = gateway::curl(&rig.certificate())?;
    let sent = seconds(curl.arg("--upload-file").arg(source).arg(nginx.url("s.raw")))?;
    let started = std::time::Instant::now();
    nginx.flush("s.raw")?;
    let flushed = started.elapsed().as_secs_f64();
    nginx.remove("s.raw")?;
    unflushed.push(sent);
    Ok(sent + flushed)
}

fn send(rig: &Rig, gateway: &Gateway, source: &Path, turn: usize) -> Result<f64> {
    let volume = format!("send-{turn}");
    let mut command = gateway.client(&rig.program("rsnap"));
    let time = seconds(command.arg("send").arg(source).args(["--full", "--volume", &volume, "--snapshot", "s"]))?;
    gateway.delete(&volume, "s")?;
    Ok(time)
}
