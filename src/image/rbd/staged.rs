//! A snapshot on its way into the store: written to the image's head, and beside it as a tree.
//!
//! Blocks are written as they come, each in one operation of at most 1 MiB: merging neighbours to whole objects of 4 MiB was
//! measured and refused. On one node (16.2, a file-backed OSD) a GiB in operations of 1 MiB cost the OSD 1.0 to 1.3 seconds
//! of processor time and in those of 4 MiB 1.5, for it splits large ones again; below 256 KiB the cost rises (3.5 s with
//! 64 KiB). The buffer goes with the operation and is freed by its completion.
//!
//! Zeroes are written as `write_zeroes`, never discarded: a discard skips what is not aligned. A full snapshot starts
//! from an empty head, so there they cost nothing at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use tokio::sync::RwLock;

use super::failure::{other, tree_failed};
use super::head;
use super::objects::Objects;
use super::session::Session;
use super::snapshot::RbdSnapshot;
use super::stage::{Ready, check_size, prepare};
use super::store::Shared;
use super::writers::Claim;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, Page, PageSink};
use crate::id::ImageName;
use crate::image::blocking::blocking;
use crate::image::presence::{below, zero_grains};
use crate::image::sidecar::{Key, Leafed, Place as _, SidecarWriter};
use crate::image::{Committed, Durable, ImageError, Sealed, SnapshotImage, StageRequest, StagedImage};

/// See the module's text.
#[derive(Debug)]
pub(super) struct RbdStaged {
    pub(super) staging: Arc<Staging>,
}

/// Dropped when the last write has ended; clears what was not committed.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) shared: Arc<Shared>,
    pub(super) request: StageRequest,
    pub(super) base: Option<RbdSnapshot>,
    pub(super) generation: u64,
    pub(super) layer: String,
    objects: Arc<Objects>,
    /// Shared by the writes that run, held alone by the flush and the end. Taken before `sidecar`.
    writes: Arc<RwLock<()>>,
    /// Grains of the blocks whose page has not been put yet: as many as the transfer has blocks at work.
    pending: Mutex<HashMap<u64, GrainMap>>,
    /// Held while pages are added and written, and by the end.
    pub(super) sidecar: Arc<tokio::sync::Mutex<SidecarWriter>>,
    pub(super) stored: AtomicU64,
    pub(super) pages: AtomicU64,
    pub(super) tree_bytes: AtomicU64,
    /// A write failed: what is staged is not what was sent, even if that write's caller no longer listens.
    is_broken: AtomicBool,
    /// It failed because there is no space.
    is_full: AtomicBool,
    /// It failed because another one has taken over: what fails after it fails for that reason.
    is_fenced: AtomicBool,
    phase: Mutex<Phase>,
    /// Held by the commit, and by a deletion that goes through this transfer's client: one after the other.
    pub(super) records: Mutex<()>,
    claim: Mutex<Option<Claim>>,
}

/// `Open` → `Flushed` → `Ended`, or straight to `Ended` by an abort.
#[derive(Debug)]
pub(super) enum Phase {
    Open(Arc<Session>),
    Flushed(Arc<Session>),
    Ended,
}

impl RbdStaged {
    /// Takes the image and makes it ready. Blocks.
    pub(super) fn open(shared: &Arc<Shared>, request: StageRequest) -> Result<Self, ImageError> {
        check_size(&request)?;
        let claim = shared.writers.claim(&request.image, shared.config.timeout.0);
        let claim = claim.ok_or_else(|| ImageError::Busy { image: request.image.clone() })?;
        let session = Arc::new(Session::open(shared, &request.image, Some(request.size))?);
        match prepare(shared, &session, &request) {
            Ok(ready) => Ok(Self { staging: Staging::begin(shared, request, session, claim, ready) }),
            Err(error) => {
                claim.is_closing();
                drop(session);
                Err(error)
            }
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let staging = Arc::clone(&self.staging);
        blocking(move || work(&staging)).await
    }
}

impl Staging {
    fn begin(
        shared: &Arc<Shared>,
        request: StageRequest,
        session: Arc<Session>,
        claim: Claim,
        ready: Ready,
    ) -> Arc<Self> {
        let Ready { base, generation, layer } = ready;
        let staging = Arc::new(Self {
            shared: Arc::clone(shared),
            request,
            base,
            generation,
            objects: Arc::new(Objects::new(&session.pool, &session.id, &layer, 0)),
            layer,
            writes: Arc::default(),
            pending: Mutex::default(),
            sidecar: Arc::default(),
            stored: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            tree_bytes: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            is_fenced: AtomicBool::new(false),
            phase: Mutex::new(Phase::Open(session)),
            records: Mutex::default(),
            claim: Mutex::default(),
        });
        claim.is_for(&staging);
        *staging.claim() = Some(claim);
        staging
    }

    fn claim(&self) -> MutexGuard<'_, Option<Claim>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its client, until it ends.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        match &*self.phase() {
            Phase::Open(session) | Phase::Flushed(session) => Some(Arc::clone(session)),
            Phase::Ended => None,
        }
    }

    pub(super) fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, GrainMap>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaks(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// The session, as long as the transfer may still write.
    fn open_session(&self) -> Result<Arc<Session>, ImageError> {
        match &*self.phase() {
            Phase::Open(session) if !self.is_broken.load(Ordering::Acquire) => Ok(Arc::clone(session)),
            _ if self.is_fenced.load(Ordering::Acquire) => Err(ImageError::Fenced),
            _ => Err(closed()),
        }
    }

    /// Notes the grains of a block that are given, as far as they are inside the image.
    fn announce(&self, block: u64, present: GrainMap) -> GrainMap {
        let inside = present.intersection(below(block, self.request.size));
        self.pending().insert(block, inside);
        inside
    }

    /// Where a run of grains of a block lies in the image, cut at its end.
    fn place(&self, block: u64, run: Range<usize>) -> (u64, Range<usize>) {
        let start = block.saturating_mul(BLOCK_BYTES as u64);
        let inside = usize::try_from(self.request.size.saturating_sub(start)).unwrap_or(BLOCK_BYTES);
        (start + run.start as u64, run.start..run.end.min(inside))
    }

    /// Writes `data` and zeroes `zero`, all at once.
    async fn send(&self, session: &Session, block: u64, data: Option<Parts>, zero: GrainMap) -> Result<(), ImageError> {
        let image = session.image()?;
        let unanswered = Unanswered { staging: self, session, answered: false };
        let parts = data.iter().flat_map(|data| data.grains.runs().map(|run| (&data.buffer, run)));
        let writes = parts.map(|(buffer, run)| {
            let (offset, range) = self.place(block, run);
            self.stored.fetch_add(range.len() as u64, Ordering::Relaxed);
            image.write(offset, Part(Arc::clone(buffer)), range)
        });
        let zeroes = zero.runs().map(|run| {
            let (offset, range) = self.place(block, run);
            image.write_zeroes(offset, range.len() as u64)
        });
        let (written, zeroed) = join(join_all(writes), join_all(zeroes)).await;
        unanswered.over();
        for result in written.into_iter().chain(zeroed) {
            session.changed(result).inspect_err(|error| {
                self.is_full.fetch_or(matches!(error, ImageError::Full { .. }), Ordering::AcqRel);
                self.is_fenced.fetch_or(matches!(error, ImageError::Fenced), Ordering::AcqRel);
                self.breaks();
            })?;
        }
        Ok(())
    }

    fn spill(&self, sidecar: &mut SidecarWriter) -> Result<(), ImageError> {
        sidecar.spill(self.objects.as_ref()).map_err(|error| self.tree_failed(error))
    }

    fn tree_failed(&self, error: std::io::Error) -> ImageError {
        self.breaks();
        if let Phase::Open(session) = &*self.phase() {
            session.doubt();
        }
        tree_failed(&self.layer, error)
    }

    /// Closes the tree. All writes are flushed.
    fn flush(&self, sidecar: &mut SidecarWriter) -> Result<Durable, ImageError> {
        sidecar.finish(self.objects.as_ref()).map_err(|error| self.tree_failed(error))?;
        let bytes = self.objects.length().map_err(|error| self.tree_failed(error))?;
        self.tree_bytes.store(bytes, Ordering::Release);
        let mut phase = self.phase();
        if let Phase::Open(session) = &*phase {
            *phase = Phase::Flushed(Arc::clone(session));
        }
        Ok(Durable::new())
    }

    /// Ends the transfer if it has not ended; gives what is to be closed.
    pub(super) fn end(&self, phase: &mut Phase) -> Option<Ending> {
        let session = match std::mem::replace(phase, Phase::Ended) {
            Phase::Open(session) | Phase::Flushed(session) => session,
            Phase::Ended => return None,
        };
        let claim = self.claim().take();
        if let Some(claim) = &claim {
            claim.is_closing();
        }
        Some(Ending {
            session,
            tree: Some(Arc::clone(&self.objects)),
            image: self.request.image.clone(),
            empties: self.base.is_none() && self.is_full.load(Ordering::Acquire),
            _claim: claim,
        })
    }
}

/// A transfer that is over, on its way to a thread that may block. Its parts are dropped in this order.
#[derive(Debug)]
pub(super) struct Ending {
    session: Arc<Session>,
    /// The tree that nobody needs.
    tree: Option<Arc<Objects>>,
    image: ImageName,
    /// Whether the head is emptied now. Otherwise the next transfer reverts it; but one that has filled the storage must not
    /// keep others from theirs until then.
    empties: bool,
    _claim: Option<Claim>,
}

impl Ending {
    /// The tree has become a snapshot's, or may have.
    pub(super) fn keep_tree(self) -> Self {
        Self { tree: None, ..self }
    }

    /// Removes the tree, gives the lock back and closes the image. Blocks.
    pub(super) fn finish(self) {
        let Self { session, tree, image, empties, _claim } = self;
        if empties && let Err(error) = head::clear(&session, 0) {
            tracing::warn!(%image, %error, "leave the data of a failed transfer to the next one");
        }
        if let Some(tree) = tree.filter(|_| !session.is_doubtful())
            && let Err(error) = tree.remove()
        {
            tracing::debug!(%image, %error, "leave a content tree to the next transfer");
        }
        drop(session);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(ending) = self.end(&mut self.phase()) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || ending.finish())),
            Err(_) => ending.keep_tree().finish(),
        }
    }
}

/// Writes under way. If nobody waits for their end any more, what the head holds is not known, nor when it will be.
struct Unanswered<'a> {
    staging: &'a Staging,
    session: &'a Session,
    answered: bool,
}

impl Unanswered<'_> {
    fn over(mut self) {
        self.answered = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.staging.breaks();
            self.session.doubt();
        }
    }
}

/// Grains of a buffer.
struct Parts {
    buffer: Arc<BlockBuffer>,
    grains: GrainMap,
}

/// A buffer of which several parts are written at once.
struct Part(Arc<BlockBuffer>);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn closed() -> ImageError {
    other("write to a snapshot", "it was flushed, given up, or failed before")
}

#[async_trait]
impl PageSink for RbdStaged {
    type Error = ImageError;

    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        let mut sidecar = Arc::clone(&self.staging.sidecar).lock_owned().await;
        // Not before: it may have been given up meanwhile, and what is written then would stay.
        self.staging.open_session()?;
        let noted = if level == 1 { self.staging.pending().remove(&index) } else { None };
        let leafed = Leafed { page: *page, present: noted.unwrap_or_default() };
        self.staging.pages.fetch_add(1, Ordering::AcqRel);
        if !sidecar.add(Key::new(level, index), &leafed) {
            return Ok(());
        }
        self.with(move |staging| staging.spill(&mut sidecar)).await
    }
}

#[async_trait]
impl StagedImage for RbdStaged {
    fn size(&self) -> u64 {
        self.staging.request.size
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let base = self.staging.base.clone()?;
        Some(Arc::new(base))
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        let _running = self.staging.writes.read().await;
        let session = self.staging.open_session()?;
        let inside = self.staging.announce(block, present);
        let zero = zero_grains(&buffer, inside);
        let data = Some(Parts { buffer: Arc::new(buffer), grains: inside.without(zero) });
        let zero = if self.staging.base.is_some() { zero } else { GrainMap::EMPTY };
        self.staging.send(&session, block, data, zero).await
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        let _running = self.staging.writes.read().await;
        let session = self.staging.open_session()?;
        let inside = self.staging.announce(block, present);
        if self.staging.base.is_none() {
            return Ok(());
        }
        self.staging.send(&session, block, None, inside).await
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        let alone = Arc::clone(&self.staging.writes).write_owned().await;
        if let Phase::Flushed(_) = &*self.staging.phase() {
            return Ok(Durable::new());
        }
        let session = self.staging.open_session()?;
        let flushed = session.image()?.flush().await;
        session.changed(flushed).inspect_err(|_| self.staging.breaks())?;
        let mut sidecar = Arc::clone(&self.staging.sidecar).lock_owned().await;
        let work = move |staging: &Staging| {
            let _alone = alone;
            staging.flush(&mut sidecar)
        };
        self.with(work).await
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        let committed = self.with(move |staging| staging.commit(&sealed)).await?;
        if matches!(committed, Committed::Already(_)) {
            self.abort().await;
        }
        Ok(committed)
    }

    async fn abort(&self) {
        let alone = Arc::clone(&self.staging.writes).write_owned().await;
        let sidecar = Arc::clone(&self.staging.sidecar).lock_owned().await;
        let ended = self.with(move |staging| {
            let _alone = (alone, sidecar);
            let ending = staging.end(&mut staging.phase());
            if let Some(ending) = ending {
                ending.finish();
            }
            Ok(())
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "leave what was staged to the next transfer");
        }
    }
}
