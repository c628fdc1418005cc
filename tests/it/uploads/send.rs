//! `rsnap send` while gateways die, and when it has died itself.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{SNAPSHOT, check, gateway_on, shared};
use crate::support::{Client, Gateway, Image};

const MIB: usize = 1 << 20;
/// What a gateway may have of one stream and not made durable.
const WINDOW: u64 = 8 << 20;
/// What may be sent twice of one stream: the gateway's window, and what the sockets of both sides hold.
const TWICE: u64 = (8 + 16) << 20;

/// A sender that is killed when a test ends early.
struct Sender(Option<Child>);

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Sender {
    fn start(mut command: Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// It says nothing any more, and its connections stay.
    fn stop(&self) {
        let process = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-STOP", &process]).status().unwrap().success());
    }

    fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for its success, and gives its last word.
    #[track_caller]
    fn outcome(self) -> serde_json::Value {
        last_word(&self.told())
    }

    /// Waits for its success, and gives all that it said.
    #[track_caller]
    fn told(mut self) -> String {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        out.into_owned()
    }
}

#[track_caller]
fn last_word(told: &str) -> serde_json::Value {
    let last = told.lines().rfind(|line| line.contains("\"outcome\"")).unwrap_or_else(|| panic!("{told}"));
    serde_json::from_str(last).unwrap()
}

fn send(gateway: &Gateway, file: &Path, more: &[&str]) -> Command {
    let mut command =
        gateway.command(&["send", "--json", "--volume", "v", "--snapshot", "s", "--source-volume", "origin"]);
    command.arg(file).args(more);
    command
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn durable(client: &Client) -> u64 {
    let uploads = client.get(&format!("{SNAPSHOT}/uploads")).expect(200).json();
    let ranges = uploads["uploads"].as_array().unwrap().iter().flat_map(|upload| upload["durable"].as_array().unwrap());
    ranges.map(|range| range["end"].as_u64().unwrap() - range["start"].as_u64().unwrap()).sum()
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn it_outlives_its_gateways() {
    let store = shared();
    let mut gateway = gateway_on(store.path());
    let bytes = Image::random(96 * MIB + 4321, 31).bytes;
    let path = file(store.path(), "image", &bytes);
    let sender = Sender::start(send(&gateway, &path, &[]));
    let mut deaths = 0;
    for part in [12, 40] {
        wait_until("nothing becomes durable", || durable(&gateway.client()) >= part * MIB as u64);
        gateway.restart();
        deaths += 1;
    }
    let outcome = sender.outcome();
    check(&gateway.client(), &bytes);
    let (moved, again) = (outcome["moved"].as_u64().unwrap(), outcome["again"].as_u64().unwrap());
    assert!(again <= deaths * TWICE, "{again} bytes were sent again");
    // Nothing that was durable is among them.
    assert!(moved - again <= bytes.len() as u64 + MIB as u64, "{moved} bytes were sent, {again} of them again");
}

#[test]
fn what_was_deleted_can_be_sent_again() {
    let store = shared();
    let gateway = gateway_on(store.path());
    let bytes = Image::random(20 * MIB, 33).bytes;
    let path = file(store.path(), "image", &bytes);
    for _ in 0..2 {
        assert_eq!(Sender::start(send(&gateway, &path, &[])).outcome()["outcome"], "committed");
        check(&gateway.client(), &bytes);
        gateway.client().request("DELETE", SNAPSHOT, &[], &[]).expect(204);
    }
}

#[test]
fn it_goes_on_where_it_was_killed() {
    let store = shared();
    let (first, second) = (gateway_on(store.path()), gateway_on(store.path()));
    let bytes = Image::random(96 * MIB, 32).bytes;
    let path = file(store.path(), "image", &bytes);
    let sender = Sender::start(send(&first, &path, &["--streams", "3"]));
    let mut there = 0;
    wait_until("nothing becomes durable", || {
        there = durable(&first.client());
        there >= 24 * MIB as u64
    });
    sender.kill();
    // What was durable is not sent again, though the first gateway may not have noticed yet that nobody sends any more.
    let told = Sender::start(send(&second, &path, &[])).told();
    assert!(told.contains("goes on where an earlier try ended"), "{told}");
    let outcome = last_word(&told);
    let moved = outcome["moved"].as_u64().unwrap();
    let most = bytes.len() as u64 - there + 3 * WINDOW + MIB as u64;
    assert!(moved <= most, "{there} bytes of {} were durable, and {moved} were sent", bytes.len());
    check(&first.client(), &bytes);
    let again = Sender::start(send(&first, &path, &[])).outcome();
    assert_eq!(again["outcome"], "present");
}

/// What the first gateway still has of a sender that sleeps becomes durable when the second one has been asked what is
/// there. It is neither sent again nor missing in the root that the second sender proves.
#[test]
fn it_goes_on_beside_a_sender_that_sleeps() {
    let store = shared();
    let (first, second) = (gateway_on(store.path()), gateway_on(store.path()));
    let bytes = Image::random(200 * MIB, 36).bytes;
    let path = file(store.path(), "image", &bytes);
    let sleeper = Sender::start(send(&first, &path, &["--streams", "3"]));
    let mut there = 0;
    wait_until("nothing becomes durable", || {
        there = durable(&first.client());
        there >= 24 * MIB as u64
    });
    sleeper.stop();
    let outcome = Sender::start(send(&second, &path, &[])).outcome();
    let moved = outcome["moved"].as_u64().unwrap();
    let most = bytes.len() as u64 - there + 3 * WINDOW + MIB as u64;
    assert!(moved <= most, "{there} bytes of {} were durable, and {moved} were sent", bytes.len());
    check(&first.client(), &bytes);
}

#[test]
fn several_streams_bring_a_change_over_a_death() {
    let store = shared();
    let mut gateway = gateway_on(store.path());
    let old = Image::random(200 * MIB, 33);
    let mut new = old.bytes.clone();
    for (number, grain) in new.chunks_mut(16 << 10).enumerate().filter(|(number, _)| number % 3 == 0) {
        grain.fill(u8::try_from(number % 251).unwrap() + 1);
    }
    new[150 * MIB..152 * MIB].fill(0);
    let (base, path) = (file(store.path(), "old", &old.bytes), file(store.path(), "new", &new));
    let mut first = gateway.command(&[
        "send",
        "--volume",
        "v",
        "--snapshot",
        "s0",
        "--source-snapshot",
        "s0",
        "--source-volume",
        "origin",
    ]);
    assert!(first.arg(&base).args(["--streams", "4"]).status().unwrap().success());
    let base = format!("s0={}", base.display());
    let sender = Sender::start(send(&gateway, &path, &["--streams", "4", "--base", &base]));
    wait_until("nothing becomes durable", || durable(&gateway.client()) >= 16 * MIB as u64);
    gateway.restart();
    let outcome = sender.outcome();
    assert_eq!(outcome["snapshots"][0]["base"], "s0");
    assert!(outcome["moved"].as_u64().unwrap() < new.len() as u64 / 2 + 4 * TWICE, "{outcome}");
    check(&gateway.client(), &new);
    assert!(gateway.client().get("/v1/volumes/v/snapshots/s0").expect(200).body == old.bytes);
}

/// What is there of an upload is not what the file holds now: the root says so, and it is begun anew.
#[test]
fn a_file_that_changed_since_is_sent_whole() {
    let store = shared();
    let gateway = gateway_on(store.path());
    let mut bytes = Image::random(64 * MIB, 34).bytes;
    let path = file(store.path(), "image", &bytes);
    let sender = Sender::start(send(&gateway, &path, &[]));
    wait_until("nothing becomes durable", || durable(&gateway.client()) >= 8 * MIB as u64);
    sender.kill();
    bytes[12_345] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    Sender::start(send(&gateway, &path, &[])).outcome();
    check(&gateway.client(), &bytes);
}

#[test]
fn what_is_cancelled_is_gone() {
    let store = shared();
    let gateway = gateway_on(store.path());
    let bytes = Image::random(64 * MIB, 35).bytes;
    let path = file(store.path(), "image", &bytes);
    let sender = Sender::start(send(&gateway, &path, &[]));
    wait_until("nothing becomes durable", || durable(&gateway.client()) >= 8 * MIB as u64);
    sender.kill();
    let cancel = || gateway.command(&["cancel", "--volume", "v", "--snapshot", "s"]).output().unwrap();
    let output = cancel();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(durable(&gateway.client()), 0);
    let images = store.path().join("store/images/volume-v");
    let left: Vec<_> = std::fs::read_dir(images).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let data = left
        .iter()
        .filter(|name| [".raw", ".pages", ".upload"].iter().any(|end| name.to_string_lossy().ends_with(end)));
    assert_eq!(data.count(), 0, "{left:?}");
    assert!(!cancel().status.success(), "there is nothing to cancel");
    let mut text = String::new();
    std::fs::File::open(gateway.data.join("audit.log")).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("\"event\":\"cancel\""), "{text}");
}
