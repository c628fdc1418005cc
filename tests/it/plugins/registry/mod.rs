//! Components from a real registry, with real signatures: what is pulled is what was pushed and signed, or nothing is.

mod cut;
mod pushed;
mod server;
mod signed;
mod tampered;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use self::server::Registry;
use super::{plan, put};
use crate::support::{Gateway, Image, Options, binary, components};

/// A command that `cargo xtask test` has installed.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    command
}

/// What a command that works prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask test`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn policy(name: &str) -> PathBuf {
    let folder = if name == "ten-line-policy" { "fixtures" } else { "plugins" };
    components(folder).join(format!("{name}.wasm"))
}

/// `rsnap plugin pull` into `file`.
fn pull(registry: &Registry, reference: &str, file: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["plugin", "pull", reference, "--json", "--ca"]).arg(&registry.authority.certificate);
    command.env("RSNAP_REGISTRY_CREDENTIALS", registry.login()).arg("--output").arg(file);
    command.args(options).stdin(Stdio::null()).output().unwrap()
}

/// What a pull that works answers.
#[track_caller]
fn pulled(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a pull that fails complains about; it leaves nothing behind.
#[track_caller]
fn refused(output: &Output, file: &Path) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !file.exists(), "{complaint}");
    complaint
}

/// Tables for a gateway whose policy comes from a registry.
fn tables(registry: &Registry, login: &Path, signatures: &str) -> String {
    let ca = registry.authority.certificate.display();
    format!(
        "[plugins.registry]\nca = \"{ca}\"\ncredentials = \"{}\"\ntimeout = \"60s\"\n[plugins.signatures]\n{signatures}\n",
        login.display()
    )
}

fn gateway(registry: &Registry, component: &str, signatures: &str) -> Gateway {
    let extra = tables(registry, &registry.login(), signatures);
    Gateway::start_with(&Options { policy: Some(component.to_owned()), extra, ..Options::default() })
}

/// Why a gateway with this policy does not start.
fn no_gateway(component: &str, tables: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display();
    let text = format!(
        "[gateway]\ndata = \"{data}\"\n[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [plugins.writer]\ncomponent = \"builtin:image\"\nstores = [\"main\"]\n\
         [plugins.policy]\ncomponent = \"{component}\"\n{tables}"
    );
    let file = folder.path().join("rsnap.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(binary());
    command.args(["serve", "--config"]).arg(&file).env("RSNAP_PLUGIN_PATH", components("plugins"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the policy of a gateway decides on a snapshot whose predecessor is there, with the policy's name.
fn decision(gateway: &Gateway) -> (String, String) {
    let answer = plan(gateway, "sv").expect(200).json();
    (answer["action"].as_str().unwrap().to_owned(), answer["policy"].as_str().unwrap().to_owned())
}

fn pair(action: &str, policy: &str) -> (String, String) {
    (action.to_owned(), policy.to_owned())
}

#[test]
fn a_policy_comes_from_a_registry_and_stays_when_the_registry_is_gone() {
    let mut registry = Registry::start();
    let (digest, layers) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let (tag, file) = (format!("{}:v1", registry.reference("house-rule")), registry.path("pulled.wasm"));
    let told = pulled(&pull(&registry, &tag, &file, &[]));
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    assert_eq!((&told["reference"], &told["kind"]), (&pinned.as_str().into(), &"policy".into()));
    assert_eq!(format!("sha256:{}", told["sha256"].as_str().unwrap()), layers[0].digest);
    assert_eq!(fs::read(&file).unwrap(), fs::read(policy("ten-line-policy")).unwrap());

    let unpinned = no_gateway(&tag, &tables(&registry, &registry.login(), ""));
    assert!(unpinned.contains("a tag may mean another component") && unpinned.contains("plugin pull"), "{unpinned}");

    let mut gateway = gateway(&registry, &pinned, "");
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    assert_eq!(decision(&gateway), pair("full", "house-rule"));

    // The tag means another component now; who has pinned the first one keeps it.
    let (other, _) = registry.push("house-rule", "v1", &policy("nearest-base"), None);
    assert_ne!(other, digest);
    let again = registry.path("again.wasm");
    let told = pulled(&pull(&registry, &tag, &again, &[]));
    assert_eq!(told["reference"], format!("{}@{other}", registry.reference("house-rule")));
    assert_eq!(fs::read(&again).unwrap(), fs::read(policy("nearest-base")).unwrap());

    registry.stop();
    gateway.restart();
    assert_eq!(decision(&gateway), pair("full", "house-rule"), "from what was pulled before");
    let none = registry.path("none.wasm");
    let gone = refused(&pull(&registry, &pinned, &none, &[]), &none);
    assert!(gone.contains("does not answer") && gone.contains("pulled before by digest"), "{gone}");
    let gone = no_gateway(&pinned, &tables(&registry, &registry.login(), ""));
    assert!(
        gone.contains("the policy plugin house-rule cannot be loaded") && gone.contains("does not answer"),
        "{gone}"
    );
}

#[test]
fn a_component_that_was_pulled_for_a_gateway_needs_no_registry_at_its_start() {
    let mut registry = Registry::start();
    let (digest, _) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let mut gateway = gateway(&registry, "nearest-base", "");
    let (tag, file) = (format!("{}:v1", registry.reference("house-rule")), registry.path("pulled.wasm"));
    let data = gateway.data.display().to_string();
    pulled(&pull(&registry, &tag, &file, &["--data", &data]));
    registry.stop();
    let configuration = gateway.data.join("rsnap.toml");
    let pinned = format!("\"{}@{digest}\"", registry.reference("house-rule"));
    let text = fs::read_to_string(&configuration).unwrap().replace("\"nearest-base\"", &pinned);
    fs::write(&configuration, text).unwrap();
    gateway.restart();
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    assert_eq!(decision(&gateway), pair("full", "house-rule"));
}

#[test]
fn a_login_that_is_wrong_is_told_with_its_remedy() {
    let registry = Registry::start();
    let (digest, _) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let pinned = format!("{}@{digest}", registry.reference("house-rule"));
    let wrong = registry.credentials("not-the-password");
    let file = registry.path("none.wasm");
    let told = refused(&pull(&registry, &pinned, &file, &["--credentials", &wrong.display().to_string()]), &file);
    assert!(told.contains("401") && told.contains("log in again"), "{told}");
    let told = no_gateway(&pinned, &tables(&registry, &wrong, ""));
    assert!(told.contains("UNAUTHORIZED") && told.contains("plugins.registry.credentials"), "{told}");
    let missing = format!("{}@sha256:{}", registry.reference("house-rule"), "0".repeat(64));
    let told = refused(&pull(&registry, &missing, &file, &[]), &file);
    assert!(told.contains("404") && told.contains("rsnap plugin pull"), "{told}");
}
