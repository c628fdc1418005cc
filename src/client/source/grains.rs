//! Which grains of a block must be sent, and how.

use std::ops::Range;

use crate::content::{GRAIN_BYTES, GrainMap, is_zero};

/// A run of neighbouring grains that must be sent, as bytes of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Data(Range<usize>),
    Zero(Range<usize>),
}

impl Change {
    pub(crate) fn start(&self) -> usize {
        match self {
            Self::Data(range) | Self::Zero(range) => range.start,
        }
    }
}

/// What turns `base` into `block`, in ascending order; without a base: what is not zero.
pub(crate) fn changes(block: &[u8], base: Option<&[u8]>) -> Vec<Change> {
    let data = grains(block, |_, grain| !is_zero(grain));
    let (data, zero) = match base {
        None => (data, GrainMap::EMPTY),
        Some(base) => {
            let differing = grains(block, |range, grain| base.get(range) != Some(grain));
            (data.intersection(differing), differing.without(data))
        }
    };
    let mut changes: Vec<_> = data.runs().map(Change::Data).chain(zero.runs().map(Change::Zero)).collect();
    changes.sort_by_key(Change::start);
    changes
}

fn grains(block: &[u8], wanted: impl Fn(Range<usize>, &[u8]) -> bool) -> GrainMap {
    let mut bits = GrainMap::EMPTY.to_bytes();
    for (number, grain) in block.chunks(GRAIN_BYTES).enumerate() {
        let start = number * GRAIN_BYTES;
        if let Some(byte) = bits.get_mut(number / 8).filter(|_| wanted(start..start + grain.len(), grain)) {
            *byte |= 1 << (number % 8);
        }
    }
    GrainMap::from_bytes(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::{BLOCK_BYTES, GRAINS_IN_BLOCK};

    /// A block whose grains are all of one byte each.
    fn block(grains: &[u8]) -> Vec<u8> {
        grains.iter().flat_map(|byte| [*byte; GRAIN_BYTES]).collect()
    }

    /// Grain by grain: `None` unchanged, else whether it is zero.
    fn naive(block: &[u8], base: &[u8]) -> Vec<Option<bool>> {
        let pairs = block.chunks(GRAIN_BYTES).zip(base.chunks(GRAIN_BYTES));
        pairs.map(|(new, old)| (new != old).then(|| new.iter().all(|byte| *byte == 0))).collect()
    }

    fn spread(changes: &[Change]) -> Vec<Option<bool>> {
        let mut grains = vec![None; GRAINS_IN_BLOCK];
        for change in changes {
            let (range, zero) = match change {
                Change::Data(range) => (range, false),
                Change::Zero(range) => (range, true),
            };
            for grain in &mut grains[range.start / GRAIN_BYTES..range.end / GRAIN_BYTES] {
                assert_eq!(grain.replace(zero), None, "a grain twice in {change:?}");
            }
        }
        grains
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn changes_are_those_of_a_naive_comparison(
            new in proptest::collection::vec(0_u8..3, GRAINS_IN_BLOCK),
            old in proptest::collection::vec(0_u8..3, GRAINS_IN_BLOCK),
            touched in proptest::collection::vec(0..BLOCK_BYTES, 0..20),
        ) {
            let (mut new, old) = (block(&new), block(&old));
            touched.iter().for_each(|at| new[*at] ^= 1);
            let changes = changes(&new, Some(&old));
            prop_assert!(changes.windows(2).all(|pair| pair[0].start() < pair[1].start()));
            prop_assert_eq!(spread(&changes), naive(&new, &old));
        }
    }

    #[test]
    fn without_a_base_zeroes_are_left_out() {
        let mut new = vec![0; BLOCK_BYTES];
        assert_eq!(changes(&new, None), vec![]);
        new[GRAIN_BYTES] = 1;
        new[3 * GRAIN_BYTES - 1] = 1;
        assert_eq!(changes(&new, None), vec![Change::Data(GRAIN_BYTES..3 * GRAIN_BYTES)]);
        assert_eq!(changes(&new, Some(&new)), vec![]);
    }
}
