//! A transfer through a writer as the gateway does it, with a place to give it up.

use std::time::{Duration, Instant, SystemTime};

use super::super::{Stop, broken};
use super::Subject;
use super::content::difference;
use crate::buffer::BufferPool;
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::id::{SnapshotId, VolumeId};
use crate::image::{Chain, Committed, Identity, ImageError, ImageStore as _, Ingest, Sealed, SnapshotRecord};
use crate::plugin::{Destination, Location, Piece, PluginError, TransferDescription, Writer};

/// How long what was given up may take to be cleaned up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a transfer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Begun,
    /// After so many pieces.
    Pieces(usize),
    /// Everything is written, and nothing committed.
    Flushed,
    Committed,
}

/// What is sent.
pub(super) struct Sending<'a> {
    pub(super) volume: &'a str,
    pub(super) snapshot: &'a str,
    pub(super) size: u64,
    pub(super) base: Option<&'a str>,
    pub(super) pieces: &'a [Piece],
}

/// The ids are ours, so a wrong one is our fault.
fn id<T: std::str::FromStr<Err = crate::id::NameError>>(text: &str) -> Result<T, Stop> {
    text.parse().map_err(|error| Stop::Skipped(format!("a fault of rsnap itself: {error}")))
}

fn image_error(error: ImageError) -> Stop {
    Stop::Broken(error.to_string())
}

impl Sending<'_> {
    fn describe(&self, attempt: &str) -> Result<TransferDescription, Stop> {
        let base = self.base.map(id).transpose()?;
        let (volume, snapshot) = (id(self.volume)?, id(self.snapshot)?);
        Ok(TransferDescription { id: id(attempt)?, volume, snapshot, size: self.size, base })
    }
}

impl Subject {
    /// Sends to the end, and gives what was committed.
    pub(super) async fn send(&self, send: &Sending<'_>, attempt: &str) -> Result<SnapshotRecord, Stop> {
        match self.send_until(send, attempt, Until::Committed).await? {
            Some(committed) => Ok(committed.record().clone()),
            None => broken("it did not commit"),
        }
    }

    /// Sends, and gives up where `until` says.
    pub(super) async fn send_until(
        &self,
        send: &Sending<'_>,
        attempt: &str,
        until: Until,
    ) -> Result<Option<Committed>, Stop> {
        let transfer = send.describe(attempt)?;
        let destination = self.begin(&transfer).await?;
        let part = match until {
            Until::Begun => 0,
            Until::Pieces(count) => count,
            Until::Flushed | Until::Committed => send.pieces.len(),
        };
        let pieces = send.pieces.get(..part).unwrap_or(send.pieces);
        let ingest = match destination {
            Destination::Image(ingest) => fill(ingest, pieces).await?,
            Destination::Chunks(mut writer) => {
                writer.write(pieces.to_vec()).await?;
                if matches!(until, Until::Begun | Until::Pieces(_)) {
                    return Ok(None);
                }
                writer.finish().await?
            }
        };
        if matches!(until, Until::Begun | Until::Pieces(_)) {
            ingest.abort().await;
            return Ok(None);
        }
        let done = ingest.finish().await.map_err(image_error)?;
        if until == Until::Flushed {
            done.staged.abort().await;
            return Ok(None);
        }
        let sealed = Sealed { root: done.root, identity: Identity::default(), created: SystemTime::now() };
        done.staged.commit(done.durable, sealed).await.map(Some).map_err(image_error)
    }

    /// Waits for an image that is still being cleaned up.
    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.writer.begin(transfer).await {
                Err(PluginError::Image(ImageError::Busy { .. })) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                begun => return Ok(begun?),
            }
        }
    }

    pub(super) async fn locate(&self, volume: &str) -> Result<Location, Stop> {
        Ok(self.writer.locate(&id::<VolumeId>(volume)?).await?)
    }

    pub(super) async fn chain(&self, volume: &str) -> Result<Chain, Stop> {
        let place = self.locate(volume).await?;
        let Some(store) = self.stores.get(&place.store) else { return broken("it names a store that was not granted") };
        store.chain(&place.image).await.map_err(image_error)
    }

    /// Reads a snapshot back and compares it.
    pub(super) async fn compare(&self, volume: &str, snapshot: &str, expected: &[u8]) -> Result<(), Stop> {
        let place = self.locate(volume).await?;
        let Some(store) = self.stores.get(&place.store) else { return broken("it names a store that was not granted") };
        let snapshot = id::<SnapshotId>(snapshot)?;
        let image = store.open(&place.image, &snapshot).await.map_err(image_error)?;
        let size = usize::try_from(image.record().size).unwrap_or(usize::MAX);
        let mut buffer = BufferPool::new(1).take().await;
        let mut found = Vec::with_capacity(size);
        for block in 0..size.div_ceil(BLOCK_BYTES) {
            image.read(block as u64, GrainMap::FULL, &mut buffer).await.map_err(image_error)?;
            found.extend_from_slice(&buffer);
        }
        found.truncate(size);
        difference(expected, &found).map_or(Ok(()), broken)
    }
}

async fn fill(mut ingest: Ingest, pieces: &[Piece]) -> Result<Ingest, Stop> {
    for piece in pieces {
        let written = match piece {
            Piece::Data { offset, bytes } => ingest.write(*offset, bytes).await,
            Piece::Zero { offset, length } => ingest.zero(*offset, *length).await,
        };
        if let Err(error) = written {
            ingest.abort().await;
            return Err(image_error(error));
        }
    }
    Ok(ingest)
}
