//! `plugin_overhead`: what it costs that the writer is a WebAssembly component.
//!
//! Into a store that discards, where a fixed cost weighs most. The bar is three hundredths, so more turns are taken.

use anyhow::Result;

use super::put;
use crate::bench::rig::{GIB, Rig};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::rate;

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let size = rig.amount(2 * GIB);
    let source = rig.file("dense.raw", size, size)?;
    let component = rig.gateway("component", "discard", "image")?;
    let builtin = rig.gateway("builtin", "discard", "builtin:image")?;
    let [ours, theirs] = alternate(
        rig,
        rig.pairs * 2,
        [
            Contestant::new("the component", |turn| put(&component, &format!("component-{turn}"), &source)),
            Contestant::new("the compiled-in writer", |turn| put(&builtin, &format!("builtin-{turn}"), &source)),
        ],
    )?;
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(0.97),
        ours: Series { what: "writer image, component", sample: ours.map(rate(size))? },
        peer: Series { what: "writer image, compiled in", sample: theirs.map(rate(size))? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}
