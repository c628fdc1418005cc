//! What another policy would have decided: a recording, asked once more.

use std::fmt;
use std::io::{BufRead, Read};
use std::sync::Arc;

use serde::Serialize;

use super::cost;
use crate::plugin::recording::{Decided, VERSION};
use crate::plugin::{Decision, Plan, Policy};

/// Longest line that is read: a decision over two chains as long as a request may have them.
const LINE_MAX: u64 = 256 << 20;

/// A decision that would be another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// In the recording.
    pub line: u64,
    /// When it was decided, RFC 3339.
    pub time: String,
    pub volume: String,
    pub snapshot: String,
    pub before: Side,
    pub after: Side,
}

/// One of the two decisions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// `None`: the policy failed.
    pub decision: Option<Decision>,
    /// The policy's reason, or why it failed.
    pub reason: String,
    /// Bytes that the source has to send, estimated; `None`: nothing is known.
    pub bytes: Option<u64>,
}

/// How a replay went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    pub decisions: u64,
    pub changed: u64,
    /// Lines that are no decisions, such as the last one of a gateway that was killed.
    pub unreadable: u64,
    /// Bytes of all decisions before and after, of those where both are known.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Decisions whose cost is not known.
    pub unknown: u64,
}

/// Asks `policy` everything that is in `recording`, and tells each change.
pub async fn replay(
    policy: &Arc<dyn Policy>,
    recording: &mut (dyn BufRead + Send),
    mut tell: impl FnMut(&Change) -> std::io::Result<()>,
) -> std::io::Result<Summary> {
    let mut summary = Summary::default();
    for number in 1.. {
        let mut line = Vec::new();
        if Read::take(&mut *recording, LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let decided = serde_json::from_slice::<Decided>(&line).ok().filter(|decided| decided.version == VERSION);
        let Some(decided) = decided else {
            summary.unreadable += 1;
            continue;
        };
        let change = again(policy, number, decided).await;
        summary.count(&change);
        if change.is_one() {
            tell(&change)?;
        }
    }
    Ok(summary)
}

async fn again(policy: &Arc<dyn Policy>, line: u64, decided: Decided) -> Change {
    let Decided { time, request, plan, error, .. } = decided;
    let side = |plan: Option<Plan>, error: Option<String>| {
        let bytes = plan.as_ref().and_then(|plan| cost::of(&request, &plan.decision));
        let (decision, reason) = plan.map_or((None, None), |plan| (Some(plan.decision), Some(plan.reason)));
        Side { decision, reason: reason.or(error).unwrap_or_default(), bytes }
    };
    let before = side(plan, error);
    let after = match policy.decide(&request).await {
        Ok(plan) => side(Some(plan), None),
        Err(error) => side(None, Some(error.to_string())),
    };
    let (volume, snapshot) = (request.volume.to_string(), request.snapshot.to_string());
    Change { line, time, volume, snapshot, before, after }
}

impl Change {
    /// Reasons may differ: what counts is what would be sent.
    fn is_one(&self) -> bool {
        self.before.decision != self.after.decision
    }
}

impl Summary {
    /// Adds that of another recording.
    pub fn add(&mut self, other: &Self) {
        self.decisions += other.decisions;
        self.changed += other.changed;
        self.unreadable += other.unreadable;
        self.bytes_before = self.bytes_before.saturating_add(other.bytes_before);
        self.bytes_after = self.bytes_after.saturating_add(other.bytes_after);
        self.unknown += other.unknown;
    }

    fn count(&mut self, change: &Change) {
        self.decisions += 1;
        self.changed += u64::from(change.is_one());
        match (change.before.bytes, change.after.bytes) {
            (Some(before), Some(after)) => {
                self.bytes_before = self.bytes_before.saturating_add(before);
                self.bytes_after = self.bytes_after.saturating_add(after);
            }
            _ => self.unknown += 1,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            None => write!(formatter, "failed")?,
            Some(Decision::Present) => write!(formatter, "present")?,
            Some(Decision::Full) => write!(formatter, "full")?,
            Some(Decision::Incremental(base)) => write!(formatter, "incremental since {base}")?,
            Some(Decision::Refused) => write!(formatter, "refused")?,
        }
        match self.bytes {
            Some(bytes) => write!(formatter, " ({bytes} bytes)"),
            None => write!(formatter, " (unknown cost)"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, time, volume, snapshot, before, after } = self;
        write!(formatter, "{time}  {volume}/{snapshot} (line {line})\n    {before} -> {after}: {}", after.reason)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decisions, changed, unreadable, bytes_before, bytes_after, unknown } = self;
        write!(
            formatter,
            "{changed} of {decisions} decisions would change; {bytes_before} -> {bytes_after} bytes to send"
        )?;
        if *unknown > 0 {
            write!(formatter, ", without {unknown} of unknown cost")?;
        }
        if *unreadable > 0 {
            write!(formatter, "; {unreadable} lines are no decisions")?;
        }
        Ok(())
    }
}
