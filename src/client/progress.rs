//! What a running operation tells, without knowing who listens: a terminal, a log, a program.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::api::{PlanAnswer, SnapshotAnswer};

/// How often progress is told while an operation runs.
const TICK: Duration = Duration::from_millis(200);

/// What an operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reads a base, or what the gateway seems to have already, to prove its content.
    Proving,
    Sending,
    Restoring,
    /// Descends two content trees where they differ.
    Comparing,
    /// The gateway reads what it has stored again.
    Checking,
    /// Damaged bytes are sent again.
    Repairing,
}

/// Counters of one stage, written by whoever moves the bytes.
#[derive(Debug, Default)]
pub struct Meter {
    position: AtomicU64,
    moved: AtomicU64,
    /// Positions, with what had moved when they were reached; where somebody will ask.
    trace: Option<Mutex<VecDeque<(u64, u64)>>>,
}

impl Meter {
    /// Everything before `position` (in bytes of the image) is done.
    pub fn reach(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).push_back((position, self.moved()));
        }
    }

    pub(super) fn trace(&self) -> VecDeque<(u64, u64)> {
        self.trace
            .as_ref()
            .map(|trace| trace.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    /// `bytes` more went over the network, or through memory where there is no network.
    pub fn count(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that went over the network.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}

/// The counters of pieces that are sent at once.
#[derive(Debug)]
pub(super) struct Streams {
    /// Bytes of the image that were there before.
    before: u64,
    /// With the place where each began.
    meters: Mutex<Vec<(u64, Arc<Meter>)>>,
}

impl Streams {
    pub(super) fn new(before: u64) -> Self {
        Self { before, meters: Mutex::default() }
    }

    /// A piece begins at `start`.
    pub(super) fn begin(&self, start: u64) -> Arc<Meter> {
        let meter = Meter { position: AtomicU64::new(start), trace: Some(Mutex::default()), ..Meter::default() };
        let meter = Arc::new(meter);
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).push((start, Arc::clone(&meter)));
        meter
    }

    pub(super) fn moved(&self) -> u64 {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, meter)| meter.moved()).sum()
    }

    fn position(&self) -> u64 {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let done = |(start, meter): &(u64, Arc<Meter>)| meter.position.load(Ordering::Relaxed).saturating_sub(*start);
        self.before + meters.iter().map(done).sum::<u64>()
    }
}

/// Something worth telling.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// What the gateway decided.
    Plan {
        server: String,
        #[serde(flatten)]
        answer: PlanAnswer,
    },
    /// What differs from a snapshot of the gateway is sent.
    Rebase {
        /// The gateway's snapshot.
        base: String,
        /// Bytes that a full copy would send.
        full: u64,
    },
    /// A stage has begun or goes on; several times a second.
    Progress {
        stage: Stage,
        /// The snapshot that it is about.
        snapshot: String,
        /// Bytes of the image that are done.
        position: u64,
        /// Bytes of the image.
        size: u64,
        /// Bytes that went over the network.
        moved: u64,
    },
    /// A try failed and another one follows.
    Retry {
        retry: u32,
        retries: u32,
        #[serde(rename = "wait_seconds", serialize_with = "seconds")]
        wait: Duration,
        error: String,
    },
    /// Something that changes nothing and that the user should know.
    Note { text: String },
}

fn seconds<S: serde::Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(wait.as_secs_f64())
}

/// Listens to an operation. Called on the async runtime: must not block for long.
pub trait Reporter: Send + Sync {
    fn tell(&self, event: &Event);
}

/// How a send ended well.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// The gateway had it already.
    Present { volume: String, snapshots: Vec<String>, reason: String },
    /// It is committed there now.
    Committed {
        snapshots: Vec<SnapshotAnswer>,
        /// Bytes that went over the network.
        moved: u64,
        /// Of these, what went a second time: it was not durable when a connection or a gateway was lost.
        again: u64,
    },
}

/// As [`telling`], for pieces.
pub(super) async fn telling_streams<T>(
    reporter: &dyn Reporter,
    stage: Stage,
    snapshot: &str,
    size: u64,
    streams: &Streams,
    work: impl Future<Output = T>,
) -> T {
    let state = || (streams.position(), streams.moved());
    telling_state(reporter, stage, snapshot, size, state, work).await
}

/// Runs `work` and tells its progress meanwhile.
pub(super) async fn telling<T>(
    reporter: &dyn Reporter,
    stage: Stage,
    snapshot: &str,
    size: u64,
    meter: &Arc<Meter>,
    work: impl Future<Output = T>,
) -> T {
    let state = || (meter.position.load(Ordering::Relaxed), meter.moved());
    telling_state(reporter, stage, snapshot, size, state, work).await
}

async fn telling_state<T>(
    reporter: &dyn Reporter,
    stage: Stage,
    snapshot: &str,
    size: u64,
    state: impl Fn() -> (u64, u64),
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        let (position, moved) = state();
        let (snapshot, position) = (snapshot.to_owned(), position.min(size));
        reporter.tell(&Event::Progress { stage, snapshot, position, size, moved });
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return done;
        }
    }
}
