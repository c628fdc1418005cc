//! What the registry promises while nothing goes wrong.

use super::{Etcd, Group, TTL, key};
use crate::support::{Image, Upload, wait_for};

#[test]
fn a_gateway_is_counted_under_a_lease_and_says_who_it_is() {
    let group = Group::with(1, Etcd::start(1), "");
    let server = group.name(0);
    let pair = group.etcd.pair(&key(&server)).unwrap();
    assert_eq!(pair.value(), b"0");
    assert_eq!(group.etcd.granted(pair.lease()), 60, "the default");
    let record = group.etcd.pair(&format!("/rsnap/gateways/{server}")).unwrap();
    assert_eq!(record.lease(), pair.lease());
    assert!(record.value_str().unwrap().contains("\"tls_name\":\"rsnap.example\""), "{record:?}");
    assert_eq!(group.etcd.pair("/rsnap/group").unwrap().lease(), pair.lease());
}

#[test]
fn a_transfer_counts_from_its_start_and_not_after_its_response() {
    let group = Group::start(1);
    let image = Image::random(1 << 20, 21);
    for round in 0..5 {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        let first = group.begin(0, &one, &image);
        wait_for("the first count", || group.count(0).as_deref() == Some("1"));
        let second = group.begin(0, &two, &image);
        wait_for("the second count", || group.count(0).as_deref() == Some("2"));
        assert_eq!(Group::finish(first, &image), 201);
        assert_eq!(group.count(0).as_deref(), Some("1"), "the count is lowered before the response");
        assert_eq!(Group::finish(second, &image), 201);
        assert_eq!(group.count(0).as_deref(), Some("0"));
    }
    // One that is cut, and one that is refused, end as well.
    drop(group.begin(0, "cut", &image));
    wait_for("the end of the cut one", || group.count(0).as_deref() == Some("0"));
    let upload = Upload { path: "/v1/volumes/a0/snapshots/s".to_owned(), body: &image.bytes[1..], ..Upload::default() };
    group.client(0).put(&upload).expect(409);
    assert_eq!(group.count(0).as_deref(), Some("0"));
}

#[test]
fn the_one_with_the_fewest_transfers_is_named_with_what_to_verify_there() {
    let group = Group::start(3);
    let image = Image::random(1 << 20, 22);
    let busy = [group.begin(0, "v0", &image), group.begin(1, "v1", &image), group.begin(1, "v2", &image)];
    for answerer in 0..3 {
        let known = |number: usize, count: u64| {
            let answer = group.client(answerer).get("/v1/servers").expect(200).json();
            let servers = answer["servers"].as_array().unwrap();
            let server = servers.iter().find(|server| server["server"] == group.name(number)).unwrap();
            server["connections"] == count
        };
        wait_for("the counts", || known(0, 1) && known(1, 2) && known(2, 0));
        let answer = group.client(answerer).get("/server?volume=v&snapshot=s&size=1048576").expect(200).json();
        assert_eq!((&answer["server"], &answer["connections"]), (&group.name(2).into(), &0.into()), "{answer}");
        assert_eq!((&answer["source"], &answer["tls_name"]), (&"etcd".into(), &"rsnap.example".into()));
        assert!(answer["age_ms"].as_u64().unwrap() < 60_000);
        // The ticket of one gateway opens the other.
        let named = group.client(2).with_token(answer["ticket"].as_str().unwrap());
        let path = "/v1/volumes/v/snapshots/s".to_owned();
        let put = named.put(&Upload { path, body: &image.bytes, ..Upload::default() });
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }
    for put in busy {
        assert_eq!(Group::finish(put, &image), 201);
    }
}

#[test]
fn callers_between_two_updates_are_told_different_gateways() {
    let group = Group::start(3);
    let mut told = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..30 {
        let answer = group.client(0).get("/server").expect(200).json();
        *told.entry(answer["server"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(told.len() == 3 && told.values().all(|count| *count >= 5), "{told:?}");
}

#[test]
fn a_gateway_that_stops_leaves_at_once_and_finishes_what_runs() {
    let mut group = Group::with(2, Etcd::start(1), TTL);
    let image = Image::random(4 << 20, 23);
    let put = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    group.site.gateways[0].signal("TERM");
    wait_for("its key to go", || group.count(0).is_none());
    assert!(group.site.gateways[0].is_running());
    wait_for("the other one to know", || group.listed(&group.site.gateways[1]).len() == 1);
    for _ in 0..10 {
        assert_eq!(group.client(1).get("/server").expect(200).json()["server"], group.name(1));
    }
    assert_eq!(Group::finish(put, &image), 201);
    assert!(group.site.gateways[0].wait().success());
    assert_eq!(group.count(0), None, "the end of its transfer did not bring the key back");
    group.site.gateways[0].restart();
    wait_for("its key", || group.count(0).as_deref() == Some("0"));
}

#[test]
fn a_killed_gateway_is_forgotten_and_its_successor_starts_from_nothing() {
    let mut group = Group::start(2);
    let image = Image::random(1 << 20, 24);
    let put = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    group.site.gateways[0].kill();
    drop(put);
    group.site.gateways[0].restart();
    wait_for("a fresh count", || group.count(0).as_deref() == Some("0"));
    group.site.gateways[0].kill();
    wait_for("the end of its lease", || group.count(0).is_none());
    assert_eq!(group.client(1).get("/server").expect(200).json()["server"], group.name(1));
}

#[test]
fn a_new_certificate_is_told_to_the_others() {
    let group = Group::start(2);
    let record = |number: usize| group.etcd.get(&format!("/rsnap/gateways/{}", group.name(number))).unwrap();
    let before = record(0);
    let pair = group.site.authority.issue(&[crate::deploy::site::NAME, "127.0.0.1"]);
    pair.write(&group.site.path("site.pem"), &group.site.path("site.key"));
    for number in 0..2 {
        group.site.gateways[number].signal("HUP");
    }
    wait_for("the new record", || record(0) != before);
    let image = Image::random(1 << 20, 25);
    let put = group.begin(0, "v", &image);
    wait_for("the other one to be named", || {
        let answer = group.client(0).get("/server?volume=w&snapshot=s&size=1").expect(200).json();
        answer["server"] == group.name(1) && record(1).contains(answer["tls_sha256"].as_str().unwrap())
    });
    assert_eq!(Group::finish(put, &image), 201);
}

#[test]
fn the_command_line_shows_the_gateways() {
    let group = Group::start(2);
    let output = group.site.caller(group.site.gateways[0].address).command(&["servers"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("this one") && text.contains("ready"), "{text}");
    assert!(text.contains(&group.name(0)) && text.contains(&group.name(1)), "{text}");
    let metrics = group.site.gateways[0].admin("/metrics").1;
    for line in ["rsnap_etcd_connected 1\n", "rsnap_gateways 2\n", "rsnap_etcd_connections_total 1\n"] {
        assert!(metrics.contains(line), "{line:?} is not in:\n{metrics}");
    }
}
