//! A transfer in this store that outlives its requests and its gateways.
//!
//! Its data grows in a file of its own, its pages and its progress in a log beside it, and one record names both files
//! and the owner's generation. A successor first raises the generation. Then it waits for the files: who writes to them
//! holds a lock on the log, so where that lock is free, nobody writes and the files are taken over as they are. Where it
//! is not, the owner sleeps or hangs: then what its last mark covers is copied to new files, and the old ones are left to
//! it. So nobody ever adds to a file that another can still write, and what a sleeper does when it wakes up counts for
//! nothing. One file that all owners add to was refused: nothing in a file system takes an open file from a process.
//!
//! | file | subject |
//! |---|---|
//! | `record`, [`page_log`](crate::image::page_log) | what is kept |
//! | `open` | beginning one, and taking one over |
//! | `list` | looking at them from outside, and giving one up |

mod list;
mod open;
#[cfg(test)]
mod power_loss;
mod record;

pub(super) use self::list::{discard, expire, list};
pub(super) use self::record::{Owned, unseal_owned, upload_file};

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::disk::{DiskFile, SyncPoint};
use super::failed;
use super::staged::{FileStaged, Phase, Staging};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, Page, PageSink, Root};
use crate::image::blocking::blocking;
use crate::image::page_log::{LogPlace, Mark, PageLog, locked, plant};
use crate::image::presence::{below, zero_grains};
use crate::image::sidecar::Leafed;
use crate::image::{
    Committed, Durable, ImageError, Ranges, Sealed, SnapshotImage, StageRequest, StagedImage, UploadImage,
};

/// See the module's text.
#[derive(Debug)]
pub(super) struct FileUpload {
    staged: FileStaged,
    log: Arc<Mutex<PageLog>>,
    owned: Owned,
    /// What was durable at the start.
    durable: Ranges,
}

/// The log as a file.
#[derive(Debug)]
struct LogFile(Arc<dyn DiskFile>);

impl LogPlace for LogFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync(SyncPoint::UploadLog)
    }
}

impl FileUpload {
    fn staging(&self) -> &Arc<Staging> {
        &self.staged.staging
    }

    /// Work on data and log, which must not be waited for by whoever ends the ownership. After a failure neither can be
    /// believed beyond the last mark.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging, &Mutex<PageLog>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let running = Arc::clone(&self.staging().writes).read_owned().await;
        let (staging, log) = (Arc::clone(self.staging()), Arc::clone(&self.log));
        blocking(move || {
            staging.check_open()?;
            let result = work(&staging, &log);
            if matches!(result, Err(ImageError::Io { .. } | ImageError::Full { .. })) {
                staging.break_off();
            }
            drop(running);
            result
        })
        .await
    }

    /// Ends the ownership once nothing is being written.
    async fn end(&self) {
        let alone = Arc::clone(&self.staging().writes).write_owned().await;
        let staging = Arc::clone(self.staging());
        let ended = blocking(move || {
            staging.end(true);
            drop(alone);
            Ok(())
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "leave an unfinished transfer to its next owner");
        }
    }

    /// Removes what there is of the transfer, unless another one owns it by now.
    async fn give_up(&self) {
        let (staging, owned) = (Arc::clone(self.staging()), self.owned.clone());
        let given_up = blocking(move || {
            let _records = staging.directory.lock_records()?;
            owned.check(&staging.directory)?;
            list::remove(&staging.directory, &owned)?;
            staging.is_discarded.store(true, Ordering::Release);
            staging.directory.remove(&owned.data)
        });
        match given_up.await {
            Ok(()) | Err(ImageError::Fenced) => {}
            Err(error) => tracing::warn!(%error, "leave an unfinished transfer until it expires"),
        }
    }

    /// The record stays: whoever missed the answer will ask.
    async fn drop_log(&self) {
        let (staging, log) = (Arc::clone(self.staging()), self.owned.log.clone());
        if let Err(error) = blocking(move || staging.directory.remove(&log)).await {
            tracing::warn!(%error, "leave the log of a finished transfer to the next one");
        }
    }

    async fn root(&self) -> Result<Root, ImageError> {
        let staging = self.staging();
        let announce = |block, present| {
            staging.pending().insert(block, present);
        };
        plant(&self.log, staging.request.size, self.staged.base(), &self.staged, announce).await
    }
}

/// Makes a range of the data read as zeroes; costs what is there, not its length.
fn punch(staging: &Staging, range: Range<u64>) -> io::Result<()> {
    let mut position = range.start;
    while let Some(data) = staging.data.next_data(position)?.map(|data| data.max(position)) {
        if data >= range.end {
            break;
        }
        let end = ((data / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64).min(range.end);
        staging.data.clear(data, end - data)?;
        position = end;
    }
    Ok(())
}

#[async_trait]
impl PageSink for FileUpload {
    type Error = ImageError;

    async fn put(&self, _level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        let present = self.staging().pending().remove(&index).unwrap_or_default();
        let leafed = Leafed { page: *page, present };
        let add =
            move |_: &Staging, log: &Mutex<PageLog>| locked(log).add(index, &leafed).map_err(failed("write a page"));
        self.work(add).await
    }
}

#[async_trait]
impl StagedImage for FileUpload {
    fn size(&self) -> u64 {
        self.staged.size()
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        self.staged.base()
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        let work = move |staging: &Staging, log: &Mutex<PageLog>| {
            let inside = staging.announce(block, present)?;
            if locked(log).has(block) {
                let start = block * BLOCK_BYTES as u64;
                for run in zero_grains(&buffer, inside).runs() {
                    let cleared = staging.data.clear(start + run.start as u64, run.len() as u64);
                    cleared.map_err(failed("clear what was written before"))?;
                }
            }
            staging.write(block, inside, &buffer)
        };
        self.work(work).await
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        let work = move |staging: &Staging, log: &Mutex<PageLog>| {
            let inside = staging.announce(block, present)?;
            let (start, is_there) = (block * BLOCK_BYTES as u64, locked(log).has(block));
            for run in inside.runs().filter(|_| is_there) {
                let range = start + run.start as u64..start + run.end as u64;
                punch(staging, range).map_err(failed("clear what was written before"))?;
            }
            Ok(())
        };
        self.work(work).await
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.close().await.map(|(_, durable)| durable)
    }

    async fn commit(&self, durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let committed = self.staged.commit(durable, sealed).await?;
        match committed {
            Committed::Already(_) => self.give_up().await,
            Committed::New(_) => self.drop_log().await,
        }
        Ok(committed)
    }

    async fn abort(&self) {
        if !matches!(*self.staging().phase(), Phase::Ended) {
            self.give_up().await;
        }
        self.end().await;
    }

    fn upload(self: Arc<Self>) -> Option<Arc<dyn UploadImage>> {
        Some(self)
    }
}

#[async_trait]
impl UploadImage for FileUpload {
    fn request(&self) -> &StageRequest {
        &self.owned.request
    }

    fn durable(&self) -> Ranges {
        self.durable.clone()
    }

    async fn clear(&self, range: Range<u64>) -> Result<(), ImageError> {
        let work = move |staging: &Staging, log: &Mutex<PageLog>| {
            let blocks = range.start.div_ceil(BLOCK_BYTES as u64)..range.end.div_ceil(BLOCK_BYTES as u64);
            locked(log).clear(blocks);
            // To the byte: the grain that the start cuts may never be written again.
            punch(staging, range.start..range.end.next_multiple_of(GRAIN_BYTES as u64)).map_err(failed("clear a range"))
        };
        self.work(work).await
    }

    async fn reopen(
        &self,
        block: u64,
        end: u64,
        mut buffer: BlockBuffer,
    ) -> Result<(GrainMap, BlockBuffer), ImageError> {
        let work = move |staging: &Staging, log: &Mutex<PageLog>| {
            let reading = || failed("read what was written before");
            let written = locked(log).page(block).map_err(reading())?.map_or(GrainMap::EMPTY, |leafed| leafed.present);
            let written = written.intersection(below(block, end));
            for run in written.runs() {
                let place = buffer.get_mut(run.clone()).unwrap_or_default();
                let count =
                    staging.data.read_at(place, block * BLOCK_BYTES as u64 + run.start as u64).map_err(reading())?;
                place.get_mut(count..).unwrap_or_default().fill(0);
            }
            Ok((written, buffer))
        };
        self.work(work).await
    }

    async fn checkpoint(&self, durable: Ranges) -> Result<(), ImageError> {
        let owned = self.owned.clone();
        let work = move |staging: &Staging, log: &Mutex<PageLog>| {
            staging.data.sync(SyncPoint::UploadData).map_err(failed("flush an unfinished transfer"))?;
            let stored = staging.stored.load(Ordering::Relaxed);
            locked(log).mark(&Mark { durable, stored }).map_err(failed("mark the progress of a transfer"))?;
            // After the mark: who owns it next reads the log later than this, and finds what is promised here.
            owned.check(&staging.directory)
        };
        self.work(work).await
    }

    async fn check(&self) -> Result<(), ImageError> {
        let owned = self.owned.clone();
        self.work(move |staging, _| owned.check(&staging.directory)).await
    }

    async fn close(&self) -> Result<(Root, Durable), ImageError> {
        let root = self.root().await?;
        Ok((root, self.staged.flush().await?))
    }

    async fn suspend(&self) {
        self.end().await;
    }
}
