//! Two sites are compared by their content trees, stored bytes are read again, and what is damaged is named.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Diff, Gateway, Image, Upload};

const MIB: usize = 1 << 20;
const LEAF: u64 = 64 << 10;
const DIFF: &str = "application/vnd.ceph.rbd-diff";
const TREE: &str = "/v1/volumes/v/snapshots/s/tree?pages=";

pub fn put(gateway: &Gateway, snapshot: &str, bytes: &[u8]) {
    let path = format!("/v1/volumes/v/snapshots/{snapshot}");
    gateway.client().put(&Upload { path, body: bytes, ..Upload::default() }).expect(201);
}

/// The command with what it needs to reach the other site.
pub fn toward(gateway: &Gateway, line: &str, other: Option<&Gateway>) -> Command {
    let mut command = gateway.command(&line.split_whitespace().collect::<Vec<_>>());
    if let Some(other) = other {
        command.arg("--other-gateway").arg(format!("https://{}", other.address));
        command.arg("--other-token-file").arg(other.data.join("token"));
        command.arg("--other-ca").arg(other.certificate());
    }
    command
}

/// The objects that a command prints, when it ends with `code`.
pub fn objects(mut command: Command, code: i32) -> Vec<Value> {
    let output = command.arg("--json").output().unwrap();
    let (answers, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{answers}{errors}");
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last object of this kind.
pub fn event(objects: &[Value], name: &str) -> Value {
    objects.iter().rfind(|object| object["event"] == name).cloned().unwrap_or_else(|| panic!("no {name}: {objects:?}"))
}

/// The data file of the only snapshot of volume `v`.
pub fn stored(gateway: &Gateway, suffix: &str) -> PathBuf {
    let images = gateway.data.join("store/images/volume-v");
    let mut files = images.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_string_lossy().ends_with(suffix)).unwrap()
}

pub fn flip(path: &PathBuf, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn extents(found: &Value) -> Vec<(u64, u64)> {
    let listed = found["extents"].as_array().unwrap().iter();
    listed.map(|extent| (extent["offset"].as_u64().unwrap(), extent["length"].as_u64().unwrap())).collect()
}

#[test]
fn two_sites_are_compared_without_reading_what_is_equal() {
    let (one, other) = (Gateway::start(), Gateway::start());
    let image = Image::random(40 * MIB + 777, 31);
    put(&one, "s", &image.bytes);
    put(&other, "s", &image.bytes);
    let line = "verify --volume v --snapshot s";
    let equal = event(&objects(toward(&one, line, Some(&other)), 0), "compared");
    assert_eq!((&equal["equal"], &equal["moved"]), (&true.into(), &0.into()), "{equal}");

    let mut changed = image.clone();
    for offset in [5, 9 * MIB, 9 * MIB + 65_536, 40 * MIB + 776] {
        changed.bytes[offset] ^= 1;
    }
    put(&other, "t", &changed.bytes);
    let line = format!("{line} --other-snapshot t");
    let differing = event(&objects(toward(&one, &line, Some(&other)), 5), "compared");
    let expected = vec![(0, LEAF), (9 * MIB as u64, 2 * LEAF), (40 * MIB as u64, 777)];
    assert_eq!((extents(&differing), &differing["equal"]), (expected.clone(), &false.into()));
    assert!(differing["moved"].as_u64().unwrap() < 64_000, "{differing}");

    // The same against an image that lies here, and in words.
    let here = one.data.join("changed.raw");
    std::fs::write(&here, &changed.bytes).unwrap();
    let local = format!("verify {} --volume v --snapshot s", here.display());
    assert_eq!(extents(&event(&objects(toward(&one, &local, None), 5), "compared")), expected);
    let output = toward(&one, &local, None).output().unwrap();
    let (words, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(words.contains("different in 3 extents") && words.contains("9437184"), "{words}");
    assert!(errors.contains("differ"), "{errors}");
    std::fs::write(&here, &image.bytes).unwrap();
    objects(toward(&one, &local, None), 0);
}

#[test]
fn a_flipped_bit_is_named_by_a_deep_check_and_by_nothing_else() {
    let (one, other) = (Gateway::start(), Gateway::start());
    let image = Image::random(20 * MIB, 32);
    put(&one, "s", &image.bytes);
    put(&other, "s", &image.bytes);
    let change = image.changed(33, 3);
    let body = Diff::between(Some("s"), "t", &image.bytes, &change.bytes);
    let headers = vec![("rsnap-base", "s".to_owned())];
    let path = "/v1/volumes/v/snapshots/t".to_owned();
    one.client().put(&Upload { path, content_type: Some(DIFF), headers, body: &body, ..Upload::default() }).expect(201);
    let deep = "verify --deep --volume v --snapshot s";
    let intact = event(&objects(toward(&one, deep, None), 0), "checked");
    assert_eq!((&intact["intact"], &intact["read"]), (&true.into(), &(20 * MIB).into()), "{intact}");
    objects(toward(&one, "verify --deep --volume v --snapshot t", None), 0);

    flip(&stored(&one, ".raw"), 7 * MIB as u64 + 3);
    objects(toward(&one, "verify --volume v --snapshot s", Some(&other)), 0);
    let found = objects(toward(&one, deep, Some(&other)), 5);
    let checked: Vec<_> = found.iter().filter(|object| object["event"] == "checked").collect();
    assert_eq!((checked.len(), &checked[0]["intact"], &checked[1]["intact"]), (2, &false.into(), &true.into()));
    assert_eq!(extents(checked[0]), [(7 * MIB as u64, LEAF)]);
    assert_eq!(event(&found, "compared")["equal"], true);
}

#[test]
fn pages_are_for_readers_and_bounded() {
    let gateway = Gateway::start();
    put(&gateway, "s", &Image::random(3 * MIB, 34).bytes);
    let client = gateway.client();
    let answer = client.get(&format!("{TREE}10:0;1:0-3")).expect(200);
    assert_eq!((answer.body.len(), answer.header("content-type")), (5 * 512, Some("application/vnd.rsnap.tree-pages")));
    assert!(answer.body[4 * 512..].iter().all(|byte| *byte == 0), "a page past the end");
    for list in ["", "1", "0:0", "11:0", "10:1", "1:5-4", "1:0-2048", "1:0-99999999999999999999"] {
        assert_eq!(client.get(&format!("{TREE}{list}")).expect(400).problem(), "bad-request", "{list}");
    }
    assert_eq!(client.get("/v1/volumes/v/snapshots/none/tree?pages=10:0").expect(404).problem(), "no-snapshot");
    assert_eq!(client.get("/v1/volumes/v/snapshots/none/check").expect(404).problem(), "no-snapshot");
    let ticket = client.get("/server?volume=w&snapshot=s&size=9").expect(200).json()["ticket"].clone();
    let stranger = client.with_token(ticket.as_str().unwrap());
    for path in ["tree?pages=10:0", "check"] {
        let refused = stranger.get(&format!("/v1/volumes/v/snapshots/s/{path}")).expect(403);
        assert_eq!(refused.problem(), "ticket-scope");
    }
}

#[test]
fn a_tree_that_is_damaged_in_the_store_is_no_proof() {
    let (one, other) = (Gateway::start(), Gateway::start());
    put(&one, "s", &Image::random(3 * MIB, 35).bytes);
    put(&other, "s", &Image::random(3 * MIB, 36).bytes);
    flip(&stored(&one, ".tree"), 100);
    let output = toward(&one, "verify --volume v --snapshot s", Some(&other)).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"), "{output:?}");
    let checked = event(&objects(toward(&one, "verify --deep --volume v --snapshot s", None), 5), "checked");
    assert_eq!(extents(&checked), [(0, MIB as u64)]);
}

/// Every byte of it stands for itself: the store has no part of the image that is not its own.
fn sizeable() -> Image {
    Image::random(64 * MIB + 1234, 37)
}

#[test]
fn a_flipped_bit_is_mended_by_sending_less_than_a_hundredth_of_the_volume() {
    let (damaged, intact) = (Gateway::start(), Gateway::start());
    let image = sizeable();
    put(&damaged, "s", &image.bytes);
    put(&intact, "s", &image.bytes);
    for offset in [33 * MIB as u64 + 12_345, 64 * MIB as u64 + 1233] {
        flip(&stored(&damaged, ".raw"), offset);
    }
    let deep = "verify --deep --volume v --snapshot s";
    let checked = event(&objects(toward(&damaged, deep, None), 5), "checked");
    assert_eq!(extents(&checked), [(33 * MIB as u64, LEAF), (64 * MIB as u64, 1234)]);
    assert!(damaged.client().get("/v1/volumes/v/snapshots/s").expect(200).cut, "what is damaged left the gateway");

    let repair = "repair --volume v --snapshot s";
    let repaired = event(&objects(toward(&damaged, repair, Some(&intact)), 0), "repaired");
    assert_eq!(repaired["damaged"], LEAF + 1234, "{repaired}");
    assert!(repaired["written"].as_u64().unwrap() <= 2 * 4096, "{repaired}");
    let sent = repaired["sent"].as_u64().unwrap();
    println!("sent {sent} of {} bytes", image.bytes.len());
    assert!(sent * 100 < image.bytes.len() as u64, "{repaired}");
    objects(toward(&damaged, deep, None), 0);
    assert!(damaged.client().get("/v1/volumes/v/snapshots/s").expect(200).body == image.bytes);
    let nothing = event(&objects(toward(&damaged, repair, Some(&intact)), 0), "repaired");
    assert_eq!((&nothing["damaged"], &nothing["sent"]), (&0.into(), &0.into()));

    // It can be built upon: the next transfer proves its base by the content.
    let change = image.changed(38, 2);
    let body = Diff::between(Some("s"), "t", &image.bytes, &change.bytes);
    let (path, headers) = ("/v1/volumes/v/snapshots/t".to_owned(), vec![("rsnap-base", "s".to_owned())]);
    let upload = Upload { path, content_type: Some(DIFF), headers, body: &body, ..Upload::default() };
    damaged.client().put(&upload).expect(201);
}

#[test]
fn a_repair_takes_nothing_but_what_was_committed() {
    let gateway = Gateway::start();
    let image = Image::random(3 * MIB, 39);
    put(&gateway, "s", &image.bytes);
    flip(&stored(&gateway, ".raw"), 70_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk.raw");
    let repair = format!("repair {} --volume v --snapshot s", file.display());
    let mut wrong = image.clone();
    wrong.bytes[70_001] ^= 1;
    std::fs::write(&file, &wrong.bytes).unwrap();
    let output = toward(&gateway, &repair, None).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not what was committed"), "{output:?}");

    let client = gateway.client();
    let send = |diff: Vec<u8>| {
        let headers = [("Content-Type", DIFF.to_owned())];
        client.request("POST", "/v1/volumes/v/snapshots/s/repair", &headers, &diff)
    };
    let leaf = &image.bytes[65_536..131_072];
    let new = || Diff::new(None, None, image.bytes.len() as u64);
    for (diff, status, problem) in [
        (new().write(65_536, &leaf[..5]).end(), 400, "bad-request"),
        (new().write(65_537, leaf).end(), 400, "bad-request"),
        (new().zero(65_536, LEAF).end(), 400, "bad-request"),
        (Diff::new(None, None, 5).end(), 400, "bad-request"),
        (Diff::new(Some("a"), None, 5).end(), 400, "bad-request"),
        (new().write(0, leaf).end(), 422, "digest-mismatch"),
        (new().write(65_536, leaf).0, 400, "malformed-stream"),
        (b"nonsense".to_vec(), 400, "malformed-stream"),
    ] {
        assert_eq!(send(diff).expect(status).problem(), problem);
    }
    std::fs::write(&file, &image.bytes).unwrap();
    let repaired = event(&objects(toward(&gateway, &repair, None), 0), "repaired");
    assert!(repaired["written"].as_u64().unwrap() <= 4096, "{repaired}");
    assert!(client.get("/v1/volumes/v/snapshots/s").expect(200).body == image.bytes);
    let other = Gateway::start();
    put(&other, "s", &wrong.bytes);
    let output = toward(&gateway, "repair --volume v --snapshot s", Some(&other)).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");

    flip(&stored(&gateway, ".tree"), 100);
    let output = toward(&gateway, &repair, None).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be mended"), "{output:?}");
}
