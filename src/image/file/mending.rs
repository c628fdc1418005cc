//! Writing bytes that rotted back into the files of a committed snapshot.
//!
//! A leaf's grains may lie in several layers; each goes to the layer that the snapshot reads it from. That layer may
//! be shared with other snapshots, for which the bytes are as right: they inherited them. Only grains that differ are
//! written, in place, so a power cut leaves at worst some of them as damaged as they were. The files get new stamps, so
//! the next transfer that builds on them proves them by their content.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::disk::{DiskFile, Lock, SyncPoint};
use super::failed;
use super::layout::ImageDirectory;
use super::snapshot::FileSnapshot;
use super::store::Shared;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, is_zero};
use crate::id::{ImageName, SnapshotId};
use crate::image::blocking::blocking;
use crate::image::{ImageError, Mending, ProvenLeaves, SnapshotImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct FileMending(Arc<Open>);

#[derive(Debug)]
struct Open {
    directory: ImageDirectory,
    snapshot: FileSnapshot,
    /// Files that were written to, by name.
    changed: Mutex<BTreeMap<String, Arc<dyn DiskFile>>>,
    /// Keeps transfers and merges away from the layers.
    _image: Lock,
}

impl FileMending {
    pub(super) fn open(shared: &Shared, image: &ImageName, snapshot: &SnapshotId) -> Result<Self, ImageError> {
        // Before the lock: it would make a directory's file where there is none.
        shared.open_snapshot(image, snapshot)?;
        let directory = shared.directory(image);
        let lock = directory.lock()?;
        let snapshot = shared.open_snapshot(image, snapshot)?;
        Ok(Self(Arc::new(Open { directory, snapshot, changed: Mutex::default(), _image: lock })))
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Open) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let open = Arc::clone(&self.0);
        blocking(move || work(&open)).await
    }
}

impl Open {
    fn mend(&self, leaves: &ProvenLeaves) -> Result<u64, ImageError> {
        let overlay = self.snapshot.overlay();
        let mut written = 0;
        for (layer, grains, limit) in overlay.deciding(leaves.block(), leaves.grains())? {
            let file = self.file(&layer.stored.data)?;
            written +=
                write(file.as_ref(), leaves, grains, limit).map_err(failed(format!("mend {}", layer.stored.data)))?;
        }
        Ok(written)
    }

    fn file(&self, name: &str) -> Result<Arc<dyn DiskFile>, ImageError> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = changed.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = self.directory.disk.open_to_change(&self.directory.file(name));
        let file = file.map_err(failed(format!("open {name}")))?;
        changed.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn flush(&self) -> Result<(), ImageError> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed
            .iter()
            .try_for_each(|(name, file)| file.sync(SyncPoint::MendedData).map_err(failed(format!("flush {name}"))))
    }
}

/// Writes the grains that differ, up to byte `limit` of the image.
fn write(file: &dyn DiskFile, leaves: &ProvenLeaves, grains: GrainMap, limit: u64) -> std::io::Result<u64> {
    let start = leaves.block() * BLOCK_BYTES as u64;
    let inside = usize::try_from(limit.saturating_sub(start)).unwrap_or(usize::MAX);
    let mut written = 0;
    for run in grains.runs() {
        for at in run.step_by(GRAIN_BYTES) {
            let right = leaves.bytes().get(at..(at + GRAIN_BYTES).min(inside)).unwrap_or_default();
            let mut stored = vec![0; right.len()];
            let offset = start + at as u64;
            // A grain that cannot be read is written: that is how a disk gets a bad sector back.
            if file.read_at(&mut stored, offset).is_ok() && stored == right {
                continue;
            }
            if is_zero(right) {
                file.clear(offset, right.len() as u64)?;
            } else {
                file.write_at(right, offset)?;
            }
            written += right.len() as u64;
        }
    }
    Ok(written)
}

#[async_trait]
impl Mending for FileMending {
    fn image(&self) -> Arc<dyn SnapshotImage> {
        Arc::new(self.0.snapshot.clone())
    }

    async fn mend(&self, leaves: ProvenLeaves) -> Result<u64, ImageError> {
        self.with(move |open| open.mend(&leaves)).await
    }

    async fn flush(&self) -> Result<(), ImageError> {
        self.with(Open::flush).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::FileStore;
    use super::super::simulated::{Dice, Simulated};
    use super::*;
    use crate::buffer::BufferPool;
    use crate::content::{LEAF_BYTES, PageSource as _};
    use crate::image::cases::{Bench, changed, content, id, image};
    use crate::image::{ImageStore, Verified};

    const MIB: usize = BLOCK_BYTES;
    const PLACES: [usize; 4] = [3, 70_000, MIB + 5, 2 * MIB + 699];

    fn raw(disk: &Simulated, suffix: &str) -> PathBuf {
        use super::super::disk::Disk as _;
        let folder = Path::new("/store/images").join(image().as_str());
        let name = disk.list(&folder).unwrap().into_iter().find(|name| name.ends_with(suffix)).unwrap();
        folder.join(name)
    }

    fn store(disk: &Simulated) -> FileStore {
        FileStore::on(Arc::new(disk.clone()), Path::new("/store")).unwrap()
    }

    /// Mends one leaf of snapshot `number` with what `bytes` has there.
    async fn mend(store: &FileStore, number: usize, bytes: &[u8], at: usize) -> Result<u64, ImageError> {
        let mending = store.mend(&image(), &id(number)).await?;
        let (block, inside) = (at / MIB, at % MIB / LEAF_BYTES * LEAF_BYTES);
        let mut buffer = BufferPool::new(1).take().await;
        buffer.fill(0);
        let part = &bytes[(block * MIB).min(bytes.len())..((block + 1) * MIB).min(bytes.len())];
        buffer[..part.len()].copy_from_slice(part);
        let leaves = GrainMap::inside(inside, inside + LEAF_BYTES);
        let proven = Verified::new(mending.image()).prove(block as u64, leaves, buffer).await?;
        let written = mending.mend(proven).await?;
        mending.flush().await?;
        Ok(written)
    }

    async fn chain(store: &FileStore) -> (Bench, [Vec<u8>; 2]) {
        let bench = Bench::new(Arc::new(store.clone()), None);
        let mut dice = Dice(41);
        let mut first = content(&mut dice, 2 * MIB + 700);
        // Data where it will be damaged: what is zero is not read.
        PLACES.iter().for_each(|at| first[*at] = 7);
        let second = changed(&mut dice, &first, 2 * MIB + 700);
        bench.put(0, None, &first).await.unwrap();
        bench.put(1, Some((0, &first)), &second).await.unwrap();
        (bench, [first, second])
    }

    #[tokio::test]
    async fn every_damaged_byte_comes_back_through_whichever_snapshot_reads_it() {
        let disk = Simulated::new();
        let store = store(&disk);
        let (bench, all) = chain(&store).await;
        for at in PLACES {
            for suffix in [".raw", ".delta"] {
                disk.flip(&raw(&disk, suffix), at as u64);
                let mut written = 0;
                for (number, bytes) in all.iter().enumerate() {
                    written += mend(&store, number, bytes, at).await.unwrap();
                }
                for (number, bytes) in all.iter().enumerate() {
                    bench.check(number, bytes).await;
                }
                assert!(written <= 4096, "{written} bytes were written for one");
            }
        }
        let third = changed(&mut Dice(5), &all[1], 2 * MIB);
        bench.put(2, Some((1, &all[1])), &third).await.unwrap();
        bench.check(2, &third).await;
    }

    #[tokio::test]
    async fn nothing_but_what_was_committed_is_taken() {
        let disk = Simulated::new();
        let store = store(&disk);
        let (bench, all) = chain(&store).await;
        let mut other = all[0].clone();
        other[MIB] ^= 1;
        let refused = mend(&store, 0, &other, MIB).await;
        assert!(matches!(refused, Err(ImageError::Unproven { offset, .. }) if offset == MIB as u64), "{refused:?}");
        assert_eq!(mend(&store, 0, &all[0], MIB).await.unwrap(), 0, "what is right is not written");
        bench.check(0, &all[0]).await;
        let staged = store.stage(crate::image::cases::request(3, None, MIB)).await.unwrap();
        assert!(matches!(mend(&store, 0, &all[0], MIB).await, Err(ImageError::Busy { .. })));
        drop(staged);
        assert!(matches!(mend(&store, 9, &all[0], MIB).await, Err(ImageError::NotFound { .. })));
    }

    #[tokio::test]
    async fn what_was_mended_survives_a_power_cut_and_needs_its_sync() {
        for left_out in [None, Some(SyncPoint::MendedData)] {
            let mut lost = false;
            for seed in 0..40 {
                let disk = Simulated::new();
                let open = store(&disk);
                let (_, all) = chain(&open).await;
                disk.flip(&raw(&disk, ".raw"), 70_000);
                disk.leave_out(left_out);
                mend(&open, 0, &all[0], 70_000).await.unwrap();
                disk.leave_out(None);
                disk.crash(&mut Dice(seed));
                let again = Verified::new(store(&disk).open(&image(), &id(0)).await.unwrap());
                let mut buffer = BufferPool::new(1).take().await;
                lost |= again.page(1, 0).await.is_err() || again.read_block(0, &mut buffer).await.is_err();
            }
            assert_eq!(lost, left_out.is_some(), "without {left_out:?}");
        }
    }
}
