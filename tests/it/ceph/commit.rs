//! Shows 5: what was written behind the gateway's back is noticed, and a death around the commit heals.

use std::time::Duration;

use super::support::{Site, sha256};
use crate::support::{Diff, Gateway, Image, Options, Upload, next, seed, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";
const MIB: u64 = 1 << 20;

fn path(snapshot: &str) -> String {
    format!("/v1/volumes/v/snapshots/{snapshot}")
}

/// A source with `s1` at both sites.
fn sites() -> (Site, Site, Gateway, Image) {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    source.rbd("create @vol --size 12M");
    let mut image = Image::random(12 << 20, 101);
    image.bytes[4 << 20..8 << 20].fill(0);
    source.apply("vol", &Diff::full("s1", &image.bytes));
    source.sent(&gateway, "s1", &[]);
    (source, target, gateway, image)
}

fn check(source: &Site, target: &Site, snapshots: &[&str]) {
    for snapshot in snapshots {
        let expected = source.digest(&format!("vol@{snapshot}"));
        assert_eq!(target.digest(&format!("volume-v@snapshot-{snapshot}")), expected, "{snapshot}");
    }
}

#[test]
fn a_byte_behind_the_gateways_back_is_noticed_before_the_next_increment() {
    let (source, target, gateway, image) = sites();
    // Into data, into a hole, and the last byte.
    for (number, offset) in [5000, 6 * MIB + 1, 12 * MIB - 1].into_iter().enumerate() {
        target.write("volume-v", offset, b"\x55");
        let (base, name) = (format!("s{}", number + 1), format!("s{}", number + 2));
        source.write("vol", 9 * MIB + number as u64, &[number as u8 + 1; 3000]);
        source.rbd(&format!("snap create --no-progress @vol@{name}"));
        let sent = source.sent(&gateway, &name, &[&base]);
        assert_eq!(sent["action"], "incremental", "{sent}");
        check(&source, &target, &[&base, &name]);
        let log = gateway.log();
        let noticed = log.lines().filter(|line| line.contains("head") && line.contains("WARN")).count();
        assert!(noticed > number, "no line of the log says that the head was changed:\n{log}");
    }
    drop(image);
}

#[test]
fn a_head_that_was_resized_or_rolled_back_does_not_matter() {
    let (source, target, gateway, _) = sites();
    for (number, command) in
        ["resize --no-progress @volume-v --size 20M", "resize --no-progress @volume-v --size 3M --allow-shrink"]
            .into_iter()
            .enumerate()
    {
        target.rbd(command);
        let (base, name) = (format!("s{}", number + 1), format!("s{}", number + 2));
        source.write("vol", MIB * number as u64, b"changed");
        source.rbd(&format!("snap create --no-progress @vol@{name}"));
        source.sent(&gateway, &name, &[&base]);
        check(&source, &target, &[&base, &name]);
    }
    target.rbd("snap rollback --no-progress @volume-v@snapshot-s1");
    source.write("vol", 11 * MIB, b"changed again");
    source.rbd("snap create --no-progress @vol@s4");
    source.sent(&gateway, "s4", &["s3"]);
    check(&source, &target, &["s1", "s2", "s3", "s4"]);
}

/// Kills the gateway between the last byte and the answer, with an OSD that is slow enough for every gap to be hit.
#[test]
fn a_death_in_any_gap_around_the_commit_heals() {
    let mut state = seed();
    let target = Site::own(&rsnap_test_ceph::Options::default());
    let mut gateway = target.gateway_with("protect = true\n", Options::default());
    let client = gateway.client();
    let mut image = Image::random(3 << 20, 102);
    let put = |snapshot: &str, body: &[u8]| {
        client.put(&Upload { path: path(snapshot), content_type: Some(DIFF), body, ..Upload::default() })
    };
    put("s00", &Diff::full("s00", &image.bytes)).expect(201);
    let (mut base, mut found) = ("s00".to_owned(), [0, 0]);
    for round in 1..=15 {
        let changed = image.changed(200 + round, 3);
        let name = format!("s{round:02}");
        let body = Diff::between(Some(&base), &name, &image.bytes, &changed.bytes);
        target.cluster().configure_osd("osd_debug_inject_dispatch_delay_duration", "0.02").unwrap();
        target.cluster().configure_osd("osd_debug_inject_dispatch_delay_probability", "1").unwrap();
        let upload = Upload { path: path(&name), content_type: Some(DIFF), body: &body, ..Upload::default() };
        let mut pending = client.begin_put(&upload);
        pending.send(&body[..body.len() - 1]).unwrap();
        wait_for("the transfer", || gateway.admin("/transfers").1.contains(&format!("\"{name}\"")));
        pending.send(&body[body.len() - 1..]).unwrap();
        let delay = Duration::from_millis(next(&mut state) % 900);
        std::thread::sleep(delay);
        gateway.kill();
        target.cluster().configure_osd("osd_debug_inject_dispatch_delay_probability", "0").unwrap();
        gateway.restart();
        let there = is_visible(&gateway, &name);
        found[usize::from(there)] += 1;
        if there {
            check_bytes(&gateway, &target, &name, &changed);
        }
        // The same request again: by whoever comes next, as after any lost answer.
        wait_for("the repetition", || {
            let answer = put(&name, &body);
            assert!(matches!(answer.status, 200 | 201 | 503), "round {round}, {delay:?}: {answer:?}");
            answer.status != 503
        });
        check_bytes(&gateway, &target, &name, &changed);
        let listed = target.snapshots("volume-v");
        assert_eq!(listed.len() as u64, round + 1, "round {round}, {delay:?}: {listed:?}");
        assert!(listed.iter().all(|snapshot| snapshot.protected), "round {round}, {delay:?}: {listed:?}");
        (base, image) = (name, changed);
    }
    println!("killed before the commit {} times, after it {} times", found[0], found[1]);
    let metadata = target.rbd("image-meta ls @volume-v");
    assert!(!metadata.contains("rsnap.intent"), "{metadata}");
}

fn is_visible(gateway: &Gateway, snapshot: &str) -> bool {
    let chain = gateway.client().chain("v");
    assert_eq!(chain["damaged"], serde_json::json!([]), "{chain}");
    chain["snapshots"].as_array().unwrap().iter().any(|entry| entry["snapshot"] == snapshot)
}

fn check_bytes(gateway: &Gateway, target: &Site, snapshot: &str, image: &Image) {
    assert!(gateway.client().get(&path(snapshot)).expect(200).body == image.bytes, "{snapshot}");
    assert_eq!(target.digest(&format!("volume-v@snapshot-{snapshot}")), sha256(&image.bytes));
}
