//! What a running operation tells, without knowing who listens: a terminal, a log, a program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

impl Meter {
    /// Everything before `position` (in bytes of the image) is done.
    pub fn reach(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
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
    },
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
    let mut work = std::pin::pin!(work);
    loop {
        reporter.tell(&Event::Progress {
            stage,
            snapshot: snapshot.to_owned(),
            position: meter.position.load(Ordering::Relaxed).min(size),
            size,
            moved: meter.moved(),
        });
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return done;
        }
    }
}
