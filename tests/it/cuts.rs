//! Shows 4: a PUT that is cut, a gateway that is killed. What is committed stays, nothing partial appears, and the
//! same request afterwards succeeds. Seeds are printed; `RSNAP_SEED` replays one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Client, Diff, Gateway, Image, Upload, next, seed};

const DIFF: &str = "application/vnd.ceph.rbd-diff";
const RAW: &str = "application/octet-stream";

/// What must be there, by snapshot.
type Model = BTreeMap<String, Vec<u8>>;

fn path(snapshot: &str) -> String {
    format!("/v1/volumes/v/snapshots/{snapshot}")
}

fn visible(client: &Client) -> Vec<String> {
    let chain = client.chain("v");
    assert_eq!(chain["damaged"], serde_json::json!([]), "{chain}");
    let snapshots = chain["snapshots"].as_array().unwrap().iter();
    snapshots.map(|entry| entry["snapshot"].as_str().unwrap().to_owned()).collect()
}

fn check_visible(client: &Client, model: &Model) {
    let mut seen = visible(client);
    seen.sort();
    assert_eq!(seen, model.keys().cloned().collect::<Vec<_>>());
}

fn check_bytes(client: &Client, model: &Model) {
    check_visible(client, model);
    for (snapshot, bytes) in model {
        assert!(client.get(&path(snapshot)).expect(200).body == *bytes, "{snapshot} is not what was committed");
    }
}

/// One full and one incremental, committed: what the attacks must not touch.
fn committed(client: &Client, size: usize) -> (Model, Image) {
    let first = Image::random(size, 21);
    let second = first.changed(22, 10);
    let raw = Upload { path: path("a"), content_type: Some(RAW), body: &first.bytes, ..Upload::default() };
    client.put(&raw).expect(201);
    let change = Diff::between(Some("a"), "b", &first.bytes, &second.bytes);
    client.put(&Upload { path: path("b"), content_type: Some(DIFF), body: &change, ..Upload::default() }).expect(201);
    let model = Model::from([("a".to_owned(), first.bytes), ("b".to_owned(), second.bytes.clone())]);
    (model, second)
}

#[test]
fn a_put_cut_at_200_random_bytes_commits_nothing() {
    let mut state = seed();
    let gateway = Gateway::start();
    let client = gateway.client();
    let (mut model, second) = committed(&client, 3 << 20);
    let third = second.changed(23, 40);
    let change = Diff::between(Some("b"), "c", &second.bytes, &third.bytes);
    let uploads = [
        Upload { path: path("c"), content_type: Some(DIFF), body: &change, ..Upload::default() },
        Upload { path: path("d"), content_type: Some(RAW), body: &third.bytes, ..Upload::default() },
    ];
    for round in 0..200 {
        let upload = &uploads[round % 2];
        let bytes = match round {
            0..4 => upload.body.len() - 1 - round / 2,
            _ => next(&mut state) as usize % upload.body.len(),
        };
        client.put_and_cut(upload, bytes);
        if round % 20 == 19 {
            check_visible(&client, &model);
        }
    }
    check_bytes(&client, &model);
    for upload in &uploads {
        put_until_free(&client, upload);
    }
    model.extend([("c".to_owned(), third.bytes.clone()), ("d".to_owned(), third.bytes)]);
    check_bytes(&client, &model);
    check_nothing_is_left(&gateway, model.len());
}

/// A transfer that was cut a moment ago may still hold the volume.
fn put_until_free(client: &Client, upload: &Upload<'_>) {
    for _ in 0..200 {
        let answer = client.put(upload);
        if answer.status != 503 || answer.problem() != "busy" {
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the volume is still busy");
}

/// What was cut a moment ago may still be clearing up; then a snapshot has its data and its tree, and nobody else.
fn check_nothing_is_left(gateway: &Gateway, snapshots: usize) {
    let image = gateway.data.join("store/images/volume-v");
    let count = |kinds: &[&str]| {
        let files = std::fs::read_dir(&image).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known))).count()
    };
    for _ in 0..600 {
        let running = gateway.admin("/transfers").1;
        if running.trim() == "[]" && (count(&["raw", "delta"]), count(&["tree"])) == (snapshots, snapshots) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let files: Vec<_> = std::fs::read_dir(&image).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    panic!("something is left: {} {files:?}", gateway.admin("/transfers").1);
}

#[test]
fn a_gateway_killed_at_50_random_moments_commits_nothing_partial() {
    let mut state = seed();
    let mut gateway = Gateway::start();
    let client = gateway.client();
    let (mut model, mut latest) = committed(&client, 8 << 20);
    let mut base = "b".to_owned();
    for round in 0..50_u64 {
        let snapshot = format!("k{round:02}");
        let image = latest.changed(100 + round, 20);
        let full = round % 5 == 4;
        let body = match full {
            true => image.bytes.clone(),
            false => Diff::between(Some(&base), &snapshot, &latest.bytes, &image.bytes),
        };
        let kind = if full { RAW } else { DIFF };
        let delay = Duration::from_micros(next(&mut state) % 60_000);
        let acknowledged = put_while_killed(&mut gateway, &client, &snapshot, kind, &body, delay);
        gateway.restart();
        let there = visible(&client).contains(&snapshot);
        assert!(there || !acknowledged, "round {round}: a 201 was answered, and the snapshot is gone");
        let upload = Upload { path: path(&snapshot), content_type: Some(kind), body: &body, ..Upload::default() };
        put_until_free(&client, &upload);
        model.insert(snapshot.clone(), image.bytes.clone());
        if round % 10 == 9 {
            check_bytes(&client, &model);
        }
        (base, latest) = (snapshot, image);
        if model.len() > 8 {
            let oldest = model.keys().next().unwrap().clone();
            client.request("DELETE", &path(&oldest), &[], &[]).expect(204);
            model.remove(&oldest);
        }
    }
    check_bytes(&client, &model);
}

/// Sends, and kills the gateway `delay` after the start. Whether a success was answered before the end.
fn put_while_killed(
    gateway: &mut Gateway,
    client: &Client,
    snapshot: &str,
    kind: &str,
    body: &[u8],
    delay: Duration,
) -> bool {
    std::thread::scope(|scope| {
        let put = scope.spawn(|| {
            let upload = Upload { path: path(snapshot), content_type: Some(kind), body, ..Upload::default() };
            client.try_put(&upload).is_ok_and(|answer| answer.status == 201)
        });
        std::thread::sleep(delay);
        gateway.kill();
        put.join().unwrap()
    })
}
