//! Shows 3: the source has `snap1` … `snap4`, the user copies `snap1` and `snap4`. What is on the other side, what
//! deleting any of the four does on either side, and what happens when the base of a later copy is gone.
//! `deploy/ceph/chains.md` tells operators the same.

use super::support::Site;
use crate::support::{Diff, Gateway, Image};

const MIB: u64 = 1 << 20;
const FOUR: [&str; 4] = ["snap1", "snap2", "snap3", "snap4"];

struct Story {
    source: Site,
    target: Site,
    gateway: Gateway,
    /// Digests of the four and of what comes later.
    digests: Vec<(String, String)>,
}

impl Story {
    /// Both sites after the two copies.
    fn told() -> Self {
        let (source, target) = (Site::source(), Site::target());
        let gateway = target.gateway();
        source.rbd("create @vol --size 12M");
        let mut image = Image::random(12 << 20, 111);
        let mut old = Vec::new();
        for (number, snapshot) in FOUR.into_iter().enumerate() {
            if snapshot == "snap4" {
                image.bytes.resize(15 << 20, 0);
            }
            old.resize(image.bytes.len(), 0);
            source.apply("vol", &Diff::between(None, snapshot, &old, &image.bytes));
            old = image.bytes.clone();
            image = image.changed(112 + number as u64, 12);
        }
        let digests = FOUR.map(|name| (name.to_owned(), source.digest(&format!("vol@{name}")))).into();
        source.sent(&gateway, "snap1");
        let sent = source.sent(&gateway, "snap4");
        assert_eq!(sent["base"], "snap1", "{sent}");
        Self { source, target, gateway, digests }
    }

    /// Another snapshot at the source.
    fn snapshot(&mut self, name: &str) {
        let offset = self.digests.len() as u64 * MIB + 77;
        self.source.write("vol", offset, name.as_bytes());
        self.source.rbd(&format!("snap create --no-progress @vol@{name}"));
        self.digests.push((name.to_owned(), self.source.digest(&format!("vol@{name}"))));
    }

    fn digest(&self, name: &str) -> &str {
        &self.digests.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// The target has these and nothing else, and each is what it was at the source.
    #[track_caller]
    fn check_target(&self, expected: &[&str]) {
        let names: Vec<String> = self.target.snapshots("volume-v").into_iter().map(|listed| listed.name).collect();
        let wanted: Vec<String> = expected.iter().map(|name| format!("snapshot-{name}")).collect();
        assert_eq!(names, wanted);
        for name in expected {
            assert_eq!(self.target.digest(&format!("volume-v@snapshot-{name}")), self.digest(name), "{name}");
        }
        let chain = self.gateway.client().chain("v");
        let shown: Vec<&str> =
            chain["snapshots"].as_array().unwrap().iter().map(|entry| entry["snapshot"].as_str().unwrap()).collect();
        assert_eq!(shown, expected, "{chain}");
        assert_eq!(chain["damaged"], serde_json::json!([]), "{chain}");
    }

    fn delete_at_target(&self, name: &str) {
        let path = format!("/v1/volumes/v/snapshots/{name}");
        self.gateway.client().request("DELETE", &path, &[], &[]).expect(204);
    }
}

#[test]
fn the_other_side_has_the_two_that_were_copied() {
    let story = Story::told();
    story.check_target(&["snap1", "snap4"]);
    for missing in ["snap2", "snap3"] {
        let path = format!("/v1/volumes/v/snapshots/{missing}");
        assert_eq!(story.gateway.client().get(&path).expect(404).problem(), "no-snapshot");
    }
}

#[test]
fn deleting_at_the_source_changes_nothing_at_the_target() {
    let mut story = Story::told();
    for victim in ["snap2", "snap3", "snap1"] {
        story.source.rbd(&format!("snap rm --no-progress @vol@{victim}"));
        story.check_target(&["snap1", "snap4"]);
        assert_eq!(story.source.digest("vol@snap4"), story.digest("snap4"));
    }
    story.snapshot("snap5");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap4", "{sent}");
    story.check_target(&["snap1", "snap4", "snap5"]);
    for victim in ["snap4", "snap5"] {
        story.source.rbd(&format!("snap rm --no-progress @vol@{victim}"));
        story.check_target(&["snap1", "snap4", "snap5"]);
    }
}

#[test]
fn deleting_at_the_target_leaves_the_others_and_the_source() {
    let mut story = Story::told();
    story.delete_at_target("snap1");
    story.check_target(&["snap4"]);
    story.snapshot("snap5");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap4", "{sent}");
    story.check_target(&["snap4", "snap5"]);
    story.delete_at_target("snap5");
    story.check_target(&["snap4"]);
    for name in FOUR {
        assert_eq!(story.source.digest(&format!("vol@{name}")), story.digest(name), "{name}");
    }
}

/// The newest common snapshot is gone at the target: an older one serves, at the price of a larger change.
#[test]
fn a_base_that_is_gone_at_the_target_is_replaced_by_an_older_one() {
    let mut story = Story::told();
    story.delete_at_target("snap4");
    story.snapshot("snap5");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap1", "{sent}");
    story.check_target(&["snap1", "snap5"]);
}

/// The newest common snapshot is gone at the source. The target still holds it, and its head is ahead of `snap1`.
#[test]
fn a_base_that_is_gone_at_the_source_is_replaced_by_an_older_one() {
    let mut story = Story::told();
    story.snapshot("snap5");
    story.source.rbd("snap rm --no-progress @vol@snap4");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap1", "{sent}");
    story.check_target(&["snap1", "snap4", "snap5"]);
}

/// Nothing in common any more: the content is compared with what is there, and only what differs is sent.
#[test]
fn without_a_common_snapshot_the_difference_is_sent() {
    let mut story = Story::told();
    story.snapshot("snap5");
    for victim in ["snap1", "snap4"] {
        story.source.rbd(&format!("snap rm --no-progress @vol@{victim}"));
    }
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap4", "{sent}");
    story.check_target(&["snap1", "snap4", "snap5"]);
}

/// A snapshot that was removed with Ceph's own tools is neither shown as whole nor taken as a base.
#[test]
fn a_base_that_was_removed_behind_the_gateways_back_is_not_used() {
    let mut story = Story::told();
    story.target.rbd("snap rm --no-progress @volume-v@snapshot-snap4");
    let chain = story.gateway.client().chain("v");
    assert_eq!(chain["damaged"], serde_json::json!(["snapshot-snap4"]), "{chain}");
    story.snapshot("snap5");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap1", "{sent}");
    // Sent once more, it is whole again.
    let sent = story.source.sent(&story.gateway, "snap4");
    assert_eq!(sent["base"], "snap1", "{sent}");
    story.check_target(&["snap1", "snap5", "snap4"]);
}

/// A snapshot of the same name with other content is no base: names prove nothing.
#[test]
fn a_base_of_the_same_name_with_other_content_is_not_used() {
    let mut story = Story::told();
    story.source.rbd("snap rm --no-progress @vol@snap4");
    story.source.write("vol", 3 * MIB, b"this was not in the snap4 that was sent");
    story.source.rbd("snap create --no-progress @vol@snap4");
    story.snapshot("snap5");
    let sent = story.source.sent(&story.gateway, "snap5");
    assert_eq!(sent["base"], "snap1", "{sent}");
    story.check_target(&["snap1", "snap4", "snap5"]);
}
