//! What others write into etcd or do to it: gateways serve, counts stay right, and the log says once what is wrong.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Etcd, Group, TTL, key};
use crate::deploy::site::Site;
use crate::support::Proxy;
use crate::support::{Image, Upload, binary, components, wait_for};

/// Everything that one gateway names in many answers.
fn named(group: &Group, number: usize) -> std::collections::BTreeSet<String> {
    let ask = |_| {
        let answer = group.client(number).get("/server?volume=v&snapshot=s&size=1").expect(200).json();
        answer["server"].as_str().unwrap().to_owned()
    };
    (0..30).map(ask).collect()
}

#[test]
fn a_forged_key_gets_no_ticket_and_is_told_once() {
    let group = Group::start(2);
    let genuine = [group.name(0), group.name(1)].into_iter().collect();
    let record = group.etcd.get(&format!("/rsnap/gateways/{}", group.name(1))).unwrap();
    let lease = group.lease(1);
    let (plain, stolen) = ("192.0.2.66:8443", "192.0.2.67:8443");
    for round in 0..5 {
        // Always the fewest, and always alive.
        group.etcd.put(&key(plain), "0");
        group.etcd.put_under(&format!("/rsnap/gateways/{stolen}"), &record, lease);
        group.etcd.put_under(&key(stolen), "0", lease);
        wait_for("the forgeries to be seen", || group.listed(&group.site.gateways[0]).len() == 4);
        assert_eq!(named(&group, 0), genuine, "round {round}");
    }
    for (server, state) in group.listed(&group.site.gateways[0]) {
        let forged = server == plain || server == stolen;
        assert_eq!(state == "unsigned", forged, "{server} is {state}");
    }
    for server in [plain, stolen] {
        assert_eq!(group.log_lines(0, &format!("/rsnap/servers/{server}")), 1, "{server}");
    }
}

#[test]
fn foreign_keys_and_values_are_ignored_and_told_once() {
    let group = Group::start(2);
    let strange = [
        ("192.0.2.66:8443", "many"),
        ("192.0.2.67:8443", "-1"),
        ("192.0.2.68:8443", "99999999999999999999999999"),
        ("192.0.2.69:0", "0"),
        ("0.0.0.0:8443", "0"),
        ("gateway:8443", "0"),
        ("nonsense", ""),
    ];
    let long = "x".repeat(500_000);
    for _ in 0..3 {
        for (name, value) in strange {
            group.etcd.put(&key(name), value);
        }
        group.etcd.put(&key("192.0.2.70:8443"), &long);
        group.etcd.put("/rsnap/group.old", "x");
    }
    let metric = |number: usize| group.site.gateways[number].admin("/metrics").1;
    wait_for("all to be seen", || metric(0).contains("rsnap_etcd_keys_ignored 8\n"));
    assert_eq!(named(&group, 0), [group.name(0), group.name(1)].into_iter().collect());
    for (name, _) in strange {
        assert_eq!(group.log_lines(0, &format!("/rsnap/servers/{name} ")), 1, "{name}");
    }
    let image = Image::random(1 << 20, 41);
    let transfer = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    assert_eq!(Group::finish(transfer, &image), 201);
    assert_eq!(group.count(0).as_deref(), Some("0"));
    // One that starts among them is not disturbed either.
    let other = Site::join(&group.site, &group.etcd.table(TTL));
    wait_for("the newcomer", || group.etcd.get(&key(&other.address.to_string())).as_deref() == Some("0"));
}

/// Memory of a gateway, in bytes.
fn resident(group: &Group, number: usize) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", group.site.gateways[number].id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn huge_foreign_keys_and_values_fill_no_memory_and_keep_nobody_away() {
    let mut group = Group::start(2);
    let before = resident(&group, 0);
    let huge = "1".repeat(1 << 20);
    for number in 0..20 {
        group.etcd.put(&key(&format!("192.0.2.{number}:8443")), &huge);
        group.etcd.put(&format!("/rsnap/gateways/192.0.2.{number}:8443"), &huge);
        group.etcd.put(&key(&format!("{number}/{huge}")), "0");
    }
    let metric = |number: usize| group.site.gateways[number].admin("/metrics").1;
    wait_for("all to be seen", || metric(0).contains("rsnap_etcd_keys_ignored 60\n"));
    let grown = resident(&group, 0).saturating_sub(before);
    assert!(grown < 48 << 20, "60 MiB of foreign text take {grown} bytes");
    assert!(group.site.gateways[0].log().len() < 1 << 20);
    assert_eq!(named(&group, 0).len(), 2);
    // More than one answer of etcd may hold is read by whoever starts, and what is written over is written over.
    group.etcd.put("/rsnap/group", &huge);
    wait_for("the group", || group.etcd.get("/rsnap/group").is_some_and(|text| text.contains("dc2/")));
    let other = Site::join(&group.site, &group.etcd.table(TTL));
    group.site.gateways.push(other);
    wait_for("the newcomer", || group.count(2).as_deref() == Some("0"));
    wait_for("the newcomer to be named", || named(&group, 0).contains(&group.name(2)));
    wait_for("the newcomer to know all", || named(&group, 2).len() == 3);
}

#[test]
fn a_ticket_key_that_is_taken_away_takes_the_trust_with_it() {
    let group = Group::start(2);
    let (old, new) = (group.site.path("ticket.key"), group.site.path("ticket.key.new"));
    fs::rename(&old, group.site.path("ticket.key.old")).unwrap();
    fs::write(&new, "n".repeat(40)).unwrap();
    fs::rename(new, old).unwrap();
    let state = |number: usize, other: usize| {
        let listed = group.listed(&group.site.gateways[number]);
        listed.into_iter().find(|(server, _)| *server == group.name(other)).map(|(_, state)| state)
    };
    // The second one keeps on signing with the old key.
    group.site.gateways[0].signal("HUP");
    wait_for("the trust to end", || state(0, 1).as_deref() == Some("unsigned"));
    assert_eq!(named(&group, 0).into_iter().collect::<Vec<_>>(), [group.name(0)]);
    assert_eq!(group.count(1).as_deref(), Some("0"), "it is still there");
    assert_eq!(group.log_lines(0, "its record is signed with a key that was taken away"), 1);
    group.site.gateways[1].signal("HUP");
    group.wait_known();
}

#[test]
fn a_revoked_lease_and_a_key_that_others_write_are_repaired() {
    let group = Group::start(2);
    let image = Image::random(1 << 20, 42);
    let transfer = group.begin(0, "v", &image);
    wait_for("the count", || group.count(0).as_deref() == Some("1"));
    let lease = group.lease(0);
    group.etcd.revoke(lease);
    wait_for("the key under another lease", || {
        group.etcd.pair(&key(&group.name(0))).is_some_and(|pair| pair.lease() != lease && pair.value() == b"1")
    });
    group.etcd.delete(&key(&group.name(0)));
    wait_for("the key", || group.count(0).as_deref() == Some("1"));
    for value in ["0", "-5", "9999", "nonsense"] {
        group.etcd.put(&key(&group.name(0)), value);
        wait_for("the truth", || group.count(0).as_deref() == Some("1"));
    }
    assert_eq!(group.log_lines(0, "another process writes the key of this gateway"), 1);
    // The end of a transfer is written at once, whoever wrote before.
    group.etcd.put(&key(&group.name(0)), "77");
    assert_eq!(Group::finish(transfer, &image), 201);
    assert_eq!(group.count(0).as_deref(), Some("0"));
    group.etcd.delete("/rsnap/group");
    wait_for("the group", || group.etcd.get("/rsnap/group").is_some());
    group.etcd.put("/rsnap/group", "not signed by anybody");
    wait_for("the group", || group.etcd.get("/rsnap/group").is_some_and(|text| text.contains("dc2/")));
    assert_eq!(group.site.gateways[0].admin("/readyz").0, 200);
}

#[test]
fn a_gateway_with_another_storage_is_refused_until_the_others_are_gone() {
    let mut group = Group::start(1);
    let proxy = Proxy::to(group.etcd.address(0));
    // It is ready as long as it cannot know.
    proxy.hold();
    let stranger = Site::start_with(1, "", &group.etcd.table_at(&[proxy.endpoint()], TTL));
    let own = stranger.gateways[0].address.to_string();
    proxy.cut();
    proxy.pass();
    wait_for("the refusal", || stranger.gateways[0].admin("/readyz").0 == 503);
    assert!(stranger.gateways[0].admin("/readyz").1.contains("write to another storage"));
    assert_eq!(group.etcd.get(&key(&own)), None);
    let answer = stranger.client(stranger.gateways[0].address).get("/server").expect(200).json();
    assert_eq!((&answer["server"], &answer["source"]), (&own.clone().into(), &"self".into()));
    let image = Image::random(1 << 20, 43);
    let path = "/v1/volumes/v/snapshots/s".to_owned();
    let upload = Upload { path, body: &image.bytes, ..Upload::default() };
    stranger.client(stranger.gateways[0].address).put(&upload).expect(201);
    assert_eq!(group.etcd.servers().into_keys().collect::<Vec<_>>(), [group.name(0)]);
    assert_eq!(named(&group, 0).into_iter().collect::<Vec<_>>(), [group.name(0)]);
    proxy.cut();
    wait_for("another try", || stranger.gateways[0].log().matches("connected to etcd").count() >= 2);
    assert_eq!(stranger.gateways[0].log().matches("write to another storage").count(), 1);
    group.site.gateways[0].kill();
    wait_for("the end of the group", || group.etcd.get(&key(&own)).is_some());
    assert_eq!(stranger.gateways[0].admin("/readyz").0, 200);
}

#[test]
fn a_store_that_only_one_gateway_sees_joins_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rsnap.toml");
    let serve = |tables: &str| {
        let text = format!("[gateway]\ndata = {:?}\n[plugins]\npath = [{:?}]\n", folder.path(), components("plugins"));
        fs::write(&file, text + tables).unwrap();
        let output = Command::new(binary()).args(["serve", "--config"]).arg(&file).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let ticket_key = folder.path().join("ticket.key");
    fs::write(&ticket_key, "k".repeat(40)).unwrap();
    let etcd = "[etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ngroup = \"g\"\n";
    let auth = format!("[auth]\nticket_keys = [{{ id = \"k\", file = {ticket_key:?} }}]\n");
    let said = serve(&format!("{etcd}{auth}[stores.main]\nkind = \"memory\"\n"));
    assert!(said.contains("can be seen by this gateway alone") && said.contains("remove [etcd]"), "{said}");
    assert!(serve(etcd).contains("auth.ticket_keys: must be set with [etcd]"));
}

#[test]
fn a_slow_etcd_is_waited_for_within_bounds() {
    let etcd = Etcd::start(1);
    let proxy = Proxy::to(etcd.address(0));
    let table = etcd.table_at(&[proxy.endpoint()], "ttl = \"5s\"\ntimeout = \"1s\"");
    let group = Group { site: Site::start_with(1, "", &table), etcd };
    group.wait_registered();
    let image = Image::random(1 << 20, 44);
    let send = |volume: &str| {
        let path = format!("/v1/volumes/{volume}/snapshots/s");
        let begun = Instant::now();
        group.client(0).put(&Upload { path, body: &image.bytes, ..Upload::default() }).expect(201);
        begun.elapsed()
    };
    wait_for("the count", || group.count(0).as_deref() == Some("0"));
    proxy.delay(Duration::from_millis(200));
    send("late");
    assert_eq!(group.count(0).as_deref(), Some("0"), "late, and told before the response");
    proxy.delay(Duration::from_secs(5));
    let took = send("later");
    assert!(took < Duration::from_secs(20), "a transfer took {took:?}");
    wait_for("the loss to be noticed", || group.client(0).get("/server").expect(200).json()["source"] == "self");
    send("latest");
    assert!(group.log_lines(0, "etcd has not answered for") >= 1);
    proxy.pass();
    wait_for("the count", || group.client(0).get("/server").expect(200).json()["source"] == "etcd");
    wait_for("the count", || group.count(0).as_deref() == Some("0"));
}

#[test]
fn a_half_open_connection_is_given_up_for_another_member() {
    let etcd = Etcd::start(3);
    let proxies: Vec<Proxy> = (0..3).map(|number| Proxy::to(etcd.address(number))).collect();
    let endpoints: Vec<String> = proxies.iter().map(Proxy::endpoint).collect();
    let table = etcd.table_at(&endpoints, "ttl = \"10s\"\ntimeout = \"1s\"");
    let group = Group { site: Site::start_with(2, "", &table), etcd };
    group.wait_registered();
    for proxy in &proxies {
        // New connections to it are dead too, as to a machine that is cut off.
        proxy.hold();
        let image = Image::random(1 << 20, 45);
        let volume = format!("v{}", proxy.address.port());
        let transfer = group.begin(0, &volume, &image);
        wait_for("the count over another member", || group.count(0).as_deref() == Some("1"));
        assert_eq!(Group::finish(transfer, &image), 201);
        wait_for("the lower count", || group.count(0).as_deref() == Some("0"));
        proxy.pass();
    }
}
