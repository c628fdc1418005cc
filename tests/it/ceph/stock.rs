//! Shows 2: the stock tools at the other end. `rbd export-diff | curl -T -` goes in, `curl | rbd import-diff` comes
//! out, in the streams that `rbd` itself writes and reads, whatever the layout of the image.

use std::process::Stdio;

use super::support::Site;
use crate::support::{Diff, Gateway, Image};

const MIB: u64 = 1 << 20;

/// An image with three snapshots that differ in data, in zeroes and in size.
fn volume(site: &Site, options: &str) -> [&'static str; 3] {
    site.rbd(&format!("create @vol --size 9M {options}"));
    let first = Image::random(9 << 20, 71);
    let mut second = first.changed(72, 20);
    second.bytes.resize(13 << 20, 0);
    let mut third = second.changed(73, 10);
    third.bytes.truncate((11 << 20) + 512);
    let mut old: Vec<u8> = Vec::new();
    for (name, image) in ["s1", "s2", "s3"].into_iter().zip([first, second, third]) {
        old.resize(image.bytes.len(), 0);
        site.apply("vol", &Diff::between(None, name, &old, &image.bytes));
        old = image.bytes;
    }
    ["s1", "s2", "s3"]
}

fn curl(gateway: &Gateway, snapshot: &str) -> String {
    format!(
        "curl -sS --fail-with-body --cacert {} -H 'Authorization: Bearer {}' \
         https://{}/v1/volumes/v/snapshots/{snapshot}",
        gateway.certificate().display(),
        gateway.token(),
        gateway.address
    )
}

/// `rbd export-diff | curl -T -`.
fn put(source: &Site, gateway: &Gateway, from: Option<&str>, snapshot: &str) {
    let from = from.map(|from| format!("--from-snap {from}")).unwrap_or_default();
    let curl = curl(gateway, snapshot);
    let kind = "-H 'Content-Type: application/vnd.ceph.rbd-diff'";
    let at = source.at(&format!("vol@{snapshot}"));
    source.cluster().shell(&format!("rbd export-diff --no-progress {from} {at} - | {curl} {kind} -T -")).unwrap();
}

/// `curl | rbd import-diff`, to image `back`.
fn get(site: &Site, gateway: &Gateway, base: Option<&str>, snapshot: &str) {
    let base = base.map(|base| format!("&base={base}")).unwrap_or_default();
    let curl = curl(gateway, &format!("{snapshot}?format=rbd-diff{base}"));
    let curl = curl.replace("https://", "'https://") + "'";
    site.cluster().shell(&format!("{curl} | rbd import-diff --no-progress - {}", site.at("back"))).unwrap();
}

fn there_and_back(options: &str, between: impl Fn(&Site)) {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    let snapshots = volume(&source, options);
    let mut base = None;
    for snapshot in snapshots {
        put(&source, &gateway, base, snapshot);
        base = Some(snapshot);
        let expected = source.digest(&format!("vol@{snapshot}"));
        assert_eq!(target.digest(&format!("volume-v@snapshot-{snapshot}")), expected, "{snapshot} {options}");
    }
    between(&target);
    source.rbd("create @back --size 1M");
    let mut base = None;
    for snapshot in snapshots {
        get(&source, &gateway, base, snapshot);
        base = Some(snapshot);
    }
    // What comes out carries the names that the snapshots have here.
    let named = source.snapshots("back");
    assert_eq!(named.len(), snapshots.len(), "{named:?}");
    for (listed, snapshot) in named.iter().zip(snapshots) {
        let expected = source.digest(&format!("vol@{snapshot}"));
        assert_eq!(source.digest(&format!("back@{}", listed.name)), expected, "{snapshot} came back as {listed:?}");
    }
}

#[test]
fn stock_streams_go_in_and_come_out() {
    there_and_back("", |_| {});
}

#[test]
fn stock_streams_of_striped_images_and_large_objects_go_in_and_come_out() {
    there_and_back("--stripe-unit 64K --stripe-count 4", |_| {});
    there_and_back("--object-size 32M", |_| {});
    there_and_back("--image-feature layering", |_| {});
}

/// The third snapshot of the source goes in as a change of the first one, with the names of `rbd` alone.
#[test]
fn a_stock_incremental_skips_what_was_not_wanted() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    volume(&source, "");
    put(&source, &gateway, None, "s1");
    put(&source, &gateway, Some("s1"), "s3");
    let names: Vec<String> = target.snapshots("volume-v").into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["snapshot-s1", "snapshot-s3"]);
    assert_eq!(target.digest("volume-v@snapshot-s3"), source.digest("vol@s3"));
    assert_eq!(target.digest("volume-v@snapshot-s1"), source.digest("vol@s1"));
}

/// A pipe that breaks: `rbd export-diff` is killed in the middle of the stream.
#[test]
fn a_stock_stream_that_breaks_commits_nothing_and_can_be_sent_again() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    volume(&source, "");
    put(&source, &gateway, None, "s1");
    let before = target.digest("volume-v@snapshot-s1");
    let whole = source.export_diff(Some("s1"), "vol@s2");
    let curl = curl(&gateway, "s2");
    let kind = "-H 'Content-Type: application/vnd.ceph.rbd-diff'";
    let file = tempfile::NamedTempFile::new().unwrap();
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(file.path(), &whole[..cut]).unwrap();
        let script = format!("{curl} {kind} -T - < {}", file.path().display());
        let broken = source.cluster().shell(&script).unwrap_err().to_string();
        assert!(broken.contains("urn:rsnap:problem:malformed-stream"), "cut at {cut}: {broken}");
        assert_eq!(target.snapshots("volume-v").len(), 1, "cut at {cut}");
        assert_eq!(target.digest("volume-v@snapshot-s1"), before, "cut at {cut}");
    }
    put(&source, &gateway, Some("s1"), "s2");
    assert_eq!(target.digest("volume-v@snapshot-s2"), source.digest("vol@s2"));
}

/// Restore and failback by our own command line, into a pipe of the stock tool.
#[test]
fn rsnap_restore_feeds_import_diff() {
    let (source, target) = (Site::source(), Site::target());
    let gateway = target.gateway();
    volume(&source, "");
    put(&source, &gateway, None, "s1");
    put(&source, &gateway, Some("s1"), "s2");
    source.rbd("create @back --size 1M");
    for (snapshot, base) in [("s1", None), ("s2", Some("s1"))] {
        let mut words = vec!["restore", "--volume", "v", "--snapshot", snapshot, "--format", "rbd-diff", "-"];
        words.extend(base.iter().flat_map(|base| ["--base", base]));
        let mut restore = gateway.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = source.cluster().command("rbd").unwrap();
        import.args(["import-diff", "--no-progress", "-", &source.at("back")]).stdin(restore.stdout.take().unwrap());
        assert!(import.status().unwrap().success());
        assert!(restore.wait().unwrap().success());
    }
    let digests: Vec<String> =
        source.snapshots("back").iter().map(|listed| source.digest(&format!("back@{}", listed.name))).collect();
    assert_eq!(digests, [source.digest("vol@s1"), source.digest("vol@s2")]);
}
