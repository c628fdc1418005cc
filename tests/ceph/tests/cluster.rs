//! The clusters themselves: that they work, that two live side by side, and that they are gone with their owner.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail at once"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rsnap_test_ceph::{Cluster, Options, User};

/// Tells [`the_owner_of_a_cluster`] what to do: it is run by another test.
const OWNER: &str = "RSNAP_TEST_CEPH_OWNER";

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_clusters_start_at_once_and_keep_what_is_theirs() {
    let starts = [Options::default(), Options::default()].map(|options| {
        std::thread::spawn(move || {
            let started = Instant::now();
            let cluster = Cluster::start(&options).unwrap();
            println!("in memory: {:?}", started.elapsed());
            cluster
        })
    });
    let [first, second] = starts.map(|start| start.join().unwrap());
    first.rbd(&["create", "volumes/one", "--size", "8M"]).unwrap();
    let empty = first.digest("volumes/one").unwrap();
    first.rbd(&["bench", "--io-type", "write", "--io-total", "1M", "volumes/one"]).unwrap();
    assert_ne!(first.digest("volumes/one").unwrap(), empty);
    assert_eq!(second.rbd(&["ls", "volumes"]).unwrap(), "");
    let space = second.namespace("volumes").unwrap();
    second.rbd(&["create", &format!("volumes/{space}/one"), "--size", "1M"]).unwrap();
    let error = second.rbd(&["info", "volumes/one"]).unwrap_err().to_string();
    assert!(error.contains("No such file or directory"), "{error}");
}

#[test]
fn an_osd_on_disk_survives_being_stopped_killed_and_suspended() {
    let started = Instant::now();
    let cluster = Cluster::start(&Options { bytes: 1 << 30, ..Options::bluestore() }).unwrap();
    println!("on disk: {:?}", started.elapsed());
    cluster.rbd(&["create", "volumes/one", "--size", "8M"]).unwrap();
    cluster.rbd(&["bench", "--io-type", "write", "--io-total", "1M", "volumes/one"]).unwrap();
    let digest = cluster.digest("volumes/one").unwrap();
    cluster.kill_osd().unwrap();
    cluster.start_osd().unwrap();
    assert_eq!(cluster.digest("volumes/one").unwrap(), digest);
    cluster.stop_osd().unwrap();
    cluster.start_osd().unwrap();
    assert_eq!(cluster.digest("volumes/one").unwrap(), digest);
    cluster.suspend_osd().unwrap();
    let silent = cluster.shell("timeout 2 rbd info volumes/one").unwrap_err().to_string();
    assert!(silent.contains("124"), "{silent}");
    cluster.resume_osd().unwrap();
    assert_eq!(cluster.digest("volumes/one").unwrap(), digest);
}

#[test]
fn users_can_do_what_they_may_and_nothing_else() {
    let mine = User::new("mine", &[("mon", "profile rbd"), ("osd", "profile rbd pool=volumes")]);
    let late = User::new("late", &[("mon", "profile rbd"), ("osd", "profile rbd-read-only pool=volumes")]);
    let options = Options { cephx: true, ..Options::default() }.with_user(mine).with_pools(&["volumes", "others"]);
    let cluster = Cluster::start(&options).unwrap();
    cluster.create_user(&late).unwrap();
    let create = |user: &str, pool: &str| {
        let image = format!("{pool}/{user}");
        cluster.rbd(&["--id", user, "create", &image, "--size", "1M"])
    };
    create("mine", "volumes").unwrap();
    cluster.rbd(&["--id", "late", "info", "volumes/mine"]).unwrap();
    for (user, pool) in [("mine", "others"), ("late", "volumes")] {
        let error = create(user, pool).unwrap_err().to_string();
        assert!(error.contains("Operation not permitted"), "{error}");
    }
    let error = create("nobody", "volumes").unwrap_err().to_string();
    assert!(error.contains("client.nobody"), "{error}");
}

/// No test of its own: the process that the next test kills.
#[test]
fn the_owner_of_a_cluster() {
    if std::env::var_os(OWNER).is_some() {
        let cluster = Cluster::shared();
        println!("\nowns {} {} {}", cluster.directory().display(), cluster.monitor_id(), cluster.osd_id().unwrap());
        std::thread::sleep(Duration::from_secs(600));
    }
}

#[test]
fn a_cluster_is_gone_when_its_owner_is_killed() {
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.args(["--exact", "the_owner_of_a_cluster", "--nocapture"]).env(OWNER, "1").stdout(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let (directory, daemons) = read_owned(owner.stdout.take().unwrap());
    let lives = |daemon: &String| {
        let line = std::fs::read(Path::new("/proc").join(daemon).join("cmdline")).unwrap_or_default();
        !line.is_empty()
    };
    assert!(directory.is_dir() && daemons.iter().all(lives));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the daemons are gone", || !daemons.iter().any(lives));
    eventually("the directory is gone", || !directory.exists());
}

fn read_owned(output: std::process::ChildStdout) -> (PathBuf, Vec<String>) {
    use std::io::{BufRead, BufReader};
    let lines = BufReader::new(output).lines().map(Result::unwrap);
    let line = lines.into_iter().find_map(|line| line.strip_prefix("owns ").map(str::to_owned)).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    (PathBuf::from(words.next().unwrap()), words.collect())
}
