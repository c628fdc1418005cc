//! Which transfers run now: counted, bounded, listed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::{IllegalStep, Progress, State};
use super::{Running, TransferError, Upload};
use crate::id::TransferId;
use crate::metrics::{Metrics, Outcome};

/// The running transfers of this gateway.
#[derive(Debug)]
pub(super) struct Registry {
    slots: Arc<Semaphore>,
    capacity: usize,
    running: Arc<Mutex<BTreeMap<TransferId, Arc<Entry>>>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Entry {
    upload: Upload,
    started: SystemTime,
    received: AtomicU64,
    progress: Mutex<Progress>,
}

/// One running transfer; leaves the registry when dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) id: TransferId,
    entry: Arc<Entry>,
    running: Arc<Mutex<BTreeMap<TransferId, Arc<Entry>>>>,
    metrics: Arc<Metrics>,
    admitted: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Registry {
    /// Counts uploads that were abandoned.
    pub(super) fn expired(&self, count: u64) {
        self.metrics.uploads_expired.inc_by(count);
    }

    pub(super) fn new(capacity: usize, metrics: Arc<Metrics>) -> Self {
        let running = Arc::default();
        Self { slots: Arc::new(Semaphore::new(capacity)), capacity, running, metrics }
    }

    /// Whether another transfer may start now.
    pub(super) fn has_room(&self) -> Result<(), TransferError> {
        if self.slots.available_permits() == 0 {
            return Err(TransferError::Saturated { running: self.capacity });
        }
        Ok(())
    }

    pub(super) fn enter(&self, upload: &Upload) -> Result<Registered, TransferError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| TransferError::Saturated { running: self.capacity })?;
        let id = new_id()?;
        let entry = Arc::new(Entry {
            upload: upload.clone(),
            started: SystemTime::now(),
            received: AtomicU64::new(0),
            progress: Mutex::new(Progress::new()),
        });
        let running = Arc::clone(&self.running);
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::clone(&entry));
        let metrics = Arc::clone(&self.metrics);
        metrics.transfers_running.inc();
        Ok(Registered { id, entry, running, metrics, admitted: Instant::now(), _slot: slot })
    }

    /// Tells later whether any transfer runs.
    pub(super) fn watch(&self) -> Watch {
        Watch { slots: Arc::clone(&self.slots), capacity: self.capacity }
    }

    pub(super) fn list(&self) -> Vec<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(id, entry)| entry.describe(id)).collect()
    }
}

/// See [`Registry::watch`].
#[derive(Debug)]
pub(super) struct Watch {
    slots: Arc<Semaphore>,
    capacity: usize,
}

impl Watch {
    pub(super) fn is_idle(&self) -> bool {
        self.slots.available_permits() == self.capacity
    }
}

impl Entry {
    fn describe(&self, id: &TransferId) -> Running {
        Running {
            id: id.clone(),
            volume: self.upload.volume.clone(),
            snapshot: self.upload.snapshot.clone(),
            principal: self.upload.principal.clone(),
            state: self.progress.lock().unwrap_or_else(PoisonError::into_inner).state().as_str(),
            received: self.received.load(Ordering::Relaxed),
            started: self.started,
        }
    }
}

impl Registered {
    pub(super) fn advance(&self, to: State) -> Result<(), IllegalStep> {
        let spent = self.entry.progress.lock().unwrap_or_else(PoisonError::into_inner).advance(to)?;
        tracing::debug!(transfer = %self.id, state = to.as_str(), spent_ms = spent.as_millis(), "transfer state");
        Ok(())
    }

    pub(super) fn count(&self, bytes: usize) {
        self.entry.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.metrics.received_bytes.inc_by(bytes as u64);
    }

    /// Counts how the transfer ended.
    pub(super) fn ended(&self, outcome: Outcome) {
        self.metrics.transfer_ended(outcome, self.admitted.elapsed());
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.metrics.transfers_running.dec();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

pub(super) fn new_id() -> Result<TransferId, TransferError> {
    let mut random = [0_u8; 12];
    let failed = || TransferError::Internal("the system gives no random numbers".to_owned());
    aws_lc_rs::rand::fill(&mut random).map_err(|_| failed())?;
    let text = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    text.parse().map_err(|_| failed())
}
