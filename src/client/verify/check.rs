//! A gateway reads what it has stored again, and tells what is damaged.

use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderMap;
use serde::Serialize;

use super::{Damage, Extents, Held, Side};
use crate::api::{CheckLine, SnapshotAnswer};
use crate::client::gateway::snapshot_path;
use crate::client::progress::telling;
use crate::client::send::next_wait;
use crate::client::{ClientError, Event, Meter, Permission, Reporter, Stage};
use crate::retry::Backoff;

/// Longest line of an answer, in bytes.
const LINE: usize = 64 << 10;

/// What a gateway found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub intact: bool,
    #[serde(flatten)]
    pub side: Side,
    /// Bytes that the gateway read.
    pub read: u64,
    /// What is damaged.
    #[serde(flatten)]
    pub extents: Extents,
}

/// A check on its way.
struct Run {
    meter: Arc<Meter>,
    extents: Extents,
    /// Everything before is done.
    position: u64,
    /// Read by tries that were cut off, and by this one.
    read: (u64, u64),
}

/// Lets the gateway check what it holds, and again from where it was when it is cut off.
/// At most `limit` damaged extents are listed.
pub async fn check(
    held: &Held,
    limit: usize,
    backoff: Backoff,
    reporter: &dyn Reporter,
) -> Result<Checked, ClientError> {
    let record = held.gateway.find(&held.volume, &held.snapshot).await?;
    let meter = Arc::new(Meter::default());
    let mut run = Run { meter: Arc::clone(&meter), extents: Extents::up_to(limit), position: 0, read: (0, 0) };
    let mut retry = 0;
    loop {
        let (name, before) = (held.snapshot.as_str(), run.position);
        let asked = run.ask(held, &record);
        let Err(error) = telling(reporter, Stage::Checking, name, record.size, &meter, asked).await else { break };
        run.read = (run.read.0 + run.read.1, 0);
        retry = if run.position > before { 1 } else { retry + 1 };
        let Some(wait) = next_wait(&error, backoff, retry) else { return Err(error) };
        let retries = backoff.retries;
        reporter.tell(&Event::Retry { retry, retries, wait, error: error.to_string() });
        tokio::time::sleep(wait).await;
    }
    let side = Side { name: held.name(), size: record.size, root: record.root };
    Ok(Checked { intact: run.extents.count == 0, side, read: run.read.0 + run.read.1, extents: run.extents })
}

impl Run {
    /// One request, to the end of its answer.
    async fn ask(&mut self, held: &Held, record: &SnapshotAnswer) -> Result<(), ClientError> {
        let (volume, snapshots) = (held.volume.clone(), vec![held.snapshot.clone()]);
        let ticketed = held.gateway.ticket(&Permission { volume, snapshots, size: record.size }).await?;
        let path = format!("{}/check?from={}", snapshot_path(&held.volume, &held.snapshot), self.position);
        let mut answer = ticketed.gateway.get(&path, HeaderMap::new()).await?.success().await?;
        let mut waiting = BytesMut::new();
        while let Some(bytes) = answer.next().await? {
            self.meter.count(bytes.len() as u64);
            waiting.extend_from_slice(&bytes);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let line = waiting.split_to(end + 1);
                let line = serde_json::from_slice(&line).map_err(|fault| ClientError::Protocol(fault.to_string()))?;
                if self.take(line) {
                    return Ok(());
                }
            }
            if waiting.len() > LINE {
                return Err(ClientError::Protocol(format!("a line is longer than {LINE} bytes")));
            }
        }
        Err(ClientError::Cut("the check ended before its end".to_owned()))
    }

    /// `true` at the end.
    fn take(&mut self, line: CheckLine) -> bool {
        match line {
            CheckLine::Progress { position, read } => {
                self.position = self.position.max(position);
                self.read.1 = read;
                self.meter.reach(self.position);
                false
            }
            CheckLine::Damaged { offset, length, detail, mendable } => {
                // What was told before a cut is told again after it.
                if offset >= self.position {
                    self.extents.add(offset..offset.saturating_add(length), Some(Damage { detail, mendable }));
                    self.position = offset.saturating_add(length);
                }
                false
            }
            CheckLine::Done { read, .. } => {
                self.read.1 = read;
                self.meter.reach(u64::MAX);
                true
            }
        }
    }
}
