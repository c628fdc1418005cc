//! Trees: how they are kept, and how their space is given back.

use std::sync::Arc;

use rsnap_rbd::Mode;

use super::child::request_for;
use super::support::site;
use crate::content::{HEIGHT, Hash, Page, Root};
use crate::image::cases::{Bench, changed, content, id, image, request, sealed};
use crate::image::file::Dice;
use crate::image::rbd::record::snapshot_key;
use crate::image::{ImageError, ImageStore as _};

const MIB: usize = 1 << 20;

async fn chain(bench: &Bench, length: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(90);
    let mut all = vec![content(&mut dice, 3 * MIB)];
    bench.put(0, None, &all[0]).await.unwrap();
    for number in 1..length {
        let next = changed(&mut dice, &all[number - 1], 3 * MIB);
        bench.put(number, Some((number - 1, &all[number - 1])), &next).await.unwrap();
        all.push(next);
    }
    all
}

#[tokio::test]
async fn a_layer_is_merged_with_one_after_the_other_below_it() {
    for order in [[2, 1, 0], [0, 1, 2], [1, 2, 0], [1, 0, 2]] {
        let site = site();
        let bench = site.bench();
        let all = chain(&bench, 4).await;
        for gone in order {
            bench.store.delete(&image(), &id(gone)).await.unwrap();
            bench.check(3, &all[3]).await;
        }
        assert_eq!(site.trees().len(), 1, "{order:?}");
        bench.put(4, Some((3, &all[3])), &all[0]).await.unwrap();
        bench.check(4, &all[0]).await;
    }
}

#[tokio::test]
async fn a_deletion_that_overlaps_with_a_merge_stays_one() {
    let site = site();
    let bench = site.bench();
    let all = chain(&bench, 3).await;
    let key = snapshot_key(&"snapshot-1".parse().unwrap());
    let record = site.image(Mode::ReadOnly).metadata(&key).unwrap().unwrap();
    let reader = bench.store.open(&image(), &id(1)).await.unwrap();
    bench.store.delete(&image(), &id(1)).await.unwrap();
    // As a merge by another gateway would that began before the deletion.
    site.image(Mode::ReadWrite).set_metadata(&key, &record).unwrap();
    assert_eq!(bench.names().await, ["s0", "s2"]);
    bench.compare_open(&reader, &all[1]).await.unwrap();
    drop(reader);
    bench.store.delete(&image(), &id(0)).await.unwrap();
    assert_eq!(site.image(Mode::ReadOnly).metadata(&key).unwrap(), None);
    assert_eq!(bench.names().await, ["s2"]);
    assert_eq!(bench.store.chain(&image()).await.unwrap().damaged, []);
    bench.check(2, &all[2]).await;
    assert_eq!(site.trees().len(), 1);
}

fn page(number: u64) -> Page {
    let mut page = Page::default();
    page.0[(number % 16) as usize] = Hash([number as u8 | 1; 32]);
    page
}

/// Puts so many pages that a tree needs several objects.
const PAGES: u64 = 20_000;

#[tokio::test]
async fn a_large_tree_lies_in_several_objects() {
    let site = site();
    let bench = site.bench();
    let size = PAGES as usize * MIB;
    let staged = bench.store.stage(request(1, None, size)).await.unwrap();
    for number in 0..PAGES {
        staged.put(1, number, &page(number)).await.unwrap();
    }
    staged.put(HEIGHT, 0, &page(5)).await.unwrap();
    let durable = staged.flush().await.unwrap();
    staged.commit(durable, sealed(Root::new(size as u64, page(5).hash()))).await.unwrap();
    assert_eq!(site.trees().len(), 3);
    let snapshot = site.store().open(&image(), &id(1)).await.unwrap();
    for number in (0..PAGES).step_by(97).chain([PAGES - 1, 7_384, 7_385, 14_769]) {
        assert_eq!(snapshot.page(1, number).await.unwrap(), page(number), "page {number}");
    }
    assert_eq!(snapshot.page(1, PAGES).await.unwrap(), Page::default());
    let some: Vec<u64> = (7_380..7_396).collect();
    let expected: Vec<Page> = some.iter().map(|number| page(*number)).collect();
    assert_eq!(snapshot.pages(1, &some).await.unwrap(), expected);
    drop(snapshot);
    bench.store.delete(&image(), &id(1)).await.unwrap();
    assert_eq!(site.trees(), Vec::<String>::new());
}

#[tokio::test]
async fn trees_of_images_that_are_gone_are_swept_and_no_others() {
    let site = site();
    let bench = site.bench();
    let first = content(&mut Dice(91), 2 * MIB);
    // One that was removed by others, one in the trash, and one that lives and is being written.
    for volume in 2..=4 {
        let staged = bench.store.stage(request_for(volume, 1, None, 2 * MIB)).await.unwrap();
        let root = bench.ingest(&staged, &[], &first).await.unwrap();
        let durable = staged.flush().await.unwrap();
        staged.commit(durable, sealed(root)).await.unwrap();
    }
    let path = |volume: usize| format!("volumes/{}/volume-{volume}", site.namespace);
    site.cluster.rbd(&["snap", "purge", "--no-progress", &path(2)]).unwrap();
    site.cluster.rbd(&["rm", "--no-progress", &path(2)]).unwrap();
    site.cluster.rbd(&["trash", "mv", &path(3)]).unwrap();
    let staged = bench.store.stage(request(1, None, PAGES as usize * MIB)).await.unwrap();
    for number in 0..PAGES {
        staged.put(1, number, &page(number)).await.unwrap();
    }
    let before = site.trees().len();
    assert!(before >= 5, "{before}");
    assert_eq!(site.store().sweep().await.unwrap(), 1);
    assert_eq!(site.trees().len(), before - 1);
    assert_eq!(site.store().sweep().await.unwrap(), 0);
    staged.abort().await;
    let kept = bench.store.open(&"volume-4".parse().unwrap(), &id(1)).await.unwrap();
    bench.compare_open(&kept, &first).await.unwrap();
}

#[tokio::test]
async fn the_tree_of_a_dead_transfer_is_removed() {
    let site = site();
    let bench = site.bench();
    let all = chain(&bench, 1).await;
    let staged = bench.store.stage(request(1, Some(0), 3 * MIB)).await.unwrap();
    for number in 0..PAGES {
        staged.put(1, number, &page(number)).await.unwrap();
    }
    let owner = site.image(Mode::ReadWrite).lock_owners().unwrap().remove(0);
    site.client().blocklist(&owner, 3600).unwrap();
    drop(staged);
    assert!(site.trees().len() > 2);
    let other = Bench::new(Arc::new(site.store()), None);
    let put = loop {
        match other.put(1, Some((0, &all[0])), &all[0]).await {
            Err(ImageError::Busy { .. }) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            put => break put,
        }
    };
    put.unwrap();
    assert_eq!(site.trees().len(), 2);
}
