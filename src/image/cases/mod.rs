//! What every image store must do: the same cases for the model, the files and whatever comes after them.
//!
//! A case compares the store with plain byte arrays. [`Bench`] is a store under test, with a [`Vandal`] where someone
//! could reach its files behind its back.

mod bench;
mod uploads;

use std::time::{Duration, SystemTime};

pub(in crate::image) use self::bench::{Bench, Vandal, changed, content, id, image, request, root_of, sealed};
use self::bench::{MIB, scribble};
use super::*;
use crate::image::file::Dice;

/// Makes the tests of a store: each case on a fresh bench.
macro_rules! run_cases {
    ($bench:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::image::cases::$case(&$bench).await;
            }
        )*
    };
    ($bench:expr) => {
        $crate::image::cases::run_cases! {
            $bench;
            full_snapshots_of_all_sizes, a_chain_of_incrementals, a_volume_that_shrinks_and_grows, zeroes_over_data,
            deleting_any_of_a_chain, branches, one_writer_at_a_time, the_same_again, a_foreign_volume, a_missing_base,
            giving_up_leaves_nothing, readers_of_what_is_deleted, a_reader_of_the_newest, nothing_there, a_flipped_byte,
            files_restored, files_removed, a_full_disk, a_merge_on_a_full_disk, a_cancelled_commit,
            a_permission_from_before_a_deletion, a_damaged_tree
        }
    };
}
pub(in crate::image) use self::uploads::*;
pub(in crate::image) use run_cases;

pub(in crate::image) async fn nothing_there(bench: &Bench) {
    assert_eq!(bench.store.chain(&image()).await.unwrap(), Chain::default());
    assert!(matches!(bench.store.open(&image(), &id(1)).await, Err(ImageError::NotFound { .. })));
    assert!(matches!(bench.store.delete(&image(), &id(1)).await, Err(ImageError::NotFound { .. })));
    assert_eq!(bench.store.deleted(&image(), &id(1)).await.unwrap(), None);
}

pub(in crate::image) async fn full_snapshots_of_all_sizes(bench: &Bench) {
    let mut dice = Dice(1);
    let sizes = [0, 1, 4095, 4096, 4097, 65_537, MIB - 1, MIB, MIB + 1, 2 * MIB + 5000];
    let mut all = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let mut bytes = content(&mut dice, size);
        if let Some(last) = bytes.last_mut() {
            *last = 7;
        }
        let committed = bench.put(number, None, &bytes).await.unwrap();
        let Committed::New(record) = committed else { panic!("{committed:?}") };
        assert_eq!((record.snapshot.clone(), record.size, record.base.clone()), (id(number), size as u64, None));
        assert_eq!(record.created_ms, 1_700_000_000_123);
        assert_eq!(record.identity.source_volume.as_deref(), Some("origin"));
        let chain = bench.store.chain(&image()).await.unwrap();
        assert_eq!(chain.find(&id(number)), Some(&record));
        all.push(bytes);
    }
    for (number, bytes) in all.iter().enumerate() {
        bench.check(number, bytes).await;
    }
    let expected: Vec<String> = (0..all.len()).map(|number| id(number).to_string()).collect();
    assert_eq!(bench.names().await, expected);
}

/// A chain of `length`, each a random change of the one before.
async fn make_chain(bench: &Bench, dice: &mut Dice, length: usize, size: usize) -> Vec<Vec<u8>> {
    let mut all = vec![content(dice, size)];
    bench.put(0, None, &all[0]).await.unwrap();
    for number in 1..length {
        let next = changed(dice, &all[number - 1], size);
        bench.put(number, Some((number - 1, &all[number - 1])), &next).await.unwrap();
        all.push(next);
    }
    all
}

pub(in crate::image) async fn a_chain_of_incrementals(bench: &Bench) {
    let all = make_chain(bench, &mut Dice(2), 20, 2 * MIB + 77).await;
    for (number, bytes) in all.iter().enumerate() {
        bench.check(number, bytes).await;
    }
    let chain = bench.store.chain(&image()).await.unwrap();
    assert_eq!(chain.snapshots[7].base, Some(id(6)));
    assert!(chain.snapshots[1..].iter().all(|record| record.stored < MIB as u64), "an incremental stored too much");
}

pub(in crate::image) async fn a_volume_that_shrinks_and_grows(bench: &Bench) {
    let mut dice = Dice(3);
    let sizes = [3 * MIB, MIB + 5000, 3 * MIB + 17, MIB, 2 * MIB, 4097, 100, 5 * MIB, 0, MIB + 1];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let next = match all.last() {
            None => content(&mut dice, size),
            // Every other one changes nothing but the size.
            Some(last) if number % 2 == 0 => last.iter().copied().chain(std::iter::repeat(0)).take(size).collect(),
            Some(last) if size == 0 => last[..0].to_vec(),
            Some(last) => changed(&mut dice, last, size),
        };
        let base = number.checked_sub(1).map(|base| (base, all[base].as_slice()));
        bench.put(number, base, &next).await.unwrap();
        all.push(next);
    }
    for (number, bytes) in all.iter().enumerate() {
        bench.check(number, bytes).await;
    }
    for gone in [1, 3, 0, 8, 6, 5] {
        bench.store.delete(&image(), &id(gone)).await.unwrap();
        for number in bench.names().await {
            let number: usize = number[1..].parse().unwrap();
            bench.check(number, &all[number]).await;
        }
    }
}

pub(in crate::image) async fn zeroes_over_data(bench: &Bench) {
    let mut dice = Dice(4);
    let mut first = vec![0; 2 * MIB];
    scribble(&mut dice, &mut first);
    bench.put(0, None, &first).await.unwrap();
    let mut second = first.clone();
    second[8192..MIB + 4096].fill(0);
    let record = bench.put(1, Some((0, &first)), &second).await.unwrap().record().clone();
    assert_eq!(record.stored, 0);
    let third = vec![0; 2 * MIB];
    bench.put(2, Some((1, &second)), &third).await.unwrap();
    for (number, bytes) in [&first, &second, &third].into_iter().enumerate() {
        bench.check(number, bytes).await;
    }
    bench.store.delete(&image(), &id(0)).await.unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    bench.check(2, &third).await;
}

pub(in crate::image) async fn deleting_any_of_a_chain(bench: &Bench) {
    let mut dice = Dice(5);
    let mut all = make_chain(bench, &mut dice, 7, MIB + 9000).await;
    let mut left: Vec<usize> = (0..7).collect();
    for gone in [3, 0, 6, 4, 1, 5] {
        let before = SystemTime::now() - Duration::from_millis(1);
        bench.store.delete(&image(), &id(gone)).await.unwrap();
        left.retain(|number| *number != gone);
        let expected: Vec<String> = left.iter().map(|number| id(*number).to_string()).collect();
        assert_eq!(bench.names().await, expected);
        for number in &left {
            bench.check(*number, &all[*number]).await;
        }
        assert!(bench.store.deleted(&image(), &id(gone)).await.unwrap().is_some_and(|at| at >= before));
        assert!(matches!(bench.store.open(&image(), &id(gone)).await, Err(ImageError::NotFound { .. })));
        assert!(matches!(bench.store.delete(&image(), &id(gone)).await, Err(ImageError::NotFound { .. })));
    }
    // What is left is still a base, and a name may be used again.
    all[3] = changed(&mut dice, &all[2], MIB);
    bench.put(3, Some((2, &all[2])), &all[3]).await.unwrap();
    bench.check(3, &all[3]).await;
    bench.check(2, &all[2]).await;
}

pub(in crate::image) async fn branches(bench: &Bench) {
    let mut dice = Dice(6);
    let root = content(&mut dice, MIB + 100);
    bench.put(0, None, &root).await.unwrap();
    let mut all = vec![root.clone()];
    for number in 1..4 {
        let next = changed(&mut dice, &root, MIB + 100 * number);
        bench.put(number, Some((0, &root)), &next).await.unwrap();
        all.push(next);
    }
    bench.store.delete(&image(), &id(0)).await.unwrap();
    for gone in [2, 1] {
        for number in bench.names().await {
            let number: usize = number[1..].parse().unwrap();
            bench.check(number, &all[number]).await;
        }
        bench.store.delete(&image(), &id(gone)).await.unwrap();
    }
    bench.check(3, &all[3]).await;
    if let Some(vandal) = &bench.vandal {
        assert_eq!(vandal.files(".raw").len() + vandal.files(".delta").len(), 1, "space was not given back");
        assert_eq!(vandal.files(".hidden").len(), 0);
    }
}

pub(in crate::image) async fn one_writer_at_a_time(bench: &Bench) {
    let staged = bench.store.stage(request(1, None, MIB)).await.unwrap();
    assert!(matches!(bench.store.stage(request(2, None, MIB)).await, Err(ImageError::Busy { .. })));
    drop(staged);
    bench.put(2, None, &[1; 5000]).await.unwrap();
}

pub(in crate::image) async fn the_same_again(bench: &Bench) {
    let bytes = content(&mut Dice(7), MIB);
    let first = bench.put(1, None, &bytes).await.unwrap();
    let again = bench.put(1, None, &bytes).await.unwrap();
    assert_eq!(again, Committed::Already(first.record().clone()));
    let mut other = bytes.clone();
    other[77] ^= 1;
    let root = first.record().root;
    let refused = bench.put(1, None, &other).await;
    assert!(matches!(&refused, Err(ImageError::Exists { root: there, .. }) if *there == root), "{refused:?}");
    let mut renamed = request(2, None, other.len());
    renamed.name = request(1, None, 0).name;
    let refused = bench.put_as(renamed, &[], &other).await;
    assert!(matches!(refused, Err(ImageError::Exists { .. })), "{refused:?}");
    bench.check(1, &bytes).await;
    assert_eq!(bench.names().await, ["s1"]);
}

pub(in crate::image) async fn a_foreign_volume(bench: &Bench) {
    bench.put(1, None, &[1; 100]).await.unwrap();
    let mut foreign = request(2, None, 100);
    foreign.volume = "v2".parse().unwrap();
    let refused = bench.store.stage(foreign).await;
    assert!(matches!(refused, Err(ImageError::NotOwned { owner, .. }) if owner.as_str() == "v1"));
}

pub(in crate::image) async fn a_missing_base(bench: &Bench) {
    bench.put(1, None, &[1; 100]).await.unwrap();
    let refused = bench.store.stage(request(3, Some(2), 100)).await;
    assert!(matches!(refused, Err(ImageError::BaseMissing { base, .. }) if base == id(2)));
    bench.put(2, Some((1, &[1; 100])), &[2; 100]).await.unwrap();
}

pub(in crate::image) async fn giving_up_leaves_nothing(bench: &Bench) {
    let bytes = content(&mut Dice(8), MIB);
    for end in 0..4 {
        let staged = bench.store.stage(request(1, None, MIB)).await.unwrap();
        bench.ingest(&staged, &[], &bytes).await.unwrap();
        if end % 2 == 1 {
            staged.flush().await.unwrap();
        }
        if end >= 2 {
            staged.abort().await;
            staged.abort().await;
            assert!(staged.zero(0, GrainMap::FULL).await.is_err(), "it takes data after it was given up");
        }
        drop(staged);
        assert_eq!(bench.names().await, Vec::<String>::new());
        if let Some(vandal) = &bench.vandal {
            let left: Vec<String> = [".raw", ".tree", ".new"].iter().flat_map(|suffix| vandal.files(suffix)).collect();
            assert_eq!(left, Vec::<String>::new());
        }
    }
    bench.put(1, None, &bytes).await.unwrap();
    bench.check(1, &bytes).await;
}

pub(in crate::image) async fn readers_of_what_is_deleted(bench: &Bench) {
    let mut dice = Dice(9);
    let all = make_chain(bench, &mut dice, 4, MIB + 1).await;
    let first = bench.store.open(&image(), &id(1)).await.unwrap();
    let last = bench.store.open(&image(), &id(3)).await.unwrap();
    for gone in [1, 0, 2] {
        bench.store.delete(&image(), &id(gone)).await.unwrap();
        bench.compare_open(&first, &all[1]).await.unwrap();
        bench.compare_open(&last, &all[3]).await.unwrap();
    }
    drop(first);
    let next = changed(&mut dice, &all[3], MIB);
    bench.put(4, Some((3, &all[3])), &next).await.unwrap();
    bench.compare_open(&last, &all[3]).await.unwrap();
    bench.check(4, &next).await;
    if let Some(vandal) = &bench.vandal {
        assert_eq!(vandal.files(".hidden"), Vec::<String>::new());
    }
}

/// A reader who has not read anything yet, of a snapshot that no other one needs.
pub(in crate::image) async fn a_reader_of_the_newest(bench: &Bench) {
    let mut dice = Dice(12);
    let all = make_chain(bench, &mut dice, 2, MIB + 1).await;
    let newest = bench.store.open(&image(), &id(1)).await.unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    bench.store.delete(&image(), &id(0)).await.unwrap();
    bench.compare_open(&newest, &all[1]).await.unwrap();
    drop(newest);
    bench.put(2, None, &all[0]).await.unwrap();
    if let Some(vandal) = &bench.vandal {
        assert_eq!((vandal.files(".hidden").len(), vandal.files(".tree").len()), (0, 1));
    }
}

pub(in crate::image) async fn a_flipped_byte(bench: &Bench) {
    let Some(vandal) = &bench.vandal else { return };
    let mut dice = Dice(10);
    let all = make_chain(bench, &mut dice, 3, 2 * MIB).await;
    vandal.flip(&vandal.files(".raw")[0], MIB as u64 + 70_000);
    let refused = bench.store.stage(request(3, Some(2), 2 * MIB)).await;
    let Err(ImageError::BaseChanged { detail, .. }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains(&format!("byte {}", MIB + 65_536)), "{detail}");
    vandal.flip(&vandal.files(".raw")[0], MIB as u64 + 70_000);
    bench.put(3, Some((2, &all[2])), &all[1]).await.unwrap();
    // The sidecar is watched as well, and its pages are checked when they are read.
    let sidecar = vandal.files(".tree").into_iter().find(|name| name.starts_with("snapshot-1")).unwrap();
    vandal.flip(&sidecar, 100);
    let refused = bench.store.stage(request(4, Some(3), 2 * MIB)).await;
    assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{refused:?}");
    vandal.flip(&sidecar, 100);
    // During a transfer, too.
    let staged = bench.store.stage(request(4, Some(3), 2 * MIB)).await.unwrap();
    let root = bench.ingest(&staged, &all[1], &all[0]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    vandal.flip(&vandal.files(".raw")[0], 5);
    let refused = staged.commit(durable, sealed(root)).await;
    assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{refused:?}");
    assert_eq!(bench.names().await, ["s0", "s1", "s2", "s3"]);
}

pub(in crate::image) async fn files_restored(bench: &Bench) {
    let Some(vandal) = &bench.vandal else { return };
    let mut dice = Dice(11);
    let all = make_chain(bench, &mut dice, 3, MIB + 3000).await;
    for file in vandal.files(".raw").iter().chain(&vandal.files(".delta")).chain(&vandal.files(".tree")) {
        vandal.restore(file);
    }
    bench.put(3, Some((2, &all[2])), &all[0]).await.unwrap();
    bench.put(4, Some((3, &all[0])), &all[1]).await.unwrap();
    bench.check(3, &all[0]).await;
    bench.check(4, &all[1]).await;
}

pub(in crate::image) async fn files_removed(bench: &Bench) {
    let Some(vandal) = &bench.vandal else { return };
    let mut dice = Dice(12);
    let all = make_chain(bench, &mut dice, 3, MIB).await;
    let middle = vandal.files(".delta").into_iter().find(|name| name.starts_with("snapshot-1")).unwrap();
    vandal.remove(&middle);
    let chain = bench.store.chain(&image()).await.unwrap();
    assert_eq!(bench.names().await, ["s0"]);
    assert_eq!(chain.damaged.iter().map(SnapshotName::as_str).collect::<Vec<_>>(), ["snapshot-2"]);
    let refused = bench.store.stage(request(3, Some(2), MIB)).await;
    assert!(matches!(refused, Err(ImageError::BaseChanged { .. })), "{refused:?}");
    let refused = bench.store.stage(request(3, Some(1), MIB)).await;
    assert!(matches!(refused, Err(ImageError::BaseMissing { .. })), "{refused:?}");
    bench.put(2, None, &all[1]).await.unwrap();
    bench.put(1, Some((0, &all[0])), &all[2]).await.unwrap();
    assert_eq!(bench.names().await, ["s0", "s2", "s1"]);
    bench.check(1, &all[2]).await;
    bench.check(2, &all[1]).await;
    assert_eq!(bench.store.chain(&image()).await.unwrap().damaged, []);
    // A record that nobody can read keeps its place in the list of what is damaged, until it is sent again.
    vandal.flip("snapshot-2.snapshot", 120);
    assert_eq!(bench.store.chain(&image()).await.unwrap().damaged.len(), 1);
    bench.put(2, None, &all[2]).await.unwrap();
    bench.check(2, &all[2]).await;
    assert_eq!(bench.store.chain(&image()).await.unwrap().damaged, []);
}

pub(in crate::image) async fn a_full_disk(bench: &Bench) {
    let Some(vandal) = bench.vandal.as_ref() else { return };
    let mut first = vec![0; MIB];
    scribble(&mut Dice(13), &mut first);
    bench.put(0, None, &first).await.unwrap();
    if !vandal.fill(true) {
        return;
    }
    let mut second = vec![0; 2 * MIB];
    scribble(&mut Dice(14), &mut second);
    let refused = bench.put(1, Some((0, &first)), &second).await;
    assert!(matches!(refused, Err(ImageError::Full { .. })), "{refused:?}");
    assert_eq!(vandal.files(".delta"), Vec::<String>::new());
    vandal.fill(false);
    bench.check(0, &first).await;
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    bench.check(1, &second).await;
}

pub(in crate::image) async fn a_merge_on_a_full_disk(bench: &Bench) {
    let Some(vandal) = bench.vandal.as_ref() else { return };
    let first = content(&mut Dice(16), 3 * MIB);
    let mut second = first.clone();
    scribble(&mut Dice(17), &mut second[4096..3 * MIB - 100_000]);
    let third = changed(&mut Dice(18), &second, 2 * MIB + 9);
    bench.put(0, None, &first).await.unwrap();
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    bench.put(2, Some((1, &second)), &third).await.unwrap();
    let is_full = vandal.fill(true);
    bench.store.delete(&image(), &id(0)).await.unwrap();
    assert_eq!(vandal.files(".hidden").len(), usize::from(is_full));
    bench.check(1, &second).await;
    bench.check(2, &third).await;
    vandal.fill(false);
    bench.put(3, Some((2, &third)), &first).await.unwrap();
    assert_eq!(vandal.files(".hidden").len(), 0);
    for (number, bytes) in [(1, &second), (2, &third), (3, &first)] {
        bench.check(number, bytes).await;
    }
}

pub(in crate::image) async fn a_cancelled_commit(bench: &Bench) {
    let bytes = content(&mut Dice(15), MIB);
    let staged = bench.store.stage(request(0, None, MIB)).await.unwrap();
    let root = bench.ingest(&staged, &[], &bytes).await.unwrap();
    let durable = staged.flush().await.unwrap();
    // Polled once and dropped: the commit has begun or not; it is whole or not there.
    let mut commit = Box::pin(staged.commit(durable, sealed(root)));
    let _ = futures_poll(&mut commit).await;
    drop(commit);
    drop(staged);
    let put = loop {
        match bench.put(0, None, &bytes).await {
            Err(ImageError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            other => break other,
        }
    };
    put.unwrap();
    bench.check(0, &bytes).await;
    assert_eq!(bench.names().await, ["s0"]);
}

/// The snapshot is deleted while it is on its way again.
pub(in crate::image) async fn a_permission_from_before_a_deletion(bench: &Bench) {
    let issued = SystemTime::now() - Duration::from_secs(1);
    let bytes = content(&mut Dice(19), MIB);
    bench.put(0, None, &bytes).await.unwrap();
    let staged = bench.store.stage(request(0, None, MIB)).await.unwrap();
    let root = bench.ingest(&staged, &[], &bytes).await.unwrap();
    let durable = staged.flush().await.unwrap();
    bench.store.delete(&image(), &id(0)).await.unwrap();
    let refused = staged.commit(durable, Sealed { issued, ..sealed(root) }).await;
    assert!(matches!(refused, Err(ImageError::Deleted { .. })), "{refused:?}");
    staged.abort().await;
    assert_eq!(bench.names().await, Vec::<String>::new());
    assert!(!bench.store.confirm(&image(), &id(0)).await.unwrap());
    bench.put(0, None, &bytes).await.unwrap();
    bench.check(0, &bytes).await;
    assert!(bench.store.confirm(&image(), &id(0)).await.unwrap());
}

/// A snapshot whose tree cannot be read is not what was sent, and is replaced when it is sent again.
pub(in crate::image) async fn a_damaged_tree(bench: &Bench) {
    let Some(vandal) = &bench.vandal else { return };
    let first = content(&mut Dice(20), MIB / 2);
    let mut second = first.clone();
    second[77] ^= 1;
    bench.put(0, None, &first).await.unwrap();
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    assert!(bench.store.confirm(&image(), &id(1)).await.unwrap());
    let tree = vandal.files(".tree").into_iter().find(|name| name.starts_with("snapshot-1")).unwrap();
    // One block has changed, so there is one page of each level, the top page last.
    vandal.flip(&tree, 568 * (u64::from(crate::content::HEIGHT) - 1) + 100);
    assert!(!bench.store.confirm(&image(), &id(1)).await.unwrap());
    let again = bench.put(1, Some((0, &first)), &second).await.unwrap();
    assert!(matches!(again, Committed::New(_)), "{again:?}");
    assert!(bench.store.confirm(&image(), &id(1)).await.unwrap());
    bench.check(1, &second).await;
    bench.check(0, &first).await;
}

/// Polls a future once.
async fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
