//! Where two trees differ, found by descending both where their hashes differ and nowhere else.
//!
//! What lies far is asked for in batches, a level at a time, so that a long way costs a few round trips and not one for
//! each page. A batch is bounded, and its children are done before the next one: so is what is remembered, however much
//! differs, and what is found comes in ascending order.

use std::ops::Range;

use super::{Tree, Wanted};
use crate::client::ClientError;
use crate::content::{Hash, Page, Place};

/// Places that are looked at together.
const BATCH: usize = 4096;

/// A place whose hashes differ: in the old tree and in the new one.
#[derive(Debug, Clone, Copy)]
struct Pair {
    place: Place,
    old: Hash,
    new: Hash,
}

/// A comparison on its way. Without an old tree, all that is not zero differs.
pub(in crate::client) struct Difference<'a> {
    old: Option<&'a dyn Tree>,
    new: &'a dyn Tree,
    /// Bytes of the larger image.
    size: u64,
    begun: bool,
    /// Batches of one level each, the next one last.
    ahead: Vec<Vec<Pair>>,
}

impl<'a> Difference<'a> {
    pub(in crate::client) fn new(old: Option<&'a dyn Tree>, new: &'a dyn Tree) -> Self {
        let size = new.size().max(old.map_or(0, Tree::size));
        Self { old, new, size, begun: false, ahead: Vec::new() }
    }

    /// The next leaves that differ, neighbours together, ascending, and up to which byte all are known now. `None` at
    /// the end; may be empty before it.
    pub(in crate::client) async fn next(&mut self) -> Result<Option<(Vec<Range<u64>>, u64)>, ClientError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin().await?;
        }
        let Some(batch) = self.ahead.pop() else { return Ok(None) };
        let (old, new) =
            tokio::try_join!(read(self.old, &batch, |pair| pair.old), read(Some(self.new), &batch, |pair| pair.new))?;
        let pages = batch.iter().map(|pair| pair.place).zip(old.into_iter().zip(new));
        let mut below = Vec::new();
        let mut found: Vec<Range<u64>> = Vec::new();
        for (place, (old, new)) in pages {
            for (child, old, new) in differing(&old, &new) {
                match place.child(child) {
                    Some(place) => below.push(Pair { place, old, new }),
                    None => join(&mut found, place.leaf(child, self.size)),
                }
            }
        }
        self.ahead.extend(below.chunks(BATCH).rev().map(<[Pair]>::to_vec));
        Ok(Some((found, self.position())))
    }

    async fn begin(&mut self) -> Result<(), ClientError> {
        let top = |tree: Option<&'a dyn Tree>| async move {
            match tree {
                Some(tree) => tree.top().await.map(|page| page.hash()),
                None => Ok(Hash::ZERO),
            }
        };
        let (old, new) = tokio::try_join!(top(self.old), top(Some(self.new)))?;
        if old != new {
            self.ahead.push(vec![Pair { place: Place::TOP, old, new }]);
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        let next = self.ahead.last().and_then(|batch| batch.first());
        next.map_or(self.size, |pair| pair.place.bytes(self.size).start)
    }
}

/// The pages of a batch on one side.
async fn read(tree: Option<&dyn Tree>, batch: &[Pair], hash: impl Fn(&Pair) -> Hash) -> Result<Vec<Page>, ClientError> {
    let wanted = batch.iter().map(|pair| Wanted { place: pair.place, hash: hash(pair) });
    let wanted: Vec<Wanted> = wanted.filter(|wanted| !wanted.hash.is_zero()).collect();
    let found = match tree {
        Some(tree) if !wanted.is_empty() => tree.pages(&wanted).await?,
        _ => Vec::new(),
    };
    let mut found = found.into_iter();
    let page = |pair| if hash(pair).is_zero() { Page::default() } else { found.next().unwrap_or_default() };
    Ok(batch.iter().map(page).collect())
}

fn differing(old: &Page, new: &Page) -> impl Iterator<Item = (usize, Hash, Hash)> {
    let pairs = old.0.into_iter().zip(new.0).enumerate();
    pairs.filter(|(_, (old, new))| old != new).map(|(child, (old, new))| (child, old, new))
}

/// Adds a range that does not lie before the last one.
fn join(found: &mut Vec<Range<u64>>, range: Range<u64>) {
    match found.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => found.push(range),
    }
}
