//! One volume, and the snapshots that are sent to it one after the other.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::scene::Scene;
use super::sender::{Ended, Said};
use super::source::Source;
use crate::support::{next, scratch, wait_for};

const MIB: u64 = 1 << 20;
/// What a gateway may have of one stream and not made durable.
const WINDOW: u64 = 8 * MIB;
/// What has left the sender and not reached the gateway: the kernels on both sides, and the proxy. A gateway on a busy
/// machine lets them fill up.
const ON_THE_WAY: u64 = 16 * MIB;
/// Heads and extents of a stream.
const FRAME: u64 = MIB;
/// Snapshots of a volume at a time.
const KEPT: usize = 3;
/// Senders that one snapshot may take.
const TRIES: usize = 40;

/// A committed snapshot.
struct Link {
    name: String,
    source: Source,
    path: PathBuf,
    /// As the chain showed it when it was committed.
    record: Value,
}

pub struct Lane<'a> {
    scene: &'a Scene,
    number: usize,
    volume: String,
    links: Vec<Link>,
    folder: tempfile::TempDir,
    state: u64,
}

/// What is to be sent now.
struct Wanted {
    name: String,
    source: Source,
    path: PathBuf,
    streams: u64,
    is_full: bool,
}

impl<'a> Lane<'a> {
    pub fn new(scene: &'a Scene, number: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("rsnap-lane-").tempdir_in(scratch()).unwrap();
        let state = scene.seed ^ (number as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f);
        Self { scene, number, volume: format!("v{number}"), links: Vec::new(), folder, state }
    }

    pub fn run(mut self) {
        for number in 0.. {
            if self.scene.is_over() {
                break;
            }
            let wanted = self.wanted(number);
            self.send(&wanted);
            self.committed(wanted);
            if self.links.len() > KEPT {
                self.delete();
            }
        }
        // A gateway that dies between its last commit and its last removal leaves something to the next transfer.
        wait_for("calm", || self.scene.is_calm() || self.scene.has_failed());
        if !self.scene.has_failed() {
            self.check_end();
        }
    }

    fn wanted(&mut self, number: usize) -> Wanted {
        let is_full = self.links.is_empty() || next(&mut self.state).is_multiple_of(3);
        let source = match self.links.last() {
            Some(last) if !is_full => last.source.changed(&mut self.state),
            _ => Source::random(&mut self.state),
        };
        let name = format!("s{number}");
        let path = source.write(&self.folder.path().join(&name));
        Wanted { name, source, path, streams: 1 + next(&mut self.state) % 4, is_full }
    }

    fn command(&self, wanted: &Wanted) -> Command {
        let streams = wanted.streams.to_string();
        let mut command = self.scene.caller().command(&["send", "--json", "--source-volume", "origin"]);
        command.args(["--volume", &self.volume, "--snapshot", &wanted.name, "--streams", &streams]).arg(&wanted.path);
        match self.links.last() {
            Some(base) if !wanted.is_full => {
                command.arg("--base").arg(format!("{}={}", base.name, base.path.display()));
            }
            _ => drop(command.arg("--full")),
        }
        command
    }

    /// Sends one snapshot, as often as it takes.
    fn send(&self, wanted: &Wanted) {
        let slot = &self.scene.senders[self.number];
        *self.scene.current[self.number].lock().unwrap() = format!("{}/{}", self.volume, wanted.name);
        for _ in 0..TRIES {
            let (fulls, was_full) =
                (self.scene.fulls.load(Ordering::SeqCst), self.scene.is_full.load(Ordering::SeqCst));
            let missing = self.missing(wanted);
            let said = slot.run(self.command(wanted), self.folder.path());
            self.scene.tell("senders run", 1);
            self.check_cost(wanted, &missing, &said);
            match &said.ended {
                Ended::Well(outcome) => {
                    self.scene.tell("snapshots committed", 1);
                    assert_eq!(outcome["volume"].as_str().unwrap_or(&self.volume), self.volume);
                    return;
                }
                Ended::Killed => {}
                Ended::Badly(error) => {
                    let is_full = was_full || self.scene.fulls.load(Ordering::SeqCst) > fulls;
                    self.check_reason(error, &said, is_full);
                    if is_full {
                        self.scene.fulls_told.fetch_add(1, Ordering::SeqCst);
                        wait_for("space", || !self.scene.is_full.load(Ordering::SeqCst) || self.scene.has_failed());
                    }
                }
            }
            if self.scene.has_failed() {
                return;
            }
        }
        panic!("{}/{} is not committed after {TRIES} senders", self.volume, wanted.name);
    }

    /// A sender may give up: on a full storage, or when nothing gets through for long. It says so, and what to do.
    #[track_caller]
    fn check_reason(&self, error: &Value, said: &Said, is_full: bool) {
        let text = error["error"].as_str().unwrap_or_default();
        assert!(!error["remedy"].as_str().unwrap_or_default().is_empty(), "{error}");
        let kind = error["problem"]["type"].as_str().unwrap_or_default().rsplit([':', '#']).next().unwrap_or_default();
        let network = ["cannot connect", "the connection was cut", "nothing moved"];
        let is_expected = match kind {
            "storage-full" => is_full,
            "" => network.iter().any(|start| text.starts_with(start)),
            "busy" | "stopping" | "overtaken" | "saturated" | "body-cut" => !said.retries.is_empty(),
            _ => false,
        };
        assert!(is_expected, "a reason that no fault explains: {error} after {:?}", said.retries);
        self.scene.tell(&format!("senders that gave up: {}", if kind.is_empty() { "network" } else { kind }), 1);
    }

    /// What is missing of a snapshot before a sender begins.
    fn missing(&self, wanted: &Wanted) -> Vec<Range<u64>> {
        let path = format!("/v1/volumes/{}/snapshots/{}/uploads", self.volume, wanted.name);
        let answer = self.scene.get(&path);
        assert_eq!(answer.status, 200, "{answer:?}");
        let uploads = answer.json()["uploads"].as_array().unwrap().clone();
        let mut missing = Vec::new();
        let mut end = 0;
        for range in uploads.first().iter().flat_map(|upload| upload["durable"].as_array().unwrap()) {
            missing.push(end..range["start"].as_u64().unwrap());
            end = range["end"].as_u64().unwrap();
        }
        missing.push(end..wanted.source.size);
        missing
    }

    /// What was durable is not sent again; of what was on its way, so much for each stream and break.
    #[track_caller]
    fn check_cost(&self, wanted: &Wanted, missing: &[Range<u64>], said: &Said) {
        let base = self.links.last().filter(|_| !wanted.is_full).map(|base| &base.source);
        let needed = wanted.source.cost(base, missing);
        let breaks = said.retries.len() as u64;
        let bound = breaks * wanted.streams * (WINDOW + ON_THE_WAY);
        match &said.ended {
            Ended::Well(outcome) if outcome["outcome"] == "committed" => {
                let (moved, again) = (outcome["moved"].as_u64().unwrap(), outcome["again"].as_u64().unwrap());
                let text = format!(
                    "{}/{} of {} bytes in {} streams: {needed} bytes of data were missing, {moved} were sent, {again} of \
                     them again after {:?}",
                    self.volume, wanted.name, wanted.source.size, wanted.streams, said.retries
                );
                assert!(again <= bound, "more than a window was lost: {text}");
                assert!(moved <= needed + again + FRAME, "what was durable was sent again: {text}");
                self.scene.tell("bytes of data needed", needed);
                self.scene.tell("bytes sent again", again);
                self.scene.tell("breaks of a transfer", breaks);
                self.scene.tell_most(
                    "bytes sent again for a stream and break, at most",
                    again / (breaks * wanted.streams).max(1),
                );
            }
            Ended::Killed => {
                let left: u64 = wanted.source.cost(base, &self.missing(wanted));
                let lost = said.moved.saturating_sub(needed.saturating_sub(left));
                let bound = bound + wanted.streams * (WINDOW + ON_THE_WAY) + FRAME;
                assert!(lost <= bound, "{lost} bytes of a killed sender are lost, {bound} may be");
            }
            _ => {}
        }
    }

    /// The snapshot is what was sent, and those before it are what they were.
    fn committed(&mut self, wanted: Wanted) {
        if self.scene.has_failed() {
            return;
        }
        let record = self.records().remove(&wanted.name);
        let record = record.unwrap_or_else(|| panic!("{} was committed and is not there", wanted.name));
        let Wanted { name, source, path, .. } = wanted;
        self.links.push(Link { name, source, path, record });
        self.check(self.links.len() - 1);
        let earlier = next(&mut self.state) as usize % self.links.len();
        self.check(earlier);
        self.check_records();
    }

    fn records(&self) -> std::collections::BTreeMap<String, Value> {
        let answer = self.scene.get(&format!("/v1/volumes/{}/snapshots", self.volume));
        assert_eq!(answer.status, 200, "{answer:?}");
        let chain = answer.json();
        assert_eq!(chain["damaged"], serde_json::json!([]), "{chain}");
        let all = chain["snapshots"].as_array().unwrap().iter();
        all.map(|record| (record["snapshot"].as_str().unwrap().to_owned(), record.clone())).collect()
    }

    fn check_records(&self) {
        let records = self.records();
        let names: BTreeSet<&String> = self.links.iter().map(|link| &link.name).collect();
        assert_eq!(records.keys().collect::<BTreeSet<_>>(), names);
        for link in &self.links {
            assert_eq!(records[&link.name], link.record, "what is known of {} has changed", link.name);
        }
    }

    fn check(&self, number: usize) {
        let link = &self.links[number];
        let path = format!("/v1/volumes/{}/snapshots/{}", self.volume, link.name);
        let accept = [("Accept", "application/vnd.ceph.rbd-diff".to_owned())];
        let answer = self.scene.ask(&path, |client| client.try_request("GET", &path, &accept));
        assert_eq!(answer.status, 200, "{answer:?}");
        if let Some(fault) = link.source.check(&link.path, &answer.body) {
            panic!("{}/{} is not what was sent: {fault}", self.volume, link.name);
        }
        self.scene.tell("contents compared", 1);
    }

    /// Deletes the oldest, on which the next one is built perhaps.
    fn delete(&mut self) {
        let link = self.links.remove(0);
        let path = format!("/v1/volumes/{}/snapshots/{}", self.volume, link.name);
        self.scene.ask(&path, |client| {
            let answer = client.try_request("DELETE", &path, &[])?;
            match answer.status {
                // The answer to an earlier one may have been lost.
                204 | 404 => Ok(answer),
                _ => Err(std::io::Error::other(format!("{answer:?}"))),
            }
        });
        std::fs::remove_file(&link.path).unwrap();
    }

    /// All is there, and nothing else: what the last death has left goes with the next transfer.
    fn check_end(&mut self) {
        let mut wanted = self.wanted(usize::MAX);
        wanted.streams = 1;
        self.send(&wanted);
        self.committed(wanted);
        (0..self.links.len()).for_each(|number| self.check(number));
        let names: BTreeSet<String> = self.links.iter().map(|link| link.name.clone()).collect();
        for name in &names {
            let answer = self.scene.get(&format!("/v1/volumes/{}/snapshots/{name}/uploads", self.volume)).json();
            let unfinished =
                answer["uploads"].as_array().unwrap().iter().filter(|upload| upload["committed"].is_null());
            assert_eq!(unfinished.count(), 0, "{answer}");
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = self.scene.backend.leftovers(&self.volume, &names);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{} serves nobody in {}", left.join("\n"), self.volume);
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
