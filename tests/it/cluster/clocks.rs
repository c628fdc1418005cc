//! A clock that jumps: nothing about other gateways is judged by it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Etcd, Group, TTL};
use crate::deploy::site::Site;
use crate::support::{Image, wait_for};

/// The library that lies about the time.
fn faketime() -> PathBuf {
    let output = Command::new("faketime").args(["0", "printenv", "LD_PRELOAD"]).output();
    let output = output.expect("faketime is not installed: apt-get install faketime");
    let paths = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(paths.trim().split(':').next_back().unwrap())
}

#[test]
fn a_clock_that_jumps_changes_no_count_and_nobody_is_thought_dead() {
    let etcd = Etcd::start(1);
    let offset = etcd.file("offset");
    fs::write(&offset, "+0").unwrap();
    let environment = vec![
        ("LD_PRELOAD", faketime()),
        ("FAKETIME_TIMESTAMP_FILE", offset.clone()),
        ("FAKETIME_NO_CACHE", PathBuf::from("1")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", PathBuf::from("1")),
    ];
    let site = Site::start_in(2, environment, &etcd.table(TTL));
    let group = Group { site, etcd };
    group.wait_registered();
    let image = Image::random(1 << 20, 51);
    let transfer = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    let lease = group.lease(0);
    for jump in ["+30d", "-30d", "+0"] {
        fs::write(&offset, jump).unwrap();
        let second = format!("w{}", jump.len() + usize::from(jump.starts_with('+')) * 10);
        let more = group.begin(0, &second, &image);
        wait_for("the count", || group.count(0).as_deref() == Some("2"));
        group.wait_known();
        for _ in 0..10 {
            let answer = group.client(0).get("/server").expect(200).json();
            assert_eq!(answer["source"], "etcd");
            assert!(answer["age_ms"].as_u64().unwrap() < 60_000, "{answer}");
        }
        assert_eq!(Group::finish(more, &image), 201);
        assert_eq!(group.count(0).as_deref(), Some("1"), "{jump}");
    }
    assert_eq!(group.lease(0), lease, "the lease was lost");
    assert_eq!(Group::finish(transfer, &image), 201);
    assert_eq!(group.count(0).as_deref(), Some("0"));
}
