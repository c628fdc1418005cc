//! The faults of the stock tools that were found before this was built, each with the proof that we do not share it.
//! In a comment what the stock tools do, as seen with Ceph 16.2.

use std::path::{Path, PathBuf};

use super::support::{Site, sha256};
use crate::support::{Diff, Gateway, Image, Options, Upload, next, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";
const MIB: u64 = 1 << 20;

fn path(snapshot: &str) -> String {
    format!("/v1/volumes/v/snapshots/{snapshot}")
}

/// A random image of whole MiB with snapshot `s1`.
fn volume(site: &Site, mebibytes: usize) -> Image {
    site.rbd(&format!("create @vol --size {mebibytes}M"));
    let image = Image::random(mebibytes << 20, 81);
    site.apply("vol", &Diff::full("s1", &image.bytes));
    image
}

/// Finding 2. `import-diff` compares names only: what was written to the target's head in between stays in the image.
#[test]
fn a_half_applied_change_does_not_leak_into_the_next_snapshot() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    let client = gateway.client();
    let first = volume(&source, 12);
    source.sent(&gateway, "s1", &[]);
    // s1 → s2 is cut in the middle; the source goes back to s1 and changes something else.
    let second = first.changed(82, 30);
    let change = Diff::between(Some("s1"), "s2", &first.bytes, &second.bytes);
    let put = Upload { path: path("s2"), content_type: Some(DIFF), body: &change, ..Upload::default() };
    client.put_and_cut(&put, change.len() * 3 / 4);
    wait_for("the end of the cut transfer", || gateway.admin("/transfers").1.trim() == "[]");
    source.write("vol", 5 * MIB + 7, b"another change");
    source.rbd("snap create --no-progress @vol@s3");
    source.sent(&gateway, "s3", &["s1"]);
    assert_eq!(target.digest("volume-v@snapshot-s3"), source.digest("vol@s3"));
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
}

/// Finding 3. The format has no checksum: a flipped bit is imported and becomes a snapshot.
#[test]
fn a_flipped_bit_in_a_stock_stream_commits_nothing() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    volume(&source, 4);
    let good = source.export_diff(None, "vol@s1");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let headers = vec![("Content-Digest", digest_field(&good))];
    let upload = Upload { path: path("s1"), content_type: Some(DIFF), headers, body: &flipped, ..Upload::default() };
    assert_eq!(gateway.client().put(&upload).expect(422).problem(), "digest-mismatch");
    assert!(target.try_rbd("snap ls @volume-v").unwrap_or_default().is_empty());
    gateway.client().put(&Upload { body: &good, ..upload }).expect(201);
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
}

fn digest_field(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest))
}

/// Finding 4. `import-diff` from a pipe has one operation under way; and finding 7: librbd's cache is off. Both as the
/// gateway's own RADOS clients tell.
#[test]
fn a_transfer_writes_with_a_deep_queue_and_without_a_cache() {
    let target = Site::own(&rsnap_test_ceph::Options::default());
    let sockets = tempfile::tempdir().unwrap();
    let configuration = sockets.path().join("ceph.conf");
    let lines = std::fs::read_to_string(target.cluster().configuration()).unwrap();
    let socket = format!("[client]\nadmin socket = {}/$cctid.asok\n", sockets.path().display());
    std::fs::write(&configuration, lines + &socket).unwrap();
    let own = target.cluster().configuration().display().to_string();
    let store = target.store("").replace(&own, &configuration.display().to_string());
    let gateway = Gateway::start_with(&Options { store: Some(store), ..Options::default() });

    let image = Image::random(24 << 20, 85);
    let body = Diff::full("s1", &image.bytes);
    let client = gateway.client();
    let mut put =
        client.begin_put(&Upload { path: path("s1"), body: &body, content_type: Some(DIFF), ..Upload::default() });
    put.send(&body[..3 << 20]).unwrap();
    wait_for("the first data", || received(&gateway) > 2 << 20);
    target.cluster().suspend_osd().unwrap();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            put.send(&body[3 << 20..]).unwrap();
            put.answer().unwrap()
        });
        wait_for("a deep queue", || clients(sockets.path()).iter().any(|client| writes_under_way(client) >= 6));
        for client in clients(sockets.path()) {
            let question = serde_json::json!({ "prefix": "config get", "var": "rbd_cache" });
            assert_eq!(rsnap_test_ceph::ask(&client, &question).unwrap()["rbd_cache"], "false");
        }
        target.cluster().resume_osd().unwrap();
        sending.join().unwrap().expect(201);
    });
    assert_eq!(target.digest("volume-v@snapshot-s1"), sha256(&image.bytes));
}

fn received(gateway: &Gateway) -> u64 {
    metric(&gateway.admin("/metrics").1, "rsnap_received_bytes_total")
}

/// The sockets of the RADOS clients that live.
fn clients(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|kind| kind == "asok") && lives(file)).collect()
}

fn lives(socket: &Path) -> bool {
    rsnap_test_ceph::ask(socket, &serde_json::json!({ "prefix": "version" })).is_ok()
}

fn writes_under_way(client: &Path) -> usize {
    let requests = rsnap_test_ceph::ask(client, &serde_json::json!({ "prefix": "objecter_requests" }));
    let operations = requests.ok().and_then(|answer| answer["ops"].as_array().cloned()).unwrap_or_default();
    operations.iter().filter(|operation| operation["osd_ops"].to_string().contains("write")).count()
}

/// Finding 5. `export-diff` sends an object that is new as one record to its last byte, holes and all.
#[test]
fn holes_of_new_objects_do_not_travel_and_do_not_fill_the_target() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    source.rbd("create @vol --size 64M");
    let mut diff = Diff::new(None, Some("s1"), 64 * MIB);
    let (extents, length) = (32, 64 << 10);
    for extent in 0..extents {
        let data = Image::random(length, extent);
        diff = diff.write(extent * 2 * MIB + 1984 * 1024, &data.bytes);
    }
    source.apply("vol", &diff.end());
    let data = extents * length as u64;
    let stock = source.export_diff(None, "vol@s1");
    assert!(stock.len() as u64 > 20 * data, "the stock tool has learned something: {} bytes", stock.len());

    source.sent(&gateway, "s1", &[]);
    let received = received(&gateway);
    assert!(received < data + data / 10, "{received} bytes were received for {data} bytes of data");
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
    assert!(used(&target, "volume-v@snapshot-s1") <= data);

    // What the stock tool sends arrives as it is sent, and still leaves no zeroes in the target.
    let upload = Upload {
        path: "/v1/volumes/w/snapshots/s1".to_owned(),
        content_type: Some(DIFF),
        body: &stock,
        ..Upload::default()
    };
    gateway.client().put(&upload).expect(201);
    assert_eq!(target.digest("volume-w@snapshot-s1"), source.digest("vol@s1"));
    assert!(used(&target, "volume-w@snapshot-s1") <= data);
}

/// Bytes of data by `rbd diff`, which knows holes inside objects too.
fn used(site: &Site, snapshot: &str) -> u64 {
    let extents = site.json(&format!("diff @{snapshot}"));
    let data = extents.as_array().unwrap().iter().filter(|extent| extent["exists"] == "true");
    data.map(|extent| extent["length"].as_u64().unwrap()).sum()
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

/// Finding 6. A record can be larger than an object; `import-diff` crashes on one of 2^40 bytes.
#[test]
fn a_record_that_cannot_be_is_a_problem_and_no_crash() {
    let target = Site::target();
    let gateway = target.gateway();
    let mut body = Diff::new(None, Some("s1"), 8 * MIB).0;
    body.push(b'w');
    body.extend(0_u64.to_le_bytes());
    body.extend((1_u64 << 40).to_le_bytes());
    body.extend([7; 5000]);
    let upload = Upload { path: path("s1"), content_type: Some(DIFF), body: &body, ..Upload::default() };
    assert_eq!(gateway.client().put(&upload).expect(400).problem(), "malformed-stream");
    assert!(target.try_rbd("snap ls @volume-v").unwrap_or_default().is_empty());
    let right = Diff::full("s1", &Image::random(100_000, 83).bytes);
    gateway.client().put(&Upload { body: &right, ..upload }).expect(201);
}

/// Finding 7. With librbd's cache a write is acknowledged before it is on disk.
#[test]
fn what_was_acknowledged_survives_the_death_of_the_osd_and_of_the_gateway() {
    let source = Site::source();
    let target = Site::own(&rsnap_test_ceph::Options { bytes: 1 << 30, ..rsnap_test_ceph::Options::bluestore() });
    let mut gateway = target.gateway();
    volume(&source, 24);
    source.sent(&gateway, "s1", &[]);
    target.cluster().kill_osd().unwrap();
    gateway.kill();
    target.cluster().start_osd().unwrap();
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
    gateway.restart();
    assert_eq!(gateway.client().chain("v")["snapshots"][0]["snapshot"], "s1");
}

/// Finding 8. `rbd_discard` skips ranges below 64 KiB without a word.
#[test]
fn small_zeroes_arrive_as_zeroes() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    let image = volume(&source, 12);
    source.sent(&gateway, "s1", &[]);
    let mut change = Diff::new(None, Some("s2"), image.bytes.len() as u64);
    let mut state = 84;
    for (number, length) in [1, 511, 512, 4095, 4096, 4097, 8192, 65_535, 65_536, 70_000].into_iter().enumerate() {
        change = change.zero(number as u64 * MIB + next(&mut state) % 10_000, length);
    }
    source.apply("vol", &change.end());
    source.sent(&gateway, "s2", &["s1"]);
    assert_eq!(target.digest("volume-v@snapshot-s2"), source.digest("vol@s2"));
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
}
