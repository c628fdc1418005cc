//! etcd goes away, comes back, changes its leader, forgets: gateways serve, and counts are right again afterwards.

use std::time::{Duration, Instant};

use super::{Etcd, Group, TTL};
use crate::deploy::site::Site;
use crate::support::Proxy;
use crate::support::{Client, Image, Upload, wait_for};

/// The answer may take this much longer without etcd. Ten times what is promised: other tests run beside this one.
const LONGER: Duration = Duration::from_millis(500);

/// The median time of an answer.
fn time(client: &Client) -> Duration {
    let ask = |_| {
        let begun = Instant::now();
        client.get("/server").expect(200);
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..31).map(ask).collect();
    times.sort_unstable();
    times[15]
}

fn names_itself(group: &Group, number: usize) -> bool {
    let answer = group.client(number).get("/server").expect(200).json();
    answer["source"] == "self" && answer["server"] == group.name(number)
}

fn put(group: &Group, number: usize, volume: &str) {
    let image = Image::random(1 << 20, 31);
    let path = format!("/v1/volumes/{volume}/snapshots/s");
    group.client(number).put(&Upload { path, body: &image.bytes, ..Upload::default() }).expect(201);
}

#[test]
fn without_etcd_the_answer_comes_as_fast_and_is_our_own_address() {
    let mut group = Group::start(2);
    let client = group.client(0);
    let usual = time(&client);
    group.etcd.kill_all();
    wait_for("the loss to be noticed", || names_itself(&group, 0));
    let without = time(&client);
    let answer = client.get("/server").expect(200).json();
    let age = answer["age_ms"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let later = client.get("/server").expect(200).json()["age_ms"].as_u64().unwrap();
    assert!(later >= age + 50, "the age of the knowledge grows: {age}, then {later}");
    put(&group, 0, "v");
    println!("GET /server: {usual:?} with etcd, {without:?} without");
    assert!(without < usual + LONGER, "{usual:?} with etcd, {without:?} without");
    let fault = "until it works, GET /server names this gateway";
    assert!((1..=2).contains(&group.log_lines(0, fault)), "{}", group.site.gateways[0].log());
}

#[test]
fn an_etcd_that_stands_still_is_noticed_and_waited_for_by_nobody() {
    let group = Group::with(2, Etcd::start(1), "ttl = \"5s\"\ntimeout = \"500ms\"");
    let client = group.client(0);
    let usual = time(&client);
    group.etcd.signal(0, "STOP");
    let without = time(&client);
    println!("GET /server: {usual:?} with etcd, {without:?} with one that stands still");
    assert!(without < usual + LONGER, "{usual:?}, then {without:?}");
    put(&group, 0, "v");
    wait_for("the loss to be noticed", || names_itself(&group, 0));
    put(&group, 0, "w");
    group.etcd.signal(0, "CONT");
    wait_for("the counts", || (0..2).all(|number| group.count(number).as_deref() == Some("0")));
    group.wait_registered();
}

#[test]
fn counts_are_right_after_etcd_was_away() {
    let mut group = Group::start(2);
    let image = Image::random(1 << 20, 32);
    let first = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    group.etcd.kill_all();
    let second = group.begin(0, "w", &image);
    wait_for("the loss to be noticed", || names_itself(&group, 0) && names_itself(&group, 1));
    assert_eq!(Group::finish(first, &image), 201);
    let third = group.begin(0, "x", &image);
    wait_for("both", || group.site.gateways[0].admin("/transfers").1.matches("\"id\"").count() == 2);
    group.etcd.restart(0);
    wait_for("the count", || group.count(0).as_deref() == Some("2"));
    assert_eq!(Group::finish(second, &image), 201);
    assert_eq!(group.count(0).as_deref(), Some("1"));
    assert_eq!(Group::finish(third, &image), 201);
    assert_eq!(group.count(0).as_deref(), Some("0"));
    group.wait_registered();
}

#[test]
fn a_leader_that_dies_costs_nothing_but_a_moment() {
    let mut group = Group::with(2, Etcd::start(3), TTL);
    let image = Image::random(1 << 20, 33);
    for round in 0..3 {
        let volume = format!("v{round}");
        let transfer = group.begin(0, &volume, &image);
        wait_for("the count", || group.count(0).as_deref() == Some("1"));
        let leader = group.etcd.leader();
        group.etcd.kill(leader);
        wait_for("the count with another leader", || {
            group.count(0).as_deref() == Some("1") && group.count(1).as_deref() == Some("0")
        });
        assert_eq!(Group::finish(transfer, &image), 201);
        wait_for("the lower count", || group.count(0).as_deref() == Some("0"));
        group.etcd.restart(leader);
        group.etcd.wait_ready();
        group.wait_registered();
    }
}

#[test]
fn what_was_missed_and_compacted_is_read_again() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let site = Site::start_with(1, "", &etcd.table_at(&[proxy.endpoint()], TTL));
    let mut group = Group { site, etcd };
    let other = Site::join(&group.site, &group.etcd.table(TTL));
    group.site.gateways.push(other);
    group.wait_registered();
    proxy.hold();
    proxy.cut();
    wait_for("the loss to be noticed", || names_itself(&group, 0));
    for _ in 0..50 {
        group.etcd.put("/rsnap/servers/nonsense", "1");
        group.etcd.delete("/rsnap/servers/nonsense");
    }
    group.etcd.compact();
    let image = Image::random(1 << 20, 34);
    let transfer = group.begin(1, "v", &image);
    proxy.pass();
    wait_for("the view of the other", || {
        let known = group.client(0).get("/v1/servers").expect(200).json();
        known["source"] == "etcd" && known["servers"][1]["connections"] == 1
    });
    group.etcd.compact();
    assert_eq!(Group::finish(transfer, &image), 201);
    wait_for("the view of the other", || {
        group.client(0).get("/v1/servers").expect(200).json()["servers"][1]["connections"] == 0
    });
}

#[test]
fn an_etcd_that_lost_everything_is_filled_again() {
    let mut group = Group::start(2);
    for number in 0..200 {
        group.etcd.put("/else", &number.to_string());
    }
    group.etcd.wipe(0);
    group.wait_registered();
    assert_eq!(group.etcd.servers().len(), 2);
    put(&group, 0, "v");
}
