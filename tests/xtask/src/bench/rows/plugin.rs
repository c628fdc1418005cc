//! `plugin_*`: what plugins cost where no network is in the way, as `rsnap plugin bench` measures it.
//!
//! Where the promise is a time, the peer is that time. `plugin_hostile` is about neighbours: the same transfer beside a
//! policy that does harm in each call and beside the same policy when it means well.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::put;
use crate::bench::rig::{GIB, Rig};
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::{Sample, rate};
use crate::gateway::Gateway;
use crate::process;

/// A new call of a guest begins this often, whatever became of the one before.
const EVERY: Duration = Duration::from_millis(100);
/// What the policy of the tests does to a request, one after the other.
const HARMS: [&str; 7] = ["loop", "memory", "trap", "huge reason", "huge line", "loop in host calls", "recursion"];

/// The writer of the tests that takes each chunk, against the compiled-in one: into nowhere, in chunks of 64 KiB.
pub(in crate::bench) fn chunks(rig: &Rig) -> Result<Row> {
    let (amount, rounds) = (rig.amount(4 * GIB).to_string(), rig.pairs.to_string());
    let component = rig.fixture("chunk-writer");
    let figures = figures(rig, &component, &["--amount", &amount, "--rounds", &rounds])?;
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(0.90),
        ours: Series { what: "a writer that takes each chunk", sample: sample(&figures, "megabytes_per_second")? },
        peer: Series {
            what: "writer image, compiled in",
            sample: sample(&figures, "compiled_in_megabytes_per_second")?,
        },
        beside: Vec::new(),
        costs: vec![
            Series {
                what: "the plugin on cores, ms for a GiB",
                sample: sample(&figures, "core_milliseconds_per_gibibyte")?,
            },
            Series {
                what: "the compiled-in writer, ms for a GiB",
                sample: sample(&figures, "compiled_in_core_milliseconds_per_gibibyte")?,
            },
        ],
    })
}

pub(in crate::bench) fn decision(rig: &Rig) -> Result<Row> {
    let figures = figures(rig, &rig.plugin("nearest-base"), &[])?;
    let ours = sample(&figures, "long_call_milliseconds")?;
    time("ms", "a decision over 2 × 10,000 snapshots", ours, 5.0)
}

pub(in crate::bench) fn instance(rig: &Rig) -> Result<Row> {
    let figures = figures(rig, &rig.plugin("nearest-base"), &[])?;
    let mut row = time("µs", "a fresh instance with its settings", sample(&figures, "instance_microseconds")?, 50.0)?;
    row.costs.push(Series {
        what: "the same from another thread, which adds two wake-ups of cores, µs",
        sample: sample(&figures, "instance_from_afar_microseconds")?,
    });
    Ok(row)
}

pub(in crate::bench) fn start(rig: &Rig) -> Result<Row> {
    let mut times = Vec::with_capacity(rig.pairs);
    // The first one compiles, and does not count.
    for turn in 0..=rig.pairs {
        let figures = figures(rig, &rig.plugin("image"), &["--amount", "1MiB", "--rounds", "1"])?;
        let time = figures.get("start_milliseconds").and_then(Value::as_f64).context("the time of a start")?;
        if turn > 0 {
            times.push(time);
        }
    }
    time("ms", "20 plugins from the cache", Sample::new(times)?, 200.0)
}

/// A row whose peer is a promise.
fn time(unit: &'static str, what: &'static str, ours: Sample, limit: f64) -> Result<Row> {
    Ok(Row {
        unit,
        bar: Bar::AtMost(1.0),
        ours: Series { what, sample: ours },
        peer: Series { what: "the promise", sample: Sample::new(vec![limit])? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

/// What `rsnap plugin bench` says of a component.
fn figures(rig: &Rig, component: &PathBuf, options: &[&str]) -> Result<Value> {
    let mut command = Command::new(rig.program("rsnap"));
    command.args(["plugin", "bench"]).arg(component).args(options).arg("--json");
    command.env("XDG_CACHE_HOME", rig.directory("compiled")?);
    serde_json::from_str(&process::capture(&mut command)?).context("the figures of `rsnap plugin bench`")
}

fn sample(figures: &Value, name: &str) -> Result<Sample> {
    let figure = |key: &str| {
        let value = figures.get(name).and_then(|figure| figure.get(key)?.as_f64());
        value.with_context(|| format!("no {key} of {name} in {figures}"))
    };
    Sample::new(vec![figure("low")?, figure("median")?, figure("high")?])
}

pub(in crate::bench) fn hostile(rig: &Rig) -> Result<Row> {
    let size = rig.amount(2 * GIB);
    let source = rig.file("dense.raw", size, size)?;
    let policy = rig.fixture("hostile-policy");
    let gateway = rig.gateway_with_policy("hostile", "discard", &policy)?;
    let turn = |name: &str, harms: &[&str]| beside(&gateway, harms, || put(&gateway, name, &source));
    let [ours, theirs] = alternate(
        rig,
        rig.pairs * 2,
        [
            Contestant::new("beside hostile guests", |number| turn(&format!("hostile-{number}"), &HARMS)),
            Contestant::new("beside a good one", |number| turn(&format!("tame-{number}"), &["none"])),
        ],
    )?;
    Ok(Row {
        unit: "MB/s",
        bar: Bar::AtLeast(0.90),
        ours: Series { what: "PUT beside hostile guests", sample: ours.map(rate(size))? },
        peer: Series { what: "PUT beside a guest that means well", sample: theirs.map(rate(size))? },
        beside: Vec::new(),
        costs: Vec::new(),
    })
}

/// Does `work` while a guest is called again and again, with one of `harms` after the other.
fn beside(gateway: &Gateway, harms: &[&str], work: impl FnOnce() -> Result<f64>) -> Result<f64> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for harm in harms.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                // Most of these fail, which is what they are for.
                scope.spawn(move || plan(gateway, harm));
                std::thread::sleep(EVERY);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Asks for a plan: one call of the policy, which does the harm that the source volume names.
fn plan(gateway: &Gateway, harm: &str) -> Result<()> {
    let token = std::fs::read_to_string(gateway.token_file()).context("cannot read the token")?;
    let chain = serde_json::json!([{ "id": "s1", "size": 65_536 }]);
    let body = serde_json::json!({ "source_volume": harm, "wanted": "s1", "chain": chain }).to_string();
    let mut command = gateway.curl()?;
    command.args(["--header", &format!("Authorization: Bearer {}", token.trim()), "--data", &body]);
    command.args(["--header", "Content-Type: application/json"]);
    process::quiet(command.arg(format!("{}/plan", gateway.snapshot("asked", "s"))))
}
