//! Deletions: fenced as transfers are, and whole whatever is cut short.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rsnap_rbd::Mode;
use rustix::process::Signal;

use super::child::Writer;
use super::support::Scene;
use crate::image::cases::{Bench, id, image};
use crate::image::rbd::record::{deleted_key, layer_key, snapshot_key};
use crate::image::record::{Tombstone, seal};
use crate::image::{ImageError, ImageStore as _};

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(180);

impl Scene {
    fn record(&self, key: &str) -> Option<String> {
        self.site.image(Mode::ReadOnly).metadata(key).unwrap()
    }

    async fn check(&self, numbers: &[usize]) {
        let expected: Vec<String> = numbers.iter().map(|number| format!("s{number}")).collect();
        assert_eq!(self.bench.names().await, expected);
        assert_eq!(self.bench.store.chain(&image()).await.unwrap().damaged, []);
        for number in numbers {
            self.bench.check(*number, &self.all[*number]).await;
        }
    }
}

#[tokio::test]
async fn a_deleter_that_was_stopped_can_change_nothing_when_it_wakes() {
    let scene = Scene::new(110, 2 * MIB).await;
    let mut deleter = Writer::start(&scene.site);
    assert_eq!(deleter.ask("enter 0"), "ok");
    // Another gateway has to wait as long as it lives, but not longer.
    let other = scene.site.store();
    let refused = other.delete(&image(), &id(1)).await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    deleter.signal(Signal::STOP);
    other.delete(&image(), &id(1)).await.unwrap();
    scene.check(&[0, 2]).await;
    deleter.signal(Signal::CONT);
    assert_eq!(deleter.ask("hide s2"), "Fenced");
    scene.check(&[0, 2]).await;
    scene.bench.store.delete(&image(), &id(0)).await.unwrap();
    scene.check(&[2]).await;
    assert_eq!(scene.site.trees().len(), 1);
}

#[tokio::test]
async fn a_virtual_machine_keeps_the_lock_and_snapshots_can_be_deleted() {
    let scene = Scene::new(110, 2 * MIB).await;
    let theirs = scene.site.image(Mode::ReadWrite);
    theirs.write(0, vec![9; 10], 0..10).await.unwrap();
    assert!(theirs.is_lock_owner().unwrap());
    scene.bench.store.delete(&image(), &id(1)).await.unwrap();
    scene.check(&[0, 2]).await;
    assert!(theirs.is_lock_owner().unwrap(), "the lock has moved");
    theirs.write(0, vec![8; 10], 0..10).await.unwrap();
    let refused = scene.bench.store.delete(&image(), &id(1)).await;
    assert!(matches!(refused, Err(ImageError::NotFound { .. })), "{refused:?}");
    theirs.close().unwrap();
    scene.bench.put(1, Some((2, &scene.all[2])), &scene.all[1]).await.unwrap();
    scene.bench.check(1, &scene.all[1]).await;
}

/// The same without the lock. Nobody notices before its watch has ended, which takes half a minute.
#[tokio::test]
async fn a_deleter_that_was_stopped_beside_a_virtual_machine_is_shut_out_too() {
    let scene = Scene::new(110, 2 * MIB).await;
    let theirs = scene.site.image(Mode::ReadWrite);
    theirs.acquire_lock().unwrap();
    let mut deleter = Writer::start(&scene.site);
    assert_eq!(deleter.ask("enter 1"), "ok");
    deleter.signal(Signal::STOP);
    let start = Instant::now();
    let other = scene.site.store();
    loop {
        match other.delete(&image(), &id(1)).await {
            Err(ImageError::Busy { .. }) if start.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(500)).await
            }
            deleted => break deleted.unwrap(),
        }
    }
    deleter.signal(Signal::CONT);
    assert_eq!(deleter.ask("hide s2"), "Fenced");
    scene.check(&[0, 2]).await;
    assert!(theirs.is_lock_owner().unwrap(), "the lock has moved");
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_stays_one() {
    // After the tombstone; after the record of the layer; and when all else is gone.
    for cut in 0..3 {
        let scene = Scene::new(110, 2 * MIB).await;
        let key = snapshot_key(&"snapshot-2".parse().unwrap());
        let record = scene.record(&key).unwrap();
        let layer =
            crate::image::record::unseal::<crate::image::rbd::record::Stored>(record.as_bytes()).unwrap().layer.name;
        let metadata = scene.site.image(Mode::ReadWrite);
        if cut == 2 {
            metadata.close().unwrap();
            scene.bench.store.delete(&image(), &id(2)).await.unwrap();
            assert_eq!((scene.record(&key), scene.record(&layer_key(&layer))), (None, None));
            let metadata = scene.site.image(Mode::ReadWrite);
            metadata.set_metadata(&key, &record).unwrap();
            metadata.close().unwrap();
        } else {
            let tombstone = seal(&Tombstone::now(&id(2)).of_layer(&layer)).unwrap();
            metadata.set_metadata(&deleted_key(&id(2)), &String::from_utf8(tombstone).unwrap()).unwrap();
            if cut == 1 {
                metadata.set_metadata(&layer_key(&layer), &record).unwrap();
            }
            metadata.close().unwrap();
        }
        scene.check(&[0, 1]).await;
        assert!(scene.bench.store.deleted(&image(), &id(2)).await.unwrap().is_some(), "cut {cut}");
        scene.bench.store.delete(&image(), &id(0)).await.unwrap();
        scene.check(&[1]).await;
        assert_eq!((scene.record(&key), scene.record(&layer_key(&layer))), (None, None), "cut {cut}");
        assert_eq!(scene.site.trees().len(), 1, "cut {cut}");
        let left = scene.site.image(Mode::ReadOnly).snapshots().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[tokio::test]
async fn deletions_by_many_gateways_at_once_do_not_meet() {
    let scene = Scene::new(110, 2 * MIB).await;
    let deletions = (0..3).map(|number| {
        let store = scene.site.store();
        async move {
            let start = Instant::now();
            loop {
                match store.delete(&image(), &id(number)).await {
                    Err(ImageError::Busy { .. } | ImageError::Fenced) if start.elapsed() < LONG => {
                        tokio::time::sleep(Duration::from_millis(20 * (number as u64 + 1))).await;
                    }
                    deleted => break deleted,
                }
            }
        }
    });
    for deleted in futures_util::future::join_all(deletions).await {
        deleted.unwrap();
    }
    scene.check(&[]).await;
    let bench = Bench::new(Arc::new(scene.site.store()), None);
    bench.put(5, None, &scene.all[0]).await.unwrap();
    assert_eq!(scene.site.trees().len(), 1);
    bench.check(5, &scene.all[0]).await;
}
