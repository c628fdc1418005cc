//! Uploads to Ceph that outlive their gateways: `rsnap send` and plain requests go on at another one.

use std::process::{Child, Command, Stdio};

use super::support::{Site, sha256, succeeded};
use crate::support::{Client, Gateway, Image, Options, scratch, wait_for};

const MIB: usize = 1 << 20;
const SNAPSHOT: &str = "/v1/volumes/v/snapshots/s";

/// Killed when a test ends early.
struct Sender(Option<Child>);

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Sender {
    fn start(mut command: Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    #[track_caller]
    fn outcome(mut self) -> serde_json::Value {
        succeeded(self.0.take().unwrap().wait_with_output().unwrap())
    }

    fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn durable(client: &Client) -> u64 {
    let uploads = client.get(&format!("{SNAPSHOT}/uploads")).expect(200).json();
    let ranges = uploads["uploads"].as_array().unwrap().iter().flat_map(|upload| upload["durable"].as_array().unwrap());
    ranges.map(|range| range["end"].as_u64().unwrap() - range["start"].as_u64().unwrap()).sum()
}

/// Ceph itself would take a lock away from a silent client after half a minute. Not here.
fn target() -> Site {
    Site::own(&rsnap_test_ceph::Options::default().with_setting("osd", "osd client watch timeout = 3600"))
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().prefix("rsnap-image-").tempfile_in(scratch()).unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn send(gateway: &Gateway, image: &tempfile::NamedTempFile, more: &[&str]) -> Sender {
    let mut command =
        gateway.command(&["send", "--json", "--volume", "v", "--snapshot", "s", "--source-volume", "origin"]);
    command.arg(image.path()).args(more);
    Sender::start(command)
}

#[test]
fn a_sender_goes_on_when_its_gateway_was_killed() {
    let target = target();
    let mut gateway = target.gateway();
    let bytes = Image::random(72 * MIB + 4321, 41).bytes;
    let image = file(&bytes);
    let sender = send(&gateway, &image, &[]);
    wait_for("progress", || durable(&gateway.client()) >= 16 * MIB as u64);
    gateway.restart();
    let outcome = sender.outcome();
    assert_eq!(outcome["outcome"], "committed", "{outcome}");
    assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&bytes));
    let (moved, again) = (outcome["moved"].as_u64().unwrap(), outcome["again"].as_u64().unwrap());
    assert!(moved - again <= (bytes.len() + MIB) as u64, "{moved} bytes were sent, {again} of them again");
    assert_eq!(gateway.client().chain("v")["damaged"], serde_json::json!([]));
}

#[test]
fn a_wrong_digest_inside_a_block_takes_back_what_it_brought() {
    let target = target();
    crate::uploads::digests::wrong_digest_inside_a_block(&target.gateway());
}

#[test]
fn another_sender_goes_on_at_another_gateway() {
    for streams in ["1", "3"] {
        let target = target();
        let (mut first, second) = (target.gateway(), target.gateway());
        let bytes = Image::random(200 * MIB, 42).bytes;
        let image = file(&bytes);
        let sender = send(&first, &image, &["--streams", streams]);
        let mut there = 0;
        wait_for("progress", || {
            there = durable(&first.client());
            there >= 24 * MIB as u64
        });
        sender.kill();
        if streams == "1" {
            first.kill();
        }
        let outcome = send(&second, &image, &[]).outcome();
        assert_eq!(outcome["outcome"], "committed", "{outcome}");
        assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&bytes));
        let moved = outcome["moved"].as_u64().unwrap();
        let most = bytes.len() as u64 - there + (3 * 8 + 1) * MIB as u64;
        assert!(moved <= most, "{there} bytes of {} were durable, and {moved} were sent", bytes.len());
    }
}

/// A gateway that sleeps owns an upload; another one takes it over, and the first changes nothing when it wakes.
#[test]
fn a_stopped_gateway_loses_its_uploads() {
    let target = target();
    let (first, second) = (target.gateway(), target.gateway());
    let bytes = Image::random(200 * MIB, 46).bytes;
    let image = file(&bytes);
    let sleeper = send(&first, &image, &["--streams", "2"]);
    let mut there = 0;
    wait_for("progress", || {
        there = durable(&first.client());
        there >= 24 * MIB as u64
    });
    first.signal("STOP");
    let outcome = send(&second, &image, &[]).outcome();
    assert_eq!(outcome["outcome"], "committed", "{outcome}");
    let moved = outcome["moved"].as_u64().unwrap();
    let most = bytes.len() as u64 - there + (2 * 8 + 1) * MIB as u64;
    assert!(moved <= most, "{there} bytes of {} were durable, and {moved} were sent", bytes.len());
    let before = target.state_that_counts("volume-v");
    first.signal("CONT");
    // The first sender asks again and finds the snapshot.
    assert_eq!(sleeper.outcome()["outcome"], "present");
    assert_eq!(target.state_that_counts("volume-v"), before, "the overtaken gateway has changed something");
    assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&bytes));
}

#[test]
fn an_upload_waits_while_others_use_the_volume() {
    let target = target();
    let (one, other) = (target.gateway(), target.gateway_with("", Options::default()));
    let bytes = Image::random(72 * MIB, 43).bytes;
    let image = file(&bytes);
    let sender = send(&one, &image, &[]);
    wait_for("progress", || durable(&one.client()) >= 8 * MIB as u64);
    sender.kill();
    let between = Image::random(9 * MIB, 44).bytes;
    let put = crate::support::Upload {
        path: "/v1/volumes/v/snapshots/another".to_owned(),
        content_type: Some("application/octet-stream"),
        body: &between,
        ..crate::support::Upload::default()
    };
    wait_for("the volume", || {
        let answer = other.client().put(&put);
        assert!(matches!(answer.status, 201 | 503), "{answer:?}");
        answer.status == 201
    });
    let there = durable(&other.client());
    assert!(there >= 8 * MIB as u64);
    let outcome = send(&other, &image, &["--full"]).outcome();
    assert_eq!(outcome["outcome"], "committed");
    assert!(
        outcome["moved"].as_u64().unwrap() <= (bytes.len() + MIB) as u64 - there,
        "{there} were durable: {outcome}"
    );
    assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&bytes));
    assert_eq!(target.digest("volume-v@snapshot-another"), sha256(&between));
    let names: Vec<String> = target.snapshots("volume-v").into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["snapshot-another", "snapshot-s"], "{}", other.log());
}

/// What was begun of a snapshot that came otherwise is of no use to anybody.
#[test]
fn nothing_is_left_of_an_upload_whose_snapshot_came_with_one_put() {
    let target = Site::target();
    let gateway = target.gateway();
    let bytes = Image::random(72 * MIB, 45).bytes;
    let image = file(&bytes);
    let sender = send(&gateway, &image, &[]);
    wait_for("progress", || durable(&gateway.client()) >= 8 * MIB as u64);
    sender.kill();
    let put = crate::support::Upload {
        path: SNAPSHOT.to_owned(),
        content_type: Some("application/octet-stream"),
        body: &bytes,
        ..crate::support::Upload::default()
    };
    wait_for("the volume", || gateway.client().put(&put).status == 201);
    assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&bytes));
    assert_eq!(durable(&gateway.client()), 0);
    let names: Vec<String> = target.snapshots("volume-v").into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["snapshot-s"], "{}", gateway.log());
    let records = target.rbd("image-meta ls @volume-v");
    assert!(!records.contains("rsnap.upload.") && !records.contains("rsnap.claim."), "{records}");
}
