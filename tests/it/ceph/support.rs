//! A site with a Ceph cluster: what lies there, and a gateway that writes to it.

use std::ops::Deref;
use std::process::{Command, Output};
use std::sync::Arc;

use rsnap_test_ceph::Cluster;

use crate::support::{Diff, Gateway, Options, Upload};

pub const POOL: &str = "volumes";

/// A cluster that all tests share, or one of a test's own.
#[derive(Clone)]
enum Held {
    Shared(&'static Cluster),
    Own(Arc<Cluster>),
}

impl Deref for Held {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        match self {
            Self::Shared(cluster) => cluster,
            Self::Own(cluster) => cluster,
        }
    }
}

/// A namespace of a cluster, for one test.
#[derive(Clone)]
pub struct Site {
    cluster: Held,
    namespace: String,
}

/// A line of `rbd snap ls --all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: u64,
    pub name: String,
    pub size: u64,
    pub protected: bool,
}

impl Site {
    pub fn source() -> Self {
        Self::new(Held::Shared(Cluster::shared()))
    }

    pub fn target() -> Self {
        Self::new(Held::Shared(Cluster::shared_other()))
    }

    /// On a cluster of its own.
    pub fn own(options: &rsnap_test_ceph::Options) -> Self {
        Self::new(Held::Own(Arc::new(Cluster::start(options).unwrap())))
    }

    fn new(cluster: Held) -> Self {
        let namespace = cluster.namespace(POOL).unwrap();
        Self { cluster, namespace }
    }

    /// Another namespace of the same cluster.
    pub fn another(&self) -> Self {
        Self::new(self.cluster.clone())
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of an image or snapshot as `rbd` wants it.
    pub fn at(&self, image: &str) -> String {
        format!("{POOL}/{}/{image}", self.namespace)
    }

    /// Runs `rbd` with `words`, in which `@` before a name is replaced: `@vol` is this site's image `vol`.
    #[track_caller]
    pub fn rbd(&self, line: &str) -> String {
        self.try_rbd(line).unwrap()
    }

    pub fn try_rbd(&self, line: &str) -> Result<String, String> {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| word.strip_prefix('@').map_or(word.to_owned(), |i| self.at(i)))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.cluster.rbd(&words).map_err(|error| format!("{error:#}"))
    }

    pub fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.rbd(&format!("{line} --format json"))).unwrap()
    }

    /// Applies an rbd-diff stream by `rbd import-diff`.
    #[track_caller]
    pub fn apply(&self, image: &str, stream: &[u8]) {
        self.try_apply(image, stream).unwrap();
    }

    pub fn try_apply(&self, image: &str, stream: &[u8]) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), stream).unwrap();
        self.try_rbd(&format!("import-diff --no-progress {} @{image}", file.path().display())).map(drop)
    }

    /// Writes to the head, as a guest would.
    #[track_caller]
    pub fn write(&self, image: &str, offset: u64, bytes: &[u8]) {
        let size = self.size(image);
        self.apply(image, &Diff::new(None, None, size).write(offset, bytes).end());
    }

    pub fn size(&self, image: &str) -> u64 {
        self.json(&format!("info @{image}"))["size"].as_u64().unwrap()
    }

    #[track_caller]
    pub fn digest(&self, image: &str) -> String {
        self.cluster.digest(&self.at(image)).unwrap()
    }

    /// The stream of `rbd export-diff`.
    pub fn export_diff(&self, from: Option<&str>, snapshot: &str) -> Vec<u8> {
        let mut command = self.cluster.command("rbd").unwrap();
        command.args(["export-diff", "--no-progress"]).args(from.map(|from| format!("--from-snap={from}")));
        let output = command.args([&self.at(snapshot), "-"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Whether somebody holds the exclusive lock.
    pub fn is_locked(&self, image: &str) -> bool {
        let locks = self.try_rbd(&format!("lock ls @{image} --format json"));
        locks.is_ok_and(|locks| !matches!(locks.trim(), "" | "[]" | "{}"))
    }

    pub fn snapshots(&self, image: &str) -> Vec<Listed> {
        let listed = self.json(&format!("snap ls --all @{image}"));
        let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let one = |entry: &serde_json::Value| Listed {
            id: entry["id"].as_u64().unwrap(),
            name: text(entry, "name"),
            size: entry["size"].as_u64().unwrap(),
            protected: text(entry, "protected") == "true",
        };
        listed.as_array().unwrap().iter().map(one).collect()
    }

    /// Everything of an image that counts: its size, its snapshots with their digests, its metadata.
    pub fn state(&self, image: &str) -> Vec<String> {
        let mut state = vec![format!("size {}", self.size(image)), self.rbd(&format!("image-meta ls @{image}"))];
        for listed in self.snapshots(image) {
            state.push(format!("{listed:?} {}", self.digest(&format!("{image}@{}", listed.name))));
        }
        state
    }

    /// [`Site::state`] without the number of the last transfer, which one that comes later and changes nothing raises.
    pub fn state_that_counts(&self, image: &str) -> Vec<String> {
        let lines = self.state(image).into_iter().flat_map(|part| part.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| !line.contains("rsnap.generation") && !line.contains("metadat")).collect()
    }

    /// The table of a store in this namespace, with further lines.
    pub fn store(&self, lines: &str) -> String {
        format!(
            "kind = \"rbd\"\nconfiguration = {:?}\npool = \"{POOL}\"\nnamespace = \"{}\"\n{lines}",
            self.cluster.configuration(),
            self.namespace
        )
    }

    /// A gateway that writes to this namespace.
    pub fn gateway(&self) -> Gateway {
        self.gateway_with("", Options::default())
    }

    pub fn gateway_with(&self, lines: &str, options: Options) -> Gateway {
        Gateway::start_with(&Options { store: Some(self.store(lines)), ..options })
    }

    /// `rsnap send` of a snapshot of this site, with all that is needed to find it.
    pub fn send(&self, gateway: &Gateway, snapshot: &str, volume: &str, name: &str, bases: &[&str]) -> Command {
        let source = format!("rbd:{}", self.at(snapshot));
        let mut command = gateway.command(&["send", &source, "--volume", volume, "--snapshot", name, "--json"]);
        let (image, _) = snapshot.split_once('@').unwrap();
        for base in bases {
            command.arg("--base").arg(format!("{base}=rbd:{}", self.at(&format!("{image}@{base}"))));
        }
        command.env("CEPH_CONF", self.cluster.configuration()).env_remove("CEPH_ARGS");
        command
    }

    /// Sends image `vol`'s snapshot under its own name to volume `v`, and gives what was committed.
    #[track_caller]
    pub fn sent(&self, gateway: &Gateway, snapshot: &str) -> serde_json::Value {
        committed(self.send(gateway, &format!("vol@{snapshot}"), "v", snapshot, &[]).output().unwrap())
    }
}

/// The snapshot that a successful `rsnap send` has made.
#[track_caller]
pub fn committed(output: Output) -> serde_json::Value {
    let answer = succeeded(output);
    assert_eq!(answer["outcome"], "committed", "{answer}");
    answer["snapshots"][0].clone()
}

/// The last object that a command printed.
#[track_caller]
pub fn succeeded(output: Output) -> serde_json::Value {
    let (answers, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{}: {answers}{errors}", output.status);
    assert!(!errors.contains("stays protected"), "{errors}");
    serde_json::from_str(answers.lines().last().unwrap()).unwrap()
}

/// What a gateway with this store says to a transfer that it cannot take: at its start, or in its log.
pub fn refusal(store: &str) -> String {
    let options = Options { store: Some(store.to_owned()), ..Options::default() };
    let gateway = match std::panic::catch_unwind(|| Gateway::start_with(&options)) {
        Ok(gateway) => gateway,
        Err(panic) => return panic.downcast_ref::<String>().unwrap().clone(),
    };
    let body = Diff::full("s1", &[7; 100_000]);
    let path = "/v1/volumes/v/snapshots/s1".to_owned();
    let content_type = Some("application/vnd.ceph.rbd-diff");
    let answer = gateway.client().put(&Upload { path, content_type, body: &body, ..Upload::default() });
    assert_eq!(answer.problem(), "storage", "{answer:?}");
    gateway.log()
}

/// As the judge prints it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A client that holds an image's exclusive lock and writes, as a virtual machine does.
pub struct Lock {
    image: rsnap_rbd::Image,
    runtime: tokio::runtime::Runtime,
}

impl Lock {
    pub fn take(site: &Site, image: &str) -> Self {
        let library = rsnap_rbd::Library::load().unwrap();
        let configuration = Some(site.cluster().configuration().to_owned());
        let settings = rsnap_rbd::Settings { configuration, ..rsnap_rbd::Settings::default() };
        let cluster = rsnap_rbd::Cluster::connect(&library, &settings).unwrap();
        let pool = cluster.pool(POOL, Some(site.namespace())).unwrap();
        let image = pool.open(image, rsnap_rbd::Mode::ReadWrite, None).unwrap();
        image.acquire_lock().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { image, runtime }
    }

    pub fn write(&self, offset: u64, bytes: &'static [u8]) {
        self.runtime.block_on(self.image.write(offset, bytes.to_vec(), 0..bytes.len())).unwrap();
    }
}
