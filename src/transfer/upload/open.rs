//! What the requests of one upload share while they run in this gateway: the image, and who works where in it.
//!
//! A request that needs a place in which another one works ends that one first: its sender has most likely given it up
//! long ago, and only this gateway has not noticed. What it has taken by then counts.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::note::Note;
use crate::cluster::{Counted, Load};
use crate::id::{ImageName, TransferId};
use crate::image::{ImageError, ImageStore, Ranges, UploadImage};
use crate::transfer::TransferError;

/// How long a request is waited for that was told to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a commit may take before the upload is taken from it, and how often that is looked at.
const COMMIT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

/// The uploads that requests of this gateway work on.
#[derive(Debug, Default)]
pub(in crate::transfer) struct Uploads {
    slots: Mutex<HashMap<TransferId, Arc<Slot>>>,
}

/// Held while one is opened.
type Slot = tokio::sync::Mutex<Weak<OpenUpload>>;

/// An upload that is open here.
#[derive(Debug)]
pub(super) struct OpenUpload {
    pub(super) image: Arc<dyn UploadImage>,
    pub(super) note: Note,
    /// The storage has failed, or another gateway owns the upload.
    is_broken: AtomicBool,
    state: Mutex<State>,
    /// Told when a piece has ended.
    ended: Notify,
    /// Held while progress is made durable.
    marking: tokio::sync::Mutex<()>,
    counted: Mutex<Option<Counted>>,
}

#[derive(Debug, Default)]
struct State {
    /// What the storage has taken.
    taken: Ranges,
    /// What of it is durable.
    durable: Ranges,
    next: u64,
    at_work: BTreeMap<u64, (Range<u64>, CancellationToken)>,
}

/// A place in the image that is one request's own.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<OpenUpload>,
    number: u64,
    /// Told when another request wants the place.
    pub(super) stop: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.state().at_work.remove(&self.number);
        self.open.ended.notify_waiters();
    }
}

impl Uploads {
    /// Opens an upload, or joins those who have it open.
    pub(super) async fn attach(
        &self,
        store: &Arc<dyn ImageStore>,
        image: &ImageName,
        transfer: &TransferId,
        load: &Load,
    ) -> Result<Arc<OpenUpload>, TransferError> {
        let slot = Arc::clone(self.slots().entry(transfer.clone()).or_default());
        let mut open = slot.lock().await;
        if let Some(there) = open.upgrade() {
            // Another gateway may own it by now, and nobody here has noticed yet.
            if !there.is_broken.load(Ordering::Acquire) && there.image.check().await.is_ok() {
                return Ok(there);
            }
            there.break_off();
            there.end_all().await;
        }
        wait_for_the_end(&open).await;
        let image = store.resume(image, transfer).await?;
        let note = Note::read(image.request())?;
        let (taken, durable) = (image.durable(), image.durable());
        let opened = Arc::new(OpenUpload {
            image,
            note,
            is_broken: AtomicBool::new(false),
            state: Mutex::new(State { taken, durable, ..State::default() }),
            ended: Notify::new(),
            marking: tokio::sync::Mutex::default(),
            counted: Mutex::new(Some(load.enter())),
        });
        *open = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Ends the work of one request; the last one gives the upload back to the storage.
    pub(super) async fn leave(&self, open: Arc<OpenUpload>) {
        let transfer = open.image.request().transfer.clone();
        if let Some(last) = Arc::into_inner(open) {
            last.image.suspend().await;
            let counted = last.counted.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(counted) = counted {
                counted.leave().await;
            }
        }
        let is_idle = |slot: &Arc<Slot>| {
            Arc::strong_count(slot) == 1 && slot.try_lock().is_ok_and(|open| open.strong_count() == 0)
        };
        let mut slots = self.slots();
        if slots.get(&transfer).is_some_and(is_idle) {
            slots.remove(&transfer);
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TransferId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(&self, transfer: &TransferId) -> Option<Arc<OpenUpload>> {
        let slot = self.slots().get(transfer).cloned()?;
        slot.lock().await.upgrade()
    }

    /// Ends whoever sends plain bytes to an upload: its sender asks how far it is, so he no longer sends.
    pub(super) async fn settle(&self, transfer: &TransferId) {
        if let Some(open) = self.find(transfer).await {
            let size = open.image.size();
            open.make_way(|range| range.end == size).await;
            self.leave(open).await;
        }
    }

    /// Ends whoever works on an upload.
    pub(super) async fn end(&self, transfer: &TransferId) {
        if let Some(open) = self.find(transfer).await {
            open.end_all().await;
            self.leave(open).await;
        }
    }
}

/// A commit that runs is not disturbed, and its files are wanted as they are.
async fn wait_for_the_end(open: &Weak<OpenUpload>) {
    let start = tokio::time::Instant::now();
    while open.strong_count() > 0 && start.elapsed() < COMMIT {
        tokio::time::sleep(LOOK).await;
    }
}

impl OpenUpload {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is durable.
    pub(super) fn durable(&self) -> Ranges {
        self.state().durable.clone()
    }

    /// Takes a place, once those who work there have ended. Where one does not, the upload is to be opened again: only a new
    /// owner can be sure that nothing of it comes any more.
    pub(super) async fn enter(self: &Arc<Self>, range: Range<u64>) -> Result<Place, TransferError> {
        loop {
            self.make_way(|there| there.start < range.end && range.start < there.end).await;
            self.refuse_broken()?;
            let mut state = self.state();
            let is_free = state.at_work.values().all(|(there, _)| there.end <= range.start || range.end <= there.start);
            if is_free {
                let (number, stop) = (state.next, CancellationToken::new());
                state.next += 1;
                state.at_work.insert(number, (range, stop.clone()));
                return Ok(Place { open: Arc::clone(self), number, stop });
            }
        }
    }

    /// Tells those in the way to end, and waits for it. Whoever does not is overtaken at its next step.
    async fn make_way(&self, is_in_the_way: impl Fn(&Range<u64>) -> bool) {
        let waiting = async {
            loop {
                let ended = self.ended.notified();
                let mut ended = std::pin::pin!(ended);
                ended.as_mut().enable();
                let mut is_free = true;
                for (range, stop) in self.state().at_work.values() {
                    if is_in_the_way(range) {
                        stop.cancel();
                        is_free = false;
                    }
                }
                if is_free {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            self.break_off();
            self.state().at_work.retain(|_, (range, _)| !is_in_the_way(range));
        }
    }

    async fn end_all(&self) {
        self.make_way(|_| true).await;
    }

    fn refuse_broken(&self) -> Result<(), TransferError> {
        if self.is_broken.load(Ordering::Acquire) { Err(ImageError::Fenced.into()) } else { Ok(()) }
    }

    /// Nobody joins any more: the next request opens the upload again.
    pub(super) fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Notes what the storage has taken. Not durable yet.
    pub(super) fn take(&self, range: Range<u64>) {
        self.state().taken.insert(range);
    }

    /// Takes a range back.
    pub(super) fn withdraw(&self, range: &Range<u64>) {
        self.state().taken.remove(range);
    }

    /// Makes durable what the storage has taken until now, for all pieces at once.
    pub(super) async fn mark(&self) -> Result<(), TransferError> {
        let _alone = self.marking.lock().await;
        self.refuse_broken()?;
        let taken = self.state().taken.clone();
        if taken == self.state().durable {
            return Ok(());
        }
        self.guard(self.image.checkpoint(taken.clone()).await)?;
        self.state().durable = taken;
        Ok(())
    }

    /// Takes a result of the storage: after a failure, what is in memory here says nothing any more.
    pub(super) fn guard<T>(&self, result: Result<T, ImageError>) -> Result<T, TransferError> {
        if !matches!(result, Ok(_) | Err(ImageError::Extent { .. })) {
            self.break_off();
        }
        Ok(result?)
    }
}
