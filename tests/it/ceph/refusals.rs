//! What stands in the way of a transfer on Ceph: each a clear problem before any data is written.

use super::support::{Lock, Site, sha256};
use crate::support::{Answer, Client, Diff, Gateway, Image, Options, Upload, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";

fn put(client: &Client, snapshot: &str, body: &[u8]) -> Answer {
    let path = format!("/v1/volumes/v/snapshots/{snapshot}");
    client.put(&Upload { path, content_type: Some(DIFF), body, ..Upload::default() })
}

fn image() -> (Image, Vec<u8>) {
    let image = Image::random(5 << 20, 131);
    let body = Diff::full("s1", &image.bytes);
    (image, body)
}

/// The detail of a problem names what helps.
#[track_caller]
fn says(answer: &Answer, kind: &str, words: &[&str]) {
    assert_eq!(answer.problem(), kind, "{answer:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for word in words {
        assert!(detail.contains(word), "{word:?} is not in {detail:?}");
    }
}

#[test]
fn a_snapshot_that_somebody_else_made_is_left_alone() {
    let target = Site::target();
    let gateway = target.gateway();
    let (image, body) = image();
    target.rbd("create @volume-v --size 5M");
    target.write("volume-v", 100, b"somebody's");
    target.rbd("snap create --no-progress @volume-v@snapshot-s1");
    let before = target.state("volume-v");
    let answer = put(&gateway.client(), "s1", &body);
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    says(&answer, "foreign", &["snapshots"]);
    assert_eq!(target.state("volume-v"), before);
    // Without the snapshot there is still somebody's data.
    target.rbd("snap rm --no-progress @volume-v@snapshot-s1");
    says(&put(&gateway.client(), "s1", &body), "foreign", &["data"]);
    target.rbd("rm --no-progress @volume-v");
    put(&gateway.client(), "s1", &body).expect(201);
    assert_eq!(target.digest("volume-v@snapshot-s1"), sha256(&image.bytes));
}

/// The snapshot appears while the transfer runs: after the check, before the commit.
#[test]
fn a_snapshot_that_somebody_makes_meanwhile_is_left_alone() {
    let target = Site::target();
    let gateway = target.gateway();
    let (_, body) = image();
    let client = gateway.client();
    let path = "/v1/volumes/v/snapshots/s1".to_owned();
    let mut pending = client.begin_put(&Upload { path, content_type: Some(DIFF), body: &body, ..Upload::default() });
    pending.send(&body[..body.len() - 1]).unwrap();
    wait_for("the image", || target.try_rbd("info @volume-v").is_ok());
    target.rbd("snap create --no-progress @volume-v@snapshot-s1");
    let theirs = target.snapshots("volume-v");
    pending.send(&body[body.len() - 1..]).unwrap();
    let answer = pending.answer().unwrap();
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    assert_eq!(target.snapshots("volume-v"), theirs);
    assert_eq!(client.chain("v")["snapshots"], serde_json::json!([]));
}

/// Cinder has made the image, of the size that the snapshot has and with features of its own.
#[test]
fn a_blank_image_is_used_as_it_is() {
    let target = Site::target();
    let gateway = target.gateway_with("object_bytes = \"4MiB\"\n", Options::default());
    let (image, body) = image();
    target.rbd("create @volume-v --size 5M --object-size 8M --image-feature layering,exclusive-lock");
    put(&gateway.client(), "s1", &body).expect(201);
    let information = target.json("info @volume-v");
    assert_eq!((&information["object_size"], &information["size"]), (&(8 << 20).into(), &(5 << 20).into()));
    assert!(!information["features"].to_string().contains("object-map"), "{information}");
    assert_eq!(target.digest("volume-v@snapshot-s1"), sha256(&image.bytes));
}

/// A blank image of another size than what is sent gets that size.
#[test]
fn a_blank_image_of_another_size_gets_the_size_of_what_is_sent() {
    let target = Site::target();
    let gateway = target.gateway();
    let (image, body) = image();
    target.rbd("create @volume-v --size 9M");
    put(&gateway.client(), "s1", &body).expect(201);
    assert_eq!(target.snapshots("volume-v")[0].size, 5 << 20);
    assert_eq!(target.digest("volume-v@snapshot-s1"), sha256(&image.bytes));
}

#[test]
fn an_image_without_an_exclusive_lock_is_refused() {
    let target = Site::target();
    let gateway = target.gateway();
    target.rbd("create @volume-v --size 5M --image-feature layering");
    let before = target.state("volume-v");
    let answer = put(&gateway.client(), "s1", &image().1);
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    says(&answer, "foreign", &["exclusive-lock"]);
    assert_eq!(target.state("volume-v"), before);
}

/// A client that holds the lock and answers: a machine that runs from this volume. What it wrote is overwritten once it
/// is gone, as everything that is written to a head between two copies.
#[test]
fn an_image_that_a_living_client_writes_to_is_busy() {
    let target = Site::target();
    let gateway = target.gateway();
    let (image, body) = image();
    put(&gateway.client(), "s1", &body).expect(201);
    let changed = image.changed(133, 10);
    let change = Diff::between(Some("s1"), "s2", &image.bytes, &changed.bytes);
    let lock = Lock::take(&target, "volume-v");
    lock.write(4096, b"alive");
    let before = target.state("volume-v");
    says(&put(&gateway.client(), "s2", &change), "busy", &[]);
    lock.write(8192, b"still alive");
    assert_eq!(target.state("volume-v"), before);
    drop(lock);
    wait_for("the free image", || put(&gateway.client(), "s2", &change).status == 201);
    assert_eq!(target.digest("volume-v@snapshot-s2"), sha256(&changed.bytes));
}

#[test]
fn the_limit_of_snapshots_is_found_before_the_data_is_written() {
    let target = Site::target();
    let gateway = target.gateway();
    let (image, body) = image();
    put(&gateway.client(), "s1", &body).expect(201);
    target.rbd("snap limit set @volume-v --limit 1");
    let changed = image.changed(132, 10);
    let change = Diff::between(Some("s1"), "s2", &image.bytes, &changed.bytes);
    let head = target.digest("volume-v");
    says(&put(&gateway.client(), "s2", &change), "storage-full", &["limit"]);
    assert_eq!(target.digest("volume-v"), head, "data was written before the limit was found");
    target.rbd("snap limit clear @volume-v");
    put(&gateway.client(), "s2", &change).expect(201);
}

#[test]
fn an_image_of_another_volume_is_refused() {
    let target = Site::target();
    let same = "component = \"image\"\nstores = [\"main\"]\n[plugins.writer.settings]\nimage = \"fixed-{volume}\"\n";
    let first = target.gateway_with("", Options { writer: Some(same.to_owned()), ..Options::default() });
    let (_, body) = image();
    put(&first.client(), "s1", &body).expect(201);
    target.rbd("mv @fixed-v @volume-w");
    let second = target.gateway();
    let path = "/v1/volumes/w/snapshots/s2".to_owned();
    let upload = Upload { path, content_type: Some(DIFF), body: &body, ..Upload::default() };
    says(&second.client().put(&upload), "not-owned", &[]);
}

/// Faults of the configuration: a gateway that could never work says so, in words that name the remedy.
#[test]
fn a_store_that_cannot_be_reached_says_what_is_wrong() {
    let target = Site::target();
    let good = target.store("timeout = \"3s\"\n");
    let pool = good.replace("pool = \"volumes\"", "pool = \"nowhere\"");
    let namespace = good.replace(target.namespace(), "nowhere");
    let configuration = good.replace("ceph.conf", "missing.conf");
    for (store, words) in [
        (pool, &["nowhere", "pool"]),
        (namespace, &["nowhere", "namespace"]),
        (configuration, &["missing.conf", "configuration"]),
    ] {
        let said = refusal(&store);
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
    }
}

/// What a gateway with this store says: at its start, or to the first transfer.
fn refusal(store: &str) -> String {
    let options = Options { store: Some(store.to_owned()), ..Options::default() };
    let gateway = match std::panic::catch_unwind(|| Gateway::start_with(&options)) {
        Ok(gateway) => gateway,
        Err(panic) => return panic.downcast_ref::<String>().unwrap().clone(),
    };
    let answer = put(&gateway.client(), "s1", &image().1);
    assert!(answer.status >= 400, "{answer:?}");
    answer.json()["detail"].as_str().unwrap().to_owned() + &gateway.log()
}
