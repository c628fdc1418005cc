//! What goes in comes out: every format, both directions, with stock HTTP.

use std::process::Command;

use crate::support::{Diff, Gateway, Image, Upload, rbd_export};

const RAW: &str = "application/octet-stream";
const DIFF: &str = "application/vnd.ceph.rbd-diff";

fn path(volume: &str, snapshot: &str) -> String {
    format!("/v1/volumes/{volume}/snapshots/{snapshot}")
}

#[test]
fn raw_and_diffs_go_in_and_come_out_in_every_combination() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let first = Image::random(5_000_123, 1);
    let second = first.changed(2, 30);
    let raw = Upload { path: path("v", "s1"), content_type: Some(RAW), body: &first.bytes, ..Upload::default() };
    let answer = client.put(&raw).expect(201);
    let root = answer.json()["root"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("rsnap-content-root"), Some(root.as_str()));

    let change = Diff::between(Some("s1"), "s2", &first.bytes, &second.bytes);
    let headers = vec![("rsnap-base", "s1".to_owned()), ("rsnap-base-root", root)];
    let diff = Upload { path: path("v", "s2"), content_type: Some(DIFF), headers, body: &change, ..Upload::default() };
    client.put(&diff).expect(201);

    for (snapshot, image) in [("s1", &first), ("s2", &second)] {
        assert!(client.get(&path("v", snapshot)).expect(200).body == image.bytes, "{snapshot} raw");
        let full = client.get(&(path("v", snapshot) + "?format=rbd-diff")).expect(200);
        assert!(!full.cut);
        assert!(Diff::apply(&full.body, &[]) == image.bytes, "{snapshot} as a full diff");
    }
    let forward = client.get(&(path("v", "s2") + "?format=rbd-diff&base=s1")).expect(200).body;
    assert!(Diff::apply(&forward, &first.bytes) == second.bytes);
    let backward = client.get(&(path("v", "s1") + "?format=rbd-diff&base=s2")).expect(200).body;
    assert!(Diff::apply(&backward, &second.bytes) == first.bytes);
    assert!(forward.len() < first.bytes.len(), "the change costs as much as the whole");
}

#[test]
fn an_incremental_by_stock_tools_finds_its_base_by_the_recorded_name() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let first = Image::random(1 << 20, 3);
    let second = first.changed(4, 5);
    let full = Diff::full("snapshot-a", &first.bytes);
    let put = |snapshot: &str, body: &[u8]| {
        client.put(&Upload { path: path("v", snapshot), content_type: Some(DIFF), body, ..Upload::default() })
    };
    put("one", &full).expect(201);
    put("two", &Diff::between(Some("snapshot-a"), "snapshot-b", &first.bytes, &second.bytes)).expect(201);
    assert!(client.get(&path("v", "two")).expect(200).body == second.bytes);
    let chain = client.chain("v");
    assert_eq!(chain["snapshots"][1]["base"], "one");
    assert_eq!(chain["snapshots"][1]["source_snapshot"], "snapshot-b");
}

#[test]
fn images_grow_and_shrink_with_the_chain() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let mut images = vec![Image::random(3 << 20, 5)];
    for (seed, size) in [(6, 1_300_001), (7, 4 << 20), (8, 70_000), (9, 2 << 20)] {
        let mut next = images.last().unwrap().clone();
        next.bytes.resize(size, 0);
        images.push(next.changed(seed, 4));
    }
    let mut base: Option<String> = None;
    for (number, image) in images.iter().enumerate() {
        let name = format!("s{number}");
        let mut old = number.checked_sub(1).map(|before| images[before].bytes.clone()).unwrap_or_default();
        old.resize(image.bytes.len(), 0);
        let body = Diff::between(base.as_deref(), &name, &old, &image.bytes);
        client
            .put(&Upload { path: path("v", &name), content_type: Some(DIFF), body: &body, ..Upload::default() })
            .expect(201);
        base = Some(name);
    }
    for (number, image) in images.iter().enumerate() {
        assert!(client.get(&path("v", &format!("s{number}"))).expect(200).body == image.bytes, "s{number}");
    }
    for middle in ["s0", "s2", "s3"] {
        client.request("DELETE", &path("v", middle), &[], &[]).expect(204);
        client.get(&path("v", middle)).expect(404);
    }
    for number in [1, 4] {
        assert!(client.get(&path("v", &format!("s{number}"))).expect(200).body == images[number].bytes, "s{number}");
    }
}

#[test]
fn ranges_are_served_as_http_says() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let image = Image::random(3_000_000, 10);
    client.put(&Upload { path: path("v", "s"), body: &image.bytes, ..Upload::default() }).expect(201);
    let get = |range: &str| client.request("GET", &path("v", "s"), &[("Range", range.to_owned())], &[]);
    let middle = get("bytes=1048570-1048585").expect(206);
    assert_eq!(middle.body, &image.bytes[1_048_570..1_048_586]);
    assert_eq!(middle.header("content-range"), Some("bytes 1048570-1048585/3000000"));
    assert_eq!(get("bytes=-5").expect(206).body, &image.bytes[2_999_995..]);
    assert_eq!(get("bytes=2999999-").expect(206).body, &image.bytes[2_999_999..]);
    assert_eq!(get("bytes=3000000-").expect(416).header("content-range"), Some("bytes */3000000"));
    let head = client.request("HEAD", &path("v", "s"), &[], &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000000")));
}

/// Shows 2: `curl -T` with a ticket from `GET /server`, for a raw image and an rbd-diff stream, and the same bytes back.
#[test]
fn curl_alone_is_enough() {
    let gateway = Gateway::start();
    let directory = tempfile::tempdir().unwrap();
    let image = Image::random(2 << 20, 11);
    let changed = image.changed(12, 6);
    let (raw, diff) = (directory.path().join("raw"), directory.path().join("diff"));
    std::fs::write(&raw, &image.bytes).unwrap();
    std::fs::write(&diff, Diff::full("snapshot-2", &changed.bytes)).unwrap();
    let base = format!("https://{}", gateway.address);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--cacert"])
            .arg(gateway.certificate())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    };
    let operator = format!("Authorization: Bearer {}", gateway.token());
    for (snapshot, file, kind, bytes) in [("s1", &raw, RAW, &image.bytes), ("s2", &diff, DIFF, &changed.bytes)] {
        let ask = format!("{base}/server?volume=v&snapshot={snapshot}&size={}", image.bytes.len());
        let answer: serde_json::Value = serde_json::from_slice(&curl(&["-H", &operator, &ask])).unwrap();
        let ticket = format!("Authorization: Bearer {}", answer["ticket"].as_str().unwrap());
        let target = format!("https://{}{}", answer["server"].as_str().unwrap(), path("v", snapshot));
        let kind = format!("Content-Type: {kind}");
        curl(&["-H", &ticket, "-H", &kind, "-T", file.to_str().unwrap(), &target]);
        assert!(curl(&["-H", &ticket, &target]) == *bytes, "{snapshot}");
    }
    let piped = format!(
        "cat {} | curl -sS --fail --cacert {} -H '{operator}' -H 'Content-Type: {DIFF}' -T - {base}{}",
        diff.display(),
        gateway.certificate().display(),
        path("v", "s3")
    );
    assert!(Command::new("sh").args(["-c", &piped]).status().unwrap().success());
    assert!(curl(&["-H", &operator, "--http2", &(base + &path("v", "s3"))]) == changed.bytes);
}

#[test]
fn a_whole_chain_goes_in_with_one_put() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let first = Image::random(700_000, 13);
    let second = first.changed(14, 3);
    let stream = rbd_export(&[("a", None, &first.bytes), ("b", Some(("a", &first.bytes)), &second.bytes)]);
    let upload = Upload {
        path: "/v1/volumes/v/snapshots?snapshots=t1,t2".to_owned(),
        content_type: Some("application/vnd.ceph.rbd-image"),
        body: &stream,
        ..Upload::default()
    };
    client.put(&upload).expect(201);
    assert!(client.get(&path("v", "t1")).expect(200).body == first.bytes);
    assert!(client.get(&path("v", "t2")).expect(200).body == second.bytes);
    client.put(&upload).expect(200);
    let wrong = Upload { path: "/v1/volumes/w/snapshots?snapshots=t1".to_owned(), ..upload };
    assert_eq!(client.put(&wrong).expect(400).problem(), "bad-request");
}
