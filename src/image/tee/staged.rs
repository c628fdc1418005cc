//! A new snapshot on its way to both stores.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{TeeSnapshot, is_same};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{GrainMap, Page, PageSink};
use crate::image::{Committed, Durable, ImageError, Sealed, SnapshotImage, StageRequest, StagedImage};

/// The same image, open in both stores.
#[derive(Debug)]
pub(super) struct TeeStaged {
    first: Arc<dyn StagedImage>,
    second: Arc<dyn StagedImage>,
    base: Option<Arc<dyn SnapshotImage>>,
    copies: BufferPool,
    /// What both stores gave for the last flush.
    durable: Mutex<Option<(Durable, Durable)>>,
}

impl TeeStaged {
    pub(super) fn new(
        request: &StageRequest,
        first: Arc<dyn StagedImage>,
        second: Arc<dyn StagedImage>,
        copies: BufferPool,
    ) -> Result<Self, ImageError> {
        let base: Option<Arc<dyn SnapshotImage>> = match (first.base(), second.base()) {
            (Some(one), Some(other)) if is_same(one.record(), other.record()) => {
                Some(Arc::new(TeeSnapshot { first: one, second: other }))
            }
            (Some(one), _) => {
                let (image, base) = (request.image.clone(), one.record().snapshot.clone());
                let detail = "it is another one in the second of the two stores".to_owned();
                return Err(ImageError::BaseChanged { image, base, detail });
            }
            (None, _) => None,
        };
        Ok(Self { first, second, base, copies, durable: Mutex::default() })
    }
}

#[async_trait]
impl PageSink for TeeStaged {
    type Error = ImageError;

    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.first.put(level, index, page).await?;
        self.second.put(level, index, page).await
    }
}

#[async_trait]
impl StagedImage for TeeStaged {
    fn size(&self) -> u64 {
        self.first.size()
    }

    fn appetite(&self) -> usize {
        self.first.appetite().max(self.second.appetite())
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        self.base.clone()
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        let mut copy = self.copies.take().await;
        for run in present.runs() {
            if let (Some(to), Some(from)) = (copy.get_mut(run.clone()), buffer.get(run)) {
                to.copy_from_slice(from);
            }
        }
        let first = self.first.write(block, present, buffer);
        let second = self.second.write(block, present, copy);
        let (first, second) = tokio::join!(first, second);
        first.and(second)
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        let (first, second) = tokio::join!(self.first.zero(block, present), self.second.zero(block, present));
        first.and(second)
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        let (first, second) = tokio::join!(self.first.flush(), self.second.flush());
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = Some((first?, second?));
        Ok(Durable::new())
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let flushed = self.durable.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (first, second) = flushed.ok_or(ImageError::Fenced)?;
        let first = self.first.commit(first, sealed.clone()).await?;
        match (first, self.second.commit(second, sealed).await?) {
            (Committed::Already(record), Committed::Already(_)) => Ok(Committed::Already(record)),
            (first, _) => Ok(Committed::New(first.record().clone())),
        }
    }

    async fn abort(&self) {
        self.first.abort().await;
        self.second.abort().await;
    }
}
