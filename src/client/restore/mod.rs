//! Bringing a snapshot back: into a file, onto a block device, into a pipe.
//!
//! An image travels as an rbd-diff, so that holes cost nothing; after a cut the rest is asked for as a range of the
//! raw image, so that what has arrived is never sent twice. A file appears under its name only when its content root
//! is the one that the gateway recorded at commit; what goes into a device or a pipe cannot be taken back, so there a
//! wrong root is an error at the end.

mod device;
mod diff;
mod image;
mod output;
mod pour;
mod staged;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{ACCEPT, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use diff::DiffSink;
use image::{ImageSink, Mode};
use output::Output;
use pour::{Sink, pour};

use super::answer::Answer;
use super::gateway::snapshot_path;
use super::progress::telling;
use super::send::next_wait;
use super::{ClientError, Event, Gateway, Meter, Permission, Reporter, Stage};
use crate::api::{CONTENT_ROOT, RBD_DIFF, SnapshotAnswer};
use crate::id::{SnapshotId, VolumeId};
use crate::retry::Backoff;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The image.
    Raw,
    /// The stream that `rbd import-diff` reads, full or since a base of the same volume.
    RbdDiff { base: Option<SnapshotId> },
}

/// Where it goes.
pub enum Destination {
    /// A regular file; an existing one is replaced only if `replace`.
    File { path: PathBuf, replace: bool },
    /// A block device that is large enough; it is overwritten in place.
    Device(PathBuf),
    /// A pipe.
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } | Self::Device(path) => write!(formatter, "{}", path.display()),
            Self::Stream(_) => formatter.write_str("a pipe"),
        }
    }
}

/// One snapshot to be brought back.
#[derive(Debug)]
pub struct Restore {
    pub gateway: Gateway,
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    pub shape: Shape,
    pub backoff: Backoff,
}

/// How it ended well.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Restored {
    #[serde(flatten)]
    pub snapshot: SnapshotAnswer,
    /// Bytes that went over the network.
    pub moved: u64,
    /// Whether the content root was computed and compared: not for an incremental stream.
    pub verified: bool,
}

/// Restores, with retries.
pub async fn restore(
    job: &Restore,
    destination: Destination,
    reporter: &dyn Reporter,
) -> Result<Restored, ClientError> {
    let wanted = job.gateway.find(&job.volume, &job.snapshot).await?;
    let meter = Arc::new(Meter::default());
    let output = Output::open(destination, wanted.size)?;
    let _leftover = output.leftover();
    let mut sink = job.sink(&wanted, output, &meter)?;
    let mut retry = 0;
    loop {
        let name = wanted.snapshot.as_str();
        let attempt = job.attempt(&wanted, sink, &meter);
        let (returned, result) = telling(reporter, Stage::Restoring, name, wanted.size, &meter, attempt).await?;
        let error = match result {
            Ok(()) => return finish(job, returned, wanted, &meter).await,
            Err(error) => error,
        };
        retry += 1;
        let wait = if returned.can_go_on() { next_wait(&error, job.backoff, retry) } else { None };
        let Some(wait) = wait else { return Err(error) };
        let retries = job.backoff.retries;
        reporter.tell(&Event::Retry { retry, retries, wait, error: error.to_string() });
        tokio::time::sleep(wait).await;
        sink = returned;
    }
}

async fn finish(
    job: &Restore,
    sink: Box<dyn Sink>,
    snapshot: SnapshotAnswer,
    meter: &Meter,
) -> Result<Restored, ClientError> {
    super::thread::on_thread("restore", move || sink.finish()).await??;
    let verified = !matches!(job.shape, Shape::RbdDiff { base: Some(_) });
    Ok(Restored { snapshot, moved: meter.moved(), verified })
}

impl Restore {
    fn sink(&self, wanted: &SnapshotAnswer, output: Output, meter: &Arc<Meter>) -> Result<Box<dyn Sink>, ClientError> {
        let root = wanted.root.parse().map_err(|fault| ClientError::Protocol(format!("its root: {fault}")))?;
        Ok(match &self.shape {
            Shape::Raw => Box::new(ImageSink::new(output, wanted.size, root, Arc::clone(meter))),
            Shape::RbdDiff { base } => {
                let root = base.is_none().then_some(root);
                Box::new(DiffSink::new(output, wanted.size, root, Arc::clone(meter)))
            }
        })
    }

    /// One GET. Gives the sink back with how it went; fails only when the sink itself is lost.
    async fn attempt(
        &self,
        wanted: &SnapshotAnswer,
        mut sink: Box<dyn Sink>,
        meter: &Arc<Meter>,
    ) -> Result<(Box<dyn Sink>, Result<(), ClientError>), ClientError> {
        let Some(from) = sink.missing() else { return Ok((sink, Ok(()))) };
        let asked = async {
            let answer = self.ask(wanted, from).await?;
            check_root(&answer, wanted)?;
            sink.expect(self.mode(&answer, from)?);
            Ok(answer)
        };
        match asked.await {
            Ok(answer) => pour(answer, sink, Arc::clone(meter)).await,
            Err(error) => Ok((sink, Err(error))),
        }
    }

    async fn ask(&self, wanted: &SnapshotAnswer, from: u64) -> Result<Answer, ClientError> {
        let wish =
            Permission { volume: self.volume.clone(), snapshots: vec![self.snapshot.clone()], size: wanted.size };
        let ticketed = self.gateway.ticket(&wish).await?;
        let mut headers = HeaderMap::new();
        let mut path = snapshot_path(&self.volume, &self.snapshot);
        if from == 0 {
            headers.insert(ACCEPT, HeaderValue::from_static(RBD_DIFF));
        } else {
            headers.insert(RANGE, text(&format!("bytes={from}-"))?);
        }
        if let Shape::RbdDiff { base: Some(base) } = &self.shape {
            path = format!("{path}?base={base}");
        }
        ticketed.gateway.get(&path, headers).await?.success().await
    }

    fn mode(&self, answer: &Answer, from: u64) -> Result<Mode, ClientError> {
        match (from, answer.status()) {
            (0, StatusCode::OK) => Ok(Mode::diff()),
            (_, StatusCode::PARTIAL_CONTENT) => Ok(Mode::Raw { at: from }),
            (_, StatusCode::OK) => Ok(Mode::Raw { at: 0 }),
            (_, status) => Err(ClientError::Protocol(format!("status {status} to a request for a snapshot"))),
        }
    }
}

fn text(text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(text).map_err(|fault| ClientError::Usage(fault.to_string()))
}

/// What is about to be sent must be what the chain listed.
fn check_root(answer: &Answer, wanted: &SnapshotAnswer) -> Result<(), ClientError> {
    match answer.header(CONTENT_ROOT) {
        Some(root) if root != wanted.root => Err(ClientError::Integrity {
            what: "the gateway sends another content than its chain lists",
            expected: wanted.root.clone(),
            actual: root.to_owned(),
        }),
        _ => Ok(()),
    }
}
