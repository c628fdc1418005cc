//! Several gateways of one site: one directory of snapshots, one etcd, one authority, one set of tokens and ticket keys.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::authority::Authority;
use crate::cluster::etcd::Etcd;
use crate::support::{Client, Gateway, Options, binary};

/// The name of the address before the gateways.
pub const NAME: &str = "rsnap.example";
/// Whom the gateways know by a certificate of the site's authority.
pub const CINDER: &str = "spiffe://dc2.example/cinder";
const TOKEN: &str = "the-token-of-this-site-of-enough-length";

pub struct Site {
    pub gateways: Vec<Gateway>,
    pub authority: Authority,
    folder: tempfile::TempDir,
    _etcd: Option<Etcd>,
}

impl Site {
    /// Starts `count` gateways; `listen` are keys for the `[listen]` table of each.
    pub fn start(count: usize, listen: &str) -> Self {
        Self::start_each(&vec![listen.to_owned(); count])
    }

    /// Starts a gateway with each of these keys in its `[listen]` table, and an etcd for them.
    pub fn start_each(listen: &[String]) -> Self {
        let etcd = Etcd::start(1);
        let tables = etcd.table("");
        Self { _etcd: Some(etcd), ..Self::open(listen, &tables) }
    }

    /// As [`Site::start`], with these tables for the configuration of each instead of an etcd of its own.
    pub fn start_with(count: usize, listen: &str, tables: &str) -> Self {
        Self::open(&vec![listen.to_owned(); count], tables)
    }

    fn open(listen: &[String], tables: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("rsnap-site-").tempdir_in(crate::support::scratch()).unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::new(folder.path());
        authority.issue(&[NAME, "127.0.0.1"]).write(&path("site.pem"), &path("site.key"));
        fs::write(path("token"), TOKEN).unwrap();
        fs::write(path("ticket.key"), "k".repeat(40)).unwrap();
        let start = |listen: &String| Gateway::start_with(&options(folder.path(), listen, tables));
        let gateways = listen.iter().map(start).collect();
        Self { gateways, authority, folder, _etcd: None }
    }

    /// As [`Site::start_with`], with variables for the processes.
    pub fn start_in(count: usize, environment: Vec<(&'static str, PathBuf)>, tables: &str) -> Self {
        let mut site = Self::start_with(0, "", tables);
        let options = Options { environment, ..options(site.folder.path(), "", tables) };
        site.gateways = (0..count).map(|_| Gateway::start_with(&options)).collect();
        site
    }

    /// As [`Site::start_with`], with this store, and each gateway reached at another address than its own.
    pub fn start_behind(addresses: &[SocketAddr], store: &str, tables: &str) -> Self {
        let mut site = Self::start_with(0, "", tables);
        let options = |address: &SocketAddr| Options {
            advertise: Some(*address),
            store: Some(store.to_owned()),
            ..options(site.folder.path(), "", tables)
        };
        site.gateways = addresses.iter().map(|address| Gateway::start_with(&options(address))).collect();
        site
    }

    /// Starts another gateway of this site.
    pub fn join(&self, tables: &str) -> Gateway {
        Gateway::start_with(&options(self.folder.path(), "", tables))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificate and key in one file, for a balancer.
    pub fn bundle(&self) -> PathBuf {
        let pair = self.authority.issue(&[NAME, "127.0.0.1"]);
        let path = self.path("bundle.pem");
        fs::write(&path, pair.certificate + &pair.key).unwrap();
        path
    }

    /// An operator who calls `address`.
    pub fn client(&self, address: SocketAddr) -> Client {
        Client::new(address, &self.authority.certificate, TOKEN.to_owned())
    }

    /// Who runs our own command line, and asks at `address`.
    pub fn caller(&self, address: SocketAddr) -> Caller {
        Caller {
            gateway: format!("https://{address}"),
            token_file: self.path("token"),
            authority: self.authority.certificate.clone(),
        }
    }

    /// The gateway that receives a transfer to `volume` now.
    pub fn receiver(&self, volume: &str) -> Option<usize> {
        let row = format!("\"volume\":\"{volume}\"");
        self.gateways.iter().position(|gateway| gateway.try_admin("/transfers").is_some_and(|page| page.contains(&row)))
    }

    /// Bytes of snapshots that all gateways have received.
    pub fn received(&self) -> u64 {
        let count = |gateway: &Gateway| -> u64 {
            let text = gateway.admin("/metrics").1;
            let line = text.lines().find_map(|line| line.strip_prefix("rsnap_received_bytes_total "));
            line.unwrap().parse().unwrap()
        };
        self.gateways.iter().map(count).sum()
    }
}

fn options(folder: &Path, listen: &str, tables: &str) -> Options {
    Options {
        listen: listen.to_owned(),
        store: Some(format!("kind = \"file\"\npath = {:?}", folder.join("store"))),
        extra: common(folder) + tables,
        ..Options::default()
    }
}

/// See [`Site::caller`].
#[derive(Clone)]
pub struct Caller {
    gateway: String,
    token_file: PathBuf,
    authority: PathBuf,
}

impl Caller {
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env("RSNAP_GATEWAY", &self.gateway);
        command.env("RSNAP_TOKEN_FILE", &self.token_file).env("RSNAP_CA", &self.authority);
        command
    }
}

fn common(folder: &Path) -> String {
    let path = |name| folder.join(name);
    format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\nclient_authorities = {:?}\n[auth]\n\
         tokens = [{{ name = \"root\", role = \"operator\", file = {:?} }}]\n\
         certificates = [{{ name = \"cinder\", role = \"ticket\", uri = \"{CINDER}\" }}]\n\
         ticket_keys = [{{ id = \"k1\", file = {:?} }}]\n",
        path("site.pem"),
        path("site.key"),
        path("authority.pem"),
        path("token"),
        path("ticket.key"),
    )
}
