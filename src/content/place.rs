//! Where a page is in the tree, and which bytes of the image it covers.

use std::ops::Range;

use super::{FAN_OUT, HEIGHT, LEAF_BYTES};

/// A page by its level and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    level: u8,
    index: u64,
}

impl Place {
    /// The one page that covers everything.
    pub const TOP: Self = Self { level: HEIGHT, index: 0 };

    /// `None`: the tree has no such place.
    #[must_use]
    pub fn new(level: u8, index: u64) -> Option<Self> {
        let above = HEIGHT.checked_sub(level).filter(|_| level > 0)?;
        (index < 1 << (4 * u32::from(above))).then_some(Self { level, index })
    }

    #[must_use]
    pub fn level(self) -> u8 {
        self.level
    }

    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// The bytes under this page, as far as an image of `size` bytes has them.
    #[must_use]
    pub fn bytes(self, size: u64) -> Range<u64> {
        let covered = (LEAF_BYTES as u64) << (4 * u32::from(self.level));
        let start = self.index.saturating_mul(covered);
        start.min(size)..start.saturating_add(covered).min(size)
    }

    /// The page number `child` of those below; `None` on the level of the leaves.
    #[must_use]
    pub fn child(self, child: usize) -> Option<Self> {
        let level = self.level.checked_sub(1).filter(|level| *level > 0)?;
        (child < FAN_OUT).then(|| Self { level, index: self.index * FAN_OUT as u64 + child as u64 })
    }

    /// The bytes of leaf number `leaf` of a page of level 1.
    #[must_use]
    pub fn leaf(self, leaf: usize, size: u64) -> Range<u64> {
        let start = self.bytes(u64::MAX).start.saturating_add((leaf * LEAF_BYTES) as u64);
        start.min(size)..start.saturating_add(LEAF_BYTES as u64).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_inside_the_tree() {
        assert_eq!(Place::new(HEIGHT, 0), Some(Place::TOP));
        for (level, index) in [(0, 0), (HEIGHT + 1, 0), (HEIGHT, 1), (1, 1 << 36), (9, 16), (255, 0)] {
            assert_eq!(Place::new(level, index), None, "{level} {index}");
        }
        assert!(Place::new(1, (1 << 36) - 1).is_some());
    }

    #[test]
    fn children_share_the_bytes_of_their_parent() {
        let size = 3 << 30;
        let page = Place::new(4, 0).unwrap();
        assert_eq!(page.bytes(size), 0..size);
        let children: Vec<_> = (0..FAN_OUT).map(|child| page.child(child).unwrap().bytes(size)).collect();
        assert_eq!((children[0].clone(), children[11].end, children[15].clone()), (0..1 << 28, size, size..size));
        assert_eq!(page.child(FAN_OUT), None);
        let block = Place::new(1, 2).unwrap();
        assert_eq!((block.child(0), block.leaf(1, u64::MAX)), (None, (2 << 20) + 65536..(2 << 20) + 131_072));
        assert_eq!(block.leaf(15, (2 << 20) + 10), (2 << 20) + 10..(2 << 20) + 10);
    }
}
