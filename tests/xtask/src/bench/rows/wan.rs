//! `wan`: one volume over a line with a round trip of 150 ms, 0.1 % loss and 1 Gbit/s.
//!
//! The peer is what the line gives: iperf3 with as many connections as `rsnap send` opens there by itself. Beside it, what
//! one connection gets, with the same gateway at its end.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::line::Line;
use crate::bench::rig::{GIB, Rig};
use crate::bench::rounds::{Contestant, alternate, seconds};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::{Sample, rate};
use crate::gateway::Gateway;
use crate::packages::{self, IPERF};
use crate::process::{self, Server};
use crate::steps::Steps;

/// What `rsnap send` chooses at this round-trip time.
const STREAMS: &str = "8";
/// Long enough that the beginning of connections hardly counts.
const SECONDS: &str = "30";
/// One connection is slow, and sends one of so many parts.
const PART: u64 = 8;

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    packages::ensure(&Steps::new("Bench", 0), &[IPERF])?;
    let line = Line::new(rig)?;
    let size = rig.amount(4 * GIB);
    let source = rig.file("wan.raw", size, size)?;
    let part = rig.file("wan-part.raw", size / PART, size / PART)?;
    let gateway = rig.gateway_on_line("wan", &line.ends)?;
    let port = rsnap_test_ceph::free_port()?;
    let receiver = listen(rig, &line, port)?;
    let [ours, peer, single] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("rsnap send", |turn| send(rig, &gateway, &source, turn)),
            Contestant::new("iperf3", |_| line_rate(&line, port).map(|rate| size as f64 / rate)),
            Contestant::new("curl -T", |turn| single(&gateway, &part, turn)),
        ],
    )?;
    drop(receiver);
    let series = |what, sample: Sample| Ok::<_, anyhow::Error>(Series { what, sample: sample.map(rate(size))? });
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(0.9),
        ours: series("rsnap send", ours)?,
        peer: series("iperf3, 8 connections", peer)?,
        beside: vec![series("curl -T, one connection", single)?],
        costs: Vec::new(),
    })
}

fn send(rig: &Rig, gateway: &Gateway, source: &Path, turn: usize) -> Result<f64> {
    let volume = format!("send-{turn}");
    let mut command = gateway.client(&rig.program("rsnap"));
    let time = seconds(command.arg("send").arg(source).args(["--full", "--volume", &volume, "--snapshot", "s"]))?;
    gateway.delete(&volume, "s")?;
    Ok(time)
}

fn single(gateway: &Gateway, source: &Path, turn: usize) -> Result<f64> {
    let volume = format!("curl-{turn}");
    let time = super::put(gateway, &volume, source)?;
    gateway.delete(&volume, "s")?;
    Ok(time * PART as f64)
}

fn listen(rig: &Rig, line: &Line, port: u16) -> Result<Server> {
    let mut command = line.far(IPERF.command)?;
    let mut server = Server::start(
        command.args(["--server", "--port", &port.to_string()]),
        &rig.directory("wan")?.join("iperf.log"),
    )?;
    let listens = || {
        let Ok(mut ask) = line.far("ss") else { return false };
        ask.args(["-Htln", &format!("( sport = :{port} )")]);
        process::capture(&mut ask).is_ok_and(|found| !found.trim().is_empty())
    };
    server.wait(listens)?;
    Ok(server)
}

/// What the line gives, in bytes a second that have arrived.
fn line_rate(line: &Line, port: u16) -> Result<f64> {
    let mut command = line.near(IPERF.command)?;
    command.args(["--client", &line.ends.address, "--port", &port.to_string(), "--parallel", STREAMS]);
    let report: Value = serde_json::from_str(&process::capture(command.args(["--time", SECONDS, "--json"]))?)?;
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(rate.context("iperf3 does not say how much has arrived")? / 8.0)
}
