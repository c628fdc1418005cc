//! A store that forgets the data and remembers only that it was there.
//!
//! For benchmarks: what is left of a PUT when storage costs nothing. Reads fail honestly, and there is no base, so
//! that nobody takes it for a store of snapshots.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{
    Chain, Committed, Durable, ImageError, ImageStore, Sealed, SnapshotImage, SnapshotRecord, StageRequest, StagedImage,
};
use crate::buffer::BlockBuffer;
use crate::content::{GRAIN_BYTES, GrainMap, Page, PageSink};
use crate::id::{ImageName, SnapshotId};

/// Keeps the records of snapshots and throws their data away. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DiscardStore {
    records: Arc<Mutex<HashMap<ImageName, Vec<SnapshotRecord>>>>,
}

impl DiscardStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, image: &ImageName, work: impl FnOnce(&mut Vec<SnapshotRecord>) -> T) -> T {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        work(records.entry(image.clone()).or_default())
    }
}

#[async_trait]
impl ImageStore for DiscardStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        Ok(Chain { snapshots: self.with(image, |records| records.clone()), damaged: Vec::new() })
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        Ok(self.with(image, |records| records.iter().any(|record| record.snapshot == *snapshot)))
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        match &request.base {
            Some(base) => Err(ImageError::BaseMissing { image: request.image.clone(), base: base.clone() }),
            None => Ok(Arc::new(Discarding { store: self.clone(), request, stored: AtomicU64::new(0) })),
        }
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        Err(ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() })
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let deleted = self.with(image, |records| {
            let before = records.len();
            records.retain(|record| record.snapshot != *snapshot);
            before != records.len()
        });
        if deleted { Ok(()) } else { Err(ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() }) }
    }

    async fn deleted(&self, _image: &ImageName, _snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        Ok(None)
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        Ok(None)
    }
}

#[derive(Debug)]
struct Discarding {
    store: DiscardStore,
    request: StageRequest,
    stored: AtomicU64,
}

#[async_trait]
impl PageSink for Discarding {
    type Error = ImageError;
    async fn put(&self, _level: u8, _index: u64, _page: &Page) -> Result<(), ImageError> {
        Ok(())
    }
}

#[async_trait]
impl StagedImage for Discarding {
    fn size(&self) -> u64 {
        self.request.size
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        None
    }

    async fn write(&self, _block: u64, present: GrainMap, _buffer: BlockBuffer) -> Result<(), ImageError> {
        let bytes: usize = present.runs().map(|run| run.len()).sum();
        debug_assert!(bytes.is_multiple_of(GRAIN_BYTES));
        self.stored.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn zero(&self, _block: u64, _present: GrainMap) -> Result<(), ImageError> {
        Ok(())
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        Ok(Durable::new())
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let record = self.request.record(&sealed, self.stored.load(Ordering::Relaxed));
        self.store.with(&self.request.image, |records| {
            match records.iter().find(|there| there.snapshot == record.snapshot) {
                Some(there) if there.root == record.root => Ok(Committed::Already(there.clone())),
                Some(there) => Err(ImageError::Exists { snapshot: there.snapshot.clone(), root: there.root }),
                None => {
                    records.push(record.clone());
                    Ok(Committed::New(record))
                }
            }
        })
    }

    async fn abort(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::cases::{Bench, id, image, request};

    #[tokio::test]
    async fn records_stay_and_data_goes() {
        let bench = Bench::new(Arc::new(DiscardStore::new()), None);
        let record = bench.put(1, None, &[1; 10_000]).await.unwrap().record().clone();
        assert_eq!(record.stored, 12_288);
        assert_eq!(bench.names().await, ["s1"]);
        assert!(matches!(bench.put(1, None, &[1; 10_000]).await, Ok(Committed::Already(_))));
        assert!(matches!(bench.put(1, None, &[2; 10_000]).await, Err(ImageError::Exists { .. })));
        assert!(matches!(bench.store.stage(request(2, Some(1), 5)).await, Err(ImageError::BaseMissing { .. })));
        assert!(bench.store.open(&image(), &id(1)).await.is_err());
        bench.store.delete(&image(), &id(1)).await.unwrap();
        assert_eq!(bench.names().await, Vec::<String>::new());
    }
}
