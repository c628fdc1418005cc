//! The inspection of a stored snapshot, as a stream of what it finds.
//!
//! It reads a whole snapshot when nobody waits for it, beside transfers that somebody does wait for: one at a time in a
//! gateway, one block at a time, and resting while transfers run. A queue of inspections was refused: who asks can ask
//! again. It ends when the caller goes away, and can be continued from where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::registry::Watch;
use super::{ReadPermit, TransferError, Transfers};
use crate::buffer::BlockBuffer;
use crate::image::{Damage, Inspection, SnapshotImage};

/// Inspections at once.
pub(super) const AT_ONCE: usize = 1;
/// Between two words of progress at most, while something is found to be sound.
const INTERVAL: Duration = Duration::from_millis(500);
/// How much longer it rests than it works while transfers run.
const REST: u32 = 3;

/// What an inspection tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Everything before `position` is done; `read` bytes were read.
    Progress { position: u64, read: u64 },
    /// These bytes are not provably what was committed.
    Damaged(Damage),
    /// The end: without it, the inspection was cut off.
    Done { read: u64, damaged: u64 },
}

/// What is found, as it is found.
pub type Findings = BoxStream<'static, Result<Finding, TransferError>>;

impl Transfers {
    /// Reads all that is stored of `image` from byte `from` on, and compares it with its tree.
    pub async fn inspect(
        &self,
        permit: ReadPermit,
        image: Arc<dyn SnapshotImage>,
        from: u64,
    ) -> Result<Findings, TransferError> {
        let only = Arc::clone(&self.inspections).try_acquire_owned().map_err(|_| TransferError::Inspecting)?;
        let size = image.record().size;
        let state = State {
            inspection: Inspection::begin(image, from).await?,
            buffer: self.read_pool.take().await,
            transfers: self.registry.watch(),
            waiting: Vec::new(),
            told: Instant::now(),
            position: from.min(size),
            size,
            read: 0,
            damaged: 0,
            ended: false,
            _permits: (permit, only),
        };
        Ok(stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|found| (found, state))) })
            .boxed())
    }
}

struct State {
    inspection: Inspection,
    buffer: BlockBuffer,
    transfers: Watch,
    /// Found and not told yet, the next one last.
    waiting: Vec<Damage>,
    told: Instant,
    position: u64,
    size: u64,
    read: u64,
    damaged: u64,
    ended: bool,
    _permits: (ReadPermit, OwnedSemaphorePermit),
}

impl State {
    async fn next(&mut self) -> Result<Option<Finding>, TransferError> {
        loop {
            if let Some(damage) = self.waiting.pop() {
                self.damaged += damage.bytes.end.saturating_sub(damage.bytes.start);
                return Ok(Some(Finding::Damaged(damage)));
            }
            if self.ended {
                return Ok(None);
            }
            if self.told.elapsed() >= INTERVAL {
                self.told = Instant::now();
                return Ok(Some(Finding::Progress { position: self.position, read: self.read }));
            }
            if !self.step().await? {
                self.ended = true;
                return Ok(Some(Finding::Done { read: self.read, damaged: self.damaged }));
            }
        }
    }

    /// Looks at one more block; `false` at the end.
    async fn step(&mut self) -> Result<bool, TransferError> {
        let began = Instant::now();
        let Some(looked) = self.inspection.next(&mut self.buffer).await? else {
            self.position = self.size;
            return Ok(false);
        };
        self.position = self.position.max(looked.bytes.end);
        if looked.read {
            self.read += looked.bytes.end.saturating_sub(looked.bytes.start);
        }
        self.waiting = looked.damaged;
        self.waiting.reverse();
        if self.transfers.is_idle() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(began.elapsed() * REST).await;
        }
        Ok(true)
    }
}
