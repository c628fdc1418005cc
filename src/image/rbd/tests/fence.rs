//! One writer at a time: a living one is left alone, a dead or stopped one is shut out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsnap_rbd::Mode;
use rustix::process::Signal;

use super::child::{Writer, listen, orders, request_for, say};
use super::support::{Site, site, store};
use super::uploads::Uploads;
use crate::buffer::BufferPool;
use crate::content::{GrainMap, Hash, Root};
use crate::id::ImageName;
use crate::image::blocking::blocking;
use crate::image::cases::{changed, content, image, request, sealed};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::clients::Opener;
use crate::image::rbd::failure::failed;
use crate::image::rbd::record::{CLIENT, INTENT, PREFIX};
use crate::image::rbd::session::Session;
use crate::image::rbd::staged::RbdStaged;
use crate::image::rbd::staging::Phase;
use crate::image::{Durable, ImageError, StagedImage as _};

const MIB: usize = 1 << 20;
const SIZE: usize = 24 * MIB;

/// librbd itself takes this long to take a dead owner's lock.
const WITHOUT_US: Duration = Duration::from_secs(25);

fn first() -> Vec<u8> {
    content(&mut Dice(60), SIZE)
}

fn second() -> Vec<u8> {
    changed(&mut Dice(61), &first(), SIZE)
}

/// All that counts of an image: snapshots, records, size, and what the head has over the newest snapshot.
fn state(site: &Site) -> (Vec<String>, Vec<(String, String)>, u64, u64) {
    let image = site.image(Mode::ReadOnly);
    let snapshots = image.snapshots().unwrap();
    let newest = snapshots.last().unwrap().name.clone();
    let mut bytes = 0;
    let each = |extent: rsnap_rbd::Extent| {
        bytes += extent.length;
        std::ops::ControlFlow::Continue(())
    };
    image.differences(Some(&newest), false, 0, image.size().unwrap(), each).unwrap();
    let named = snapshots.iter().map(|snapshot| format!("{} {}", snapshot.id, snapshot.name)).collect();
    let metadata = image.all_metadata(PREFIX).unwrap();
    let metadata = metadata.into_iter().filter(|(key, _)| !key.starts_with(CLIENT)).collect();
    (named, metadata, image.size().unwrap(), bytes)
}

#[tokio::test]
async fn a_writer_that_lives_is_left_alone() {
    let site = site();
    let one = site.bench();
    one.put(0, None, &first()).await.unwrap();
    let staged = one.store.stage(request(1, Some(0), SIZE)).await.unwrap();
    let other = site.bench();
    for _ in 0..3 {
        // While it has work under way.
        let (refused, written) = tokio::join!(other.store.stage(request(1, Some(0), SIZE)), async {
            for block in 0..8 {
                staged.zero(block, GrainMap::FULL).await.unwrap();
            }
        });
        assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
        let () = written;
    }
    staged.abort().await;
    other.put(1, Some((0, &first())), &second()).await.unwrap();
    other.check(1, &second()).await;
}

/// One that died while it waited for the lock still has the image open, as Ceph sees it.
#[tokio::test]
async fn a_client_that_waits_for_the_lock_and_says_nothing_is_shut_out() {
    let site = site();
    let (one, other) = (site.bench(), site.store());
    one.put(0, None, &first()).await.unwrap();
    let shared = Arc::clone(&other.shared);
    let silent = blocking(move || Session::open(&shared, &image(), None)).await.unwrap();
    one.put(1, Some((0, &first())), &second()).await.unwrap();
    one.check(1, &second()).await;
    let written = blocking(move || silent.set("rsnap.test", &Opener::default())).await;
    assert!(matches!(written, Err(ImageError::Fenced)), "{written:?}");
    let beside = Arc::clone(&other.shared);
    let deleter = blocking(move || {
        let session = Session::open(&beside, &image(), None)?;
        session.works_beside().map(|()| session)
    });
    let deleter = deleter.await.unwrap();
    let refused = one.store.stage(request(2, Some(1), SIZE)).await;
    assert!(matches!(refused, Err(ImageError::Busy { .. })), "{refused:?}");
    let closing = blocking(move || {
        drop(deleter);
        Ok(())
    });
    closing.await.unwrap();
    one.put(2, Some((1, &second())), &first()).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_was_overtaken_can_commit_nothing() {
    let site = site();
    let one = site.bench();
    one.put(0, None, &first()).await.unwrap();
    let staged = one.store.stage(request(1, Some(0), SIZE)).await.unwrap();
    let root = one.ingest(&staged, &first(), &second()).await.unwrap();
    let durable = staged.flush().await.unwrap();
    let owner = site.image(Mode::ReadWrite).lock_owners().unwrap().remove(0);
    site.client().blocklist(&owner, 3600).unwrap();
    let refused = staged.commit(durable, sealed(root)).await;
    assert!(matches!(refused, Err(ImageError::Fenced)), "{refused:?}");
    staged.abort().await;
    assert_eq!(one.names().await, ["s0"]);
    one.put(1, Some((0, &first())), &second()).await.unwrap();
    one.check(1, &second()).await;
}

#[tokio::test]
async fn a_writer_that_was_killed_is_succeeded_within_seconds() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &first()).await.unwrap();
    let mut writer = Writer::start(&site);
    assert_eq!(writer.ask("stage 1"), "ok");
    assert_eq!(writer.ask("write 1 3"), "ok");
    writer.kill();
    let start = Instant::now();
    bench.put(1, Some((0, &first())), &second()).await.unwrap();
    let took = start.elapsed();
    assert!(took < WITHOUT_US, "it took {took:?}");
    println!("a killed writer was succeeded in {took:?}");
    bench.check(1, &second()).await;
    assert_eq!(site.metrics.heads_reverted.get(), 1);
    assert_eq!(site.trees().len(), 2);
}

#[tokio::test]
async fn a_writer_that_was_stopped_can_change_nothing_when_it_wakes() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &first()).await.unwrap();
    let mut writer = Writer::start(&site);
    assert_eq!(writer.ask("stage 1"), "ok");
    assert_eq!(writer.ask("stage 2"), "ok");
    assert_eq!(writer.ask("write 1 3"), "ok");
    // Writes without an end, so that some are on their way when it stops.
    assert_eq!(writer.ask("storm 1"), "ok");
    writer.signal(Signal::STOP);
    let start = Instant::now();
    bench.put(1, Some((0, &first())), &second()).await.unwrap();
    let took = start.elapsed();
    assert!(took < WITHOUT_US, "it took {took:?}");
    println!("a stopped writer was succeeded in {took:?}");
    let before = state(&site);
    writer.signal(Signal::CONT);
    assert_eq!(writer.line(), "storm over: Fenced");
    for attempt in ATTEMPTS {
        assert_eq!(writer.ask(&format!("{attempt} 1")), "Fenced", "{attempt}");
    }
    for attempt in ["write 1 5", "flush 1", "commit 1"] {
        let answer = writer.ask(attempt);
        assert!(["Fenced", "closed"].contains(&answer.as_str()), "{attempt}: {answer}");
    }
    assert_eq!(state(&site), before);
    assert_eq!(before.3, 0, "the head is not the newest snapshot");
    bench.check(0, &first()).await;
    bench.check(1, &second()).await;
    assert_eq!(site.exported("snapshot-1"), second());
    // Its other transfers go on.
    assert_eq!(writer.ask("write 2 5"), "ok");
    assert_eq!(writer.ask("flush 2"), "ok");
    assert_eq!(writer.ask("commit 2"), "ok");
    // And it can begin again.
    assert_eq!(writer.ask("abort 1"), "ok");
    assert_eq!(writer.ask("stage 1"), "ok");
}

#[tokio::test]
async fn a_writer_that_was_stopped_before_its_commit_finds_itself_overtaken() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &first()).await.unwrap();
    let mut writer = Writer::start(&site);
    assert_eq!(writer.ask("stage 1"), "ok");
    assert_eq!(writer.ask("write 1 3"), "ok");
    assert_eq!(writer.ask("flush 1"), "ok");
    writer.signal(Signal::STOP);
    writer.tell("commit 1");
    bench.put(1, Some((0, &first())), &second()).await.unwrap();
    let before = state(&site);
    writer.signal(Signal::CONT);
    assert_eq!(writer.line(), "Fenced");
    assert_eq!(state(&site), before);
    bench.check(1, &second()).await;
}

/// The child's side: does what it is told, one order a line, and says how it went.
#[tokio::test]
async fn the_writer() {
    let Some(orders) = orders() else { return };
    let store = store(&orders.config(), Arc::default());
    let mut staged: HashMap<String, Arc<RbdStaged>> = HashMap::new();
    let mut bystanders = Bystanders::default();
    let mut uploads = Uploads::default();
    let pool = BufferPool::new(32);
    say("ready");
    loop {
        let order = listen();
        let [verb, volume, rest @ ..] = order.as_slice() else { return };
        if let Some(said) = bystander(verb, volume, &store, &mut bystanders).await {
            say(&said);
            continue;
        }
        if let Some(said) = uploads.obey(verb, volume, rest, &store).await {
            say(&said);
            continue;
        }
        if verb == "stage" {
            let number: usize = volume.parse().unwrap();
            let base = (number == 1).then_some(0);
            let request = request_for(number, 1, base, SIZE);
            let shared = Arc::clone(&store.shared);
            let opened = blocking(move || RbdStaged::open(&shared, request)).await;
            say(&told(opened.map(|opened| drop(staged.insert(volume.clone(), Arc::new(opened))))));
            continue;
        }
        let there = Arc::clone(&staged[volume]);
        if verb == "storm" {
            say("ok");
            let error = loop {
                if let Err(error) = write(&there, &pool, 9).await {
                    break error;
                }
            };
            say(&format!("storm over: {}", told::<()>(Err(error))));
            continue;
        }
        say(&told(obey(verb, rest, &there, &pool).await));
        if verb == "abort" {
            staged.remove(volume);
        }
    }
}

/// What a child has besides transfers: an image as a stranger, and an image to delete a snapshot of.
#[derive(Default)]
struct Bystanders {
    stranger: Option<rsnap_rbd::Image>,
    deleter: Option<Arc<Session>>,
}

async fn bystander(verb: &str, operand: &str, store: &RbdStore, bystanders: &mut Bystanders) -> Option<String> {
    let name: ImageName = image();
    match verb {
        "make" => {
            let shared = Arc::clone(&store.shared);
            let made = blocking(move || Session::open(&shared, &name, Some(SIZE as u64))).await;
            Some(told(made.map(drop)))
        }
        "stranger" => {
            let shared = &store.shared;
            let pool = shared.connect().and_then(|cluster| shared.pool(&cluster)).unwrap();
            let theirs = pool.open(name.as_str(), Mode::ReadWrite, None).unwrap();
            theirs.acquire_lock().unwrap();
            bystanders.stranger = Some(theirs);
            Some("ok".to_owned())
        }
        "scribble" => {
            let theirs = bystanders.stranger.as_ref().unwrap();
            Some(told(theirs.write(0, vec![9; 512], 0..512).await.map_err(failed)))
        }
        // The number of whoever is in the way: 0 or 1 strangers.
        "enter" => {
            let shared = Arc::clone(&store.shared);
            let entered = blocking(move || {
                let session = Arc::new(Session::open(&shared, &name, None)?);
                shared.enter(&session).map(|is_alone| (session, is_alone))
            });
            let (session, is_alone) = entered.await.unwrap();
            assert_eq!(is_alone, operand == "0");
            bystanders.deleter = Some(session);
            Some("ok".to_owned())
        }
        "hide" => {
            let (shared, session) = (Arc::clone(&store.shared), Arc::clone(bystanders.deleter.as_ref().unwrap()));
            let snapshot = operand.parse().unwrap();
            Some(told(blocking(move || shared.hide(&session, &snapshot)).await))
        }
        _ => None,
    }
}

pub(super) fn told<T>(result: Result<T, ImageError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(ImageError::Fenced) => "Fenced".to_owned(),
        Err(ImageError::Io { source, .. }) if source.to_string().contains("given up") => "closed".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

async fn write(staged: &RbdStaged, pool: &BufferPool, value: u8) -> Result<(), ImageError> {
    let writes = (0..16).map(|block| async move {
        let mut buffer = pool.take().await;
        buffer.fill(value);
        staged.write(block, GrainMap::FULL, buffer).await
    });
    futures_util::future::join_all(writes).await.into_iter().collect()
}

/// What a writer tries past the store's own checks, when it should not be able to any more.
const ATTEMPTS: [&str; 8] = [
    "late-write",
    "late-flush",
    "late-snapshot",
    "late-rename",
    "late-removal",
    "late-record",
    "late-resize",
    "late-object",
];

async fn obey(verb: &str, rest: &[String], staged: &RbdStaged, pool: &BufferPool) -> Result<(), ImageError> {
    let session = match &*staged.staging.phase() {
        Phase::Open(session) | Phase::Flushed(session) => Some(Arc::clone(session)),
        Phase::Ended => None,
    };
    let image = || session.as_ref().unwrap().image().unwrap();
    match verb {
        "write" => write(staged, pool, rest[0].parse().unwrap()).await,
        "flush" => staged.flush().await.map(drop),
        "commit" => staged.commit(Durable::new(), sealed(Root::new(0, Hash::ZERO))).await.map(drop),
        "abort" => {
            staged.abort().await;
            Ok(())
        }
        "late-write" => image().write(0, vec![7; 4096], 0..4096).await.map_err(failed),
        "late-flush" => image().flush().await.map_err(failed),
        "late-snapshot" => image().create_snapshot("late").map(drop).map_err(failed),
        "late-rename" => image().rename_snapshot("snapshot-0", "late").map_err(failed),
        "late-removal" => image().remove_snapshot("snapshot-0").map_err(failed),
        "late-record" => image().set_metadata(INTENT, "late").map_err(failed),
        "late-resize" => image().resize(1 << 20).map_err(failed),
        "late-object" => session.as_ref().unwrap().pool.write_full("late", vec![1]).await.map_err(failed),
        _ => panic!("{verb}"),
    }
}
