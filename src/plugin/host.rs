//! What the host does for its guests: the imported interfaces of `wit/`.
//!
//! A guest that breaks the contract is ended at once by an error of the type [`Breach`], which no guest can catch. Work
//! on the storage runs on the host's own threads, not on those of the guests, and survives a guest that is ended.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::Resource;

use super::Piece;
use super::account::Limit;
use super::bindings::policy::rsnap::plugin::chains;
use super::bindings::writer::rsnap::plugin::{chunks, clock, image_store, log, settings, types};
use super::flood::Verdict;
use super::state::{Chunk, ImageHandle, OpenImage, Opening, State};
use super::text::clean;
use crate::id::{ImageName, SnapshotName, StoreName};
use crate::image::{ImageError, Ingest, StageRequest};

/// Calls to the storage in one call of the guest: ten times what the pieces of one call need.
pub(super) const STORAGE_CALLS: u32 = 1000;

/// The guest broke the contract; the text says how and is for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Breach {
    text: String,
    /// The limit that it ran into, where it was one.
    pub(super) limit: Option<Limit>,
}

impl Breach {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), limit: None }
    }

    pub(super) fn of(limit: Limit, text: impl Into<String>) -> Self {
        Self { text: text.into(), limit: Some(limit) }
    }
}

fn breach<T>(text: impl Into<String>) -> wasmtime::Result<T> {
    Err(Breach::new(text).into())
}

impl settings::Host for State {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok(self.shared.settings.text.clone())
    }

    fn value(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.shared.account.handed(key.len());
        Ok(self.shared.settings.value(&key))
    }

    fn keys(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.shared.settings.values.keys().cloned().collect())
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.shared.account.handed(message.len());
        let Verdict::Write { dropped } = self.shared.flood.judge(Instant::now()) else { return Ok(()) };
        let plugin = self.shared.name.as_str();
        if dropped > 0 {
            tracing::warn!(target: "plugin", plugin, dropped, "dropped lines of a flood");
        }
        let message = clean(&message);
        match level {
            log::Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
            log::Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            log::Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            log::Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
        }
        Ok(())
    }
}

impl chains::Host for State {
    fn hold(&mut self) -> wasmtime::Result<()> {
        self.holds_chains = true;
        Ok(())
    }

    fn take(&mut self) -> wasmtime::Result<chains::Packed> {
        let nothing = || Breach::new("it takes chains a second time, outside of decide, or without saying so before");
        Ok(self.chains.take().ok_or_else(nothing)?)
    }
}

impl types::Host for State {}

impl chunks::Host for State {}

impl chunks::HostChunk for State {
    fn length(&mut self, chunk: Resource<Chunk>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&chunk)?.bytes.len() as u64)
    }

    fn is_zero(&mut self, chunk: Resource<Chunk>) -> wasmtime::Result<bool> {
        Ok(crate::content::is_zero(&self.table.get(&chunk)?.bytes))
    }

    fn sha256(&mut self, chunk: Resource<Chunk>) -> wasmtime::Result<Vec<u8>> {
        let bytes = &self.table.get(&chunk)?.bytes;
        Ok(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec())
    }

    fn read(&mut self, chunk: Resource<Chunk>, offset: u64, length: u64) -> wasmtime::Result<Vec<u8>> {
        let bytes = &self.table.get(&chunk)?.bytes;
        let clamp = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (clamp(offset), clamp(offset.saturating_add(length)));
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    fn drop(&mut self, chunk: Resource<Chunk>) -> wasmtime::Result<()> {
        self.table.delete(chunk)?;
        Ok(())
    }
}

impl image_store::Host for State {
    async fn open(
        &mut self,
        store: String,
        image: String,
        snapshot_name: String,
    ) -> wasmtime::Result<Result<Resource<ImageHandle>, types::Error>> {
        self.shared.account.handed(store.len() + image.len() + snapshot_name.len());
        let Some(opening) = self.opening.take() else {
            return breach("it opened an image a second time, or outside of begin");
        };
        let place = (&opening.location.store, &opening.location.image);
        if (store.as_str(), image.as_str()) != (place.0.as_str(), place.1.as_str()) {
            let asked = clean(&format!("{store}/{image}"));
            let volume = &opening.transfer.volume;
            return breach(format!(
                "it asked for the image {asked}, but the snapshots of volume {volume} are in {}/{}",
                place.0, place.1
            ));
        }
        let Ok(name) = snapshot_name.parse() else {
            return breach(format!("{:?} is not a name for a snapshot", clean(&snapshot_name)));
        };
        self.stage(opening, name).await
    }
}

impl State {
    async fn stage(
        &mut self,
        Opening { transfer, location }: Opening,
        name: SnapshotName,
    ) -> wasmtime::Result<Result<Resource<ImageHandle>, types::Error>> {
        let Some(store) = self.shared.stores.get(&location.store).cloned() else {
            return breach(not_granted(&location.store));
        };
        let request = StageRequest {
            transfer: transfer.id,
            volume: transfer.volume,
            snapshot: transfer.snapshot,
            image: location.image,
            name,
            size: transfer.size,
            base: transfer.base,
            upload: transfer.upload,
        };
        match self.on_host(async move { store.stage(request).await }).await? {
            Ok(staged) => {
                let ingest = Ingest::new(staged, self.shared.pool.clone(), self.shared.depth);
                self.image = Some(OpenImage::new(ingest, self.shared.host.clone(), self.watch.clone()));
                Ok(Ok(self.table.push(ImageHandle)?))
            }
            Err(error) => Ok(Err(self.storage_failed(error))),
        }
    }

    /// Runs work on the host's threads. It goes on to its end when the guest is ended meanwhile, and is waited for as
    /// the images are.
    async fn on_host<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> wasmtime::Result<T> {
        self.count_storage_call()?;
        let _in_host = self.watch.enter_host();
        let (send, receive) = oneshot::channel();
        // What nobody waits for any more is dropped inside of the task, so that who waits for the task waits for that.
        self.watch.cleanup.spawn_on(async move { drop(send.send(work.await)) }, &self.shared.host);
        Ok(receive.await?)
    }

    fn storage_failed(&self, error: ImageError) -> types::Error {
        let text = error.to_string();
        self.watch.note_image_error(error);
        types::Error::Unavailable(text)
    }

    /// Takes a piece for the open image. Whoever called the guest writes it when the call has ended: to change threads for
    /// each piece cost a third of the speed.
    fn queue(&mut self, image: &Resource<ImageHandle>, piece: Piece) -> wasmtime::Result<Result<(), types::Error>> {
        self.count_storage_call()?;
        self.table.get(image)?;
        self.queue.push(piece);
        Ok(Ok(()))
    }

    fn count_storage_call(&mut self) -> wasmtime::Result<()> {
        self.storage_calls += 1;
        if self.storage_calls > STORAGE_CALLS {
            let text = format!("it called the storage more than {STORAGE_CALLS} times in one call");
            return Err(Breach::of(Limit::StorageCalls, text).into());
        }
        Ok(())
    }
}

impl image_store::HostImage for State {
    fn write(
        &mut self,
        image: Resource<ImageHandle>,
        offset: u64,
        chunk: Resource<Chunk>,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        let bytes: Bytes = self.table.get(&chunk)?.bytes.clone();
        self.ledger.write(offset, &bytes)?;
        self.queue(&image, Piece::Data { offset, bytes })
    }

    fn zero(
        &mut self,
        image: Resource<ImageHandle>,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.ledger.zero(offset, length)?;
        self.queue(&image, Piece::Zero { offset, length })
    }

    fn drop(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        self.image = None;
        Ok(())
    }
}

/// Says that a plugin named a store that it may not use.
pub(super) fn not_granted(store: &StoreName) -> String {
    format!("it names the store {store}, which is not granted to it")
}

/// The image name and the store name that a guest answered.
pub(super) fn parse_location(store: &str, image: &str) -> Result<(StoreName, ImageName), Breach> {
    let fault = |error| Breach::new(format!("it names an impossible place: {error}"));
    Ok((store.parse().map_err(fault)?, image.parse().map_err(fault)?))
}
