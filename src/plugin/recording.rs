//! A record of what the policy decided, for rehearsing another one (`rsnap plugin replay`).
//!
//! Off unless the operator asks for it. A decision is never delayed by its record: lines go to a thread through a bounded
//! queue, and what does not fit is dropped and counted. The file is bounded too: full, it becomes `<file>.1`, and the one
//! that was there is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Plan, PluginError, Policy, PolicyRequest};
use crate::quantity::Bytes;

/// Lines that wait for the disk.
const QUEUE: usize = 256;
/// The version of [`Decided`] that is written.
pub(super) const VERSION: u32 = 1;

/// `[plugins.recording]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingConfig {
    /// Where decisions are written, one JSON object a line. Whoever reads it sees the names of volumes.
    pub file: PathBuf,
    /// Size at which the file becomes `<file>.1` and a new one is begun.
    #[serde(default = "default_size")]
    pub size: Bytes,
}

fn default_size() -> Bytes {
    Bytes::mib(64)
}

impl RecordingConfig {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        if self.file.as_os_str().is_empty() {
            faults.push("plugins.recording.file: must name a file".to_owned());
        }
        if self.size < Bytes::kib(64) {
            faults.push(format!("plugins.recording.size: must be at least 64KiB, not {}", self.size));
        }
    }
}

/// One line of a recording.
///
/// History of the format: 1, the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    pub(super) version: u32,
    /// RFC 3339.
    pub(super) time: String,
    /// The policy that decided, and the SHA-256 of its component.
    pub(super) policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    pub(super) request: PolicyRequest,
    /// What it decided; `None`: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<Plan>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Takes lines for the file. Cheap to clone; when the last one is dropped, what was taken is written.
#[derive(Debug, Clone)]
pub(super) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    /// Lines that were taken and are not written yet.
    waiting: Arc<AtomicU64>,
    dropped: AtomicU64,
}

impl Recorder {
    /// Opens the file for appending and starts the thread.
    pub(super) fn start(config: &RecordingConfig) -> io::Result<Self> {
        let mut log = Log::open(&config.file, config.size.0)?;
        let (queue, lines): (_, Receiver<String>) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicU64::new(0));
        let written = Arc::clone(&waiting);
        let write = move || {
            for line in lines {
                if let Err(error) = log.write(&line) {
                    tracing::warn!(file = %log.path.display(), %error, "record a decision");
                }
                written.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("rsnap-recording".to_owned()).spawn(write)?;
        let inner = Inner { queue: Some(queue), thread: Some(thread), waiting, dropped: AtomicU64::new(0) };
        Ok(Self(Arc::new(inner)))
    }

    fn take(&self, decided: &Decided) {
        let Ok(line) = serde_json::to_string(decided) else { return };
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        if self.0.queue.as_ref().is_some_and(|queue| queue.try_send(line).is_ok()) {
            return;
        }
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.0.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("record decisions: the disk does not keep up, some are left out");
        }
    }

    /// Lines that are not written yet.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to write.
            let _ = thread.join();
        }
        let dropped = *self.dropped.get_mut();
        if dropped > 0 {
            tracing::warn!(dropped, "record decisions: left out because the disk did not keep up");
        }
    }
}

/// A file that begins anew when it is full.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
}

impl Log {
    fn open(path: &Path, size_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, size_max })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.size > 0 && self.size + length > self.size_max {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            *self = Self::open(&self.path, self.size_max)?;
        }
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.size += length;
        Ok(())
    }
}

/// A policy whose decisions are recorded.
pub(super) struct Recorded {
    pub(super) policy: Arc<dyn Policy>,
    pub(super) sha256: Option<String>,
    pub(super) recorder: Recorder,
}

#[async_trait]
impl Policy for Recorded {
    fn name(&self) -> &str {
        self.policy.name()
    }

    async fn decide(&self, request: &PolicyRequest) -> Result<Plan, PluginError> {
        let decided = self.policy.decide(request).await;
        self.recorder.take(&Decided {
            version: VERSION,
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            policy: self.name().to_owned(),
            sha256: self.sha256.clone(),
            request: request.clone(),
            plan: decided.as_ref().ok().cloned(),
            error: decided.as_ref().err().map(ToString::to_string),
        });
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_begins_anew_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.jsonl");
        let mut log = Log::open(&path, 100).unwrap();
        for number in 0..25 {
            log.write(&format!("{number:>9}")).unwrap();
        }
        drop(log);
        let mut log = Log::open(&path, 100).unwrap();
        log.write("the last one").unwrap();
        let read = |path: &Path| {
            fs::read_to_string(path).unwrap().lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(read(&path), ["20", "21", "22", "23", "24", "the last one"]);
        assert_eq!(read(&folder.path().join("decisions.jsonl.1")).len(), 10);
    }

    #[test]
    fn limits_are_checked() {
        let mut faults = Vec::new();
        RecordingConfig { file: PathBuf::new(), size: Bytes(1) }.validate(&mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
