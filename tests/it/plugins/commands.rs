//! `rsnap plugin` as those who write and run plugins use it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::{plan, put, with_policy};
use crate::support::{Diff, Image, binary, components};

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn plugin(&self, arguments: &[&str]) -> Command {
        let paths = std::env::join_paths([components("plugins"), components("fixtures")]).unwrap();
        let mut command = Command::new(binary());
        command.arg("plugin").args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // Compiled code is shared between the tests.
        command.env("RSNAP_PLUGIN_PATH", paths).env("XDG_CACHE_HOME", components("plugins").join("../tmp"));
        command
    }

    /// Runs it, holds it to its exit code, and gives what it answers and what it complains about.
    fn run(&self, arguments: &[&str], code: i32) -> (String, String) {
        checked(arguments, self.plugin(arguments).output().unwrap(), code)
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let with_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.run(&with_json, 0).0).unwrap()
    }

    fn pipe(&self, arguments: &[&str], input: &[u8], code: i32) -> (String, String) {
        let mut command = self.plugin(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A refusal leaves the pipe unread.
        drop(child.stdin.take().unwrap().write_all(input));
        checked(arguments, child.wait_with_output().unwrap(), code)
    }
}

fn checked(arguments: &[&str], output: Output, code: i32) -> (String, String) {
    let (answer, complaint) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {answer}{complaint}");
    (answer, complaint)
}

#[test]
fn a_component_shows_what_is_in_it() {
    let desk = Desk::new();
    let found = desk.json(&["inspect", "nearest-base"]);
    assert_eq!(
        (&found["kind"], &found["interface"], &found["form"]),
        (&"policy".into(), &"0.1.2".into(), &"component".into())
    );
    let names: Vec<_> = found["imports"].as_array().unwrap().iter().map(|import| import["name"].clone()).collect();
    assert_eq!(names, ["rsnap:plugin/settings@0.1.2", "rsnap:plugin/chains@0.1.2"]);
    assert_eq!(found["exports"][0]["functions"], serde_json::json!(["configure", "decide"]));
    assert_eq!(found["sha256"].as_str().unwrap().len(), 64);
    let (text, _) = desk.run(&["inspect", "image"], 0);
    assert!(text.contains("writer (world backend-writer)") && text.contains("image-store@0.1.2 (open)"), "{text}");
    assert!(desk.run(&["inspect", "image", "--wit"], 0).0.contains("resource image"));
    let noise = desk.file("noise", b"hello");
    assert!(desk.run(&["inspect", &noise], 1).1.contains("not WebAssembly"));
    assert!(desk.run(&["inspect", "nowhere"], 1).1.contains("RSNAP_PLUGIN_PATH"));
    assert_eq!(desk.json(&["check", "nearest-base", "--kind", "policy"])["problem"], serde_json::Value::Null);
}

#[test]
fn a_policy_is_asked_its_own_example() {
    let desk = Desk::new();
    let (question, _) = desk.run(&["run", "nearest-base", "--example"], 0);
    let answer = desk.json(&["run", "nearest-base", &question]);
    assert_eq!(answer["answer"]["decision"]["incremental"], "monday");
    assert!(answer["cost"]["guest_seconds"].as_f64().unwrap() > 0.0);
    let (text, _) = desk.pipe(&["run", "ten-line-policy"], question.as_bytes(), 0);
    assert!(text.starts_with("full: house rule"), "{text}");
    let harm = question.replace("their-volume", "trap");
    let (_, complaint) = desk.pipe(&["run", "hostile-policy"], harm.as_bytes(), 1);
    assert!(complaint.contains("it gave up") && complaint.contains("rsnap plugin test"), "{complaint}");
    let log = question.replace("their-volume", "flood");
    assert!(desk.pipe(&["run", "hostile-policy"], log.as_bytes(), 0).1.contains("line 1"), "its log is not shown");
    desk.pipe(&["run", "hostile-policy"], question.replace("their-volume", "refusal").as_bytes(), 3);
    assert!(desk.pipe(&["run", "nearest-base"], b"{}", 2).1.contains("--example"));
    let file = desk.file("question.json", question.as_bytes());
    assert!(desk.run(&["run", "nearest-base", &file], 2).1.contains(&format!("< {file}")));
}

#[test]
fn a_resolver_is_asked_for_a_site() {
    let desk = Desk::new();
    let sites =
        "[sites.dc1]\nkeystone = \"https://k.example/v3\"\nregion = \"R\"\ngateway = \"https://g.example:8443\"\n";
    let settings = desk.file("sites.toml", sites.as_bytes());
    let site = desk.json(&["run", "static", "dc1", "--settings", &settings]);
    assert_eq!(site["answer"]["gateway"], "https://g.example:8443");
    assert!(desk.run(&["run", "static", "dc9", "--settings", &settings], 3).1.contains("no site called dc9"));
    assert!(desk.run(&["run", "static", "dc1", "--settings", "missing.toml"], 1).1.contains("missing.toml"));
}

#[test]
fn a_writer_stores_what_is_sent_through_it() {
    let desk = Desk::new();
    let first = Image::random(3_000_000, 5);
    let second = first.changed(6, 3);
    let raw = desk.file("first.raw", &first.bytes);
    let of = |writer: &str| desk.json(&["run", writer, "--stream", &raw]);
    let (fast, chunks) = (of("image"), of("chunk-writer"));
    assert_eq!((&fast["chunks"], &chunks["chunks"]), (&false.into(), &true.into()));
    assert_eq!(fast["root"], chunks["root"]);
    assert_eq!((&fast["store"], &fast["image"]), (&"main".into(), &"volume-my-volume".into()));

    let into = ["--into", "out", "--snapshot", "mon"];
    desk.run(&[&["run", "image", "--stream", &raw], &into[..]].concat(), 0);
    let change = Diff::between(Some("mon"), "tue", &first.bytes, &second.bytes);
    let options = ["run", "chunk-writer", "--stream", "-", "--format", "rbd-diff", "--base", "mon", "--into", "out"];
    let (text, _) = desk.pipe(&options, &change, 0);
    assert!(text.contains("a change since mon"), "{text}");
    let whole = desk.file("second.raw", &second.bytes);
    let root = of_whole(&desk, &whole);
    assert!(text.contains(&root), "{root} is not in: {text}");
    assert!(desk.run(&["run", "image", "--stream", "-"], 2).1.contains("--size"));
    assert!(desk.run(&["run", "image"], 2).1.contains("--stream"));
}

fn of_whole(desk: &Desk, path: &str) -> String {
    desk.json(&["run", "image", "--stream", path])["root"].as_str().unwrap().to_owned()
}

#[test]
fn a_running_gateway_tells_what_its_plugins_did() {
    let desk = Desk::new();
    let gateway = with_policy("hostile-policy", "");
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    plan(&gateway, "none").expect(200);
    plan(&gateway, "trap").expect(500);
    let admin = gateway.admin.to_string();
    let list = desk.json(&["list", "--admin", &admin]);
    let policy = &list[1];
    assert_eq!((&policy["kind"], &policy["name"]), (&"policy".into(), &"hostile-policy".into()));
    assert_eq!((&policy["calls"], &policy["failures"], &policy["traps"]), (&3.into(), &1.into(), &1.into()));
    assert!(policy["guest_seconds"].as_f64().unwrap() > 0.0 && policy["memory_peak_bytes"].as_u64().unwrap() > 0);
    assert_eq!((&policy["instances"], &policy["limits"]["instances"]), (&0.into(), &42.into()));
    let (table, _) = desk.run(&["list", "--admin", &format!("http://{admin}/")], 0);
    assert!(table.contains("hostile-policy: last failure") && table.contains("it gave up"), "{table}");

    let metrics = gateway.admin("/metrics").1;
    for line in [
        "rsnap_plugin_calls_total{kind=\"policy\",plugin=\"hostile-policy\"} 3.0\n",
        "rsnap_plugin_traps_total{kind=\"policy\",plugin=\"hostile-policy\"} 1.0\n",
        "rsnap_plugin_instances_limit{kind=\"writer\",plugin=\"image\"} 42.0\n",
        "rsnap_plugin_limit_hits_total{kind=\"policy\",plugin=\"hostile-policy\",limit=\"memory\"} 0.0\n",
        "rsnap_plugin_memory_bytes{kind=\"resolver\",plugin=\"static\"} 0.0\n",
        "rsnap_plugin_loaded{kind=\"writer\",plugin=\"image\",sha256=\"",
    ] {
        assert!(metrics.contains(line), "{line:?} is not in:\n{metrics}");
    }
    assert!(desk.run(&["list", "--admin", "127.0.0.1:1"], 1).1.contains("--admin"));
}

/// A component that exports `export` and imports `imports`, and has nothing in it.
fn hollow(export: &str, imports: &[&str]) -> Vec<u8> {
    let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    wat::parse_str(format!("(component {imports} (instance $i) (export \"{export}\" (instance $i)))")).unwrap()
}

#[test]
fn a_check_says_what_is_wrong_and_what_to_do() {
    let desk = Desk::new();
    let policy = "rsnap:plugin/policy@0.1.0";
    let large = desk.file("large.wasm", b"");
    std::fs::File::options().write(true).open(&large).unwrap().set_len(65 << 20).unwrap();
    let misspelt = desk.file("misspelt.toml", b"no_such_key = 1");
    let harm = |harm: &str| desk.file(&format!("{harm}.toml"), format!("at_load = true\nharm = \"{harm}\"").as_bytes());
    let wrong: Vec<(Vec<String>, &str, &str)> = vec![
        (vec![desk.file("noise.wasm", b"hello")], "not WebAssembly", "path of a component"),
        (vec![desk.file("core.wasm", b"\0asm\x01\0\0\0")], "a core module", "rsnap plugin pack"),
        (
            vec![desk.file("other.wasm", &hollow("wasi:cli/run@0.2.0", &[]))],
            "no plugin of this gateway",
            "the worlds of",
        ),
        (
            vec![desk.file("new.wasm", &hollow("rsnap:plugin/policy@0.2.0", &[]))],
            "this gateway speaks 0.1.2",
            "a build of",
        ),
        (
            vec![desk.file("wasi.wasm", &hollow(policy, &["wasi:cli/environment@0.2.0"]))],
            "it imports wasi",
            "without WASI",
        ),
        (
            vec![desk.file("grab.wasm", &hollow(policy, &["rsnap:plugin/image-store@0.1.0"]))],
            "the world chain-policy does not give",
            "build it for the world",
        ),
        (vec![desk.file("hollow.wasm", &hollow(policy, &[]))], "does not fit the world", "build it for the world"),
        (vec!["nearest-base".into(), "--kind".into(), "writer".into()], "it is a policy", "under [plugins.policy]"),
        (vec![large], "larger than 64 MiB", "strip it"),
        (vec!["nearest-base".into(), "--settings".into(), misspelt], "no_such_key", "[plugins.policy.settings]"),
        (vec!["hostile-policy".into(), "--settings".into(), harm("memory")], "more memory", "raise the key memory"),
        (vec!["hostile-policy".into(), "--settings".into(), harm("trap")], "it gave up", "[plugins.policy.settings]"),
    ];
    for (arguments, fault, remedy) in wrong {
        let arguments: Vec<&str> = ["check"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let (text, _) = desk.run(&arguments, 1);
        let result = text.lines().find(|line| line.starts_with("result")).unwrap_or_else(|| panic!("{text}"));
        assert!(result.contains(fault) && result.contains(remedy), "{arguments:?}: {result}");
    }
    let (good, _) = desk.run(&["check", "image"], 0);
    assert!(good.contains("result     good") && good.contains("grant it stores under [plugins.writer]"), "{good}");
    let tight = desk.run(&["check", "nearest-base", "--memory", "2MiB"], 0).0;
    assert!(tight.contains("before the first call"), "{tight}");
}

#[test]
fn a_bench_shows_what_a_plugin_costs() {
    let desk = Desk::new();
    let found = desk.json(&["bench", "chunk-writer", "--amount", "4MiB", "--rounds", "1", "--call-timeout", "60s"]);
    for figure in ["instance_microseconds", "call_microseconds", "compiled_in_megabytes_per_second"] {
        assert!(found[figure]["median"].as_f64().unwrap() > 0.0, "{figure} in {found}");
    }
    let (text, _) = desk.run(&["bench", "nearest-base", "--call-timeout", "60s"], 0);
    assert!(text.contains("a decision over 10,000 snapshots"), "{text}");
}
