//! Which 4 KiB grains of one block are meant: 256 bits.

use super::{BLOCK_BYTES, GRAIN_BYTES, GRAINS_IN_BLOCK, GRAINS_IN_LEAF};

/// A set of grains of one block.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GrainMap([u64; GRAINS_IN_BLOCK / 64]);

impl GrainMap {
    pub const EMPTY: Self = Self([0; GRAINS_IN_BLOCK / 64]);
    pub const FULL: Self = Self([u64::MAX; GRAINS_IN_BLOCK / 64]);

    /// The grains that lie wholly inside the bytes `start..end` of a block.
    #[must_use]
    pub fn inside(start: usize, end: usize) -> Self {
        Self::from_grains(start.div_ceil(GRAIN_BYTES), end / GRAIN_BYTES)
    }

    /// The grains that the bytes `start..end` of a block touch.
    #[must_use]
    pub fn touched(start: usize, end: usize) -> Self {
        if start >= end {
            return Self::EMPTY;
        }
        Self::from_grains(start / GRAIN_BYTES, end.min(BLOCK_BYTES).div_ceil(GRAIN_BYTES))
    }

    fn from_grains(first: usize, end: usize) -> Self {
        let mut map = Self::EMPTY;
        for (position, word) in map.0.iter_mut().enumerate() {
            let low = first.saturating_sub(position * 64).min(64);
            let high = end.saturating_sub(position * 64).min(64);
            if low < high {
                let ones = if high - low == 64 { u64::MAX } else { (1 << (high - low)) - 1 };
                *word = ones << low;
            }
        }
        map
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    #[must_use]
    pub fn is_full(self) -> bool {
        self == Self::FULL
    }

    #[must_use]
    pub fn contains(self, grain: usize) -> bool {
        self.0.get(grain / 64).is_some_and(|word| word >> (grain % 64) & 1 == 1)
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// The grains of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    fn combine(mut self, other: Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        for (word, with) in self.0.iter_mut().zip(other.0) {
            *word = operation(*word, with);
        }
        self
    }

    /// All grains of every leaf of which at least one grain is in `self`.
    #[must_use]
    pub fn whole_leaves(self) -> Self {
        let mut map = Self::EMPTY;
        for leaf in 0..GRAINS_IN_BLOCK / GRAINS_IN_LEAF {
            let grains = Self::leaf(leaf);
            if !self.intersection(grains).is_empty() {
                map = map.union(grains);
            }
        }
        map
    }

    /// The grains of leaf number `leaf` of the block.
    #[must_use]
    pub fn leaf(leaf: usize) -> Self {
        Self::from_grains(leaf * GRAINS_IN_LEAF, (leaf + 1) * GRAINS_IN_LEAF)
    }

    /// The maximal runs of neighbouring grains, as byte ranges of the block, ascending.
    pub fn runs(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = (next..GRAINS_IN_BLOCK).find(|grain| self.contains(*grain))?;
            let end = (start..GRAINS_IN_BLOCK).find(|grain| !self.contains(*grain)).unwrap_or(GRAINS_IN_BLOCK);
            next = end;
            Some(start * GRAIN_BYTES..end * GRAIN_BYTES)
        })
    }

    /// 32 bytes, grain 0 in the lowest bit of the first byte.
    #[must_use]
    pub fn to_bytes(self) -> [u8; GRAINS_IN_BLOCK / 8] {
        let mut bytes = [0; GRAINS_IN_BLOCK / 8];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[must_use]
    pub fn from_bytes(bytes: [u8; GRAINS_IN_BLOCK / 8]) -> Self {
        let mut map = Self::EMPTY;
        for (word, from) in map.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_bytes_agree_with_a_naive_model() {
        let map = GrainMap::touched(5000, 70000).union(GrainMap::touched(BLOCK_BYTES - 1, BLOCK_BYTES));
        let runs: Vec<_> = map.runs().collect();
        assert_eq!(runs, vec![4096..73728, BLOCK_BYTES - GRAIN_BYTES..BLOCK_BYTES]);
        assert_eq!(GrainMap::from_bytes(map.to_bytes()), map);
        for grain in 0..GRAINS_IN_BLOCK {
            let expected = (1..18).contains(&grain) || grain == GRAINS_IN_BLOCK - 1;
            assert_eq!(map.contains(grain), expected, "grain {grain}");
        }
    }

    #[test]
    fn inside_leaves_partial_grains_out() {
        assert_eq!(GrainMap::inside(1, 3 * GRAIN_BYTES + 1).runs().collect::<Vec<_>>(), vec![4096..12288]);
        assert!(GrainMap::inside(1, 4097).is_empty());
        assert!(GrainMap::inside(0, BLOCK_BYTES).is_full());
    }

    #[test]
    fn leaves_are_made_whole() {
        let map = GrainMap::touched(65536, 65537).whole_leaves();
        assert_eq!(map, GrainMap::leaf(1));
    }
}
