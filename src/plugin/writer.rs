//! A backend writer as a component: one instance for each transfer, dropped at once where the host moves the data.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use wasmtime::component::Resource;

use super::account::Limit;
use super::bindings::writer::BackendWriter;
use super::bindings::writer::exports::rsnap::plugin::writer as wit;
use super::bindings::writer::rsnap::plugin::types;
use super::call::{Guest, Instance};
use super::host::{Breach, not_granted, parse_location};
use super::shared::Shared;
use super::state::{Chunk, ImageHandle, OpenImage, Opening};
use super::{ChunkWriter, Destination, Location, Piece, PluginError, TransferDescription, Writer};
use crate::id::VolumeId;
use crate::image::Ingest;

/// Most pieces in one call, and about the most bytes: many per call, because a call costs a change of threads.
const PIECES: usize = 64;
const BYTES: usize = 4 << 20;
/// Bytes of chunks that a guest may keep between calls.
const HELD: usize = 8 << 20;

/// What an export answers.
type Answer<T> = Result<T, types::Error>;

/// A loaded writer.
pub(super) struct ComponentWriter(pub(super) Guest<BackendWriter>);

#[async_trait]
impl Writer for ComponentWriter {
    fn name(&self) -> &str {
        &self.0.shared.name
    }

    async fn locate(&self, volume: &VolumeId) -> Result<Location, PluginError> {
        self.0.shared.call(volume.as_str(), self.ask(volume.to_string())).await
    }

    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, PluginError> {
        let shared = &self.0.shared;
        shared.admit(&shared.transfers)?;
        let begun = shared.account.call(self.open(transfer.clone())).await;
        // Whether it can write chunks too shows when it does.
        if !matches!(begun, Ok(Destination::Chunks(_))) {
            shared.transfers.note(transfer.volume.as_str(), &begun, Instant::now());
        }
        begun
    }
}

impl ComponentWriter {
    /// Where a volume is; not counted as a call.
    pub(super) async fn ask(&self, volume: String) -> Result<Location, PluginError> {
        let (_, answer) =
            self.0.start(move |instance| Box::pin(async move { locate(instance, &volume).await })).await?;
        answer.map_err(|error| refusal(&self.0.shared, error))
    }

    async fn open(&self, transfer: TransferDescription) -> Result<Destination, PluginError> {
        let volume = transfer.volume.to_string();
        let (instance, answer) = self.0.start(move |instance| Box::pin(begin(instance, transfer))).await?;
        match answer {
            Ok(Begun::Whole(ingest)) => Ok(Destination::Image(ingest)),
            Ok(Begun::Chunks(image)) => Ok(Destination::Chunks(Box::new(ComponentChunks {
                shared: Arc::clone(&self.0.shared),
                volume,
                open: Some(Open { instance, image, queue: Vec::new() }),
            }))),
            Err(error) => Err(give_up(instance, error).await),
        }
    }
}

/// What a guest makes of a transfer.
enum Begun {
    Whole(Ingest),
    Chunks(OpenImage),
}

/// Asks where a volume is, and checks the answer.
async fn locate(instance: &mut Instance<BackendWriter>, volume: &str) -> wasmtime::Result<Answer<Location>> {
    let guest = instance.world.rsnap_plugin_writer();
    let place = match guest.call_locate(&mut instance.store, volume).await? {
        Ok(place) => place,
        Err(error) => return Ok(Err(error)),
    };
    instance.store.data().shared.account.handed(place.store.len() + place.image.len());
    let (store, image) = parse_location(&place.store, &place.image)?;
    if !instance.store.data().shared.stores.contains_key(&store) {
        return Err(Breach::new(not_granted(&store)).into());
    }
    Ok(Ok(Location { store, image }))
}

/// Begins a transfer.
async fn begin(
    instance: &mut Instance<BackendWriter>,
    transfer: TransferDescription,
) -> wasmtime::Result<Answer<Begun>> {
    let location = match locate(instance, transfer.volume.as_str()).await? {
        Ok(location) => location,
        Err(error) => return Ok(Err(error)),
    };
    let described = lower(&transfer);
    instance.store.data_mut().opening = Some(Opening { transfer, location });
    let answer = instance.world.rsnap_plugin_writer().call_begin(&mut instance.store, &described).await?;
    let state = instance.store.data_mut();
    state.opening = None;
    match answer {
        Ok(wit::Destination::Image(handle)) => {
            take(instance, handle)?;
            let ingest = instance.store.data_mut().image.take().and_then(OpenImage::take);
            Ok(Ok(Begun::Whole(ingest.ok_or_else(|| Breach::new("it gives back an image that is not open"))?)))
        }
        Ok(wit::Destination::Chunks) => match state.image.take() {
            Some(image) => Ok(Ok(Begun::Chunks(image))),
            None => Err(Breach::new("it wants chunks and opened no image").into()),
        },
        Err(error) => Ok(Err(error)),
    }
}

/// Takes an image back from the guest.
fn take(instance: &mut Instance<BackendWriter>, handle: Resource<ImageHandle>) -> wasmtime::Result<()> {
    instance.store.data_mut().table.delete(handle)?;
    Ok(())
}

fn lower(transfer: &TransferDescription) -> wit::Transfer {
    wit::Transfer {
        id: transfer.id.to_string(),
        volume: transfer.volume.to_string(),
        snapshot: transfer.snapshot.to_string(),
        size: transfer.size,
        base: transfer.base.as_ref().map(ToString::to_string),
    }
}

/// Ends an instance whose guest said no, and waits until its image is given up.
async fn give_up(instance: Instance<BackendWriter>, error: types::Error) -> PluginError {
    let (shared, watch) = (Arc::clone(&instance.store.data().shared), Arc::clone(&instance.store.data().watch));
    drop(instance);
    watch.settle().await;
    refusal(&shared, error)
}

fn refusal(shared: &Shared, error: types::Error) -> PluginError {
    let plugin = shared.name.clone();
    match error {
        types::Error::Unavailable(text) => PluginError::Unavailable { plugin, detail: shared.told(&text) },
        types::Error::Refused(text) | types::Error::Other(text) => {
            PluginError::Refused { plugin, detail: shared.told(&text) }
        }
    }
}

/// A transfer whose chunks the guest wants. Not open any more after an error.
struct ComponentChunks {
    shared: Arc<Shared>,
    volume: String,
    open: Option<Open>,
}

struct Open {
    instance: Instance<BackendWriter>,
    image: OpenImage,
    /// What the guest wrote in its last call.
    queue: Vec<Piece>,
}

#[async_trait]
impl ChunkWriter for ComponentChunks {
    async fn write(&mut self, pieces: Vec<Piece>) -> Result<(), PluginError> {
        let mut batch = Batch::default();
        for piece in pieces {
            batch.add(piece);
            if batch.is_full() {
                self.deliver(std::mem::take(&mut batch)).await?;
            }
        }
        if batch.pieces.is_empty() { Ok(()) } else { self.deliver(batch).await }
    }

    async fn finish(mut self: Box<Self>) -> Result<Ingest, PluginError> {
        self.call(0, |instance| Box::pin(finish(instance))).await?;
        // What it wrote in its last calls.
        let finished = self.close().await;
        self.shared.transfers.note(&self.volume, &finished, Instant::now());
        finished
    }
}

impl ComponentChunks {
    /// Writes what is left to write; the guest is not needed any more.
    async fn close(&mut self) -> Result<Ingest, PluginError> {
        let gone = || self.shared.failed("it failed before in this transfer");
        let Open { instance, mut image, queue } = self.open.take().ok_or_else(gone)?;
        let watch = Arc::clone(&instance.store.data().watch);
        drop(instance);
        if let Err(error) = image.write(queue).await {
            drop(image);
            watch.settle().await;
            return Err(error.into());
        }
        image.take().ok_or_else(gone)
    }

    async fn deliver(&mut self, batch: Batch) -> Result<(), PluginError> {
        self.call(batch.bytes, |instance| Box::pin(write(instance, batch.pieces))).await
    }

    /// Calls the guest, and meanwhile writes what it queued in its last call: on this side, where the fast path writes too.
    /// The transfer stays open only when all of that went well.
    async fn call<T: Send + 'static>(
        &mut self,
        bytes: usize,
        job: impl super::call::Job<BackendWriter, Answer<T>>,
    ) -> Result<T, PluginError> {
        let shared = &self.shared;
        let open = self.open.take().ok_or_else(|| shared.failed("it failed before in this transfer"))?;
        let Open { instance, mut image, queue } = open;
        let watch = Arc::clone(&instance.store.data().watch);
        let called = async {
            let (answered, written) = tokio::join!(instance.resume(bytes, job), image.write(queue));
            written?;
            match answered? {
                (mut instance, Ok(answer)) => {
                    let queue = std::mem::take(&mut instance.store.data_mut().queue);
                    Ok((instance, queue, answer))
                }
                (instance, Err(error)) => Err(give_up(instance, error).await),
            }
        };
        match shared.account.call(called).await {
            Ok((instance, queue, answer)) => {
                self.open = Some(Open { instance, image, queue });
                Ok(answer)
            }
            failed => {
                // A retry must not find the image busy.
                drop(image);
                watch.settle().await;
                let failed = failed.map(|(.., answer)| answer);
                shared.transfers.note(&self.volume, &failed, Instant::now());
                failed
            }
        }
    }
}

async fn write(instance: &mut Instance<BackendWriter>, pieces: Vec<Piece>) -> wasmtime::Result<Answer<()>> {
    let state = instance.store.data_mut();
    let mut extents = Vec::with_capacity(pieces.len());
    for piece in pieces {
        extents.push(match piece {
            Piece::Zero { offset, length } => {
                state.ledger.give(offset, length, None)?;
                wit::Extent { offset, data: None, length }
            }
            Piece::Data { offset, bytes } => {
                let length = bytes.len() as u64;
                state.ledger.give(offset, length, Some(bytes.clone()))?;
                let chunk = state.table.push(Chunk::new(bytes, &state.held))?;
                wit::Extent { offset, data: Some(chunk), length }
            }
        });
    }
    let answer = instance.world.rsnap_plugin_writer().call_write(&mut instance.store, &extents).await?;
    if instance.store.data().held.load(Ordering::Relaxed) > HELD {
        return Err(Breach::of(Limit::Chunks, format!("it keeps more than {HELD} bytes of chunks")).into());
    }
    Ok(answer)
}

async fn finish(instance: &mut Instance<BackendWriter>) -> wasmtime::Result<Answer<()>> {
    match instance.world.rsnap_plugin_writer().call_finish(&mut instance.store).await? {
        Ok(handle) => {
            instance.store.data().ledger.close()?;
            take(instance, handle).map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Pieces of one call.
#[derive(Default)]
struct Batch {
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, piece: Piece) {
        if let Piece::Data { bytes, .. } = &piece {
            self.bytes += bytes.len();
        }
        self.pieces.push(piece);
    }

    fn is_full(&self) -> bool {
        self.pieces.len() >= PIECES || self.bytes >= BYTES
    }
}
