//! Images to send: sparse files made of the seed, and what sending them must cost.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::{Diff, Image, next};

const GRAIN: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

/// An image: its grains that are not zero, each made of a seed of its own.
#[derive(Clone, Default)]
pub struct Source {
    pub size: u64,
    grains: BTreeMap<u64, u64>,
}

impl Source {
    /// One of a few MiB of data; one in three is so large that it is sent in several pieces.
    pub fn random(state: &mut u64) -> Self {
        let dense = !next(state).is_multiple_of(3);
        let size = if dense { 9 + next(state) % 24 } else { 100 + next(state) % 150 } * MIB + next(state) % MIB;
        let mut source = Self { size, grains: BTreeMap::new() };
        let share = if dense { 100 } else { 10 };
        for grain in 0..size / GRAIN {
            if next(state) % 100 < share {
                source.grains.insert(grain, next(state));
            }
        }
        source
    }

    /// The same some time later: some of it is other data, some is zeroes, and it may have grown.
    pub fn changed(&self, state: &mut u64) -> Self {
        let mut source = self.clone();
        if next(state).is_multiple_of(4) {
            source.size += next(state) % (8 * MIB);
        }
        for _ in 0..4 + next(state) % 12 {
            let (start, length) = (next(state) % (source.size / GRAIN), 1 + next(state) % 32);
            let is_zero = next(state).is_multiple_of(5);
            for grain in start..(start + length).min(source.size / GRAIN) {
                match is_zero {
                    true => drop(source.grains.remove(&grain)),
                    false => drop(source.grains.insert(grain, next(state))),
                }
            }
        }
        source
    }

    /// Bytes of data in these ranges that differ from the base.
    pub fn cost(&self, base: Option<&Self>, ranges: &[Range<u64>]) -> u64 {
        let differs = |(grain, seed): &(&u64, &u64)| base.is_none_or(|base| base.grains.get(grain) != Some(seed));
        let is_in =
            |grain: u64| ranges.iter().any(|range| range.start < (grain + 1) * GRAIN && grain * GRAIN < range.end);
        self.grains.iter().filter(differs).filter(|(grain, _)| is_in(**grain)).count() as u64 * GRAIN
    }

    pub fn write(&self, path: &Path) -> PathBuf {
        let file = File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (grain, seed) in &self.grains {
            file.write_all_at(&Image::random(GRAIN as usize, *seed).bytes, grain * GRAIN).unwrap();
        }
        path.to_owned()
    }

    /// What is wrong with a stream that should be all of the image, written to `path` before.
    pub fn check(&self, path: &Path, stream: &[u8]) -> Option<String> {
        let found = Diff::apply(stream, &[]);
        let expected = std::fs::read(path).unwrap();
        if found.len() != expected.len() {
            return Some(format!("{} bytes instead of {}", found.len(), expected.len()));
        }
        if found == expected {
            return None;
        }
        let place = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        Some(format!("another byte at {place:?}"))
    }
}
