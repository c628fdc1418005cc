//! Any stream of extents, over any base, must give the bytes and the root of the plain model.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{BLOCK_BYTES, GrainMap, LEAF_BYTES, NoBase, Page, TreeBuilder, hash_leaf};

const SIZE_MAX: usize = 5 * BLOCK_BYTES / 2;

#[derive(Debug, Clone)]
struct Extent {
    gap: usize,
    length: usize,
    /// 0: zeroes, otherwise bytes made from it.
    seed: u8,
    /// The write is cut into pieces of this size.
    piece: usize,
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        1..70_usize,
        4000..4200_usize,
        Just(4096),
        Just(LEAF_BYTES),
        1..3 * LEAF_BYTES,
        Just(BLOCK_BYTES),
        1..2 * BLOCK_BYTES
    ]
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let extent = (prop_oneof![Just(0), lengths()], lengths(), 0..4_u8, prop_oneof![Just(16_384), 1..200_000_usize]);
    prop::collection::vec(extent.prop_map(|(gap, length, seed, piece)| Extent { gap, length, seed, piece }), 0..12)
}

fn data(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|position| if seed == 0 { 0 } else { (position / 7) as u8 ^ seed }).collect()
}

fn root_of(bytes: &[u8]) -> Root {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut builder = TreeBuilder::new(bytes.len() as u64);
    let nothing = NoBase::new();
    runtime.block_on(async {
        for (block, bytes) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let mut padded = bytes.to_vec();
            padded.resize(BLOCK_BYTES, 0);
            let mut page = Page::default();
            for (hash, leaf) in page.0.iter_mut().zip(padded.chunks(LEAF_BYTES)) {
                *hash = hash_leaf(leaf);
            }
            builder.push(block as u64, page, &nothing, &nothing).await.unwrap();
        }
        builder.finish(&nothing, &nothing).await.unwrap()
    })
}

async fn ingest(
    store: &MemoryStore,
    number: usize,
    size: usize,
    extents: &[Extent],
    model: &mut Vec<u8>,
) -> SnapshotRecord {
    let name = |number: usize| format!("s{number}").parse::<SnapshotId>().unwrap();
    let request = StageRequest {
        transfer: format!("t{number}").parse().unwrap(),
        volume: "v".parse().unwrap(),
        snapshot: name(number),
        image: "i".parse().unwrap(),
        name: format!("s{number}").parse().unwrap(),
        size: size as u64,
        base: number.checked_sub(1).map(name),
        upload: None,
    };
    model.resize(size, 0);
    let mut ingest = Ingest::new(store.stage(request).await.unwrap(), BufferPool::new(4), 4);
    let mut position = 0;
    for extent in extents {
        position += extent.gap;
        let end = (position + extent.length).min(size);
        if position >= end {
            break;
        }
        if extent.seed == 0 {
            ingest.zero(position as u64, (end - position) as u64).await.unwrap();
            model[position..end].fill(0);
        } else {
            let bytes = data(extent.seed, end - position);
            for (index, piece) in bytes.chunks(extent.piece).enumerate() {
                ingest.write((position + index * extent.piece) as u64, piece).await.unwrap();
            }
            model[position..end].copy_from_slice(&bytes);
        }
        position = end;
    }
    let done = ingest.finish().await.unwrap();
    let sealed = Sealed {
        root: done.root,
        identity: Identity::default(),
        created: SystemTime::now(),
        issued: SystemTime::now(),
    };
    done.staged.commit(done.durable, sealed).await.unwrap().record().clone()
}

async fn content(store: &MemoryStore, snapshot: &SnapshotId, size: usize) -> Vec<u8> {
    let image = Arc::new(Verified::new(store.open(&"i".parse().unwrap(), snapshot).await.unwrap()));
    let mut buffer = BufferPool::new(1).take().await;
    let mut bytes = Vec::new();
    for block in 0..size.div_ceil(BLOCK_BYTES) {
        image.read_block(block as u64, &mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer);
    }
    bytes.truncate(size);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_chain_of_any_streams_is_what_the_model_says(
        steps in prop::collection::vec((1..SIZE_MAX, extents()), 1..4)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = MemoryStore::new();
        let mut model = Vec::new();
        let mut expected = Vec::new();
        for (number, (size, extents)) in steps.iter().enumerate() {
            let record = runtime.block_on(ingest(&store, number, *size, extents, &mut model));
            prop_assert_eq!(record.root, root_of(&model), "root of snapshot {}", number);
            expected.push((record.snapshot, model.clone()));
        }
        for (snapshot, bytes) in expected {
            let stored = runtime.block_on(content(&store, &snapshot, bytes.len()));
            prop_assert!(stored == bytes, "bytes of snapshot {}", snapshot);
        }
    }
}

#[tokio::test]
async fn extents_out_of_order_or_beyond_the_end_are_refused() {
    let store = MemoryStore::new();
    let request = StageRequest {
        transfer: "t".parse().unwrap(),
        volume: "v".parse().unwrap(),
        snapshot: "s".parse().unwrap(),
        image: "i".parse().unwrap(),
        name: "s".parse().unwrap(),
        size: 100,
        base: None,
        upload: None,
    };
    let mut ingest = Ingest::new(store.stage(request).await.unwrap(), BufferPool::new(2), 2);
    ingest.write(10, &[1; 10]).await.unwrap();
    for (offset, length) in [(19, 1), (0, 5), (95, 6), (u64::MAX, 1), (101, 0)] {
        let refused = ingest.zero(offset, length).await;
        assert!(matches!(refused, Err(ImageError::Extent { .. })), "{offset}+{length}: {refused:?}");
    }
    ingest.write(20, &[1; 80]).await.unwrap();
}

/// A storage that takes some blocks at once, and none of them before it is told.
#[derive(Debug)]
struct Slow {
    appetite: usize,
    leave: tokio::sync::Semaphore,
}

#[async_trait]
impl PageSink for Slow {
    type Error = ImageError;

    async fn put(&self, _level: u8, _index: u64, _page: &Page) -> Result<(), ImageError> {
        Ok(())
    }
}

#[async_trait]
impl StagedImage for Slow {
    fn size(&self) -> u64 {
        1 << 30
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        None
    }

    fn appetite(&self) -> usize {
        self.appetite
    }

    async fn write(&self, _block: u64, _present: GrainMap, _buffer: BlockBuffer) -> Result<(), ImageError> {
        self.leave.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn zero(&self, _block: u64, _present: GrainMap) -> Result<(), ImageError> {
        Ok(())
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        Ok(Durable::new())
    }

    async fn commit(&self, _durable: Durable, _sealed: Sealed) -> Result<Committed, ImageError> {
        Err(ImageError::Fenced)
    }

    async fn abort(&self) {}
}

/// Writes a few bytes into each of a thousand blocks, until it must wait; gives how many buffers are taken then.
async fn taken(pool: &BufferPool, staged: &Arc<Slow>, others: usize) -> usize {
    let mut ingest = Ingest::new(Arc::<Slow>::clone(staged), pool.clone(), 3);
    let taken = {
        let mut writing = std::pin::pin!(async {
            for block in 0..1000 {
                ingest.write(block * BLOCK_BYTES as u64, &[1; 5000]).await.unwrap();
            }
        });
        // It goes on by itself until it has to wait for the storage.
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), &mut writing).await;
        assert!(waited.is_err(), "a storage that takes nothing has taken all");
        let taken = pool.in_use() - others;
        staged.leave.add_permits(1000);
        writing.await;
        taken
    };
    ingest.abort().await;
    taken
}

#[tokio::test]
async fn buffers_beyond_the_share_are_taken_while_nobody_wants_them() {
    let slow = |appetite| Arc::new(Slow { appetite, leave: tokio::sync::Semaphore::new(0) });
    let pool = BufferPool::new(8);
    assert_eq!(taken(&pool, &slow(0), 0).await, 2, "a storage without appetite has its share");
    assert_eq!(taken(&pool, &slow(5), 0).await, 5, "as many as it wants");
    assert_eq!(taken(&pool, &slow(100), 0).await, 8, "all that there are");
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(pool.take().await);
    }
    assert_eq!(taken(&pool, &slow(100), 4).await, 4);
    assert_eq!(pool.in_use(), 4);
}
