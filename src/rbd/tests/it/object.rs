//! RADOS objects.

use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Waker};

use rsnap_rbd::{Cluster, Kind};
use rsnap_test_ceph::Cluster as TestCluster;

use super::support::{POOL, Place, library, settings};

#[tokio::test]
async fn objects_are_written_read_and_removed() {
    let place = Place::new();
    let pool = &place.pool;
    assert_eq!(pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(pool.read("one", 0, vec![0; 8]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(pool.remove("one").await.unwrap_err().kind(), Kind::NotFound);
    pool.write("one", 4, vec![1; 4]).await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap(), 8);
    assert_eq!(pool.read("one", 2, vec![9; 10]).await.unwrap(), (6, vec![0, 0, 1, 1, 1, 1, 9, 9, 9, 9]));
    pool.write_full("one", vec![2; 3]).await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap(), 3);
    assert!(pool.id() > 0);
    pool.remove("one").await.unwrap();
    assert_eq!(pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let (first, second) = (Place::new(), Place::new());
    first.pool.write_full("one", vec![1; 3]).await.unwrap();
    assert_eq!(second.pool.stat("one").await.unwrap_err().kind(), Kind::NotFound);
}

const HURRIED: &str = "RSNAP_TEST_RBD_HURRIED";

/// In a process of its own, in which freed memory is overwritten: what librados still uses then is noticed.
#[test]
fn a_pool_may_be_dropped_with_its_operations_under_way() {
    TestCluster::shared();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "object::the_hurried", "--nocapture"])
        .env(HURRIED, "1")
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165")
        .env("ASAN_OPTIONS", "max_free_fill_size=65536:free_fill_byte=90")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// Starts operations and leaves with the pool before their answers have come.
#[test]
fn the_hurried() {
    if std::env::var_os(HURRIED).is_none() {
        return;
    }
    let cluster = Cluster::connect(&library(), &settings(TestCluster::shared())).unwrap();
    let mut under_way = 0;
    for _ in 0..50 {
        let pool = cluster.pool(POOL, None).unwrap();
        for _ in 0..20 {
            under_way += begin(pool.stat("nothing"));
            under_way += begin(pool.read("nothing", 0, vec![0; 4096]));
            under_way += begin(pool.remove("nothing"));
        }
    }
    assert!(under_way > 1000, "only {under_way} of 3000 were under way: this shows nothing");
    drop(cluster);
    assert!(rsnap_rbd::closed(std::time::Duration::from_secs(60)));
}

/// Starts an operation and leaves it. Counts it, unless its answer has come at once.
fn begin(operation: impl Future) -> u32 {
    let mut operation = pin!(operation);
    u32::from(operation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending())
}

#[tokio::test]
async fn objects_are_listed_by_their_beginning_and_namespace() {
    let (first, second) = (Place::new(), Place::new());
    for number in 0..300 {
        first.pool.write_full(&format!("mine.{number}"), vec![1]).await.unwrap();
    }
    first.pool.write_full("other", vec![1]).await.unwrap();
    second.pool.write_full("mine.x", vec![1]).await.unwrap();
    let mut found = std::collections::BTreeSet::new();
    let each = |name: &str| {
        assert!(found.insert(name.to_owned()), "{name} twice");
        std::ops::ControlFlow::Continue(())
    };
    first.pool.objects("mine.", each).unwrap();
    assert_eq!(found.len(), 300);
    assert!(found.contains("mine.0") && found.contains("mine.299"));
    let mut count = 0;
    let one = |_: &str| {
        count += 1;
        std::ops::ControlFlow::Break(())
    };
    first.pool.objects("mine.", one).unwrap();
    assert_eq!(count, 1);
}
