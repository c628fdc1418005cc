//! How much of a piece may be lost: what was received and is not durable yet.
//!
//! Making progress durable costs some syncs, so it runs beside the reception, begins when half a window has come since
//! the last time, and is waited for only when the window is full. Doing it after each block was refused: a disk that
//! syncs in 10 ms would take 100 MB/s at most.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::open::OpenUpload;
use crate::image::Ingest;
use crate::transfer::TransferError;

/// Bytes received that may be lost.
const WINDOW: u64 = 8 << 20;
/// A slow sender's bytes wait no longer than this.
const PAUSE: Duration = Duration::from_secs(2);

/// Watches over one piece. All numbers but positions count bytes received.
pub(super) struct Window {
    open: Arc<OpenUpload>,
    /// What of the piece may count now.
    range: Range<u64>,
    /// Positions in the image that the storage has not taken, with what was received until there.
    passed: VecDeque<(u64, u64)>,
    received: u64,
    /// What the storage has taken.
    taken: u64,
    /// What is durable, or will be when `marking` ends.
    asked: u64,
    durable: u64,
    marking: Option<JoinHandle<Result<(), TransferError>>>,
    since: Instant,
}

impl Window {
    /// Only the bytes in `range` may count before the piece has ended.
    pub(super) fn new(open: Arc<OpenUpload>, range: Range<u64>) -> Self {
        let (passed, since) = (VecDeque::new(), Instant::now());
        Self { open, range, passed, received: 0, taken: 0, asked: 0, durable: 0, marking: None, since }
    }

    /// `bytes` more were received, and all before `position` of the image is with `ingest`. Waits while more is at risk
    /// than may be.
    pub(super) async fn advance(
        &mut self,
        bytes: u64,
        position: u64,
        ingest: &mut Ingest,
    ) -> Result<(), TransferError> {
        self.received += bytes;
        match self.passed.back_mut() {
            Some((there, received)) if *there == position => *received = self.received,
            _ => self.passed.push_back((position, self.received)),
        }
        loop {
            self.look(ingest).await?;
            if self.received - self.durable <= WINDOW {
                return Ok(());
            }
            if self.marking.is_some() {
                self.end().await?;
            } else if self.taken > self.asked {
                self.begin();
            } else if ingest.is_at_work() {
                self.open.guard(ingest.take_one().await)?;
            } else {
                // All that is at risk belongs to one block, which is not whole yet.
                return Ok(());
            }
        }
    }

    /// Begins to make progress durable where it is time, and sees whether that has ended.
    pub(super) async fn look(&mut self, ingest: &mut Ingest) -> Result<(), TransferError> {
        let position = self.open.guard(ingest.taken().await)?.min(self.range.end);
        if position > self.range.start {
            self.open.take(self.range.start..position);
        }
        while let Some((_, received)) = self.passed.front().filter(|(there, _)| *there <= position) {
            self.taken = *received;
            self.passed.pop_front();
        }
        if self.marking.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end().await?;
        }
        let waits = self.taken - self.asked;
        if self.marking.is_none() && (waits >= WINDOW / 2 || waits > 0 && self.since.elapsed() > PAUSE) {
            self.begin();
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.asked = self.taken;
        self.since = Instant::now();
        let open = Arc::clone(&self.open);
        self.marking = Some(tokio::spawn(async move { open.mark().await }));
    }

    /// Waits until what was asked for is durable.
    pub(super) async fn end(&mut self) -> Result<(), TransferError> {
        let Some(marking) = self.marking.take() else { return Ok(()) };
        marking.await.map_err(|crash| TransferError::Internal(crash.to_string()))??;
        self.durable = self.asked;
        Ok(())
    }
}
