//! A gateway of our own on loopback, as demo and benchmarks start it: a configuration file, a data directory, two
//! free ports, and `curl` as a stranger would use it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::packages;
use crate::process::{self, Server};

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) site: String,
    /// Holds the configuration, the log and the gateway's data.
    pub(crate) directory: PathBuf,
    pub(crate) plugins: PathBuf,
    pub(crate) port: u16,
    pub(crate) admin: u16,
    /// `file`, `discard` or `rbd`.
    pub(crate) store: &'static str,
    /// `image`, or `builtin:image` for the compiled-in writer.
    pub(crate) writer: &'static str,
    pub(crate) policy: String,
    /// `ceph.conf` and pool of an `rbd` store.
    pub(crate) ceph: Option<(PathBuf, String)>,
    /// Certificate and key; without, the gateway makes its own.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// More tables of the configuration.
    pub(crate) tables: String,
    /// Other sites: name and port of their gateway.
    pub(crate) sites: Vec<(String, u16)>,
    /// Where it and its callers are, if there is a line between them.
    pub(crate) ends: Option<Ends>,
}

/// The ends of a line.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// The network namespace of the callers.
    pub(crate) near: String,
    /// The network namespace of the gateway.
    pub(crate) far: String,
    /// Of the gateway.
    pub(crate) address: String,
}

impl Settings {
    pub(crate) fn new(site: &str, directory: &Path, plugins: PathBuf) -> Result<Self> {
        Ok(Self {
            site: site.to_owned(),
            directory: directory.to_owned(),
            plugins,
            port: rsnap_test_ceph::free_port()?,
            admin: rsnap_test_ceph::free_port()?,
            store: "file",
            writer: "image",
            policy: "nearest-base".to_owned(),
            ceph: None,
            identity: None,
            tables: String::new(),
            sites: Vec::new(),
            ends: None,
        })
    }

    /// Where the gateway keeps its own things.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn file(&self) -> PathBuf {
        self.directory.join("rsnap.toml")
    }

    /// The configuration file's text.
    fn text(&self) -> String {
        let Self { site, port, admin, store, writer, .. } = self;
        let host = self.host();
        let mut text = format!("[gateway]\nsite = {site:?}\ndata = {:?}\n\n", self.data());
        text += &format!("[listen]\naddress = \"{host}:{port}\"\n\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\n");
        if let Some((certificate, key)) = &self.identity {
            text += &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n");
        }
        text += &format!("[stores.main]\nkind = {store:?}\n");
        if *store == "file" {
            text += &format!("path = {:?}\n", self.directory.join("store"));
        }
        if let Some((configuration, pool)) = &self.ceph {
            text += &format!("configuration = {configuration:?}\npool = {pool:?}\n");
        }
        text += &format!("\n[plugins]\npath = [{:?}]\n\n", self.plugins);
        text +=
            &format!("[plugins.writer]\ncomponent = {writer:?}\nstores = [\"main\"]\n\n[plugins.writer.settings]\n");
        text += "store = \"main\"\nimage = \"volume-{volume}\"\nsnapshot = \"snapshot-{snapshot}\"\n\n";
        text +=
            &format!("[plugins.policy]\ncomponent = {:?}\n\n[plugins.resolver]\ncomponent = \"static\"\n", self.policy);
        text + &self.resolver() + &self.tables
    }

    fn resolver(&self) -> String {
        let site = |(name, port): &(String, u16)| {
            format!(
                "\n[plugins.resolver.settings.sites.{name}]\nregion = \"RegionOne\"\n\
                 keystone = \"https://keystone.{name}.example/v3\"\ngateway = \"https://127.0.0.1:{port}\"\n"
            )
        };
        self.sites.iter().map(site).collect()
    }

    /// The host part of the gateway's address.
    fn host(&self) -> &str {
        self.ends.as_ref().map_or("127.0.0.1", |ends| &ends.address)
    }

    /// A program where the gateway is.
    fn far(&self, program: &Path) -> Command {
        within(self.ends.as_ref().map(|ends| &ends.far), program)
    }

    /// A program where its callers are.
    fn near(&self, program: &Path) -> Command {
        within(self.ends.as_ref().map(|ends| &ends.near), program)
    }

    fn is_ready(&self) -> bool {
        if self.ends.is_none() {
            return process::answers(self.admin, "/readyz");
        }
        let mut ask = self.far(Path::new("curl"));
        process::quiet(ask.args(["--silent", "--fail", &format!("http://127.0.0.1:{}/readyz", self.admin)])).is_ok()
    }

    fn write(&self) -> Result<()> {
        let file = self.file();
        std::fs::create_dir_all(self.data()).with_context(|| format!("cannot make {}", self.data().display()))?;
        std::fs::write(&file, self.text()).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn within(namespace: Option<&String>, program: &Path) -> Command {
    let Some(namespace) = namespace else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// A running gateway. Dropped, it is stopped.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) settings: Settings,
    server: Server,
}

impl Gateway {
    /// Starts the program `binary` and waits until it is ready.
    pub(crate) fn start(binary: &Path, settings: Settings) -> Result<Self> {
        settings.write()?;
        let mut command = settings.far(binary);
        command.arg("serve").arg("--config").arg(settings.file());
        let mut server = Server::start(&mut command, &settings.directory.join("gateway.log"))?;
        let site = &settings.site;
        server.wait(|| settings.is_ready()).with_context(|| format!("cannot start the gateway of {site}"))?;
        Ok(Self { settings, server })
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}", self.settings.host(), self.settings.port)
    }

    /// The file with the operator's token, made at the first start.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.settings.data().join("token")
    }

    /// The certificate to trust: configured, or made at the first start.
    pub(crate) fn certificate(&self) -> PathBuf {
        match &self.settings.identity {
            Some((certificate, _)) => certificate.clone(),
            None => self.settings.data().join("certificate.pem"),
        }
    }

    /// The path of a snapshot, under [`Gateway::url`].
    pub(crate) fn snapshot(&self, volume: &str, snapshot: &str) -> String {
        format!("{}/v1/volumes/{volume}/snapshots/{snapshot}", self.url())
    }

    /// `curl` that trusts this gateway, fails on an error status and speaks HTTP/1.1, as every peer here does.
    pub(crate) fn curl(&self) -> Result<Command> {
        let program = packages::find("curl").context("curl is not installed")?;
        Ok(trusting(self.settings.near(&program), &self.certificate()))
    }

    /// `curl` with the operator's token.
    pub(crate) fn curl_as_operator(&self) -> Result<Command> {
        let mut command = self.curl()?;
        command.arg("--header").arg(format!("Authorization: Bearer {}", self.token()?));
        Ok(command)
    }

    fn token(&self) -> Result<String> {
        let file = self.token_file();
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.trim().to_owned())
    }

    /// A ticket to send one snapshot of at most `size` bytes.
    pub(crate) fn ticket(&self, volume: &str, snapshot: &str, size: u64) -> Result<String> {
        let url = format!("{}/server?volume={volume}&snapshot={snapshot}&size={size}", self.url());
        let answer: Value = serde_json::from_str(&process::capture(self.curl_as_operator()?.arg(url))?)?;
        let ticket = answer.get("ticket").and_then(Value::as_str);
        Ok(ticket.with_context(|| format!("no ticket in the answer of GET /server: {answer}"))?.to_owned())
    }

    /// Deletes a snapshot.
    pub(crate) fn delete(&self, volume: &str, snapshot: &str) -> Result<()> {
        let url = self.snapshot(volume, snapshot);
        process::quiet(self.curl_as_operator()?.args(["--request", "DELETE", &url]))
    }

    /// The program's own command line, aimed at this gateway.
    pub(crate) fn client(&self, binary: &Path) -> Command {
        let mut command = self.settings.near(binary);
        command.env("RSNAP_GATEWAY", self.url()).env("RSNAP_TOKEN_FILE", self.token_file());
        command.env("RSNAP_CA", self.certificate());
        command
    }

    /// Leaves it running after this program's end.
    pub(crate) fn leave(self) {
        self.server.leave();
    }
}

/// `curl` that trusts `certificate` alone.
pub(crate) fn curl(certificate: &Path) -> Result<Command> {
    Ok(trusting(packages::tool("curl")?, certificate))
}

fn trusting(mut curl: Command, certificate: &Path) -> Command {
    curl.args(["--silent", "--show-error", "--fail-with-body", "--http1.1", "--cacert"]).arg(certificate);
    curl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_toml_with_every_choice() {
        let mut settings = Settings::new("dc2", Path::new("/d"), PathBuf::from("/p")).unwrap();
        settings.sites = vec![("dc1".to_owned(), 7)];
        let table: toml::Table = settings.text().parse().unwrap();
        assert_eq!(table["gateway"]["site"].as_str(), Some("dc2"));
        assert_eq!(table["stores"]["main"]["path"].as_str(), Some("/d/store"));
        assert_eq!(table["plugins"]["writer"]["settings"]["image"].as_str(), Some("volume-{volume}"));
        let site = &table["plugins"]["resolver"]["settings"]["sites"]["dc1"];
        assert_eq!(site["gateway"].as_str(), Some("https://127.0.0.1:7"));
    }
}
