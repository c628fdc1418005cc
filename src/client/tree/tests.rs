//! Two trees compared, against a comparison of the bytes.

use proptest::prelude::*;

use super::*;
use crate::client::Meter;
use crate::client::source::Sequential;
use crate::content::{BLOCK_BYTES, LEAF_BYTES};

fn tree(bytes: &[u8]) -> LocalTree {
    let size = bytes.len() as u64;
    LocalTree::of_blocks(&mut Sequential::new(bytes, size, "-"), &Meter::default()).unwrap()
}

async fn compare(old: Option<&dyn Tree>, new: &dyn Tree) -> Result<Vec<std::ops::Range<u64>>, ClientError> {
    let mut difference = Difference::new(old, new);
    let mut all = Vec::new();
    let mut known = 0;
    while let Some((found, position)) = difference.next().await? {
        assert!(position >= known && found.iter().all(|range| range.start >= known), "not in ascending order");
        known = position;
        all.extend(found);
    }
    Ok(all)
}

/// Leaf by leaf; bytes past the end of an image are zeroes.
fn naive(old: &[u8], new: &[u8]) -> Vec<u64> {
    let leaf = |image: &[u8], at: usize| {
        let mut leaf = vec![0; LEAF_BYTES];
        let part = image.get(at..(at + LEAF_BYTES).min(image.len())).unwrap_or_default();
        leaf[..part.len()].copy_from_slice(part);
        leaf
    };
    let size = old.len().max(new.len());
    (0..size).step_by(LEAF_BYTES).filter(|at| leaf(old, *at) != leaf(new, *at)).map(|at| at as u64).collect()
}

fn leaves(ranges: &[std::ops::Range<u64>]) -> Vec<u64> {
    ranges.iter().flat_map(|range| (range.start..range.end).step_by(LEAF_BYTES)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_difference_is_that_of_the_bytes(
        size in 1..6 * BLOCK_BYTES, grown in 0..BLOCK_BYTES,
        data in proptest::collection::vec((any::<prop::sample::Index>(), 1..255_u8), 0..12),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..255_u8), 0..12),
    ) {
        let mut old = vec![0; size];
        data.iter().for_each(|(at, byte)| { let at = at.index(size); old[at] = *byte; });
        let mut new = old.clone();
        changes.iter().for_each(|(at, byte)| { let at = at.index(size); new[at] = *byte; });
        new.resize(size + grown, 0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (old_tree, new_tree) = (tree(&old), tree(&new));
        let found = runtime.block_on(compare(Some(&old_tree), &new_tree)).unwrap();
        prop_assert_eq!(leaves(&found), naive(&old, &new));
        let all = runtime.block_on(compare(None, &new_tree)).unwrap();
        prop_assert_eq!(leaves(&all), naive(&[], &new));
    }
}

/// A tree of somebody who changes what he says.
struct Liar {
    truth: LocalTree,
    level: u8,
}

#[async_trait]
impl Tree for Liar {
    fn size(&self) -> u64 {
        self.truth.size()
    }

    fn root(&self) -> Root {
        self.truth.root()
    }

    async fn top(&self) -> Result<Page, ClientError> {
        self.truth.top().await
    }

    async fn pages(&self, wanted: &[Wanted]) -> Result<Vec<Page>, ClientError> {
        let mut pages = self.truth.pages(wanted).await?;
        for (page, wanted) in pages.iter_mut().zip(wanted).filter(|(_, wanted)| wanted.place.level() == self.level) {
            page.0[0] = Hash::ZERO;
            proven(*page, wanted)?;
        }
        Ok(pages)
    }
}

#[tokio::test]
async fn a_page_that_its_parent_does_not_prove_is_noticed_on_every_level() {
    let old = tree(&vec![1; BLOCK_BYTES]);
    for level in 1..crate::content::HEIGHT {
        let liar = Liar { truth: tree(&vec![2; BLOCK_BYTES]), level };
        let found = compare(Some(&old), &liar).await;
        assert!(matches!(found, Err(ClientError::Integrity { .. })), "{level}: {found:?}");
    }
    let other = proven_top(Page::default(), 5, old.root());
    assert!(matches!(other, Err(ClientError::Integrity { .. })), "{other:?}");
}
