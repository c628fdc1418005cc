//! Where two trees differ, found by descending only into what differs.
//!
//! One search serves four callers: data blocks of a snapshot (its difference from nothing), the diff between two
//! snapshots, the blocks that a long run of zeroes must really clear, and the comparison of two sites. It keeps no
//! state between calls: a position is a block number, so a search can be continued anywhere.

use super::tree::{Page, PageSource};
use super::{FAN_OUT, HEIGHT};

/// What one step of the descent looks at.
struct Place {
    level: u8,
    index: u64,
}

/// The first block at or after `from` whose content is not the same in `old` (or zero, without one) and in `new`.
pub async fn next_difference<E: Send>(
    old: Option<&dyn PageSource<Error = E>>,
    new: &dyn PageSource<Error = E>,
    from: u64,
) -> Result<Option<u64>, E> {
    let mut ahead = vec![Place { level: HEIGHT, index: 0 }];
    while let Some(Place { level, index }) = ahead.pop() {
        if level == 1 {
            return Ok(Some(index));
        }
        let before = match old {
            Some(old) => old.page(level, index).await?,
            None => Page::default(),
        };
        let after = new.page(level, index).await?;
        ahead.extend(differing(level, index, &before, &after, from));
    }
    Ok(None)
}

/// The children that differ and do not end before `from`, the last one first.
fn differing<'a>(
    level: u8,
    index: u64,
    before: &'a Page,
    after: &'a Page,
    from: u64,
) -> impl Iterator<Item = Place> + use<'a> {
    let blocks = 1_u64 << (4 * u32::from(level.saturating_sub(2)));
    let children = index * FAN_OUT as u64..;
    let pairs = children.zip(before.0.iter().zip(after.0.iter()));
    let found: Vec<Place> = pairs
        .filter(|(child, (before, after))| before != after && (child + 1).saturating_mul(blocks) > from)
        .map(|(child, _)| Place { level: level - 1, index: child })
        .collect();
    found.into_iter().rev()
}

/// The first block at or after `from` that is not all zero.
pub async fn next_data<E: Send>(source: &dyn PageSource<Error = E>, from: u64) -> Result<Option<u64>, E> {
    next_difference(None, source, from).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::super::{BLOCK_BYTES, Hash, PageSink, TreeBuilder};
    use super::*;

    #[derive(Default)]
    struct Tree(Mutex<BTreeMap<(u8, u64), Page>>);

    #[async_trait]
    impl PageSource for Tree {
        type Error = Infallible;
        async fn page(&self, level: u8, index: u64) -> Result<Page, Infallible> {
            Ok(self.0.lock().unwrap().get(&(level, index)).copied().unwrap_or_default())
        }
    }

    #[async_trait]
    impl PageSink for Tree {
        type Error = Infallible;
        async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), Infallible> {
            self.0.lock().unwrap().insert((level, index), *page);
            Ok(())
        }
    }

    async fn tree(blocks: &BTreeMap<u64, u8>) -> Tree {
        let tree = Tree::default();
        let nothing = Tree::default();
        let mut builder = TreeBuilder::new(1 << 50);
        for (block, seed) in blocks {
            let mut page = Page::default();
            page.0[3] = Hash([*seed; 32]);
            builder.push(*block, page, &nothing, &tree).await.unwrap();
        }
        builder.finish(&nothing, &tree).await.unwrap();
        tree
    }

    proptest! {
        #[test]
        fn the_search_finds_what_a_comparison_of_all_blocks_finds(
            old in prop::collection::btree_map(0..((1_u64 << 50) / BLOCK_BYTES as u64), 1..3_u8, 0..20),
            changes in prop::collection::btree_map(0..5000_u64, 0..3_u8, 0..20),
        ) {
            let mut new = old.clone();
            for (block, seed) in &changes {
                if *seed == 0 { new.remove(block); } else { new.insert(*block, *seed); }
            }
            let expected: Vec<u64> = old.keys().chain(new.keys()).copied()
                .filter(|block| old.get(block) != new.get(block))
                .collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(async {
                let (old, new) = (tree(&old).await, tree(&new).await);
                let mut found = Vec::new();
                let mut from = 0;
                while let Some(block) = next_difference(Some(&old), &new, from).await.unwrap() {
                    found.push(block);
                    from = block + 1;
                }
                found
            });
            prop_assert_eq!(found, expected);
        }
    }
}
