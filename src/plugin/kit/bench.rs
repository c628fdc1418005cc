//! What a plugin costs: to load, to start an instance, to call, and to send data through.
//!
//! Times depend on the machine, so a writer is held against the same writer compiled in, in turns.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::conformance::requests;
use super::{Options, Problem, question, trial};
use crate::buffer::BufferPool;
use crate::id::StoreName;
use crate::image::{DiscardStore, ImageStore};
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::builtin::ImageWriter;
use crate::plugin::call::Guest;
use crate::plugin::fault::Fault;
use crate::plugin::load::{Context, Loader, nothing};
use crate::plugin::policy::ComponentPolicy;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::world::World;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{Destination, Kind, Piece, Policy, PolicyRequest, Resolver, TransferDescription, Writer};

/// Calls of each kind that are measured, after some that are not.
const CALLS: usize = 300;
const LONG_CALLS: usize = 20;
const WARM_UP: usize = 10;
/// Snapshots in each of two long chains.
const LONG: usize = 10_000;
/// Plugins of a large installation.
const PLUGINS: usize = 20;
/// The pieces that a transfer hands over, and how many at once.
const PIECE: usize = 64 << 10;
const BATCH: usize = 64;
/// Blocks of one image at work at once.
const DEPTH: usize = 8;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Bytes that are sent through a writer, in each round.
    pub bytes: u64,
    pub rounds: usize,
}

/// Measurements of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Sample {
    fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.first().copied()?, values.last().copied()?);
        Some(Self { median: values.get(values.len() / 2).copied()?, low, high })
    }
}

/// What a plugin costs.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub file: String,
    pub kind: Kind,
    /// A gateway's start with twenty such plugins, from compiled code; `None` without a cache.
    pub start_milliseconds: Option<f64>,
    /// A fresh instance, with its settings, asked for where guests run.
    pub instance_microseconds: Option<Sample>,
    /// The same from another thread: with the time that a core which sleeps takes to wake, there and back.
    pub instance_from_afar_microseconds: Option<Sample>,
    /// A call of a fresh instance: an ordinary question, or where a volume is.
    pub call_microseconds: Option<Sample>,
    /// Policies: a decision over two chains of 10,000 snapshots.
    pub long_call_milliseconds: Option<Sample>,
    /// Writers: data through the plugin, in pieces of 64 KiB, and through the writer that is compiled in.
    pub megabytes_per_second: Option<Sample>,
    pub compiled_in_megabytes_per_second: Option<Sample>,
    /// The same in time on a core, which others on the machine change less.
    pub core_milliseconds_per_gibibyte: Option<Sample>,
    pub compiled_in_core_milliseconds_per_gibibyte: Option<Sample>,
}

/// Measures the component at `path`.
pub async fn bench(path: &Path, options: &Options, amount: Amount) -> Result<Figures, Problem> {
    let kind = trial::kind(path)?;
    let mut figures = Figures {
        file: path.display().to_string(),
        kind,
        start_milliseconds: None,
        instance_microseconds: None,
        instance_from_afar_microseconds: None,
        call_microseconds: None,
        long_call_milliseconds: None,
        megabytes_per_second: None,
        compiled_in_megabytes_per_second: None,
        core_milliseconds_per_gibibyte: None,
        compiled_in_core_milliseconds_per_gibibyte: None,
    };
    match kind {
        Kind::Policy => {
            let guest = figures.load::<ChainPolicy>(path, options).await?;
            figures.policy(&ComponentPolicy(guest)).await?;
        }
        Kind::Resolver => {
            let guest = figures.load::<SiteResolver>(path, options).await?;
            let allowed = crate::plugin::addresses::Allowed::new(&[]);
            figures.resolver(&ComponentResolver { guest, allowed }).await?;
        }
        Kind::Writer => {
            let discard = || Arc::new(DiscardStore::new()) as Arc<dyn ImageStore>;
            let mut options = options.clone();
            options.stores = options.stores.into_keys().map(|name| (name, discard())).collect();
            let guest = figures.load::<BackendWriter>(path, &options).await?;
            figures.writer(&ComponentWriter(guest), &options.stores, amount).await?;
        }
    }
    Ok(figures)
}

fn failed(error: impl fmt::Display) -> Fault {
    Fault::new(format!("it fails: {error}"), "see `rsnap plugin test`")
}

/// Measures `call` again and again, in seconds, after some calls that do not count.
async fn measure<E: fmt::Display>(
    times: usize,
    mut call: impl AsyncFnMut() -> Result<(), E>,
) -> Result<Vec<f64>, Fault> {
    let mut values = Vec::with_capacity(times);
    for number in 0..times + WARM_UP {
        let start = Instant::now();
        call().await.map_err(failed)?;
        if number >= WARM_UP {
            values.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(values)
}

/// How long fresh instances take, in seconds, measured on the guests' threads.
async fn instances<W: World>(guest: Guest<W>) -> Result<Vec<f64>, Fault> {
    let threads = Arc::clone(&guest.shared.threads);
    let work = async move {
        let mut values = Vec::with_capacity(CALLS);
        for number in 0..CALLS + WARM_UP {
            let start = Instant::now();
            drop(guest.start(nothing).await.map_err(failed)?);
            if number >= WARM_UP {
                values.push(start.elapsed().as_secs_f64());
            }
        }
        Ok(values)
    };
    let ended = threads.spawn(work).ok_or_else(|| failed("the threads have ended"))?.await;
    ended.map_err(failed)?
}

fn scaled(seconds: Vec<f64>, factor: f64) -> Option<Sample> {
    Sample::new(seconds.into_iter().map(|seconds| seconds * factor).collect())
}

impl Figures {
    /// Loads it as often as a large installation has plugins, and measures instances of the last one.
    async fn load<W: World>(&mut self, path: &Path, options: &Options) -> Result<Guest<W>, Problem> {
        let (guest, _) = trial::load_guest::<W>(path, options.clone()).await?;
        let mut config = options.config(path);
        if W::KIND == Kind::Writer {
            config.stores = options.stores.keys().cloned().collect();
        }
        if options.cache.is_some() {
            let start = Instant::now();
            let pool = BufferPool::new(DEPTH);
            let (stores, cache) = (options.stores.clone(), options.cache.clone());
            let loader = Loader::start(
                Context { stores, pool, depth: DEPTH, cache, path: Vec::new(), pulled: None, keys: None },
                config.memory.0,
            )?;
            for _ in 0..PLUGINS {
                loader.component::<W>(&config).await?;
            }
            self.start_milliseconds = Some(start.elapsed().as_secs_f64() * 1e3);
        }
        self.instance_microseconds = scaled(instances(guest.clone()).await?, 1e6);
        let from_afar = measure(CALLS, async || guest.start(nothing).await.map(drop)).await?;
        self.instance_from_afar_microseconds = scaled(from_afar, 1e6);
        Ok(guest)
    }

    async fn policy(&mut self, policy: &ComponentPolicy) -> Result<(), Fault> {
        let ordinary = question::example(Kind::Policy).and_then(|text| question::policy(text).ok());
        if let Some(request) = ordinary {
            self.call_microseconds = scaled(decisions(policy, &request, CALLS).await?, 1e6);
        }
        if let Some(case) = requests::long(LONG) {
            self.long_call_milliseconds = scaled(decisions(policy, &case.request, LONG_CALLS).await?, 1e3);
        }
        Ok(())
    }

    async fn resolver(&mut self, resolver: &ComponentResolver) -> Result<(), Fault> {
        let name = question::resolver("dc1").map_err(failed)?;
        let calls = measure(CALLS, async || resolver.resolve(&name).await.map(drop)).await?;
        self.call_microseconds = scaled(calls, 1e6);
        Ok(())
    }

    async fn writer(
        &mut self,
        writer: &ComponentWriter,
        stores: &HashMap<StoreName, Arc<dyn ImageStore>>,
        amount: Amount,
    ) -> Result<(), Fault> {
        let volume = "bench".parse().map_err(failed)?;
        let calls = measure(CALLS, async || writer.locate(&volume).await.map(drop)).await?;
        self.call_microseconds = scaled(calls, 1e6);
        let store = stores.keys().next().map(ToString::to_string).unwrap_or_default();
        let settings = toml::Table::from_iter([("store".to_owned(), toml::Value::String(store))]);
        let compiled_in = ImageWriter::new(settings, stores, BufferPool::new(DEPTH), DEPTH).map_err(failed)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=amount.rounds {
            let [our, their] =
                [pass(writer, amount.bytes, round * 2).await?, pass(&compiled_in, amount.bytes, round * 2 + 1).await?];
            if round > 0 {
                ours.push(our);
                theirs.push(their);
            }
        }
        let sample = |passes: &[Pass], value: fn(&Pass) -> f64| Sample::new(passes.iter().map(value).collect());
        self.megabytes_per_second = sample(&ours, Pass::megabytes_per_second);
        self.compiled_in_megabytes_per_second = sample(&theirs, Pass::megabytes_per_second);
        self.core_milliseconds_per_gibibyte = sample(&ours, Pass::core_milliseconds_per_gibibyte);
        self.compiled_in_core_milliseconds_per_gibibyte = sample(&theirs, Pass::core_milliseconds_per_gibibyte);
        Ok(())
    }
}

async fn decisions(policy: &ComponentPolicy, request: &PolicyRequest, times: usize) -> Result<Vec<f64>, Fault> {
    measure(times, async || policy.decide(request).await.map(drop)).await
}

/// How long it took to send so many bytes, and how long on a core, over all threads.
struct Pass {
    bytes: u64,
    time: Duration,
    on_core: Duration,
}

impl Pass {
    fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }

    fn core_milliseconds_per_gibibyte(&self) -> f64 {
        self.on_core.as_secs_f64() * 1e3 / (self.bytes as f64 / f64::from(1 << 30))
    }
}

/// Time of this process on a core so far.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// Sends through a writer as a transfer does, into a store that keeps nothing.
async fn pass(writer: &dyn Writer, bytes: u64, number: usize) -> Result<Pass, Fault> {
    let id = format!("bench-{number}");
    let (transfer, snapshot) = (id.parse().map_err(failed)?, id.parse().map_err(failed)?);
    let volume = "bench".parse().map_err(failed)?;
    let description = TransferDescription { id: transfer, volume, snapshot, size: bytes, base: None, upload: None };
    let content = Bytes::from(random(BATCH * PIECE));
    let (start, before) = (Instant::now(), on_core());
    let mut destination = writer.begin(&description).await.map_err(failed)?;
    let mut offset = 0;
    while offset < bytes {
        let pieces = batch(&content, offset, bytes);
        offset += pieces.iter().map(length).sum::<u64>();
        destination = put(destination, pieces).await?;
    }
    let ingest = match destination {
        Destination::Image(ingest) => ingest,
        Destination::Chunks(chunks) => chunks.finish().await.map_err(failed)?,
    };
    let done = ingest.finish().await.map_err(failed)?;
    let (time, on_core) = (start.elapsed().max(Duration::from_micros(1)), on_core().saturating_sub(before));
    done.staged.abort().await;
    Ok(Pass { bytes, time, on_core })
}

async fn put(destination: Destination, pieces: Vec<Piece>) -> Result<Destination, Fault> {
    match destination {
        Destination::Image(mut ingest) => {
            for piece in &pieces {
                if let Piece::Data { offset, bytes } = piece {
                    ingest.write(*offset, bytes).await.map_err(failed)?;
                }
            }
            Ok(Destination::Image(ingest))
        }
        Destination::Chunks(mut chunks) => {
            chunks.write(pieces).await.map_err(failed)?;
            Ok(Destination::Chunks(chunks))
        }
    }
}

fn batch(content: &Bytes, offset: u64, end: u64) -> Vec<Piece> {
    let left = usize::try_from(end - offset).unwrap_or(usize::MAX).min(content.len());
    let starts = (0..left).step_by(PIECE);
    let piece = |start: usize| {
        let bytes = content.slice(start..(start + PIECE).min(left));
        Piece::Data { offset: offset + start as u64, bytes }
    };
    starts.map(piece).collect()
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Data { bytes, .. } => bytes.len() as u64,
        Piece::Zero { length, .. } => *length,
    }
}

/// Bytes that are not zero, so that nothing is left out.
fn random(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 11) as u8 | 1).collect()
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>12.2} {:>12.2} {:>12.2}", self.median, self.low, self.high)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} {}", self.kind, self.file)?;
        write!(formatter, "{:<44} {:>12} {:>12} {:>12}", "", "median", "low", "high")?;
        let rows = [
            ("a fresh instance, in µs", self.instance_microseconds),
            ("the same from another thread, in µs", self.instance_from_afar_microseconds),
            ("a call of a fresh instance, in µs", self.call_microseconds),
            ("a decision over 10,000 snapshots, in ms", self.long_call_milliseconds),
            ("data through the plugin, in MB/s", self.megabytes_per_second),
            ("data through the compiled-in writer, in MB/s", self.compiled_in_megabytes_per_second),
            ("the plugin's time on cores, in ms for a GiB", self.core_milliseconds_per_gibibyte),
            ("the compiled-in writer's, in ms for a GiB", self.compiled_in_core_milliseconds_per_gibibyte),
        ];
        for (name, sample) in rows {
            if let Some(sample) = sample {
                write!(formatter, "\n{name:<44} {sample}")?;
            }
        }
        if let (Some(ours), Some(theirs)) = (self.megabytes_per_second, self.compiled_in_megabytes_per_second) {
            write!(formatter, "\n{:<44} {:>12.3}", "ratio of the medians", ours.median / theirs.median)?;
        }
        match self.start_milliseconds {
            Some(start) => write!(formatter, "\n{:<44} {start:>12.2}", "a start with 20 of them, in ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MemoryStore;
    use crate::plugin::tests::support::target;

    async fn figures(component: &str, folder: &str) -> Figures {
        // The long decision takes seconds where the host is unoptimised and others use the processors.
        let call_timeout = Some(crate::quantity::Seconds::new(120));
        let cache = Some(target().join("tests-plugin-cache"));
        let mut options = Options { cache, call_timeout, ..Options::default() };
        options.stores.insert("main".parse().unwrap(), Arc::new(MemoryStore::new()));
        let path = target().join(folder).join(format!("{component}.wasm"));
        bench(&path, &options, Amount { bytes: (9 << 20) + 5, rounds: 1 }).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_kind_has_its_figures() {
        let policy = figures("nearest-base", "plugins").await;
        assert!(policy.long_call_milliseconds.is_some() && policy.start_milliseconds.is_some());
        assert!(figures("static", "plugins").await.call_microseconds.is_some());
        for (writer, folder) in [("image", "plugins"), ("chunk-writer", "fixtures")] {
            let found = figures(writer, folder).await;
            assert!(found.megabytes_per_second.unwrap().median > 0.0, "{writer}");
            assert!(found.to_string().contains("ratio of the medians"), "{found}");
        }
    }

    #[test]
    fn batches_cover_everything_once() {
        let content = Bytes::from(random(BATCH * PIECE));
        let (end, mut offset) = ((9 << 20) + 5, 0);
        while offset < end {
            for piece in batch(&content, offset, end) {
                let Piece::Data { offset: at, .. } = &piece else { panic!("no data") };
                assert_eq!(*at, offset);
                offset += length(&piece);
            }
        }
        assert_eq!(offset, end);
    }
}
