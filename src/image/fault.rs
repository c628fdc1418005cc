//! A decorator that makes any image store fail on demand.
//!
//! Errors of a storage come when nobody expects them, and never when a test needs one. Wrapped around a real store or
//! the model, this gives each operation the chosen error or delay at its nth call, before or after the real work: an
//! error after the work is the lost answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{
    Chain, Committed, Durable, ImageError, ImageStore, Mending, Sealed, SnapshotImage, SnapshotRecord, StageRequest,
    StagedImage,
};
use crate::buffer::BlockBuffer;
use crate::content::{GrainMap, Page, PageSink, PageSource};
use crate::id::{ImageName, SnapshotId};

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Chain,
    Confirm,
    Stage,
    Open,
    Mend,
    Delete,
    Deleted,
    FreeBytes,
    Read,
    Page,
    Write,
    Zero,
    Put,
    Flush,
    Commit,
}

/// Whether a fault strikes before the work is done, or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// What happens instead of a good answer.
pub enum Fault {
    /// The operation fails.
    Error(Box<dyn Fn() -> ImageError + Send + Sync>),
    /// The operation takes this much longer.
    Delay(Duration),
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(make) => write!(formatter, "Error({})", make()),
            Self::Delay(delay) => write!(formatter, "Delay({delay:?})"),
        }
    }
}

#[derive(Debug)]
struct Rule {
    operation: Operation,
    /// The call that the rule is about, from 1; `None`: every call.
    call: Option<u64>,
    moment: Moment,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Mutex<Vec<Arc<Rule>>>,
    calls: Mutex<HashMap<Operation, u64>>,
}

impl Plan {
    fn count(&self, operation: Operation) -> u64 {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(operation).or_default();
        *count += 1;
        *count
    }

    fn matching(&self, operation: Operation, call: u64, moment: Moment) -> Vec<Arc<Rule>> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let matches = |rule: &&Arc<Rule>| {
            rule.operation == operation && rule.moment == moment && rule.call.is_none_or(|wanted| wanted == call)
        };
        rules.iter().filter(matches).cloned().collect()
    }

    async fn strike(&self, operation: Operation, call: u64, moment: Moment) -> Result<(), ImageError> {
        for rule in self.matching(operation, call, moment) {
            match &rule.fault {
                Fault::Error(make) => return Err(make()),
                Fault::Delay(delay) => tokio::time::sleep(*delay).await,
            }
        }
        Ok(())
    }

    async fn around<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, ImageError>> + Send,
    ) -> Result<T, ImageError> {
        let call = self.count(operation);
        self.strike(operation, call, Moment::Before).await?;
        let result = work.await?;
        self.strike(operation, call, Moment::After).await?;
        Ok(result)
    }
}

/// An image store with faults.
#[derive(Debug, Clone)]
pub struct FaultStore {
    store: Arc<dyn ImageStore>,
    plan: Arc<Plan>,
}

impl FaultStore {
    /// A store that does what `store` does, until faults are added.
    #[must_use]
    pub fn new(store: Arc<dyn ImageStore>) -> Self {
        Self { store, plan: Arc::default() }
    }

    /// Adds a fault to the `call`th call (from 1, counted since the store was made) of an operation; `None`: to all.
    pub fn add(&self, operation: Operation, call: Option<u64>, moment: Moment, fault: Fault) {
        let rule = Arc::new(Rule { operation, call, moment, fault });
        self.plan.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.plan.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often an operation was called.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.plan.calls.lock().unwrap_or_else(PoisonError::into_inner).get(&operation).copied().unwrap_or_default()
    }
}

#[async_trait]
impl ImageStore for FaultStore {
    async fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        self.plan.around(Operation::Chain, self.store.chain(image)).await
    }

    async fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        self.plan.around(Operation::Confirm, self.store.confirm(image, snapshot)).await
    }

    async fn stage(&self, request: StageRequest) -> Result<Arc<dyn StagedImage>, ImageError> {
        let staged = self.plan.around(Operation::Stage, self.store.stage(request)).await?;
        Ok(Arc::new(FaultStaged { staged, plan: Arc::clone(&self.plan) }))
    }

    async fn open(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn SnapshotImage>, ImageError> {
        let opened = self.plan.around(Operation::Open, self.store.open(image, snapshot)).await?;
        Ok(Arc::new(FaultSnapshot { snapshot: opened, plan: Arc::clone(&self.plan) }))
    }

    async fn mend(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Arc<dyn Mending>, ImageError> {
        self.plan.around(Operation::Mend, self.store.mend(image, snapshot)).await
    }

    async fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        self.plan.around(Operation::Delete, self.store.delete(image, snapshot)).await
    }

    async fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        self.plan.around(Operation::Deleted, self.store.deleted(image, snapshot)).await
    }

    fn is_private(&self) -> bool {
        self.store.is_private()
    }

    async fn identity(&self) -> Result<Option<String>, ImageError> {
        self.store.identity().await
    }

    async fn sweep(&self) -> Result<u64, ImageError> {
        self.store.sweep().await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.plan.around(Operation::FreeBytes, self.store.free_bytes()).await
    }
}

#[derive(Debug)]
struct FaultSnapshot {
    snapshot: Arc<dyn SnapshotImage>,
    plan: Arc<Plan>,
}

#[async_trait]
impl PageSource for FaultSnapshot {
    type Error = ImageError;
    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        self.plan.around(Operation::Page, self.snapshot.page(level, index)).await
    }
}

#[async_trait]
impl SnapshotImage for FaultSnapshot {
    fn record(&self) -> &SnapshotRecord {
        self.snapshot.record()
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        self.plan.around(Operation::Read, self.snapshot.read(block, wanted, buffer)).await
    }
}

#[derive(Debug)]
struct FaultStaged {
    staged: Arc<dyn StagedImage>,
    plan: Arc<Plan>,
}

#[async_trait]
impl PageSink for FaultStaged {
    type Error = ImageError;
    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.plan.around(Operation::Put, self.staged.put(level, index, page)).await
    }
}

#[async_trait]
impl StagedImage for FaultStaged {
    fn appetite(&self) -> usize {
        self.staged.appetite()
    }

    fn size(&self) -> u64 {
        self.staged.size()
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let snapshot = self.staged.base()?;
        Some(Arc::new(FaultSnapshot { snapshot, plan: Arc::clone(&self.plan) }))
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        self.plan.around(Operation::Write, self.staged.write(block, present, buffer)).await
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        self.plan.around(Operation::Zero, self.staged.zero(block, present)).await
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.plan.around(Operation::Flush, self.staged.flush()).await
    }

    async fn commit(&self, durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        self.plan.around(Operation::Commit, self.staged.commit(durable, sealed)).await
    }

    async fn abort(&self) {
        self.staged.abort().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::MemoryStore;
    use crate::image::cases::{Bench, image, run_cases};

    run_cases!(Bench::new(Arc::new(FaultStore::new(Arc::new(MemoryStore::new()))), None));

    fn full() -> Fault {
        Fault::Error(Box::new(|| ImageError::Full { detail: "on demand".to_owned() }))
    }

    #[tokio::test]
    async fn the_chosen_call_fails_and_no_other() {
        let store = FaultStore::new(Arc::new(MemoryStore::new()));
        store.add(Operation::Chain, Some(2), Moment::Before, full());
        assert!(store.chain(&image()).await.is_ok());
        assert!(matches!(store.chain(&image()).await, Err(ImageError::Full { .. })));
        assert!(store.chain(&image()).await.is_ok());
        assert_eq!(store.calls(Operation::Chain), 3);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_work_done() {
        let store = FaultStore::new(Arc::new(MemoryStore::new()));
        let unsure = || ImageError::Unsure { detail: "on demand".to_owned() };
        store.add(Operation::Commit, None, Moment::After, Fault::Error(Box::new(unsure)));
        let bench = Bench::new(Arc::new(store.clone()), None);
        assert!(matches!(bench.put(1, None, &[1; 100]).await, Err(ImageError::Unsure { .. })));
        store.heal();
        assert!(matches!(bench.put(1, None, &[1; 100]).await, Ok(Committed::Already(_))));
    }

    #[tokio::test]
    async fn a_delay_only_takes_time() {
        let store = FaultStore::new(Arc::new(MemoryStore::new()));
        store.add(Operation::FreeBytes, None, Moment::Before, Fault::Delay(Duration::from_millis(40)));
        let start = tokio::time::Instant::now();
        assert!(store.free_bytes().await.is_ok());
        assert!(start.elapsed() >= Duration::from_millis(40));
    }
}
