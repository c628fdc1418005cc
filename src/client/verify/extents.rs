//! Extents that were found, listed as far as anybody reads a list.

use std::ops::Range;

use serde::Serialize;

/// Extents that are listed; more are counted. A volume that differs everywhere has millions.
pub const LISTED: usize = 1000;

/// Bytes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
}

/// What is wrong with stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub detail: String,
    /// Whether a repair can mend it.
    pub mendable: bool,
}

/// Extents in ascending order, neighbours together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extents {
    /// The first ones.
    pub extents: Vec<Extent>,
    /// How many there are.
    pub count: u64,
    /// Bytes in all of them.
    pub bytes: u64,
    #[serde(skip)]
    end: u64,
    #[serde(skip)]
    limit: usize,
}

impl Default for Extents {
    fn default() -> Self {
        Self::up_to(LISTED)
    }
}

impl Extents {
    /// A list of at most `limit` extents.
    pub(in crate::client) fn up_to(limit: usize) -> Self {
        Self { extents: Vec::new(), count: 0, bytes: 0, end: 0, limit }
    }

    pub(super) fn add(&mut self, range: Range<u64>, damage: Option<Damage>) {
        let length = range.end.saturating_sub(range.start);
        self.bytes += length;
        let goes_on = self.count > 0 && self.end == range.start;
        self.end = range.end;
        let is_listed = self.count <= self.limit as u64;
        if let Some(last) = self.extents.last_mut().filter(|last| goes_on && is_listed && last.damage == damage) {
            last.length += length;
            return;
        }
        self.count += 1;
        if self.extents.len() < self.limit {
            self.extents.push(Extent { offset: range.start, length, damage });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined_and_a_long_list_is_cut_and_counted() {
        let mut extents = Extents::default();
        [0..5, 5..9, 20..30].into_iter().for_each(|range| extents.add(range, None));
        extents.add(30..31, Some(Damage { detail: "other".to_owned(), mendable: true }));
        let listed: Vec<_> = extents.extents.iter().map(|extent| (extent.offset, extent.length)).collect();
        assert_eq!((listed, extents.count, extents.bytes), (vec![(0, 9), (20, 10), (30, 1)], 3, 20));
        let mut many = Extents::default();
        (0..2000).for_each(|number| many.add(number * 10..number * 10 + 1, None));
        assert_eq!((many.extents.len(), many.count, many.bytes), (LISTED, 2000, 2000));
    }
}
