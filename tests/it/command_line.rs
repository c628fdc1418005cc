//! The command line against a real gateway: what users type, what they read, and with which code it ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Diff, Gateway, Image, Options, binary, rbd_export};

const SITES: &str = "[plugins.resolver]\ncomponent = \"static\"\n[plugins.resolver.settings.sites.dc1]\n\
                     keystone = \"https://keystone.example/v3\"\nregion = \"R\"\ngateway = \"https://gw.example:8443\"";

/// A gateway and a folder with images.
struct Desk {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let options = Options { extra: SITES.to_owned(), ..Options::default() };
        Self { gateway: Gateway::start_with(&options), folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What is in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.gateway.command(&line.split_whitespace().collect::<Vec<_>>());
        command.current_dir(self.folder.path());
        command
    }

    /// Runs the command and holds it to its exit code; gives both of its outputs.
    fn run(&self, line: &str, code: i32) -> (Vec<u8>, String) {
        checked(line, self.command(line).output().unwrap(), code)
    }

    /// The command with `input` on standard input.
    fn pipe(&self, line: &str, input: &[u8], code: i32) -> (Vec<u8>, String) {
        let mut command = self.command(line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A refusal leaves the pipe unread.
        drop(child.stdin.take().unwrap().write_all(input));
        checked(line, child.wait_with_output().unwrap(), code)
    }

    fn text(&self, line: &str, code: i32) -> String {
        let (answers, errors) = self.run(line, code);
        String::from_utf8(answers).unwrap() + &errors
    }

    fn restored(&self, volume: &str, snapshot: &str) -> Vec<u8> {
        self.run(&format!("restore --volume {volume} --snapshot {snapshot} -"), 0).0
    }
}

fn checked(line: &str, output: Output, code: i32) -> (Vec<u8>, String) {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
    (output.stdout, errors)
}

#[test]
fn a_snapshot_goes_and_comes_back_and_goes_away() {
    let desk = Desk::new();
    let first = Image::random(3_000_000, 1);
    let second = first.changed(2, 3);
    desk.file("one.raw", &first.bytes);
    desk.file("two.raw", &second.bytes);
    assert!(desk.text("plan one.raw --volume v --snapshot s1", 0).contains("plan: full"));
    desk.run("send one.raw --volume v --snapshot s1", 0);
    let sent = desk.text("send two.raw --volume v --snapshot s2 --base one=one.raw", 0);
    assert!(sent.contains("incremental since s1"), "{sent}");
    assert!(desk.text("send two.raw --volume v --snapshot s2", 0).contains("is there already"));
    let other = desk.text("send one.raw --volume v --snapshot s2", 3);
    assert!(other.contains("with other content"), "{other}");

    for line in ["chain --volume v", "servers", "plan two.raw --volume v --snapshot s2", "sites dc1"] {
        let answer = desk.run(&format!("{line} --json"), 0).0;
        assert_eq!(answer.iter().filter(|byte| **byte == b'\n').count(), 1, "{line}");
        assert_eq!(answer.last(), Some(&b'\n'), "{line}");
    }
    let chain: serde_json::Value = serde_json::from_slice(&desk.run("chain --volume v --json", 0).0).unwrap();
    assert_eq!((&chain["snapshots"][1]["snapshot"], &chain["snapshots"][1]["base"]), (&"s2".into(), &"s1".into()));
    desk.run("restore --volume v --snapshot s2 back.raw", 0);
    assert!(fs::read(desk.folder.path().join("back.raw")).unwrap() == second.bytes);
    desk.run("restore --volume v --snapshot s1 back.raw", 2);
    assert!(desk.restored("v", "s1") == first.bytes);

    desk.run("delete --volume v --snapshot s1", 0);
    desk.run("delete --volume v --snapshot s1", 3);
    assert!(desk.text("restore --volume v --snapshot s1 none.raw", 3).contains("rsnap chain"));
    assert!(desk.restored("v", "s2") == second.bytes);
    assert!(desk.text("chain --volume nothing", 0).contains("no snapshots"));
}

/// A name that begins with a dot is seen by nobody, and is as large as the volume.
#[test]
fn an_interrupted_restore_leaves_nothing() {
    let desk = Desk::new();
    desk.file("one.raw", &Image::random(8_000_000, 5).bytes);
    desk.run("send one.raw --volume v --snapshot s1", 0);
    for signal in ["-INT", "-TERM"] {
        let mut restore = desk.command("restore --volume v --snapshot s1 back.raw --limit 64KiB");
        let child = Running(restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while desk.names().len() < 2 {
            assert!(Instant::now() < deadline, "the restore has not begun");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (_, errors) = checked(signal, child.end(signal), 130);
        assert!(errors.contains("rsnap: interrupted. Nothing of it is left"), "{errors}");
        assert_eq!(desk.names(), ["one.raw"], "after {signal}");
    }
}

/// A child that does not outlive the test.
struct Running(Child);

impl Running {
    fn end(mut self, signal: &str) -> Output {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut errors = Vec::new();
        self.0.stderr.take().unwrap().read_to_end(&mut errors).unwrap();
        Output { status: self.0.wait().unwrap(), stdout: Vec::new(), stderr: errors }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn streams_of_ceph_go_in_through_a_pipe() {
    let desk = Desk::new();
    let first = Image::random(700_000, 3);
    let second = first.changed(4, 3);
    let links = [("a", None, &first.bytes[..]), ("b", Some(("a", &first.bytes[..])), &second.bytes[..])];
    let chain = rbd_export(&links);
    let path = desk.file("chain", &chain);
    desk.pipe("send - --format rbd-export --volume piped --snapshot t1,t2", &chain, 0);
    desk.run(&format!("send {} --format rbd-export --volume filed --snapshot t1,t2", path.display()), 0);
    for volume in ["piped", "filed"] {
        assert!(desk.restored(volume, "t1") == first.bytes, "{volume}");
        assert!(desk.restored(volume, "t2") == second.bytes, "{volume}");
    }
    let (_, errors) = desk.pipe("send - --format rbd-export --volume w --snapshot t1", &chain, 2);
    assert!(errors.contains("2 snapshots"), "{errors}");
    desk.pipe("send - --format rbd-export --volume w --snapshot t1,t2", &chain[..chain.len() - 1], 5);

    desk.pipe("send - --format rbd-diff --volume d --snapshot s1", &Diff::full("a", &first.bytes), 0);
    let change = Diff::between(Some("a"), "b", &first.bytes, &second.bytes);
    desk.pipe("send - --format rbd-diff --volume d --snapshot s2", &change, 0);
    assert!(desk.restored("d", "s2") == second.bytes);
    desk.pipe("send - --format rbd-diff --volume elsewhere --snapshot s2", &change, 3);
    let (back, _) = desk.run("restore --volume d --snapshot s2 --format rbd-diff --base s1 -", 0);
    assert!(Diff::apply(&back, &first.bytes) == second.bytes);
}

#[test]
fn every_failure_has_its_code_and_says_what_to_do() {
    let desk = Desk::new();
    desk.file("image.raw", &[1; 5000]);
    desk.file("bad.token", b"nobody-knows-this-token");
    assert!(desk.text("sites dc1", 0).contains("https://gw.example:8443"));
    assert!(desk.text("servers", 0).contains(&desk.gateway.address.to_string()));
    for (line, code, remedy) in [
        ("sites dc9", 3, "resolver"),
        ("chain --volume v --token-file bad.token", 4, "--token-file"),
        ("chain --volume v --token-file missing.token", 1, "permissions"),
        ("chain --volume v --gateway https://127.0.0.1:1", 1, "--gateway"),
        ("chain --volume v --gateway http://127.0.0.1:1", 2, "https://"),
        ("chain --volume v --ca image.raw", 2, "--ca"),
        ("send missing.raw --volume v --snapshot s", 1, "path"),
        ("send image.raw --volume v --snapshot s --format rbd-diff", 5, "rbd export-diff"),
        ("send - --volume v --snapshot s", 2, "--size"),
        ("restore --volume v --snapshot s - --base b", 2, "--format rbd-diff"),
        ("restore --volume v --snapshot s - --format rbd-diff", 3, "rsnap chain"),
    ] {
        let errors = desk.run(line, code).1;
        assert!(errors.starts_with("rsnap: ") && errors.contains(remedy), "{line}: {errors}");
    }
    let stranger = Gateway::start();
    let untrusted = format!("chain --volume v --ca {}", stranger.certificate().display());
    assert!(desk.text(&untrusted, 4).contains("--ca FILE"));
    let output = desk.command("servers").env_remove("RSNAP_GATEWAY").output().unwrap();
    assert!(checked("servers", output, 2).1.contains("RSNAP_GATEWAY"));
}

#[test]
fn a_gateway_that_cannot_start_says_why() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let serve = |arguments: &[&str]| {
        let output = Command::new(binary()).arg("serve").args(arguments).current_dir(folder.path()).output().unwrap();
        checked(&arguments.join(" "), output, 1).1
    };
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
    };
    write("misspelt.toml", "[gateway]\nsiet = \"x\"\n");
    assert!(serve(&["--config", "misspelt.toml"]).contains("siet"));
    write("file", "");
    assert!(serve(&["--data", "file"]).contains("--data"));
    assert!(Path::new(folder.path()).join("file").is_file());
    write("plugin.toml", "[plugins.policy]\ncomponent = \"no-such-policy\"\n");
    let errors = serve(&["--config", "plugin.toml", "--data", "data"]);
    assert!(errors.contains("no-such-policy.wasm") && errors.contains("RSNAP_PLUGIN_PATH"), "{errors}");
    let plugins = crate::support::components("plugins");
    write("path.toml", &format!("[plugins]\npath = [{plugins:?}]\n"));
    let taken = gateway.address.to_string();
    let errors = serve(&["--config", "path.toml", "--data", "data", "--listen", &taken, "--admin", "127.0.0.1:0"]);
    assert!(errors.contains("in use") && errors.contains("--listen"), "{errors}");
}

#[test]
fn a_configuration_is_checked_with_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let check = |arguments: &[&str], code: i32| {
        let output = Command::new(binary()).args(["config", "check"]).args(arguments).output().unwrap();
        checked(&arguments.join(" "), output, code)
    };
    let file = path("rsnap.toml");
    let file = file.to_str().unwrap();
    let plugins = crate::support::components("plugins");
    let configured = |policy: &str| {
        format!(
            "[gateway]\ndata = {:?}\n[tls]\ncertificate = {:?}\nkey = {:?}\n[auth]\naudit = {:?}\n\
             tokens = [{{ name = \"cinder\", role = \"ticket\", file = {:?} }}]\n\
             ticket_keys = [{{ id = \"k1\", file = {:?} }}]\n[stores.main]\nkind = \"file\"\npath = {:?}\n\
             [plugins]\npath = [{plugins:?}]\n[plugins.policy]\ncomponent = \"{policy}\"\n",
            path("data"),
            path("gateway.pem"),
            path("gateway.key"),
            path("nowhere/audit.log"),
            path("cinder.token"),
            path("ticket.key"),
            path("cinder.token/store"),
        )
    };
    fs::write(file, configured("no-such-policy")).unwrap();
    fs::write(path("cinder.token"), "short").unwrap();
    let (told, errors) = check(&[file], 1);
    let told = String::from_utf8(told).unwrap();
    for (key, fault) in [
        ("good   gateway.data: ", ""),
        ("wrong  tls.certificate", "gateway.pem"),
        ("wrong  auth.tokens.cinder", "5 bytes"),
        ("wrong  auth.ticket_keys.k1", "ticket.key"),
        ("wrong  auth.audit", "directory"),
        ("wrong  stores.main.path", "not a directory"),
        ("good   plugins.writer: image", ""),
        ("wrong  plugins.policy: no-such-policy", "RSNAP_PLUGIN_PATH"),
        ("good   plugins.resolver: static", ""),
    ] {
        assert!(told.lines().any(|line| line.starts_with(key) && line.contains(fault)), "{key}: {told}");
    }
    assert!(errors.contains("cannot start"), "{errors}");
    assert!(!path("data").exists(), "a check has made something");

    let (json, _) = check(&[file, "--json"], 1);
    assert_eq!(json.last(), Some(&b'\n'));
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((json["checked"].as_array().unwrap().len(), &json["problem"]), (9, &serde_json::Value::Null));
    check(&[file, "--text-only"], 0);

    fs::write(file, configured("nearest-base").replace("nowhere/", "").replace("cinder.token/store", "store")).unwrap();
    let signed = rcgen::generate_simple_self_signed(vec!["gw.example".to_owned()]).unwrap();
    fs::write(path("gateway.pem"), signed.cert.pem()).unwrap();
    fs::write(path("gateway.key"), signed.signing_key.serialize_pem()).unwrap();
    for name in ["cinder.token", "ticket.key"] {
        fs::write(path(name), "x".repeat(40)).unwrap();
    }
    assert!(String::from_utf8(check(&[file], 0).0).unwrap().contains("and so is what it names"));
    fs::write(file, "[gateway]\nsiet = \"x\"\n").unwrap();
    assert!(check(&[file], 1).1.contains("siet"));
}
