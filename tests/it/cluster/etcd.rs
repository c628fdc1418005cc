//! etcd as the distribution ships it: processes of our own that can be stopped, killed and cut off.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{
    Certificate, Client, CompactionOptions, ConnectOptions, Error, GetOptions, Identity, KeyValue, PutOptions,
    TlsOptions,
};

use crate::deploy::authority::Authority;
use crate::support::{free_address, scratch, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// How the members are reached.
#[derive(Clone)]
pub enum Security {
    Plain,
    /// Both sides show certificates of this authority, which are in this folder.
    Certificates(PathBuf),
}

struct Node {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
}

/// One etcd of one or several members.
pub struct Etcd {
    nodes: Vec<Node>,
    security: Security,
    user: Option<(String, String)>,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Etcd {
    pub fn start(members: usize) -> Self {
        let addresses = (0..members).map(|_| (free_address(), free_address())).collect();
        Self::start_at(addresses, Security::Plain, |_| Command::new("etcd"))
    }

    /// With TLS on the way to the gateways.
    pub fn start_with_certificates() -> Self {
        let folder = tempfile::Builder::new().prefix("rsnap-tls-").tempdir_in(scratch()).unwrap().keep();
        let authority = Authority::new(&folder);
        authority.issue(&["localhost", "127.0.0.1"]).write(&folder.join("etcd.pem"), &folder.join("etcd.key"));
        authority.issue(&["gateway"]).write(&folder.join("gateway.pem"), &folder.join("gateway.key"));
        let addresses = vec![(free_address(), free_address())];
        Self::start_at(addresses, Security::Certificates(folder), |_| Command::new("etcd"))
    }

    /// Members that listen for clients and for each other at these addresses, each started by the command given.
    pub fn start_at(
        addresses: Vec<(SocketAddr, SocketAddr)>,
        security: Security,
        program: impl Fn(usize) -> Command,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("rsnap-etcd-").tempdir().unwrap();
        let node = |(number, (client, peer)): (usize, (SocketAddr, SocketAddr))| {
            let name = format!("n{number}");
            Node { name, client, peer, child: None }
        };
        let nodes = addresses.into_iter().enumerate().map(node).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut etcd = Self { nodes, security, user: None, runtime, folder };
        for number in 0..etcd.nodes.len() {
            etcd.spawn(number, program(number));
        }
        etcd.wait_ready();
        etcd
    }

    pub fn wait_ready(&self) {
        for number in 0..self.nodes.len() {
            wait_for("etcd", || self.nodes[number].child.is_none() || self.leader_seen_by(number).is_some());
        }
    }

    fn scheme(&self) -> &'static str {
        if matches!(self.security, Security::Plain) { "http" } else { "https" }
    }

    fn spawn(&mut self, number: usize, mut command: Command) {
        let scheme = self.scheme();
        let cluster: Vec<String> =
            self.nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer)).collect();
        let node = &self.nodes[number];
        let log = self.folder.path().join(format!("{}.log", node.name));
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command
            .args(["--name", &node.name, "--logger", "zap", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(self.folder.path().join(&node.name))
            .args(["--listen-client-urls", &format!("{scheme}://{}", node.client)])
            .args(["--advertise-client-urls", &format!("{scheme}://{}", node.client)])
            .args(["--listen-peer-urls", &format!("http://{}", node.peer)])
            .args(["--initial-advertise-peer-urls", &format!("http://{}", node.peer)])
            .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"]);
        if let Security::Certificates(folder) = &self.security {
            command.arg("--cert-file").arg(folder.join("etcd.pem")).arg("--key-file").arg(folder.join("etcd.key"));
            command.arg("--trusted-ca-file").arg(folder.join("authority.pem")).arg("--client-cert-auth");
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.nodes[number].child = Some(child.expect("etcd is not installed: apt-get install etcd-server"));
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// SIGKILL.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.nodes[number].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn kill_all(&mut self) {
        (0..self.nodes.len()).for_each(|number| self.kill(number));
    }

    /// Starts a member again on what it has on disk.
    pub fn restart(&mut self, number: usize) {
        self.kill(number);
        self.spawn(number, Command::new("etcd"));
    }

    /// SIGSTOP or SIGCONT: its connections stay, and nothing comes out of them.
    pub fn signal(&self, number: usize, name: &str) {
        let Some(child) = &self.nodes[number].child else { return };
        assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
    }

    pub fn address(&self, number: usize) -> SocketAddr {
        self.nodes[number].client
    }

    /// The `[etcd]` table of a gateway that uses this etcd.
    pub fn table(&self, more: &str) -> String {
        let scheme = self.scheme();
        let endpoints: Vec<String> = self.nodes.iter().map(|node| format!("{scheme}://{}", node.client)).collect();
        self.table_at(&endpoints, more)
    }

    pub fn table_at(&self, endpoints: &[String], more: &str) -> String {
        let mut table = format!("[etcd]\nendpoints = {endpoints:?}\n{more}\n");
        if let Security::Certificates(folder) = &self.security {
            let path = |name| folder.join(name);
            table += &format!("ca = {:?}\n", path("authority.pem"));
            table += &format!("certificate = {:?}\nkey = {:?}\n", path("gateway.pem"), path("gateway.key"));
        }
        table
    }

    /// From now on the tests call as this user.
    pub fn act_as(&mut self, user: &str, password: &str) {
        self.user = Some((user.to_owned(), password.to_owned()));
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
        if let Some((user, password)) = &self.user {
            options = options.with_user(user, password);
        }
        if let Security::Certificates(folder) = &self.security {
            let read = |name| fs::read(folder.join(name)).unwrap();
            let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("authority.pem")));
            options = options.with_tls(tls.identity(Identity::from_pem(read("gateway.pem"), read("gateway.key"))));
        }
        options
    }

    /// Asks one member.
    fn ask_member<T>(&self, number: usize, ask: impl AsyncFnOnce(Client) -> Result<T, Error>) -> Result<T, Error> {
        let url = format!("{}://{}", self.scheme(), self.nodes[number].client);
        let work = async {
            let client = Client::connect([url], Some(self.options())).await?;
            ask(client).await
        };
        let limited = async { tokio::time::timeout(Duration::from_secs(5), work).await };
        self.runtime.block_on(limited).unwrap_or_else(|_| Err(Error::Internal("no answer".to_owned())))
    }

    /// Asks whoever answers, for as long as it takes.
    #[track_caller]
    pub fn ask<T>(&self, ask: impl AsyncFn(Client) -> Result<T, Error>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            for number in (0..self.nodes.len()).filter(|number| self.nodes[*number].child.is_some()) {
                match self.ask_member(number, &ask) {
                    Ok(answer) => return answer,
                    Err(fault) => last = fault.to_string(),
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("etcd does not answer: {last}");
    }

    fn leader_seen_by(&self, number: usize) -> Option<u64> {
        let status = self.ask_member(number, async |mut client| client.status().await).ok()?;
        (status.leader() != 0).then(|| status.leader())
    }

    /// The member that leads now.
    pub fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for number in (0..self.nodes.len()).filter(|number| self.nodes[*number].child.is_some()) {
                let status = self.ask_member(number, async |mut client| client.status().await);
                let Ok(status) = status else { continue };
                if status.leader() != 0 && status.header().is_some_and(|header| header.member_id() == status.leader()) {
                    return number;
                }
            }
        }
        panic!("etcd has no leader");
    }

    #[track_caller]
    pub fn pair(&self, key: &str) -> Option<KeyValue> {
        self.ask(async |mut client| Ok(client.get(key, None).await?.kvs().first().cloned()))
    }

    #[track_caller]
    pub fn get(&self, key: &str) -> Option<String> {
        self.pair(key).map(|pair| String::from_utf8_lossy(pair.value()).into_owned())
    }

    #[track_caller]
    pub fn put(&self, key: &str, value: &str) {
        self.ask(async |mut client| client.put(key, value, None).await);
    }

    /// Writes under the lease of another key, as only its owner should.
    #[track_caller]
    pub fn put_under(&self, key: &str, value: &str, lease: i64) {
        self.ask(async |mut client| client.put(key, value, Some(PutOptions::new().with_lease(lease))).await);
    }

    #[track_caller]
    pub fn delete(&self, key: &str) {
        self.ask(async |mut client| client.delete(key, None).await);
    }

    /// The addresses below `/rsnap/servers/` with their values.
    #[track_caller]
    pub fn servers(&self) -> BTreeMap<String, String> {
        let all =
            self.ask(async |mut client| client.get("/rsnap/servers/", Some(GetOptions::new().with_prefix())).await);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entry = |pair: &KeyValue| (text(pair.key()).replace("/rsnap/servers/", ""), text(pair.value()));
        all.kvs().iter().map(entry).collect()
    }

    /// The time that was granted to a lease.
    pub fn granted(&self, lease: i64) -> i64 {
        self.ask(async |mut client| client.lease_time_to_live(lease, None).await).granted_ttl()
    }

    pub fn revoke(&self, lease: i64) {
        self.ask(async |mut client| client.lease_revoke(lease).await);
    }

    /// Forgets all history.
    pub fn compact(&self) {
        self.ask(async |mut client| {
            let revision = client.get("/", None).await?.header().unwrap().revision();
            client.compact(revision, Some(CompactionOptions::new().with_physical())).await
        });
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill_all();
        if let Security::Certificates(folder) = &self.security {
            let _ = fs::remove_dir_all(folder);
        }
    }
}
