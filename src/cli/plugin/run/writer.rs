//! A transfer through a writer, by the same code as in a gateway: receive, flush, commit.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use indicatif::BinaryBytes;
use serde::Serialize;

use super::Cost;
use super::stream::Stream;
use crate::buffer::BufferPool;
use crate::cli::args::{PluginRun, StreamFormat, WriterArgs};
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::plugin::fault::Fault;
use crate::id::{SiteName, StoreName, VolumeId};
use crate::image::{FileStore, Identity, ImageStore, MemoryStore, SnapshotRecord};
use crate::metrics::Metrics;
use crate::plugin::kit::Trial;
use crate::plugin::{
    Decision, Destination, Location, Plan, PluginError, Policy, PolicyRequest, Resolver, Site, Slot,
    TransferDescription, Writer,
};
use crate::transfer::{BaseClaim, Config, DigestTrailers, Format, Parts, Transfers, Upload};

/// The stores that a writer may use.
pub(super) fn stores(args: &WriterArgs) -> Result<HashMap<StoreName, Arc<dyn ImageStore>>, Fault> {
    let open = |name: &StoreName| -> Result<(StoreName, Arc<dyn ImageStore>), Fault> {
        let Some(folder) = &args.into else { return Ok((name.clone(), Arc::new(MemoryStore::new()))) };
        let folder = folder.join(name.as_str());
        let opened = std::fs::create_dir_all(&folder).map_err(|fault| fault.to_string());
        let opened = opened.and_then(|()| FileStore::open(&folder).map_err(|fault| fault.to_string()));
        let fault = |text| Fault::failed(format!("could not open {}: {text}", folder.display()), "Check --into.");
        Ok((name.clone(), Arc::new(opened.map_err(fault)?)))
    };
    args.store.iter().map(open).collect()
}

pub(super) async fn send(
    trial: &Trial,
    writer: Arc<dyn Writer>,
    stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    args: &PluginRun,
    output: &Output,
) -> Result<Exit, Fault> {
    let options = &args.writer;
    if args.question.is_some() {
        return Err(Fault::usage("a writer is asked no question: give it a stream with --stream FILE"));
    }
    let path = options.stream.as_deref().ok_or_else(|| Fault::usage("a writer needs a stream: --stream FILE"))?;
    let cannot_read = |fault| Fault::failed(format!("could not read {}: {fault}", path.display()), "Check --stream.");
    let mut stream = Stream::open(path).map_err(cannot_read)?;
    let upload = upload(options, &stream)?;
    let observed = Arc::new(Observed { writer, seen: Mutex::default() });
    let transfers = transfers(Arc::<Observed>::clone(&observed), stores);
    let start = Instant::now();
    let committed = transfers.receive(upload, &mut stream).await?;
    let seconds = start.elapsed().as_secs_f64();
    let seen = observed.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    output.show(&Stored::new(committed.record(), seen, seconds, Cost::of(trial)))?;
    Ok(Exit::Success)
}

fn upload(options: &WriterArgs, stream: &Stream) -> Result<Upload, Fault> {
    let (format, size) = match options.format {
        StreamFormat::RbdDiff => (Format::RbdDiff, None),
        StreamFormat::Raw => {
            let size = stream.length.or(options.size.map(|size| size.0));
            (Format::Raw, Some(size.ok_or_else(|| Fault::usage("a raw image on standard input needs --size"))?))
        }
    };
    Ok(Upload {
        volume: options.volume.clone(),
        snapshot: options.snapshot.clone(),
        format,
        length: None,
        size,
        base: BaseClaim { snapshot: options.base.clone(), ..BaseClaim::default() },
        root: None,
        source: Identity::default(),
        issued: SystemTime::now(),
        principal: "rsnap plugin run".to_owned(),
        sender: None,
        digests: Vec::new(),
        digest_trailers: DigestTrailers::default(),
        metadata: None,
    })
}

fn transfers(writer: Arc<dyn Writer>, stores: HashMap<StoreName, Arc<dyn ImageStore>>) -> Transfers {
    let (policy, resolver): (Arc<dyn Policy>, Arc<dyn Resolver>) = (Arc::new(Agreeable), Arc::new(Nowhere));
    let (writer, policy, resolver) = (Slot::new(writer), Slot::new(policy), Slot::new(resolver));
    let (metrics, load) = (Arc::new(Metrics::new()), crate::cluster::load(None));
    let pool = BufferPool::new(Config::default().receive_buffers());
    Transfers::new(Parts { metrics, load, writer, policy, resolver, stores, pool }, &Config::default())
}

/// Agrees with whatever is sent.
struct Agreeable;

#[async_trait]
impl Policy for Agreeable {
    fn name(&self) -> &str {
        "agreeable"
    }

    async fn decide(&self, request: &PolicyRequest) -> Result<Plan, PluginError> {
        let newest = request.target.last().map(|snapshot| snapshot.id.clone());
        Ok(Plan { decision: newest.map_or(Decision::Full, Decision::Incremental), reason: "as it is sent".to_owned() })
    }
}

/// Knows no sites.
struct Nowhere;

#[async_trait]
impl Resolver for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    async fn resolve(&self, _name: &SiteName) -> Result<Option<Site>, PluginError> {
        Ok(None)
    }
}

/// A writer, and what it answered.
struct Observed {
    writer: Arc<dyn Writer>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    location: Option<Location>,
    chunks: bool,
}

#[async_trait]
impl Writer for Observed {
    fn name(&self) -> &str {
        self.writer.name()
    }

    async fn locate(&self, volume: &VolumeId) -> Result<Location, PluginError> {
        let location = self.writer.locate(volume).await?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).location = Some(location.clone());
        Ok(location)
    }

    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, PluginError> {
        let destination = self.writer.begin(transfer).await?;
        let chunks = matches!(destination, Destination::Chunks(_));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).chunks = chunks;
        Ok(destination)
    }
}

/// What became of the stream.
#[derive(Serialize)]
struct Stored {
    store: String,
    image: String,
    /// In the storage.
    name: String,
    /// Whether the plugin took each chunk; else the host wrote them itself.
    chunks: bool,
    /// Of the volume, in bytes.
    size: u64,
    /// Bytes that were stored, without holes.
    stored: u64,
    /// Content root.
    root: String,
    base: Option<String>,
    seconds: f64,
    cost: Cost,
}

impl Stored {
    fn new(record: &SnapshotRecord, seen: Seen, seconds: f64, cost: Cost) -> Self {
        let (store, image) =
            seen.location.map(|place| (place.store.to_string(), place.image.to_string())).unwrap_or_default();
        Self {
            store,
            image,
            name: record.name.to_string(),
            chunks: seen.chunks,
            size: record.size,
            stored: record.stored,
            root: record.root.to_string(),
            base: record.base.as_ref().map(ToString::to_string),
            seconds,
            cost,
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "stored in {}/{} as {}", self.store, self.image, self.name)?;
        let path = if self.chunks { "through the plugin, chunk by chunk" } else { "by the host itself" };
        let (size, stored) = (BinaryBytes(self.size), BinaryBytes(self.stored));
        writeln!(formatter, "{size}, of which {stored} were stored, {path}, in {:.2} s", self.seconds)?;
        if let Some(base) = &self.base {
            writeln!(formatter, "a change since {base}")?;
        }
        writeln!(formatter, "content root {}", self.root)?;
        write!(formatter, "{}", self.cost)
    }
}
