//! The users of `deploy/ceph/README.md`, made by the very commands of that page: each can do its work, and with less
//! the work fails with an error that says what is missing.

use std::path::Path;
use std::process::Output;

use rsnap_test_ceph::{Options as Settings, User};

use super::support::{Site, committed, refusal, sha256};
use crate::support::{Answer, Diff, Gateway, Image, Options, Upload, wait_for};

const DIFF: &str = "application/vnd.ceph.rbd-diff";

/// The commands of the page that make or change a user.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ceph/README.md");
    let text = std::fs::read_to_string(page).unwrap().replace("\\\n", " ");
    text.lines().filter(|line| line.starts_with("ceph auth ")).map(str::to_owned).collect()
}

/// The command for a user, with the rights in one namespace only.
fn command(user: &str, verb: &str, site: &Site) -> String {
    let start = format!("ceph auth {verb} client.{user} ");
    let command = commands().into_iter().find(|command| command.starts_with(&start)).unwrap();
    assert!(command.contains("pool=volumes'"), "{command}");
    command.replace("pool=volumes'", &format!("pool=volumes namespace={}'", site.namespace()))
}

fn cluster() -> Site {
    Site::own(&Settings { cephx: true, ..Settings::default() })
}

/// Makes a user of the page.
fn create(site: &Site, user: &str) {
    let keyring = site.cluster().keyring(user);
    site.cluster().shell(&format!("{} > {}", command(user, "get-or-create", site), keyring.display())).unwrap();
}

/// How a store gets in as this user.
fn access(site: &Site, user: &str) -> String {
    let keyring = site.cluster().keyring(user);
    format!("user = {user:?}\nkeyring = {keyring:?}\ntimeout = \"5s\"\n")
}

fn gateway(site: &Site, user: &str) -> Gateway {
    site.gateway_with(&access(site, user), Options::default())
}

fn put(gateway: &Gateway, snapshot: &str, body: &[u8]) -> Answer {
    let path = format!("/v1/volumes/v/snapshots/{snapshot}");
    gateway.client().put(&Upload { path, content_type: Some(DIFF), body, ..Upload::default() })
}

#[test]
fn the_targets_user_can_do_all_that_a_gateway_does() {
    let site = cluster();
    create(&site, "rsnap-target");
    let (mut first, second) = (gateway(&site, "rsnap-target"), gateway(&site, "rsnap-target"));
    let one = Image::random(4 << 20, 141);
    let two = one.changed(142, 20);
    put(&first, "s1", &Diff::full("s1", &one.bytes)).expect(201);
    let change = Diff::between(Some("s1"), "s2", &one.bytes, &two.bytes);
    // A takeover: the first one dies in the middle.
    let path = "/v1/volumes/v/snapshots/s2".to_owned();
    let mut pending =
        first.client().begin_put(&Upload { path, content_type: Some(DIFF), body: &change, ..Upload::default() });
    pending.send(&change[..change.len() / 2]).unwrap();
    wait_for("the lock", || site.is_locked("volume-v"));
    first.kill();
    wait_for("the takeover", || put(&second, "s2", &change).status == 201);
    assert_eq!(site.digest("volume-v@snapshot-s2"), sha256(&two.bytes));
    assert!(second.client().get("/v1/volumes/v/snapshots/s1").expect(200).body == one.bytes);
    second.client().request("DELETE", "/v1/volumes/v/snapshots/s1", &[], &[]).expect(204);
    assert_eq!(site.digest("volume-v@snapshot-s2"), sha256(&two.bytes));
    // And nothing else: another namespace is out of its reach.
    let elsewhere = site.another();
    elsewhere.rbd("create @other --size 1M");
    let error = elsewhere.try_rbd("--id rsnap-target info @other").unwrap_err();
    assert!(error.contains("Operation not permitted"), "{error}");
}

#[test]
fn with_less_the_target_fails_and_says_why() {
    let site = cluster();
    let namespace = format!("pool=volumes namespace={}", site.namespace());
    let profile = |name: &str| format!("profile {name} {namespace}");
    for (user, monitor, osd) in [
        ("reader", "profile rbd", profile("rbd-read-only")),
        ("elsewhere", "profile rbd", "profile rbd pool=other".to_owned()),
        ("nobody", "profile rbd", "allow r pool=other".to_owned()),
    ] {
        site.cluster().create_user(&User::new(user, &[("mon", monitor), ("osd", &osd)])).unwrap();
        let said = refusal(&site.store(&access(&site, user)));
        assert!(said.contains("Operation not permitted") && said.contains("capabilities"), "{user}: {said}");
    }
    assert_eq!(site.json(&format!("ls volumes/{}", site.namespace())), serde_json::json!([]));
}

/// Without the right to blocklist, all goes well until a gateway dies.
#[test]
fn without_the_right_to_blocklist_a_takeover_fails_and_says_why() {
    let site = Site::own(
        &Settings { cephx: true, ..Settings::default() }.with_setting("osd", "osd client watch timeout = 3600"),
    );
    let osd = format!("profile rbd pool=volumes namespace={}", site.namespace());
    site.cluster().create_user(&User::new("meek", &[("mon", "allow r"), ("osd", &osd)])).unwrap();
    let (mut first, second) = (gateway(&site, "meek"), gateway(&site, "meek"));
    let image = Image::random(2 << 20, 144);
    let body = Diff::full("s1", &image.bytes);
    let path = "/v1/volumes/v/snapshots/s1".to_owned();
    let mut pending =
        first.client().begin_put(&Upload { path, content_type: Some(DIFF), body: &body, ..Upload::default() });
    pending.send(&body[..body.len() / 2]).unwrap();
    wait_for("the lock", || site.is_locked("volume-v"));
    first.kill();
    let answer = put(&second, "s1", &body);
    assert_eq!(answer.problem(), "storage", "{answer:?}");
    let log = second.log();
    assert!(log.contains("blocklist") && log.contains("mon 'profile rbd'"), "{log}");
}

/// `rsnap send` as a user of the source's cluster, to a gateway that keeps files.
fn send(site: &Site, gateway: &Gateway, user: &str, snapshot: &str) -> Output {
    let mut command = site.send(gateway, &format!("vol@{snapshot}"), "v", snapshot, &[]);
    command.args(["--retries", "0", "--ceph-user", user, "--ceph-keyring"]).arg(site.cluster().keyring(user));
    command.output().unwrap()
}

#[test]
fn the_sources_user_can_read_and_with_more_rights_protect() {
    let site = cluster();
    let gateway = Gateway::start();
    create(&site, "rsnap-source");
    site.rbd("create @vol --size 4M");
    let one = Image::random(4 << 20, 145);
    site.apply("vol", &Diff::full("s1", &one.bytes));
    committed(send(&site, &gateway, "rsnap-source", "s1"));
    assert!(gateway.client().get("/v1/volumes/v/snapshots/s1").expect(200).body == one.bytes);
    let protect = site.try_rbd("--id rsnap-source snap protect @vol@s1").unwrap_err();
    assert!(protect.contains("Operation not permitted") || protect.contains("Read-only"), "{protect}");

    site.cluster().shell(&command("rsnap-source", "caps", &site)).unwrap();
    let two = one.changed(146, 10);
    site.apply("vol", &Diff::between(Some("s1"), "s2", &one.bytes, &two.bytes));
    committed(send(&site, &gateway, "rsnap-source", "s2"));
    assert!(gateway.client().get("/v1/volumes/v/snapshots/s2").expect(200).body == two.bytes);
    site.rbd("--id rsnap-source snap protect @vol@s2");
}

#[test]
fn with_less_the_source_fails_and_says_why() {
    let site = cluster();
    let gateway = Gateway::start();
    site.rbd("create @vol --size 1M");
    site.rbd("snap create --no-progress @vol@s1");
    for (user, osd) in [("plain", "allow r pool=volumes"), ("elsewhere", "profile rbd-read-only pool=other")] {
        site.cluster().create_user(&User::new(user, &[("mon", "profile rbd-read-only"), ("osd", osd)])).unwrap();
        let output = send(&site, &gateway, user, "s1");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("capabilities"), "{user}: {said}");
    }
    assert_eq!(gateway.client().chain("v")["snapshots"], serde_json::json!([]));
}
