//! The judge itself: that it sees what the stock tools get wrong. A test of ours that could not fail would be worth
//! nothing, so the scenes in which the stock tools fail are played with them first.

use super::support::Site;
use crate::support::{Diff, Image};

/// A source with two snapshots, and a target that has the first one by the stock tools.
fn sites() -> (Site, Site, Image) {
    let (source, target) = (Site::source(), Site::target());
    source.rbd("create @vol --size 12M");
    target.rbd("create @vol --size 1M");
    let first = Image::random(12 << 20, 61);
    let second = first.changed(62, 30);
    source.apply("vol", &Diff::full("s1", &first.bytes));
    source.apply("vol", &Diff::between(Some("s1"), "s2", &first.bytes, &second.bytes));
    target.apply("vol", &source.export_diff(None, "vol@s1"));
    assert_eq!(target.digest("vol@s1"), source.digest("vol@s1"));
    (source, target, first)
}

#[test]
fn equal_images_have_equal_digests_whatever_their_layout() {
    let (source, target, _) = sites();
    target.apply("vol", &source.export_diff(Some("s1"), "vol@s2"));
    assert_eq!(target.digest("vol@s2"), source.digest("vol@s2"));
    assert_ne!(target.digest("vol@s2"), source.digest("vol@s1"));
    target.rbd("create @other --size 1M --object-size 1M");
    target.apply("other", &source.export_diff(None, "vol@s2"));
    assert_eq!(target.digest("other"), source.digest("vol@s2"));
}

#[test]
fn the_stock_tools_do_not_notice_a_changed_head() {
    let (source, target, first) = sites();
    let untouched = 11 << 20;
    assert_eq!(source.digest("vol@s1").len(), 64);
    target.apply("vol", &Diff::new(None, None, first.bytes.len() as u64).write(untouched, b"x").end());
    target.apply("vol", &source.export_diff(Some("s1"), "vol@s2"));
    assert_ne!(target.digest("vol@s2"), source.digest("vol@s2"), "the judge sees nothing");
}

#[test]
fn the_stock_tools_do_not_notice_a_flipped_bit() {
    let (source, target, _) = sites();
    let mut stream = source.export_diff(Some("s1"), "vol@s2");
    let middle = stream.len() / 2;
    stream[middle] ^= 1;
    target.apply("vol", &stream);
    assert_ne!(target.digest("vol@s2"), source.digest("vol@s2"), "the judge sees nothing");
}
