//! `rsnap send rbd:…`: what is read is what `rbd export` says, whatever the image looks like and whoever works on it
//! meanwhile. The gateway keeps files here, so that nothing but the source is Ceph.

use std::process::{Child, Output, Stdio};

use rsnap_test_ceph::{Options as Settings, User};

use super::support::{Lock, Site, sha256, succeeded};
use crate::support::{Diff, Gateway, Image, Upload, next, wait_for};

const MIB: usize = 1 << 20;
/// More than a sender reads ahead of a gateway that takes nothing.
const LARGE: usize = 160 * MIB;

/// Sends a snapshot under its own name to the volume of its image's name, and gives what was committed.
#[track_caller]
fn sent(source: &Site, gateway: &Gateway, snapshot: &str, extra: &[&str]) -> serde_json::Value {
    let (image, name) = snapshot.split_once('@').unwrap();
    let answer = succeeded(source.send(gateway, snapshot, image, name, &[]).args(extra).output().unwrap());
    assert_eq!(answer["outcome"], "committed", "{answer}");
    answer["snapshots"][0].clone()
}

/// The gateway has what `rbd export` says.
#[track_caller]
fn check(source: &Site, gateway: &Gateway, snapshot: &str) {
    let (image, name) = snapshot.split_once('@').unwrap();
    let body = gateway.client().get(&format!("/v1/volumes/{image}/snapshots/{name}")).expect(200).body;
    if sha256(&body) != source.digest(snapshot) {
        let right = source.cluster().command("rbd").unwrap().args(["export", &source.at(snapshot), "-"]).output();
        let right = right.unwrap().stdout;
        let differ = |number: &usize| {
            body.get(number * 4096..)
                .zip(right.get(number * 4096..))
                .is_none_or(|(ours, theirs)| ours[..4096.min(ours.len())] != theirs[..4096.min(theirs.len())])
        };
        let grains: Vec<usize> = (0..body.len().max(right.len()).div_ceil(4096)).filter(differ).collect();
        panic!("{snapshot}: {} and {} bytes, these grains differ: {grains:?}", body.len(), right.len());
    }
}

/// Makes the head what `new` is, and a snapshot of it.
fn link(source: &Site, image: &str, name: &str, old: &Image, new: &Image) {
    let mut old = old.bytes.clone();
    old.resize(new.bytes.len(), 0);
    source.apply(image, &Diff::between(None, name, &old, &new.bytes));
}

fn resized(image: &Image, size: usize) -> Image {
    let mut bytes = image.bytes.clone();
    bytes.resize(size, 0);
    Image { bytes }
}

/// An image of many shapes: holes, data at odd places, growth, shrinking, growth over what was cut off.
fn chain(source: &Site, image: &str, layout: &str, seed: u64) {
    source.rbd(&format!("create @{image} --size 40M {layout}"));
    let empty = Image { bytes: vec![0; 40 * MIB] };
    let first = empty.changed(seed, 60);
    link(source, image, "s1", &empty, &first);
    let second = first.changed(seed + 1, 40);
    link(source, image, "s2", &first, &second);
    let grown = resized(&second, 47 * MIB + 4608).changed(seed + 2, 20);
    link(source, image, "s3", &second, &grown);
    let shrunk = resized(&grown, 20 * MIB + 512);
    link(source, image, "s4", &grown, &shrunk);
    let again = resized(&shrunk, 44 * MIB).changed(seed + 3, 30);
    link(source, image, "s5", &shrunk, &again);
}

#[test]
fn images_of_every_layout_arrive_as_they_are() {
    let (source, gateway) = (Site::source(), Gateway::start());
    for (number, (image, layout)) in [
        ("plain", ""),
        ("large", "--object-size 32M"),
        ("small", "--object-size 64K"),
        ("striped", "--object-size 1M --stripe-unit 64K --stripe-count 4"),
        ("bare", "--image-feature layering"),
        ("wide", "--object-size 32M --stripe-unit 4K --stripe-count 3"),
    ]
    .into_iter()
    .enumerate()
    {
        chain(&source, image, layout, 200 + 10 * number as u64);
        for (snapshot, base) in
            [("s1", None), ("s2", Some("s1")), ("s3", Some("s2")), ("s4", Some("s3")), ("s5", Some("s4"))]
        {
            let committed = sent(&source, &gateway, &format!("{image}@{snapshot}"), &[]);
            assert_eq!(committed["base"].as_str(), base, "{image}@{snapshot}");
            check(&source, &gateway, &format!("{image}@{snapshot}"));
        }
        // Over several snapshots at once, and in full.
        gateway.client().request("DELETE", &format!("/v1/volumes/{image}/snapshots/s5"), &[], &[]).expect(204);
        assert_eq!(sent(&source, &gateway, &format!("{image}@s5"), &["--base", "s1"])["base"], "s1");
        check(&source, &gateway, &format!("{image}@s5"));
        gateway.client().request("DELETE", &format!("/v1/volumes/{image}/snapshots/s5"), &[], &[]).expect(204);
        assert_eq!(sent(&source, &gateway, &format!("{image}@s5"), &["--full"])["base"].as_str(), None);
        check(&source, &gateway, &format!("{image}@s5"));
    }
}

#[test]
fn a_clone_arrives_with_what_it_has_of_its_parent() {
    let (source, gateway) = (Site::source(), Gateway::start());
    let empty = Image { bytes: vec![0; 24 * MIB] };
    let parent = empty.changed(301, 40);
    source.rbd("create @parent --size 24M");
    link(&source, "parent", "p", &empty, &parent);
    source.rbd("snap protect @parent@p");
    for (image, layout) in [
        ("clone", ""),
        ("bareclone", "--image-feature layering"),
        ("otherclone", "--object-size 1M --stripe-unit 1M --stripe-count 1"),
    ] {
        source.rbd(&format!("clone @parent@p @{image} {layout}"));
        source.rbd(&format!("snap create --no-progress @{image}@s1"));
        let changed = parent.changed(302, 10);
        link(&source, image, "s2", &parent, &changed);
        let grown = resized(&changed, 30 * MIB);
        link(&source, image, "s3", &changed, &grown);
        source.rbd(&format!("flatten --no-progress @{image}"));
        source.rbd(&format!("snap create --no-progress @{image}@s4"));
        for (snapshot, base) in [("s1", None), ("s2", Some("s1")), ("s3", Some("s2")), ("s4", Some("s3"))] {
            let committed = sent(&source, &gateway, &format!("{image}@{snapshot}"), &[]);
            assert_eq!(committed["base"].as_str(), base, "{image}@{snapshot}");
            check(&source, &gateway, &format!("{image}@{snapshot}"));
        }
        gateway.client().request("DELETE", &format!("/v1/volumes/{image}/snapshots/s2"), &[], &[]).expect(204);
        sent(&source, &gateway, &format!("{image}@s2"), &["--full"]);
        check(&source, &gateway, &format!("{image}@s2"));
    }
}

/// A map that is flagged is not asked: it says that nothing changed.
#[test]
fn maps_that_are_flagged_are_not_believed() {
    let (source, gateway) = (Site::source(), Gateway::start());
    chain(&source, "vol", "", 311);
    source.rbd("feature disable @vol object-map fast-diff");
    source.rbd("feature enable @vol object-map fast-diff");
    let flags = source.json("info @vol")["flags"].to_string();
    assert!(flags.contains("object map invalid") && flags.contains("fast diff invalid"), "{flags}");
    for snapshot in ["s1", "s3", "s5"] {
        sent(&source, &gateway, &format!("vol@{snapshot}"), &[]);
        check(&source, &gateway, &format!("vol@{snapshot}"));
    }
}

/// Little is sent for little: holes do not travel, and unchanged data is neither read nor sent.
#[test]
fn the_cost_is_that_of_what_changed() {
    let (source, gateway) = (Site::source(), Gateway::start());
    source.rbd("create @vol --size 1T");
    let (mut first, mut second) = (Diff::new(None, Some("s1"), 1 << 40), Diff::new(None, Some("s2"), 1 << 40));
    let (mut state, blocks) = (321, 24);
    for number in 0..blocks {
        let offset = (number << 35) + next(&mut state) % (1 << 20) * 4096;
        first = first.write(offset, &Image::random(65536, number).bytes);
        second = second.write(offset + 8192, &Image::random(4096, number + 1000).bytes);
    }
    source.apply("vol", &first.end());
    source.apply("vol", &second.end());
    for (snapshot, data) in [("s1", blocks * 65536), ("s2", blocks * 4096)] {
        let command = &mut source.send(&gateway, &format!("vol@{snapshot}"), "vol", snapshot, &[]);
        let moved = succeeded(command.output().unwrap())["moved"].as_u64().unwrap();
        // A header and an end for each piece of the volume, whatever is in it, and a record for each extent.
        let around = blocks * 64 + 16 * 1024;
        assert!(moved >= data && moved < data + around, "{snapshot}: {moved} bytes for {data} of data");
    }
    let diff = gateway.client().request("GET", "/v1/volumes/vol/snapshots/s2", &[accept()], &[]).expect(200).body;
    source.rbd("create @copy --size 1T");
    source.apply("copy", &diff);
    // An export of a tebibyte takes too long: the judge is export-diff, which sends whole objects of new data.
    let [copy, original] = ["copy@s2", "vol@s2"].map(|snapshot| sha256(&source.export_diff(None, snapshot)));
    assert_eq!(copy, original);
}

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Zeroes that were written are data to Ceph: they travel as zeroes, from a grain on.
#[test]
fn zeroes_within_data_do_not_travel_as_data() {
    let (source, gateway) = (Site::source(), Gateway::start());
    source.rbd("create @vol --size 8M");
    let image = Image::random(8 * MIB, 325);
    source.apply("vol", &Diff::full("s1", &image.bytes));
    let guest = Lock::take(&source, "vol");
    guest.write(MIB as u64, &ZEROES);
    guest.write(3 * MIB as u64 + 4096, &ZEROES[..4096]);
    guest.write(5 * MIB as u64 + 100, &ZEROES[..4096]);
    drop(guest);
    source.rbd("snap create --no-progress @vol@s2");
    let mut right = image.bytes;
    for (start, length) in [(MIB, ZEROES.len()), (3 * MIB + 4096, 4096), (5 * MIB + 100, 4096)] {
        right[start..start + length].fill(0);
    }
    let send = |snapshot: &str, volume: &str| {
        succeeded(source.send(&gateway, &format!("vol@{snapshot}"), volume, snapshot, &[]).output().unwrap())
    };
    let full = send("s2", "full")["moved"].as_u64().unwrap();
    let data = (8 * MIB - ZEROES.len() - 4096) as u64;
    assert!((data..data + 4096).contains(&full), "{full} bytes for {data} of data");
    send("s1", "vol");
    let change = send("s2", "vol");
    assert_eq!(change["snapshots"][0]["base"], "s1");
    let moved = change["moved"].as_u64().unwrap();
    assert!(moved < 3 * 4096, "{moved} bytes for two grains of data");
    for volume in ["full", "vol"] {
        let body = gateway.client().get(&format!("/v1/volumes/{volume}/snapshots/s2")).expect(200).body;
        assert!(body == right, "{volume}");
    }
}

fn accept() -> (&'static str, String) {
    ("Accept", "application/vnd.ceph.rbd-diff".to_owned())
}

/// A sender that is in the middle of its source, because the gateway takes nothing.
struct Middle {
    sender: Child,
}

impl Middle {
    fn reach(source: &Site, gateway: &Gateway, extra: &[&str]) -> Self {
        let mut command = source.send(gateway, "vol@s1", "v", "s1", &[]);
        let before = received(gateway);
        let sender = command.args(extra).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut middle = Self { sender };
        wait_for("the first data", || received(gateway) > before);
        gateway.signal("STOP");
        assert!(middle.sender.try_wait().unwrap().is_none(), "the sender was too fast for this test");
        middle
    }

    fn go_on(self, gateway: &Gateway) -> Output {
        gateway.signal("CONT");
        self.sender.wait_with_output().unwrap()
    }
}

fn received(gateway: &Gateway) -> u64 {
    let text = gateway.admin("/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix("rsnap_received_bytes_total ")).unwrap();
    line.trim().parse().unwrap()
}

fn large(source: &Site) -> Image {
    source.rbd(&format!("create @vol --size {LARGE}B"));
    let image = Image::random(LARGE, 331);
    source.apply("vol", &Diff::full("s1", &image.bytes));
    image
}

fn is_protected(source: &Site) -> bool {
    source.snapshots("vol")[0].protected
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

/// Finding 1. The stock tool sends zeroes for what it can no longer read, and a valid end after them.
#[test]
fn a_snapshot_that_is_deleted_while_it_is_read_commits_nothing() {
    let (source, gateway) = (Site::source(), Gateway::start());
    let image = large(&source);
    let middle = Middle::reach(&source, &gateway, &[]);
    assert!(is_protected(&source), "it is not protected while it is read");
    assert!(source.try_rbd("snap rm --no-progress @vol@s1").unwrap_err().contains("protected"));
    assert_eq!(source.rbd("lock ls @vol").trim(), "", "reading holds a lock");
    // Who may protect may also undo it, as Cinder does before it deletes.
    source.rbd("snap unprotect @vol@s1");
    source.rbd("snap rm --no-progress @vol@s1");
    refused(&middle.go_on(&gateway), 5, "deleted or made again");
    wait_for("the end", || gateway.admin("/transfers").1.trim() == "[]");
    assert_eq!(gateway.client().chain("v")["snapshots"], serde_json::json!([]));

    // Made again under the same name, it is another one, though the content is the same.
    source.rbd("snap create --no-progress @vol@s1");
    let middle = Middle::reach(&source, &gateway, &[]);
    source.rbd("snap unprotect @vol@s1");
    source.rbd("snap rm --no-progress @vol@s1");
    source.rbd("snap create --no-progress @vol@s1");
    refused(&middle.go_on(&gateway), 5, "deleted or made again");
    assert_eq!(gateway.client().chain("v")["snapshots"], serde_json::json!([]));
    assert!(!is_protected(&source), "another snapshot than ours was protected");

    succeeded(source.send(&gateway, "vol@s1", "v", "s1", &[]).output().unwrap());
    assert_eq!(sha256(&gateway.client().get("/v1/volumes/v/snapshots/s1").expect(200).body), sha256(&image.bytes));
}

#[test]
fn only_our_own_protection_is_undone() {
    let (source, mut gateway) = (Site::source(), Gateway::start());
    large(&source);
    // Of a sender that ends well, of one that loses its gateway, and of one that is interrupted.
    assert!(Middle::reach(&source, &gateway, &[]).go_on(&gateway).status.success());
    assert!(!is_protected(&source));
    gateway.client().request("DELETE", "/v1/volumes/v/snapshots/s1", &[], &[]).expect(204);
    let middle = Middle::reach(&source, &gateway, &["--retries", "0"]);
    gateway.kill();
    assert!(!middle.sender.wait_with_output().unwrap().status.success());
    assert!(!is_protected(&source));
    gateway.restart();
    let middle = Middle::reach(&source, &gateway, &[]);
    assert!(is_protected(&source));
    interrupt(&middle.sender);
    assert_eq!(middle.go_on(&gateway).status.code(), Some(130));
    assert!(!is_protected(&source));
    // The user's own stays.
    source.rbd("snap protect @vol@s1");
    succeeded(source.send(&gateway, "vol@s1", "v", "s1", &[]).output().unwrap());
    assert!(is_protected(&source));
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

/// The right to read is enough, and then only the snapshot's number tells that it is gone.
#[test]
fn a_user_who_may_only_read_sends_and_notices() {
    let source = Site::own(&Settings { cephx: true, ..Settings::default() });
    let osd = format!("profile rbd-read-only pool=volumes namespace={}", source.namespace());
    let reader = User::new("reader", &[("mon", "profile rbd"), ("osd", &osd)]);
    let keyring = source.cluster().create_user(&reader).unwrap().display().to_string();
    let gateway = Gateway::start();
    large(&source);
    let conf = source.cluster().configuration().display().to_string();
    let user = ["--ceph-conf", &conf, "--ceph-user", "reader", "--ceph-keyring", &keyring];
    let middle = Middle::reach(&source, &gateway, &user);
    assert!(!is_protected(&source));
    source.rbd("snap rm --no-progress @vol@s1");
    refused(&middle.go_on(&gateway), 5, "deleted or made again");
    source.rbd("snap create --no-progress @vol@s1");
    succeeded(source.send(&gateway, "vol@s1", "vol", "s1", &[]).args(user).output().unwrap());
    check(&source, &gateway, "vol@s1");
    // Without a key, or as nobody: an error that says so.
    let nobody = source.send(&gateway, "vol@s1", "vol", "s2", &[]).args(["--ceph-user", "nobody"]).output().unwrap();
    refused(&nobody, 1, "client.nobody");
}

/// A virtual machine holds the image's lock and writes all the time; reading does not disturb it.
#[test]
fn an_image_that_is_in_use_is_read() {
    let (source, gateway) = (Site::source(), Gateway::start());
    chain(&source, "vol", "", 341);
    let guest = Lock::take(&source, "vol");
    for (number, snapshot) in ["s1", "s2", "s5"].into_iter().enumerate() {
        guest.write(4096 * number as u64, b"the guest goes on");
        sent(&source, &gateway, &format!("vol@{snapshot}"), &[]);
        guest.write(8192 * number as u64, b"the guest goes on");
        check(&source, &gateway, &format!("vol@{snapshot}"));
    }
}

/// Marks prove what names do not, and what roots would have to be computed for.
#[test]
fn a_mark_proves_and_a_name_does_not() {
    let (source, gateway) = (Site::source(), Gateway::start());
    chain(&source, "vol", "", 351);
    let committed = sent(&source, &gateway, "vol@s1", &[]);
    let fsid = source.cluster().ceph(&["fsid"]).unwrap();
    let id = source.json("info @vol")["id"].as_str().unwrap().to_owned();
    let number = source.snapshots("vol")[0].id;
    let mark = committed["source_mark"].as_str().unwrap();
    assert!(mark.starts_with(&format!("rbd:{}/", fsid.trim())) && mark.ends_with(&format!("/{id}@{number}")), "{mark}");
    // Once more: it is there, which nobody has to read.
    let again = succeeded(source.send(&gateway, "vol@s1", "vol", "s1", &[]).output().unwrap());
    assert_eq!(again["outcome"], "present", "{again}");
    // Renamed it is the same; made again it is another one.
    source.rbd("snap rename @vol@s1 @vol@renamed");
    assert_eq!(sent(&source, &gateway, "vol@s2", &[])["base"], "s1");
    check(&source, &gateway, "vol@s2");
    source.rbd("snap rm --no-progress @vol@s2");
    source.write("vol", 5 << 20, b"not what was sent");
    source.rbd("snap create --no-progress @vol@s2");
    let third = succeeded(source.send(&gateway, "vol@s2", "vol", "t3", &[]).output().unwrap());
    assert_eq!(third["snapshots"][0]["base"], "s1", "{third}");
    // Sent by the stock tool it has no mark: it is read, and found to be the same, or not.
    let body = source.export_diff(None, "vol@s3");
    let path = "/v1/volumes/stock/snapshots/s3".to_owned();
    let upload = Upload { path, content_type: Some("application/vnd.ceph.rbd-diff"), body: &body, ..Upload::default() };
    gateway.client().put(&upload).expect(201);
    let present = succeeded(source.send(&gateway, "vol@s3", "stock", "s3", &[]).output().unwrap());
    assert_eq!(present["outcome"], "present", "{present}");
    let other = source.send(&gateway, "vol@s4", "stock", "s3", &[]).args(["--source-snapshot", "s3"]).output().unwrap();
    refused(&other, 3, "other content");
    // Its mark is not known, so it is a base only after its content was compared.
    let rebased = succeeded(source.send(&gateway, "vol@s4", "stock", "s4", &["s3"]).output().unwrap());
    assert_eq!(rebased["snapshots"][0]["base"], "s3", "{rebased}");
    let body = gateway.client().get("/v1/volumes/stock/snapshots/s4").expect(200).body;
    assert_eq!(sha256(&body), source.digest("vol@s4"));
}

#[test]
fn what_is_not_there_is_named() {
    let (source, gateway) = (Site::source(), Gateway::start());
    source.rbd("create @vol --size 1M");
    source.rbd("snap create --no-progress @vol@s1");
    let send = |place: &str, extra: &[&str]| {
        let mut command = gateway.command(&["send", place, "--volume", "v", "--snapshot", "s1"]);
        command.env("CEPH_CONF", source.cluster().configuration()).args(extra).output().unwrap()
    };
    let at = |name: &str| format!("rbd:{}", source.at(name));
    for (place, words) in [
        ("rbd:nowhere/vol@s1".to_owned(), "pool nowhere"),
        ("rbd:volumes/nowhere/vol@s1".to_owned(), "rbd namespace create volumes/nowhere"),
        (at("other@s1"), "other"),
        (at("vol@s2"), "snapshot s2"),
    ] {
        refused(&send(&place, &[]), 1, words);
    }
    for (place, extra, words) in [
        ("rbd:volumes/vol", &[][..], "write rbd:POOL"),
        (&at("vol@s1"), &["--base", "s0"], "no earlier snapshot s0"),
        (&at("vol@s1"), &["--base", "rbd:volumes/other@s0"], "not a snapshot of the same image"),
        (&at("vol@s1"), &["--base", "s0=file"], "--base SNAPSHOT"),
        (&at("vol@s1"), &["--format", "rbd-diff"], "--format"),
        (&at("vol@s1"), &["--size", "5"], "--size"),
        ("Cargo.toml", &["--ceph-user", "a"], "rbd:"),
        ("Cargo.toml", &["--base", "s0"], "ID=s0"),
    ] {
        refused(&send(place, extra), 2, words);
    }
    let nowhere = send(&at("vol@s1"), &["--ceph-conf", "/nowhere/ceph.conf"]);
    refused(&nowhere, 1, "/nowhere/ceph.conf");
}
