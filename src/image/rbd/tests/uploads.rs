//! Transfers that outlive their requests, on a real cluster: what their owners suffer, and what strangers do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rsnap_rbd::Mode;
use rustix::process::Signal;

use super::child::{Writer, say};
use super::fence::told;
use super::support::{Site, site};
use crate::buffer::BufferPool;
use crate::content::GrainMap;
use crate::image::cases::{Bench, changed, content, id, image, request, root_of, sealed, transfer, upload_request};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::record::{CLAIM, GONE, PARKED, PREFIX, UPLOAD, upload_key};
use crate::image::rbd::upload::Step;
use crate::image::{Committed, ImageError, ImageStore as _, Ingest, Ranges, UploadImage};

const MIB: usize = 1 << 20;
pub(super) const SIZE: usize = 9 * MIB + 4321;
pub(super) const STEPS: [Step; 7] =
    [Step::Entered, Step::Parked, Step::Placed, Step::Cut, Step::Reverted, Step::Owned, Step::Cleared];

pub(super) fn old() -> Vec<u8> {
    content(&mut Dice(70), SIZE)
}

pub(super) fn new() -> Vec<u8> {
    changed(&mut Dice(71), &old(), SIZE)
}

fn until(end: usize) -> Ranges {
    Ranges::try_from(vec![(0, end as u64)]).unwrap()
}

/// Sends bytes of `range`, and makes them durable with all before them.
pub(super) async fn feed(
    upload: &Arc<dyn UploadImage>,
    range: std::ops::Range<usize>,
    bytes: &[u8],
) -> Result<(), ImageError> {
    scribble(upload, range.clone(), bytes).await?;
    upload.checkpoint(until(range.end)).await
}

/// Sends bytes, and does not make them durable.
pub(super) async fn scribble(
    upload: &Arc<dyn UploadImage>,
    range: std::ops::Range<usize>,
    bytes: &[u8],
) -> Result<(), ImageError> {
    let piece = range.start as u64..range.end as u64;
    let mut ingest = Ingest::piece(Arc::clone(upload), piece.clone(), BufferPool::new(8), 3).await?;
    ingest.write(piece.start, &bytes[range]).await?;
    ingest.end_piece().await.map(drop)
}

pub(super) async fn finish(upload: &Arc<dyn UploadImage>, bytes: &[u8]) -> Result<Committed, ImageError> {
    let (root, durable) = upload.close().await?;
    assert_eq!(root, root_of(bytes).await);
    upload.commit(durable, sealed(root)).await
}

/// A base, and an upload over it of which some is durable, and more is not.
pub(super) struct Scene {
    pub site: Site,
    pub bench: Bench,
    pub store: RbdStore,
}

pub(super) const THERE: usize = 4 * MIB + 700;

impl Scene {
    pub(super) async fn new() -> (Self, Arc<dyn UploadImage>) {
        let site = site();
        let store = site.store();
        let bench = Bench::new(Arc::new(store.clone()), None);
        bench.put(0, None, &old()).await.unwrap();
        let upload = store.stage(upload_request(1, Some(0), SIZE)).await.unwrap().upload().unwrap();
        feed(&upload, 0..THERE, &new()).await.unwrap();
        scribble(&upload, THERE..SIZE, &vec![0xee; SIZE]).await.unwrap();
        (Self { site, bench, store }, upload)
    }

    /// The same between two requests, with nobody who owns the upload.
    pub(super) async fn idle() -> Self {
        let (scene, upload) = Self::new().await;
        upload.suspend().await;
        scene
    }

    /// Another gateway goes on where the storage says, to the end.
    pub(super) async fn go_on(&self, there: usize) {
        let other = self.site.store();
        let upload = other.resume(&image(), &transfer(1)).await.unwrap();
        assert_eq!(upload.durable().end_from(0), there as u64);
        feed(&upload, there..SIZE, &new()).await.unwrap();
        finish(&upload, &new()).await.unwrap();
        drop(upload);
        self.bench.check(0, &old()).await;
        self.bench.check(1, &new()).await;
        assert_eq!(self.site.exported("snapshot-1"), new());
        assert_eq!(self.left().await, Vec::<String>::new());
    }

    /// What there is besides snapshots, their trees and their records.
    pub(super) async fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.site.trees().into_iter().filter(|name| name.contains(".log.")).collect();
        let there = self.site.image(Mode::ReadOnly);
        let snapshots = there.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name);
        left.extend(snapshots.filter(|name| name.starts_with("rsnap.")));
        let finished = |text: &str| text.contains("\"is_finished\":true");
        let metadata = there.all_metadata(PREFIX).unwrap().into_iter();
        let wanted = metadata.filter(|(key, text)| {
            (key.starts_with(UPLOAD) && !finished(text)) || [CLAIM, GONE].iter().any(|prefix| key.starts_with(prefix))
        });
        left.extend(wanted.map(|(key, _)| key));
        left
    }
}

/// Another process, whose upload is durable up to [`THERE`], and which writes on without end.
fn storming(site: &Site) -> Writer {
    let mut writer = Writer::start(site);
    assert_eq!(writer.ask("begin-upload 1"), "ok");
    assert_eq!(writer.ask(&format!("feed-upload 1 {THERE}")), "ok");
    assert_eq!(writer.ask("storm-upload 1"), "ok");
    writer
}

#[tokio::test]
async fn an_upload_outlives_an_owner_that_was_killed() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &old()).await.unwrap();
    let writer = storming(&site);
    writer.kill();
    let scene = Scene { store: site.store(), bench, site };
    scene.go_on(THERE).await;
}

#[tokio::test]
async fn an_owner_that_was_stopped_changes_nothing_when_it_wakes() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &old()).await.unwrap();
    let mut writer = storming(&site);
    writer.signal(Signal::STOP);
    let store = site.store();
    let upload = store.resume(&image(), &transfer(1)).await.unwrap();
    assert_eq!(upload.durable().end_from(0), THERE as u64);
    feed(&upload, THERE..6 * MIB, &new()).await.unwrap();
    writer.signal(Signal::CONT);
    assert_eq!(writer.line(), "storm over: Fenced");
    for attempt in ["mark-upload 1", "check-upload 1", "commit-upload 1"] {
        let answer = writer.ask(attempt);
        assert!(["Fenced", "closed"].contains(&answer.as_str()), "{attempt}: {answer}");
    }
    feed(&upload, 6 * MIB..SIZE, &new()).await.unwrap();
    assert_eq!(writer.ask("abort-upload 1"), "ok");
    finish(&upload, &new()).await.unwrap();
    bench.check(1, &new()).await;
    assert_eq!(site.exported("snapshot-1"), new());
    // It can work on others.
    assert_eq!(writer.ask("begin-upload 2"), "ok");
}

#[tokio::test]
async fn an_owner_that_lives_lets_go() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &old()).await.unwrap();
    let mut writer = Writer::start(&site);
    assert_eq!(writer.ask("begin-upload 1"), "ok");
    assert_eq!(writer.ask(&format!("feed-upload 1 {THERE}")), "ok");
    assert_eq!(writer.ask("serve-upload 1"), "ok");
    // A transfer that needs the image is told to wait, and nobody is disturbed.
    let refused = bench.store.stage(request(3, Some(0), SIZE)).await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    let scene = Scene { store: site.store(), bench, site };
    scene.go_on(THERE).await;
    assert_eq!(writer.line(), "served: Fenced");
    let refused = scene.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::NoUpload { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_transfer_of_another_snapshot_is_not_overtaken() {
    let (scene, upload) = Scene::new().await;
    upload.suspend().await;
    let staged = scene.store.stage(request(3, Some(0), SIZE)).await.unwrap();
    let refused = scene.site.store().resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    staged.abort().await;
    scene.go_on(THERE).await;
}

#[tokio::test]
async fn a_death_at_each_step_of_taking_over_heals() {
    for step in STEPS {
        for is_parked in [false, true] {
            let scene = Scene::idle().await;
            if is_parked {
                scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
                let parked = |name: &String| name.starts_with(PARKED);
                assert_eq!(scene.left().await.iter().filter(|name| parked(name)).count(), 1);
                scene.bench.store.delete(&image(), &id(2)).await.unwrap();
            }
            let dead = scene.site.store();
            dead.shared.deaths.at(step);
            let died = dead.resume(&image(), &transfer(1)).await;
            assert!(matches!(died, Err(ImageError::Fenced)), "{step:?}: {died:?}");
            drop(dead);
            scene.go_on(THERE).await;
        }
    }
}

/// Another transfer comes after a death in the takeover, instead of the upload itself.
#[tokio::test]
async fn a_death_of_one_who_takes_over_harms_no_other_transfer() {
    for step in STEPS {
        let scene = Scene::idle().await;
        let dead = scene.site.store();
        dead.shared.deaths.at(step);
        dead.resume(&image(), &transfer(1)).await.unwrap_err();
        let other = changed(&mut Dice(72), &old(), SIZE);
        scene.bench.put(2, Some((0, &old())), &other).await.unwrap();
        scene.bench.check(2, &other).await;
        scene.go_on(THERE).await;
        scene.bench.check(2, &other).await;
    }
}

#[tokio::test]
async fn a_full_upload_waits_while_another_transfer_has_the_head() {
    let site = site();
    let store = site.store();
    let bench = Bench::new(Arc::new(store.clone()), None);
    let upload = store.stage(upload_request(1, None, SIZE)).await.unwrap().upload().unwrap();
    feed(&upload, 0..THERE, &new()).await.unwrap();
    scribble(&upload, THERE..SIZE, &vec![0xee; SIZE]).await.unwrap();
    upload.suspend().await;
    bench.put(0, None, &old()).await.unwrap();
    let scene = Scene { site, bench, store };
    scene.go_on(THERE).await;
}

#[tokio::test]
async fn abandoned_uploads_expire() {
    let before = |age: u64| SystemTime::now() - Duration::from_secs(age);
    for is_parked in [false, true] {
        let (scene, upload) = Scene::new().await;
        let now = || SystemTime::now() + Duration::from_secs(1);
        // Somebody has it.
        assert_eq!(scene.site.store().expire(now()).await.unwrap(), 0);
        upload.suspend().await;
        drop(upload);
        if is_parked {
            scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
        }
        assert_eq!(scene.site.store().expire(before(3600)).await.unwrap(), 0);
        assert_eq!(scene.store.uploads(&image()).await.unwrap().len(), 1);
        assert_eq!(scene.site.store().expire(now()).await.unwrap(), 1);
        assert_eq!(scene.left().await, Vec::<String>::new());
        assert!(scene.store.uploads(&image()).await.unwrap().is_empty());
        assert_eq!(scene.site.store().expire(now()).await.unwrap(), 0);
        scene.bench.put(1, Some((0, &old())), &new()).await.unwrap();
        scene.bench.check(1, &new()).await;
    }
}

#[tokio::test]
async fn an_abandoned_upload_gives_its_space_back() {
    let site = site();
    let store = site.store();
    let upload = store.stage(upload_request(1, None, SIZE)).await.unwrap().upload().unwrap();
    feed(&upload, 0..SIZE, &new()).await.unwrap();
    upload.suspend().await;
    drop(upload);
    assert!(site.image(Mode::ReadOnly).size().unwrap() == SIZE as u64 && !site.data().is_empty());
    assert_eq!(store.expire(SystemTime::now() + Duration::from_secs(1)).await.unwrap(), 1);
    assert_eq!((site.data(), site.trees()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_record_that_cannot_be_believed_expires_and_one_of_another_version_stays() {
    let scene = Scene::idle().await;
    let key = upload_key(&transfer(1));
    let theirs = scene.site.image(Mode::ReadWrite);
    let text = theirs.metadata(&key).unwrap().unwrap();
    theirs.set_metadata(&key, &text.replace("\"version\":1", "\"version\":2")).unwrap();
    assert_eq!(scene.site.store().expire(SystemTime::now()).await.unwrap(), 0);
    theirs.set_metadata(&key, "torn").unwrap();
    theirs.close().unwrap();
    assert_eq!(scene.site.store().expire(SystemTime::now()).await.unwrap(), 1);
    assert_eq!(scene.left().await, Vec::<String>::new());
}

#[tokio::test]
async fn two_uploads_take_turns() {
    let (scene, one) = Scene::new().await;
    one.suspend().await;
    let other = changed(&mut Dice(73), &old(), SIZE);
    let two = scene.store.stage(upload_request(2, Some(0), SIZE)).await.unwrap().upload().unwrap();
    feed(&two, 0..2 * MIB, &other).await.unwrap();
    two.suspend().await;
    let mut there = THERE;
    for end in [5 * MIB, 7 * MIB] {
        let one = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
        feed(&one, there..end, &new()).await.unwrap();
        one.suspend().await;
        there = end;
        let two = scene.site.store().resume(&image(), &transfer(2)).await.unwrap();
        feed(&two, end - 3 * MIB..end - MIB, &other).await.unwrap();
        two.suspend().await;
    }
    let two = scene.site.store().resume(&image(), &transfer(2)).await.unwrap();
    feed(&two, 2 * MIB..SIZE, &other).await.unwrap();
    finish(&two, &other).await.unwrap();
    drop(two);
    scene.go_on(there).await;
    scene.bench.check(2, &other).await;
}

#[tokio::test]
async fn what_somebody_writes_to_an_idle_head_is_noticed() {
    // Over what was sent, and where nothing was sent.
    for offset in [MIB as u64 + 77, 8 * MIB as u64] {
        let (scene, upload) = Scene::new().await;
        drop(upload);
        let upload = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
        upload.checkpoint(until(SIZE)).await.unwrap();
        upload.suspend().await;
        drop(upload);
        let theirs = scene.site.image(Mode::ReadWrite);
        theirs.write(offset, vec![0x5a; 100], 0..100).await.unwrap();
        theirs.close().unwrap();
        let upload = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
        let refused = upload.close().await;
        let Err(ImageError::UploadDamaged { detail, .. }) = refused else { panic!("{refused:?}") };
        assert!(detail.contains(&(offset / MIB as u64 * MIB as u64).to_string()), "{detail}");
        upload.abort().await;
        drop(upload);
        assert_eq!(scene.left().await, Vec::<String>::new());
        scene.bench.put(1, Some((0, &old())), &new()).await.unwrap();
        scene.bench.check(1, &new()).await;
    }
}

#[tokio::test]
async fn a_head_that_was_resized_begins_anew() {
    let scene = Scene::idle().await;
    let theirs = scene.site.image(Mode::ReadWrite);
    theirs.resize(2 * MIB as u64).unwrap();
    theirs.close().unwrap();
    scene.go_on(0).await;
}

#[tokio::test]
async fn without_its_parked_snapshot_it_begins_anew() {
    let scene = Scene::idle().await;
    scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
    let parked = scene.left().await.into_iter().find(|name| name.starts_with(PARKED)).unwrap();
    scene.site.cluster.rbd(&["snap", "rm", "--no-progress", &scene.site.name(&parked)]).unwrap();
    scene.go_on(0).await;
}

#[tokio::test]
async fn a_damaged_record_is_said_and_can_be_given_up() {
    let scene = Scene::idle().await;
    scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
    let key = upload_key(&transfer(1));
    let theirs = scene.site.image(Mode::ReadWrite);
    let text = theirs.metadata(&key).unwrap().unwrap();
    theirs.set_metadata(&key, &text.replace("words", "wards")).unwrap();
    theirs.close().unwrap();
    let refused = scene.store.resume(&image(), &transfer(1)).await;
    assert!(matches!(refused, Err(ImageError::UploadDamaged { .. })), "{refused:?}");
    // Others work meanwhile, and what it may name stays.
    scene.bench.put(3, Some((0, &old())), &new()).await.unwrap();
    assert_eq!(scene.left().await.iter().filter(|name| name.starts_with(PARKED)).count(), 1);
    scene.store.discard(&image(), &transfer(1)).await.unwrap();
    assert_eq!(scene.left().await, Vec::<String>::new());
    scene.bench.put(1, Some((0, &old())), &new()).await.unwrap();
}

#[tokio::test]
async fn a_damaged_log_takes_progress_back_and_nothing_more() {
    let (scene, upload) = Scene::new().await;
    feed(&upload, THERE..6 * MIB, &new()).await.unwrap();
    upload.suspend().await;
    drop(upload);
    let log = scene.site.trees().into_iter().find(|name| name.contains(".log.")).unwrap();
    let pool = scene.site.pool();
    let length = pool.stat(&log).await.unwrap();
    pool.write(&log, length - 300, vec![0x11; 8]).await.unwrap();
    let upload = scene.site.store().resume(&image(), &transfer(1)).await.unwrap();
    let there = upload.durable().end_from(0);
    assert_eq!(there, THERE as u64);
    upload.suspend().await;
    drop(upload);
    scene.go_on(THERE).await;
}

#[tokio::test]
async fn what_was_given_up_leaves_nothing() {
    for is_parked in [false, true] {
        let scene = Scene::idle().await;
        if is_parked {
            scene.bench.put(2, Some((0, &old())), &new()).await.unwrap();
        }
        scene.site.store().discard(&image(), &transfer(1)).await.unwrap();
        assert_eq!(scene.left().await, Vec::<String>::new());
        assert!(scene.store.uploads(&image()).await.unwrap().is_empty());
        scene.bench.put(3, Some((0, &old())), &new()).await.unwrap();
        scene.bench.check(3, &new()).await;
    }
}

/// In the child: transfers that outlive their requests.
#[derive(Default)]
pub(super) struct Uploads {
    upload: Option<Arc<dyn UploadImage>>,
}

impl Uploads {
    pub(super) async fn obey(
        &mut self,
        verb: &str,
        operand: &str,
        rest: &[String],
        store: &RbdStore,
    ) -> Option<String> {
        let verb = verb.strip_suffix("-upload")?;
        if verb == "begin" {
            self.upload = None;
            let number = operand.parse().unwrap();
            let staged = store.stage(upload_request(number, Some(0), SIZE)).await;
            return Some(told(staged.map(|staged| self.upload = staged.upload())));
        }
        let upload = Arc::clone(self.upload.as_ref()?);
        Some(match verb {
            "feed" => told(feed(&upload, 0..rest[0].parse().unwrap(), &new()).await),
            "mark" => told(upload.checkpoint(until(SIZE)).await),
            "check" => told(upload.check().await),
            "commit" => told(finish_blindly(&upload).await),
            "abort" => {
                upload.abort().await;
                "ok".to_owned()
            }
            "storm" => {
                say("ok");
                let error = loop {
                    if let Err(error) = rubbish(&upload).await {
                        break error;
                    }
                };
                format!("storm over: {}", told::<()>(Err(error)))
            }
            "serve" => {
                say("ok");
                let error = loop {
                    if let Err(error) = upload.check().await {
                        break error;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                };
                upload.suspend().await;
                format!("served: {}", told::<()>(Err(error)))
            }
            _ => return None,
        })
    }
}

async fn finish_blindly(upload: &Arc<dyn UploadImage>) -> Result<(), ImageError> {
    let (root, durable) = upload.close().await?;
    upload.commit(durable, sealed(root)).await.map(drop)
}

/// Behind what is durable.
async fn rubbish(upload: &Arc<dyn UploadImage>) -> Result<(), ImageError> {
    let pool = BufferPool::new(4);
    for block in 5..9 {
        let mut buffer = pool.take().await;
        buffer.fill(0xee);
        upload.write(block, GrainMap::FULL, buffer).await?;
    }
    Ok(())
}
