//! A set of byte ranges of one image: what of it is there already.
//!
//! A transfer may come in several streams at once, each from another part of the image, so one offset does not tell how
//! far it is. Kept as the fewest ranges, ascending and apart; a stream adds to the end of one, so there are about as many
//! as there are streams. A bitmap of blocks was refused: a stream of plain bytes ends anywhere inside a block.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Ranges of bytes, ascending, not empty, and not touching each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<Range<u64>>);

/// Why a list is not such a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ranges must ascend, with space between them")]
pub struct RangesError;

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = RangesError;

    fn try_from(list: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        let mut before = None;
        for (start, end) in &list {
            if start >= end || before.is_some_and(|before| before >= *start) {
                return Err(RangesError);
            }
            before = Some(*end);
        }
        Ok(Self(list.into_iter().map(|(start, end)| start..end).collect()))
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0.into_iter().map(|range| (range.start, range.end)).collect()
    }
}

impl Ranges {
    /// Adds a range, which may overlap what is there.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|there| there.end < range.start);
        let end = self.0.partition_point(|there| there.start <= range.end);
        let touched = self.0.get(first..end).unwrap_or_default();
        let start = touched.first().map_or(range.start, |there| there.start.min(range.start));
        let stop = touched.last().map_or(range.end, |there| there.end.max(range.end));
        self.0.splice(first..end, std::iter::once(start..stop));
    }

    /// Takes a range away.
    pub fn remove(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let left = self.0.iter().map(|there| there.start..there.end.min(range.start));
        let right = self.0.iter().map(|there| there.start.max(range.end)..there.end);
        let mut kept: Vec<_> = left.chain(right).filter(|part| !part.is_empty()).collect();
        kept.sort_by_key(|part| part.start);
        self.0 = kept;
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().cloned()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of `range` is there.
    #[must_use]
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let after = self.0.partition_point(|there| there.start <= range.start);
        let around = after.checked_sub(1).and_then(|at| self.0.get(at));
        range.is_empty() || around.is_some_and(|there| range.end <= there.end)
    }

    /// Whether any byte of `range` is there.
    #[must_use]
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        self.0.iter().any(|there| there.start < range.end && range.start < there.end)
    }

    /// How far the image is there without a gap from `start` on.
    #[must_use]
    pub fn end_from(&self, start: u64) -> u64 {
        self.0.iter().find(|there| there.contains(&start)).map_or(start, |there| there.end)
    }

    /// What of `0..size` is not there.
    #[must_use]
    pub fn gaps(&self, size: u64) -> Vec<Range<u64>> {
        let ends = std::iter::once(0).chain(self.0.iter().map(|there| there.end));
        let starts = self.0.iter().map(|there| there.start).chain([size]);
        ends.zip(starts).map(|(end, start)| end..start.min(size)).filter(|gap| !gap.is_empty()).collect()
    }

    /// Bytes in all ranges.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|there| there.end - there.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ordered_lists_are_sets() {
        assert!(Ranges::try_from(vec![(0, 4), (5, 9)]).is_ok());
        for wrong in [vec![(0, 0)], vec![(4, 2)], vec![(0, 4), (4, 9)], vec![(5, 9), (0, 4)]] {
            assert!(Ranges::try_from(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_its_bytes(parts in proptest::collection::vec((0_u64..64, 0_u64..12), 0..12)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, length) in parts {
                ranges.insert(start..start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            let list: Vec<(u64, u64)> = ranges.clone().into();
            prop_assert_eq!(&Ranges::try_from(list).unwrap(), &ranges);
            prop_assert_eq!(ranges.total(), bytes.iter().filter(|there| **there).count() as u64);
            let (start, end) = (10, 30);
            let mut less = ranges.clone();
            less.remove(&(start..end));
            for at in 0..80_u64 {
                prop_assert_eq!(less.overlaps(&(at..at + 1)), bytes[at as usize] && !(start..end).contains(&at));
            }
            for start in 0..80_u64 {
                let end = (start as usize..80).find(|at| !bytes[*at]).unwrap_or(80) as u64;
                prop_assert_eq!(ranges.end_from(start), end);
                prop_assert_eq!(ranges.overlaps(&(start..start + 1)), bytes[start as usize]);
                prop_assert!(ranges.contains(&(start..end)));
            }
            for gap in ranges.gaps(80) {
                prop_assert!(!ranges.overlaps(&gap));
                prop_assert!(gap.end == 80 || bytes[gap.end as usize]);
            }
            prop_assert_eq!(ranges.gaps(80).iter().map(|gap| gap.end - gap.start).sum::<u64>(), 80 - ranges.total());
        }
    }
}
