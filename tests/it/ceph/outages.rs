//! Clusters that are away, silent or full: a clear problem within a bounded time, nothing committed, and the same
//! transfer succeeds afterwards.

use std::time::{Duration, Instant};

use rsnap_test_ceph::Options as Settings;

use super::support::{Site, sha256};
use crate::support::{Answer, Client, Diff, Gateway, Image, Options, Upload, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";
/// What the store is told to wait for the cluster.
const TIMEOUT: &str = "timeout = \"3s\"\n";
/// A problem comes within some of the store's timeouts: one for each thing that is tried, on a busy machine.
const BOUND: Duration = Duration::from_secs(45);

fn upload<'a>(snapshot: &str, body: &'a [u8]) -> Upload<'a> {
    let path = format!("/v1/volumes/v/snapshots/{snapshot}");
    Upload { path, content_type: Some(DIFF), body, ..Upload::default() }
}

/// A gateway with little patience, and `s1` committed.
struct Scene {
    target: Site,
    gateway: Gateway,
    client: Client,
    images: [Image; 2],
    change: Vec<u8>,
}

impl Scene {
    fn new(settings: &Settings) -> Self {
        let target = Site::own(settings);
        let gateway = target.gateway_with(TIMEOUT, Options::default());
        let client = gateway.client();
        let one = Image::random(10 << 20, 121);
        let two = one.changed(122, 60);
        let change = Diff::between(Some("s1"), "s2", &one.bytes, &two.bytes);
        client.put(&upload("s1", &Diff::full("s1", &one.bytes))).expect(201);
        Self { target, gateway, client, images: [one, two], change }
    }

    /// The problem is one of the storage, came in time, and says what happened.
    #[track_caller]
    fn check_problem(answer: &Answer, started: Instant) {
        let took = started.elapsed();
        assert!(took < BOUND, "it took {took:?}: {answer:?}");
        assert!(matches!(answer.problem().as_str(), "storage" | "busy"), "{answer:?}");
    }

    /// Nothing was committed meanwhile, and the same request succeeds.
    fn check_again(&self) {
        assert_eq!(self.target.snapshots("volume-v").len(), 1);
        assert_eq!(self.target.digest("volume-v@snapshot-s1"), sha256(&self.images[0].bytes));
        wait_for("the repetition", || {
            let answer = self.client.put(&upload("s2", &self.change));
            assert!(matches!(answer.status, 200 | 201 | 503), "{answer:?}");
            answer.status != 503
        });
        assert_eq!(self.target.digest("volume-v@snapshot-s2"), sha256(&self.images[1].bytes));
        assert_eq!(self.target.digest("volume-v@snapshot-s1"), sha256(&self.images[0].bytes));
    }
}

#[test]
fn a_silent_cluster_is_a_problem_within_a_bounded_time() {
    let scene = Scene::new(&Settings::default());
    let cluster = scene.target.cluster();
    cluster.suspend_monitor().unwrap();
    cluster.suspend_osd().unwrap();
    let started = Instant::now();
    let put = scene.client.put(&upload("s2", &scene.change));
    let chain = scene.client.get("/v1/volumes/v/snapshots");
    let read = scene.client.get("/v1/volumes/v/snapshots/s1");
    for answer in [&put, &chain, &read] {
        Scene::check_problem(answer, started);
    }
    assert_eq!(scene.gateway.admin("/livez").0, 200);
    cluster.resume_osd().unwrap();
    cluster.resume_monitor().unwrap();
    scene.check_again();
}

/// The monitor answers, the OSD does not: in the middle of a transfer.
#[test]
fn an_osd_that_falls_silent_in_mid_transfer_is_a_problem_and_the_transfer_can_be_run_again() {
    let scene = Scene::new(&Settings::default());
    let half = scene.change.len() / 2;
    let mut put = scene.client.begin_put(&upload("s2", &scene.change));
    put.send(&scene.change[..half]).unwrap();
    wait_for("the transfer", || scene.gateway.admin("/transfers").1.contains("\"s2\""));
    scene.target.cluster().suspend_osd().unwrap();
    let started = Instant::now();
    // The gateway may stop reading before all is sent.
    let _ = put.send(&scene.change[half..]);
    Scene::check_problem(&put.answer().unwrap(), started);
    scene.target.cluster().resume_osd().unwrap();
    scene.check_again();
}

/// An OSD that is restarted while the gateway still waits for it costs nothing but the wait.
#[test]
fn an_osd_that_is_restarted_in_mid_transfer_does_not_break_it() {
    let settings = Settings { bytes: 1 << 30, ..Settings::bluestore() };
    let target = Site::own(&settings);
    let gateway = target.gateway_with("timeout = \"120s\"\n", Options::default());
    let client = gateway.client();
    let image = Image::random(16 << 20, 123);
    let body = Diff::full("s1", &image.bytes);
    let mut put = client.begin_put(&upload("s1", &body));
    put.send(&body[..body.len() / 2]).unwrap();
    wait_for("the transfer", || gateway.admin("/transfers").1.contains("\"s1\""));
    target.cluster().kill_osd().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| target.cluster().start_osd().unwrap());
        put.send(&body[body.len() / 2..]).unwrap();
        put.answer().unwrap().expect(201);
    });
    assert_eq!(target.digest("volume-v@snapshot-s1"), sha256(&image.bytes));
}

/// A full cluster stops all writes of those who do not ask to be told. The remedy: space.
#[test]
fn a_full_cluster_is_said_to_be_full_and_takes_the_transfer_once_it_has_space() {
    let scene = Scene::new(&Settings { bytes: 96 << 20, ..Settings::default() });
    let cluster = scene.target.cluster();
    scene.target.rbd("create @filler --size 1G");
    let filler = scene.target.at("filler");
    cluster
        .rbd(&["bench", "--io-type", "write", "--io-size", "4M", "--io-total", "100M", "--rbd-cache=false", &filler])
        .unwrap();
    wait_for("the full flag", || cluster.ceph(&["health", "detail"]).unwrap().contains("OSD_FULL"));
    let started = Instant::now();
    let answer = scene.client.put(&upload("s2", &scene.change));
    assert!(started.elapsed() < BOUND, "it took {:?}", started.elapsed());
    assert_eq!(answer.problem(), "storage-full", "{answer:?}");
    cluster.configure_osd("memstore_device_bytes", &(4_u64 << 30).to_string()).unwrap();
    wait_for("space", || !cluster.ceph(&["health", "detail"]).unwrap().contains("OSD_FULL"));
    scene.check_again();
}

/// As full as before, but in the middle of a transfer.
#[test]
fn a_cluster_that_fills_up_in_mid_transfer_commits_nothing() {
    let scene = Scene::new(&Settings { bytes: 96 << 20, ..Settings::default() });
    let cluster = scene.target.cluster();
    let mut put = scene.client.begin_put(&upload("s2", &scene.change));
    let half = scene.change.len() / 2;
    put.send(&scene.change[..half]).unwrap();
    wait_for("the transfer", || scene.gateway.admin("/transfers").1.contains("\"s2\""));
    scene.target.rbd("create @filler --size 1G");
    let filler = scene.target.at("filler");
    cluster
        .rbd(&["bench", "--io-type", "write", "--io-size", "4M", "--io-total", "100M", "--rbd-cache=false", &filler])
        .unwrap();
    wait_for("the full flag", || cluster.ceph(&["health", "detail"]).unwrap().contains("OSD_FULL"));
    let started = Instant::now();
    let _ = put.send(&scene.change[half..]);
    let answer = put.answer().unwrap();
    assert!(started.elapsed() < BOUND, "it took {:?}", started.elapsed());
    assert_eq!(answer.problem(), "storage-full", "{answer:?}");
    cluster.configure_osd("memstore_device_bytes", &(4_u64 << 30).to_string()).unwrap();
    wait_for("space", || !cluster.ceph(&["health", "detail"]).unwrap().contains("OSD_FULL"));
    scene.check_again();
}
