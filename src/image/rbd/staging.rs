//! What a transfer has at work: its client, the tree that it writes, and what has gone wrong.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{join, join_all};
use rsnap_rbd::Image;
use tokio::sync::RwLock;

use super::failure::{failed, other, tree_failed};
use super::objects::Objects;
use super::session::Session;
use super::snapshot::RbdSnapshot;
use super::stage::Ready;
use super::store::Shared;
use super::writers::Claim;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::image::presence::below;
use crate::image::sidecar::{Place as _, SidecarWriter};
use crate::image::{Durable, ImageError, StageRequest};

/// Dropped when the last write has ended; clears what was not committed.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) shared: Arc<Shared>,
    pub(super) request: StageRequest,
    pub(super) base: Option<RbdSnapshot>,
    pub(super) generation: u64,
    pub(super) layer: String,
    pub(super) objects: Arc<Objects>,
    /// Shared by the writes that run, held alone by the flush and the end. Taken before `sidecar`.
    pub(super) writes: Arc<RwLock<()>>,
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
    pub(super) is_full: AtomicBool,
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

impl Staging {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        request: StageRequest,
        session: Arc<Session>,
        claim: Claim,
        ready: Ready,
    ) -> Arc<Self> {
        let Ready { base, generation, layer } = ready;
        if let Ok(image) = session.image() {
            image.forget_sizes();
        }
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

    pub(super) fn claim(&self) -> MutexGuard<'_, Option<Claim>> {
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

    pub(super) fn pending(&self) -> MutexGuard<'_, HashMap<u64, GrainMap>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing of its tree was written.
    pub(super) fn is_without_tree(&self) -> bool {
        self.objects.length().is_ok_and(|length| length == 0)
    }

    /// Another one owns the transfer.
    pub(super) fn is_overtaken(&self) {
        self.is_fenced.store(true, Ordering::Release);
        self.breaks();
    }

    pub(super) fn breaks(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// The session, as long as the transfer may still write.
    pub(super) fn open_session(&self) -> Result<Arc<Session>, ImageError> {
        match &*self.phase() {
            Phase::Open(session) if !self.is_broken.load(Ordering::Acquire) => Ok(Arc::clone(session)),
            _ if self.is_fenced.load(Ordering::Acquire) => Err(ImageError::Fenced),
            _ => Err(closed()),
        }
    }

    /// Notes the grains of a block that are given, as far as they are inside the image.
    pub(super) fn announce(&self, block: u64, present: GrainMap) -> GrainMap {
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
    pub(super) async fn send(
        &self,
        session: &Session,
        block: u64,
        data: Option<Parts>,
        zero: GrainMap,
    ) -> Result<(), ImageError> {
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
        self.check_size(image)
    }

    /// The lock keeps nobody from resizing the image: what is cut off is lost, even if it has its size again in the end.
    pub(super) fn check_size(&self, image: &Image) -> Result<(), ImageError> {
        let size = match image.size().map_err(failed)? {
            size if size == self.request.size => image.smallest_size().map_err(failed)?,
            other => other,
        };
        if size == self.request.size {
            return Ok(());
        }
        self.breaks();
        let detail = format!("somebody has resized it to {size} bytes during the transfer; repeat the request");
        Err(ImageError::Foreign { image: self.request.image.clone(), detail })
    }

    pub(super) fn spill(&self, sidecar: &mut SidecarWriter) -> Result<(), ImageError> {
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
    pub(super) fn flush(&self, sidecar: &mut SidecarWriter) -> Result<Durable, ImageError> {
        sidecar.finish(self.objects.as_ref()).map_err(|error| self.tree_failed(error))?;
        let bytes = self.objects.length().map_err(|error| self.tree_failed(error))?;
        self.tree_bytes.store(bytes, Ordering::Release);
        let mut phase = self.phase();
        if let Phase::Open(session) = &*phase {
            *phase = Phase::Flushed(Arc::clone(session));
        }
        Ok(Durable::new())
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
pub(super) struct Parts {
    pub buffer: Arc<BlockBuffer>,
    pub grains: GrainMap,
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
