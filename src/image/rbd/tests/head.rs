//! A head that is not its base is noticed and made so.

use std::sync::Arc;

use rsnap_rbd::{Features, Layout, Mode};

use super::support::{Site, site};
use crate::image::cases::{Bench, changed, content, id, image, request};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::revert::Revert;

const MIB: usize = 1 << 20;

struct Scene {
    site: Site,
    store: RbdStore,
    bench: Bench,
    dice: Dice,
    first: Vec<u8>,
}

impl Scene {
    /// An image with one snapshot of `size` bytes.
    async fn new(site: Site, size: usize) -> Self {
        let mut dice = Dice(40);
        let first = content(&mut dice, size);
        let store = site.store();
        let bench = Bench::new(Arc::new(store.clone()), None);
        bench.put(0, None, &first).await.unwrap();
        Self { site, store, bench, dice, first }
    }

    async fn scribble(&self, offset: u64, bytes: Vec<u8>) {
        let image = self.site.image(Mode::ReadWrite);
        let length = bytes.len();
        image.write(offset, bytes, 0..length).await.unwrap();
        image.close().unwrap();
    }

    /// Sends the next snapshot, which must be right whatever the head was.
    async fn next(&mut self) -> (Vec<u8>, Revert) {
        let size = self.first.len();
        let second = changed(&mut self.dice, &self.first, size);
        self.bench.put(1, Some((0, &self.first)), &second).await.unwrap();
        self.bench.check(1, &second).await;
        self.bench.check(0, &self.first).await;
        assert_eq!(self.site.exported("snapshot-1"), second);
        let reverted = self.store.shared.reverted.lock().unwrap().pop().unwrap();
        let counted = self.site.metrics.heads_reverted.get();
        assert_eq!(counted, u64::from(reverted.way != Revert::Nothing));
        (second, reverted.way)
    }
}

#[tokio::test]
async fn an_untouched_head_is_left_alone() {
    let mut scene = Scene::new(site(), 9 * MIB).await;
    assert_eq!(scene.next().await.1, Revert::Nothing);
}

#[tokio::test]
async fn one_byte_is_noticed() {
    for offset in [0, 5 * MIB as u64 + 77, 9 * MIB as u64 - 1] {
        let mut scene = Scene::new(site(), 9 * MIB).await;
        let byte = scene.first[offset as usize] ^ 1;
        scene.scribble(offset, vec![byte]).await;
        assert_eq!(scene.next().await.1, Revert::Extents);
    }
}

#[tokio::test]
async fn data_over_a_hole_becomes_a_hole_again() {
    let mut scene = Scene::new(site(), 32 * MIB).await;
    scene.first = vec![0; 32 * MIB];
    scene.first[..4096].fill(1);
    scene.bench.store.delete(&image(), &id(0)).await.unwrap();
    let first = scene.first.clone();
    scene.bench.put(0, None, &first).await.unwrap();
    scene.scribble(20 * MIB as u64 + 5, vec![9; 100_000]).await;
    assert_eq!(scene.next().await.1, Revert::Extents);
}

#[tokio::test]
async fn a_head_that_was_rewritten_is_rolled_back() {
    let mut scene = Scene::new(site(), 40 * MIB).await;
    scene.scribble(0, vec![5; 40 * MIB]).await;
    assert_eq!(scene.next().await.1, Revert::Rollback);
}

#[tokio::test]
async fn a_head_of_another_size_gets_its_size_back() {
    for size in [2 * MIB as u64, 0, 30 * MIB as u64] {
        let mut scene = Scene::new(site(), 9 * MIB).await;
        let image = scene.site.image(Mode::ReadWrite);
        image.resize(size).unwrap();
        image.close().unwrap();
        scene.next().await;
        assert_eq!(scene.site.image(Mode::ReadOnly).size().unwrap(), 9 * MIB as u64);
    }
}

#[tokio::test]
async fn an_image_without_maps_is_compared_exactly() {
    let site = site();
    let features = Some(Features::LAYERING | Features::EXCLUSIVE_LOCK);
    let layout = Layout { features, object_bytes: Some(1 << 20), ..Layout::default() };
    site.pool().create(image().as_str(), 9 * MIB as u64, &layout).unwrap();
    let mut scene = Scene::new(site, 9 * MIB).await;
    scene.scribble(6 * MIB as u64 + 3, vec![scene.first[6 * MIB + 3] ^ 1]).await;
    assert_eq!(scene.next().await.1, Revert::Extents);
    assert!(!scene.site.image(Mode::ReadOnly).features().unwrap().contains(Features::OBJECT_MAP));
}

#[tokio::test]
async fn a_map_that_is_flagged_is_not_believed() {
    let mut scene = Scene::new(site(), 9 * MIB).await;
    scene.scribble(6 * MIB as u64 + 3, vec![scene.first[6 * MIB + 3] ^ 1]).await;
    let name = scene.site.name("");
    let id = scene.site.image(Mode::ReadOnly).id().unwrap();
    // As a cluster does that finds a map damaged.
    let space = &scene.site.namespace;
    scene.site.cluster.shell(&format!("rados -p volumes -N {space} rm rbd_object_map.{id}")).unwrap();
    scene.site.cluster.shell(&format!("rbd object-map check {name} >/dev/null 2>&1 || true")).unwrap();
    assert!(scene.site.image(Mode::ReadOnly).flags().unwrap().object_map_invalid);
    assert_eq!(scene.next().await.1, Revert::Extents);
}

#[tokio::test]
async fn an_older_base_is_no_cause_for_alarm() {
    let mut scene = Scene::new(site(), 9 * MIB).await;
    let (second, _) = scene.next().await;
    let third = changed(&mut scene.dice, &scene.first, 9 * MIB);
    assert_ne!(second, scene.first);
    scene.bench.put(2, Some((0, &scene.first)), &third).await.unwrap();
    scene.bench.check(2, &third).await;
    assert_ne!(scene.store.shared.reverted.lock().unwrap().pop().unwrap().way, Revert::Nothing);
    assert_eq!(scene.site.metrics.heads_reverted.get(), 0);
}

#[tokio::test]
async fn a_failed_transfer_leaves_no_trace_in_the_next_one() {
    let mut scene = Scene::new(site(), 9 * MIB).await;
    let other = content(&mut scene.dice, 12 * MIB);
    for flushed in [false, true] {
        let staged = scene.bench.store.stage(request(7, Some(0), 12 * MIB)).await.unwrap();
        scene.bench.ingest(&staged, &scene.first, &other).await.unwrap();
        if flushed {
            staged.flush().await.unwrap();
        }
        staged.abort().await;
    }
    assert_eq!(scene.site.trees().len(), 1);
    scene.store.shared.reverted.lock().unwrap().clear();
    let before = scene.site.metrics.heads_reverted.get();
    let size = scene.first.len();
    let second = changed(&mut scene.dice, &scene.first, size);
    scene.bench.put(1, Some((0, &scene.first)), &second).await.unwrap();
    assert_eq!(scene.site.metrics.heads_reverted.get(), before + 1);
    scene.bench.check(1, &second).await;
    // A full one does not care what was there.
    scene.scribble(100, vec![3; 5000]).await;
    scene.bench.put(2, None, &other).await.unwrap();
    assert_eq!(scene.site.exported("snapshot-2"), other);
    for (number, bytes) in [(0, &scene.first), (1, &second), (2, &other)] {
        scene.bench.check(number, bytes).await;
    }
}

#[tokio::test]
async fn a_base_behind_a_smaller_snapshot_comes_back_whole() {
    let scene = Scene::new(site(), 41 * MIB).await;
    let second = scene.first[..20 * MIB].to_vec();
    scene.bench.put(1, Some((0, &scene.first)), &second).await.unwrap();
    let mut third = scene.first.clone();
    third[..4096].fill(7);
    scene.bench.put(2, Some((0, &scene.first)), &third).await.unwrap();
    scene.bench.check(2, &third).await;
    assert!(scene.site.exported("snapshot-2") == third);
}
