//! A storage that answers slowly does not make a living writer a dead one; and what is cut short by it does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rsnap_test_ceph::{Cluster, Options};

use super::support::{config, store};
use crate::buffer::BufferPool;
use crate::content::{GrainMap, Hash, Page};
use crate::image::blocking::blocking;
use crate::image::cases::{Bench, changed, content, image, request, sealed};
use crate::image::file::Dice;
use crate::image::rbd::RbdStore;
use crate::image::rbd::collect::write_merged;
use crate::image::rbd::session::Session;
use crate::image::rbd::staged::RbdStaged;
use crate::image::rbd::tree::Pages;
use crate::image::{ImageError, ImageStore as _, StagedImage as _};
use crate::quantity::Seconds;

const MIB: usize = 1 << 20;

fn open(cluster: &Cluster, timeout: u64) -> RbdStore {
    let mut config = config(cluster.configuration(), None);
    config.timeout = Seconds::new(timeout);
    store(&config, Arc::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_lives_keeps_its_image_while_the_storage_stutters() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let bench = Bench::new(Arc::new(open(&cluster, 30)), None);
    let first = content(&mut Dice(130), 3 * MIB);
    let second = changed(&mut Dice(131), &first, 3 * MIB);
    bench.put(0, None, &first).await.unwrap();
    let staged = bench.store.stage(request(1, Some(0), 3 * MIB)).await.unwrap();
    let other = open(&cluster, 30);
    let over = AtomicBool::new(false);
    let (over, cluster) = (&over, &cluster);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !over.load(Ordering::Acquire) {
                cluster.suspend_osd().unwrap();
                std::thread::sleep(Duration::from_millis(900));
                cluster.resume_osd().unwrap();
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        tokio::task::block_in_place(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {
                let refused = tokio::runtime::Handle::current().block_on(other.stage(request(2, Some(0), 3 * MIB)));
                assert!(matches!(refused, Err(ImageError::Busy { .. } | ImageError::Io { .. })), "{refused:?}");
            }
        });
        over.store(true, Ordering::Release);
    });
    let blocklist = cluster.ceph(&["osd", "blocklist", "ls"]).unwrap();
    assert!(!blocklist.contains(":0/"), "{blocklist}");
    let root = bench.ingest(&staged, &first, &second).await.unwrap();
    let durable = staged.flush().await.unwrap();
    staged.commit(durable, sealed(root)).await.unwrap();
    bench.check(1, &second).await;
}

/// A tree that is written by a merge when the storage stops answering may go on being written afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_was_not_answered_is_remembered() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let store = open(&cluster, 3);
    let bench = Bench::new(Arc::new(store.clone()), None);
    let first = content(&mut Dice(132), 2 * MIB);
    let second = changed(&mut Dice(133), &first, 2 * MIB);
    bench.put(0, None, &first).await.unwrap();
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    let shared = Arc::clone(&store.shared);
    let suspended = blocking(move || {
        let session = Session::open(&shared, &image(), None)?;
        let catalog = session.survey()?;
        let line = catalog.line(&catalog.find(&"s1".parse().unwrap()).unwrap().stored.layer.name).unwrap();
        let above = Pages::load(&session.pool, &line[0].stored)?;
        let below = Pages::load(&session.pool, &line[1].stored)?;
        cluster.suspend_osd().unwrap();
        let refused = write_merged(&session, &below, &above, "merged".to_owned());
        assert!(matches!(refused, Err(ImageError::Io { .. })), "{refused:?}");
        assert!(session.is_doubtful());
        cluster.resume_osd().unwrap();
        Ok(cluster)
    });
    suspended.await.unwrap();
}

/// Pages that are on their way when a transfer is given up.
#[tokio::test]
async fn a_transfer_that_is_given_up_writes_no_tree_afterwards() {
    let site = super::support::site();
    let store = site.store();
    let shared = Arc::clone(&store.shared);
    let size = 4096 * MIB;
    let staged = blocking(move || RbdStaged::open(&shared, request(0, None, size))).await.unwrap();
    let staged = Arc::new(staged);
    let mut buffer = BufferPool::new(1).take().await;
    buffer.fill(1);
    staged.write(0, GrainMap::FULL, buffer).await.unwrap();
    let held = Arc::clone(&staged.staging.sidecar).lock_owned().await;
    // More than is kept in memory, all of them waiting for their turn.
    let puts = (0..1000).map(|index| {
        let staged = Arc::clone(&staged);
        async move { crate::content::PageSink::put(staged.as_ref(), 1, index, &page()).await }
    });
    let puts = tokio::spawn(futures_util::future::join_all(puts));
    tokio::task::yield_now().await;
    let aborting = tokio::spawn({
        let staged = Arc::clone(&staged);
        async move { staged.abort().await }
    });
    tokio::task::yield_now().await;
    drop(held);
    aborting.await.unwrap();
    puts.await.unwrap().into_iter().for_each(drop);
    assert_eq!(site.trees(), Vec::<String>::new());
    assert!(staged.flush().await.is_err());
}

fn page() -> Page {
    let mut page = Page::default();
    page.0[0] = Hash([7; 32]);
    page
}
