//! A transfer in Ceph that outlives its requests and its gateways.
//!
//! Its data grows in the image's head, as that of any transfer. Its pages and its progress grow in a log of RADOS objects
//! beside the image, see [`page_log`](crate::image::page_log); a record in the image's metadata says who the owner is,
//! where the data is, and what of it is durable, so that whoever asks need not read the log. An owner has the image's
//! exclusive lock with a client of its own, as any writer, and a successor blocklists that client. So whatever an earlier
//! owner does is refused by the OSDs, and head and log are taken over as they are.
//!
//! What is in the head and not durable is reverted to the base when somebody takes over, so that a range that was not sent
//! yet always is as the base. The marks say which that is. An image of its own for each upload was refused: its bytes
//! would have to be copied to the volume's image in the end.
//!
//! | file | subject |
//! |---|---|
//! | `open`, `owner` | beginning one, and taking one over |
//! | `inherited` | what earlier owners wrote is still there |
//! | `park` | where its bytes are while another transfer has the head |
//! | `progress` | how far it is |
//! | `rest` | what is between two requests of one sender |
//! | `list`, `expire` | looking at them from outside, and giving one up |

mod expire;
mod inherited;
mod list;
mod open;
mod owner;
mod park;
mod progress;
mod rest;

pub(super) use self::list::{finish, give_up, remove};
#[cfg(test)]
pub(super) use self::open::Step;
pub(super) use self::owner::overtake;
pub(super) use self::park::park;
pub(super) use self::rest::{REST, Resting, wake};

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::failure::{failed, tree_failed};
use super::head;
use super::record::{GENERATION, Generation, Upload};
use super::session::Session;
use super::snapshot::RbdSnapshot;
use super::staged::RbdStaged;
use super::staging::Staging;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSink, Root};
use crate::image::page_log::{Mark, PageLog, locked, plant};
use crate::image::presence::below;
use crate::image::sidecar::Leafed;
use crate::image::{
    Committed, Durable, ImageError, Ranges, Sealed, SnapshotImage, StageRequest, StagedImage, UploadImage,
};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// See the module's text. Cheap to clone: all clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct RbdUpload {
    staged: RbdStaged,
    log: Arc<Mutex<PageLog>>,
    record: Arc<Mutex<Upload>>,
    /// What was durable at the start.
    durable: Ranges,
    /// Whole blocks in which this owner has written. Elsewhere the head is durable, or as the base.
    written: Arc<Mutex<Ranges>>,
}

impl RbdUpload {
    fn staging(&self) -> &Arc<Staging> {
        &self.staged.staging
    }

    /// Work on head and log, which the end of the ownership waits for. After a failure the log cannot be believed beyond
    /// its last mark.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging, &Session) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let running = Arc::clone(&self.staging().writes).read_owned().await;
        let session = self.staging().open_session()?;
        self.staged
            .with(move |staging| {
                let result = work(staging, &session);
                match &result {
                    Err(ImageError::Fenced) => staging.is_overtaken(),
                    Err(ImageError::Io { .. } | ImageError::Full { .. }) => staging.breaks(),
                    _ => {}
                }
                drop((session, running));
                result
            })
            .await
    }

    fn record(&self) -> MutexGuard<'_, Upload> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, Ranges> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all that this owner has written is durable, and nothing is under way.
    fn is_settled(&self) -> bool {
        let (size, durable) = (self.staging().request.size, self.record().durable.clone());
        let is_durable = |range: Range<u64>| durable.contains(&(range.start..range.end.min(size)));
        self.staging().open_session().is_ok()
            && self.staging().pending().is_empty()
            && locked(&self.log).is_marked()
            && self.written().iter().all(is_durable)
    }

    /// Fails when somebody else wants the transfer, or has cut off some of it.
    async fn still_owns(&self) -> Result<(), ImageError> {
        let look = |staging: &Staging, session: &Session| {
            staging.check_size(session.image()?)?;
            owner::check(session, &staging.request.transfer)
        };
        self.work(look).await
    }

    /// As one that was just opened. `None`: somebody else wants the transfer, or has cut off some of it.
    async fn wake(self) -> Option<Self> {
        let (this, durable) = (self.clone(), self.record().durable.clone());
        let tell = move |staging: &Staging, session: &Session| {
            staging.check_size(session.image()?)?;
            this.tell(session)
        };
        let told = self.work(tell).await;
        told.is_ok().then_some(Self { durable, ..self })
    }

    /// Ends the ownership. In order: the next owner need not ask all objects of the head whether something is still on its
    /// way.
    async fn leave(&self) {
        let told = self.work(|staging, session| {
            let noted: Option<Generation> = session.get(GENERATION)?;
            match noted.filter(|noted| noted.number == staging.generation) {
                Some(mut noted) if staging.is_without_tree() => {
                    noted.trees.retain(|tree| *tree != staging.layer);
                    session.set(GENERATION, &noted)
                }
                _ => Ok(()),
            }
        });
        if let Err(error) = told.await {
            tracing::debug!(%error, "end an unfinished transfer without a word");
        }
        self.staged.end().await;
    }

    /// Adds a page to the log if that takes no write. A thread for each page costs more than the page, and a mark has the
    /// log for as long as its write takes.
    async fn notes(&self, block: u64, leafed: &Leafed) -> Result<bool, ImageError> {
        let _running = self.staging().writes.read().await;
        self.staging().open_session()?;
        Ok(self.log.try_lock().is_ok_and(|mut log| log.note(block, leafed)))
    }

    async fn prove_inherited(&self) -> Result<(), ImageError> {
        if self.record().generation == 1 {
            return Ok(());
        }
        let (log, written) = (Arc::clone(&self.log), Arc::clone(&self.written));
        self.work(move |staging, session| {
            let written = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let base = staging.base.as_ref().map(RbdSnapshot::stored);
            inherited::prove(session, &staging.request, base, &log, &written)
        })
        .await
    }

    /// Whether this owner has written a block itself.
    fn has_written(&self, block: u64) -> bool {
        let range = block * BLOCK..(block + 1) * BLOCK;
        self.written().contains(&range)
    }

    /// Notes that a block is written. False: the head is as its base there until now.
    fn note(&self, block: u64) -> bool {
        let range = block * BLOCK..(block + 1) * BLOCK;
        let mut written = self.written();
        let is_there = written.contains(&range) || locked(&self.log).has(block);
        written.insert(range);
        is_there
    }
}

/// Makes a range what the base has there, in all blocks in which anything was written.
fn revert(
    staging: &Staging,
    session: &Session,
    log: &Mutex<PageLog>,
    written: &Mutex<Ranges>,
    range: &Range<u64>,
) -> Result<(), ImageError> {
    let mut dirty = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for block in locked(log).blocks(range.start / BLOCK, usize::MAX) {
        if block * BLOCK >= range.end {
            break;
        }
        dirty.insert(block * BLOCK..(block + 1) * BLOCK);
    }
    let base = staging.base.as_ref().map(RbdSnapshot::stored);
    for there in dirty.iter() {
        let (start, end) = (there.start.max(range.start), there.end.min(range.end));
        if start < end {
            head::revert(session, base, start..end)?;
        }
    }
    Ok(())
}

#[async_trait]
impl PageSink for RbdUpload {
    type Error = ImageError;

    async fn put(&self, _level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        let present = self.staging().pending().remove(&index).unwrap_or_default();
        let leafed = Leafed { page: *page, present };
        if self.notes(index, &leafed).await? {
            return Ok(());
        }
        let log = Arc::clone(&self.log);
        self.work(move |staging, session| {
            let added = locked(&log).add(index, &leafed);
            added.map_err(|error| {
                session.doubt();
                tree_failed(&staging.layer, error)
            })
        })
        .await
    }
}

#[async_trait]
impl StagedImage for RbdUpload {
    fn size(&self) -> u64 {
        self.staged.size()
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        self.staged.base()
    }

    fn appetite(&self) -> usize {
        self.staged.appetite()
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        let is_empty = !self.note(block) && self.staging().base.is_none();
        self.staged.store(block, present, buffer, is_empty).await
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        let is_empty = !self.note(block) && self.staging().base.is_none();
        self.staged.clear(block, present, is_empty).await
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.close().await.map(|(_, durable)| durable)
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let committed = self.staged.with(move |staging| staging.commit(&sealed)).await?;
        if matches!(committed, Committed::Already(_)) {
            self.abort().await;
        }
        Ok(committed)
    }

    async fn abort(&self) {
        let staging = Arc::clone(self.staging());
        let session = staging.session();
        if let Some(session) = session {
            let transfer = staging.request.transfer.clone();
            let told = self.staged.with(move |_| give_up(&session, &transfer)).await;
            if let Err(error) = told {
                tracing::warn!(%error, "leave an unfinished transfer until it expires");
            }
            self.staged.end().await;
            let cleared = self.staged.with(|staging| {
                let StageRequest { image, transfer, .. } = &staging.request;
                staging.shared.clear_away(image, transfer)
            });
            drop(cleared.await);
        }
    }

    fn upload(self: Arc<Self>) -> Option<Arc<dyn UploadImage>> {
        Some(self)
    }
}

#[async_trait]
impl UploadImage for RbdUpload {
    fn request(&self) -> &StageRequest {
        &self.staging().request
    }

    fn durable(&self) -> Ranges {
        self.durable.clone()
    }

    async fn clear(&self, range: Range<u64>) -> Result<(), ImageError> {
        let (log, written) = (Arc::clone(&self.log), Arc::clone(&self.written));
        self.work(move |staging, session| {
            revert(staging, session, &log, &written, &range)?;
            let blocks = range.start.div_ceil(BLOCK)..range.end.div_ceil(BLOCK);
            let whole = blocks.start * BLOCK..blocks.end * BLOCK;
            locked(&log).clear(blocks);
            written.lock().unwrap_or_else(PoisonError::into_inner).remove(&whole);
            Ok(())
        })
        .await
    }

    async fn reopen(
        &self,
        block: u64,
        end: u64,
        mut buffer: BlockBuffer,
    ) -> Result<(GrainMap, BlockBuffer), ImageError> {
        let log = Arc::clone(&self.log);
        let found =
            self.work(move |staging, _| locked(&log).page(block).map_err(|error| tree_failed(&staging.layer, error)));
        let written = found.await?.map_or(GrainMap::EMPTY, |leafed| leafed.present);
        let written = written.intersection(below(block, end));
        let session = self.staging().open_session()?;
        if !written.is_empty() && !self.has_written(block) {
            // What is read here goes into a new page, against which nobody would look again.
            inherited::prove_block(session.image()?, &self.staging().request, &self.log, block).await?;
        }
        for run in written.runs() {
            let place = buffer.get_mut(run.clone()).unwrap_or_default();
            let start = block * BLOCK + run.start as u64;
            let inside = usize::try_from(self.size().saturating_sub(start)).unwrap_or(BLOCK_BYTES).min(run.len());
            let (count, bytes) = session.image()?.read(start, vec![0; inside]).await.map_err(failed)?;
            let (data, rest) = place.split_at_mut(count.min(inside));
            data.copy_from_slice(bytes.get(..data.len()).unwrap_or_default());
            rest.fill(0);
        }
        Ok((written, buffer))
    }

    /// Nothing is flushed: without a cache, a write that is answered is with all OSDs, and only such writes are in
    /// `durable`. A flush would wait for all that was received since, too, and the sender for the flush.
    async fn checkpoint(&self, durable: Ranges) -> Result<(), ImageError> {
        let this = self.clone();
        self.work(move |staging, session| {
            let stored = staging.stored.load(Ordering::Relaxed);
            let marked = locked(&this.log).mark(&Mark { durable: durable.clone(), stored });
            marked.map_err(|error| {
                session.doubt();
                tree_failed(&staging.layer, error)
            })?;
            this.advance(durable);
            if this.is_silent() { this.tell(session) } else { Ok(()) }
        })
        .await
    }

    async fn check(&self) -> Result<(), ImageError> {
        self.still_owns().await
    }

    async fn close(&self) -> Result<(Root, Durable), ImageError> {
        self.prove_inherited().await?;
        let staging = self.staging();
        let announce = |block, present| {
            staging.pending().insert(block, present);
        };
        let root = plant(&self.log, staging.request.size, self.base(), &self.staged, announce).await;
        // What it has added already is not added twice.
        let root = root.inspect_err(|_| staging.breaks())?;
        Ok((root, self.staged.flush().await?))
    }

    async fn suspend(&self) {
        if !rest::begin(self) {
            self.leave().await;
        }
    }
}
