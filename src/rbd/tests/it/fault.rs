//! A cluster that does not answer, or has no room.

use std::fs::DirEntry;
use std::time::{Duration, Instant};

use rsnap_rbd::{Cluster, Kind, Layout, Mode, Settings};
use rsnap_test_ceph::{Cluster as TestCluster, Options};

use super::support::{MIB, POOL, bytes, library, settings};

/// Ten times what is asked for: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster for one test. It ends after its clients: another cluster may get its addresses, and a client that finds that
/// one instead aborts the process (librados 16).
struct Alone(TestCluster);

impl Alone {
    fn start() -> Self {
        Self(TestCluster::start(&Options::default()).unwrap())
    }
}

impl std::ops::Deref for Alone {
    type Target = TestCluster;
    fn deref(&self) -> &TestCluster {
        &self.0
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = rsnap_rbd::closed(PATIENCE);
    }
}

fn impatient(cluster: &TestCluster) -> Settings {
    Settings { timeout: Duration::from_secs(6), ..settings(cluster) }
}

/// A signal takes effect on each thread in its own time.
fn wait_until_stopped(process: u32) {
    let started = Instant::now();
    let stopped = |task: std::io::Result<DirEntry>| {
        let text = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{process}/task")).unwrap().all(stopped) {
        assert!(started.elapsed() < PATIENCE, "process {process} does not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn an_osd_that_does_not_answer_is_an_error_in_time_and_no_harm() {
    let test = Alone::start();
    let pool = Cluster::connect(&library(), &impatient(&test)).unwrap().pool(POOL, None).unwrap();
    pool.create("one", 8 * MIB, &Layout::default()).unwrap();
    let image = pool.open("one", Mode::ReadWrite, None).unwrap();
    image.write(0, vec![1; 4096], 0..4096).await.unwrap();
    test.suspend_osd().unwrap();
    wait_until_stopped(test.osd_id().unwrap());
    let started = Instant::now();
    let (read, write, flush) =
        tokio::join!(image.read(0, vec![0; 4096]), image.write(0, vec![2; 4096], 0..4096), pool.stat("object"));
    for error in [read.map(|(length, _)| length).unwrap_err(), write.unwrap_err(), flush.unwrap_err()] {
        assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    }
    let error = pool.open("one", Mode::ReadOnly, None).unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    drop(image);
    test.resume_osd().unwrap();
    assert!(rsnap_rbd::closed(PATIENCE), "the image is not closed");
    let image = pool.open("one", Mode::ReadWrite, None).unwrap();
    image.write(4096, vec![3; 4096], 0..4096).await.unwrap();
    assert_eq!(bytes(&image, 4096, 1).await, [3]);
}

#[test]
fn monitors_that_do_not_answer_are_an_error_in_time() {
    let test = Alone::start();
    test.suspend_monitor().unwrap();
    wait_until_stopped(test.monitor_id());
    let started = Instant::now();
    let error = Cluster::connect(&library(), &impatient(&test)).unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    assert!(error.to_string().contains("monitors"), "{error}");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    test.resume_monitor().unwrap();
}

#[tokio::test]
async fn a_full_cluster_refuses_and_does_not_wait() {
    let test = Alone::start();
    let pool = Cluster::connect(&library(), &impatient(&test)).unwrap().pool(POOL, None).unwrap();
    pool.create("one", 1 << 40, &Layout::default()).unwrap();
    let image = pool.open("one", Mode::ReadWrite, None).unwrap();
    test.ceph(&["tell", "osd.0", "injectfull", "full"]).unwrap();
    let started = Instant::now();
    let mut object = 0;
    let error = loop {
        assert!(started.elapsed() < PATIENCE, "the cluster does not become full");
        match image.write(object * 4 * MIB, vec![1; 4096], 0..4096).await {
            Ok(()) => object += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Full, "{error}");
}
