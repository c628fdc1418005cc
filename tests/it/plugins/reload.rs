//! Shows 4: plugins come and go under running transfers, and none of them is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{path, plan, plugins, put};
use crate::support::{Gateway, Image, Options, Upload, admin_ask, binary, components, wait_for};

const TRANSFERS: usize = 50;
const RELOADS: usize = 100;
const BYTES: usize = 3 << 20;

/// A gateway whose writer and policy are files that a test may replace.
struct Site {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(writer: &str, policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        install(writer, &file("writer.wasm"));
        install(policy, &file("policy.wasm"));
        let limits = format!("memory = \"512MiB\"\ntransfers = {}\ndepth = 2", TRANSFERS + 4);
        let table = |name| format!("component = \"{}\"\nmemory = \"16MiB\"\ninstances = 64", file(name).display());
        let options = Options {
            writer: Some(format!("{}\nstores = [\"main\"]", table("writer.wasm"))),
            policy: Some(file("policy.wasm").display().to_string()),
            extra: format!("instances = 64\n[limits]\n{limits}"),
            ..Options::default()
        };
        Self { gateway: Gateway::start_with(&options), folder }
    }

    fn install(&self, kind: &str, plugin: &str) {
        install(plugin, &self.folder.path().join(format!("{kind}.wasm")));
    }

    /// Asks the admin listener; gives the part that is about plugins.
    fn reload(&self, status: u16) -> serde_json::Value {
        let (found, body) = admin_ask(self.gateway.admin, "POST", "/reload").unwrap();
        assert_eq!(found, status, "{body}");
        let parts: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parts[2]["subject"], "plugins", "{parts}");
        parts[2].clone()
    }

    fn hang_up(&self) {
        let before = self.reloads("applied");
        self.gateway.signal("HUP");
        wait_for("the reload", || self.reloads("applied") > before);
    }

    fn reloads(&self, outcome: &str) -> u64 {
        let name = format!("rsnap_reloads_total{{subject=\"plugins\",outcome=\"{outcome}\"}} ");
        let text = self.gateway.admin("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

/// Puts a component into place as a careful operator does: in one step. One that does not exist is noise.
fn install(plugin: &str, to: &Path) {
    let built = ["plugins", "fixtures"].map(|folder| components(folder).join(format!("{plugin}.wasm")));
    let next: PathBuf = to.with_extension("next");
    match built.iter().find(|path| path.exists()) {
        Some(path) => drop(fs::copy(path, &next).unwrap()),
        None => fs::write(&next, plugin).unwrap(),
    }
    fs::rename(next, to).unwrap();
}

/// Reloads again and again: other writers, other policies, versions that are no good, by request and by signal.
fn reload_again_and_again(site: &Site, done: &AtomicUsize) {
    for number in 0..RELOADS {
        let is_odd = number % 2 == 1;
        site.install("policy", if number % 4 < 2 { "nearest-base" } else { "full-only" });
        site.install("writer", if is_odd { "image" } else { "chunk-writer" });
        match number % 5 {
            0 => site.hang_up(),
            1 => {
                site.install("writer", "noise");
                let fault = site.reload(422)["fault"].to_string();
                assert!(fault.contains("the file is not WebAssembly"), "{fault}");
            }
            _ => drop(site.reload(200)),
        }
        done.store(number + 1, Ordering::SeqCst);
    }
}

/// One transfer that lasts as long as the reloads do.
fn slow_transfer(site: &Site, number: usize, begun: &Barrier, done: &AtomicUsize) {
    let image = Image::random(BYTES, number as u64 + 1);
    let headers = vec![("rsnap-source-volume", "sv".to_owned()), ("rsnap-source-snapshot", "s1".to_owned())];
    let upload = Upload { path: path(&format!("v{number}"), "t1"), headers, body: &image.bytes, ..Upload::default() };
    let mut pending = site.gateway.client().begin_put(&upload);
    let mut pieces = image.bytes.chunks(BYTES / 10 + 1);
    pending.send(pieces.next().unwrap()).unwrap();
    begun.wait();
    for (turn, piece) in pieces.enumerate() {
        while done.load(Ordering::SeqCst) * 10 < RELOADS * (turn + 1) {
            thread::sleep(Duration::from_millis(20));
        }
        pending.send(piece).unwrap();
    }
    pending.answer().unwrap().expect(201);
}

#[test]
fn a_hundred_reloads_lose_none_of_fifty_transfers() {
    let site = Site::start("chunk-writer", "nearest-base");
    let (begun, done) = (Barrier::new(TRANSFERS + 1), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..TRANSFERS {
            let (site, begun, done) = (&site, &begun, &done);
            scope.spawn(move || slow_transfer(site, number, begun, done));
        }
        begun.wait();
        wait_for("all transfers are at work", || running(&site) == TRANSFERS);
        reload_again_and_again(&site, &done);
    });
    assert_eq!((site.reloads("applied"), site.reloads("failed")), (80, 20));
    for number in 0..TRANSFERS {
        let stored = site.gateway.client().get(&path(&format!("v{number}"), "t1")).expect(200).body;
        assert!(stored == Image::random(BYTES, number as u64 + 1).bytes, "transfer {number}");
    }
    let page = plugins(&site.gateway);
    assert!(page.iter().all(|plugin| plugin["instances"] == 0 && plugin["failures"] == 0), "{page:?}");
    assert_eq!(page[0]["memory_bytes"], 0, "what went is gone: {page:?}");
}

fn running(site: &Site) -> usize {
    serde_json::from_str::<Vec<serde_json::Value>>(&site.gateway.admin("/transfers").1).unwrap().len()
}

#[test]
fn new_work_goes_to_the_new_version_and_a_bad_one_changes_nothing() {
    let site = Site::start("image", "nearest-base");
    let gateway = &site.gateway;
    put(gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    let action = || plan(gateway, "sv").expect(200).json()["action"].as_str().unwrap().to_owned();
    assert_eq!(action(), "incremental");
    assert_eq!(site.reload(200)["taken"][1], "policy policy kept");
    site.install("policy", "full-only");
    assert_eq!(site.reload(200)["taken"][1], "policy policy loaded anew");
    assert_eq!(action(), "full");
    site.install("policy", "image");
    let fault = site.reload(422)["fault"].as_str().unwrap().to_owned();
    assert!(fault.starts_with("the policy plugin policy cannot be loaded"), "{fault}");
    assert_eq!(action(), "full");
    assert_eq!((gateway.admin("/readyz").0, site.reloads("failed")), (200, 1));
    assert!(gateway.log().contains("what was there stays in use"));

    let file = gateway.data.join("rsnap.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[plugins.policy.settings]\ncolour = 1\n")).unwrap();
    site.install("policy", "nearest-base");
    assert!(site.reload(422)["fault"].as_str().unwrap().contains("colour"));
    fs::write(&file, text.replace("[plugins.policy]", "[plugins.policyy]")).unwrap();
    assert!(site.reload(422)["fault"].as_str().unwrap().contains("policyy"));
    assert_eq!(action(), "full");
    fs::write(&file, text).unwrap();
    let output = std::process::Command::new(binary())
        .args(["plugin", "reload", "--admin", &gateway.admin.to_string()])
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && answer.contains("policy policy loaded anew"), "{answer}");
    assert_eq!(action(), "incremental");
}

#[test]
fn a_policy_that_crashes_again_and_again_is_retired_until_it_is_replaced() {
    let site = Site::start("image", "hostile-policy");
    let gateway = &site.gateway;
    let ask = |number: usize, harm: &str| {
        let chain = [serde_json::json!({ "id": "s1", "size": 65_536 })];
        let body = serde_json::json!({ "source_volume": harm, "wanted": "s1", "chain": chain }).to_string();
        let headers = [("Content-Type", "application/json".to_owned())];
        let path = path(&format!("v{}", number % 3), "t1") + "/plan";
        gateway.client().request("POST", &path, &headers, body.as_bytes())
    };
    for number in 0..10 {
        assert_eq!(ask(number, "trap").expect(500).problem(), "plugin-failed");
    }
    let (status, text) = gateway.admin("/readyz");
    assert!(status == 503 && text.starts_with("the policy plugin policy: it is retired"), "{text}");
    assert!(gateway.admin("/metrics").1.contains("rsnap_plugin_retired{kind=\"policy\",plugin=\"policy\"} 1"));
    assert_eq!(gateway.client().get("/readyz").status, 503);
    let refused = ask(1, "none").expect(503);
    assert!(refused.json()["detail"].as_str().unwrap().contains("after a reload"), "{refused:?}");
    site.install("policy", "nearest-base");
    site.reload(200);
    assert_eq!(gateway.admin("/readyz").0, 200);
    ask(1, "none").expect(200);
}
