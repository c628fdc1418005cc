//! The `[limits]` table: how much memory transfers may use, and the arithmetic that holds it.

use std::time::Duration;

use serde::Deserialize;

use crate::content::BLOCK_BYTES;
use crate::quantity::{Bytes, Seconds};

/// Limits of all transfers together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory for the blocks of all transfers and reads together.
    pub memory: Bytes,
    /// Blocks of 1 MiB that one transfer has at work at once.
    pub depth: usize,
    /// Transfers that run at once; more are asked to come again.
    pub transfers: usize,
    /// Snapshots that are read at once; more are asked to come again.
    pub reads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: Bytes::mib(512), depth: 8, transfers: 16, reads: 8 }
    }
}

/// `[uploads]`: transfers that are made of several requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadConfig {
    /// One that nobody has worked on for so long is given up, and its space is free again.
    pub expire_after: Seconds,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self { expire_after: Seconds::new(7 * 24 * 3600) }
    }
}

impl UploadConfig {
    /// A sender that waits for a gateway to come back must not find its work gone.
    const LEAST: Duration = Duration::from_secs(3600);
    const MOST: Duration = Duration::from_secs(365 * 24 * 3600);

    /// Pushes what is wrong in the words of the file.
    pub fn validate(&self, faults: &mut Vec<String>) {
        if !(Self::LEAST..=Self::MOST).contains(&self.expire_after.0) {
            faults.push("uploads.expire_after: must be between \"1h\" and \"365d\"".to_owned());
        }
    }
}

/// What one block at work may hold at most, in blocks: its buffer, the whole leaves of the base that complete it, and
/// what the storage reads them into.
const RECEIVE_COPIES: usize = 3;
/// The same for a block that is read: its buffer, and what the storage reads it into.
const READ_COPIES: usize = 2;
/// Blocks that one read has in flight.
pub(super) const READ_DEPTH: usize = 4;

impl Config {
    /// Buffers for receiving, by arithmetic.
    #[must_use]
    pub fn receive_buffers(&self) -> usize {
        self.transfers.saturating_mul(self.depth)
    }

    /// Buffers for reading: a diff holds two for each block.
    #[must_use]
    pub fn read_buffers(&self) -> usize {
        self.reads.saturating_mul(READ_DEPTH * 2)
    }

    /// Pushes what is wrong in the words of the file.
    pub fn validate(&self, faults: &mut Vec<String>) {
        if self.transfers == 0 {
            faults.push("limits.transfers: must be at least 1".to_owned());
        }
        if !(2..=256).contains(&self.depth) {
            faults.push(format!("limits.depth: must be between 2 and 256, not {}", self.depth));
        }
        if self.reads == 0 {
            faults.push("limits.reads: must be at least 1".to_owned());
        }
        let receiving = self.receive_buffers().saturating_mul(RECEIVE_COPIES);
        let reading = self.read_buffers().saturating_mul(READ_COPIES);
        let needed = receiving.saturating_add(reading).saturating_mul(BLOCK_BYTES);
        if needed as u64 > self.memory.0 {
            faults.push(format!(
                "limits.memory: {} transfers × depth {} × {RECEIVE_COPIES} + {} reads × {} × {READ_COPIES} need {} MiB, \
                 more than the {} MiB allowed; raise memory or lower one of the others",
                self.transfers,
                self.depth,
                self.reads,
                READ_DEPTH * 2,
                needed >> 20,
                self.memory.0 >> 20
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn an_upload_lives_neither_for_a_moment_nor_for_ever() {
        for (hours, is_right) in [(0, false), (1, true), (24 * 365, true), (24 * 366, false)] {
            let mut faults = Vec::new();
            UploadConfig { expire_after: Seconds::new(hours * 3600) }.validate(&mut faults);
            assert_eq!(faults.is_empty(), is_right, "{hours} hours: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut faults = Vec::new();
        Config { memory: Bytes::mib(1), depth: 1, transfers: 0, reads: 0 }.validate(&mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
        faults.clear();
        Config { transfers: 1000, ..Config::default() }.validate(&mut faults);
        assert!(faults[0].starts_with("limits.memory:"), "{faults:?}");
    }
}
