//! What volumes share, what rots, and collections beside transfers.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::{gateway, gateway_with, memory, names};
use crate::content::{BLOCK_BYTES, GrainMap};
use crate::image::cases::{Bench, content, id, image, request, root_of, sealed};
use crate::image::file::Dice;
use crate::image::{Committed, ImageError, ImageStore as _, Inspection, StageRequest, StagedImage, Verified};

const MIB: usize = BLOCK_BYTES;

async fn folder(objects: &Arc<dyn ObjectStore>, folder: &str) -> Vec<Path> {
    let all = names(objects).await;
    all.into_iter().filter(|name| name.as_ref().contains(&format!("/{folder}/"))).collect()
}

fn other_image(number: usize, base: Option<usize>, size: usize) -> StageRequest {
    StageRequest { image: "volume-2".parse().unwrap(), volume: "v2".parse().unwrap(), ..request(number, base, size) }
}

/// Begins and fills a transfer, up to its commit.
async fn begin(bench: &Bench, request: StageRequest, bytes: &[u8]) -> Arc<dyn StagedImage> {
    let staged = bench.store.stage(request).await.unwrap();
    bench.ingest(&staged, &[], bytes).await.unwrap();
    staged
}

async fn finish(staged: &Arc<dyn StagedImage>, bytes: &[u8]) -> Result<Committed, ImageError> {
    let durable = staged.flush().await?;
    staged.commit(durable, sealed(root_of(bytes).await)).await
}

async fn flip(objects: &Arc<dyn ObjectStore>, name: &Path, place: usize) {
    let mut bytes = objects.get(name).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[place] ^= 1;
    objects.put(name, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn two_volumes_share_their_blocks() {
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway(&objects).await), None);
    let mut bytes = content(&mut Dice(1), 3 * MIB);
    bytes[MIB..2 * MIB].fill(0);
    bench.put(1, None, &bytes).await.unwrap();
    assert_eq!(folder(&objects, "blocks").await.len(), 2, "zeroes are stored");
    bench.put_as(other_image(1, None, bytes.len()), &[], &bytes).await.unwrap();
    assert_eq!(folder(&objects, "blocks").await.len(), 2, "equal blocks are stored twice");
    bench.store.delete(&image(), &id(1)).await.unwrap();
    assert_eq!(bench.store.sweep().await.unwrap(), 2, "a manifest and a segment");
    let snapshot = bench.store.open(&other_image(1, None, 0).image, &id(1)).await.unwrap();
    bench.compare_open(&snapshot, &bytes).await.unwrap();
    bench.store.delete(&other_image(1, None, 0).image, &id(1)).await.unwrap();
    assert_eq!(bench.store.sweep().await.unwrap(), 4);
    assert_eq!(folder(&objects, "blocks").await, []);
}

#[tokio::test]
async fn what_rotted_is_found_and_never_read() {
    let bytes = content(&mut Dice(2), 2 * MIB);
    for (what, places) in [("blocks", [3, 100, 5000]), ("segments", [3, 40, 600]), ("manifests", [3, 20, 50])] {
        for place in places {
            let objects = memory();
            let bench = Bench::new(Arc::new(gateway(&objects).await), None);
            bench.put(1, None, &bytes).await.unwrap();
            flip(&objects, &folder(&objects, what).await[0], place).await;
            let opened = bench.store.open(&image(), &id(1)).await;
            let is_open = opened.is_ok();
            assert_eq!(is_open, what != "manifests", "{what} {place}");
            assert_eq!(bench.store.confirm(&image(), &id(1)).await.unwrap(), is_open);
            let Ok(snapshot) = opened else { continue };
            let verified = Verified::new(Arc::clone(&snapshot));
            let mut faults = 0;
            for block in 0..2 {
                let mut buffer = bench.pool.take().await;
                faults += usize::from(verified.read_block(block, &mut buffer).await.is_err());
            }
            assert!(faults > 0, "{what} {place}");
            let mut inspection = Inspection::begin(snapshot, 0).await.unwrap();
            let mut damaged = Vec::new();
            let mut buffer = bench.pool.take().await;
            while let Some(looked) = inspection.next(&mut buffer).await.unwrap() {
                damaged.extend(looked.damaged);
            }
            assert!(!damaged.is_empty(), "{what} {place}");
        }
    }
}

/// Also a block that unpacks to more than a block, which nobody has put there in good faith.
#[tokio::test]
async fn a_missing_and_an_oversized_block_are_refused() {
    let bytes = content(&mut Dice(3), MIB);
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway(&objects).await), None);
    bench.put(1, None, &bytes).await.unwrap();
    let name = folder(&objects, "blocks").await.remove(0);
    let read = || async {
        let mut buffer = bench.pool.take().await;
        let snapshot = bench.store.open(&image(), &id(1)).await.unwrap();
        snapshot.read(0, GrainMap::FULL, &mut buffer).await.unwrap_err().to_string()
    };
    let head = objects.get(&name).await.unwrap().bytes().await.unwrap()[..16].to_vec();
    let bomb = [&head[..9], &[1], &head[10..], &zstd::bulk::compress(&vec![0; 64 * MIB], 3).unwrap()].concat();
    objects.put(&name, bomb.into()).await.unwrap();
    assert!(read().await.contains("cannot be unpacked"), "{}", read().await);
    objects.put(&name, vec![0; 3 * MIB].into()).await.unwrap();
    assert!(read().await.contains("more than the"), "{}", read().await);
    objects.delete(&name).await.unwrap();
    assert!(read().await.contains("is missing"), "{}", read().await);
}

#[tokio::test]
async fn a_block_that_rotted_is_mended_for_all_who_share_it() {
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway(&objects).await), None);
    let bytes = content(&mut Dice(9), 2 * MIB);
    bench.put(1, None, &bytes).await.unwrap();
    bench.put_as(other_image(1, None, bytes.len()), &[], &bytes).await.unwrap();
    for (name, place) in folder(&objects, "blocks").await.iter().zip([3, 70_000]) {
        flip(&objects, name, place).await;
    }
    let mending = bench.store.mend(&image(), &id(1)).await.unwrap();
    let verified = Verified::new(mending.image());
    for block in 0..2 {
        let mut buffer = bench.pool.take().await;
        assert!(verified.read_block(block, &mut buffer).await.is_err());
        buffer.copy_from_slice(&bytes[block as usize * MIB..][..MIB]);
        let proven = verified.prove(block, GrainMap::FULL, buffer).await.unwrap();
        assert!(mending.mend(proven).await.unwrap() > 0);
    }
    mending.flush().await.unwrap();
    bench.check(1, &bytes).await;
    let shared = bench.store.open(&other_image(1, None, 0).image, &id(1)).await.unwrap();
    bench.compare_open(&shared, &bytes).await.unwrap();
}

/// In each way in which an object can be no block any more.
#[tokio::test]
async fn a_block_that_rotted_is_not_relied_on() {
    let bytes = content(&mut Dice(10), 2 * MIB);
    let changes: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |mut whole| {
            whole[70_000] ^= 1;
            whole
        },
        |whole| whole[..5000].to_vec(),
        |whole| [whole, vec![0; 4096]].concat(),
        |_| Vec::new(),
    ];
    for change in changes {
        let objects = memory();
        let bench = Bench::new(Arc::new(gateway(&objects).await), None);
        bench.put(1, None, &bytes).await.unwrap();
        let name = folder(&objects, "blocks").await.remove(0);
        let whole = objects.get(&name).await.unwrap().bytes().await.unwrap().to_vec();
        objects.put(&name, change(whole).into()).await.unwrap();
        bench.put_as(other_image(1, None, bytes.len()), &[], &bytes).await.unwrap();
        assert_eq!(folder(&objects, "blocks").await.len(), 3, "the damaged one is there once more");
        let later = bench.store.open(&other_image(1, None, 0).image, &id(1)).await.unwrap();
        bench.compare_open(&later, &bytes).await.unwrap();
    }
}

/// Its name may be one that a collection is about to remove.
#[tokio::test]
async fn nothing_is_mended_for_a_snapshot_that_was_deleted() {
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway(&objects).await), None);
    let bytes = content(&mut Dice(11), MIB);
    bench.put(1, None, &bytes).await.unwrap();
    flip(&objects, &folder(&objects, "blocks").await[0], 70_000).await;
    let mending = bench.store.mend(&image(), &id(1)).await.unwrap();
    let mut buffer = bench.pool.take().await;
    buffer.copy_from_slice(&bytes);
    let proven = Verified::new(mending.image()).prove(0, GrainMap::FULL, buffer).await.unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    let refused = mending.mend(proven).await;
    assert!(matches!(refused, Err(ImageError::NotFound { .. })), "{refused:?}");
    bench.store.sweep().await.unwrap();
    assert_eq!(folder(&objects, "blocks").await, []);
}

/// One that names more than its image has, which nothing of it would contradict: it is refused before it is read, and
/// while it is there nothing is collected. The snapshot can be sent again.
#[tokio::test]
async fn a_forged_manifest_is_refused() {
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway(&objects).await), None);
    let bytes = content(&mut Dice(14), MIB);
    bench.put(1, None, &bytes).await.unwrap();
    let name = folder(&objects, "manifests").await.remove(0);
    objects.put(&name, vec![7; 93].into()).await.unwrap();
    for refused in [bench.store.open(&image(), &id(1)).await.map(drop), bench.store.sweep().await.map(drop)] {
        let refused = refused.unwrap_err();
        let is_told = refused.to_string().contains("93 bytes, more than the 92");
        assert!(matches!(refused, ImageError::Damaged { .. }) && is_told, "{refused}");
    }
    assert!(!bench.store.confirm(&image(), &id(1)).await.unwrap());
    bench.put(1, None, &bytes).await.unwrap();
    bench.check(1, &bytes).await;
    assert_eq!(bench.store.sweep().await.unwrap(), 2, "the forged manifest, and the segment that nobody names");
}

/// A gateway that mends looks whether the snapshot is there, and then puts: nothing may come between the two.
#[tokio::test]
async fn a_collection_waits_for_a_repair() {
    let objects = memory();
    let live = Duration::from_hours(1);
    let one = Bench::new(Arc::new(gateway_with(&objects, live).await), None);
    let two = gateway_with(&objects, live).await;
    let bytes = content(&mut Dice(12), MIB);
    one.put(1, None, &bytes).await.unwrap();
    let mending = one.store.mend(&image(), &id(1)).await.unwrap();
    one.store.delete(&image(), &id(1)).await.unwrap();
    assert_eq!(two.sweep().await.unwrap(), 0, "it did not wait for a repair");
    assert_eq!(folder(&objects, "blocks").await.len(), 1);
    drop(mending);
    // Its lease goes when somebody has time for that.
    while !folder(&objects, "leases").await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(two.sweep().await.unwrap(), 3, "a manifest, a segment and a block");
}

/// A repair that begins when a collection is under way, and mends what was garbage when that began.
#[tokio::test]
async fn what_is_condemned_is_mended_when_the_collection_is_over() {
    let objects = memory();
    let live = Duration::from_hours(1);
    let one = Bench::new(Arc::new(gateway_with(&objects, live).await), None);
    let two = gateway_with(&objects, live).await;
    let bytes = content(&mut Dice(13), MIB);
    one.put(1, None, &bytes).await.unwrap();
    one.store.delete(&image(), &id(1)).await.unwrap();
    let staged = begin(&one, other_image(7, None, bytes.len()), &bytes).await;
    assert_eq!(two.sweep().await.unwrap(), 0, "it waits for the transfer");
    finish(&staged, &bytes).await.unwrap();
    drop(staged);
    flip(&objects, &folder(&objects, "blocks").await[0], 70_000).await;
    let mend = async || {
        let mending = two.mend(&other_image(7, None, 0).image, &id(7)).await.unwrap();
        let mut buffer = one.pool.take().await;
        buffer.copy_from_slice(&bytes);
        let proven = Verified::new(mending.image()).prove(0, GrainMap::FULL, buffer).await.unwrap();
        mending.mend(proven).await
    };
    let refused = mend().await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    while !folder(&objects, "leases").await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(two.sweep().await.unwrap(), 2, "a manifest and a segment");
    assert!(mend().await.unwrap() > 0);
    let mended = one.store.open(&other_image(7, None, 0).image, &id(7)).await.unwrap();
    one.compare_open(&mended, &bytes).await.unwrap();
}

/// What a transfer found is there when it commits, whatever a collection of another gateway did meanwhile.
#[tokio::test]
async fn a_collection_beside_a_transfer_takes_nothing_from_it() {
    let objects = memory();
    let live = Duration::from_hours(1);
    let one = Bench::new(Arc::new(gateway_with(&objects, live).await), None);
    let two = Bench::new(Arc::new(gateway_with(&objects, live).await), None);
    let bytes = content(&mut Dice(4), 2 * MIB);
    one.put(1, None, &bytes).await.unwrap();
    // The blocks are garbage when the transfer finds them.
    one.store.delete(&image(), &id(1)).await.unwrap();
    let staged = begin(&one, other_image(7, None, bytes.len()), &bytes).await;
    assert_eq!(folder(&objects, "blocks").await.len(), 2);
    assert_eq!(two.store.sweep().await.unwrap(), 0, "it did not wait for a transfer");
    // One that begins now is not to rely on them.
    let late =
        begin(&two, StageRequest { image: "volume-3".parse().unwrap(), ..request(8, None, bytes.len()) }, &bytes).await;
    assert_eq!(folder(&objects, "blocks").await.len(), 4);
    finish(&staged, &bytes).await.unwrap();
    assert_eq!(two.store.sweep().await.unwrap(), 2, "the manifest and the segment of what was deleted");
    finish(&late, &bytes).await.unwrap();
    drop((staged, late));
    for name in ["volume-2", "volume-3"] {
        let number = if name == "volume-2" { 7 } else { 8 };
        let snapshot = one.store.open(&name.parse().unwrap(), &id(number)).await.unwrap();
        one.compare_open(&snapshot, &bytes).await.unwrap();
    }
    assert_eq!(two.store.sweep().await.unwrap(), 0);
}

/// A gateway that was taken for dead wakes up: nothing that it does counts.
#[tokio::test]
async fn a_transfer_that_was_given_up_commits_nothing() {
    let objects = memory();
    let asleep = Bench::new(Arc::new(gateway(&objects).await), None);
    let awake = Bench::new(Arc::new(gateway(&objects).await), None);
    let bytes = content(&mut Dice(5), 2 * MIB);
    let staged = begin(&asleep, request(1, None, bytes.len()), &bytes).await;
    assert_eq!(awake.store.sweep().await.unwrap(), 2, "its blocks");
    let refused = finish(&staged, &bytes).await;
    assert!(matches!(refused, Err(ImageError::Fenced)), "{refused:?}");
    drop(staged);
    awake.store.sweep().await.unwrap();
    assert_eq!(folder(&objects, "blocks").await, []);
    assert_eq!(awake.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_successor_of_another_gateway_waits_for_the_living_and_overtakes_the_dead() {
    for (lifetime, number, is_busy) in [(3600, 2, true), (3600, 1, false), (0, 2, false)] {
        let objects = memory();
        let bytes = content(&mut Dice(6), MIB);
        let first = Bench::new(Arc::new(gateway(&objects).await), None);
        let staged = begin(&first, request(1, None, bytes.len()), &bytes).await;
        let second = Bench::new(Arc::new(gateway_with(&objects, Duration::from_secs(lifetime)).await), None);
        let other = content(&mut Dice(7), MIB);
        let put = second.put(number, None, &other).await;
        if is_busy {
            assert!(matches!(put, Err(ImageError::Busy { .. })), "{put:?}");
            finish(&staged, &bytes).await.unwrap();
            continue;
        }
        put.unwrap();
        assert!(matches!(finish(&staged, &bytes).await, Err(ImageError::Fenced)));
        first.check(number, &other).await;
        assert_eq!(first.names().await.len(), 1);
    }
}

/// The base is deleted, and swept for, while a snapshot is made on it.
#[tokio::test]
async fn a_base_that_is_deleted_stays_for_its_writer() {
    let objects = memory();
    let bench = Bench::new(Arc::new(gateway_with(&objects, Duration::from_hours(1)).await), None);
    let first = content(&mut Dice(8), 2 * MIB);
    let mut second = first.clone();
    second[5] ^= 1;
    bench.put(1, None, &first).await.unwrap();
    let staged = bench.store.stage(request(2, Some(1), second.len())).await.unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    assert_eq!(bench.names().await, Vec::<String>::new());
    assert_eq!(bench.store.sweep().await.unwrap(), 0);
    let root = bench.ingest(&staged, &first, &second).await.unwrap();
    let durable = staged.flush().await.unwrap();
    staged.commit(durable, sealed(root)).await.unwrap();
    drop(staged);
    assert!(bench.store.sweep().await.unwrap() > 0);
    bench.check(2, &second).await;
    assert_eq!(folder(&objects, "blocks").await.len(), 2);
}

/// A gateway that slept creates a head that was removed long ago: it must not believe in it.
#[tokio::test]
async fn a_head_in_an_old_place_does_not_count() {
    use crate::image::objects::head::{Advance, advance, load};
    let objects = memory();
    let store = gateway(&objects).await;
    let bench = Bench::new(Arc::new(store.clone()), None);
    bench.put(1, None, &[1; 100]).await.unwrap();
    let bucket = &store.shared.bucket;
    let old = load(bucket, &image()).await.unwrap();
    for number in 2..9 {
        bench.put(number, None, &[1; 100]).await.unwrap();
    }
    let there = folder(&objects, "volume-1").await.len();
    assert!(there < 8, "old heads are kept: {there}");
    let next = old.head.next();
    assert_eq!(advance(bucket, &image(), &old, &next).await.unwrap(), Advance::Overtaken);
    assert_eq!(bench.names().await.len(), 8);
}
