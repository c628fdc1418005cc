//! Shows 4: a gateway that was stopped in mid-transfer, and wakes up after another one has taken its volume over, can
//! change nothing that counts; what else it was doing goes on.

use std::time::Duration;

use super::support::{Site, sha256};
use crate::support::{Diff, Gateway, Image, Upload, next, seed, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";

fn path(volume: &str, snapshot: &str) -> String {
    format!("/v1/volumes/{volume}/snapshots/{snapshot}")
}

fn upload<'a>(volume: &str, snapshot: &str, body: &'a [u8]) -> Upload<'a> {
    Upload { path: path(volume, snapshot), content_type: Some(DIFF), body, ..Upload::default() }
}

/// Two gateways over one namespace, a committed snapshot, and a change of it.
struct Scene {
    target: Site,
    first: Gateway,
    second: Gateway,
    images: [Image; 2],
    change: Vec<u8>,
}

/// Ceph itself would take a lock away from a silent client after half a minute. Not here: what succeeds within the
/// tests' patience has been done by the successor.
fn cluster() -> Site {
    Site::own(&rsnap_test_ceph::Options::default().with_setting("osd", "osd client watch timeout = 3600"))
}

impl Scene {
    fn new(target: Site) -> Self {
        let (first, second) = (target.gateway(), target.gateway());
        let one = Image::random(12 << 20, 91);
        let mut two = one.changed(92, 60);
        two.bytes.resize(14 << 20, 7);
        let mut old = one.bytes.clone();
        old.resize(two.bytes.len(), 0);
        let change = Diff::between(Some("s1"), "s2", &old, &two.bytes);
        first.client().put(&upload("v", "s1", &Diff::full("s1", &one.bytes))).expect(201);
        Self { target, first, second, images: [one, two], change }
    }

    /// Waits until the first gateway has the volume for itself.
    fn wait_until_running(&self, volume: &str) {
        wait_for("the lock", || self.target.is_locked(&format!("volume-{volume}")));
    }

    /// The second gateway takes the volume over.
    fn take_over(&self) {
        wait_for("the takeover", || {
            let answer = self.second.client().put(&upload("v", "s2", &self.change));
            assert!(matches!(answer.status, 200 | 201 | 503), "{answer:?}");
            answer.status != 503
        });
    }

    #[track_caller]
    fn check(&self) {
        let [one, two] = &self.images;
        assert_eq!(self.target.digest("volume-v@snapshot-s1"), sha256(&one.bytes));
        assert_eq!(self.target.digest("volume-v@snapshot-s2"), sha256(&two.bytes));
        let chain = self.second.client().chain("v");
        assert_eq!(chain["damaged"], serde_json::json!([]), "{chain}");
        assert_eq!(chain["snapshots"].as_array().unwrap().len(), 2, "{chain}");
    }
}

#[test]
fn a_stopped_gateway_that_wakes_up_changes_nothing_that_counts() {
    let scene = Scene::new(cluster());
    let client = scene.first.client();
    let half = scene.change.len() / 2;
    let mut overtaken = client.begin_put(&upload("v", "s2", &scene.change));
    overtaken.send(&scene.change[..half]).unwrap();
    let other = Image::random(9 << 20, 93);
    let full = Diff::full("s1", &other.bytes);
    let mut going_on = client.begin_put(&upload("w", "s1", &full));
    going_on.send(&full[..full.len() / 2]).unwrap();
    scene.wait_until_running("v");
    scene.wait_until_running("w");

    scene.first.signal("STOP");
    scene.take_over();
    scene.check();
    let before = scene.target.state("volume-v");
    scene.first.signal("CONT");

    let answer = overtaken.send(&scene.change[half..]).and_then(|()| overtaken.answer());
    match answer {
        Ok(answer) => assert_eq!(answer.expect(409).problem(), "overtaken"),
        Err(error) => panic!("the overtaken transfer has no answer: {error}"),
    }
    going_on.send(&full[full.len() / 2..]).unwrap();
    going_on.answer().unwrap().expect(201);
    assert_eq!(scene.target.digest("volume-w@snapshot-s1"), sha256(&other.bytes));
    assert_eq!(scene.target.state("volume-v"), before, "the overtaken gateway has changed something");
    scene.check();
    assert_eq!(client.chain("v")["snapshots"].as_array().unwrap().len(), 2, "it does not see what the other made");
    let again = scene.images[1].changed(94, 5);
    let change = Diff::between(Some("s2"), "s3", &scene.images[1].bytes, &again.bytes);
    client.put(&upload("v", "s3", &change)).expect(201);
    assert_eq!(scene.target.digest("volume-v@snapshot-s3"), sha256(&again.bytes));
}

/// The same around the commit: the last byte is on its way when the gateway is stopped. One that had not begun to write
/// yet comes after the other, and finds the snapshot.
#[test]
fn a_gateway_that_is_stopped_around_its_commit_changes_nothing_afterwards() {
    let mut state = seed();
    let cluster = cluster();
    for round in 0..6 {
        let scene = Scene::new(cluster.another());
        let client = scene.first.client();
        let mut put = client.begin_put(&upload("v", "s2", &scene.change));
        let (all_but_one, last) = scene.change.split_at(scene.change.len() - 1);
        put.send(all_but_one).unwrap();
        scene.wait_until_running("v");
        put.send(last).unwrap();
        let delay = Duration::from_micros(next(&mut state) % 400_000);
        std::thread::sleep(delay);
        scene.first.signal("STOP");
        scene.take_over();
        scene.check();
        let before = scene.target.state_that_counts("volume-v");
        scene.first.signal("CONT");
        let answer = put.answer().unwrap();
        assert!(matches!(answer.status, 200 | 201 | 409 | 503), "round {round} after {delay:?}: {answer:?}");
        assert_eq!(scene.target.state_that_counts("volume-v"), before, "round {round}, stopped after {delay:?}");
        scene.check();
    }
}

/// A gateway that was killed has not given its lock back. Its successor does not wait until Ceph notices.
#[test]
fn a_killed_gateway_is_succeeded_within_seconds() {
    let mut scene = Scene::new(cluster());
    let client = scene.first.client();
    let mut put = client.begin_put(&upload("v", "s2", &scene.change));
    put.send(&scene.change[..scene.change.len() / 2]).unwrap();
    scene.wait_until_running("v");
    scene.first.kill();
    scene.take_over();
    scene.check();
    scene.first.restart();
    scene.check();
}

/// A gateway that works is not taken over: the second one is told to come again.
#[test]
fn a_working_gateway_keeps_its_volume() {
    let scene = Scene::new(cluster());
    let client = scene.first.client();
    let half = scene.change.len() / 2;
    let mut put = client.begin_put(&upload("v", "s2", &scene.change));
    put.send(&scene.change[..half]).unwrap();
    scene.wait_until_running("v");
    for _ in 0..3 {
        let answer = scene.second.client().put(&upload("v", "s2", &scene.change));
        assert_eq!(answer.expect(503).problem(), "busy");
    }
    put.send(&scene.change[half..]).unwrap();
    put.answer().unwrap().expect(201);
    scene.check();
}
