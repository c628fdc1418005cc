//! What the host keeps for one instance, and the things that the instance knows by handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};

use super::bindings::policy::rsnap::plugin::chains::Packed;
use super::ledger::Ledger;
use super::limits::Limits;
use super::pace::Pace;
use super::shared::Shared;
use super::watch::Watch;
use super::{Location, Piece, TransferDescription};
use crate::image::{ImageError, Ingest};

/// Handles that one instance may hold.
const HANDLES: usize = 1024;
/// What a guest may hand over in one call, in bytes: far above any text, far below what hurts.
pub(super) const HANDED_OVER: usize = 1 << 20;

/// The host's side of one instance.
pub(in crate::plugin) struct State {
    pub(super) table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    pub(super) watch: Arc<Watch>,
    /// The transfer whose image may be opened now.
    pub(super) opening: Option<Opening>,
    pub(super) pace: Pace,
    /// Calls to the storage that the running call has made.
    pub(super) storage_calls: u32,
    /// Requests over HTTP and reads of keys that the running call has made.
    pub(super) requests: u32,
    /// What the guest has been given to write.
    pub(super) ledger: Ledger,
    /// Bytes of chunks that the guest holds.
    pub(super) held: Arc<AtomicUsize>,
    /// The image of the transfer, until somebody else has it.
    pub(super) image: Option<OpenImage>,
    /// What the guest wrote into its image in the running call.
    pub(super) queue: Vec<Piece>,
    /// Whether the guest takes the chains of a question itself.
    pub(super) holds_chains: bool,
    /// Those that it may take now.
    pub(super) chains: Option<Packed>,
}

/// The permission to open one image, in the place that the writer itself named for the volume.
pub(super) struct Opening {
    pub(super) transfer: TransferDescription,
    pub(super) location: Location,
}

impl State {
    /// A call about so many bytes begins.
    pub(super) fn start(&mut self, bytes: usize) {
        self.pace.start(bytes);
        self.storage_calls = 0;
        self.requests = 0;
    }

    /// The call has ended well.
    pub(super) fn end(&mut self) {
        self.pace.end(&self.shared);
    }

    fn tick(&mut self) -> UpdateDeadline {
        self.pace.tick(&self.shared, &self.watch)
    }

    /// A store for one instance, with all limits set.
    pub(super) fn store(engine: &Engine, shared: Arc<Shared>, watch: Arc<Watch>) -> Store<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let limits = Limits::new(shared.memory, Arc::clone(&watch));
        let state = Self {
            table,
            limits,
            shared,
            watch,
            opening: None,
            pace: Pace::new(),
            storage_calls: 0,
            requests: 0,
            ledger: Ledger::default(),
            held: Arc::default(),
            image: None,
            queue: Vec::new(),
            holds_chains: false,
            chains: None,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(HANDED_OVER);
        store.set_max_component_handles(HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().tick()));
        store
    }
}

/// Bytes of a transfer, as a guest holds them.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Chunk {
    pub(super) bytes: Bytes,
    held: Arc<AtomicUsize>,
}

impl Chunk {
    pub(super) fn new(bytes: Bytes, held: &Arc<AtomicUsize>) -> Self {
        held.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, held: Arc::clone(held) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// The open image, as a guest holds it.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ImageHandle;

/// The image that is open for a transfer. Given up when dropped, on the host's threads.
pub(super) struct OpenImage {
    ingest: Option<Ingest>,
    host: Handle,
    watch: Arc<Watch>,
}

impl OpenImage {
    pub(super) fn new(ingest: Ingest, host: Handle, watch: Arc<Watch>) -> Self {
        Self { ingest: Some(ingest), host, watch }
    }

    pub(super) fn take(mut self) -> Option<Ingest> {
        self.ingest.take()
    }

    /// Writes what the guest has queued. After an error the image is to be dropped.
    pub(super) async fn write(&mut self, queue: Vec<Piece>) -> Result<(), ImageError> {
        let Some(ingest) = &mut self.ingest else { return Ok(()) };
        for piece in queue {
            match piece {
                Piece::Data { offset, bytes } => ingest.write(offset, &bytes).await?,
                Piece::Zero { offset, length } => ingest.zero(offset, length).await?,
            }
        }
        Ok(())
    }
}

impl Drop for OpenImage {
    fn drop(&mut self) {
        if let Some(ingest) = self.ingest.take() {
            self.watch.cleanup.spawn_on(ingest.abort(), &self.host);
        }
    }
}
