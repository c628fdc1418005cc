//! The beginning and the end of transfers that outlive their requests: a gateway dies while it begins one, or while it
//! clears one away, and others remove what came of it.

use std::sync::Arc;

use rsnap_rbd::Mode;

use super::support::site;
use super::uploads::{SIZE, Scene, THERE, feed, finish, new, old};
use crate::id::TransferId;
use crate::image::blocking::blocking;
use crate::image::cases::{Bench, image, request, transfer, upload_request};
use crate::image::rbd::objects::Objects;
use crate::image::rbd::record::{log_name, upload_key};
use crate::image::rbd::session::Session;
use crate::image::rbd::upload::{Step, give_up};
use crate::image::{ImageError, ImageStore as _, StageRequest};

/// A base, and one that died after this step of beginning an upload over it.
async fn begun(step: Step) -> Scene {
    let site = site();
    let store = site.store();
    let bench = Bench::new(Arc::new(store.clone()), None);
    bench.put(0, None, &old()).await.unwrap();
    let dead = site.store();
    dead.shared.deaths.at(step);
    let died = dead.stage(upload_request(1, Some(0), SIZE)).await;
    assert!(matches!(died, Err(ImageError::Fenced)), "{step:?}: {died:?}");
    Scene { site, bench, store }
}

const BEGINNING: [Step; 3] = [Step::Staged, Step::Logged, Step::Begun];

#[tokio::test]
async fn a_death_at_each_step_of_beginning_is_in_nobodys_way() {
    for step in BEGINNING {
        let scene = begun(step).await;
        assert_eq!(scene.bench.names().await, ["s0"], "{step:?}");
        let upload = scene.store.stage(upload_request(2, Some(0), SIZE)).await.unwrap().upload().unwrap();
        feed(&upload, 0..SIZE, &new()).await.unwrap();
        finish(&upload, &new()).await.unwrap();
        drop(upload);
        scene.bench.check(0, &old()).await;
        scene.bench.check(2, &new()).await;
        scene.store.discard(&image(), &transfer(1)).await.unwrap();
        assert_eq!(scene.left().await, Vec::<String>::new(), "{step:?}");
    }
}

/// Whoever began it was not told, and finds it where it asks what there is.
#[tokio::test]
async fn what_was_begun_is_gone_on_with_or_is_not_there() {
    for step in BEGINNING {
        let scene = begun(step).await;
        let there = scene.store.uploads(&image()).await.unwrap();
        assert_eq!(there.len(), usize::from(step == Step::Begun), "{step:?}");
        if there.is_empty() {
            let missing = scene.store.resume(&image(), &transfer(1)).await;
            assert!(matches!(missing, Err(ImageError::NoUpload { .. })), "{step:?}: {missing:?}");
        } else {
            scene.go_on(0).await;
        }
    }
}

/// The steps of clearing an upload away that had happened before a death: it was given up, its log was removed, its
/// record was.
async fn clear_up_to(scene: &Scene, steps: usize) {
    let shared = Arc::clone(&scene.store.shared);
    let work = move || {
        let session = Session::open(&shared, &image(), None)?;
        let transfer: TransferId = transfer(1);
        give_up(&session, &transfer)?;
        if steps > 0 {
            session.changed(Objects::new(&session.pool, &session.id, &log_name(&transfer), 0).remove())?;
        }
        if steps > 1 {
            session.unset(&upload_key(&transfer))?;
        }
        session.cluster.blocklist(session.address(), 3600).map_err(crate::image::rbd::failure::failed)
    };
    blocking(work).await.unwrap();
}

#[tokio::test]
async fn a_death_at_each_step_of_clearing_away_leaves_nothing_to_the_next_but_work() {
    for steps in 0..3 {
        let (scene, upload) = Scene::new().await;
        upload.suspend().await;
        drop(upload);
        clear_up_to(&scene, steps).await;
        let gone = scene.store.resume(&image(), &transfer(1)).await;
        assert!(matches!(gone, Err(ImageError::NoUpload { .. })), "{steps}: {gone:?}");
        assert!(scene.store.uploads(&image()).await.unwrap().is_empty(), "{steps}");
        let staged = scene.store.stage(request(3, Some(0), SIZE)).await.unwrap();
        staged.abort().await;
        assert_eq!(scene.left().await, Vec::<String>::new(), "{steps}");
        scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
        scene.bench.check(2, &new()).await;
        scene.bench.check(0, &old()).await;
    }
}

/// The record of a finished one answers for its snapshot, and for no other of that name.
#[tokio::test]
async fn what_is_known_of_a_finished_one_goes_when_others_have_removed_its_snapshot() {
    let (scene, upload) = Scene::new().await;
    upload.suspend().await;
    drop(upload);
    scene.go_on(THERE).await;
    let has_record = || {
        let there = scene.site.image(Mode::ReadOnly);
        there.metadata(&upload_key(&transfer(1))).unwrap().is_some()
    };
    scene.bench.put(2, Some((1, &new())), &old()).await.unwrap();
    assert!(has_record());
    scene.site.image(Mode::ReadWrite).remove_snapshot("snapshot-2").unwrap();
    scene.site.image(Mode::ReadWrite).remove_snapshot("snapshot-1").unwrap();
    let again = StageRequest { transfer: transfer(9), ..upload_request(1, Some(0), SIZE) };
    let upload = scene.store.stage(again).await.unwrap().upload().unwrap();
    feed(&upload, 0..SIZE, &old()).await.unwrap();
    finish(&upload, &old()).await.unwrap();
    drop(upload);
    scene.bench.put(3, Some((0, &old())), &new()).await.unwrap();
    assert!(!has_record());
    let there = scene.store.uploads(&image()).await.unwrap();
    assert_eq!(there.iter().map(|there| &there.request.transfer).collect::<Vec<_>>(), [&transfer(9)]);
    scene.bench.check(1, &old()).await;
}
