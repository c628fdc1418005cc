//! What an owner keeps between two requests, and who ends that.

use std::sync::Arc;
use std::time::Duration;

use rsnap_rbd::Mode;

use super::support::{Site, site};
use super::uploads::{SIZE, THERE, feed, finish, new, old, scribble};
use crate::image::cases::{Bench, changed, image, request, transfer, upload_request};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::{ImageError, ImageStore as _, UploadImage};

const LONG: Duration = Duration::from_secs(600);
const MIB: usize = 1 << 20;

/// A base, and an upload over it that rests.
struct Scene {
    site: Site,
    store: RbdStore,
    bench: Bench,
}

impl Scene {
    async fn new() -> Self {
        let site = site();
        let store = site.store_with_rest(LONG);
        let bench = Bench::new(Arc::new(store.clone()), None);
        bench.put(0, None, &old()).await.unwrap();
        let upload = store.stage(upload_request(1, Some(0), SIZE)).await.unwrap().upload().unwrap();
        feed(&upload, 0..4 * MIB, &new()).await.unwrap();
        upload.suspend().await;
        Self { site, store, bench }
    }

    async fn resume(&self) -> Arc<dyn UploadImage> {
        let upload = self.store.resume(&image(), &transfer(1)).await.unwrap();
        assert_eq!(upload.durable().end_from(0), 4 * MIB as u64);
        upload
    }

    /// How many owners the transfer has had.
    async fn owners(&self) -> u64 {
        let there = self.store.uploads(&image()).await.unwrap();
        there.iter().find(|there| there.request.transfer == transfer(1)).unwrap().generation
    }

    fn is_locked(&self) -> bool {
        !self.site.image(Mode::ReadWrite).lock_owners().unwrap().is_empty()
    }

    async fn ends_well(&self, upload: &Arc<dyn UploadImage>) {
        feed(upload, 4 * MIB..SIZE, &new()).await.unwrap();
        finish(upload, &new()).await.unwrap();
        self.bench.check(0, &old()).await;
        self.bench.check(1, &new()).await;
        assert_eq!(self.site.exported("snapshot-1"), new());
    }
}

#[tokio::test]
async fn the_next_request_goes_on_as_the_same_owner() {
    let scene = Scene::new().await;
    assert!(scene.is_locked(), "somebody could have written meanwhile");
    let upload = scene.resume().await;
    assert_eq!(scene.owners().await, 1);
    scene.ends_well(&upload).await;
}

#[tokio::test]
async fn another_gateway_does_not_wait_for_the_end_of_a_rest() {
    let scene = Scene::new().await;
    let upload = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
    assert_eq!(scene.owners().await, 2);
    let refused = scene.site.store().resume(&image(), &transfer(9)).await;
    assert!(matches!(refused, Err(ImageError::NoUpload { .. })), "{refused:?}");
    scene.ends_well(&upload).await;
}

/// The one that slept must not believe what it remembers.
#[tokio::test]
async fn a_rest_that_another_gateway_has_ended_is_over() {
    let scene = Scene::new().await;
    let other = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
    feed(&other, 4 * MIB..5 * MIB, &new()).await.unwrap();
    other.suspend().await;
    let upload = scene.store.resume(&image(), &transfer(1)).await.unwrap();
    assert_eq!((scene.owners().await, upload.durable().end_from(0)), (3, 5 * MIB as u64));
    feed(&upload, 5 * MIB..SIZE, &new()).await.unwrap();
    finish(&upload, &new()).await.unwrap();
    scene.bench.check(1, &new()).await;
}

#[tokio::test]
async fn another_transfer_of_this_gateway_goes_first() {
    let scene = Scene::new().await;
    let other = changed(&mut Dice(72), &old(), SIZE);
    scene.bench.put(2, Some((0, &old())), &other).await.unwrap();
    let upload = scene.resume().await;
    scene.ends_well(&upload).await;
    scene.bench.check(2, &other).await;
}

#[tokio::test]
async fn what_is_not_durable_does_not_rest() {
    let scene = Scene::new().await;
    let upload = scene.resume().await;
    scribble(&upload, 4 * MIB..SIZE, &vec![0xee; SIZE]).await.unwrap();
    upload.suspend().await;
    assert!(!scene.is_locked());
    let upload = scene.resume().await;
    assert_eq!(scene.owners().await, 2);
    scene.ends_well(&upload).await;
}

/// What of a block is not there yet would have to be told from what is.
#[tokio::test]
async fn half_a_block_does_not_rest() {
    let scene = Scene::new().await;
    let upload = scene.resume().await;
    feed(&upload, 4 * MIB..THERE, &new()).await.unwrap();
    upload.suspend().await;
    assert!(!scene.is_locked());
    let upload = scene.store.resume(&image(), &transfer(1)).await.unwrap();
    feed(&upload, THERE..SIZE, &new()).await.unwrap();
    finish(&upload, &new()).await.unwrap();
    scene.bench.check(1, &new()).await;
}

#[tokio::test]
async fn what_rests_can_be_given_up() {
    let scene = Scene::new().await;
    scene.store.discard(&image(), &transfer(1)).await.unwrap();
    assert!(scene.store.uploads(&image()).await.unwrap().is_empty());
    let refused = scene.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::NoUpload { .. })), "{refused:?}");
    scene.bench.put(3, Some((0, &old())), &new()).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_deleted_beside_what_rests() {
    let scene = Scene::new().await;
    scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
    scene.resume().await.suspend().await;
    scene.store.delete(&image(), &crate::image::cases::id(2)).await.unwrap();
    let upload = scene.resume().await;
    scene.ends_well(&upload).await;
}

#[tokio::test]
async fn a_rest_ends_by_itself() {
    let site = site();
    let store = site.store_with_rest(Duration::from_millis(300));
    let upload = store.stage(upload_request(1, None, SIZE)).await.unwrap().upload().unwrap();
    feed(&upload, 0..4 * MIB, &new()).await.unwrap();
    upload.suspend().await;
    drop(upload);
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !site.image(Mode::ReadWrite).lock_owners().unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < end, "it keeps the lock");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.store().stage(request(3, None, SIZE)).await.unwrap().abort().await;
}

/// The lock does not keep others from this, and the size says nothing of it afterwards.
#[tokio::test]
async fn what_was_cut_off_during_a_rest_is_not_committed() {
    let scene = Scene::new().await;
    let snapshot = scene.site.name("any");
    let path = snapshot.split('@').next().unwrap();
    for size in [2 * MIB, SIZE] {
        let size = format!("{size}B");
        scene.site.cluster.rbd(&["resize", "--no-progress", "--allow-shrink", "-s", &size, path]).unwrap();
    }
    match scene.store.resume(&image(), &transfer(1)).await {
        Ok(upload) => {
            feed(&upload, upload.durable().end_from(0) as usize..SIZE, &new()).await.unwrap();
            let refused = finish(&upload, &new()).await;
            assert!(matches!(refused, Err(ImageError::UploadDamaged { .. })), "{refused:?}");
            upload.abort().await;
        }
        Err(error) => assert!(matches!(error, ImageError::UploadDamaged { .. }), "{error:?}"),
    }
    scene.bench.check(0, &old()).await;
    scene.store.discard(&image(), &transfer(1)).await.ok();
    scene.bench.put(1, Some((0, &old())), &new()).await.unwrap();
    scene.bench.check(1, &new()).await;
}
