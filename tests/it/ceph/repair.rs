//! Repairs between files and Ceph: from Ceph to a site on files, whoever reads there; and what is said where Ceph itself
//! is damaged.

use serde_json::Value;

use super::support::{POOL, Site, sha256};
use crate::support::{Diff, Gateway, Image};
use crate::verify::{event, flip, objects, put, stored, toward};

const MIB: usize = 1 << 20;
const DEEP: &str = "verify --deep --volume v --snapshot s";
const REPAIR: &str = "repair --volume v --snapshot s";

fn image() -> Image {
    Image::random(24 * MIB + 777, 141)
}

/// A gateway on files, one bit of whose snapshot is another.
fn damaged(image: &Image) -> Gateway {
    let gateway = Gateway::start();
    put(&gateway, "s", &image.bytes);
    flip(&stored(&gateway, ".raw"), 9 * MIB as u64 + 5);
    objects(toward(&gateway, DEEP, None), 5);
    gateway
}

#[track_caller]
fn check_mended(gateway: &Gateway, image: &Image, repaired: &[Value]) {
    let repaired = event(repaired, "repaired");
    assert_eq!(repaired["unmendable"], 0, "{repaired}");
    assert!(repaired["sent"].as_u64().unwrap() < image.bytes.len() as u64 / 100, "{repaired}");
    objects(toward(gateway, DEEP, None), 0);
    assert!(gateway.client().get("/v1/volumes/v/snapshots/s").expect(200).body == image.bytes);
}

#[test]
fn a_site_on_ceph_mends_a_site_on_files() {
    let image = image();
    let (target, damaged) = (Site::target(), damaged(&image));
    let intact = target.gateway();
    put(&intact, "s", &image.bytes);
    let repaired = objects(toward(&damaged, REPAIR, Some(&intact)), 0);
    check_mended(&damaged, &image, &repaired);
}

#[test]
fn the_snapshot_in_ceph_that_was_sent_mends_what_came_of_it() {
    let image = image();
    let (source, damaged) = (Site::source(), damaged(&image));
    source.rbd(&format!("create @vol --size {}B", image.bytes.len()));
    source.apply("vol", &Diff::full("s", &image.bytes));
    let repair = |snapshot: &str| {
        let mut command =
            toward(&damaged, &format!("repair rbd:{} --volume v --snapshot s", source.at(snapshot)), None);
        command.env("CEPH_CONF", source.cluster().configuration()).env_remove("CEPH_ARGS");
        command
    };
    // One of another content, or of another size, is of no use.
    source.write("vol", 9 * MIB as u64, b"something else");
    source.rbd("snap create --no-progress @vol@other");
    objects(repair("vol@other"), 5);
    source.rbd("resize --no-progress --size 30M @vol");
    source.rbd("snap create --no-progress @vol@larger");
    objects(repair("vol@larger"), 3);
    objects(toward(&damaged, DEEP, None), 5);
    check_mended(&damaged, &image, &objects(repair("vol@s"), 0));
}

/// Writes past all of Ceph's rules, as a fault of a disk does that no checksum notices.
fn damage(target: &Site, image: &str, object: u64) {
    let prefix = target.json(&format!("info @{image}"))["block_name_prefix"].as_str().unwrap().to_owned();
    let rados = format!("rados --pool {POOL} --namespace {}", target.namespace());
    let name = format!("{prefix}.{object:016x}");
    let flip = "printf x | dd of=$file bs=1 seek=70000 conv=notrunc status=none";
    let script = format!("file=$(mktemp); {rados} get {name} $file; {flip}; {rados} put {name} $file; rm $file");
    target.cluster().shell(&script).unwrap();
}

#[test]
fn a_damaged_snapshot_in_ceph_is_named_and_what_to_do_is_said() {
    let image = image();
    let (target, intact) = (Site::target(), Gateway::start());
    let gateway = target.gateway();
    for gateway in [&gateway, &intact] {
        put(gateway, "s", &image.bytes);
    }
    damage(&target, "volume-v", 2);
    let found = event(&objects(toward(&gateway, DEEP, None), 5), "checked");
    let extents = found["extents"].as_array().unwrap();
    assert_eq!((extents.len(), &extents[0]["offset"]), (1, &(8 * MIB + (64 << 10)).into()), "{found}");
    let output = toward(&gateway, REPAIR, Some(&intact)).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("ceph pg repair") && errors.contains("delete this snapshot"), "{errors}");
    // Nothing was written by the attempt, and what it says helps.
    assert_eq!(target.snapshots("volume-v").len(), 1);
    objects(toward(&gateway, DEEP, None), 5);
    gateway.client().request("DELETE", "/v1/volumes/v/snapshots/s", &[], &[]).expect(204);
    put(&gateway, "s", &image.bytes);
    objects(toward(&gateway, DEEP, None), 0);
    assert_eq!(target.digest("volume-v@snapshot-s"), sha256(&image.bytes));
}
