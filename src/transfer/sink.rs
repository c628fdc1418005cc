//! Where the extents of a transfer go: straight into an image, or through a plugin that wants each chunk.

use bytes::Bytes;

use super::TransferError;
use crate::image::{Ingest, Ingested};
use crate::plugin::{ChunkWriter, Destination, Piece};

/// Pieces of one call to a plugin: enough to make the call's cost small, few enough to bound what waits.
const BATCH_PIECES: usize = 64;
const BATCH_BYTES: usize = 4 << 20;

/// The destination of a transfer, with what still waits for it.
#[expect(clippy::large_enum_variant, reason = "there is one for each transfer, and it is moved twice")]
pub(super) enum Sink {
    Image(Ingest),
    Chunks { writer: Box<dyn ChunkWriter>, batch: Vec<Piece>, bytes: usize },
}

impl From<Destination> for Sink {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Image(ingest) => Self::Image(ingest),
            Destination::Chunks(writer) => Self::Chunks { writer, batch: Vec::new(), bytes: 0 },
        }
    }
}

impl Sink {
    pub(super) async fn write(&mut self, offset: u64, data: Bytes) -> Result<(), TransferError> {
        match self {
            Self::Image(ingest) => Ok(ingest.write(offset, &data).await?),
            Self::Chunks { batch, bytes, .. } => {
                *bytes += data.len();
                batch.push(Piece::Data { offset, bytes: data });
                self.send_full_batch().await
            }
        }
    }

    pub(super) async fn zero(&mut self, offset: u64, length: u64) -> Result<(), TransferError> {
        match self {
            Self::Image(ingest) => Ok(ingest.zero(offset, length).await?),
            Self::Chunks { batch, .. } => {
                batch.push(Piece::Zero { offset, length });
                self.send_full_batch().await
            }
        }
    }

    async fn send_full_batch(&mut self) -> Result<(), TransferError> {
        match self {
            Self::Chunks { batch, bytes, .. } if batch.len() >= BATCH_PIECES || *bytes >= BATCH_BYTES => {
                self.send_batch().await
            }
            _ => Ok(()),
        }
    }

    async fn send_batch(&mut self) -> Result<(), TransferError> {
        if let Self::Chunks { writer, batch, bytes } = self {
            *bytes = 0;
            writer.write(std::mem::take(batch)).await?;
        }
        Ok(())
    }

    /// Waits for everything, and makes it durable.
    pub(super) async fn finish(mut self) -> Result<Ingested, TransferError> {
        self.send_batch().await?;
        let ingest = match self {
            Self::Image(ingest) => ingest,
            Self::Chunks { writer, .. } => writer.finish().await?,
        };
        Ok(ingest.finish().await?)
    }

    /// Frees what was staged. A plugin's instance is dropped, and its image with it.
    pub(super) async fn abort(self) {
        if let Self::Image(ingest) = self {
            ingest.abort().await;
        }
    }
}
