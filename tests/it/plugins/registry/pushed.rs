//! `rsnap plugin push` into a real registry: what was pushed is what is pulled and loaded, with its signature.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::server::Registry;
use super::signed::Signer;
use super::{decision, gateway, pair, policy, pull, pulled};
use crate::plugins::put;
use crate::support::{Image, binary};

fn push(registry: &Registry, component: &Path, reference: &str, login: &Path) -> Output {
    let mut command = Command::new(binary());
    command.args(["plugin", "push"]).arg(component).args([reference, "--json", "--ca"]);
    command.arg(&registry.authority.certificate).env("RSNAP_REGISTRY_CREDENTIALS", login);
    command.stdin(Stdio::null()).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_pushed_is_pulled_and_loaded() {
    let (registry, signer) = (Registry::start(), Signer::new());
    let (component, signature) = signer.sign(&policy("ten-line-policy"));
    let tag = format!("{}:v1", registry.reference("house-rule"));
    let told = pulled(&push(&registry, &component, &tag, &registry.login()));
    assert_eq!(
        (&told["kind"], &told["signed"], &told["tagged"]),
        (&"policy".into(), &true.into(), &tag.as_str().into())
    );
    let pinned = told["reference"].as_str().unwrap().to_owned();
    let again = pulled(&push(&registry, &component, &tag, &registry.login()));
    assert_eq!(again["reference"], pinned.as_str(), "the same content is the same artifact");

    for reference in [&tag, &pinned] {
        let file = registry.path("pulled.wasm");
        let found = pulled(&pull(&registry, reference, &file, &["--public-key", &signer.key]));
        assert_eq!((&found["reference"], &found["trusted"]), (&pinned.as_str().into(), &true.into()));
        assert_eq!(fs::read(&file).unwrap(), fs::read(&component).unwrap());
        assert_eq!(fs::read(format!("{}.minisig", file.display())).unwrap(), fs::read(&signature).unwrap());
    }
    let gateway = gateway(&registry, &pinned, &format!("keys = [\"{}\"]", signer.key));
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    assert_eq!(decision(&gateway), pair("full", "house-rule"));
}

#[test]
fn what_no_gateway_would_load_is_not_pushed() {
    let registry = Registry::start();
    let tag = format!("{}:v1", registry.reference("house-rule"));
    let noise = registry.path("noise.wasm");
    fs::write(&noise, "noise").unwrap();
    let told = complaint(&push(&registry, &noise, &tag, &registry.login()));
    assert!(told.contains("not WebAssembly"), "{told}");
    let good = policy("ten-line-policy");
    let digest = format!("{}@sha256:{}", registry.reference("house-rule"), "0".repeat(64));
    let told = complaint(&push(&registry, &good, &digest, &registry.login()));
    assert!(told.contains("what comes of pushing it"), "{told}");
    let told = complaint(&push(&registry, &good, &tag, &registry.credentials("not-the-password")));
    assert!(told.contains("401") && told.contains("or to push"), "{told}");
    let none = complaint(&pull(&registry, &tag, &registry.path("none.wasm"), &[]));
    assert!(none.contains("404"), "nothing is there: {none}");
}
