//! Several gateways of one site, with a real etcd between them.

mod bad_input;
mod chaos;
mod clocks;
pub mod etcd;
mod etcd_gone;
mod network;
mod registry;
mod secured;
mod sites;

use etcd::Etcd;

use crate::deploy::site::Site;
use crate::support::{Client, Gateway, Image, Pending, Upload, wait_for};

/// A lease short enough for tests.
const TTL: &str = "ttl = \"5s\"";

/// Gateways that know each other.
struct Group {
    site: Site,
    etcd: Etcd,
}

impl Group {
    fn start(gateways: usize) -> Self {
        Self::with(gateways, Etcd::start(1), TTL)
    }

    fn with(gateways: usize, etcd: Etcd, table: &str) -> Self {
        let group = Self { site: Site::start_with(gateways, "", &etcd.table(table)), etcd };
        group.wait_registered();
        group
    }

    /// Waits until every gateway has its key and knows that all others live.
    fn wait_registered(&self) {
        for number in 0..self.site.gateways.len() {
            wait_for("registration", || self.count(number).as_deref() == Some("0"));
        }
        self.wait_known();
    }

    /// Waits until every gateway would name all others.
    fn wait_known(&self) {
        for gateway in &self.site.gateways {
            wait_for("the others to be known", || {
                let listed = self.listed(gateway);
                let is_known = |(_, state): &(String, String)| state == "own" || state == "ready";
                listed.len() == self.site.gateways.len() && listed.iter().all(is_known)
            });
        }
    }

    fn client(&self, number: usize) -> Client {
        self.site.client(self.site.gateways[number].address)
    }

    fn name(&self, number: usize) -> String {
        self.site.gateways[number].address.to_string()
    }

    /// The other gateways as one of them shows them, with their state.
    fn listed(&self, gateway: &Gateway) -> Vec<(String, String)> {
        let answer = self.site.client(gateway.address).get("/v1/servers").expect(200).json();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let servers = answer["servers"].as_array().unwrap().iter();
        servers.map(|server| (text(&server["server"]), text(&server["state"]))).collect()
    }

    fn count(&self, number: usize) -> Option<String> {
        self.etcd.get(&key(&self.name(number)))
    }

    fn lease(&self, number: usize) -> i64 {
        self.etcd.pair(&key(&self.name(number))).unwrap().lease()
    }

    /// Starts a transfer and leaves it half-way.
    fn begin(&self, number: usize, volume: &str, image: &Image) -> Pending {
        let path = format!("/v1/volumes/{volume}/snapshots/s");
        let upload = Upload { path, body: &image.bytes, ..Upload::default() };
        let mut put = self.client(number).begin_put(&upload);
        put.send(&image.bytes[..image.bytes.len() / 2]).unwrap();
        put
    }

    fn finish(mut put: Pending, image: &Image) -> u16 {
        put.send(&image.bytes[image.bytes.len() / 2..]).unwrap();
        put.answer().unwrap().status
    }

    /// What a gateway says about itself.
    fn log_lines(&self, number: usize, text: &str) -> usize {
        self.site.gateways[number].log().lines().filter(|line| line.contains(text)).count()
    }
}

fn key(server: &str) -> String {
    format!("/rsnap/servers/{server}")
}
