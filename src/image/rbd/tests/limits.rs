//! What the cluster does not have, does not permit, or does not answer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsnap_test_ceph::{Cluster, Options, User};

use super::support::{POOL, Site, config, site, store};
use crate::content::GrainMap;
use crate::image::ImageError;
use crate::image::cases::{Bench, changed, content, image, request, sealed};
use crate::image::file::Dice;
use crate::image::rbd::{RbdConfig, RbdStore};
use crate::metrics::Metrics;
use crate::quantity::Seconds;

const MIB: usize = 1 << 20;

fn refusal(config: RbdConfig) -> String {
    RbdStore::open(config, Arc::new(Metrics::new())).unwrap_err().to_string()
}

/// A bench on a cluster of its own, for a user.
fn bench(cluster: &Cluster, user: Option<&str>, timeout: u64) -> Bench {
    let mut config = config(cluster.configuration(), None);
    config.user = user.map(str::to_owned);
    config.keyring = user.map(|user| cluster.keyring(user));
    config.timeout = Seconds::new(timeout);
    Bench::new(Arc::new(store(&config, Arc::default())), None)
}

#[tokio::test]
async fn the_limit_of_snapshots_is_told_before_the_data() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &[1; 5000]).await.unwrap();
    site.cluster.rbd(&["snap", "limit", "set", "--limit", "1", &site.name("")]).unwrap();
    let refused = bench.store.stage(request(1, Some(0), 5000)).await;
    let Err(ImageError::Full { detail }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("may have 1") && detail.contains("rbd snap limit set"), "{detail}");
    // What is there can be sent again.
    bench.put(0, None, &[1; 5000]).await.unwrap();
    // Reached while the data was on its way.
    site.cluster.rbd(&["snap", "limit", "set", "--limit", "2", &site.name("")]).unwrap();
    let staged = bench.store.stage(request(1, Some(0), 5000)).await.unwrap();
    let root = bench.ingest(&staged, &[1; 5000], &[2; 5000]).await.unwrap();
    let durable = staged.flush().await.unwrap();
    site.cluster.rbd(&["snap", "create", "--no-progress", &site.name("theirs")]).unwrap();
    let refused = staged.commit(durable, sealed(root)).await;
    assert!(matches!(refused, Err(ImageError::Full { .. })), "{refused:?}");
    staged.abort().await;
    assert_eq!(bench.names().await, ["s0"]);
    site.cluster.rbd(&["snap", "limit", "clear", &site.name("")]).unwrap();
    bench.put(1, Some((0, &[1; 5000])), &[2; 5000]).await.unwrap();
    bench.check(1, &[2; 5000]).await;
    assert_eq!(site.trees().len(), 2);
}

#[tokio::test]
async fn an_image_that_ceph_cannot_have_is_told() {
    let bench = site().bench();
    for size in [1 << 56, usize::MAX] {
        let refused = bench.store.stage(request(0, None, size)).await;
        assert!(matches!(&refused, Err(ImageError::Size { .. })), "{refused:?}");
    }
    bench.put(0, None, &[1; 5000]).await.unwrap();
    let refused = bench.store.stage(request(1, Some(0), 1 << 56)).await;
    assert!(matches!(&refused, Err(ImageError::Size { .. })), "{refused:?}");
    bench.put(1, Some((0, &[1; 5000])), &[2; 5000]).await.unwrap();
}

#[test]
fn a_missing_pool_or_namespace_is_named() {
    let Site { config, namespace, .. } = site();
    let nowhere = RbdConfig { pool: "nowhere".to_owned(), namespace: None, ..config.clone() };
    let refused = refusal(nowhere);
    assert!(refused.contains("pool nowhere"), "{refused}");
    let refused = refusal(RbdConfig { namespace: Some("nowhere".to_owned()), ..config });
    assert!(refused.contains(&format!("rbd namespace create {POOL}/nowhere")), "{refused}");
    drop(namespace);
}

#[test]
fn a_cluster_that_nobody_answers_for_is_an_error_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let ceph = directory.path().join("ceph.conf");
    std::fs::write(&ceph, "[global]\nmon host = [v2:127.0.0.1:1/0]\nauth client required = none\n").unwrap();
    let start = Instant::now();
    let refused = refusal(RbdConfig { timeout: Seconds::new(2), ..config(&ceph, None) });
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(refused.contains("ceph.conf") && refused.contains("monitors"), "{refused}");
    let refused = refusal(config(Path::new("/nowhere/ceph.conf"), None));
    assert!(refused.contains("/nowhere/ceph.conf"), "{refused}");
}

#[tokio::test]
async fn a_user_may_be_permitted_too_little() {
    let reader = [("mon", "profile rbd"), ("osd", "profile rbd-read-only")];
    let writer = [("mon", "allow r"), ("osd", "profile rbd pool=volumes")];
    let full = [("mon", "profile rbd"), ("osd", "profile rbd pool=volumes")];
    let options = Options { cephx: true, ..Options::default() };
    let users = [("reader", &reader), ("writer", &writer), ("full", &full)];
    let options = users.into_iter().fold(options, |all, (name, may)| all.with_user(User::new(name, may)));
    let cluster = Cluster::start(&options).unwrap();
    let right = bench(&cluster, Some("full"), 30);
    let bytes = content(&mut Dice(70), 2 * MIB);
    right.put(0, None, &bytes).await.unwrap();

    let reading = bench(&cluster, Some("reader"), 30);
    reading.check(0, &bytes).await;
    let refused = reading.put(1, Some((0, &bytes)), &bytes).await.unwrap_err();
    assert!(
        matches!(&refused, ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{refused:?}"
    );
    assert_eq!(right.names().await, ["s0"]);

    // Who may not blocklist cannot take over, and says what is missing.
    let writing = bench(&cluster, Some("writer"), 30);
    writing.put(1, Some((0, &bytes)), &bytes).await.unwrap();
    let staged = right.store.stage(request(2, Some(1), 2 * MIB)).await.unwrap();
    cluster.ceph(&["osd", "blocklist", "add", &writer_of(&cluster)]).unwrap();
    let refused = writing.put(2, Some((1, &bytes)), &bytes).await.unwrap_err();
    assert!(
        matches!(&refused, ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{refused:?}"
    );
    drop(staged);
    right.put(2, Some((1, &bytes)), &bytes).await.unwrap();

    let mut wrong = config(cluster.configuration(), None);
    wrong.user = Some("nobody".to_owned());
    wrong.keyring = Some(cluster.keyring("full"));
    let refused = refusal(wrong);
    assert!(refused.contains("client.nobody") && refused.contains("key"), "{refused}");
}

#[tokio::test]
async fn a_full_cluster_is_told_and_nothing_is_committed() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let bench = bench(&cluster, None, 30);
    let mut first = vec![3; 64 * MIB];
    first[..MIB].copy_from_slice(&content(&mut Dice(71), MIB));
    // What overwrites data is taken all the same, what is new is not.
    let second = [first.clone(), vec![4; 16 * MIB]].concat();
    bench.put(0, None, &first).await.unwrap();
    let staged = bench.store.stage(request(1, Some(0), second.len())).await.unwrap();
    set_full_ratio(&cluster, "0.004", true);
    let mut buffer = crate::buffer::BufferPool::new(1).take().await;
    buffer.fill(1);
    let refused = staged.write(70, GrainMap::FULL, buffer).await;
    assert!(matches!(refused, Err(ImageError::Full { .. })), "{refused:?}");
    staged.abort().await;
    let refused = bench.put(1, Some((0, &first)), &second).await;
    assert!(matches!(refused, Err(ImageError::Full { .. })), "{refused:?}");
    bench.check(0, &first).await;
    // One that starts from nothing gives back what it has filled.
    let refused = bench.put(2, None, &[first.clone(), first.clone()].concat()).await;
    assert!(matches!(refused, Err(ImageError::Full { .. })), "{refused:?}");
    let size = format!("rbd info --format json {POOL}/{} | grep -o '\"size\":[0-9]*'", image());
    assert_eq!(cluster.shell(&size).unwrap().trim(), "\"size\":0");
    set_full_ratio(&cluster, "0.95", false);
    bench.put(1, Some((0, &first)), &second).await.unwrap();
    bench.check(1, &second).await;
    assert_eq!(bench.names().await, ["s0", "s1"]);
}

/// Makes a cluster full, or not, by what counts as full, and waits until it has noticed.
fn set_full_ratio(cluster: &Cluster, ratio: &str, full: bool) {
    for kind in ["set-nearfull-ratio", "set-backfillfull-ratio", "set-full-ratio"] {
        cluster.ceph(&["osd", kind, ratio]).unwrap();
    }
    let start = Instant::now();
    loop {
        let dump = cluster.ceph(&["osd", "dump"]).unwrap();
        let pool = dump.lines().find(|line| line.contains(&format!("'{POOL}'"))).unwrap().to_owned();
        let flags = pool.split(" flags ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        if flags.split(',').any(|flag| flag == "full") == full {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the pool's flags stay {flags}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test]
async fn an_osd_that_hangs_is_an_error_in_time_and_its_late_writes_do_no_harm() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let bench = bench(&cluster, None, 3);
    let first = content(&mut Dice(73), 3 * MIB);
    let second = changed(&mut Dice(74), &first, 3 * MIB);
    bench.put(0, None, &first).await.unwrap();
    let staged = bench.store.stage(request(1, Some(0), 3 * MIB)).await.unwrap();
    let former = writer_of(&cluster);
    cluster.suspend_osd().unwrap();
    let start = Instant::now();
    let pool = crate::buffer::BufferPool::new(4);
    let writes = (0..3).map(|block| {
        let (staged, pool) = (&staged, &pool);
        async move {
            let mut buffer = pool.take().await;
            buffer.fill(0xee);
            staged.write(block, GrainMap::FULL, buffer).await
        }
    });
    for written in futures_util::future::join_all(writes).await {
        let Err(ImageError::Io { source, .. }) = written else { panic!("{written:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
    staged.abort().await;
    cluster.resume_osd().unwrap();
    // The client of those writes is shut out, so none of them can come after what follows.
    let blocklist = cluster.ceph(&["osd", "blocklist", "ls"]).unwrap();
    assert!(blocklist.contains(&former), "{former} is not in {blocklist}");
    let put = loop {
        match bench.put(1, Some((0, &first)), &second).await {
            // Until the former client is closed.
            Err(ImageError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => break other,
        }
    };
    put.unwrap();
    bench.check(0, &first).await;
    bench.check(1, &second).await;
    let image = format!("{POOL}/{}", image());
    let head = cluster.digest(&image).unwrap();
    assert_eq!(head, cluster.digest(&format!("{image}@snapshot-1")).unwrap(), "something was written after the commit");
}

/// The address of the client that has the image open.
fn writer_of(cluster: &Cluster) -> String {
    let status = cluster.rbd(&["status", &format!("{POOL}/{}", image())]).unwrap();
    let address = status.split("watcher=").nth(1).and_then(|rest| rest.split(' ').next());
    address.unwrap_or_else(|| panic!("nobody has it open: {status}")).to_owned()
}

#[tokio::test]
async fn readers_get_another_client_when_theirs_is_blocklisted() {
    let site = site();
    let bench = site.bench();
    bench.put(0, None, &[1; 5000]).await.unwrap();
    let shared = site.store().shared;
    site.client().blocklist(&shared.reader_address(), 60).unwrap();
    assert!(shared.chain(&image()).is_err());
    assert_eq!(shared.chain(&image()).unwrap().snapshots.len(), 1);
}
