//! Sending a snapshot: ask where to, ask what, send, prove, and try again where that can help.
//!
//! Every try begins with `GET /server` and a plan: the gateway may be another one, and after an answer that got lost
//! the plan says that the snapshot is there. Only committed snapshots exist for a plan, so nothing is ever continued
//! from a guess.

mod attempt;
mod comparison;
mod image;
mod material;
mod packing;
mod prove;
mod rbd;
mod rebase;
mod records;
mod stream;
#[cfg(test)]
mod tests;
mod upload;
mod writer;

pub use image::{Base, Image};
pub use material::Material;
pub use packing::Compress;
pub use rbd::{RbdBase, RbdImage};
pub use stream::{KnownBase, PassThrough};

use std::time::Duration;

use material::Choice;

use super::{ClientError, Event, Gateway, Heal, Outcome, Permission, Reporter, Ticketed};
use crate::api::{Action, PlanAnswer, PlanRequest, SourceSnapshot};
use crate::content::Root;
use crate::id::{SnapshotId, VolumeId};
use crate::retry::Backoff;

/// One snapshot (or one chain) to be sent.
#[derive(Debug)]
pub struct Job {
    /// The gateway that is asked for a gateway.
    pub gateway: Gateway,
    /// The target's volume.
    pub volume: VolumeId,
    /// The target's ids, oldest first; one but for a chain stream.
    pub snapshots: Vec<SnapshotId>,
    /// The source's id of the volume.
    pub source_volume: Option<String>,
    /// The source's id of the wanted snapshot.
    pub source_snapshot: String,
    /// What is sent.
    pub material: Box<dyn Material>,
    pub backoff: Backoff,
    /// How many connections at once; chosen from the round-trip time when not given.
    pub streams: Option<usize>,
    pub compress: Compress,
}

/// A job that runs.
struct Run<'a> {
    job: &'a mut Job,
    reporter: &'a dyn Reporter,
    /// The root of what was sent, once all of it has been read.
    root: Option<Root>,
    /// A try has sent the whole stream, to its end marker: a snapshot that is there after it is this one.
    sent: bool,
    /// What is known of the upload.
    memory: upload::Memory,
}

/// Sends, with retries.
pub async fn send(job: &mut Job, reporter: &dyn Reporter) -> Result<Outcome, ClientError> {
    job.material.prepare(reporter).await?;
    let mut run = Run { job, reporter, root: None, sent: false, memory: upload::Memory::default() };
    let mut retry = 0;
    loop {
        let error = match run.attempt().await {
            Ok(outcome) => return Ok(outcome),
            Err(error) if run.unpack_after(&error) => continue,
            Err(error) => error,
        };
        if run.memory.take_progress() {
            // Only tries that bring nothing are counted.
            retry = 0;
        }
        retry += 1;
        let Some(wait) = next_wait(&error, run.job.backoff, retry) else { return Err(error) };
        let retries = run.job.backoff.retries;
        reporter.tell(&Event::Retry { retry, retries, wait, error: error.to_string() });
        tokio::time::sleep(wait).await;
        run.job.material.remember(error);
    }
}

/// Asks for the plan only.
pub async fn plan(job: &mut Job, reporter: &dyn Reporter) -> Result<PlanAnswer, ClientError> {
    if !job.material.is_planned() {
        return Err(ClientError::Usage("there is no plan for a whole chain: it is always sent in full".to_owned()));
    }
    job.material.prepare(reporter).await?;
    let mut run = Run { job, reporter, root: None, sent: false, memory: upload::Memory::default() };
    let ticketed = run.ticket().await?;
    run.plan(&ticketed).await
}

/// How long to wait before the next try; `None` when there is none.
pub(super) fn next_wait(error: &ClientError, backoff: Backoff, retry: u32) -> Option<Duration> {
    let asked = match error.heal() {
        Heal::Never => return None,
        Heal::Later => None,
        Heal::After(wait) => Some(wait),
    };
    backoff.wait(retry, spread(), asked)
}

/// A random number in 0..1, so that senders do not come back together.
fn spread() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

impl Run<'_> {
    async fn ticket(&self) -> Result<Ticketed, ClientError> {
        let job = &*self.job;
        let wish =
            Permission { volume: job.volume.clone(), snapshots: job.snapshots.clone(), size: job.material.size() };
        job.gateway.ticket(&wish).await
    }

    /// The plan. Equal names prove nothing: what the gateway takes for present before it knows our content is read and
    /// asked for again with its root.
    async fn plan(&mut self, ticketed: &Ticketed) -> Result<PlanAnswer, ClientError> {
        let plan = self.ask(ticketed).await?;
        if plan.action != Action::Present || plan.proven || self.root.is_some() {
            return Ok(plan);
        }
        let name = self.job.snapshot()?.to_string();
        self.root = self.job.material.prove(&name, self.reporter).await?;
        if self.root.is_some() { self.ask(ticketed).await } else { Ok(plan) }
    }

    async fn ask(&self, ticketed: &Ticketed) -> Result<PlanAnswer, ClientError> {
        let job = &*self.job;
        let wanted = SourceSnapshot {
            id: job.source_snapshot.clone(),
            size: job.material.size(),
            root: self.root.map(|root| root.to_string()),
            mark: job.material.mark(),
        };
        let mut chain = job.material.bases();
        // The wanted one may be told under the name of another: the gateway would compare the wrong one.
        chain.retain(|base| base.id != wanted.id);
        chain.push(wanted);
        let request = PlanRequest {
            source_volume: job.source_volume.clone(),
            wanted: job.source_snapshot.clone(),
            chain,
            rebase: job.material.can_rebase(),
        };
        let snapshot = job.snapshot()?;
        ticketed.gateway.plan(&job.volume, snapshot, &request).await
    }

    async fn attempt(&mut self) -> Result<Outcome, ClientError> {
        let ticketed = self.ticket().await?;
        let choice = if self.job.material.is_planned() {
            let plan = self.plan(&ticketed).await?;
            self.reporter.tell(&Event::Plan { server: ticketed.server.clone(), answer: plan.clone() });
            match plan.action {
                Action::Present if plan.proven || self.root.is_some() || self.sent => return Ok(self.present(plan)),
                Action::Rebase => self.rebase(&plan).await?,
                Action::Refused => return Err(ClientError::Plan(format!("the gateway refuses: {}", plan.reason))),
                // Present by its name alone: the stream is sent, and the gateway compares the content.
                Action::Present | Action::Full | Action::Incremental => self.job.material.choose(&plan)?,
            }
        } else {
            Choice::Full
        };
        if let Some(pieces) = self.pieces(&choice)?
            && let Some(outcome) = self.upload(&ticketed, &choice, pieces).await?
        {
            return Ok(outcome);
        }
        self.transmit(&ticketed, choice).await
    }

    /// What can be sent in pieces, where that saves anything.
    fn pieces(&self, choice: &Choice) -> Result<Option<std::sync::Arc<dyn material::Pieces>>, ClientError> {
        let material = &self.job.material;
        // What a rebase sends is found by descending two trees, in one order.
        if matches!(choice, Choice::Rebase(_)) {
            return Ok(None);
        }
        if !material.is_planned() || material.size() <= upload::WINDOW || self.memory.is_refused() {
            return Ok(None);
        }
        material.pieces(choice, &self.job.source_snapshot)
    }

    fn present(&self, plan: PlanAnswer) -> Outcome {
        Outcome::Present {
            volume: self.job.volume.to_string(),
            snapshots: self.job.snapshots.iter().map(SnapshotId::to_string).collect(),
            reason: plan.reason,
        }
    }
}

impl Job {
    /// The wanted snapshot; of a chain, the newest.
    fn snapshot(&self) -> Result<&SnapshotId, ClientError> {
        self.snapshots.last().ok_or_else(|| ClientError::Usage("--snapshot names no snapshot".to_owned()))
    }
}
