//! The `[limits]` table: how much memory transfers may use, and the arithmetic that holds it.

use serde::Deserialize;

use crate::content::BLOCK_BYTES;
use crate::quantity::Bytes;

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
    fn all_faults_are_told_at_once() {
        let mut faults = Vec::new();
        Config { memory: Bytes::mib(1), depth: 1, transfers: 0, reads: 0 }.validate(&mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
        faults.clear();
        Config { transfers: 1000, ..Config::default() }.validate(&mut faults);
        assert!(faults[0].starts_with("limits.memory:"), "{faults:?}");
    }
}
