//! Sending what differs from a snapshot that only the gateway has.
//!
//! The base of an increment must be on both sides; when it was deleted here, or somebody wrote to one side alone, a full
//! copy used to be the way out. But the gateway has a tree of what it holds, and the image here is read once for its own:
//! where they differ is what must be sent. It is found while it is sent, so nothing is kept of it. The root of the tree
//! goes with the body: if the image was changed after it was built, the gateway commits nothing.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::Run;
use super::material::Choice;
use super::rbd::runs;
use super::records::Records;
use super::writer::{Halt, StreamWriter};
use crate::api::PlanAnswer;
use crate::client::progress::telling;
use crate::client::thread::on_thread;
use crate::client::tree::{Difference, LocalTree, RemoteTree, Tree as _};
use crate::client::{ClientError, Event, Meter, Reporter, Stage};
use crate::content::{BLOCK_BYTES, Root};

impl Run<'_> {
    /// Makes ready to send what differs from the base of the plan.
    pub(super) async fn rebase(&mut self, plan: &PlanAnswer) -> Result<Choice, ClientError> {
        let base = plan.base.clone().ok_or_else(|| ClientError::Protocol("the plan names no base".to_owned()))?;
        let fault = |fault: crate::id::NameError| ClientError::Protocol(format!("the plan's base: {fault}"));
        let snapshot = base.snapshot.parse().map_err(fault)?;
        let (gateway, volume) = (self.job.gateway.clone(), self.job.volume.clone());
        let target = RemoteTree::open(gateway, volume, snapshot, self.job.backoff, Arc::default()).await?;
        if target.root().to_string() != base.root {
            return Err(ClientError::Protocol("the plan's base is another snapshot than the chain lists".to_owned()));
        }
        self.job.material.rebase(target, self.reporter).await?;
        Ok(Choice::Rebase(base))
    }
}

/// A source and what it is compared with.
#[derive(Debug, Clone)]
pub(super) struct Rebase {
    target: Arc<RemoteTree>,
    source: Arc<LocalTree>,
}

impl Rebase {
    /// Builds the tree of the source, unless it is `known` from a try before.
    pub(super) async fn prepare(
        target: RemoteTree,
        known: Option<Self>,
        reporter: &dyn Reporter,
        build: impl FnOnce(&Meter) -> Result<LocalTree, ClientError> + Send + 'static,
    ) -> Result<Self, ClientError> {
        let target = Arc::new(target);
        if let Some(Self { source, .. }) = known {
            return Ok(Self { target, source });
        }
        let meter = Arc::new(Meter::default());
        let counted = Arc::clone(&meter);
        let name = target.snapshot().to_owned();
        let work = on_thread("proof", move || build(&counted));
        let source = telling(reporter, Stage::Comparing, &name, target.size(), &meter, work).await??;
        reporter.tell(&Event::Rebase { base: name, full: source.data() });
        Ok(Self { target, source: Arc::new(source) })
    }

    pub(super) fn root(&self) -> Root {
        self.source.root()
    }

    /// Writes all that differs; `read` gives bytes of the source.
    pub(super) fn pour(
        &self,
        read: impl Fn(u64, u64) -> Result<Bytes, ClientError>,
        mut records: Records,
        writer: &mut StreamWriter,
    ) -> Result<Records, Halt> {
        let runtime = Handle::current();
        let mut difference = Difference::new(Some(&*self.target), &*self.source);
        while let Some((found, position)) = runtime.block_on(difference.next())? {
            for range in found {
                self.range(range.start, range.end.min(self.source.size()), &read, &mut records, writer)?;
            }
            records.breathe(position.min(self.source.size()), writer)?;
            writer.reach(position);
        }
        Ok(records)
    }

    /// One range, block by block; it begins with a leaf.
    fn range(
        &self,
        mut offset: u64,
        end: u64,
        read: impl Fn(u64, u64) -> Result<Bytes, ClientError>,
        records: &mut Records,
        writer: &mut StreamWriter,
    ) -> Result<(), Halt> {
        let block = BLOCK_BYTES as u64;
        while offset < end {
            let until = ((offset / block + 1) * block).min(end);
            let bytes = read(offset, until - offset)?;
            for (run, is_zero) in runs(&bytes) {
                let at = offset + run.start as u64;
                match is_zero {
                    true => records.zero(at, run.len() as u64, writer)?,
                    false => records.data(at, bytes.slice(run), writer)?,
                }
            }
            offset = until;
            writer.reach(offset);
        }
        Ok(())
    }
}
