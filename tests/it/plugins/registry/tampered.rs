//! What somebody changed in the registry, or cut off, is noticed before anything of it is used or written.

use std::fs;

use super::server::Registry;
use super::{no_gateway, policy, pull, pulled, refused, tables};

#[test]
fn a_byte_that_was_changed_is_noticed() {
    let registry = Registry::start();
    let (digest, layers) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let stored = registry.stored(&layers[0].digest);
    let good = fs::read(&stored).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&stored, &bad).unwrap();

    let file = registry.path("none.wasm");
    let told = refused(&pull(&registry, &pinned, &file, &[]), &file);
    assert!(told.contains("has the digest") && told.contains("Do not use it"), "{told}");
    let told = no_gateway(&pinned, &tables(&registry, &registry.login(), ""));
    assert!(
        told.contains("the policy plugin house-rule cannot be loaded") && told.contains("has the digest"),
        "{told}"
    );

    fs::write(&stored, &good).unwrap();
    pulled(&pull(&registry, &pinned, &file, &[]));
}

#[test]
fn a_content_that_is_cut_or_grows_is_noticed() {
    let registry = Registry::start();
    let (digest, layers) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let stored = registry.stored(&layers[0].digest);
    let good = fs::read(&stored).unwrap();
    let file = registry.path("none.wasm");
    let longer = [good.as_slice(), &[0; 4096]].concat();
    for (bytes, words) in [(&good[..good.len() / 2], "bytes came of"), (&longer, "bytes come for one answer")] {
        fs::write(&stored, bytes).unwrap();
        let told = refused(&pull(&registry, &pinned, &file, &[]), &file);
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn another_manifest_under_a_pinned_digest_is_noticed() {
    let registry = Registry::start();
    let (digest, _) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let (other, _) = registry.push("house-rule", "v2", &policy("nearest-base"), None);
    fs::copy(registry.stored(&other), registry.stored(&digest)).unwrap();
    let file = registry.path("none.wasm");
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let told = refused(&pull(&registry, &pinned, &file, &[]), &file);
    assert!(told.contains("a manifest with the digest"), "{told}");
}
