//! The example configurations: valid as they are, and a gateway starts with each once its files are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::authority::Authority;
use crate::support::{admin_get, binary, components, free_address, scratch, wait_for};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    files
}

fn check(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(binary());
    command.args(["config", "check"]).args(arguments).arg(file);
    command.env("RSNAP_PLUGIN_PATH", components("plugins")).output().unwrap()
}

/// Puts what an example names into `folder`, and gives the example that names it there.
fn furnished(example: &Path, folder: &Path) -> String {
    for name in ["etc", "lib", "log"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let file = |name: &str| folder.join("etc").join(name);
    Authority::new(folder)
        .issue(&["gw1.example.org", "rsnap.example.org"])
        .write(&file("gateway.pem"), &file("gateway.key"));
    for (number, name) in
        ["cinder.token", "operator.token", "ticket.key", "etcd.password", "ceph.keyring"].iter().enumerate()
    {
        fs::write(file(name), number.to_string().repeat(64)).unwrap();
    }
    fs::copy(folder.join("authority.pem"), file("etcd-authority.pem")).unwrap();
    let mut text = fs::read_to_string(example).unwrap();
    for (path, name) in [("/etc/rsnap", "etc"), ("/var/lib/rsnap", "lib"), ("/var/log/rsnap", "log")] {
        text = text.replace(&format!("\"{path}"), &format!("\"{}", folder.join(name).display()));
    }
    text
}

#[test]
fn the_examples_are_valid_and_a_gateway_starts_with_each() {
    for example in examples() {
        let output = check(&["--text-only"], &example);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let file = folder.path().join("rsnap.toml");
        fs::write(&file, furnished(&example, folder.path())).unwrap();
        let output = check(&[], &file);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !told.contains("wrong"), "{}: {told}", example.display());
        assert!(told.contains("tls.certificate") && told.contains("auth.tokens.cinder"), "{told}");
        fs::write(&file, with_files(&fs::read_to_string(&file).unwrap(), folder.path())).unwrap();
        start(&file, folder.path());
    }
}

/// The last table of each example is its store: here there is no Ceph.
fn with_files(example: &str, folder: &Path) -> String {
    let (before, _) = example.split_once("\n[stores.main]").unwrap();
    format!("{before}\n[stores.main]\nkind = \"file\"\npath = {:?}\n", folder.join("store"))
}

/// A gateway that is gone when this is.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// On ports of this machine, whatever the example says; it starts without the etcd that the example names.
fn start(file: &Path, folder: &Path) {
    let (listen, admin) = (free_address(), free_address());
    let log = folder.join("messages");
    let output = fs::File::create(&log).unwrap();
    let mut command = Command::new(binary());
    command.args(["serve", "--config"]).arg(file).args(["--listen", &listen.to_string()]);
    command.args(["--admin", &admin.to_string()]).env("RSNAP_PLUGIN_PATH", components("plugins"));
    let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let mut started = Started(child);
    wait_for("the readiness of the example's gateway", || {
        assert!(started.0.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&log).unwrap());
        admin_get(admin, "/readyz").is_ok_and(|(status, _)| status == 200)
    });
}
