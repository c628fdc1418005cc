//! `put_tls_discard`: how near the whole receiving path comes to receiving TLS and nothing else.

use anyhow::Result;

use super::put;
use crate::bench::rig::{GIB, Rig};
use crate::bench::rounds::{Contestant, alternate, seconds};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::rate;
use crate::bench::sink::Sink;
use crate::gateway;

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let size = rig.amount(2 * GIB);
    let source = rig.file("dense.raw", size, size)?;
    let (gateway, sink) = (rig.gateway("put-discard", "discard", "image")?, Sink::start(rig)?);
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("rsnap", |turn| put(&gateway, &format!("discard-{turn}"), &source)),
            Contestant::new("the sink", |_| {
                let mut curl = gateway::curl(&rig.certificate())?;
                seconds(curl.arg("--upload-file").arg(&source).arg(sink.url()))
            }),
        ],
    )?;
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(0.85),
        ours: Series { what: "rsnap, discarding store", sample: ours.map(rate(size))? },
        peer: Series { what: "raw TLS sink", sample: theirs.map(rate(size))? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}
