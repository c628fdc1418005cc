//! Who reads which snapshot in this process: a deleted one keeps its data until its last reader has gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::{ImageName, SnapshotId};

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers(Arc<Mutex<BTreeMap<(ImageName, SnapshotId), usize>>>);

/// One reader, until it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    readers: Readers,
    what: (ImageName, SnapshotId),
}

impl Readers {
    pub(super) fn enter(&self, image: &ImageName, snapshot: &SnapshotId) -> Reading {
        let what = (image.clone(), snapshot.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.clone()).or_default() += 1;
        Reading { readers: self.clone(), what }
    }

    pub(super) fn are_reading(&self, image: &ImageName, snapshot: &SnapshotId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(image.clone(), snapshot.clone()))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut readers = self.readers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = readers.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.what);
            }
        }
    }
}
