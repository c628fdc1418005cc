//! What is needed, in memory of a fixed size.
//!
//! A set of all blocks of a large store would take gigabytes, and the size of it would be in the hands of whoever can put
//! objects there. So this is a Bloom filter: it never forgets what was put into it, and takes a few other things for
//! needed too. Those stay until a later collection, which draws other random numbers and so mistakes others. Of what is
//! garbage, so much stays: 1 % in a store of 50 TiB of different blocks, 8 % of 100 TiB, a third of 200 TiB. A crate for it
//! was refused: what is needed is less than its interface.

use std::hash::{BuildHasher as _, RandomState};

use super::layout::Piece;

/// Bits of the filter. A power of two.
const BITS: usize = 1 << 29;
/// Bits that are set for one piece: the number that suits a store that fills it.
const PROBES: usize = 4;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Live {
    words: Vec<u64>,
    seeds: [RandomState; 2],
}

impl Live {
    pub(super) fn new() -> Self {
        Self::of(BITS)
    }

    fn of(bits: usize) -> Self {
        Self { words: vec![0; bits.div_ceil(64)], seeds: [RandomState::new(), RandomState::new()] }
    }

    pub(super) fn insert(&mut self, piece: &Piece) {
        for (word, bit) in self.places(piece) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// `false`: it was not put in.
    pub(super) fn may_have(&self, piece: &Piece) -> bool {
        self.places(piece).into_iter().all(|(word, bit)| self.words.get(word).is_none_or(|word| word & bit != 0))
    }

    /// The words and bits of a piece, all of them made of two hashes.
    fn places(&self, piece: &Piece) -> [(usize, u64); PROBES] {
        let [start, step] = self.seeds.each_ref().map(|seed| seed.hash_one(piece) as usize);
        std::array::from_fn(|probe| {
            let place = start.wrapping_add(probe.wrapping_mul(step | 1)) % (self.words.len() * 64);
            (place / 64, 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Session;
    use super::*;

    fn piece(segment: u64) -> Piece {
        Piece::Segment { session: Session(7), segment }
    }

    /// As full as the filter of a store of 100 TiB.
    #[test]
    fn nothing_is_forgotten_and_little_is_mistaken() {
        let pieces = 100_000;
        let mut live = Live::of(BITS / 1000);
        (0..pieces).for_each(|number| live.insert(&piece(number)));
        assert!((0..pieces).all(|number| live.may_have(&piece(number))));
        let mistaken = |live: &Live| -> Vec<u64> {
            (pieces..2 * pieces).filter(|number| live.may_have(&piece(*number))).collect()
        };
        let first = mistaken(&live);
        assert!(first.len() < 12_000, "{}", first.len());
        let mut later = Live::of(BITS / 1000);
        (0..pieces).for_each(|number| later.insert(&piece(number)));
        let again = mistaken(&later);
        let both = again.iter().filter(|number| first.contains(number)).count();
        assert!(both < first.len() / 4, "{both} of {} are mistaken again", first.len());
    }

    #[test]
    fn an_empty_one_has_nothing() {
        assert!(!Live::new().may_have(&piece(1)));
    }
}
